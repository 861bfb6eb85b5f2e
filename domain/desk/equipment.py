"""What every decision is made with: one set for the whole desk."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Final
from uuid import UUID
from zoneinfo import ZoneInfo

from domain.desk.streams import Locks, Streams
from domain.log.append import Writer
from domain.log.codec import EventMapper
from domain.postgres.connect import Pool
from domain.rules.ids import AppointmentId
from domain.vault.digests import Digests
from domain.vault.sealing import Vault

WHEREABOUTS_KEPT: Final = 100_000


class Whereabouts(OrderedDict[AppointmentId, str]):
    """The stream each appointment was last seen in."""

    def __setitem__(self, appointment_id: AppointmentId, stream: str) -> None:
        super().__setitem__(appointment_id, stream)
        if len(self) > WHEREABOUTS_KEPT:
            self.popitem(last=False)


@dataclass(slots=True, kw_only=True)
class Equipment:
    """`now` and `new_id` come from outside: there is no clock and no chance in here."""

    pool: Pool
    writer: Writer
    vault: Vault
    digests: Digests
    zone: ZoneInfo
    now: Callable[[], datetime]
    new_id: Callable[[], UUID]
    streams: Streams
    locks: Locks = field(default_factory=Locks)
    whereabouts: Whereabouts = field(default_factory=Whereabouts)
    mapper: EventMapper = field(default_factory=EventMapper)

    def date_of(self, at: datetime) -> date:
        """The date at that moment in the hospital."""
        return at.astimezone(self.zone).date()

    def next_minute_of_day(self, at: datetime) -> int:
        """The first whole minute after midnight, on the hospital's clock on the wall, that has not begun before."""
        there = at.astimezone(self.zone)
        return there.hour * 60 + there.minute + (there.second > 0 or there.microsecond > 0)
