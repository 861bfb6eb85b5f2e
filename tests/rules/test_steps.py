"""Being called, seen, put on hold, cancelled: from which states, and to which."""

from collections.abc import Callable
from typing import Any

import pytest

from domain.rules import events
from domain.rules.appointment import ALLOWED_FROM
from domain.rules.events import AppointmentStep, Event
from domain.rules.ids import Sealed
from domain.rules.refusals import EffectiveTooEarly, NotAllowedFrom, UnknownAppointment
from tests.rules.decisions import Decision, call, call_next, cancel, complete, hold, mark_no_show, recall, resume, start
from tests.rules.facts import (
    A1,
    A2,
    BOOKED,
    CALLED,
    CALLED_IN,
    CANCELLED,
    COMPLETED,
    HELD,
    IN_CONSULTATION,
    ON_HOLD,
    OPENED,
    P2,
    RECALLED,
    RESUMED,
    SEEN,
    STAGES,
    STARTED,
    TOMORROW,
    WAITING,
    booked,
    checked_in,
    clock,
)
from tests.rules.scenario import given, known_of

STEPS: dict[type[AppointmentStep], tuple[Callable[..., Decision], set[str]]] = {
    events.PatientCalled: (call, {"waiting"}),
    events.PatientRecalled: (recall, {"called"}),
    events.ConsultationStarted: (start, {"called"}),
    events.ConsultationCompleted: (complete, {"called", "in consultation"}),
    events.PatientPutOnHold: (hold, {"waiting", "called"}),
    events.PatientResumed: (resume, {"on hold"}),
    events.AppointmentCancelled: (cancel, {"booked", "waiting", "called", "on hold"}),
    events.PatientMarkedNoShow: (mark_no_show, {"booked", "waiting", "called", "on hold"}),
}
"""The contract's table: from where each step is allowed."""
MATRIX = [(step, before) for step in STEPS for before in STAGES]


@pytest.mark.parametrize(("step", "before"), MATRIX, ids=lambda part: getattr(part, "__name__", part))
def test_a_step_is_taken_from_the_states_of_the_contract_and_from_no_other(
    step: type[AppointmentStep], before: str
) -> None:
    decide, allowed = STEPS[step]
    story = given(*STAGES[before])
    if before in allowed:
        story.when(decide(A1)).then(step(appointment_id=A1))
    else:
        stands = story.clinic.appointment(A1)
        story.when(decide(A1)).refused(NotAllowedFrom, appointment_status=stands.status, queue_status=stands.stage)


def test_every_step_with_states_of_its_own_is_in_the_table() -> None:
    assert ALLOWED_FROM.keys() == STEPS.keys() | {events.PriorityChanged}


@pytest.mark.parametrize("step", STEPS)
def test_a_step_records_its_reason_as_it_was_sealed(step: type[AppointmentStep]) -> None:
    decide, allowed = STEPS[step]
    before = STAGES[next(name for name in STAGES if name in allowed)]
    given(*before).when(decide(A1, reason=Sealed(b"sealed"))).then(step(appointment_id=A1, reason=Sealed(b"sealed")))


@pytest.mark.parametrize("step", STEPS)
def test_an_appointment_that_the_clinic_does_not_have_is_unknown(step: type[AppointmentStep]) -> None:
    given(OPENED, BOOKED).when(STEPS[step][0](A2, at=clock(8), late=True)).refused(UnknownAppointment)


@pytest.mark.parametrize("step", STEPS)
def test_a_time_too_early_comes_before_the_state(step: type[AppointmentStep]) -> None:
    given(*SEEN).when(STEPS[step][0](A1, at=clock(8), late=True)).refused(EffectiveTooEarly)


# --- what a step leaves behind -------------------------------------------------------------------


def _stands(*facts: Event) -> tuple[Any, ...]:
    state = given(*facts).clinic.appointment(A1).state
    return state.status, state.stage, state.called_at, state.completed_at


def test_a_called_patient_knows_since_when() -> None:
    assert _stands(*WAITING, _at(CALLED, 10)) == ("confirmed", "called", clock(10), None)


def test_the_latest_call_counts_recalls_included() -> None:
    assert _stands(*WAITING, _at(CALLED, 10), _at(RECALLED, 11)) == ("confirmed", "called", clock(11), None)


def test_hold_and_resume_keep_the_call() -> None:
    away = (*WAITING, _at(CALLED, 10), _at(ON_HOLD, 11))
    assert _stands(*away) == ("confirmed", "on_hold", clock(10), None)
    assert _stands(*away, _at(RESUMED, 12)) == ("confirmed", "checked_in", clock(10), None)


def test_a_consultation_begins_and_is_over() -> None:
    begun = (*WAITING, _at(CALLED, 10), _at(STARTED, 11))
    assert _stands(*begun) == ("confirmed", "in_consultation", clock(10), None)
    assert _stands(*begun, _at(COMPLETED, 12)) == ("completed", "completed", clock(10), clock(12))


def test_a_completed_appointment_keeps_its_ticket() -> None:
    assert given(*SEEN).clinic.appointment(A1).state.ticket == "DOC001-1"


def test_a_cancelled_appointment_has_left_the_line_and_its_slot() -> None:
    clinic = given(*WAITING, CANCELLED).clinic
    assert (clinic.appointment(A1).status, clinic.appointment(A1).stage) == ("cancelled", None)
    assert clinic.taken == {}


def test_an_appointment_is_cancelled_and_completed_on_another_day_than_its_own() -> None:
    given(OPENED, BOOKED).when(cancel(A1, at=clock(1, 0, TOMORROW), today=TOMORROW)).then(CANCELLED)
    given(*CALLED_IN).when(complete(A1, at=clock(1, 0, TOMORROW))).then(COMPLETED)


def test_whoever_is_on_hold_is_out_of_the_line_and_comes_back_to_the_place_kept() -> None:
    other = (booked(A2, P2, 2), checked_in(A2, 2, clock(9, 5)))
    given(*HELD, *other).when(call_next()).then(events.PatientCalled(appointment_id=A2))
    given(*HELD, *other, RESUMED).when(call_next()).then(CALLED)


def test_a_call_out_of_turn_leaves_the_others_where_they_stand() -> None:
    story = (*WAITING, booked(A2, P2, 2), checked_in(A2, 2, clock(9, 5)))
    given(*story).when(call(A2)).then(events.PatientCalled(appointment_id=A2))
    given(*story, events.PatientCalled(appointment_id=A2)).when(call_next()).then(CALLED)


def test_whoever_is_called_or_in_consultation_is_being_seen() -> None:
    story = (*WAITING, booked(A2, P2, 2), checked_in(A2, 2))
    assert given(*story).clinic.being_seen() == []
    assert [a.appointment_id for a in given(*story, CALLED).clinic.being_seen()] == [A1]
    both = given(*IN_CONSULTATION, booked(A2, P2, 2), checked_in(A2, 2), events.PatientCalled(appointment_id=A2))
    assert [a.appointment_id for a in both.clinic.being_seen()] == [A1, A2]


def test_a_step_of_one_patient_leaves_the_others_as_they_are() -> None:
    other = (booked(A2, P2, 2), checked_in(A2, 2))
    before = given(*WAITING, *other).clinic.appointment(A2)
    assert known_of(given(*WAITING, *other, CALLED, COMPLETED).clinic.appointment(A2)) == known_of(before)


def _at(step: AppointmentStep, hour: int) -> AppointmentStep:
    return type(step)(appointment_id=A1, timestamp=clock(hour))
