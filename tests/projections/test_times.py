"""How long somebody waited, told from the log, is what those who were there would say."""

from __future__ import annotations

import csv
import io
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from itertools import count
from typing import Any
from uuid import UUID, uuid4

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.desk.outcome import Asker
from domain.log import read
from domain.rules import commands
from domain.rules.ids import AppointmentId, DoctorId, PatientId
from domain.rules.refusals import Refusal
from gateway.parts import Parts

DEVELOPER = Asker(actor="developer", role="developer")
_numbers = count()


@dataclass
class Diary:
    """One appointment, and what is left of what was done to it: (what, at which minute), undone steps torn out."""

    appointment_id: AppointmentId
    left: list[tuple[str, int]] = field(default_factory=list)

    def minute(self, *wanted: str, last: bool = False) -> int | None:
        """Of the first of these, or the last, since they came."""
        since = max((place for place, (what, _) in enumerate(self.left) if what == "check in"), default=0)
        minutes = [minute for what, minute in self.left[since:] if what in wanted]
        return (minutes[-1] if last else minutes[0]) if minutes else None

    def waited(self) -> float | None:
        return _minutes(self.minute("check in"), self.minute("call", "recall"))

    def consulted(self) -> float | None:
        begun = self.minute("start")
        return _minutes(begun or self.minute("call", "recall", last=True), self.minute("complete"))


def _minutes(since: int | None, until: int | None) -> float | None:
    return float(until - since) if since is not None and until is not None else None


