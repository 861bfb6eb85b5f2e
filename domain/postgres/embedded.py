"""The PostgreSQL that comes along when no database URL is given: who uses it, and who is the last to. (POSIX only.)"""

from __future__ import annotations

import atexit
import fcntl
import logging
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Self
from urllib.parse import quote

from domain.postgres.cluster import DATABASE, PORT, Cluster, EmbeddedPostgresError, last_line

__all__ = ["EmbeddedPostgres", "EmbeddedPostgresError"]

START_SECONDS: Final = 60.0
"""Enough to recover what two checkpoints can leave between them, also on a slow disk."""
STOP_SECONDS: Final = 5.0

log = logging.getLogger(__name__)


class EmbeddedPostgres:
    """One process's use of the server in a folder. Several may use it at once; the last to stop stops PostgreSQL."""

    def __init__(self, cluster: Cluster, claim: int) -> None:
        """For `start` alone. `claim` is a descriptor that holds a shared lock on the cluster."""
        self._cluster = cluster
        self._claim: int | None = claim
        self._process_id = os.getpid()
        self._socket_folder = cluster.socket_folder()
        atexit.register(self.stop)

    @classmethod
    def start(cls, folder: Path, *, within_seconds: float = START_SECONDS) -> Self:
        """Attach to the server of this folder, made and started first where need be; the database may be empty.

        Blocks. Raises EmbeddedPostgresError when no server is ready in time; one that is still recovering then goes
        on, and the next start finds it further along.
        """
        folder = folder.expanduser().resolve()
        deadline = time.monotonic() + within_seconds
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.chmod(0o700)  # Whoever reaches the socket is trusted, so nobody else may reach it.
            with _locked(folder, deadline):
                return cls._attach(Cluster(folder), deadline)
        except PermissionError as error:
            raise EmbeddedPostgresError(
                f"{folder} is not for this account to use: start as its owner, or choose another folder ({error})"
            ) from error
        except (OSError, subprocess.SubprocessError) as error:
            raise EmbeddedPostgresError(f"PostgreSQL in {folder} cannot be started: {last_line(error)}") from error

    @classmethod
    def _attach(cls, cluster: Cluster, deadline: float) -> Self:
        cluster.make(deadline)
        claim = os.open(cluster.data, os.O_RDONLY)
        try:
            # The kernel drops this lock with the process, however it ends. A list of users would outlive them.
            fcntl.flock(claim, fcntl.LOCK_SH)
            cluster.bring_up(deadline)
            return cls(cluster, claim)
        except BaseException:
            os.close(claim)
            raise

    def url(self, user: str = "daysheet_app", database: str = DATABASE) -> str:
        """The address of one of its databases, for asyncpg and libpq alike. The superuser is `postgres`."""
        return f"postgresql://{quote(user)}@/{quote(database)}?host={quote(str(self._socket_folder))}&port={PORT}"

    def stop(self) -> None:
        """End this use, and PostgreSQL too if nobody else uses it. Blocks; a second call does nothing."""
        if self._claim is None or os.getpid() != self._process_id:
            return  # A forked child that exits must not take the server from its parent.
        atexit.unregister(self.stop)
        claim, self._claim = self._claim, None
        try:
            with _locked(self._cluster.folder, time.monotonic() + STOP_SECONDS):
                fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._cluster.shut_down(STOP_SECONDS)
        except BlockingIOError:
            log.info("PostgreSQL in %s goes on: another process uses it", self._cluster.folder)
        except (OSError, subprocess.SubprocessError, EmbeddedPostgresError) as error:
            log.warning("PostgreSQL in %s was not stopped: %s", self._cluster.folder, last_line(error))
        finally:
            os.close(claim)


@contextmanager
def _locked(folder: Path, deadline: float) -> Iterator[None]:
    """One process at a time starts or stops a server. The lock is on the folder itself: no file is left behind."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise EmbeddedPostgresError(
                        f"another process has been starting or stopping PostgreSQL in {folder} all the while"
                    ) from None
                time.sleep(0.05)
        yield
    finally:
        os.close(descriptor)
