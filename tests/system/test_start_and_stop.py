"""How a server comes and goes, with the PostgreSQL that comes along and without."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from aiohttp import WSMsgType

from tests.conftest import TIMEZONE, Database, ServerFactory
from tests.server import STOP_SECONDS, Server, start_server
from tests.system.command import daysheet
from tests.system.conftest import Start
from tests.system.obstacles import appends_held_up
from tests.system.own_postgres import OwnPostgres, cut_power, serving
from tests.system.record import ask, whole_record


async def ends(server: Server, number: signal.Signals) -> int:
    """The exit code after a signal, within the time that the contract grants."""
    began = time.monotonic()
    server.process.send_signal(number)
    code = await server.process.wait()
    assert time.monotonic() - began < STOP_SECONDS
    return code


async def test_a_new_folder_is_all_it_takes() -> None:
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "new"
        server = await start_server("--data-dir", str(folder), "--timezone", TIMEZONE)
        try:
            appointment = await server.an_appointment(await server.a_doctor())
            assert len(serving(folder / "postgres")) == 1
            assert stat.S_IMODE((folder / "master.key").stat().st_mode) == 0o600
            assert stat.S_IMODE((folder / "postgres").stat().st_mode) == 0o700
            assert not folder.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH | stat.S_IWGRP | stat.S_IWOTH)
        finally:
            assert await server.stop() == 0
        assert not serving(folder / "postgres")

        again = await start_server("--data-dir", str(folder))
        try:
            assert (await again.get(f"/appointments/{appointment}")).status == 200
        finally:
            assert await again.stop() == 0
        assert not serving(folder / "postgres")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_sends_monitors_away_finishes_what_it_began_and_takes_its_postgres_along(
    start: Start, data_dir: Path, number: signal.Signals
) -> None:
    server = await start()
    today, doctor, patient = await server.today(), await server.a_doctor(), await server.a_patient()
    admin_url = _admin_url(data_dir)
    async with server.monitor() as monitor, server.monitor(doctor) as idle:
        await monitor.send_json({"action": "subscribe", "date": today})
        await monitor.receive_json()
        async with appends_held_up(admin_url) as log:
            booking = {"doctor_id": doctor, "patient_id": patient, "date": today}
            asked = asyncio.create_task(server.post("/appointments", booking))
            await log.is_waited_for()
            ending = asyncio.create_task(ends(server, number))
            for each in (monitor, idle):
                closed = await each.receive()
                assert (closed.type, closed.data) == (WSMsgType.CLOSE, 1012)
            head = len(await whole_record(admin_url))
        answer = await asked
        assert (answer.status, answer.body["sequence"]) == (201, head + 3)
        assert await ending == 0
    assert b"Traceback" not in server.log
    assert not serving(data_dir / "postgres")
    again = await start()
    assert (await again.get(f"/appointments/{answer.body['appointment_id']}")).body == answer.body


async def test_a_second_signal_changes_nothing(serve: ServerFactory) -> None:
    server = await serve()
    server.process.send_signal(signal.SIGINT)
    server.process.send_signal(signal.SIGTERM)
    assert await ends(server, signal.SIGINT) == 0
    assert b"Traceback" not in server.log


async def test_told_to_stop_while_its_postgres_does_not_get_ready_it_does_not_wait_for_that(
    own_postgres: OwnPostgres, data_dir: Path
) -> None:
    own_postgres.freeze()
    server = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", "serve", "--port=0", f"--data-dir={data_dir}"),
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        waiting = psutil.Process(server.pid)
        while "psql" not in [child.name() for child in waiting.children()]:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.05)
        server.terminate()
        async with asyncio.timeout(STOP_SECONDS):
            assert await server.wait() == 0
        assert server.stderr is not None
        assert b'"postgres_left_starting"' in await server.stderr.read()
    finally:
        own_postgres.thaw()
        if server.returncode is None:
            server.kill()
        await server.communicate()


async def test_clients_that_keep_their_connections_open_do_not_keep_it_from_stopping(serve: ServerFactory) -> None:
    server = await serve()
    port = int(server.url.rpartition(":")[2])
    readers = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
    readers[0][1].write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    readers[1][1].write(b"POST /api/v1/doctors HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
    assert b"200 OK" in await readers[0][0].readline()
    assert await ends(server, signal.SIGTERM) == 0
    for _, writer in readers:
        writer.close()


async def test_after_a_killed_server_the_next_takes_over_its_postgres_and_stops_it(
    start: Start, data_dir: Path
) -> None:
    killed = await start()
    appointment = await killed.an_appointment(await killed.a_doctor())
    killed.kill()
    await killed.process.wait()
    left_behind = serving(data_dir / "postgres")
    assert len(left_behind) == 1

    server = await start()
    assert serving(data_dir / "postgres") == left_behind
    assert (await server.get(f"/appointments/{appointment}")).status == 200
    assert await server.stop() == 0
    assert not serving(data_dir / "postgres")


async def test_after_a_power_cut_the_next_start_recovers(start: Start, data_dir: Path) -> None:
    cut_off = await start()
    appointment = await cut_off.an_appointment(await cut_off.a_doctor())
    cut_off.kill()
    cut_power(data_dir / "postgres")
    await cut_off.process.wait()

    server = await start()
    assert (await server.get(f"/appointments/{appointment}")).status == 200
    assert await server.stop() == 0
    assert not serving(data_dir / "postgres")


async def test_two_servers_share_the_embedded_postgres_and_the_last_takes_it_along(
    start: Start, data_dir: Path
) -> None:
    first, second = await asyncio.gather(start(), start())
    appointment = await first.an_appointment(await first.a_doctor())
    assert await first.stop() == 0
    assert (await second.get(f"/appointments/{appointment}")).status == 200
    assert await second.post("/checkins", {"appointment_id": appointment})
    assert await second.stop() == 0
    assert not serving(data_dir / "postgres")


# --- what it refuses -----------------------------------------------------------------------------


async def test_a_port_in_use_is_one_line(database: Database) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = await daysheet(
            "serve", f"--port={port}", f"--database-url={database.url}", f"--data-dir={database.folder}"
        )
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in ended.errors.splitlines()[-1]
    assert ended.code == 1
    assert "Traceback" not in ended.errors


async def test_a_port_in_use_leaves_no_postgres_behind(data_dir: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ended = await daysheet("serve", f"--port={taken.getsockname()[1]}", f"--data-dir={data_dir}")
    assert ended.code == 1
    assert not serving(data_dir / "postgres")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "board.example"])
async def test_without_tokens_it_listens_on_loopback_only_and_says_so(host: str, tmp_path: Path) -> None:
    ended = await daysheet("serve", f"--host={host}", "--port=0", f"--data-dir={tmp_path}")
    assert "token" in ended.said
    assert host in ended.said


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("serve", "--port=0", "--timezone=Mars/Olympus"), "--timezone Mars/Olympus is no IANA time zone"),
        (("key", "rotate"), "there is no store under"),
        (("privacy", "report", "7f3f1d0e-8a34-4d3e-9a51-0b7a1f2c9d11"), "there is no store under"),
    ],
    ids=lambda part: part[0] if isinstance(part, tuple) else "",
)
async def test_a_slip_of_the_pen_makes_no_store(command: tuple[str, ...], said: str, tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    ended = await daysheet(*command, f"--data-dir={nowhere}")
    assert ended.said.startswith(f"daysheet: {said}")
    assert not nowhere.exists()


async def test_a_data_folder_that_cannot_be_used_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ended = await daysheet("serve", "--port=0", f"--data-dir={tmp_path / 'file'}")
    assert str(tmp_path / "file") in ended.said


# --- migrate -------------------------------------------------------------------------------------


async def test_migrate_brings_a_database_to_the_schema_and_a_second_time_changes_nothing(
    database: Database, serve: ServerFactory
) -> None:
    await ask(database.admin_url, "DROP SCHEMA daysheet CASCADE")
    first = await daysheet("migrate", f"--database-url={database.admin_url}")
    assert (first.code, first.errors) == (0, "")
    assert first.out.startswith("applied 0001_log.sql")
    again = await daysheet("migrate", f"--database-url={database.admin_url}")
    assert (again.code, again.out, again.errors) == (0, "the schema is up to date\n", "")
    server = await serve()
    assert (await server.get("/queue")).status == 200


async def test_the_app_role_may_not_migrate(database: Database) -> None:
    if "DAYSHEET_TEST_DATABASE_URL" in os.environ:
        pytest.skip("the given server's own user is an administrator")
    ended = await daysheet("migrate", f"--database-url={database.url}")
    assert "permission denied" in ended.said


async def test_migrate_works_on_the_embedded_database_and_leaves_no_postgres_behind() -> None:
    with tempfile.TemporaryDirectory() as parent:
        first = await daysheet("migrate", f"--data-dir={parent}")
        assert first.code == 0, first
        assert "applied 0001_log.sql" in first.out
        assert not serving(Path(parent) / "postgres")
        again = await daysheet("migrate", f"--data-dir={parent}")
        assert (again.code, again.out) == (0, "the schema is up to date\n")


# --- as somebody else ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Account:
    """`python` and `path`: an interpreter that it may run, and where that finds the checkout and what it needs."""

    name: str
    python: str
    path: str


@pytest.fixture
def account() -> Iterator[Account]:
    """A user of this machine who is not root."""
    if os.geteuid() != 0:
        pytest.skip("not root: all the other tests run as a normal user already")
    if shutil.which("useradd") is None:
        pytest.skip("no useradd on PATH")
    name = f"daysheet-{os.getpid()}"
    subprocess.run(["useradd", "--system", "--no-create-home", "--user-group", name], check=True)
    try:
        # Root's own interpreter may be in root's home. The system's is as good, if it is the same release.
        system = f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}"
        for python in (sys.executable, system):
            found = Account(name, python, os.pathsep.join(filter(None, [os.getcwd(), *sys.path])))
            if _may_run(found):
                yield found
                return
        pytest.skip("no interpreter here that another account may run, with this checkout and all that it needs")
    finally:
        subprocess.run(["userdel", name], check=True)


def _may_run(account: Account) -> bool:
    try:
        tried = subprocess.run(
            [account.python, "-c", "import gateway.cli"],
            user=account.name,
            group=account.name,
            extra_groups=[],
            env={"PYTHONPATH": account.path},
            check=False,
            capture_output=True,
        )
    except OSError:
        return False
    return tried.returncode == 0


async def test_a_normal_user_runs_all_of_it(account: Account) -> None:
    with tempfile.TemporaryDirectory() as parent:
        shutil.chown(parent, account.name)
        folder = Path(parent) / "data"
        for times_started in range(2):
            server = await start_server(
                f"--data-dir={folder}",
                f"--timezone={TIMEZONE}",
                environment={"PYTHONPATH": account.path},
                python=account.python,
                user=account.name,
            )
            try:
                await server.an_appointment(await server.a_doctor())
                assert len(await whole_record(_admin_url(folder))) >= 4 * (times_started + 1)
                (postmaster,) = serving(folder / "postgres")
                assert postmaster.username() == account.name
                assert (folder / "master.key").owner() == account.name
                assert stat.S_IMODE(folder.stat().st_mode) == 0o700
            finally:
                assert await server.stop() == 0
            assert not serving(folder / "postgres")


def _admin_url(data_dir: Path) -> str:
    return f"postgresql://postgres@/daysheet?host={data_dir / 'postgres'}&port=5432"
