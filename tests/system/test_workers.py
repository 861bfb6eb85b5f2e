"""Several worker processes on one port: one server to its clients, through whatever ends one of them, or all."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import tempfile
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest
from aiohttp import ClientWebSocketResponse, WSMsgType
from structlog.testing import capture_logs

from gateway.client import Monitor
from gateway.settings import MOST_WORKERS, Settings, SettingsError
from gateway.workers import WorkerFailed, supervise
from tests.conftest import TIMEZONE, Database, ServerFactory
from tests.server import STOP_SECONDS, Server, start_server
from tests.system.command import daysheet
from tests.system.conftest import Start
from tests.system.crew import logged, workers, workers_of
from tests.system.obstacles import appends_held_up
from tests.system.own_postgres import serving
from tests.system.record import whole_record

SECONDS = 15.0
TRIES = 100
"""To land on a worker by chance: with two of them, missing one that often is out of the question."""

Monitors = dict[int, ClientWebSocketResponse]


def landed_on(server: Server, monitor: ClientWebSocketResponse) -> int:
    """The worker at the other end of a connection."""
    own = monitor.get_extra_info("sockname")[1]
    (number,) = [
        number
        for number, worker in workers(server).items()
        for connection in worker.net_connections("tcp")
        if connection.status == psutil.CONN_ESTABLISHED and connection.raddr.port == own
    ]
    return number


@asynccontextmanager
async def a_monitor_on_each(server: Server, day: str | None = None) -> AsyncIterator[Monitors]:
    """Monitors by worker; with a day they have subscribed to it, and have their snapshot."""
    async with AsyncExitStack() as connections:
        monitors: Monitors = {}
        for _ in range(TRIES):
            monitor = await connections.enter_async_context(server.monitor())
            monitors.setdefault(landed_on(server, monitor), monitor)
            if len(monitors) == len(workers(server)):
                break
        for monitor in monitors.values():
            if day is not None:
                await monitor.send_json({"action": "subscribe", "date": day})
                assert (await monitor.receive_json())["type"] == "snapshot"
        assert monitors.keys() == workers(server).keys()
        yield monitors


async def shown_at(monitor: ClientWebSocketResponse, sequence: int) -> Any:
    """What a monitor shows once it has come so far."""
    async with asyncio.timeout(SECONDS):
        while (shown := await monitor.receive_json())["sequence"] < sequence:
            pass
    return shown["data"]


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(SECONDS):
        while not true():  # noqa: ASYNC110 - processes come and go without telling
            await asyncio.sleep(0.02)


def runs(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


async def ends(process: Process) -> int:
    """The exit code, within the time that the contract grants."""
    async with asyncio.timeout(STOP_SECONDS):
        return await process.wait()


# --- one server to its clients -------------------------------------------------------------------


async def test_what_one_worker_accepts_shows_on_the_monitors_of_all(serve: ServerFactory) -> None:
    server = await serve("--workers", "2")
    today, doctor = await server.today(), await server.a_doctor()
    async with a_monitor_on_each(server, today) as monitors:
        assert sorted(monitors) == [1, 2]
        for _ in range(8):  # each over a connection of its own, so that both workers get some
            appointment = await server.an_appointment(doctor)
            accepted = await server.post("/checkins", {"appointment_id": appointment}, Connection="close")
            for monitor in monitors.values():
                assert accepted.body["queue"]["ticket"] in str(await shown_at(monitor, accepted.body["sequence"]))


async def test_secrets_are_not_in_a_workers_arguments_and_ctrl_c_does_not_reach_it(
    serve: ServerFactory, database: Database
) -> None:
    server = await serve("--workers=2")
    assert sorted(workers(server)) == [1, 2]
    for number, worker in workers(server).items():
        assert worker.cmdline()[1:] == ["-P", "-m", "gateway", "worker", str(number)]
        assert database.url in worker.environ()["DAYSHEET_WORKER_SETTINGS"]
        assert os.getsid(worker.pid) != os.getsid(server.process.pid)


async def test_two_servers_of_two_workers_are_one_hospital(serve: ServerFactory, database: Database) -> None:
    here, there = await asyncio.gather(serve("--workers", "2"), serve("--workers", "2"))
    today, doctor = await here.today(), await here.a_doctor()
    async with a_monitor_on_each(here, today) as nearby, a_monitor_on_each(there, today) as remote:
        for asked, other in ((here, there), (there, here)) * 4:
            appointment = await asked.an_appointment(doctor)
            accepted = await asked.post("/checkins", {"appointment_id": appointment}, Connection="close")
            sequence = accepted.body["sequence"]
            read = await other.call("GET", f"/appointments/{appointment}?min_sequence={sequence}", Connection="close")
            assert read.body["queue"] == accepted.body["queue"]
            for monitor in (*nearby.values(), *remote.values()):
                assert accepted.body["queue"]["ticket"] in str(await shown_at(monitor, sequence))
    await whole_record(database.admin_url)


async def test_a_new_folder_is_made_into_one_store_with_one_key() -> None:
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "new"
        server = await start_server("--data-dir", str(folder), "--timezone", TIMEZONE, "--workers", "3")
        try:
            today = await server.today()
            async with a_monitor_on_each(server) as monitors:
                epochs = set()
                for monitor in monitors.values():
                    await monitor.send_json({"action": "subscribe", "date": today})
                    epochs.add((await monitor.receive_json())["epoch"])
            assert (len(monitors), len(epochs)) == (3, 1)
            assert sorted(os.listdir(folder)) == ["ledger.key", "master.key", "postgres"]
            assert [line["worker"] for line in logged(server, "store_introduced")] == [1]
        finally:
            assert await server.stop() == 0
        assert not serving(folder / "postgres")


async def test_only_the_first_worker_moves_the_made_up_patients_also_once_it_was_replaced(start: Start) -> None:
    server = await start("--demo", "--workers", "2")
    await until(lambda: logged(server, "demo_day"))
    workers(server)[1].kill()
    await until(lambda: len(logged(server, "demo_day")) > 1)
    assert {line["worker"] for line in (*logged(server, "demo"), *logged(server, "demo_day"))} == {1}


# --- a worker dies -------------------------------------------------------------------------------


async def test_a_killed_worker_is_replaced_and_the_monitors_of_the_other_notice_nothing(
    serve: ServerFactory, database: Database
) -> None:
    server = await serve("--workers", "2")
    today, doctor = await server.today(), await server.a_doctor()
    before = await server.an_appointment(doctor)
    async with a_monitor_on_each(server, today) as monitors:
        killed = workers(server)[2]
        killed.kill()
        broken = await monitors[2].receive(timeout=SECONDS)
        assert broken.type in (WSMsgType.CLOSED, WSMsgType.ERROR), broken

        async with server.monitor() as back:  # at once: it lands on the other
            await back.send_json({"action": "subscribe", "date": today})
            assert before in str((await back.receive_json())["data"])
        meanwhile = await server.post("/checkins", {"appointment_id": before}, Connection="close")
        assert "checked_in" in str(await shown_at(monitors[1], meanwhile.body["sequence"]))

        await until(lambda: logged(server, "worker_replaced"))
        (died,), (replaced,) = logged(server, "worker_died"), logged(server, "worker_replaced")
        assert (died["worker"], died["pid"]) == (2, killed.pid)
        assert died["reason"] == "worker 2 ended with signal 9 (Killed)"
        assert (replaced["worker"], replaced["pid"]) == (2, workers(server)[2].pid)
        after = await server.an_appointment(doctor)
        async with a_monitor_on_each(server) as both:
            await both[2].send_json({"action": "subscribe", "date": today})
            shown = str((await both[2].receive_json())["data"])
        assert before in shown
        assert after in shown
        assert after in str(await shown_at(monitors[1], len(await whole_record(database.admin_url))))
        assert not monitors[1].closed


@asynccontextmanager
async def supervised(database: Database, stop: asyncio.Event) -> AsyncIterator[tuple[asyncio.Task[None], str]]:
    """Two workers that serve, and their supervisor in this process: it can be told not to be so patient. And their
    address."""
    serves: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    settings = replace(database.settings(), workers=2, port=0)
    supervising = asyncio.create_task(supervise(settings, database.url, serves.set_result, stop))
    await asyncio.wait([supervising, serves], return_when=asyncio.FIRST_COMPLETED)
    if supervising.done():
        await supervising
    try:
        yield supervising, serves.result()
    finally:
        stop.set()
        await asyncio.wait([supervising])
        assert not workers_of(os.getpid())


async def test_a_worker_that_hangs_is_replaced_and_its_monitors_go_on_with_what_they_had(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.workers.HANGS_AFTER_BEATS", 3)
    stop = asyncio.Event()
    with capture_logs() as log:
        async with supervised(database, stop) as (supervising, url), AsyncExitStack() as watching:
            monitors = [await watching.enter_async_context(Monitor(url, date(2091, 1, 4))) for _ in range(8)]
            sequences = [[(await anext(monitor)).sequence] for monitor in monitors]
            hung = workers_of(os.getpid())[2]
            hung.suspend()
            await until(lambda: any(said["event"] == "worker_replaced" and said["worker"] == 2 for said in log))
            assert not runs(hung)
            async with aiohttp.ClientSession(url) as session:
                doctor = {"name": "Dr. Amara Okafor", "code": "DOC001", "specialty": "Cardiology"}
                async with session.post("/api/v1/doctors", json=doctor) as answer:
                    clinic = f"/api/v1/clinics/{(await answer.json())['id']}/2091-01-04"
                async with session.put(clinic, json={"capacity": 10}) as answer:
                    newest = (await answer.json())["sequence"]
            async with asyncio.timeout(SECONDS):
                for monitor, seen in zip(monitors, sequences, strict=True):
                    while seen[-1] < newest:
                        seen.append((await anext(monitor)).sequence)
                    assert seen == sorted(set(seen))
            assert not supervising.done()
    assert hung.pid in [said["pid"] for said in log if said["event"] == "worker_hangs"]


async def test_workers_that_all_keep_dying_end_the_server(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.workers.DEATHS_IN_A_ROW", 2)
    async with supervised(database, asyncio.Event()) as (supervising, _):
        (database.folder / "master.key").unlink()
        workers_of(os.getpid())[2].kill()
        await asyncio.sleep(3)
        assert not supervising.done()  # The other one still shows what it has.
        workers_of(os.getpid())[1].kill()
        with pytest.raises(ExceptionGroup) as raised:
            await supervising
    cause: BaseException = raised.value
    while isinstance(cause, ExceptionGroup):
        (cause,) = cause.exceptions
    assert isinstance(cause, WorkerFailed)
    assert "times in a row: this store has a master key already" in str(cause)


# --- all of them end -----------------------------------------------------------------------------


async def test_it_sends_all_monitors_away_finishes_what_it_began_and_leaves_no_process_behind(
    start: Start, data_dir: Path
) -> None:
    server = await start("--workers", "2")
    today, doctor, patient = await server.today(), await server.a_doctor(), await server.a_patient()
    admin_url = f"postgresql://postgres@/daysheet?host={data_dir / 'postgres'}&port=5432"
    async with a_monitor_on_each(server, today) as monitors:
        running = workers(server).values()
        async with appends_held_up(admin_url) as log:
            booking = {"doctor_id": doctor, "patient_id": patient, "date": today}
            asked = asyncio.create_task(server.post("/appointments", booking))
            await log.is_waited_for()
            server.process.terminate()
            for monitor in monitors.values():
                closed = await monitor.receive(timeout=SECONDS)
                assert (closed.type, closed.data) == (WSMsgType.CLOSE, 1012)
        answer = await asked
    assert answer.status == 201
    assert await ends(server.process) == 0
    assert not [worker for worker in running if runs(worker)]
    assert not serving(data_dir / "postgres")
    assert not logged(server, "worker_died")
    assert b"Traceback" not in server.log
    again = await start()
    assert (await again.get(f"/appointments/{answer.body['appointment_id']}")).body == answer.body


async def test_told_to_stop_while_it_starts_it_leaves_no_process_behind(database: Database) -> None:
    options = ("--workers=2", "--port=0", f"--database-url={database.url}", f"--data-dir={database.folder}")
    server = await asyncio.create_subprocess_exec(sys.executable, "-m", "gateway", "serve", *options)
    try:
        await until(lambda: workers_of(server.pid))
        (worker,) = workers_of(server.pid).values()
        server.terminate()
        assert await ends(server) == 0
        assert not runs(worker)
    finally:
        if server.returncode is None:
            server.kill()
        await server.wait()


async def test_a_worker_that_does_not_stop_is_killed(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.workers.STOP_SECONDS", 0.5)
    stop = asyncio.Event()
    async with supervised(database, stop) as (supervising, _):
        workers_of(os.getpid())[2].suspend()
        stop.set()
        await supervising


async def test_without_their_supervisor_workers_end_by_themselves_and_the_next_start_takes_over(
    start: Start, data_dir: Path
) -> None:
    killed = await start("--workers", "2")
    port = killed.url.rpartition(":")[2]
    appointment = await killed.an_appointment(await killed.a_doctor())
    async with a_monitor_on_each(killed) as monitors:
        orphans = list(workers(killed).values())
        killed.kill()
        for monitor in monitors.values():
            closed = await monitor.receive(timeout=SECONDS)
            assert (closed.type, closed.data) == (WSMsgType.CLOSE, 1012)
    await until(lambda: not any(runs(orphan) for orphan in orphans))
    left_behind = serving(data_dir / "postgres")
    assert len(left_behind) == 1

    server = await start("--workers", "2", "--port", port)
    assert serving(data_dir / "postgres") == left_behind
    assert (await server.get(f"/appointments/{appointment}")).status == 200
    assert await server.stop() == 0
    assert not serving(data_dir / "postgres")


# --- what it refuses -----------------------------------------------------------------------------


async def test_what_keeps_it_from_starting_is_one_line(serve: ServerFactory, database: Database) -> None:
    shared, alone = await asyncio.gather(serve("--workers=2"), serve("--workers=1"))
    assert not workers(alone)
    ports = [server.url.rpartition(":")[2] for server in (shared, shared, alone)]

    async def refused(*options: str) -> str:
        return (
            await daysheet("serve", f"--database-url={database.url}", f"--data-dir={database.folder}", *options)
        ).said

    lines = await asyncio.gather(
        refused("--port", ports[0], "--workers=2"),
        refused("--port", ports[1], "--workers=1"),
        refused("--port", ports[2], "--workers=2"),
        refused("--port=0", "--workers=3", "--timezone=Asia/Tokyo"),
        refused("--port=0", f"--workers={MOST_WORKERS}"),
    )
    for port, line in zip(ports, lines, strict=False):
        assert line == f"daysheet: cannot listen on 127.0.0.1:{port}: Address already in use"
    assert lines[3] == f"daysheet: this store keeps its dates in {TIMEZONE}, not in Asia/Tokyo"
    assert f"--workers {MOST_WORKERS} may need {MOST_WORKERS * 10} connections to PostgreSQL, which grants " in lines[4]


async def test_of_two_that_start_at_once_on_a_port_one_gets_it(serve: ServerFactory) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    started = await asyncio.gather(*[serve("--workers=2", "--port", port) for _ in range(2)], return_exceptions=True)
    (refused,) = [each for each in started if isinstance(each, AssertionError)]
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in str(refused)


async def test_a_number_of_workers_that_cannot_be_is_refused(tmp_path: Path) -> None:
    for number in (0, -1, MOST_WORKERS + 1):
        with pytest.raises(SettingsError, match=f"--workers {number} cannot be: 1 to {MOST_WORKERS}"):
            Settings(workers=number)
    negative, none, word = await asyncio.gather(
        daysheet("serve", "--workers", "-1", f"--data-dir={tmp_path}"),
        daysheet("serve", f"--data-dir={tmp_path}", DAYSHEET_WORKERS="0"),
        daysheet("serve", "--workers=abc", f"--data-dir={tmp_path}"),
    )
    assert negative.said == f"daysheet: --workers -1 cannot be: 1 to {MOST_WORKERS}"
    assert none.said == f"daysheet: --workers 0 cannot be: 1 to {MOST_WORKERS}"
    assert word.code != 0
    assert "abc" in word.errors


async def test_a_worker_is_nothing_to_start_by_hand() -> None:
    help_page, by_hand = await asyncio.gather(daysheet("--help"), daysheet("worker", "1"))
    assert "serve" in help_page.out
    assert "worker" not in help_page.out
    assert "`daysheet serve --workers`" in by_hand.said
