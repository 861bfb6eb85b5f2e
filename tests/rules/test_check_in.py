"""The patient is here: a place in the line, and a ticket."""

import pytest

from domain.rules.events import AppointmentCancelled, Event, PatientCheckedIn
from domain.rules.ids import Sealed
from domain.rules.refusals import (
    AlreadyBooked,
    AppointmentClosed,
    AppointmentIsCancelled,
    EffectiveTooEarly,
    NotToday,
    PatientMismatch,
    UnknownAppointment,
)
from tests.rules.decisions import check_in
from tests.rules.facts import (
    A1,
    A2,
    BOOKED,
    CALLED,
    CALLED_IN,
    CANCELLED,
    CHECKED_IN,
    COMPLETED,
    HELD,
    IN_CONSULTATION,
    NO_SHOW,
    OPENED,
    P1,
    P2,
    TOMORROW,
    UNSEEN,
    WAITING,
    YESTERDAY,
    booked,
    checked_in,
    clock,
)
from tests.rules.scenario import given

BOOKED_TWO = (OPENED, BOOKED, booked(A2, P2, 2))


def test_a_check_in_gives_a_ticket_of_the_doctors_code_and_a_number() -> None:
    given(OPENED, BOOKED).when(check_in(A1)).then(PatientCheckedIn(appointment_id=A1, ticket="DOC001-1"))


def test_tickets_are_counted_per_clinic_in_the_order_of_arrival() -> None:
    given(*BOOKED_TWO, checked_in(A2, 1)).when(check_in(A1)).then(checked_in(A1, 2))


def test_a_ticket_number_is_never_given_twice_not_even_after_a_cancellation() -> None:
    left = given(*BOOKED_TWO, CHECKED_IN, AppointmentCancelled(appointment_id=A1))
    left.when(check_in(A2)).then(checked_in(A2, 2))


def test_a_check_in_records_its_reason_as_it_was_sealed() -> None:
    given(OPENED, BOOKED).when(check_in(A1, reason=Sealed(b"sealed"))).then(
        PatientCheckedIn(appointment_id=A1, ticket="DOC001-1", reason=Sealed(b"sealed"))
    )


def test_a_check_in_that_names_the_right_patient_is_taken() -> None:
    given(OPENED, BOOKED).when(check_in(A1, P1)).then(CHECKED_IN)


def test_a_second_check_in_changes_nothing() -> None:
    given(OPENED, BOOKED, CHECKED_IN).when(check_in(A1)).then()


def test_a_check_in_of_somebody_already_called_changes_nothing() -> None:
    given(OPENED, BOOKED, CHECKED_IN, CALLED).when(check_in(A1)).then()


@pytest.mark.parametrize("here", [HELD, IN_CONSULTATION], ids=["on hold", "in consultation"])
def test_whoever_is_here_is_not_checked_in_again(here: tuple[Event, ...]) -> None:
    given(*here).when(check_in(A1)).then()


def test_a_second_check_in_after_midnight_still_changes_nothing() -> None:
    given(OPENED, BOOKED, CHECKED_IN).when(check_in(A1, at=clock(0, 1, TOMORROW), today=TOMORROW)).then()


def test_an_appointment_that_the_clinic_does_not_have_is_unknown() -> None:
    given(OPENED, BOOKED).when(check_in(A2)).refused(UnknownAppointment)


def test_a_check_in_with_another_patients_id_is_refused() -> None:
    given(OPENED, BOOKED).when(check_in(A1, P2)).refused(PatientMismatch)


def test_a_cancelled_appointment_does_not_check_in() -> None:
    given(OPENED, BOOKED, CANCELLED).when(check_in(A1)).refused(AppointmentIsCancelled)


def test_a_completed_appointment_does_not_check_in() -> None:
    given(OPENED, BOOKED, CHECKED_IN, CALLED, COMPLETED).when(check_in(A1)).refused(AppointmentClosed)


def test_who_was_left_unseen_does_not_check_in() -> None:
    given(*WAITING, UNSEEN).when(check_in(A1)).refused(AppointmentClosed)


def test_a_check_in_on_the_day_before_or_after_is_refused() -> None:
    given(OPENED, BOOKED).when(check_in(A1, today=YESTERDAY)).refused(NotToday)
    given(OPENED, BOOKED).when(check_in(A1, today=TOMORROW)).refused(NotToday)


def test_the_day_is_the_hospitals_not_the_one_of_utc() -> None:
    just_after_midnight = clock(19, 0, YESTERDAY)  # in UTC; in the hospital the date has changed already
    before = booked(A1, P1, 1)
    given(OPENED, before).when(check_in(A1, at=just_after_midnight)).then(checked_in(A1, 1, just_after_midnight))


# --- a no-show who comes after all ---------------------------------------------------------------


def test_a_no_show_who_comes_after_all_arrives_now() -> None:
    ten = clock(10)
    given(OPENED, BOOKED, NO_SHOW).when(check_in(A1, at=ten)).then(checked_in(A1, 1, ten))
    state = given(OPENED, BOOKED, NO_SHOW, checked_in(A1, 1, ten)).clinic.appointment(A1).state
    assert (state.status, state.stage, state.arrived_at) == ("confirmed", "checked_in", ten)


def test_a_no_show_who_had_a_ticket_keeps_it_and_stands_behind_those_who_waited() -> None:
    story = (*CALLED_IN, NO_SHOW, booked(A2, P2, 2), checked_in(A2, 2, clock(9, 30)))
    given(*story).when(check_in(A1, at=clock(10))).then(checked_in(A1, 1, clock(10)))
    assert given(*story, checked_in(A1, 1, clock(10))).clinic.next_in_line().appointment_id == A2


def test_a_no_show_who_booked_again_does_not_check_in_for_the_first_booking() -> None:
    again = given(OPENED, BOOKED, NO_SHOW, booked(A2, P1, 2))
    again.when(check_in(A1)).refused(AlreadyBooked)
    again.when(check_in(A2)).then(checked_in(A2, 1))


def test_a_no_show_does_not_check_in_on_another_day() -> None:
    given(OPENED, BOOKED, NO_SHOW).when(check_in(A1, today=TOMORROW)).refused(NotToday)


# --- the first refusal as listed -----------------------------------------------------------------


def test_an_effective_time_too_early_comes_before_the_patients_id() -> None:
    given(OPENED, BOOKED).when(check_in(A1, P2, at=clock(8), late=True)).refused(EffectiveTooEarly)


def test_the_patients_id_comes_before_the_cancellation() -> None:
    given(OPENED, BOOKED, CANCELLED).when(check_in(A1, P2)).refused(PatientMismatch)


def test_the_cancellation_comes_before_the_day() -> None:
    given(OPENED, BOOKED, CANCELLED).when(check_in(A1, today=TOMORROW)).refused(AppointmentIsCancelled)


def test_the_end_of_the_appointment_comes_before_the_day() -> None:
    seen = given(OPENED, BOOKED, CHECKED_IN, CALLED, COMPLETED)
    seen.when(check_in(A1, today=TOMORROW)).refused(AppointmentClosed)


def test_the_day_comes_before_the_patients_other_booking() -> None:
    given(OPENED, BOOKED, NO_SHOW, booked(A2, P1, 2)).when(check_in(A1, today=TOMORROW)).refused(NotToday)
