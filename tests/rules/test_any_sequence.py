"""Whatever is done with appointments in two clinics: undone step by step it never happened."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from hypothesis import given as for_all
from hypothesis import settings
from hypothesis import strategies as st

from domain.rules import events
from domain.rules.appointment import ALLOWED_FROM, Moment
from domain.rules.clinic import Clinic
from domain.rules.events import Event
from domain.rules.ids import AppointmentId, clinic_stream
from domain.rules.refusals import NothingToUndo, Refusal
from domain.rules.settings import Settings
from tests.rules.facts import A1, A2, A3, CODE, D1, D2, DAY, NINE, P1, P2, P3
from tests.rules.scenario import fold, known_of, news_of

PEOPLE = ((A1, P1), (A2, P2), (A3, P3))
STREAMS = (clinic_stream(D1, DAY), clinic_stream(D2, DAY))


@dataclass
class TwoClinics:
    """One doctor's and another's, and what has been asked of them."""

    clinics: tuple[Clinic, Clinic] = field(init=False)
    at: datetime = NINE
    refused: int = 0

    def __post_init__(self) -> None:
        orders: tuple[events.Order, events.Order] = ("arrival", "slot")
        first, second = (
            Clinic.open(stream, Settings(capacity=3, order=order), reason=None, at=NINE)
            for stream, order in zip(STREAMS, orders, strict=True)
        )
        self.clinics = first, second
        for slot, (appointment_id, patient_id) in enumerate(PEOPLE, 1):
            first.book(appointment_id, patient_id, slot=slot, priority="routine", reason=None, moment=Moment(NINE, DAY))

    def where(self, appointment_id: AppointmentId) -> tuple[Clinic, Clinic]:
        """The clinic it stands in, and the other."""
        first, second = self.clinics
        return (first, second) if appointment_id in first.appointments else (second, first)

    def step(self, number: int, decide: Decide, minutes: int) -> bool:
        """Whether it was allowed. Time stands still now and then, so that many arrive at once."""
        self.at += timedelta(minutes=minutes)
        appointment_id = PEOPLE[number][0]
        try:
            decide(*self.where(appointment_id), appointment_id, Moment(self.at, DAY))
        except Refusal:
            self.refused += 1
            return False
        return True

    def undo(self, appointment_id: AppointmentId) -> None:
        """As `desk` does it."""
        here, other = self.where(appointment_id)
        moment = Moment(self.at, DAY)
        if here.last_step(appointment_id, moment).doctor_id is None:
            here.undo(appointment_id, reason=None, moment=moment)
        else:
            here.undo_move(other, appointment_id, reason=None, moment=moment)

    def stands(self) -> list[Any]:
        """Everybody's state and steps, who is where, who holds what, and both lines in order."""
        return [
            (
                {each: _but_time(known_of(appointment)) for each, appointment in clinic.appointments.items()},
                dict(clinic.taken),
                _line(clinic),
            )
            for clinic in self.clinics
        ]


Decide = Callable[[Clinic, Clinic, AppointmentId, Moment], object]


def _but_time(known: dict[str, Any]) -> dict[str, Any]:
    """An undo is a step too, in that nothing is entered before it."""
    return {name: copy.copy(value) for name, value in known.items() if name != "last_step_at"}


def _line(clinic: Clinic) -> list[AppointmentId]:
    waiting = [a for a in clinic.appointments.values() if a.stage == "checked_in"]
    waiting.sort(key=lambda appointment: appointment.place(clinic.settings.order))
    return [appointment.appointment_id for appointment in waiting]


def _take(step: type[events.AppointmentStep]) -> Decide:
    return lambda here, _, who, moment: here.take(step, who, reason=None, moment=moment)


def _check_in(here: Clinic, _: Clinic, who: AppointmentId, moment: Moment) -> None:
    here.check_in(who, None, doctor_code=CODE, reason=None, moment=moment)


def _prioritise(priority: events.Priority) -> Decide:
    return lambda here, _, who, moment: here.change_priority(who, priority, reason=None, moment=moment)


