"""Writes the sheets of today and tomorrow: at start, every ten minutes, at stop, and once somebody on them is erased.

Paper is what is left when all else fails. So whatever goes wrong in here, a full disk, a folder that is gone, a date
that cannot be shown, is logged and counted, and the queue goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

import msgspec
import structlog

from domain.rules.ids import PatientId
from gateway.downtime import folder
from gateway.downtime.sheet import sheet
from projections.shapes import Day

if TYPE_CHECKING:
    from projections.boards import Boards
    from projections.encoding import Encoder

EVERY_SECONDS: Final = 600.0
SOON_SECONDS: Final = 60.0
"""After a failure, since what is on disk then may name somebody erased meanwhile; and where today has no clinic yet,
since its first one is worth more than any change of it."""
WRITE_SECONDS: Final = 60.0
LAST_SECONDS: Final = 2.0
"""At stop, where all has to be over in ten."""

log = structlog.get_logger()

_decode: Final = msgspec.json.Decoder(Day).decode


class Downtime:
    """`written_at`: when both sheets were last there, and new; None before. `failures`: how often that went wrong."""

    def __init__(
        self,
        into: Path,
        boards: Boards,
        encoder: Encoder,
        *,
        now: Callable[[], datetime],
        zone: ZoneInfo,
        every_seconds: float = EVERY_SECONDS,
    ) -> None:
        self._folder, self._boards, self._encoder = into, boards, encoder
        self._now, self._zone, self._every_seconds = now, zone, every_seconds
        self._turn = asyncio.Lock()
        self._due = asyncio.Event()
        self._shown: dict[date, set[PatientId]] = {}
        """Who stands on the sheets as they are on disk, or will in a moment."""
        self._clinics_today = 0
        self.written_at: datetime | None = None
        self.failures = 0

    async def run(self) -> None:
        """For ever."""
        while True:
            self._due.clear()
            written = await self.write()
            pause = self._every_seconds if written and self._clinics_today else min(SOON_SECONDS, self._every_seconds)
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._due.wait()

    async def write_last(self) -> None:
        """Before the server goes: it may be for long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_SECONDS):
                await self.write()

    def erased(self, patient_id: PatientId) -> None:
        """Somebody is to be forgotten: on paper, too, if they are on it."""
        if any(patient_id in patients for patients in self._shown.values()):
            self._due.set()

    async def write(self) -> bool:
        """Whether both sheets are there, and new."""
        async with self._turn:  # A sheet must not be replaced by an older one.
            now = self._now().astimezone(self._zone)
            today = now.date()
            try:
                async with asyncio.timeout(WRITE_SECONDS):
                    await asyncio.to_thread(folder.prepare, self._folder)
                    await asyncio.to_thread(folder.clear, self._folder, before=today)
            except Exception as fault:
                self._failed(fault)
                return False
            self._shown = {day: who for day, who in self._shown.items() if day >= today}
            written = [await self._write_day(day, now) for day in (today, today + timedelta(days=1))]
            if not all(written):
                return False
            self.written_at = now
            return True

    async def _write_day(self, day: date, now: datetime) -> bool:
        """Each by itself: where one date cannot be shown, the other is wanted all the more."""
        try:
            async with asyncio.timeout(WRITE_SECONDS):
                board = await self._boards.get(day)
                # To the bytes there is no await: all who stand on the board are at hand.
                encoded, up_to, patients = self._encoder.day(board, now), self._boards.applied, set(board.patients())
                self._shown[day] = patients | self._shown.get(day, set())
                if day == now.date():
                    self._clinics_today = len(board.clinics)
                await asyncio.to_thread(self._print, day, encoded, now, up_to)
                self._shown[day] = patients
        except Exception as fault:
            self._failed(fault, day)
            return False
        return True

    def _print(self, day: date, encoded: bytes, now: datetime, up_to: int) -> None:
        """In a thread: a large day is a few megabytes, and the disk may take its time."""
        folder.put(self._folder, day, sheet(_decode(encoded), written_at=now, up_to=up_to))

    def _failed(self, fault: Exception, day: date | None = None) -> None:
        self.failures += 1
        tellable = isinstance(fault, OSError | folder.NotPrivate)  # of others the text might be about somebody
        log.error(
            "downtime_sheet_not_written",
            date=str(day) if day else None,
            fault=type(fault).__name__,
            detail=str(fault) if tellable else None,
        )
