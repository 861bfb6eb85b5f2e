"""The order people are seen in."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import combinations, permutations
from typing import get_args
from uuid import UUID

import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st

from domain.rules.events import ClinicChanged, Event, Order, PatientCalled, Priority
from domain.rules.ids import AppointmentId, PatientId
from domain.rules.line import RANK, Place, place
from domain.rules.refusals import QueueEmpty
from tests.rules.decisions import call_next
from tests.rules.facts import (
    A1,
    A2,
    A3,
    BOOKED,
    CALLED,
    CANCELLED,
    CHECKED_IN,
    COMPLETED,
    NINE,
    OPENED,
    P1,
    P2,
    P3,
    booked,
    checked_in,
    clock,
    opened,
)
from tests.rules.scenario import given

ORDERS: tuple[Order, ...] = get_args(Order)


def _called(appointment_id: AppointmentId) -> PatientCalled:
    return PatientCalled(appointment_id=appointment_id)


# --- stories -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "facts",
    [(OPENED,), (OPENED, BOOKED), (OPENED, BOOKED, CHECKED_IN, CALLED), (OPENED, BOOKED, CHECKED_IN, CANCELLED)],
    ids=["nobody booked", "nobody came", "everybody called", "everybody left"],
)
def test_an_empty_line_has_nobody_to_call(facts: tuple[Event, ...]) -> None:
    given(*facts).when(call_next()).refused(QueueEmpty)


def test_by_arrival_the_first_to_come_is_the_first_to_be_called() -> None:
    came = (checked_in(A2, 1, clock(9, 0)), checked_in(A1, 2, clock(9, 5)))
    given(OPENED, booked(A1, P1, 1), booked(A2, P2, 2), *came).when(call_next()).then(_called(A2))


def test_by_arrival_it_is_the_effective_time_that_counts() -> None:
    entered_late = (checked_in(A2, 1, clock(9, 5)), checked_in(A1, 2, clock(9, 0)))
    given(OPENED, booked(A1, P1, 1), booked(A2, P2, 2), *entered_late).when(call_next()).then(_called(A1))


def test_by_arrival_whoever_came_at_the_same_moment_is_called_as_it_was_recorded() -> None:
    came = (checked_in(A3, 1), checked_in(A1, 2), checked_in(A2, 3))
    story = (OPENED, booked(A1, P1, 1), booked(A2, P2, 2), booked(A3, P3, 3), *came)
    given(*story).when(call_next()).then(_called(A3))
    given(*story, _called(A3)).when(call_next()).then(_called(A1))
    given(*story, _called(A3), _called(A1)).when(call_next()).then(_called(A2))


def test_by_slot_the_lowest_slot_is_called_whoever_came_first() -> None:
    came = (checked_in(A2, 1, clock(8, 0)), checked_in(A1, 2, clock(9, 5)))
    given(opened(order="slot"), booked(A1, P1, 1), booked(A2, P2, 2), *came).when(call_next()).then(_called(A1))


@pytest.mark.parametrize("order", ORDERS)
def test_priority_comes_before_the_clinics_order(order: Order) -> None:
    story = (
        opened(order=order),
        booked(A1, P1, 1),
        booked(A2, P2, 2, "urgent"),
        booked(A3, P3, 3, "emergency"),
        checked_in(A1, 1, clock(9, 0)),
        checked_in(A2, 2, clock(9, 5)),
        checked_in(A3, 3, clock(9, 10)),
    )
    given(*story).when(call_next()).then(_called(A3))
    given(*story, _called(A3)).when(call_next()).then(_called(A2))
    given(*story, _called(A3), _called(A2)).when(call_next()).then(_called(A1))


def test_a_clinic_that_changes_its_order_changes_the_line() -> None:
    came = (checked_in(A2, 1, clock(8, 0)), checked_in(A1, 2, clock(9, 5)))
    by_slot = ClinicChanged(capacity=3, starts_at="09:00", slot_minutes=10, order="slot")
    given(OPENED, booked(A1, P1, 1), booked(A2, P2, 2), *came, by_slot).when(call_next()).then(_called(A1))


def test_whoever_is_booked_and_not_here_is_passed_over() -> None:
    given(OPENED, BOOKED, booked(A2, P2, 2), checked_in(A2, 1)).when(call_next()).then(_called(A2))


def test_a_patient_who_was_seen_and_booked_again_waits_anew() -> None:
    seen = (OPENED, BOOKED, CHECKED_IN, CALLED, COMPLETED)
    again = (booked(A2, P1, 2), checked_in(A2, 2, clock(11, 0)))
    given(*seen, *again).when(call_next()).then(_called(A2))


# --- for every line there can be -----------------------------------------------------------------


@dataclass(frozen=True)
class Waiting:
    priority: Priority
    minutes: int
    """Of arrival, after nine. Few enough that many arrive at once."""
    arrival: int
    slot: int

    @property
    def arrived_at(self) -> datetime:
        return NINE + timedelta(minutes=self.minutes)

    def place(self, order: Order) -> Place:
        return place(order, priority=self.priority, arrived_at=self.arrived_at, arrival=self.arrival, slot=self.slot)


@st.composite
def lines(draw: st.DrawFn, longest: int = 8) -> list[Waiting]:
    """In the order in which they were recorded."""
    slots = draw(st.lists(st.integers(1, 40), unique=True, max_size=longest))
    priorities = st.sampled_from(get_args(Priority))
    return [Waiting(draw(priorities), draw(st.integers(0, 3)), arrival, slot) for arrival, slot in enumerate(slots, 1)]


def _goes_first(order: Order, one: Waiting, other: Waiting) -> bool:
    """The contract's sentence, word for word: by priority, then arrival (effective time, then sequence) or slot."""
    if one.priority != other.priority:
        return get_args(Priority).index(one.priority) > get_args(Priority).index(other.priority)
    if order == "slot":
        return one.slot < other.slot
    if one.arrived_at != other.arrived_at:
        return one.arrived_at < other.arrived_at
    return one.arrival < other.arrival


