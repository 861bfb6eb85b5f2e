"""One clock for all servers of a hospital: the database's.

Two servers whose clocks differ would put two patients who arrive together in the wrong order. So each learns by how
much it is off, and corrects for it.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import structlog

from domain.postgres.connect import FAULTS

if TYPE_CHECKING:
    from domain.postgres.connect import Pool

MEASURE_SECONDS: Final = 60.0
TRIPS: Final = 5
_NOW: Final = "SELECT clock_timestamp()"

log = structlog.get_logger()


class Clock:
    def __init__(self) -> None:
        self._ahead = timedelta()
        """How far the database is ahead of this machine."""

    def now(self) -> datetime:
        return datetime.now(UTC) + self._ahead

    async def measure(self, pool: Pool) -> None:
        """By the shortest of some trips: how wrong one can be is half of how long it took."""
        trips = [await self._trip(pool) for _ in range(TRIPS)]
        self._ahead = min(trips)[1]

    async def _trip(self, pool: Pool) -> tuple[timedelta, timedelta]:
        """How long it took, and how far ahead the database was."""
        asked = datetime.now(UTC)
        theirs: datetime = await pool.fetchval(_NOW)
        took = datetime.now(UTC) - asked
        return took, theirs - (asked + took / 2)

    async def run(self, pool: Pool) -> None:
        """For ever. While the store cannot be reached, the last measure stands."""
        while True:
            await asyncio.sleep(MEASURE_SECONDS)
            try:
                await self.measure(pool)
            except FAULTS as fault:
                log.warning("clock_not_measured", fault=type(fault).__name__)
