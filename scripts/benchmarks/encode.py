"""encode: one change, and the whole day's JSON is ready again.

Days of 15, 400 and 6,000 appointments, half of them checked in. Ours folds a check-in into the board and has the day's
bytes ready, of which one appointment's are new: in the pieces that go to the sockets as they are, of a large day a
dozen or so; "in one piece" joins them too, as an answer over HTTP does. "call-next" folds a call in a clinic where 29
stay waiting, so that every one of them moves up. The peers encode the same day from the beginning; peers/whole_day.py
says what they are spared.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import cycle
from typing import Final

from domain.rules.events import AppointmentEvent, PatientCalled, PatientCheckedIn
from domain.rules.ids import AppointmentId, DoctorId, PatientId
from gateway.parts import Parts
from projections.board import DayBoard
from scripts.benchmarks import hospital
from scripts.benchmarks.hospital import Postgres
from scripts.benchmarks.peers import whole_day
from scripts.benchmarks.report import Measure, Row, interleaved, microseconds, row

DAYS: Final = ((3, 5), (20, 20), (200, 30))
"""Doctors, and the patients of each."""
FIRST_DAY: Final = date(2031, 5, 12)
LINE: Final = 30
ROUND_SECONDS: Final = 0.3


@dataclass(frozen=True, slots=True)
class Morning:
    """A board in memory, to which things happen that no log knows of."""

    parts: Parts
    board: DayBoard
    at: datetime
    appointments: list[AppointmentId]

    def happens(self, event: AppointmentEvent) -> None:
        self.board.fold(self.board.sequence + 1, event)

    def in_one_piece(self) -> bytes:
        return self.parts.encoder.day(self.board, self.at)

    def pieces(self) -> list[bytes]:
        """The same as it goes to the sockets."""
        return self.parts.encoder.day_pieces(self.board, self.at)

    def check_in(self, appointment_id: AppointmentId) -> PatientCheckedIn:
        return PatientCheckedIn(
            originator_id=self.board.clinic_of[appointment_id],
            timestamp=self.at.astimezone(UTC),
            appointment_id=appointment_id,
            ticket="DOC001-7",
        )

    def call(self, appointment_id: AppointmentId) -> PatientCalled:
        stream = self.board.clinic_of[appointment_id]
        return PatientCalled(originator_id=stream, timestamp=self.at.astimezone(UTC), appointment_id=appointment_id)


async def run(postgres: Postgres, *, quick: bool) -> list[Row]:
    sizes, rounds, seconds = (DAYS[:1], 1, 0.01) if quick else (DAYS, 9, ROUND_SECONDS)
    await hospital.found(postgres, "ours")
    async with hospital.opened(postgres, "ours") as parts:
        doctors = await hospital.hire(parts, sizes[-1][0])
        patients = await hospital.register(parts, sizes[-1][0] * sizes[-1][1])
        mornings = [
            await _morning(parts, FIRST_DAY + timedelta(days=nth), doctors[:clinics], patients[: clinics * each])
            for nth, (clinics, each) in enumerate(sizes)
        ]
        rows: list[Row] = []
        for morning in mornings:
            case = f"check-in, {len(morning.appointments):,} appointments"
            for how, ready in (("", morning.pieces), (", in one piece", morning.in_one_piece)):
                rows += await _compare(morning, case + how, _check_in_of_each(morning, ready, seconds), seconds, rounds)
        morning = mornings[-1]
        line = morning.appointments[:LINE]  # one doctor's, of the largest day
        case = f"call-next, {len(line) - 1} stay waiting, {len(morning.appointments):,} appointments"
        return rows + await _compare(morning, case, _call_next_of(morning, line, seconds), seconds, rounds)


async def _morning(parts: Parts, day: date, doctors: list[DoctorId], patients: list[PatientId]) -> Morning:
    at = hospital.turn_clock_to(parts, day)
    booked = await hospital.book(parts, day, doctors, patients)
    appointments = [appointment for own in booked.values() for appointment in own]
    await hospital.check_in(parts, appointments[::2])
    await hospital.caught_up(parts)
    return Morning(parts, await parts.boards.get(day), at, appointments)


def _check_in_of_each(morning: Morning, ready: Callable[[], object], seconds: float) -> Measure:
    check_ins = cycle([morning.check_in(appointment) for appointment in morning.appointments])

    def once() -> None:
        morning.happens(next(check_ins))
        ready()

    return microseconds(once, seconds)


def _call_next_of(morning: Morning, line: Sequence[AppointmentId], seconds: float) -> Measure:
    """Who was called gets back in line behind the others, which is not timed."""
    for appointment in line:
        morning.happens(morning.check_in(appointment))
    morning.pieces()
    steps = cycle([(morning.call(appointment), morning.check_in(appointment)) for appointment in line])

    async def measure() -> float:
        spent, calls, ends = 0.0, 0, time.perf_counter() + seconds
        while time.perf_counter() < ends:
            call, back = next(steps)
            begins = time.perf_counter()
            morning.happens(call)
            morning.pieces()
            spent += time.perf_counter() - begins
            calls += 1
            morning.happens(back)
            morning.pieces()
        return 1e6 * spent / calls

    return measure


async def _compare(morning: Morning, case: str, ours: Measure, seconds: float, rounds: int) -> list[Row]:
    day = morning.in_one_piece()
    with_msgspec = microseconds(whole_day.with_msgspec(day), seconds)
    with_json = microseconds(whole_day.with_json(day), seconds)
    figures = await interleaved(rounds, ours, with_msgspec, with_json)
    return [
        row(case, "µs", whole_day.MSGSPEC, [(a, b) for a, b, _ in figures]),
        row(case, "µs", whole_day.JSON, [(a, c) for a, _, c in figures]),
    ]
