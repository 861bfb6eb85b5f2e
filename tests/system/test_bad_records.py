"""A record that this release cannot read, or that has a hole: never a board that looks alive and is not."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Awaitable, Callable
from datetime import date, timedelta

import asyncpg
import pytest
from aiohttp import ClientWebSocketResponse, WSMsgType

from tests.conftest import Database, ServerFactory
from tests.server import STOP_SECONDS, Server
from tests.system.command import daysheet
from tests.system.record import ask

META = (
    b'{"effective_at":"2025-11-17T03:45:00Z","command":"Test","command_id":"%b","actor":"developer","role":"developer"}'
)
_INSERT = """
INSERT INTO daysheet.event (position, stream, version, type, day, subject, data, meta, recorded_at)
SELECT (SELECT max(position) + 1 FROM daysheet.event), $1,
       1 + coalesce((SELECT max(version) FROM daysheet.event WHERE stream = $1), 0), $2, $3, $4, $5, $6, now()
RETURNING position
"""
_NEWS = "SELECT pg_notify('daysheet_event', '')"

Servers = tuple[Server, Server]
Insert = Callable[..., Awaitable[int]]


@pytest.fixture
def insert(database: Database) -> Insert:
    """Writes an event past all rules, as a newer release or a bad restore might. Returns its position."""

    async def insert(stream: str, stored_type: str, data: bytes, day: str | None, subject: str | None = None) -> int:
        meta = META % str(uuid.uuid4()).encode()
        about = uuid.UUID(subject) if subject else uuid.uuid4()
        on = date.fromisoformat(day) if day else None
        ((position,),) = await ask(database.admin_url, _INSERT, stream, stored_type, on, about, data, meta)
        await ask(database.admin_url, _NEWS)
        return int(position)

    return insert


async def died_of(server: Server, cause: str) -> str:
    """What the server said when it ended by itself: one line in the log, and one for whoever started it."""
    async with asyncio.timeout(STOP_SECONDS):
        assert await server.process.wait() == 1
    await asyncio.gather(*server._tasks)
    *_, logged, told = server.log.decode().splitlines()
    line = json.loads(logged)
    assert (line["level"], line["event"], line["cause"]) == ("critical", "server_died", cause)
    assert server.log.count(b'"critical"') == 1
    assert told == f"daysheet: {line['detail']}"
    return told


async def watching(monitor: ClientWebSocketResponse, day: str) -> dict[str, object]:
    await monitor.send_json({"action": "subscribe", "date": day})
    return await monitor.receive_json()  # type: ignore[no-any-return]


async def tomorrow(server: Server) -> str:
    return str(date.fromisoformat(await server.today()) + timedelta(days=1))


@pytest.mark.parametrize(("stored_type", "on_a_day"), [("patient-teleported@1", True), ("doctor-registered@99", False)])
async def test_an_event_of_a_newer_release_ends_every_server(
    two: Servers, insert: Insert, stored_type: str, on_a_day: bool
) -> None:
    doctor, today = await two[0].a_doctor(), await two[0].today()
    async with two[0].monitor() as one, two[1].monitor() as other:
        await asyncio.gather(watching(one, today), watching(other, today))
        stream = f"clinic/{doctor}/{today}" if on_a_day else f"doctor/{doctor}"
        await insert(stream, stored_type, b"{}", today if on_a_day else None)
        for monitor in (one, other):
            closed = await monitor.receive()
            assert (closed.type, closed.data) == (WSMsgType.CLOSE, 1012)
    for server in two:
        assert "written by a newer release" in await died_of(server, "NewerEvent")


@pytest.mark.parametrize("data", [b"not JSON", b'{"patient_id":7}', b"[" * 100_000])
async def test_what_cannot_be_read_takes_its_own_date_away_and_no_other(
    two: Servers, insert: Insert, data: bytes
) -> None:
    here, there = two
    today, next_day, doctor = await here.today(), await tomorrow(here), await here.a_doctor()
    for day in (today, next_day):
        await here.an_appointment(doctor, date=day)
    async with here.monitor() as of_today, here.monitor(doctor) as of_doctor, here.monitor() as of_next_day:
        await watching(of_today, today)
        await watching(of_doctor, today)
        await watching(of_next_day, next_day)
        position = await insert(f"clinic/{doctor}/{today}", "appointment-booked@1", data, today)
        for monitor in (of_today, of_doctor):
            said = await monitor.receive_json()
            assert (said["type"], said["code"]) == ("error", "unavailable")
            assert (await watching(monitor, today))["code"] == "unavailable"
            assert (await watching(monitor, next_day))["type"] == "snapshot"
        for server in (here, there):  # one that had the board, and one that never did
            gone = await server.get(f"/queue?date={today}&min_sequence={position}")
            assert (gone.status, gone.code) == (503, "unavailable")
            assert (await server.get(f"/queue?date={next_day}")).body["data"]["total_appointments"] == 1

        booked = await there.an_appointment(doctor, date=next_day)
        shown = await of_next_day.receive_json()
        assert shown["data"]["doctors"][0]["appointments"][1]["appointment_id"] == booked
    assert b"day_unavailable" in here.log


async def test_commands_on_a_stream_that_cannot_be_read_say_unavailable(server: Server, insert: Insert) -> None:
    today, doctor = await server.today(), await server.a_doctor()
    await server.an_appointment(doctor)
    await insert(f"clinic/{doctor}/{today}", "patient-called@1", b"not JSON", today)
    body = {"doctor_id": doctor, "patient_id": await server.a_patient(), "date": today}
    refused = await server.post("/appointments", body)
    assert (refused.status, refused.code) == (503, "unavailable")
    other_doctor = await server.a_doctor()
    recorded = await server.post("/appointments", body | {"doctor_id": other_doctor})
    # The other clinic takes it, and the board that would show it cannot be shown.
    assert (recorded.status, recorded.code) == (503, "outcome_unknown")
    again = await server.post("/appointments", body | {"doctor_id": other_doctor})
    assert again.code == "already_booked"


async def test_an_event_about_an_appointment_that_is_not_there_takes_its_date_away(
    server: Server, insert: Insert, serve: ServerFactory
) -> None:
    today, next_day, doctor = await server.today(), await tomorrow(server), await server.a_doctor()
    await server.an_appointment(doctor)
    async with server.monitor() as monitor:
        await watching(monitor, today)
        await insert(f"clinic/{doctor}/{today}", "patient-called@1", b"{}", today)
        assert (await monitor.receive_json())["code"] == "unavailable"
    for each in (server, await serve()):
        assert (await each.get(f"/queue?date={today}")).code == "unavailable"
        assert (await each.get(f"/queue?date={next_day}")).status == 200


async def test_a_doctor_who_cannot_be_read_ends_the_server_and_keeps_the_next_from_starting(
    server: Server, insert: Insert, database: Database
) -> None:
    await server.a_doctor()
    await insert(f"doctor/{uuid.uuid4()}", "doctor-registered@1", b"not JSON", None)
    assert "doctor-registered@1" in await died_of(server, "UnreadableEvent")
    ended = await daysheet("serve", "--port=0", f"--database-url={database.url}", f"--data-dir={database.folder}")
    assert ended.said.startswith("daysheet: doctor-registered@1 in doctor/")


async def test_a_newer_event_in_the_registry_keeps_a_server_from_starting(
    server: Server, insert: Insert, database: Database
) -> None:
    await server.a_doctor()
    await insert(f"doctor/{uuid.uuid4()}", "doctor-teleported@1", b"{}", None)
    await died_of(server, "NewerEvent")
    ended = await daysheet("serve", "--port=0", f"--database-url={database.url}", f"--data-dir={database.folder}")
    assert ended.said == "daysheet: doctor-teleported@1 was written by a newer release than this one"


async def test_a_server_that_starts_after_one_of_a_newer_release_leaves_that_date_to_it(
    serve: ServerFactory, insert: Insert
) -> None:
    first = await serve()
    today, next_day, doctor = await first.today(), await tomorrow(first), await first.a_doctor()
    await first.an_appointment(doctor)
    await insert(f"clinic/{doctor}/{today}", "patient-teleported@1", b"{}", today)
    await died_of(first, "NewerEvent")
    again = await serve()
    assert (await again.get(f"/queue?date={today}")).code == "unavailable"
    async with again.monitor() as monitor:
        assert (await watching(monitor, today))["code"] == "unavailable"
        assert (await watching(monitor, next_day))["type"] == "snapshot"
    booking = {"doctor_id": doctor, "patient_id": await again.a_patient(), "date": today}
    assert (await again.post("/appointments", booking)).code == "unavailable"
    assert (await again.post("/appointments", booking | {"date": next_day})).status == 201


async def test_a_hole_in_the_log_ends_the_server(server: Server, insert: Insert, database: Database) -> None:
    doctor, today = await server.a_doctor(), await server.today()
    await server.an_appointment(doctor)
    async with server.monitor() as monitor:
        await watching(monitor, today)
        connection = await asyncpg.connect(database.admin_url)
        try:
            # Two at once, and the first of them taken away before anybody could see it.
            await connection.execute("ALTER TABLE daysheet.event DISABLE TRIGGER never_changed")
            async with connection.transaction():
                for _ in range(2):
                    await connection.execute(
                        _INSERT, f"doctor/{uuid.uuid4()}", "doctor-registered@1", None, uuid.uuid4(), b"{}", b"{}"
                    )
                await connection.execute(
                    "DELETE FROM daysheet.event WHERE position = (SELECT max(position) - 1 FROM daysheet.event)"
                )
                await connection.execute(_NEWS)
        finally:
            await connection.close()
        closed = await monitor.receive()
        assert (closed.type, closed.data) == (WSMsgType.CLOSE, 1012)
    assert "after position" in await died_of(server, "HoleInLog")
