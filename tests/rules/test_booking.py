"""A patient's claim on a slot."""

import pytest

from domain.rules.appointment import Moment
from domain.rules.clinic import Clinic
from domain.rules.events import AppointmentBooked, AppointmentCancelled, ClinicChanged, Event, Priority
from domain.rules.ids import Sealed
from domain.rules.patient_day import Span
from domain.rules.refusals import AlreadyBooked, ClinicFull, ClinicIsClosed, DateInPast, NoSuchSlot, SlotTaken
from domain.rules.settings import Settings
from tests.rules.decisions import Decision, book
from tests.rules.facts import (
    A1,
    A2,
    A3,
    BOOKED,
    CALLED,
    CANCELLED,
    CHECKED_IN,
    CLOSED,
    COMPLETED,
    DAY,
    FINISHED,
    NINE,
    NO_SHOW,
    OPENED,
    P1,
    P2,
    P3,
    REOPENED,
    SEEN,
    TOMORROW,
    UNSEEN,
    WAITING,
    YESTERDAY,
    booked,
    clock,
    opened,
)
from tests.rules.scenario import given

FULL = (opened(capacity=2), booked(A1, P1, 1), booked(A2, P2, 2))


def test_a_booking_takes_the_slot_asked_for() -> None:
    given(OPENED).when(book(A1, P1, 2)).then(AppointmentBooked(appointment_id=A1, patient_id=P1, slot=2))


def test_a_booking_without_a_slot_takes_the_lowest_free_one() -> None:
    given(OPENED, booked(A1, P1, 1), booked(A3, P3, 3)).when(book(A2, P2)).then(booked(A2, P2, 2))


def test_a_booking_tells_the_minutes_it_takes() -> None:
    assert given(opened(starts_at="10:00", slot_minutes=15)).when(book(A1, P1, 3)).then(
        booked(A1, P1, 3)
    ).answer == Span(630, 645)


@pytest.mark.parametrize("priority", ["routine", "urgent", "emergency"])
def test_a_booking_records_its_priority(priority: Priority) -> None:
    given(OPENED).when(book(A1, P1, priority=priority)).then(booked(A1, P1, 1, priority))


def test_a_booking_records_its_reason_as_it_was_sealed() -> None:
    given(OPENED).when(book(A1, P1, reason=Sealed(b"sealed"))).then(
        AppointmentBooked(appointment_id=A1, patient_id=P1, slot=1, reason=Sealed(b"sealed"))
    )


def test_a_booking_is_made_for_a_day_to_come() -> None:
    given(OPENED).when(book(A1, P1, today=YESTERDAY)).then(booked(A1, P1, 1))


def test_a_booking_for_a_day_gone_by_is_refused() -> None:
    given(OPENED).when(book(A1, P1, today=TOMORROW)).refused(DateInPast)


def test_a_booking_entered_late_is_judged_by_the_day_it_was_made_on() -> None:
    given(OPENED).when(book(A1, P1, at=clock(9), today=DAY, late=True)).then(booked(A1, P1, 1))


def test_a_patient_is_booked_once_in_a_clinic() -> None:
    given(OPENED, BOOKED).when(book(A2, P1)).refused(AlreadyBooked)


def test_a_patient_in_consultation_or_waiting_is_still_booked() -> None:
    given(OPENED, BOOKED, CHECKED_IN).when(book(A2, P1)).refused(AlreadyBooked)
    given(OPENED, BOOKED, CHECKED_IN, CALLED).when(book(A2, P1)).refused(AlreadyBooked)


def test_a_patient_whose_booking_was_cancelled_may_book_again() -> None:
    given(OPENED, BOOKED, CANCELLED).when(book(A2, P1)).then(booked(A2, P1, 1))


def test_a_patient_who_was_seen_may_book_again_and_gets_another_slot() -> None:
    given(OPENED, BOOKED, CHECKED_IN, CALLED, COMPLETED).when(book(A2, P1)).then(booked(A2, P1, 2))


@pytest.mark.parametrize("slot", [-1, 0, 4, 1440])
def test_a_slot_that_the_clinic_does_not_have_is_refused(slot: int) -> None:
    given(OPENED).when(book(A1, P1, slot)).refused(NoSuchSlot)


def test_a_slot_is_given_to_one_patient_only() -> None:
    given(OPENED, BOOKED).when(book(A2, P2, 1)).refused(SlotTaken)


def test_a_slot_freed_by_a_cancellation_is_given_again() -> None:
    given(OPENED, BOOKED, CANCELLED).when(book(A2, P2, 1)).then(booked(A2, P2, 1))


