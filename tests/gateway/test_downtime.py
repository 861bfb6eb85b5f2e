"""Sheets to go on with by paper are there when they are needed, forget whom they have to, and never stop the queue."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest

from domain.desk.outcome import Asker
from domain.rules import commands
from gateway.downtime import folder
from gateway.downtime.folder import sheet_file
from gateway.downtime.writing import Downtime
from gateway.parts import Parts
from tests.conftest import Database, ServerFactory
from tests.gateway.contract import at, listed
from tests.log.writing import until
from tests.server import Server, started

DEVELOPER = Asker(actor="developer", role="developer")
NAME, PHONE = "Quirin Unverwechselbar", "+49 151 98765"
SHARED = 0o755


async def _booked(server: Server, name: str = NAME, *, days: int = 0) -> tuple[str, str]:
    """Somebody who comes today, or in so many days. Returns the patient's id, and the date."""
    day = str(date.fromisoformat(await server.today()) + timedelta(days=days))
    patient = await server.a_patient(name=name, phone=PHONE)
    await server.an_appointment(await server.a_doctor(), patient, date=day)
    return patient, day


def _holds(file: Path, text: str) -> Callable[[], bool]:
    return lambda: file.exists() and text in file.read_text(encoding="utf-8")


async def test_sheets_of_today_and_tomorrow_are_written_at_start_and_at_stop_for_their_owner_alone(
    serve: ServerFactory, tmp_path: Path
) -> None:
    sheets = tmp_path / "made" / "for it"
    server = await serve("--downtime-dir", str(sheets))
    today = date.fromisoformat(await server.today())
    days = [today, today + timedelta(days=1)]
    await until(lambda: sorted(os.listdir(sheets)) == [sheet_file(sheets, day).name for day in days])
    await _booked(server)
    await _booked(server, "Tomorrow's Child", days=1)
    assert await server.stop() == 0
    assert _holds(sheet_file(sheets, days[0]), NAME)()
    assert _holds(sheet_file(sheets, days[1]), "Tomorrow&#x27;s Child")()
    assert sheets.stat().st_mode & 0o777 == 0o700
    assert [file.stat().st_mode & 0o777 for file in sheets.iterdir()] == [0o600, 0o600]


async def test_whoever_is_erased_is_on_no_sheet_and_in_no_log_a_moment_later(
    serve: ServerFactory, tmp_path: Path
) -> None:
    server = await serve("--downtime-dir", str(tmp_path / "sheets"))
    patient, day = await _booked(server)
    sheet = sheet_file(tmp_path / "sheets", date.fromisoformat(day))
    other, _ = await _booked(server, "Other Soul")
    third, _ = await _booked(server, "Third Soul", days=1)
    await server.stop()
    assert _holds(sheet, NAME)()
    server = await serve("--downtime-dir", str(tmp_path / "sheets"))
    assert (await server.post(f"/patients/{patient}/erase", {"reason": "asked"})).status == 200
    await until(lambda: not _holds(sheet, NAME)())
    text = sheet.read_text(encoding="utf-8")
    assert "[erased]" in text
    assert "…8765" in text  # the other's, who has the same number
    assert (await server.post(f"/patients/{other}/erase", {"reason": "asked"})).status == 200
    assert (await server.post(f"/patients/{third}/erase", {"reason": "asked"})).status == 200

    def sheets() -> str:
        return "".join(file.read_text(encoding="utf-8") for file in sheet.parent.glob("*.html"))

    await until(lambda: "Soul" not in sheets() and "8765" not in sheets())
    for personal in (b"Quirin", b"Unverwechselbar", b"Soul", b"98765"):
        assert personal not in server.log


async def test_only_the_erasure_of_somebody_on_a_sheet_makes_another(parts: Parts, tmp_path: Path) -> None:
    sheets = tmp_path / "sheets"
    downtime = Downtime(sheets, parts.boards, parts.encoder, now=parts.now, zone=parts.zone)

    async def do(command: commands.Command) -> UUID:
        done = await parts.desk.handle(command, DEVELOPER)
        await parts.projector.reached(done.sequence, seconds=5)
        return done.receipt.id

    patient, other = [await do(commands.RegisterPatient(name=name)) for name in (NAME, "Somebody Else")]
    doctor = await do(commands.RegisterDoctor(name="D", code="D", specialty="S"))
    booking = commands.BookAppointment(doctor_id=doctor, patient_id=patient, date=parts.today())  # type: ignore[arg-type]
    await do(booking)
    assert await downtime.write()
    downtime.erased(other)  # type: ignore[arg-type]
    assert not downtime._due.is_set()
    downtime.erased(patient)  # type: ignore[arg-type]
    assert downtime._due.is_set()


async def test_past_sheets_and_what_was_left_half_written_are_cleared_away(
    serve: ServerFactory, tmp_path: Path
) -> None:
    kept = ["notes.txt", "daysheet-manual.html", ".hidden"]
    for name in [*kept, "daysheet-2020-01-01.html", ".daysheet-2020-01-02.html-x1.unfinished"]:
        (tmp_path / name).write_text(NAME)
    server = await serve("--downtime-dir", str(tmp_path))  # pytest's own are private
    today = date.fromisoformat(await server.today())
    written = [sheet_file(tmp_path, day).name for day in (today, today + timedelta(days=1))]
    await until(lambda: {*kept, *written} == set(os.listdir(tmp_path)) - {"master.key", "ledger.key"})