@pytest.mark.parametrize("order", ORDERS)
@for_all(line=lines())
def test_of_any_two_one_goes_first_as_the_contract_says(order: Order, line: list[Waiting]) -> None:
    for one, other in combinations(line, 2):
        assert (one.place(order) < other.place(order)) == _goes_first(order, one, other)
        assert (one.place(order) < other.place(order)) != (other.place(order) < one.place(order))


@pytest.mark.parametrize("order", ORDERS)
@for_all(line=lines(longest=4))
def test_the_line_is_the_same_however_it_is_gathered(order: Order, line: list[Waiting]) -> None:
    lined_up = _lined_up(order, line)
    assert all(_lined_up(order, gathered) == lined_up for gathered in permutations(line))


@pytest.mark.parametrize("order", ORDERS)
@for_all(line=lines(), data=st.data())
def test_nobody_changes_places_when_somebody_leaves(order: Order, line: list[Waiting], data: st.DataObject) -> None:
    staying = data.draw(st.lists(st.sampled_from(line), unique=True)) if line else []
    assert _lined_up(order, staying) == [one for one in _lined_up(order, line) if one in staying]


@pytest.mark.parametrize("order", ORDERS)
@for_all(line=lines())
def test_a_clinic_calls_its_line_from_first_to_last(order: Order, line: list[Waiting]) -> None:
    told: list[Event] = [opened(capacity=40, order=order)]
    for one in line:
        told += (
            booked(_appointment(one), PatientId(UUID(int=one.slot)), one.slot, one.priority),
            checked_in(_appointment(one), one.arrival, one.arrived_at),
        )
    called = []
    for _ in line:
        first = given(*told).clinic.next_in_line().appointment_id
        told.append(_called(first))
        called.append(first)
    assert called == [_appointment(one) for one in _lined_up(order, line)]
    given(*told).when(call_next()).refused(QueueEmpty)


def test_every_priority_has_a_rank_of_its_own() -> None:
    assert sorted(RANK, key=RANK.__getitem__, reverse=True) == list(get_args(Priority))
    assert len(set(RANK.values())) == len(RANK)


def _lined_up(order: Order, line: Sequence[Waiting]) -> list[Waiting]:
    return sorted(line, key=lambda one: one.place(order))


def _appointment(one: Waiting) -> AppointmentId:
    return AppointmentId(UUID(int=0xA00 + one.slot))
