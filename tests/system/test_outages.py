"""The database goes away, or falls silent, and comes back: what was shown stays readable, whoever asks is answered in
time, and nobody has to restart anything."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest_asyncio
from aiohttp import WSMsgType

from tests.conftest import TIMEZONE, Database, ServerFactory
from tests.server import STOP_SECONDS, Answer, Server, start_server
from tests.system.command import daysheet
from tests.system.own_postgres import OwnPostgres
from tests.system.record import ask, of_type, whole_record

ANSWER_SECONDS = 15.0
HEAL_SECONDS = 20.0
NOTHING_RECORDED = {"store_unavailable", "contended"}

_TERMINATE = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND application_name = 'daysheet'
"""


@pytest_asyncio.fixture
async def silent_server(own_postgres: OwnPostgres, data_dir: Path) -> AsyncIterator[Server]:
    """A server on a database that can be frozen."""
    server = await start_server("--database-url", own_postgres.url, "--data-dir", str(data_dir), "--timezone", TIMEZONE)
    yield server
    own_postgres.thaw()
    await server.stop()


async def next_state(monitor: aiohttp.ClientWebSocketResponse) -> Any:
    """The next message that is not about whether boards are live."""
    while (message := await monitor.receive_json())["type"] == "status":
        pass
    return message


async def status(server: Server, path: str) -> int:
    async with aiohttp.ClientSession() as session, session.get(server.url + path) as response:
        return response.status


async def healed(server: Server) -> None:
    async with asyncio.timeout(HEAL_SECONDS):
        while await status(server, "/readyz") != 200:  # noqa: ASYNC110 - only asking tells
            await asyncio.sleep(0.05)


async def in_time(call: Awaitable[Answer]) -> Answer:
    began = time.monotonic()
    answer = await call
    assert time.monotonic() - began < ANSWER_SECONDS, answer
    return answer


class Clinics:
    """Two clinics of today, one with two appointments; and people who want to be in the other."""

    def __init__(self, server: Server) -> None:
        self.server = server

    async def prepare(self) -> None:
        server = self.server
        self.today = await server.today()
        self.known, self.wanted = await server.a_doctor(), await server.a_doctor()
        self.first, self.second = [await server.an_appointment(self.known) for _ in range(2)]
        self.people = [await server.a_patient() for _ in range(20)]

    def booking(self, number: int) -> dict[str, Any]:
        return {"doctor_id": self.wanted, "patient_id": self.people[number], "date": self.today}

    async def commands(self) -> list[Answer]:
        """A check-in, and bookings with keys and without, all at once."""
        return await asyncio.gather(
            in_time(self.server.post("/checkins", {"appointment_id": self.first}, Idempotency_Key="arrived")),
            *[in_time(self.server.post("/appointments", self.booking(n))) for n in range(10)],
            *[
                in_time(self.server.post("/appointments", self.booking(n), Idempotency_Key=f"booked {n}"))
                for n in range(10, 20)
            ],
        )

    async def what_is_known_stays_readable(self) -> None:
        assert await status(self.server, "/healthz") == 200
        assert await status(self.server, "/readyz") == 503
        (board,) = (await self.server.get(f"/queue?date={self.today}")).body["data"]["doctors"]
        assert [shown["appointment_id"] for shown in board["appointments"]] == [self.first, self.second]
        unread = await in_time(self.server.get("/queue?date=2020-01-01"))
        assert (unread.status, unread.code) == (503, "store_unavailable")

    async def repeated_with_their_keys_all_are_recorded_once(self, admin_url: str) -> None:
        arrived, *booked = await self.commands()
        assert arrived.status == 201
        assert {(answer.status, answer.code) for answer in booked} <= {(201, None), (409, "already_booked")}
        assert all(answer.status == 201 for answer in booked[10:])
        rows = await whole_record(admin_url)
        assert len([row for row in of_type(rows, "patient-checked-in") if str(row["subject"]) == self.first]) == 1
        assert len(of_type(rows, "appointment-booked")) == 2 + len(self.people)


