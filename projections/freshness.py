"""Does what is shown follow what happens? A board that looks alive and is not is the worst of all.

The projector knows when it last stood at the end of the log: its follower looks there every second at the least. As
long as that was a moment ago, boards are live. When it was longer ago, since the store cannot be reached or there is
more to fold than can be folded, monitors are told, and told again when it is over; meanwhile the last board stays.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

import structlog

from domain.log import read
from domain.log.follow import POLL_SECONDS
from domain.postgres.connect import FAULTS

if TYPE_CHECKING:
    from domain.postgres.connect import Pool
    from projections.projector import Projector

STALE_SECONDS: Final = 3.0
"""Longer than a lost connection takes to be found again, and shorter than anybody acts on a board."""
LOOK_SECONDS: Final = 0.5
HEAD_SECONDS: Final = 1.0

log = structlog.get_logger()


class Freshness:
    """`live`, and `since` when. `head`: the newest event of the log that is known of."""

    def __init__(self, pool: Pool, projector: Projector, now: Callable[[], datetime]) -> None:
        self._pool, self._projector, self._now = pool, projector, now
        self.live = True
        self.since = now()
        self._head = 0
        self.turned: Callable[[], None] = lambda: None
        """Called when `live` has become another."""

    @property
    def head(self) -> int:
        return max(self._head, self._projector.position)

    def lag_seconds(self) -> float:
        """How long ago what is shown was known to be the newest there is; 0 where that was at the last look."""
        behind = self._behind()
        return 0.0 if behind < 2 * POLL_SECONDS else round(behind, 1)

    async def run(self) -> None:
        """For ever."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            behind = self._behind()
            if (behind < STALE_SECONDS) != self.live:
                self._turn(behind)
            if not self.live:
                await self._look_ahead()

    def _behind(self) -> float:
        return asyncio.get_running_loop().time() - self._projector.at_end_of_log

    def _turn(self, behind: float) -> None:
        self.live = not self.live
        self.since = self._now() if self.live else self._now() - timedelta(seconds=behind)
        if self.live:
            log.info("boards_live_again", position=self._projector.position)
        else:
            log.warning("boards_stale", position=self._projector.position, lag_seconds=round(behind, 1))
        self.turned()

    async def _look_ahead(self) -> None:
        """How much there is to catch up with, if the store says."""
        try:
            async with asyncio.timeout(HEAD_SECONDS):
                self._head = await read.head(self._pool)
        except FAULTS:
            pass
