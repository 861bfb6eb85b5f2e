"""Opening a clinic, and changing how it runs."""

from dataclasses import replace

import pytest

from domain.rules.events import ClinicChanged, ClinicOpened
from domain.rules.patient_day import Span
from domain.rules.refusals import CapacityBelowBooked, ClinicHasBookings, RunsPastMidnight
from domain.rules.settings import Settings
from tests.rules.decisions import change, open_clinic
from tests.rules.facts import A1, BOOKED, CALLED, CANCELLED, CHECKED_IN, COMPLETED, D1, DAY, OPENED, P1, booked, opened
from tests.rules.scenario import given

NOW = Settings(capacity=3)
"""As OPENED says."""


def test_a_clinic_opens_with_the_defaults_of_the_contract() -> None:
    given().when(open_clinic(Settings())).then(
        ClinicOpened(capacity=40, starts_at="09:00", slot_minutes=10, room=None, order="arrival")
    )


def test_a_clinic_opens_as_it_is_asked_to() -> None:
    settings = Settings(capacity=12, starts_at="14:30", slot_minutes=15, room="B2", order="slot")
    given().when(open_clinic(settings)).then(
        ClinicOpened(capacity=12, starts_at="14:30", slot_minutes=15, room="B2", order="slot")
    )


def test_a_clinic_knows_its_doctor_and_its_date() -> None:
    clinic = given(OPENED).clinic
    assert (clinic.doctor_id, clinic.date) == (D1, DAY)


def test_a_slot_is_a_half_open_span_of_the_day() -> None:
    settings = Settings(starts_at="09:30", slot_minutes=20)
    assert settings.span(1) == Span(570, 590)
    assert settings.span(2) == Span(590, 610)


@pytest.mark.parametrize(
    ("capacity", "starts_at", "slot_minutes"),
    [(90, "09:00", 10), (1440, "00:00", 1), (1, "00:00", 1440), (1, "23:59", 1)],
)
def test_a_clinic_may_run_up_to_midnight(capacity: int, starts_at: str, slot_minutes: int) -> None:
    given().when(open_clinic(Settings(capacity=capacity, starts_at=starts_at, slot_minutes=slot_minutes))).then(
        opened(capacity, starts_at, slot_minutes)
    )


@pytest.mark.parametrize(
    ("capacity", "starts_at", "slot_minutes"), [(91, "09:00", 10), (2, "00:00", 1440), (1, "23:59", 2), (3, "23:57", 2)]
)
def test_a_clinic_that_would_run_past_midnight_does_not_open(capacity: int, starts_at: str, slot_minutes: int) -> None:
    given().when(open_clinic(Settings(capacity=capacity, starts_at=starts_at, slot_minutes=slot_minutes))).refused(
        RunsPastMidnight
    )


def test_a_change_records_all_the_settings_as_they_are_now() -> None:
    settings = Settings(capacity=5, starts_at="10:00", slot_minutes=20, room="C1", order="slot")
    story = given(OPENED).when(change(settings, reason="a longer list"))
    story.then(
        ClinicChanged(capacity=5, starts_at="10:00", slot_minutes=20, room="C1", order="slot", reason="a longer list")
    )


def test_settings_sent_twice_change_nothing() -> None:
    given(OPENED, BOOKED).when(change(NOW)).then()


def test_a_change_that_would_run_past_midnight_is_refused() -> None:
    given(OPENED).when(change(replace(NOW, starts_at="23:45"))).refused(RunsPastMidnight)


@pytest.mark.parametrize("times", [{"starts_at": "10:00"}, {"slot_minutes": 15}])
def test_times_are_fixed_once_somebody_is_booked(times: dict[str, object]) -> None:
    given(OPENED, BOOKED).when(change(replace(NOW, **times))).refused(ClinicHasBookings)  # type: ignore[arg-type]


def test_times_are_fixed_also_when_everybody_has_been_seen() -> None:
    seen = given(OPENED, BOOKED, CHECKED_IN, CALLED, COMPLETED)
    seen.when(change(replace(NOW, starts_at="10:00"))).refused(ClinicHasBookings)


def test_times_are_free_again_when_the_only_booking_is_cancelled() -> None:
    given(OPENED, BOOKED, CANCELLED).when(change(replace(NOW, starts_at="10:00"))).then(
        ClinicChanged(capacity=3, starts_at="10:00", slot_minutes=10, order="arrival")
    )


def test_room_order_and_capacity_change_under_bookings() -> None:
    given(OPENED, BOOKED).when(change(replace(NOW, capacity=9, room="A3", order="slot"))).then(
        ClinicChanged(capacity=9, starts_at="09:00", slot_minutes=10, room="A3", order="slot")
    )


def test_capacity_goes_down_to_the_highest_slot_taken() -> None:
    given(OPENED, booked(A1, P1, 2)).when(change(replace(NOW, capacity=2))).then(
        ClinicChanged(capacity=2, starts_at="09:00", slot_minutes=10, order="arrival")
    )


def test_capacity_does_not_go_below_the_highest_slot_taken() -> None:
    given(OPENED, booked(A1, P1, 2)).when(change(replace(NOW, capacity=1))).refused(CapacityBelowBooked)


def test_capacity_may_go_below_a_slot_that_was_freed() -> None:
    given(OPENED, booked(A1, P1, 3), CANCELLED).when(change(replace(NOW, capacity=1))).then(
        ClinicChanged(capacity=1, starts_at="09:00", slot_minutes=10, order="arrival")
    )


def test_past_midnight_is_refused_before_the_bookings_are_looked_at() -> None:
    given(OPENED, booked(A1, P1, 3)).when(change(replace(NOW, capacity=2, starts_at="23:50"))).refused(RunsPastMidnight)


def test_bookings_are_looked_at_before_the_capacity() -> None:
    given(OPENED, booked(A1, P1, 3)).when(change(replace(NOW, capacity=2, slot_minutes=5))).refused(ClinicHasBookings)
