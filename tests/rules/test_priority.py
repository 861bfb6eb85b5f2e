"""How urgent an appointment is, and changing it."""

import pytest

from domain.rules.events import Event, Priority, PriorityChanged
from domain.rules.ids import Sealed
from domain.rules.refusals import EffectiveTooEarly, NotAllowedFrom, UnknownAppointment
from tests.rules.decisions import call_next, change_priority
from tests.rules.facts import A1, A2, BOOKED, CALLED, OPENED, P2, STAGES, WAITING, booked, checked_in, clock
from tests.rules.scenario import given

ALLOWED = {"booked", "waiting", "called", "on hold"}


def _more_urgent(priority: Priority = "urgent") -> PriorityChanged:
    return PriorityChanged(appointment_id=A1, priority=priority)


@pytest.mark.parametrize("before", STAGES)
def test_a_priority_changes_until_the_consultation_begins(before: str) -> None:
    story = given(*STAGES[before])
    if before in ALLOWED:
        story.when(change_priority("emergency")).then(_more_urgent("emergency"))
    else:
        stands = story.clinic.appointment(A1)
        facts = {"appointment_status": stands.status, "queue_status": stands.stage}
        story.when(change_priority("emergency")).refused(NotAllowedFrom, **facts)
        story.when(change_priority("routine")).refused(NotAllowedFrom, **facts)  # the same as before, and over


@pytest.mark.parametrize("facts", [(OPENED, BOOKED), (OPENED, BOOKED, _more_urgent())], ids=["booked", "changed"])
def test_as_urgent_as_before_is_no_news(facts: tuple[Event, ...]) -> None:
    same = given(*facts).clinic.appointment(A1).state.priority
    given(*facts).when(change_priority(same, reason=Sealed(b"sealed"))).then()


def test_a_change_records_its_reason_as_it_was_sealed() -> None:
    given(OPENED, BOOKED).when(change_priority("urgent", reason=Sealed(b"sealed"))).then(
        PriorityChanged(appointment_id=A1, priority="urgent", reason=Sealed(b"sealed"))
    )


def test_whoever_became_more_urgent_is_called_before_those_who_came_first() -> None:
    story = (OPENED, BOOKED, booked(A2, P2, 2), checked_in(A2, 1, clock(8, 50)), checked_in(A1, 2, clock(9, 5)))
    assert given(*story).clinic.next_in_line().appointment_id == A2
    given(*story, _more_urgent()).when(call_next()).then(CALLED)
    given(*story, _more_urgent(), _more_urgent("routine")).when(call_next()).then(CALLED.__class__(appointment_id=A2))


def test_a_change_entered_late_does_not_lie_before_the_previous_step() -> None:
    given(*WAITING).when(change_priority("urgent", at=clock(8), late=True)).refused(EffectiveTooEarly)
    given(*WAITING).when(change_priority("routine", at=clock(8), late=True)).refused(EffectiveTooEarly)


def test_an_appointment_that_the_clinic_does_not_have_is_unknown() -> None:
    given(OPENED, BOOKED).when(change_priority("urgent", A2)).refused(UnknownAppointment)