def refused_for_now(answers: list[Answer]) -> Counter[str]:
    assert {answer.status for answer in answers} == {503}
    assert all(int(answer.headers["Retry-After"]) > 0 for answer in answers)
    return Counter(str(answer.code) for answer in answers)


async def test_a_database_that_falls_silent_keeps_nobody_waiting_and_is_found_again(
    silent_server: Server, own_postgres: OwnPostgres
) -> None:
    server, clinics = silent_server, Clinics(silent_server)
    await clinics.prepare()
    async with server.monitor() as monitor:
        await monitor.send_json({"action": "subscribe", "date": clinics.today})
        before = await monitor.receive_json()
        own_postgres.freeze()
        start = daysheet("serve", "--port=0", f"--database-url={own_postgres.url}")
        # Without a key, and with its clinic at hand: nothing has to be read before it is sent. So it may get through.
        perhaps = server.post("/checkins", {"appointment_id": clinics.second})
        sent, said, started = await asyncio.gather(in_time(perhaps), clinics.commands(), start)
        assert refused_for_now([sent]) == {"outcome_unknown": 1}
        assert set(refused_for_now(said)) <= NOTHING_RECORDED | {"outcome_unknown"}
        assert started.said.startswith("daysheet: the database does not answer within ")
        await clinics.what_is_known_stays_readable()
        await monitor.send_json({"action": "subscribe", "date": clinics.today})
        assert (await next_state(monitor))["data"]["doctors"] == before["data"]["doctors"]

        own_postgres.thaw()
        await healed(server)
        stored = of_type(await whole_record(own_postgres.admin_url), "appointment-booked")
        assert 2 <= len(stored) <= 2 + sum(answer.code == "outcome_unknown" for answer in said[1:])
        again = await server.post("/checkins", {"appointment_id": clinics.second})
        assert again.status in (200, 201)
        arrivals = of_type(await whole_record(own_postgres.admin_url), "patient-checked-in")
        assert [str(row["subject"]) for row in arrivals].count(clinics.second) == 1
        await clinics.repeated_with_their_keys_all_are_recorded_once(own_postgres.admin_url)
        head = len(await whole_record(own_postgres.admin_url))
        shown = await next_state(monitor)
        while shown["sequence"] < (await server.get(f"/queue?min_sequence={head}")).body["sequence"]:
            shown = await next_state(monitor)
        assert shown["data"]["total_appointments"] == 2 + len(clinics.people)


async def test_a_silent_database_does_not_keep_a_server_from_stopping(
    silent_server: Server, own_postgres: OwnPostgres
) -> None:
    server, clinics = silent_server, Clinics(silent_server)
    await clinics.prepare()
    async with server.monitor() as monitor:
        await monitor.send_json({"action": "subscribe", "date": clinics.today})
        await monitor.receive_json()
        own_postgres.freeze()
        asked = [
            asyncio.create_task(server.post("/checkins", {"appointment_id": clinics.first})),
            asyncio.create_task(server.post("/appointments", clinics.booking(0))),
            asyncio.create_task(server.get("/queue?date=2020-01-01")),
        ]
        assert await status(server, "/healthz") == 200  # they were sent before this was
        began = time.monotonic()
        server.process.terminate()
        closed = await monitor.receive()
        assert (closed.type, closed.data) == (WSMsgType.CLOSE, 1012)
        assert await server.process.wait() == 0
        assert time.monotonic() - began < STOP_SECONDS
        for answer in await asyncio.gather(*asked, return_exceptions=True):
            assert isinstance(answer, aiohttp.ClientConnectionError) or answer.status == 503  # type: ignore[union-attr]


