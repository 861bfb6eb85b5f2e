"""The same appointment in another slot, with another doctor, on another date: with all that it is."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from domain.rules.events import (
    AppointmentBooked,
    AppointmentEvent,
    AppointmentMoved,
    AppointmentMovedIn,
    AppointmentMovedOut,
    Event,
    PatientCalled,
    State,
    Step,
)
from domain.rules.ids import Sealed
from domain.rules.patient_day import Span
from domain.rules.refusals import (
    AlreadyBooked,
    ClinicFull,
    ClinicIsClosed,
    DateInPast,
    EffectiveTooEarly,
    NoSuchSlot,
    NotAllowedFrom,
    NotToday,
    SlotTaken,
    UnknownAppointment,
)
from tests.rules.decisions import move, move_to
from tests.rules.facts import (
    A1,
    A2,
    A3,
    BOOKED,
    CALLED,
    CALLED_IN,
    CLOSED,
    D1,
    D2,
    DAY,
    FINISHED,
    HELD,
    NINE,
    OPENED,
    P1,
    P2,
    P3,
    STAGES,
    TOMORROW,
    WAITING,
    YESTERDAY,
    booked,
    checked_in,
    clock,
    opened,
)
from tests.rules.scenario import given

MOVABLE = {"booked", "waiting", "called", "on hold"}
FULL = (opened(capacity=2), booked(A2, P2, 1), booked(A3, P3, 2))
OUT = AppointmentMovedOut(appointment_id=A1, doctor_id=D2, date=DAY)


def _moved(slot: int) -> AppointmentMoved:
    return AppointmentMoved(appointment_id=A1, slot=slot)


def _moved_in(before: State, now: State, *earlier: Step) -> AppointmentMovedIn:
    """From D1's clinic on DAY, as `before`; and here it is as `now`."""
    step = Step(type="AppointmentMovedIn", before=before, doctor_id=D1, date=DAY)
    return AppointmentMovedIn(appointment_id=A1, patient_id=P1, state=now, steps=(*earlier, step))


# --- within the clinic ---------------------------------------------------------------------------


def test_an_appointment_moves_to_another_slot_and_leaves_its_own() -> None:
    story = given(OPENED, BOOKED).when(move(3))
    assert story.then(_moved(3)).answer == Span(560, 570)
    assert given(OPENED, BOOKED, _moved(3)).clinic.taken == {3: A1}


def test_without_a_slot_it_moves_to_the_lowest_free_one() -> None:
    given(OPENED, BOOKED, booked(A2, P2, 2)).when(move(None)).then(_moved(3))


def test_a_move_to_where_it_is_changes_nothing() -> None:
    assert given(OPENED, BOOKED).when(move(1)).then().answer is None


def test_a_move_records_its_reason_as_it_was_sealed() -> None:
    given(OPENED, BOOKED).when(move(2, reason=Sealed(b"sealed"))).then(
        AppointmentMoved(appointment_id=A1, slot=2, reason=Sealed(b"sealed"))
    )


def test_who_was_called_is_waiting_again_and_who_is_on_hold_stays_there() -> None:
    assert given(*CALLED_IN, _moved(2)).clinic.appointment(A1).stage == "checked_in"
    assert given(*HELD, _moved(2)).clinic.appointment(A1).stage == "on_hold"
    assert given(OPENED, BOOKED, _moved(2)).clinic.appointment(A1).stage is None


def test_who_moves_keeps_ticket_and_place_by_arrival() -> None:
    story = (*WAITING, booked(A2, P2, 2), checked_in(A2, 2, clock(9, 5)), _moved(3))
    assert given(*story).clinic.next_in_line().appointment_id == A1
    assert given(*story).clinic.appointment(A1).state.ticket == "DOC001-1"


def test_by_slot_whoever_moves_back_is_seen_later() -> None:
    came = (BOOKED, checked_in(A1, 1), booked(A2, P2, 2), checked_in(A2, 2))
    assert given(opened(order="slot"), *came, _moved(3)).clinic.next_in_line().appointment_id == A2


@pytest.mark.parametrize("before", STAGES)
def test_it_moves_until_the_consultation_begins(before: str) -> None:
    story = given(*STAGES[before])
    if before in MOVABLE:
        story.when(move(2)).then(_moved(2))
    else:
        stands = story.clinic.appointment(A1)
        facts = {"appointment_status": stands.status, "queue_status": stands.stage}
        story.when(move(2)).refused(NotAllowedFrom, **facts)
        story.when(move(1)).refused(NotAllowedFrom, **facts)


