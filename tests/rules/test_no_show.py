"""Booked and never came, or never answered: the slot stays taken, and the patient is marked."""

import pytest

from domain.rules.events import Event, PatientMarkedNoShow
from domain.rules.refusals import QueueEmpty, SlotTaken
from tests.rules.decisions import book, call_next, mark_no_show
from tests.rules.facts import A1, A2, CALLED_IN, HELD, NO_SHOW, OPENED, P2, STAGES, TOMORROW, WAITING, clock
from tests.rules.scenario import given


def test_who_never_came_has_no_queue_entry_to_mark() -> None:
    appointment = given(*STAGES["never came"]).clinic.appointment(A1)
    assert (appointment.status, appointment.stage, appointment.state.ticket) == ("no_show", None, None)


@pytest.mark.parametrize("before", [WAITING, CALLED_IN, HELD], ids=["waiting", "called", "on hold"])
def test_who_never_answered_is_marked_in_the_queue_too(before: tuple[Event, ...]) -> None:
    appointment = given(*before, NO_SHOW).clinic.appointment(A1)
    assert (appointment.status, appointment.stage) == ("no_show", "no_show")
    assert appointment.state.ticket == "DOC001-1"
    given(*before, NO_SHOW).when(call_next()).refused(QueueEmpty)


def test_the_slot_of_a_no_show_stays_taken() -> None:
    given(*STAGES["never came"]).when(book(A2, P2, 1)).refused(SlotTaken)


def test_a_no_show_is_marked_on_the_day_after_as_well() -> None:
    after_midnight = mark_no_show(A1, at=clock(1, 0, TOMORROW), today=TOMORROW)
    given(OPENED, *STAGES["booked"][1:]).when(after_midnight).then(PatientMarkedNoShow(appointment_id=A1))
