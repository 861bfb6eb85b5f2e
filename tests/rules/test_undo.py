"""A step taken back, and then the one before: never the booking, never an undo."""

from __future__ import annotations

import pytest

from domain.rules import events
from domain.rules.clinic import Clinic
from domain.rules.events import (
    AppointmentMoved,
    AppointmentMovedOut,
    AppointmentStep,
    ClinicChanged,
    Event,
    PatientCalled,
    PatientRecalled,
    PriorityChanged,
    State,
    Step,
    StepUndone,
)
from domain.rules.ids import Sealed
from domain.rules.refusals import (
    AlreadyBooked,
    EffectiveTooEarly,
    NoSuchSlot,
    NothingToUndo,
    SlotTaken,
    UnknownAppointment,
)
from tests.rules.decisions import check_in, move_to, undo, undo_move
from tests.rules.facts import (
    A1,
    A2,
    BOOKED,
    CALLED,
    CALLED_IN,
    CANCELLED,
    CHECKED_IN,
    CLOSED,
    COMPLETED,
    D1,
    D2,
    DAY,
    FINISHED,
    HELD,
    NINE,
    NO_SHOW,
    ON_HOLD,
    OPENED,
    P1,
    P2,
    RECALLED,
    RESUMED,
    SEEN,
    STAGES,
    STARTED,
    TOMORROW,
    UNSEEN,
    WAITING,
    booked,
    checked_in,
    clock,
    opened,
)
from tests.rules.scenario import given, known_of

STEPS: list[tuple[str, AppointmentStep]] = [
    ("booked", CHECKED_IN),
    ("booked", CANCELLED),
    ("booked", NO_SHOW),
    ("booked", AppointmentMoved(appointment_id=A1, slot=3)),
    ("booked", PriorityChanged(appointment_id=A1, priority="urgent")),
    ("never came", CHECKED_IN),
    ("waiting", CALLED),
    ("waiting", CANCELLED),
    ("waiting", ON_HOLD),
    ("waiting", UNSEEN),
    ("called", RECALLED),
    ("called", STARTED),
    ("called", COMPLETED),
    ("called", NO_SHOW),
    ("called", AppointmentMoved(appointment_id=A1, slot=2)),
    ("on hold", RESUMED),
    ("in consultation", COMPLETED),
]


def _undone(step: str, state: State) -> StepUndone:
    return StepUndone(appointment_id=A1, step=step, state=state)


def _state(*facts: Event) -> State:
    return given(*facts).clinic.appointment(A1).state


def _later(step: AppointmentStep) -> AppointmentStep:
    """At another time than all before it, so that a time left standing would be seen."""
    return type(step)(**{name: getattr(step, name) for name in step.__struct_fields__} | {"timestamp": clock(10)})


@pytest.mark.parametrize(
    ("before", "step"), STEPS, ids=[f"{type(step).__name__} of one {before}" for before, step in STEPS]
)
def test_a_step_undone_leads_back_to_exactly_the_state_before(before: str, step: AppointmentStep) -> None:
    facts = STAGES[before]
    stood = given(*facts).clinic
    undone = _undone(type(step).__name__, stood.appointment(A1).state)
    story = given(*facts, _later(step)).when(undo(A1, at=clock(11)))
    assert story.then(undone).answer == stood.appointment(A1).state
    assert _but_time(given(*facts, _later(step), undone).clinic) == _but_time(stood)


def _but_time(clinic: Clinic) -> tuple[object, ...]:
    known = known_of(clinic.appointment(A1))
    del known["last_step_at"]
    return known, clinic.taken, clinic.status


def test_every_step_there_is_can_be_undone() -> None:
    assert {type(step) for _, step in STEPS} == set(events.STEPS)


def test_an_undo_says_why() -> None:
    given(*WAITING).when(undo(A1, reason=Sealed(b"sealed"))).then(
        StepUndone(appointment_id=A1, step="PatientCheckedIn", state=State(slot=1), reason=Sealed(b"sealed"))
    )


def test_undoing_again_takes_back_the_one_before() -> None:
    first = _undone("ConsultationCompleted", _state(*CALLED_IN))
    second = _undone("PatientCalled", _state(*WAITING))
    third = _undone("PatientCheckedIn", State(slot=1))
    given(*SEEN, first).when(undo(A1)).then(second)
    given(*SEEN, first, second).when(undo(A1)).then(third)
    given(*SEEN, first, second, third).when(undo(A1)).refused(NothingToUndo)


def test_the_booking_is_not_undone() -> None:
    given(OPENED, BOOKED).when(undo(A1)).refused(NothingToUndo)


def test_an_undo_is_not_undone_and_what_comes_after_it_is() -> None:
    undone = _undone("PatientCheckedIn", State(slot=1))
    given(*WAITING, undone).when(undo(A1)).refused(NothingToUndo)
    again = checked_in(A1, 2, clock(10))
    given(*WAITING, undone, again).when(undo(A1)).then(undone)