def test_what_stands_in_the_way_of_a_booking_stands_in_the_way_of_a_move() -> None:
    other = booked(A2, P2, 2)
    given(OPENED, BOOKED).when(move(2, today=TOMORROW)).refused(DateInPast)
    given(OPENED, BOOKED, CLOSED).when(move(2)).refused(ClinicIsClosed)
    given(OPENED, BOOKED).when(move(4)).refused(NoSuchSlot)
    given(OPENED, BOOKED, other).when(move(2)).refused(SlotTaken)
    given(opened(capacity=2), BOOKED, other).when(move(None)).refused(ClinicFull)
    given(opened(capacity=2), BOOKED, other).when(move(2)).refused(ClinicFull)
    given(OPENED, BOOKED).when(move(2, A2)).refused(UnknownAppointment)
    given(OPENED, BOOKED).when(move(2, at=clock(8), late=True)).refused(EffectiveTooEarly)


def test_the_first_refusal_is_given_as_listed() -> None:
    given(*STAGES["completed"]).when(move(9, at=clock(8), late=True)).refused(EffectiveTooEarly)
    given(*STAGES["cancelled"], CLOSED).when(move(9, today=TOMORROW)).refused(
        NotAllowedFrom, appointment_status="cancelled", queue_status=None
    )
    given(OPENED, BOOKED, CLOSED).when(move(9, today=TOMORROW)).refused(DateInPast)
    given(OPENED, BOOKED, CLOSED).when(move(9)).refused(ClinicIsClosed)


# --- to another clinic ---------------------------------------------------------------------------


def test_an_appointment_moves_to_another_doctor() -> None:
    before = State(slot=1)
    story = given(OPENED, BOOKED).there(opened(starts_at="14:00"), booked(A2, P2, 1)).when(move_to(A1))
    story.then(here=[OUT], there=[_moved_in(before, State(slot=2))])
    assert story.answer == Span(850, 860)


def test_it_takes_its_urgency_and_the_steps_that_can_be_taken_back_along() -> None:
    urgent = booked(A1, P1, 1, "urgent")
    here = State(slot=1, priority="urgent", stage="checked_in", ticket="DOC001-1", arrived_at=NINE, arrival=3)
    earlier = Step(type="PatientCheckedIn", before=State(slot=1, priority="urgent"))
    given(OPENED, urgent, checked_in(A1, 1)).there(OPENED).when(move_to(A1)).then(
        here=[OUT], there=[_moved_in(here, replace(here, arrival=2), earlier)]
    )


def test_a_called_patient_waits_again_with_the_other_doctor() -> None:
    moved = given(*CALLED_IN).there(OPENED).when(move_to(A1, 3, reason=Sealed(b"sealed")))
    here, there = moved._clinics
    state = there.appointment(A1).state
    assert (state.slot, state.stage, state.ticket, state.arrived_at) == (3, "checked_in", "DOC001-1", NINE)
    assert state.called_at == NINE  # still the latest call there was
    assert (here.appointments, here.taken) == ({}, {})
    assert [event.reason for news in moved._news for event in news if isinstance(event, AppointmentEvent)] == [
        Sealed(b"sealed")
    ] * 2


def test_it_is_unknown_where_it_left() -> None:
    given(OPENED, BOOKED, OUT).when(move(2)).refused(UnknownAppointment)
    given(OPENED, BOOKED, OUT).there(OPENED).when(move_to(A1)).refused(UnknownAppointment)


def test_its_slot_and_its_patient_are_free_where_it_left() -> None:
    again = given(OPENED, BOOKED, OUT)
    assert again.clinic.taken == {}
    again.there(OPENED, booked(A2, P1, 1)).when(move_to(A1)).refused(UnknownAppointment)


def test_a_ticket_number_stays_given_where_it_was_drawn() -> None:
    assert given(*WAITING, OUT).clinic.tickets == {"DOC001-1"}


def test_in_the_other_line_it_stands_by_when_the_patient_came() -> None:
    later = (booked(A2, P2, 2), checked_in(A2, 1, clock(9, 5)))
    moved = given(*WAITING).there(OPENED, *later).when(move_to(A1))
    assert moved._clinics[1].next_in_line().appointment_id == A1


def test_of_those_who_came_at_the_same_time_it_stands_behind_who_was_there() -> None:
    there_already = (booked(A2, P2, 2), checked_in(A2, 1, NINE))
    moved = given(*WAITING).there(OPENED, *there_already).when(move_to(A1))
    there = moved._clinics[1]
    assert there.next_in_line().appointment_id == A2
    places = [appointment.place("arrival") for appointment in there.appointments.values()]
    assert len(set(places)) == len(places)


@pytest.mark.parametrize("before", STAGES)
def test_it_moves_away_until_the_consultation_begins(before: str) -> None:
    story = given(*STAGES[before])
    stands = story.clinic.appointment(A1)
    decided = story.there(OPENED).when(move_to(A1))
    if before in MOVABLE:
        assert decided._refusal is None
    else:
        decided.refused(NotAllowedFrom, appointment_status=stands.status, queue_status=stands.stage)


