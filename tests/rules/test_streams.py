"""The names under which facts are kept."""

from domain.rules.events import day_of
from domain.rules.ids import clinic_of, clinic_stream, doctor_stream, patient_day_stream, patient_stream
from tests.rules.facts import D1, DAY, P1


def test_a_clinics_stream_names_its_doctor_and_date() -> None:
    assert clinic_stream(D1, DAY) == f"clinic/{D1}/2025-11-17"
    assert clinic_of(clinic_stream(D1, DAY)) == (D1, DAY)


def test_only_a_clinics_events_stand_on_a_days_board() -> None:
    assert day_of(clinic_stream(D1, DAY)) == DAY
    assert [day_of(name) for name in (doctor_stream(D1), patient_stream(P1), patient_day_stream(P1, DAY))] == [None] * 3


def test_a_clinic_comes_before_the_days_of_its_patients_in_the_order_of_locks() -> None:
    assert "#" < clinic_stream(D1, DAY) < doctor_stream(D1) < patient_day_stream(P1, DAY) < patient_stream(P1)