def test_a_call_undone_brings_back_the_call_before() -> None:
    calls = (PatientCalled(appointment_id=A1, timestamp=clock(10)),)
    recalled = PatientRecalled(appointment_id=A1, timestamp=clock(11))
    back = _undone("PatientRecalled", _state(*WAITING, *calls))
    assert _state(*WAITING, *calls, recalled, back).called_at == clock(10)


def test_who_is_checked_in_anew_after_an_undo_draws_another_ticket() -> None:
    undone = _undone("PatientCheckedIn", State(slot=1))
    given(*WAITING, undone).when(check_in(A1)).then(checked_in(A1, 2))


def test_a_check_in_of_a_no_show_undone_brings_back_the_place_of_the_first() -> None:
    """Also among those who came at the very same time."""
    first = (OPENED, BOOKED, CHECKED_IN, booked(A2, P2, 2), checked_in(A2, 2))
    story = (*first, NO_SHOW, CHECKED_IN)
    one = _undone("PatientCheckedIn", _state(*first, NO_SHOW))
    two = _undone("PatientMarkedNoShow", _state(*first))
    assert given(*story).clinic.next_in_line().appointment_id == A2
    assert given(*story, one, two).clinic.next_in_line().appointment_id == A1


def test_a_resumption_undone_and_the_hold_before_it_leave_no_trace() -> None:
    back = _undone("PatientResumed", _state(*HELD)), _undone("PatientPutOnHold", _state(*WAITING))
    assert _state(*HELD, RESUMED).place_kept
    assert not _state(*HELD, RESUMED, *back).place_kept


def test_an_undo_entered_late_does_not_lie_before_the_step_it_takes_back() -> None:
    given(*WAITING).when(undo(A1, at=clock(8), late=True)).refused(EffectiveTooEarly)
    given(*WAITING).when(undo(A1, at=NINE, late=True)).then(_undone("PatientCheckedIn", State(slot=1)))


def test_after_an_undo_the_next_late_entry_is_held_against_it() -> None:
    undone = StepUndone(appointment_id=A1, step="PatientCheckedIn", state=State(slot=1), timestamp=clock(10))
    given(*WAITING, undone).when(check_in(A1, at=clock(9, 59), late=True)).refused(EffectiveTooEarly)


def test_an_undo_is_for_a_day_gone_by_too_and_for_a_clinic_that_is_over() -> None:
    given(*SEEN, CLOSED).when(undo(A1, today=TOMORROW)).then(_undone("ConsultationCompleted", _state(*CALLED_IN)))
    given(*WAITING, UNSEEN, FINISHED).when(undo(A1)).then(_undone("PatientLeftUnseen", _state(*WAITING)))


def test_an_appointment_that_the_clinic_does_not_have_is_unknown() -> None:
    given(OPENED, BOOKED).when(undo(A2, at=clock(8), late=True)).refused(UnknownAppointment)
    given(*WAITING).when(undo(A2)).refused(UnknownAppointment)


# --- what stands in the way ----------------------------------------------------------------------


def test_a_slot_given_to_another_is_in_the_way_of_undoing_a_cancellation_or_a_move() -> None:
    given(OPENED, BOOKED, CANCELLED, booked(A2, P2, 1)).when(undo(A1)).refused(SlotTaken)
    moved = AppointmentMoved(appointment_id=A1, slot=2)
    given(OPENED, BOOKED, moved, booked(A2, P2, 1)).when(undo(A1)).refused(SlotTaken)


@pytest.mark.parametrize("over", [CANCELLED, NO_SHOW], ids=["cancelled", "no-show"])
def test_a_later_booking_of_the_patient_is_in_the_way(over: Event) -> None:
    given(OPENED, BOOKED, over, booked(A2, P1, 2)).when(undo(A1)).refused(AlreadyBooked)


def test_a_later_booking_of_the_patient_is_in_the_way_of_undoing_a_completion() -> None:
    given(*SEEN, booked(A2, P1, 2)).when(undo(A1)).refused(AlreadyBooked)


def test_a_later_booking_is_not_in_the_way_of_an_undo_that_leaves_the_appointment_over() -> None:
    moved_and_back = (OPENED, BOOKED, NO_SHOW, CHECKED_IN)
    given(*moved_and_back).when(undo(A1)).then(_undone("PatientCheckedIn", _state(OPENED, BOOKED, NO_SHOW)))


def test_a_slot_that_the_clinic_no_longer_has_is_in_the_way() -> None:
    smaller = ClinicChanged(capacity=2, starts_at="09:00", slot_minutes=10, order="arrival")
    cancelled = (OPENED, booked(A1, P1, 3), CANCELLED, smaller)
    given(*cancelled).when(undo(A1)).refused(NoSuchSlot)
    moved = AppointmentMoved(appointment_id=A1, slot=2)
    given(OPENED, booked(A1, P1, 3), moved, smaller).when(undo(A1)).refused(NoSuchSlot)