def test_to_another_date_moves_who_is_not_here_yet() -> None:
    out = AppointmentMovedOut(appointment_id=A1, doctor_id=D2, date=TOMORROW)
    moved = given(OPENED, BOOKED).there(OPENED, day=TOMORROW).when(move_to(A1))
    moved.then(here=[out], there=[_moved_in(State(slot=1), State(slot=1))])


@pytest.mark.parametrize("here", [WAITING, CALLED_IN, HELD], ids=["waiting", "called", "on hold"])
def test_who_is_here_is_here_today(here: tuple[Event, ...]) -> None:
    stands = given(*here).clinic.appointment(A1)
    stands.refuse_another_day(DAY, DAY)
    with pytest.raises(NotToday):
        stands.refuse_another_day(DAY, TOMORROW)


@pytest.mark.parametrize(
    ("there", "slot", "refusal"),
    [
        ((OPENED, CLOSED), None, ClinicIsClosed),
        ((OPENED, FINISHED), None, ClinicIsClosed),
        ((OPENED, booked(A2, P1, 2)), None, AlreadyBooked),
        ((OPENED,), 4, NoSuchSlot),
        ((OPENED,), 0, NoSuchSlot),
        (FULL, None, ClinicFull),
        (FULL, 1, ClinicFull),
        ((OPENED, booked(A2, P2, 2)), 2, SlotTaken),
    ],
    ids=["closed", "finished", "booked there", "no such slot", "slot 0", "full", "full and asked for", "taken"],
)
def test_what_stands_in_the_way_of_a_booking_there_stands_in_the_way_of_a_move_there(
    there: tuple[Event, ...], slot: int | None, refusal: type
) -> None:
    given(OPENED, BOOKED).there(*there).when(move_to(A1, slot)).refused(refusal)


def test_a_day_gone_by_takes_nobody() -> None:
    given(OPENED, BOOKED).there(OPENED, day=YESTERDAY).when(move_to(A1)).refused(DateInPast)


def test_a_booking_of_the_patient_that_is_over_there_is_not_in_the_way() -> None:
    over = (booked(A2, P1, 1), CALLED.__class__(appointment_id=A2))
    cancelled = STAGES["cancelled"][-1].__class__(appointment_id=A2)  # type: ignore[call-arg]
    moved = given(OPENED, BOOKED).there(OPENED, over[0], cancelled).when(move_to(A1))
    moved.then(here=[OUT], there=[_moved_in(State(slot=1), State(slot=1))])


def test_a_move_entered_late_does_not_lie_before_the_previous_step() -> None:
    given(OPENED, BOOKED).there(OPENED).when(move_to(A1, at=clock(8), late=True)).refused(EffectiveTooEarly)


# --- a whole clinic ------------------------------------------------------------------------------


def test_those_still_to_be_seen_are_confirmed_and_not_in_consultation_by_slot() -> None:
    story = (OPENED, booked(A3, P3, 1), booked(A1, P1, 3), booked(A2, P2, 2))
    assert [each.appointment_id for each in given(*story).clinic.still_to_be_seen()] == [A3, A2, A1]
    for before in STAGES:
        left = [each.appointment_id for each in given(*STAGES[before]).clinic.still_to_be_seen()]
        assert left == ([A1] if before in MOVABLE else [])


def test_who_comes_from_another_clinic_gets_the_same_number_or_the_lowest_that_none_of_them_keeps() -> None:
    left = given(OPENED, booked(A3, P3, 1), booked(A1, P1, 2), booked(A2, P2, 3)).clinic.still_to_be_seen()
    there = given(OPENED, booked(A2, P2, 1)).clinic
    assert there.allot(left) == {A3: None, A1: 2, A2: 3}
    assert there.allot(left[:2]) == {A3: 3, A1: 2}


def test_who_was_moved_in_is_called_and_moves_on() -> None:
    moved = given(*WAITING).there(OPENED).when(move_to(A1))
    (came,) = moved._news[1]
    assert isinstance(came, AppointmentMovedIn)
    told: tuple[Event, ...] = (OPENED, came)
    given(*told).when(move(2)).then(_moved(2))
    assert given(*told, PatientCalled(appointment_id=A1)).clinic.appointment(A1).stage == "called"
    assert [step.type for step in came.steps] == ["PatientCheckedIn", "AppointmentMovedIn"]


def test_a_booking_says_its_state() -> None:
    assert AppointmentBooked(appointment_id=A1, patient_id=P1, slot=2, priority="urgent").state() == State(
        slot=2, priority="urgent"
    )
