"""How a clinic runs: how many slots, from when, how long each, and in which order people are seen."""

from __future__ import annotations

from dataclasses import dataclass

from domain.rules.events import Order
from domain.rules.patient_day import Span
from domain.rules.refusals import RunsPastMidnight

MINUTES_A_DAY = 24 * 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """A clinic that nobody opened opens with the defaults."""

    capacity: int = 40
    starts_at: str = "09:00"
    slot_minutes: int = 10
    room: str | None = None
    order: Order = "arrival"

    def span(self, slot: int) -> Span:
        """The minutes of the day that a slot takes."""
        hours, minutes = self.starts_at.split(":")
        starts = int(hours) * 60 + int(minutes) + (slot - 1) * self.slot_minutes
        return Span(starts, starts + self.slot_minutes)

    def refuse_past_midnight(self) -> None:
        if self.span(self.capacity).ends > MINUTES_A_DAY:
            raise RunsPastMidnight
