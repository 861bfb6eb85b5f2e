"""Nobody is to be in two rooms at once."""

import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st

from domain.rules.events import TimeReleased, TimeReserved
from domain.rules.ids import AppointmentId, DoctorId
from domain.rules.patient_day import Span
from domain.rules.refusals import PatientBusy
from tests.rules.decisions import release, reserve
from tests.rules.facts import A1, A2, A3, D1, D2, D3
from tests.rules.scenario import given

TEN_TO_ELEVEN = Span(600, 660)


def _reserved(appointment_id: AppointmentId, doctor_id: DoctorId, span: Span) -> TimeReserved:
    return TimeReserved(
        appointment_id=appointment_id,
        doctor_id=doctor_id,
        starts_minute=span.starts,
        minutes=span.ends - span.starts,
    )


RESERVED = _reserved(A1, D1, TEN_TO_ELEVEN)
RELEASED = TimeReleased(appointment_id=A1)


def test_everyone_has_every_day_before_anything_is_known_of_it() -> None:
    given().when(reserve(A1, D1, TEN_TO_ELEVEN)).then(RESERVED)


@pytest.mark.parametrize("span", [Span(540, 600), Span(660, 720), Span(0, 600), Span(660, 1440)])
def test_one_appointment_may_begin_as_another_ends(span: Span) -> None:
    given(RESERVED).when(reserve(A2, D2, span)).then(_reserved(A2, D2, span))


@pytest.mark.parametrize("span", [TEN_TO_ELEVEN, Span(659, 700), Span(500, 601), Span(620, 630), Span(0, 1440)])
def test_two_doctors_do_not_share_a_minute_of_a_patient(span: Span) -> None:
    given(RESERVED).when(reserve(A2, D2, span)).refused(PatientBusy)


def test_an_overlap_is_taken_when_it_is_wanted() -> None:
    given(RESERVED).when(reserve(A2, D2, TEN_TO_ELEVEN, allow_overlap=True)).then(_reserved(A2, D2, TEN_TO_ELEVEN))


def test_with_one_doctor_it_is_the_clinic_that_sees_to_it() -> None:
    given(RESERVED).when(reserve(A2, D1, TEN_TO_ELEVEN)).then(_reserved(A2, D1, TEN_TO_ELEVEN))


def test_every_appointment_of_the_day_counts() -> None:
    later = _reserved(A2, D2, Span(700, 720))
    given(RESERVED, later).when(reserve(A3, D3, Span(650, 655))).refused(PatientBusy)
    given(RESERVED, later).when(reserve(A3, D3, Span(710, 730))).refused(PatientBusy)
    given(RESERVED, later).when(reserve(A3, D3, Span(660, 700))).then(_reserved(A3, D3, Span(660, 700)))


def test_time_released_is_free_again() -> None:
    given(RESERVED).when(release(A1)).then(RELEASED)
    given(RESERVED, RELEASED).when(reserve(A2, D2, TEN_TO_ELEVEN)).then(_reserved(A2, D2, TEN_TO_ELEVEN))


def test_releasing_one_appointment_keeps_the_others_time() -> None:
    both = (RESERVED, _reserved(A2, D2, TEN_TO_ELEVEN))
    given(*both, RELEASED).when(reserve(A3, D3, TEN_TO_ELEVEN)).refused(PatientBusy)


minutes = st.integers(0, 1440)
spans = st.tuples(minutes, minutes).filter(lambda pair: pair[0] < pair[1]).map(lambda pair: Span(*pair))


@for_all(one=spans, other=spans)
def test_spans_overlap_where_they_share_a_minute(one: Span, other: Span) -> None:
    shared = set(range(one.starts, one.ends)) & set(range(other.starts, other.ends))
    assert one.overlaps(other) == other.overlaps(one) == bool(shared)
