"""Every fact about a date has its place on the board."""

from __future__ import annotations

from domain.rules import events
from domain.rules.clinic import Clinic
from projections.board import DayBoard


def test_no_event_of_a_clinic_is_forgotten() -> None:
    of_a_clinic = {
        cls for name, cls in vars(events).items() if isinstance(cls, type) and name in vars(Clinic) and name != "Event"
    }
    assert of_a_clinic
    assert set(DayBoard._FOLD) == of_a_clinic