class Day:
    """A date of its own with two doctors. Every command takes place a minute after the one before."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.day = date(2023, 1, 1) + timedelta(days=2 * next(_numbers))
        self.doctors: list[DoctorId] = []
        self.diaries: list[Diary] = []
        self.minute = 0

    async def begin(self) -> None:
        for number in range(2):
            code = f"={number}{uuid4().hex[:6]}"
            self.doctors.append(DoctorId(await self._do(commands.RegisterDoctor(name="D", code=code, specialty="S"))))

    async def _do(self, command: Any) -> UUID:
        return (await self.parts.desk.handle(command, DEVELOPER)).receipt.id

    def at(self, minute: int) -> datetime:
        return datetime.combine(self.day, time(8), tzinfo=self.parts.zone) + timedelta(minutes=minute)

    async def book(self, doctor: int = 0, on: date | None = None) -> Diary:
        self.minute += 1
        patient = PatientId(await self._do(commands.RegisterPatient(name='@Ünal, "A"')))
        booking = commands.BookAppointment(
            doctor_id=self.doctors[doctor],
            patient_id=patient,
            date=on or self.day,
            effective_at=self.at(self.minute),
        )
        self.diaries.append(Diary(AppointmentId(await self._do(booking))))
        return self.diaries[-1]

    async def take(self, diary: Diary, step: str) -> bool:
        """Whether anything came of it: it was allowed, and not so already."""
        self.minute += 1
        known: dict[str, Any] = {"appointment_id": diary.appointment_id, "effective_at": self.at(self.minute)}
        try:
            done = await self.parts.desk.handle(_command(self, step, known), DEVELOPER)
        except Refusal:
            return False
        if not done.appended:
            return False
        if step == "undo":
            diary.left.pop()
        else:
            diary.left.append((step, self.minute))
        return True

    async def rows(self, *, names: bool = False, day: date | None = None) -> dict[str, dict[str, str]]:
        """The table, read back by appointment."""
        await self.parts.projector.reached(await read.head(self.parts.pool), seconds=10)
        pages = self.parts.export.csv(day or self.day, names=names)
        async with aclosing(pages):
            text = b"".join([page async for page in pages]).decode()
        return {row["appointment_id"]: row for row in csv.DictReader(io.StringIO(text, newline=""))}


def _command(day: Day, step: str, known: dict[str, Any]) -> Any:
    why = known | {"reason": "so it was"}
    match step:
        case "check in":
            return commands.CheckIn(**known)
        case "call":
            return commands.CallPatient(**why)
        case "recall":
            return commands.RecallPatient(**known)
        case "hold":
            return commands.PutOnHold(**known)
        case "resume":
            return commands.Resume(**known)
        case "start":
            return commands.StartConsultation(**known)
        case "complete":
            return commands.CompleteConsultation(**known)
        case "no-show":
            return commands.MarkNoShow(**known)
        case "urgent":
            return commands.ChangePriority(**why, priority="urgent")
        case "undo":
            return commands.UndoStep(**why)
        case "to the first" | "to the second":
            return commands.MoveAppointment(**why, doctor_id=day.doctors[step == "to the second"])
    raise AssertionError(step)


STEPS = (
    "check in", "call", "recall", "hold", "resume", "start", "complete", "no-show", "urgent", "undo",
    "to the first", "to the second",
)  # fmt: skip
_USUAL = ("check in", "call", "start", "complete", "undo")
"""Most steps are refused from most states: these lead somewhere."""


@settings(
    max_examples=100,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=st.lists(st.tuples(st.integers(0, 1), st.sampled_from(STEPS + 3 * _USUAL)), min_size=5, max_size=30))
async def test_after_any_day_every_wait_is_what_is_left_of_the_steps_taken(
    parts: Parts, steps: list[tuple[int, str]]
) -> None:
    day = Day(parts)
    await day.begin()
    diaries = [await day.book(number) for number in range(2)]
    for number, step in steps:
        await day.take(diaries[number], step)
    rows = await day.rows()
    assert rows.keys() == {str(diary.appointment_id) for diary in diaries}
    for diary in diaries:
        row = rows[str(diary.appointment_id)]
        assert row["waiting_minutes"] == _cell(diary.waited()), diary
        assert row["consultation_minutes"] == _cell(diary.consulted()), diary
        assert row["called_at"] == _time(day, diary.minute("call", "recall", last=True)), diary
    waited = [minutes for diary in diaries if (minutes := diary.waited()) is not None]
    assert sum(float(row["waiting_minutes"] or 0) for row in rows.values()) == sum(waited)


def _cell(minutes: float | None) -> str:
    return "" if minutes is None else str(minutes)


def _time(day: Day, minute: int | None) -> str:
    return "" if minute is None else day.at(minute).isoformat(timespec="seconds")


async def _a_visit(day: Day, *steps: str) -> dict[str, str]:
    await day.begin()
    diary = await day.book()
    for step in steps:
        assert await day.take(diary, step), step
    return (await day.rows())[str(diary.appointment_id)]


async def test_a_call_that_is_taken_back_ends_no_wait(parts: Parts) -> None:
    day = Day(parts)
    row = await _a_visit(day, "check in", "call", "undo")
    assert (row["first_called_at"], row["called_at"], row["waiting_minutes"]) == ("", "", "")
    row = await _a_visit(day, "check in", "call", "undo", "call", "recall", "start", "complete")
    assert (row["waiting_minutes"], row["consultation_minutes"]) == ("3.0", "1.0")


async def test_whoever_is_moved_within_the_day_has_waited_since_they_came(parts: Parts) -> None:
    day = Day(parts)
    row = await _a_visit(day, "check in", "to the second", "call", "complete")
    assert row["doctor_code"].startswith("'=1")
    assert (row["waiting_minutes"], row["consultation_minutes"]) == ("2.0", "1.0")
    row = await _a_visit(day, "check in", "call", "to the second", "undo", "undo", "call")
    assert row["waiting_minutes"] == "5.0"


async def test_a_no_show_who_was_called_in_vain_and_comes_after_all_waits_from_then_on(parts: Parts) -> None:
    row = await _a_visit(Day(parts), "check in", "call", "no-show", "check in", "urgent", "call")
    assert row["waiting_minutes"] == "2.0"


async def test_who_moves_to_another_date_is_on_that_dates_list_alone_and_comes_back_with_undo(parts: Parts) -> None:
    day = Day(parts)
    await day.begin()
    tomorrow = day.day + timedelta(days=1)
    diary = await day.book()
    known = {"appointment_id": diary.appointment_id, "reason": "so it was"}
    await day._do(commands.MoveAppointment(**known, date=tomorrow, effective_at=day.at(5)))  # type: ignore[arg-type]
    assert await day.rows() == {}
    row = (await day.rows(day=tomorrow))[str(diary.appointment_id)]
    assert (row["booked_at"], row["status"]) == (_time(day, 1), "confirmed")  # booked for another date, all the same
    await day._do(commands.UndoStep(**known, effective_at=day.at(6)))  # type: ignore[arg-type]
    assert await day.rows(day=tomorrow) == {}
    day.minute = 6
    for step in ("check in", "call"):
        assert await day.take(diary, step)
    assert (await day.rows())[str(diary.appointment_id)]["waiting_minutes"] == "1.0"


async def test_names_are_told_on_demand_alone_and_no_cell_is_a_formula(parts: Parts) -> None:
    day = Day(parts)
    await day.begin()
    diary = await day.book()
    await day.take(diary, "check in")
    (row,) = (await day.rows()).values()
    assert "patient_name" not in row
    assert not any("nal" in cell for cell in row.values())
    (row,) = (await day.rows(names=True)).values()
    assert row["patient_name"] == '\'@Ünal, "A"'
    assert not any(cell.startswith(("=", "+", "-", "@")) for cell in row.values())
    await day._do(commands.ErasePatient(patient_id=UUID(row["patient_id"]), reason="asked"))  # type: ignore[arg-type]
    (row,) = (await day.rows(names=True)).values()
    assert row["patient_name"] == "[erased]"
