"""Every event once, in order, for ever.

LISTEN wakes, reading by position is the truth, and a poll stands behind a NOTIFY that was lost. Positions have no
gaps, so the next event is always `after + 1`: anything else is a log that lies, and an error.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Final

import structlog

from domain.log.codec import Recorded
from domain.log.read import COLUMNS, PAGE_ROWS, recorded
from domain.postgres.connect import FAULTS, Connection, back_off, connect

POLL_SECONDS: Final = 1.0
BACK_OFF_SECONDS: Final = (0.1, 5.0)

_FROM: Final = f"""
SELECT {COLUMNS} FROM daysheet.event e WHERE e.position >= $1 ORDER BY e.position LIMIT $2 + 1
"""
"""With the last event that is known: what follows it only follows if that is still there, and the same."""

log = structlog.get_logger()


class HoleInLog(Exception):
    """A position is missing. Going on would show a queue that never was."""


class LogReplaced(Exception):
    """The last event read is not in the log any more: another server took over, or a backup, that knows less."""


class Follower:
    """Reads on from a position. `wake()` saves the way through NOTIFY after a commit of this process."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._news = asyncio.Event()
        self.connected = False

    def wake(self) -> None:
        self._news.set()

    async def batches(self, after: int) -> AsyncIterator[list[Recorded]]:
        """Batches of at least one event; at the end of the log, an empty batch says that there is no more for now.

        Raises HoleInLog, LogReplaced. Loses its connection, and finds another, as often as need be.
        """
        failures = 0
        last: bytes | None = None  # the meta of the last event read: no other command's is like it
        while True:
            connection: Connection | None = None
            try:
                connection = await connect(self._url)
                connection.add_termination_listener(lambda *_: self._news.set())
                await connection.add_listener("daysheet_event", lambda *_: self._news.set())
                while not connection.is_closed():
                    self._news.clear()  # before reading: news that comes meanwhile must wake again
                    rows = await connection.fetch(_FROM, after, PAGE_ROWS)
                    if after:
                        known = rows.pop(0) if rows and rows[0]["position"] == after else None
                        if known is None or (last is not None and known["meta"] != last):
                            raise LogReplaced(f"the log holds another event, or none, at position {after}")
                        last = known["meta"]
                    rows = rows[:PAGE_ROWS]
                    self.connected, failures = True, 0
                    if rows and (rows[0]["position"] != after + 1 or rows[-1]["position"] != after + len(rows)):
                        raise HoleInLog(f"after position {after} come {rows[0]['position']}..{rows[-1]['position']}")
                    if rows:
                        after, last = rows[-1]["position"], rows[-1]["meta"]
                    yield [recorded(row) for row in rows]
                    if len(rows) < PAGE_ROWS:
                        # Not wait_for: before Python 3.12 it forgets a cancellation that comes together with the news.
                        with suppress(TimeoutError):
                            async with asyncio.timeout(POLL_SECONDS):
                                await self._news.wait()
            except FAULTS as fault:
                log.warning("follower_disconnected", fault=type(fault).__name__, after=after)
            finally:
                self.connected = False
                if connection is not None:
                    connection.terminate()
            await asyncio.sleep(back_off(failures, BACK_OFF_SECONDS))
            failures += 1