def test_cancelling_an_old_booking_does_not_free_the_slot_that_went_to_another() -> None:
    rebooked = given(OPENED, BOOKED, CANCELLED, booked(A2, P2, 1))
    rebooked.when(book(A3, P3, 1)).refused(SlotTaken)


def test_a_slot_of_a_patient_already_seen_stays_taken() -> None:
    given(OPENED, BOOKED, CHECKED_IN, CALLED, COMPLETED).when(book(A2, P2, 1)).refused(SlotTaken)


def test_a_full_clinic_refuses_whoever_asks_for_any_slot() -> None:
    given(*FULL).when(book(A3, P3)).refused(ClinicFull)


def test_a_full_clinic_has_room_again_after_a_cancellation() -> None:
    given(*FULL, AppointmentCancelled(appointment_id=A2)).when(book(A3, P3)).then(booked(A3, P3, 2))


def test_a_clinic_that_grew_has_room_again() -> None:
    grown = ClinicChanged(capacity=3, starts_at="09:00", slot_minutes=10, order="arrival")
    given(*FULL, grown).when(book(A3, P3)).then(booked(A3, P3, 3))


@pytest.mark.parametrize("ended", [CLOSED, FINISHED], ids=["closed", "finished"])
def test_a_clinic_that_is_closed_takes_no_bookings_until_it_is_open_again(ended: Event) -> None:
    given(OPENED, ended).when(book(A1, P1)).refused(ClinicIsClosed)
    given(OPENED, ended, REOPENED).when(book(A1, P1)).then(booked(A1, P1, 1))


@pytest.mark.parametrize(
    "over", [SEEN, (OPENED, BOOKED, NO_SHOW), (*WAITING, UNSEEN)], ids=["completed", "no-show", "unseen"]
)
def test_whose_appointment_is_over_may_book_again_into_another_slot(over: tuple[Event, ...]) -> None:
    given(*over).when(book(A2, P1)).then(booked(A2, P1, 2))
    given(*over).when(book(A2, P1, 1)).refused(SlotTaken)


# --- walk-ins ------------------------------------------------------------------------------------


def _walk_in(from_minute: int) -> Decision:
    return Decision(
        Clinic,
        NINE,
        lambda clinic: clinic.book(
            A3, P3, slot=None, from_minute=from_minute, priority="routine", reason=None, moment=Moment(NINE, DAY)
        ),
    )


@pytest.mark.parametrize(("minute", "slot"), [(0, 1), (540, 1), (541, 2), (550, 2), (560, 3)])
def test_a_walk_in_gets_the_lowest_free_slot_that_has_not_begun(minute: int, slot: int) -> None:
    given(OPENED).when(_walk_in(minute)).then(booked(A3, P3, slot))


def test_a_walk_in_passes_over_what_is_taken() -> None:
    given(OPENED, booked(A2, P2, 2)).when(_walk_in(545)).then(booked(A3, P3, 3))


@pytest.mark.parametrize("minute", [561, 720, 1440])
def test_a_walk_in_gets_the_lowest_free_slot_where_all_have_begun(minute: int) -> None:
    given(OPENED, BOOKED).when(_walk_in(minute)).then(booked(A3, P3, 2))


# --- the first refusal as listed -----------------------------------------------------------------


def test_the_date_comes_before_the_patients_own_booking() -> None:
    given(OPENED, BOOKED).when(book(A2, P1, today=TOMORROW)).refused(DateInPast)


def test_the_date_comes_before_the_clinic_being_closed() -> None:
    given(OPENED, CLOSED).when(book(A1, P1, today=TOMORROW)).refused(DateInPast)


def test_the_clinic_being_closed_comes_before_the_patients_own_booking() -> None:
    given(OPENED, BOOKED, CLOSED).when(book(A2, P1)).refused(ClinicIsClosed)


def test_the_patients_own_booking_comes_before_the_slots_number() -> None:
    given(OPENED, BOOKED).when(book(A2, P1, 99)).refused(AlreadyBooked)


def test_the_slots_number_comes_before_a_full_clinic() -> None:
    given(*FULL).when(book(A3, P3, 99)).refused(NoSuchSlot)


def test_a_full_clinic_comes_before_the_slot_being_taken() -> None:
    given(*FULL).when(book(A3, P3, 1)).refused(ClinicFull)


def test_the_last_slot_ends_where_the_clinic_ends() -> None:
    settings = Settings(capacity=90)
    assert settings.span(90) == Span(24 * 60 - 10, 24 * 60)
