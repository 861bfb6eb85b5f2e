"""Group commit for looks: one task drains a queue, and nobody who looks is kept from it.

While the database does not take records they wait here, so that an outage makes them late and not lost. What there is
no room for is lost, and counted. Either way, once the database takes records again and nothing waits any more, the gap
is told.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import structlog

from domain.audit.codec import Draft
from domain.postgres.connect import FAULTS, Line, back_off

QUEUED_BYTES: Final = 32 * 2**20
"""What may wait to be recorded. The start of a subscription takes 800 bytes: 42,000 of them."""
DRAFT_BYTES: Final = 680
"""What one takes beside its data and meta."""
BATCH_RECORDS: Final = 500
BATCH_SECONDS: Final = 5.0
BACK_OFF_SECONDS: Final = (0.05, 1.0)
CLOSE_SECONDS: Final = 2.0
"""How long a server that stops goes on trying to record what waits."""

_RECORD: Final = "SELECT daysheet.record_access($1, $2, $3, $4, $5, $6, $7)"

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Gap:
    """Records were not taken, or not fast enough. `late` of them were written all the same."""

    lost: int
    late: int
    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class _Waiting:
    draft: Draft
    at: datetime
    recorded: asyncio.Future[None]

    @property
    def bytes(self) -> int:
        return DRAFT_BYTES + len(self.draft.data) + len(self.draft.meta)


class Writer:
    """The only way into the log of looks. `run()` must be running for anything to be recorded."""

    def __init__(self, url: str, now: Callable[[], datetime], *, queued_bytes: int = QUEUED_BYTES) -> None:
        self._line, self._now, self._room_bytes = Line(url), now, queued_bytes
        self._queue: deque[_Waiting] = deque()
        self._queued_bytes = 0
        self._wake = asyncio.Event()
        self._closing = False
        self._closes: asyncio.Timeout | None = None
        self._since: datetime | None = None
        """When the gap began, while there is one."""
        self._lost_in_gap = self._late_in_gap = 0
        self.lost = 0
        """How many were lost since the start."""
        self.gap_ended: Callable[[Gap], None] = lambda gap: None
        """Called when nothing waits any more, and something had to."""

    @property
    def waiting(self) -> int:
        return len(self._queue)

    def put(self, draft: Draft, at: datetime, *, whatever_room: bool = False) -> asyncio.Future[None]:
        """Never waits. The future is done when the look is on disk; for one that is lost, it is cancelled."""
        waiting = _Waiting(draft, at, asyncio.get_running_loop().create_future())
        full = self._queued_bytes + waiting.bytes > self._room_bytes
        if (self._closing or full) and not whatever_room:
            self._lose([waiting])
        else:
            self._queue.append(waiting)
            self._queued_bytes += waiting.bytes
            self._wake.set()
        return waiting.recorded

    async def settled(self, *, seconds: float) -> None:
        """Returns when all that was put so far is on disk, or after so many seconds."""
        if self._queue:
            await asyncio.wait([self._queue[-1].recorded], timeout=seconds)

    async def run(self) -> None:
        """Until close(), and then until nothing waits, at most for CLOSE_SECONDS."""
        try:
            async with asyncio.timeout(CLOSE_SECONDS if self._closing else None) as self._closes:
                while self._queue or not self._closing:
                    await self._wake.wait()
                    self._wake.clear()
                    while self._queue:
                        await self._record()
        except TimeoutError:
            log.warning("looks_not_recorded", records=len(self._queue))
        finally:
            self._closing = True
            self._lose(self._queue)
            self._queue.clear()
            self._line.drop()

    def close(self) -> None:
        self._closing = True
        self._wake.set()
        if self._closes is not None:
            self._closes.reschedule(asyncio.get_running_loop().time() + CLOSE_SECONDS)

    async def _record(self) -> None:
        """One batch. What it holds waits in the queue until it is on disk."""
        batch = [self._queue[n] for n in range(min(BATCH_RECORDS, len(self._queue)))]
        await self._send(batch)
        for waiting in batch:
            self._queue.popleft()
            self._queued_bytes -= waiting.bytes
            if not waiting.recorded.done():  # Whoever waited for it may have gone.
                waiting.recorded.set_result(None)
        if self._since is not None:
            self._late_in_gap += len(batch)
            if not self._queue:
                self._end_gap(self._since)

    async def _send(self, batch: Sequence[_Waiting]) -> None:
        """Again and again, until it is known to be recorded."""
        columns = _columns(batch)
        attempts = 0
        while True:
            try:
                async with asyncio.timeout(BATCH_SECONDS):
                    connection = await self._line.connection()
                    await connection.execute(_RECORD, *columns)
                return
            except FAULTS as fault:
                self._line.drop()
                if not attempts:
                    log.warning("looks_wait_to_be_recorded", fault=type(fault).__name__)
                self._since = self._since or batch[0].at
            await asyncio.sleep(back_off(attempts, BACK_OFF_SECONDS))
            attempts += 1

    def _lose(self, those: Collection[_Waiting]) -> None:
        for waiting in those:
            waiting.recorded.cancel()
            self._since = self._since or waiting.at
        self._lost_in_gap += len(those)
        self.lost += len(those)

    def _end_gap(self, since: datetime) -> None:
        gap = Gap(self._lost_in_gap, self._late_in_gap, since, self._now())
        self._since, self._lost_in_gap, self._late_in_gap = None, 0, 0
        log.warning("looks_recorded_again", lost=gap.lost, late=gap.late)
        self.gap_ended(gap)


def _columns(batch: Sequence[_Waiting]) -> list[list[object]]:
    """What daysheet.record_access takes."""
    drafts = [waiting.draft for waiting in batch]
    return [
        [draft.stream for draft in drafts],
        [draft.version for draft in drafts],
        [draft.type for draft in drafts],
        [draft.day for draft in drafts],
        [draft.subject for draft in drafts],
        [draft.data for draft in drafts],
        [draft.meta for draft in drafts],
    ]
