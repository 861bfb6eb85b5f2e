"""Closing a clinic, opening it again, running late, and being over for the day."""

import pytest

from domain.rules.events import (
    ClinicClosed,
    ClinicDelayed,
    ClinicFinished,
    ClinicReopened,
    Event,
    PatientLeftUnseen,
    PatientMarkedNoShow,
)
from domain.rules.refusals import EffectiveTooEarly, PatientsInConsultation
from tests.rules.decisions import call_next, check_in, close, finish, reopen, run_late
from tests.rules.facts import (
    A1,
    A2,
    A3,
    BOOKED,
    CALLED_IN,
    CANCELLED,
    CLOSED,
    COMPLETED,
    FINISHED,
    HELD,
    IN_CONSULTATION,
    NO_SHOW,
    OPENED,
    P2,
    P3,
    REOPENED,
    SEEN,
    STARTED,
    UNSEEN,
    WAITING,
    booked,
    checked_in,
    clock,
)
from tests.rules.scenario import given

# --- closed and open -----------------------------------------------------------------------------


def test_a_clinic_closes_and_says_why() -> None:
    given(OPENED).when(close(reason="ill")).then(ClinicClosed(reason="ill"))
    assert given(OPENED, CLOSED).clinic.status == "closed"


@pytest.mark.parametrize("ended", [CLOSED, FINISHED], ids=["closed", "finished"])
def test_what_is_closed_already_is_not_closed_again(ended: Event) -> None:
    given(OPENED, ended).when(close()).then()


@pytest.mark.parametrize("ended", [CLOSED, FINISHED], ids=["closed", "finished"])
def test_a_clinic_opens_again(ended: Event) -> None:
    given(OPENED, ended).when(reopen(reason="a substitute")).then(ClinicReopened(reason="a substitute"))
    assert given(OPENED, ended, REOPENED).clinic.status == "open"


def test_an_open_clinic_is_not_opened_again() -> None:
    given(OPENED).when(reopen()).then()
    given(OPENED, CLOSED, REOPENED).when(reopen()).then()


def test_a_closed_clinic_goes_on_seeing_those_who_are_booked() -> None:
    given(OPENED, BOOKED, CLOSED).when(check_in(A1)).then(checked_in(A1, 1))
    given(*WAITING, CLOSED).when(call_next()).then(CALLED_IN[-1])


# --- late ----------------------------------------------------------------------------------------


def test_a_clinic_runs_late_and_is_in_time_again() -> None:
    given(OPENED).when(run_late(20, "an emergency")).then(ClinicDelayed(minutes=20, note="an emergency"))
    late = ClinicDelayed(minutes=20, note="an emergency")
    given(OPENED, late).when(run_late(0, reason="caught up")).then(ClinicDelayed(minutes=0, reason="caught up"))
    assert given(OPENED, late).clinic.delay == (20, "an emergency")


def test_a_delay_told_twice_is_no_news_but_another_note_is() -> None:
    given(OPENED).when(run_late(0)).then()
    late = given(OPENED, ClinicDelayed(minutes=20, note="an emergency"))
    late.when(run_late(20, "an emergency", reason="again")).then()
    late.when(run_late(20, "two emergencies")).then(ClinicDelayed(minutes=20, note="two emergencies"))
    late.when(run_late(20)).then(ClinicDelayed(minutes=20))


def test_a_delay_changes_no_slot() -> None:
    settings = given(OPENED).clinic.settings
    assert given(OPENED, ClinicDelayed(minutes=20)).clinic.settings == settings


# --- over for the day ----------------------------------------------------------------------------


def test_who_never_came_is_a_no_show_and_who_came_is_unseen() -> None:
    story = (*CALLED_IN, booked(A2, P2, 2), checked_in(A2, 2), booked(A3, P3, 3))
    done = given(*story).when(finish(reason="six o'clock"))
    done.then(
        PatientLeftUnseen(appointment_id=A1),
        PatientLeftUnseen(appointment_id=A2),
        PatientMarkedNoShow(appointment_id=A3),
        ClinicFinished(reason="six o'clock"),
    )
    assert [each.appointment_id for each in done.answer] == [A1, A2, A3]
    assert [each.status for each in done.answer] == ["unseen", "unseen", "no_show"]


def test_who_is_on_hold_came_and_was_not_seen() -> None:
    given(*HELD).when(finish()).then(PatientLeftUnseen(appointment_id=A1), ClinicFinished())


@pytest.mark.parametrize(
    "over",
    [(OPENED,), SEEN, (OPENED, BOOKED, CANCELLED), (OPENED, BOOKED, NO_SHOW), (*WAITING, UNSEEN)],
    ids=["nobody", "completed", "cancelled", "no-show", "unseen"],
)
def test_whoever_is_done_stays_as_they_are(over: tuple[Event, ...]) -> None:
    assert given(*over).when(finish()).then(ClinicFinished()).answer == []


def test_a_clinic_does_not_finish_over_somebody_in_consultation() -> None:
    given(*IN_CONSULTATION, booked(A2, P2, 2)).when(finish()).refused(PatientsInConsultation)
    given(*IN_CONSULTATION, COMPLETED).when(finish()).then(ClinicFinished())


def test_a_closed_clinic_finishes_and_a_finished_one_does_not_again() -> None:
    given(OPENED, CLOSED).when(finish()).then(ClinicFinished())
    assert given(OPENED, BOOKED, NO_SHOW, FINISHED).when(finish()).then().answer == []


def test_a_clinic_opened_again_finishes_again() -> None:
    given(OPENED, FINISHED, REOPENED, BOOKED).when(finish()).then(PatientMarkedNoShow(appointment_id=A1), FINISHED)


def test_a_finish_entered_late_does_not_lie_before_the_last_step_of_those_it_ends() -> None:
    waiting = (OPENED, BOOKED, checked_in(A1, 1, clock(10)))
    given(*waiting).when(finish(at=clock(9, 59), late=True)).refused(EffectiveTooEarly)
    given(*waiting).when(finish(at=clock(10), late=True)).then(PatientLeftUnseen(appointment_id=A1), ClinicFinished())
    given(*SEEN).when(finish(at=clock(8), late=True)).then(ClinicFinished())


def test_a_time_too_early_comes_before_whoever_is_in_consultation() -> None:
    at_ten = STARTED.__class__(appointment_id=A1, timestamp=clock(10))
    given(*CALLED_IN, at_ten).when(finish(at=clock(9, 59), late=True)).refused(EffectiveTooEarly)
