"""Who a patient is, and being forgotten."""

from domain.rules.events import PatientDetailsChanged, PatientErased, PatientRegistered
from domain.rules.ids import Sealed
from domain.rules.patient import Patient
from tests.rules.decisions import Decision
from tests.rules.facts import NINE, STREAMS, clock
from tests.rules.scenario import given

REGISTERED = PatientRegistered(details=Sealed(b"sealed details"))
ERASED = PatientErased(reason="asked for it")


def _register(details: Sealed, reason: Sealed | None = None) -> Decision:
    return Decision(
        Patient, NINE, lambda _: Patient.register(STREAMS[Patient], details=details, reason=reason, at=NINE)
    )


def _erase(reason: str = "asked for it") -> Decision:
    return Decision(Patient, clock(10), lambda patient: patient.erase(reason=reason, at=clock(10)))


def test_a_patient_is_registered_by_sealed_details_alone() -> None:
    given().when(_register(Sealed(b"sealed details"), Sealed(b"sealed reason"))).then(
        PatientRegistered(details=Sealed(b"sealed details"), reason=Sealed(b"sealed reason"))
    )
    assert not given(REGISTERED).patient.erased


def test_a_change_tells_all_the_details_sealed_and_why() -> None:
    details, reason = Sealed(b"other details"), Sealed(b"sealed reason")
    decision = Decision(Patient, NINE, lambda patient: patient.change(details, reason=reason, at=NINE))
    given(REGISTERED).when(decision).then(PatientDetailsChanged(details=details, reason=reason))
    assert given(REGISTERED, PatientDetailsChanged(details=details)).patient.details == details


def test_an_erased_patient_has_no_details_whatever_was_changed_before() -> None:
    changed = PatientDetailsChanged(details=Sealed(b"other details"))
    assert given(REGISTERED, changed, ERASED).patient.details == b""


def test_an_erasure_says_why() -> None:
    given(REGISTERED).when(_erase("asked for it in writing")).then(PatientErased(reason="asked for it in writing"))


def test_an_erased_patient_has_no_details() -> None:
    patient = given(REGISTERED, ERASED).patient
    assert (patient.erased, patient.details) == (True, b"")


def test_erasing_twice_changes_nothing() -> None:
    given(REGISTERED, ERASED).when(_erase("again")).then()
