"""What happens next in the made-up hospital: one decision about the board as it is. Pure: the clock and chance come in.

A newcomer wants to see something move every second or two, and twelve doctors at life's own pace do not do that. So
from now on a consultation takes two minutes instead of ten, until those who are booked are too far ahead of the clock;
then the pace goes back to what slots between now and midnight give room for.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from operator import itemgetter
from typing import Final

from domain.rules.commands import CallNext, CancelAppointment, CheckIn, CompleteConsultation, SetUpClinic
from domain.rules.ids import DoctorId, clinic_stream
from domain.rules.settings import MINUTES_A_DAY
from projections.board import Clinic, DayBoard, Entry

SECONDS: Final = (1.0, 3.0)
"""Between two steps, while half of the slots ahead are free."""
SLOWER: Final = 3.0
"""By how many times as much they are further apart when none is."""
AHEAD_MINUTES: Final = 90
"""How far ahead bookings are taken. Towards midnight it is half of what is left, so that the evening has some too."""
LINE_AT_MOST: Final = 6
EXPECTED: Final = 4
"""So many in a line, and as many who are not here yet, make a list look alive."""
LINE_AT_LEAST: Final = 2
SHORTEST_CONSULTATION: Final = timedelta(seconds=45)
MORE_SLOTS: Final = 10


@dataclass(frozen=True, slots=True)
class Booking:
    """Somebody is to get this slot. Who, is for others to say."""

    doctor_id: DoctorId
    slot: int


Next = CallNext | CheckIn | CompleteConsultation | CancelAppointment | SetUpClinic | Booking


@dataclass(slots=True)
class _List:
    """A clinic as it is now: who waits, who was called, who is expected, which of the slots ahead are free.

    `most`: how many slots the clinic can have before midnight.
    """

    clinic: Clinic
    minute: int
    here: list[Entry] = field(init=False)
    called: list[Entry] = field(init=False)
    expected: list[Entry] = field(init=False)
    ahead: range = field(init=False)
    most: int = field(init=False)
    free: list[int] = field(init=False)

    def __post_init__(self) -> None:
        entries = self.clinic.list_up()
        self.here = [entry for entry in entries if entry.state.stage == "checked_in"]
        self.called = [entry for entry in entries if entry.state.stage in ("called", "in_consultation")]
        self.expected = [entry for entry in entries if entry.state.status == "confirmed" and entry.state.stage is None]
        hours, minutes = map(int, self.clinic.starts_at.split(":"))
        begun, each = self.minute - hours * 60 - minutes, self.clinic.slot_minutes
        self.most = (MINUTES_A_DAY - hours * 60 - minutes) // each
        ahead_minutes = min(AHEAD_MINUTES, (MINUTES_A_DAY - self.minute) // 2)
        # A slot counts by its beginning; the first from now on, up to the last that ends before midnight.
        first, last = max(1, -(-begun // each) + 1), (begun + ahead_minutes) // each
        self.ahead = range(first, last + 1)
        taken = {entry.state.slot for entry in entries}
        self.free = [slot for slot in self.ahead if slot not in taken]


def next_step(board: DayBoard, doctors: Iterable[DoctorId], now: datetime, rng: random.Random) -> Next | None:
    """None when there is nothing to do. `now` is in the hospital's zone."""
    lists = _lists(board, doctors, now)
    idle = [one for one in lists if one.here and not one.called]
    if idle:
        return CallNext(doctor_id=rng.choice(idle).clinic.doctor_id, date=board.date)
    steps: Mapping[Next, float] = {
        step: weight
        for step, weight in (
            _complete(lists, now, rng),
            _check_in(lists, rng),
            _book(lists, board, rng),
            _cancel(lists, rng),
        )
        if step is not None and weight > 0
    }
    return rng.choices(list(steps), list(steps.values()))[0] if steps else None


def pause_seconds(board: DayBoard, doctors: Iterable[DoctorId], now: datetime, rng: random.Random) -> float:
    """How long until the next step."""
    lists = _lists(board, doctors, now)
    slots, free = sum(len(one.ahead) for one in lists), sum(len(one.free) for one in lists)
    crowded = max(0.0, 1 - 2 * free / slots) if slots else 1.0
    return rng.uniform(*SECONDS) * (1 + SLOWER * crowded)


def _lists(board: DayBoard, doctors: Iterable[DoctorId], now: datetime) -> list[_List]:
    clinics = (board.clinics.get(clinic_stream(doctor_id, board.date)) for doctor_id in doctors)
    return [_List(clinic, now.hour * 60 + now.minute) for clinic in clinics if clinic is not None]


# Each weighs what it has to do, so that lines and lists keep their lengths: a full line is worked off, a short one fed.

_Weighed = tuple[Next | None, float]


def _complete(lists: list[_List], now: datetime, rng: random.Random) -> _Weighed:
    """One of those who have been with their doctor for the longest. With hardly anyone waiting, a doctor takes time."""
    seen = [
        (len(one.here) < LINE_AT_LEAST, entry.state.called_at, entry)
        for one in lists
        for entry in one.called
        if entry.state.called_at is not None and now - entry.state.called_at >= SHORTEST_CONSULTATION
    ]
    if not seen:
        return None, 0
    _, _, patient = rng.choice(sorted(seen, key=itemgetter(0, 1))[:3])
    waiting = sum(len(one.here) for one in lists) / len(lists)
    return CompleteConsultation(appointment_id=patient.appointment_id), max(0.5, waiting)


def _check_in(lists: list[_List], rng: random.Random) -> _Weighed:
    """Somebody for one of the shortest lines, more or less in the order of the list."""
    open_doors = sorted((one for one in lists if one.expected and len(one.here) < LINE_AT_MOST), key=_waiting)[:4]
    if not open_doors:
        return None, 0
    patient = rng.choice(rng.choice(open_doors).expected[:3])
    return CheckIn(appointment_id=patient.appointment_id), sum(len(one.expected) for one in lists) / len(lists)


def _waiting(one: _List) -> int:
    return len(one.here)


def _book(lists: list[_List], board: DayBoard, rng: random.Random) -> _Weighed:
    """The next free slot of a list that has become short, or first some more slots."""
    open_lists = [
        one for one in lists if one.free and one.clinic.status == "open" and len(one.expected) <= 2 * EXPECTED
    ]
    if not open_lists:
        return None, 0
    shortest = rng.choice(sorted(open_lists, key=lambda one: len(one.expected))[:4])
    clinic, slot = shortest.clinic, shortest.free[0]
    if slot <= clinic.capacity:
        return Booking(clinic.doctor_id, slot), EXPECTED
    capacity = min(slot + MORE_SLOTS, shortest.most)
    return SetUpClinic(doctor_id=clinic.doctor_id, date=board.date, capacity=capacity), EXPECTED


def _cancel(lists: list[_List], rng: random.Random) -> _Weighed:
    long_lists = [one for one in lists if len(one.expected) >= EXPECTED]
    if not long_lists:
        return None, 0
    patient = rng.choice(rng.choice(long_lists).expected)
    return CancelAppointment(appointment_id=patient.appointment_id), 0.25