async def test_a_folder_that_others_can_enter_is_closed_if_it_is_ours_and_else_left_alone(tmp_path: Path) -> None:
    ours, shared = tmp_path / "ours", tmp_path / "shared"
    for each in (ours, shared):
        each.mkdir(mode=SHARED)
        each.chmod(SHARED)
    folder.put(ours, date(2025, 11, 17), "page")
    folder.prepare(ours)
    assert ours.stat().st_mode & 0o777 == 0o700
    (shared / "of somebody else").touch()
    with pytest.raises(folder.NotPrivate, match="choose a folder of its own"):
        folder.prepare(shared)
    assert shared.stat().st_mode & 0o777 == SHARED


async def test_a_disk_that_fails_is_logged_and_counted_and_the_queue_goes_on(
    serve: ServerFactory, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    server = await serve("--downtime-dir", str(tmp_path / "file" / "sheets"))
    await until(lambda: b'"downtime_sheet_not_written"' in server.log)
    assert b"Not a directory" in server.log
    await _booked(server)
    async with server._session.get(server.url + "/metrics") as answer:
        metrics = await answer.text()
    assert 'daysheet_downtime_failures_total{worker="0"} 1.0' in metrics
    assert 'daysheet_downtime_written_timestamp_seconds{worker="0"} 0.0' in metrics
    assert await server.stop() == 0


async def test_a_date_that_cannot_be_shown_does_not_keep_the_other_from_being_written(
    parts: Parts, tmp_path: Path
) -> None:
    downtime = Downtime(tmp_path / "sheets", parts.boards, parts.encoder, now=parts.now, zone=parts.zone)
    parts.boards.give_up(parts.today(), LookupError())
    assert not await downtime.write()
    assert (downtime.failures, downtime.written_at) == (1, None)
    tomorrow = sheet_file(tmp_path / "sheets", parts.today() + timedelta(days=1))
    assert list((tmp_path / "sheets").iterdir()) == [tomorrow]


async def test_sheets_are_written_again_and_again(parts: Parts, tmp_path: Path) -> None:
    sheets = tmp_path / "sheets"
    downtime = Downtime(sheets, parts.boards, parts.encoder, now=parts.now, zone=parts.zone, every_seconds=0.01)
    running = asyncio.create_task(downtime.run())
    await until(lambda: downtime.written_at is not None)
    first = downtime.written_at
    await until(lambda: downtime.written_at != first)
    running.cancel()


async def test_of_several_workers_one_writes(database: Database, tmp_path: Path) -> None:
    sheets = tmp_path / "sheets"
    options = (f"--database-url={database.url}", f"--data-dir={database.folder}", "--workers=2")
    async with started(*options, f"--downtime-dir={sheets}") as server:
        await until(lambda: sheets.exists() and len(os.listdir(sheets)) == 2)
        _, day = await _booked(server)
        assert await server.stop() == 0
    assert _holds(sheet_file(sheets, date.fromisoformat(day)), NAME)()
    assert b"downtime_sheet_not_written" not in server.log


# --- and back again ------------------------------------------------------------------------------


async def test_a_morning_on_paper_is_brought_back_with_the_papers_times(server: Server) -> None:
    """What was printed: two who are booked. What was written down by hand: they came, and so did somebody else."""
    day = "2024-03-05"
    doctor = await server.a_doctor(code="PAPER")
    entered = {"date": day, "effective_at": at(day, "07:00")}
    anna = await server.an_appointment(doctor, await server.a_patient(name="Anna"), slot=1, **entered)
    ben = await server.an_appointment(doctor, await server.a_patient(name="Ben"), slot=2, **entered)
    walked_in = await server.a_patient(name="Carla")

    async def enter(path: str, clock: str, **body: str) -> str:
        answer = await server.post(path, body | {"effective_at": at(day, clock), "reason": "from the paper"})
        assert answer.status in (200, 201), answer
        return str(answer.body["appointment_id"])

    # Line by line, as the sheet has it: not in the order in which it happened.
    await enter("/checkins", "08:55", appointment_id=anna)
    for step, clock in (("call", "09:05"), ("start", "09:07"), ("complete", "09:20")):
        await enter(f"/appointments/{anna}/{step}", clock)
    await enter("/checkins", "08:50", appointment_id=ben)
    await enter(f"/appointments/{ben}/call", "09:21")
    carla = await enter("/walkins", "09:10", doctor_id=doctor, patient_id=walked_in)

    shown = {who: (await listed(server, day, who))["queue"] for who in (anna, ben, carla)}
    assert shown[anna] | {"ticket": ""} == {
        "position": 0, "checked_in_at": at(day, "08:55"), "called_at": at(day, "09:05"),
        "completed_at": at(day, "09:20"), "status": "completed", "ticket": "",
    }  # fmt: skip
    assert (shown[ben]["checked_in_at"], shown[ben]["called_at"]) == (at(day, "08:50"), at(day, "09:21"))
    assert (shown[carla]["checked_in_at"], shown[carla]["position"]) == (at(day, "09:10"), 1)
    async with server._session.get(f"{server.api}/queue/{day}/export?format=csv") as answer:
        rows = [line.split(",") for line in (await answer.text()).splitlines()[1:]]
    assert {row[0]: row[12:14] for row in rows} == {anna: ["10.0", "13.0"], ben: ["31.0", ""], carla: ["", ""]}
    history = (await server.get(f"/appointments/{anna}/history")).body["events"]
    recorded = datetime.fromisoformat(history[-1]["recorded_at"])
    assert recorded.year > 2024  # and the log knows when it was told