def test_the_first_refusal_is_given_as_listed() -> None:
    smaller = ClinicChanged(capacity=2, starts_at="09:00", slot_minutes=10, order="arrival")
    story = (OPENED, booked(A1, P1, 3), CANCELLED, smaller, booked(A2, P1, 2))
    given(*story).when(undo(A1)).refused(AlreadyBooked)


# --- a move undone -------------------------------------------------------------------------------


def _after_move(*facts: Event, there: tuple[Event, ...] = (OPENED,)) -> tuple[tuple[Event, ...], tuple[Event, ...]]:
    moved = given(*facts).there(*there).when(move_to(A1))
    return (*facts, *moved._news[0]), (*there, *moved._news[1])


@pytest.mark.parametrize(
    "before", [(OPENED, BOOKED), WAITING, CALLED_IN, HELD], ids=["booked", "here", "called", "away"]
)
def test_a_move_undone_leads_back_to_where_it_came_from_as_it_was(before: tuple[Event, ...]) -> None:
    here, there = _after_move(*before)
    state, steps = _state(*before), given(*before).clinic.appointment(A1).steps
    gone = StepUndone(appointment_id=A1, step="AppointmentMovedIn", reason=Sealed(b"sealed"))
    back = StepUndone(
        appointment_id=A1,
        step="AppointmentMovedIn",
        state=state,
        patient_id=P1,
        steps=tuple(steps),
        reason=Sealed(b"sealed"),
    )
    story = given(*here).there(*there).when(undo_move(A1, reason=Sealed(b"sealed")))
    assert story.then(here=[back], there=[gone]).answer == state
    origin, left = story._clinics
    assert (left.appointments, left.taken) == ({}, {})
    assert known_of(origin.appointment(A1)) == known_of(given(*before).clinic.appointment(A1))
    assert origin.taken == given(*before).clinic.taken


def test_after_a_move_is_undone_the_step_before_it_is_next() -> None:
    here, there = _after_move(*WAITING)
    back = given(*here).there(*there).when(undo_move(A1))._news[0]
    given(*here, *back).when(undo(A1)).then(_undone("PatientCheckedIn", State(slot=1)))


def test_a_step_taken_after_a_move_is_undone_first_and_where_it_was_taken() -> None:
    _, there = _after_move(*WAITING)
    moved = given(*there).clinic.appointment(A1).state
    story = (*there, PatientCalled(appointment_id=A1, timestamp=clock(10)))
    given(*story).when(undo(A1, at=clock(10))).then(_undone("PatientCalled", moved))


def test_a_place_given_away_meanwhile_is_in_the_way_of_coming_back() -> None:
    here, there = _after_move(OPENED, BOOKED)
    given(*here, booked(A2, P2, 1)).there(*there).when(undo_move(A1)).refused(SlotTaken)
    given(*here, booked(A2, P1, 2)).there(*there).when(undo_move(A1)).refused(AlreadyBooked)


def test_a_clinic_that_shrank_meanwhile_does_not_take_it_back() -> None:
    here, there = _after_move(OPENED, booked(A1, P1, 3))
    smaller = ClinicChanged(capacity=2, starts_at="09:00", slot_minutes=10, order="arrival")
    given(*here, smaller).there(*there).when(undo_move(A1)).refused(NoSuchSlot)


def test_a_closed_clinic_takes_back_whom_it_sent_away() -> None:
    here, there = _after_move(OPENED, BOOKED)
    assert given(*here, CLOSED).there(*there).when(undo_move(A1))._refusal is None


def test_a_move_knows_where_it_came_from() -> None:
    _, there = _after_move(OPENED, BOOKED)
    step = given(*there).clinic.appointment(A1).steps[-1]
    assert step == Step(type="AppointmentMovedIn", before=State(slot=1), doctor_id=D1, date=DAY)


def test_where_it_was_moved_from_there_is_nothing_to_undo() -> None:
    out = AppointmentMovedOut(appointment_id=A1, doctor_id=D2, date=DAY)
    given(OPENED, BOOKED, out).when(undo(A1)).refused(UnknownAppointment)


def test_a_move_undone_leaves_others_of_both_clinics_as_they_are() -> None:
    other = (opened(capacity=5), booked(A2, P2, 1))
    here, there = _after_move(*WAITING, there=other)
    left = given(*here).there(*there).when(undo_move(A1))._clinics[1]
    assert known_of(left.appointment(A2)) == known_of(given(*other).clinic.appointment(A2))


def test_a_completion_undone_is_a_consultation_that_can_be_completed_again() -> None:
    story = (*SEEN, _undone("ConsultationCompleted", _state(*CALLED_IN)))
    assert given(*story, COMPLETED).clinic.appointment(A1).status == "completed"
