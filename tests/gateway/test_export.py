"""A date to take away: GET /queue/{date}/export, and `daysheet export`, which asks for it."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import psutil
import pytest

from gateway import app as composition
from gateway.rest import export
from gateway.settings import Settings
from projections.export import PAGE_ROWS
from tests.conftest import Database, in_own_task
from tests.gateway.contract import TIME, UNKNOWN, at
from tests.gateway.raw import connected, request
from tests.server import Server, started
from tests.system.command import Ended, daysheet

pytestmark = pytest.mark.asyncio(loop_scope="module")

EVENT = {
    "sequence", "type", "recorded_at", "effective_at", "actor", "reason", "doctor_id", "appointment_id", "data",
    "patient_id", "stream", "version", "role", "command", "command_id", "correlation_id", "recorded_at_utc",
    "effective_at_utc", "stored", "proof",
}  # fmt: skip
EXACTLY = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
LARGE_DAY, MANY = "2019-05-06", 20_000
LATE_AGAIN = json.dumps({"minutes": 5, "note": "as it was " * 19}).encode()
MEGABYTE = 2**20

_MANY_MORE = """
INSERT INTO daysheet.event (position, stream, version, type, day, subject, data, meta, recorded_at)
SELECT e.position + n, e.stream, e.version + n, 'clinic-delayed@1', e.day, e.subject, $2, e.meta, e.recorded_at
FROM daysheet.event e, generate_series(1, $1) n
WHERE e.position = (SELECT max(position) FROM daysheet.event)
"""
"""What nobody would type in: a clinic that says again and again how late it is."""


async def _export(server: Server, day: str, query: str = "") -> tuple[Any, bytes]:
    async with server._session.get(f"{server.api}/queue/{day}/export{query}") as answer:
        return answer, await answer.read()


def _lines(body: bytes) -> list[dict[str, Any]]:
    assert body.endswith(b"\n")
    return [json.loads(line) for line in body.splitlines()]


def _rows(body: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(body.decode(), newline="")))


async def _a_morning(server: Server, day: str, name: str = "Priya Raman") -> tuple[str, str]:
    """One patient who came, was called and was seen. Returns the appointment's and the patient's id."""
    patient = await server.a_patient(name=name, phone="+91 98765 43210")
    entered = {"date": day, "effective_at": at(day, "08:00")}
    doctor = await server.a_doctor(code=f"E{day}")
    appointment = await server.an_appointment(doctor, patient, **entered)
    await server.post("/checkins", {"appointment_id": appointment, "effective_at": at(day, "09:00")})
    why = {"reason": f"{name} asked to go first"}
    for clock, step, body in (("09:12", "call", why), ("09:15", "start", {}), ("09:45", "complete", {})):
        answer = await server.post(
            f"/appointments/{appointment}/{step}", {"effective_at": at(day, clock)} | body, X_Request_ID=f"tap-{step}"
        )
        assert answer.status == 200, answer
    return appointment, patient


async def test_events_are_told_in_order_with_all_that_is_known_of_them(hospital: Server, past: str) -> None:
    appointment, patient = await _a_morning(hospital, past)
    answer, body = await _export(hospital, past)
    assert answer.status == 200
    assert answer.content_type == "application/x-ndjson"
    assert answer.headers["Content-Disposition"] == f'attachment; filename="daysheet-{past}.ndjson"'
    head, *events, end = _lines(body)
    assert head.keys() == {"export", "format", "store_id", "timezone", "date", "made_at", "up_to", "key", "checkpoint"}
    assert (head["date"], head["timezone"]) == (past, "Asia/Kolkata")
    assert TIME.fullmatch(head["made_at"])
    assert end == {"end": "daysheet", "events": len(events)}

    page = (await hospital.get(f"/queue/{past}/events")).body["events"]
    assert [{key: event[key] for key in page[0]} for event in events] == page
    assert head["up_to"] >= events[-1]["sequence"]
    assert [event["version"] for event in events] == list(range(1, len(events) + 1))
    for event in events:
        assert event.keys() == EVENT
        assert event["patient_id"] == (patient if event["appointment_id"] else None)
        for name in ("recorded_at", "effective_at"):
            assert EXACTLY.fullmatch(event[f"{name}_utc"])
            exactly = datetime.fromisoformat(event[f"{name}_utc"])
            assert exactly.replace(microsecond=0) == datetime.fromisoformat(event[name])
    called = next(event for event in events if event["type"] == "PatientCalled")
    assert (called["command"], called["correlation_id"], called["role"]) == ("CallPatient", "tap-call", "developer")
    assert called["reason"] == "Priya Raman asked to go first"
    assert called["appointment_id"] == appointment
    assert called["effective_at_utc"] == f"{past}T03:42:00.000000Z"


async def test_appointments_are_told_with_their_waits_and_without_names(hospital: Server, past: str) -> None:
    appointment, patient = await _a_morning(hospital, past)
    answer, body = await _export(hospital, past, "?format=csv")
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert answer.headers["Content-Disposition"] == f'attachment; filename="daysheet-{past}.csv"'
    head, line, rest = body.split(b"\r\n")
    assert rest == b""
    assert head.decode() == ",".join(
        (
            "appointment_id,doctor_code,ticket,slot,status,priority,booked_at,checked_in_at,first_called_at,called_at",
            "consultation_started_at,completed_at,waiting_minutes,consultation_minutes,patient_id",
        )
    )
    assert line.decode().split(",") == [
        appointment, f"E{past}", f"E{past}-1", "1", "completed", "routine", at(past, "08:00"), at(past, "09:00"),
        at(past, "09:12"), at(past, "09:12"), at(past, "09:15"), at(past, "09:45"), "12.0", "30.0", patient,
    ]  # fmt: skip
    _, body = await _export(hospital, past, "?format=csv&names=true")
    assert _rows(body)[0]["patient_name"] == "Priya Raman"


async def test_a_date_without_anything_is_an_export_of_nothing(hospital: Server, future: str) -> None:
    head, end = _lines((await _export(hospital, future))[1])
    assert (head["date"], end["events"]) == (future, 0)
    assert _rows((await _export(hospital, future, "?format=csv"))[1]) == []


async def test_after_an_erasure_neither_name_nor_phone_nor_reason_is_in_any_export(hospital: Server, past: str) -> None:
    _, patient = await _a_morning(hospital, past, name="Quirin Unverwechselbar")
    exports = ("", "?format=csv", "?format=csv&names=true")
    before = b"".join([(await _export(hospital, past, query))[1] for query in exports])
    assert b"Unverwechselbar" in before
    assert (await hospital.post(f"/patients/{patient}/erase", {"reason": "asked"})).status == 200
    after = b"".join([(await _export(hospital, past, query))[1] for query in exports])
    assert b"[erased]" in after
    for personal in (b"Quirin", b"Unverwechselbar", b"98765", b"43210", b"go first"):
        assert personal not in after
        assert personal not in hospital.log


@pytest.mark.parametrize(
    ("query", "key"),
    [
        ("?format=xml", "format"),
        ("?format=csv&names=perhaps", "names"),
        ("?names=true", "names"),
        ("?limit=5", "limit"),
    ],
)
async def test_what_cannot_be_meant_is_refused_before_anything_is_sent(hospital: Server, query: str, key: str) -> None:
    answer = await hospital.get(f"/queue/2020-01-01/export{query}")
    assert (answer.status, answer.code, answer.body["key"]) == (400, "invalid_request", key)


async def test_a_head_request_is_answered_without_a_body(hospital: Server, past: str) -> None:
    async with hospital._session.head(f"{hospital.api}/queue/{past}/export") as answer:
        assert answer.status == 200
        assert "attachment" in answer.headers["Content-Disposition"]
        assert await answer.read() == b""
    assert (await hospital.get("/doctors")).status == 200


# --- a large day ---------------------------------------------------------------------------------


async def _make_large(server: Server, database: Database, *datas: bytes, times: int = MANY) -> None:
    """Much happens on a date, as these datas say, each many times; returns once the server has followed it all."""
    doctor = await server.a_doctor()
    last = (await server.call("PUT", f"/clinics/{doctor}/{LARGE_DAY}", {"capacity": 3})).body["sequence"]
    connection = await asyncpg.connect(database.admin_url)
    try:
        for data in datas:
            await connection.execute(_MANY_MORE, times, data)
            last += times
    finally:
        await connection.close()
    while (await server.get(f"/doctors?min_sequence={last}")).status != 200:
        pass


async def test_a_large_day_is_sent_as_it_is_read_and_waits_for_a_slow_reader(
    hospital: Server, module_database: Database
) -> None:
    await _make_large(hospital, module_database, LATE_AGAIN)
    process = psutil.Process(hospital.process.pid)
    path = f"/api/v1/queue/{LARGE_DAY}/export"
    await _export(hospital, LARGE_DAY)  # what Python takes the first time, it keeps
    before = process.memory_info().rss
    async with connected(hospital, receive_bytes=4096, limit=2**12) as slow:
        await slow.send(request("GET", path, {"Host": slow.host}))
        assert await slow.reader.read(15) == b"HTTP/1.1 200 OK"
        slow.writer.transport.pause_reading()  # type: ignore[attr-defined]
        for _ in range(20):  # meanwhile everybody else is answered
            assert (await hospital.get("/doctors")).status == 200
        _, body = await _export(hospital, LARGE_DAY)
        grown = process.memory_info().rss - before
    assert len(body) > 12 * MEGABYTE
    assert grown < 8 * MEGABYTE
    end = json.loads(body[body.rindex(b"\n", 0, -1) :])
    assert end["events"] == body.count(b"\n") - 2 == MANY + 1


@asynccontextmanager
async def _in_this_process(database: Database) -> AsyncIterator[Server]:
    """A server whose limits can be set to what a test can wait for."""
    settings = Settings(database_url=database.url, data_dir=database.folder, port=0)
    async with (
        in_own_task(database.settings()) as parts,
        composition._listening(settings, parts) as url,
        aiohttp.ClientSession() as session,
    ):
        yield Server(None, url, bytearray(), session)  # type: ignore[arg-type]


async def test_a_client_that_does_not_read_is_cut_off_and_makes_room_for_others(
    hospital: Server, module_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "STALLED_SECONDS", 0.5)
    monkeypatch.setattr(export, "AT_ONCE", 1)
    async with (
        _in_this_process(module_database) as server,
        connected(server, receive_bytes=4096, limit=2**12) as stuck,
    ):
        await stuck.send(request("GET", f"/api/v1/queue/{LARGE_DAY}/export", {"Host": stuck.host}))
        assert await stuck.reader.read(15) == b"HTTP/1.1 200 OK"
        stuck.writer.transport.pause_reading()  # type: ignore[attr-defined]
        answer, body = await _export(server, LARGE_DAY)
        assert (answer.status, json.loads(body)["code"]) == (429, "rate_limited")
        assert answer.headers["Retry-After"]
        while (await _export(server, "2019-05-07"))[0].status == 429:
            pass
        stuck.writer.transport.resume_reading()  # type: ignore[attr-defined]
        with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
            await stuck.reader.readexactly(12 * MEGABYTE)


async def test_a_server_that_stops_waits_for_nobody_who_reads_slowly(database: Database) -> None:
    async with started("--database-url", database.url, "--data-dir", str(database.folder)) as server:
        await _make_large(server, database, LATE_AGAIN, times=16 * PAGE_ROWS)
        async with connected(server, receive_bytes=4096, limit=2**12) as stuck:
            await stuck.send(request("GET", f"/api/v1/queue/{LARGE_DAY}/export", {"Host": stuck.host}))
            assert await stuck.reader.read(15) == b"HTTP/1.1 200 OK"
            stuck.writer.transport.pause_reading()  # type: ignore[attr-defined]
            assert await server.stop() == 0
    assert b'"export_cut_off"' in server.log  # it ended by itself, and nobody waited until it was cancelled


# --- the command ---------------------------------------------------------------------------------


async def test_the_command_writes_to_the_terminal_or_to_a_file_of_ones_own(
    hospital: Server, past: str, tmp_path: Path
) -> None:
    await _a_morning(hospital, past)
    ended = await daysheet("export", past, "--url", hospital.url)
    assert (ended.code, ended.errors) == (0, "")
    _, body = await _export(hospital, past)
    assert _lines(ended.out.encode())[1:] == _lines(body)[1:]

    file = tmp_path / "day.csv"
    ended = await daysheet("export", past, "--format", "csv", "--names", "--to", file, "--url", hospital.url)
    assert ended == Ended(0, "", "")
    assert _rows(file.read_bytes())[0]["patient_name"] == "Priya Raman"
    assert file.stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == [file.name]


async def test_what_did_not_come_whole_leaves_no_file_and_an_earlier_one_as_it_was(
    database: Database, tmp_path: Path
) -> None:
    file = tmp_path / "exports" / "day.ndjson"
    file.parent.mkdir()
    file.write_text("of yesterday")
    async with started("--database-url", database.url, "--data-dir", str(database.folder)) as server:
        # Some pages on, the record cannot be read.
        await _make_large(server, database, LATE_AGAIN, b"no JSON", times=3 * PAGE_ROWS)
        ended = await daysheet("export", LARGE_DAY, "--to", file, "--url", server.url)
        assert ended.said == "daysheet: the server cut it off: what has come is not whole"
        assert file.read_text() == "of yesterday"
        assert os.listdir(file.parent) == [file.name]
        assert b'"export_cut_off"' in server.log
        assert await server.stop() == 0


async def test_what_is_in_the_way_of_the_command_is_said_in_a_line(hospital: Server, tmp_path: Path) -> None:
    ended = await daysheet("export", "2020-01-01", "--names", "--url", hospital.url)
    assert ended.said == "daysheet: the server says 400: `names` is for csv: events hold no names"
    ended = await daysheet("export", "2020-01-01", "--url", "http://127.0.0.1:1")
    assert ended.said.startswith("daysheet: 127.0.0.1:1 cannot be reached: ")
    ended = await daysheet("export", "2020-01-01", "--to", tmp_path / UNKNOWN / "day", "--url", hospital.url)
    assert "No such file or directory" in ended.said
