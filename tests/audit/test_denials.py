"""Who is refused a million times makes no million records."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from domain.audit.codec import Viewer
from domain.audit.denials import COUNTED_BY_NAME, TOGETHER, Denials
from domain.audit.looks import AccessDenied

NINE = datetime(2025, 11, 17, 9, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def somebody(number: int) -> Viewer:
    return Viewer(actor="unknown", role="unknown", address=f"10.0.{number // 256}.{number % 256}")


def test_refusals_of_one_minute_are_one_record_for_each_address() -> None:
    denials = Denials()
    for second in range(60):
        assert denials.count(somebody(second % 2), NINE + second * SECOND) == []
    assert list(denials.over(NINE + 59 * SECOND)) == []
    assert list(denials.over(NINE + 60 * SECOND)) == [
        (somebody(0), AccessDenied(minute=NINE, count=30)),
        (somebody(1), AccessDenied(minute=NINE, count=30)),
    ]
    assert list(denials.over(NINE + 120 * SECOND)) == []


def test_the_first_refusal_of_another_minute_brings_the_records_of_the_one_before() -> None:
    denials = Denials()
    denials.count(somebody(1), NINE)
    assert denials.count(somebody(1), NINE + 61 * SECOND) == [(somebody(1), AccessDenied(minute=NINE, count=1))]
    assert list(denials.all()) == [(somebody(1), AccessDenied(minute=NINE + 60 * SECOND, count=1))]


def test_one_address_is_one_whatever_it_calls_its_requests() -> None:
    denials = Denials()
    for number in range(3):
        denials.count(Viewer(actor="unknown", role="unknown", address="10.0.0.1", correlation_id=f"{number}"), NINE)
    assert list(denials.all()) == [(somebody(1), AccessDenied(minute=NINE, count=3))]


def test_beyond_so_many_addresses_the_rest_is_counted_together() -> None:
    denials = Denials()
    for number in range(COUNTED_BY_NAME + 500):
        denials.count(somebody(number), NINE)
    denials.count(somebody(0), NINE)
    told = dict(denials.all())
    assert len(told) == COUNTED_BY_NAME + 1
    assert told[somebody(0)] == AccessDenied(minute=NINE, count=2)
    assert told[TOGETHER] == AccessDenied(minute=NINE, count=500, together=True)