async def test_a_database_that_is_gone_keeps_nobody_waiting_and_is_found_again(
    serve: ServerFactory, database: Database, postgres: str
) -> None:
    server = await serve()
    clinics = Clinics(server)
    await clinics.prepare()
    (name,) = await ask(database.admin_url, "SELECT current_database()")
    async with server.monitor() as monitor:
        await monitor.send_json({"action": "subscribe", "date": clinics.today})
        await monitor.receive_json()
        await ask(postgres, f"ALTER DATABASE {name[0]} ALLOW_CONNECTIONS false")
        await ask(postgres, _TERMINATE, name[0])
        said = await clinics.commands()
        assert set(refused_for_now(said)) <= NOTHING_RECORDED
        await clinics.what_is_known_stays_readable()
        await monitor.send_json({"action": "subscribe", "date": "2020-01-01"})
        assert (await next_state(monitor))["code"] == "unavailable"
        await monitor.send_json({"action": "subscribe", "date": clinics.today})
        assert (await next_state(monitor))["type"] == "snapshot"

        await ask(postgres, f"ALTER DATABASE {name[0]} ALLOW_CONNECTIONS true")
        await healed(server)
        rows = await whole_record(database.admin_url)
        assert len(of_type(rows, "appointment-booked")) == 2
        assert not of_type(rows, "patient-checked-in")
        await clinics.repeated_with_their_keys_all_are_recorded_once(database.admin_url)
        shown = await next_state(monitor)
        while shown["data"]["total_appointments"] < 2 + len(clinics.people):
            shown = await next_state(monitor)


async def test_monitors_learn_that_boards_are_stale_and_that_they_are_live_again(
    silent_server: Server, own_postgres: OwnPostgres
) -> None:
    server, clinics = silent_server, Clinics(silent_server)
    await clinics.prepare()
    async with server.monitor() as early, server.monitor() as late, server.monitor() as idle:
        await early.send_json({"action": "subscribe", "date": clinics.today, "mode": "delta", "heartbeat": 5})
        snapshot = await early.receive_json(timeout=5)
        froze = datetime.now(UTC)
        own_postgres.freeze()
        told = await early.receive_json(timeout=10)
        while told["type"] == "heartbeat":
            told = await early.receive_json(timeout=10)
        assert (told["type"], told["live"]) == ("status", False)
        assert abs(datetime.fromisoformat(told["since"]) - froze) < timedelta(seconds=4)
        assert await status(server, "/readyz") == 503
        await late.send_json({"action": "subscribe", "date": clinics.today})
        shown, said = await late.receive_json(timeout=5), await late.receive_json(timeout=5)
        assert shown["data"]["doctors"] == snapshot["data"]["doctors"]  # The last board stays.
        assert said == told
        beat = await early.receive_json(timeout=20)
        assert (beat["type"], beat["sequence"]) == ("heartbeat", snapshot["sequence"])
        assert beat["lag_seconds"] >= 3

        own_postgres.thaw()
        for monitor in (early, late):
            while (again := await monitor.receive_json(timeout=10))["type"] == "heartbeat":
                pass
            assert (again["type"], again["live"]) == ("status", True)
        assert await status(server, "/readyz") == 200
        booked = await server.post("/appointments", clinics.booking(0))
        assert booked.status == 201
        delta = await early.receive_json(timeout=5)
        while delta["type"] == "heartbeat":
            delta = await early.receive_json(timeout=5)
        assert (delta["type"], delta["from"]) == ("delta", snapshot["sequence"])
        await idle.send_json({"action": "ping"})
        assert (await idle.receive_json(timeout=5))["type"] == "pong"  # Who watches nothing was told nothing.


async def test_a_server_that_finds_no_database_at_start_says_so_and_ends(database: Database, postgres: str) -> None:
    (name,) = await ask(database.admin_url, "SELECT current_database()")
    await ask(postgres, f"ALTER DATABASE {name[0]} ALLOW_CONNECTIONS false")
    with_no_database = await daysheet("serve", "--port=0", f"--database-url={database.url}")
    assert "is not currently accepting connections" in with_no_database.said
    with_no_database_to_migrate = await daysheet("migrate", f"--database-url={database.admin_url}")
    assert "is not currently accepting connections" in with_no_database_to_migrate.said