def _move(slot: int | None) -> Decide:
    return lambda here, _, who, moment: here.move(who, slot, reason=None, moment=moment)


def _move_to(slot: int | None) -> Decide:
    return lambda here, other, who, moment: here.move_to(other, who, slot, reason=None, moment=moment)


_FURTHER = (_check_in, _take(events.PatientCalled), _take(events.ConsultationStarted))
"""Often, since much else is allowed only to those who came so far."""
_PLAIN = tuple(_take(step) for step in ALLOWED_FROM if step is not events.PriorityChanged)
_PRIORITIES: tuple[events.Priority, ...] = ("routine", "urgent", "emergency")
_MOVES = tuple(to(slot) for to in (_move, _move_to) for slot in (None, 1, 2, 3))
_decisions = st.sampled_from((*_FURTHER * 6, *_PLAIN * 2, *map(_prioritise, _PRIORITIES), *_MOVES))
_steps = st.lists(st.tuples(st.integers(0, 2), _decisions, st.integers(0, 1)), min_size=8, max_size=30)


@settings(deadline=None, max_examples=250)
@for_all(steps=_steps)
def test_steps_undone_one_after_the_other_lead_back_through_the_states_before(
    steps: list[tuple[int, Decide, int]],
) -> None:
    day = TwoClinics()
    passed: list[tuple[AppointmentId, list[Any]]] = []
    for number, decide, minutes in steps:
        before, count = day.stands(), _recorded(day)
        if day.step(number, decide, minutes) and _recorded(day) > count:
            passed.append((PEOPLE[number][0], before))
    while passed:
        appointment_id, before = passed.pop()
        day.undo(appointment_id)
        assert day.stands() == before
    for appointment_id, _ in PEOPLE:
        try:
            day.undo(appointment_id)
        except NothingToUndo:
            continue
        raise AssertionError("a booking was undone")


@settings(deadline=None, max_examples=100)
@for_all(steps=_steps, undone=st.lists(st.integers(0, 2), max_size=5), ends=st.booleans())
def test_folding_what_was_recorded_gives_the_same_clinics(
    steps: list[tuple[int, Decide, int]], undone: list[int], ends: bool
) -> None:
    day = TwoClinics()
    for number, decide, minutes in steps:
        day.step(number, decide, minutes)
        if undone:
            day.step(undone.pop(), lambda here, other, who, moment: day.undo(who), 0)
    for clinic in day.clinics:
        if ends and not any(a.stage == "in_consultation" for a in clinic.appointments.values()):
            clinic.finish(reason=None, moment=Moment(day.at, DAY))
    for clinic in day.clinics:
        told: list[Event] = news_of(clinic)
        afresh: Any = fold(told, stream=clinic.id)
        assert _known(afresh) == _known(clinic)


@settings(deadline=None, max_examples=100)
@for_all(steps=_steps)
def test_nobody_is_lost_nobody_is_in_two_clinics_and_no_slot_has_two(steps: list[tuple[int, Decide, int]]) -> None:
    day = TwoClinics()
    for number, decide, minutes in steps:
        day.step(number, decide, minutes)
        everybody = [each for clinic in day.clinics for each in clinic.appointments]
        assert sorted(everybody) == sorted(appointment_id for appointment_id, _ in PEOPLE)
        for clinic in day.clinics:
            held = {a.slot: each for each, a in clinic.appointments.items() if a.status != "cancelled"}
            assert clinic.taken == held
            places = {clinic.appointment(each).place(clinic.settings.order) for each in _line(clinic)}
            assert len(places) == len(_line(clinic))


def _recorded(day: TwoClinics) -> int:
    return sum(clinic.version for clinic in day.clinics)


def _known(clinic: Clinic) -> Any:
    known = {name: value for name, value in vars(clinic).items() if not name.startswith("_pending")}
    return known | {"appointments": {each: known_of(a) for each, a in clinic.appointments.items()}}
