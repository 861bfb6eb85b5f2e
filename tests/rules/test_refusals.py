"""What a refusal tells whoever asked."""

import re
from collections.abc import Iterator

import pytest

from domain.rules import refusals
from domain.rules.refusals import NotAllowedFrom, Refusal, Unknown


def _all(of: type[Refusal] = Refusal) -> Iterator[type[Refusal]]:
    for cls in of.__subclasses__():
        yield from _all(cls)
        if cls is not Unknown:
            yield cls


ALL = [cls for cls in _all() if cls.__module__ == refusals.__name__]


@pytest.mark.parametrize("refusal", ALL)
def test_every_refusal_has_a_code_and_a_sentence(refusal: type[Refusal]) -> None:
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", refusal.code)
    assert re.fullmatch(r"[A-Z`][^\n]*\.", str(refusal()))


def test_no_two_refusals_share_a_code() -> None:
    codes = [refusal.code for refusal in ALL]
    assert sorted(set(codes)) == sorted(codes)


def test_a_refusal_carries_what_a_program_may_want_to_know() -> None:
    assert NotAllowedFrom(appointment_status="cancelled", queue_status=None).facts == {
        "appointment_status": "cancelled",
        "queue_status": None,
    }
