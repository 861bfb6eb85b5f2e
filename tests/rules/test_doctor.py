"""A doctor in the registry."""

from dataclasses import asdict, replace

from domain.rules.doctor import Doctor, DoctorDetails
from domain.rules.events import DoctorDetailsChanged, DoctorRegistered
from tests.rules.decisions import Decision
from tests.rules.facts import NINE, STREAMS
from tests.rules.scenario import given

DETAILS = DoctorDetails("Dr. Amara Okafor", "DOC001", "Cardiology", "Medicine", "B2")
REGISTERED = DoctorRegistered(**asdict(DETAILS))


def _change(details: DoctorDetails, reason: str | None = None) -> Decision:
    return Decision(Doctor, NINE, lambda doctor: doctor.change(details, reason=reason, at=NINE))


def test_a_doctor_is_registered_in_the_open() -> None:
    decision = Decision(Doctor, NINE, lambda _: Doctor.register(STREAMS[Doctor], DETAILS, reason="new here", at=NINE))
    given().when(decision).then(DoctorRegistered(**asdict(DETAILS), reason="new here"))


def test_a_change_tells_all_the_details_as_they_are_afterwards() -> None:
    moved = replace(DETAILS, room=None, name="Prof. Amara Okafor")
    given(REGISTERED).when(_change(moved, "a chair")).then(DoctorDetailsChanged(**asdict(moved), reason="a chair"))


def test_the_last_change_counts() -> None:
    last = replace(DETAILS, code="DOC009")
    changes = (DoctorDetailsChanged(**asdict(replace(DETAILS, code="DOC002"))), DoctorDetailsChanged(**asdict(last)))
    given(REGISTERED, *changes).when(_change(last)).then()
    given(REGISTERED, *changes).when(_change(DETAILS)).then(DoctorDetailsChanged(**asdict(DETAILS)))


def test_a_form_sent_twice_changes_nothing() -> None:
    given(REGISTERED).when(_change(DETAILS, "again")).then()
