"""What happened during an outage is written down afterwards, at the time when it did happen."""

import pytest

from domain.rules.events import AppointmentCancelled, ConsultationCompleted
from domain.rules.refusals import EffectiveTooEarly, NotToday, UnknownAppointment
from tests.rules.decisions import Decision, cancel, check_in, complete
from tests.rules.facts import (
    A1,
    A2,
    BOOKED,
    CALLED,
    CHECKED_IN,
    NINE,
    OPENED,
    P1,
    P2,
    YESTERDAY,
    booked,
    checked_in,
    clock,
)
from tests.rules.scenario import given

EARLIER = clock(8, 59)
LATER = clock(9, 1)
CALLED_FIRST = (OPENED, BOOKED, CHECKED_IN, CALLED)
"""All of it at nine."""


def test_a_late_entry_is_recorded_at_the_time_it_names() -> None:
    given(*CALLED_FIRST).when(complete(A1, at=LATER, late=True)).then(
        ConsultationCompleted(appointment_id=A1, timestamp=LATER)
    )


@pytest.mark.parametrize(
    "step",
    [
        check_in(A1, at=EARLIER, late=True),
        complete(A1, at=EARLIER, late=True),
        cancel(A1, at=EARLIER, late=True),
    ],
    ids=["check-in", "complete", "cancel"],
)
def test_no_step_is_entered_before_the_appointments_previous_one(step: Decision) -> None:
    given(*CALLED_FIRST).when(step).refused(EffectiveTooEarly)


def test_a_step_at_the_very_moment_of_the_previous_one_is_taken() -> None:
    given(*CALLED_FIRST).when(complete(A1, at=NINE, late=True)).then(ConsultationCompleted(appointment_id=A1))


def test_the_booking_is_a_step_too() -> None:
    given(OPENED, BOOKED).when(check_in(A1, at=EARLIER, late=True)).refused(EffectiveTooEarly)


def test_another_appointments_later_step_stands_in_nobodys_way() -> None:
    other = booked(A2, P2, 2)
    early = BOOKED.__class__(appointment_id=A1, patient_id=P1, slot=1, timestamp=EARLIER)
    given(OPENED, early, other, checked_in(A2, 1, LATER)).when(check_in(A1, at=NINE, late=True)).then(checked_in(A1, 2))


def test_a_time_that_nobody_named_is_not_held_against_the_previous_step() -> None:
    """Two servers' clocks differ by a little."""
    given(*CALLED_FIRST).when(complete(A1, at=EARLIER)).then(
        ConsultationCompleted(appointment_id=A1, timestamp=EARLIER)
    )


def test_after_a_late_entry_the_next_one_is_held_against_it() -> None:
    late = checked_in(A1, 1, LATER)
    given(OPENED, BOOKED, late).when(cancel(A1, at=NINE, late=True)).refused(EffectiveTooEarly)
    given(OPENED, BOOKED, late).when(cancel(A1, at=LATER, late=True)).then(
        AppointmentCancelled(appointment_id=A1, timestamp=LATER)
    )


def test_a_check_in_entered_late_is_judged_by_its_own_day() -> None:
    early = BOOKED.__class__(appointment_id=A1, patient_id=P1, slot=1, timestamp=clock(8, 0, YESTERDAY))
    yesterday = clock(10, 0, YESTERDAY)
    given(OPENED, early).when(check_in(A1, at=yesterday, today=YESTERDAY, late=True)).refused(NotToday)


def test_an_unknown_appointment_comes_before_its_time() -> None:
    given(OPENED, BOOKED).when(check_in(A2, at=EARLIER, late=True)).refused(UnknownAppointment)
