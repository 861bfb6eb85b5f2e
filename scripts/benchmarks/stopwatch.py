"""How long it takes from a command until monitors show it, as seen by a few monitors in this process.

Commands are sent on time whether or not those before are answered: a server that falls behind must not slow down who
measures it. Every command's answer has a `sequence`, and so has every message to a monitor.
"""

from __future__ import annotations

import asyncio
import re
import time
from bisect import bisect_left
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import cycle
from typing import Final

import aiohttp

from domain.rules.ids import AppointmentId
from scripts.benchmarks import stage
from scripts.benchmarks.cue import PATH
from scripts.benchmarks.stage import Seats, Server

WITNESSES: Final = 20

_SEQUENCE: Final = re.compile(r'"sequence":(\d+)')
_ENVELOPE_LENGTH: Final = 300


@dataclass(slots=True)
class Witness:
    """What one monitor has seen, and when. A message with an older state than the one before shows nothing new."""

    sequences: list[int] = field(default_factory=lambda: [-1])
    times: list[float] = field(default_factory=lambda: [0.0])
    message_bytes: int = 0
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    async def watch(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        async for message in socket:
            now = time.perf_counter()
            found = _SEQUENCE.search(message.data, 0, _ENVELOPE_LENGTH)
            assert found is not None
            self.sequences.append(max(int(found[1]), self.sequences[-1]))
            self.times.append(now)
            self.message_bytes = len(message.data.encode())
            self._news.set()

    def saw(self, sequence: int) -> float | None:
        """When; None for not yet."""
        at = bisect_left(self.sequences, sequence)
        return self.times[at] if at < len(self.times) else None

    async def until(self, sequence: int) -> None:
        """Wait until it is seen. For one task at a time."""
        while self.saw(sequence) is None:
            self._news.clear()
            await self._news.wait()


@asynccontextmanager
async def client(server: Server) -> AsyncIterator[aiohttp.ClientSession]:
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(server.address, connector=connector, timeout=aiohttp.ClientTimeout()) as session:
        yield session


@asynccontextmanager
async def witnesses(session: aiohttp.ClientSession, seats: Seats) -> AsyncIterator[list[Witness]]:
    """As many as there are seats. Each has had its first message."""
    watching: list[asyncio.Task[None]] = []
    there: list[Witness] = []
    try:
        for _ in range(seats.monitors):
            socket = await session.ws_connect(PATH, max_msg_size=0)
            await socket.send_json({"action": "subscribe", "date": seats.date, **seats.subscription})
            await socket.receive_str()
            there.append(Witness())
            watching.append(asyncio.create_task(there[-1].watch(socket)))
        yield there
    finally:
        for task in watching:
            task.cancel()
        await asyncio.gather(*watching, return_exceptions=True)


# --- commands ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Pace:
    """How commands are sent: so many a second, or, where that is None, each when the one before is shown."""

    number: int
    per_second: float | None
    warm_up: int
    patience_seconds: float


@dataclass(frozen=True, slots=True)
class Asked:
    at: float
    sequence: int | None
    """None where there was no answer."""


def there_and_back(appointments: Sequence[AppointmentId]) -> Iterator[str]:
    """Paths to POST to, for ever: all who wait are put on hold, one after another, and then all back in line."""
    for step in cycle(("hold", "resume")):
        for appointment in appointments:
            yield f"/api/v1/appointments/{appointment}/{step}"


async def post(session: aiohttp.ClientSession, path: str, body: object = None) -> int:
    """Returns the command's sequence."""
    async with session.post(path, json=body) if body else session.post(path) as response:
        response.raise_for_status()
        return int((await response.json())["sequence"])


async def ask(
    session: aiohttp.ClientSession, paths: Iterator[str], there: Sequence[Witness], pace: Pace
) -> list[Asked]:
    if pace.per_second is not None:
        return await _ask_steadily(session, paths, pace, pace.per_second)
    asked: list[Asked] = []
    for _ in range(pace.number):
        at = time.perf_counter()
        asked.append(Asked(at, await post(session, next(paths))))
        await wait_until_shown(asked[-1:], there, pace.patience_seconds)
    return asked


async def _ask_steadily(
    session: aiohttp.ClientSession, paths: Iterator[str], pace: Pace, per_second: float
) -> list[Asked]:
    begins = time.perf_counter()
    due = [begins + nth / per_second for nth in range(pace.number)]

    async def one(at: float, path: str) -> int:
        await asyncio.sleep(at - time.perf_counter())
        return await post(session, path)

    tasks = [asyncio.create_task(one(at, path)) for at, path in zip(due, paths, strict=False)]
    _, late = await asyncio.wait(tasks, timeout=pace.number / per_second + pace.patience_seconds)
    for task in late:
        task.cancel()
    return [Asked(at, None if task in late else task.result()) for at, task in zip(due, tasks, strict=True)]


async def wait_until_shown(asked: Sequence[Asked], there: Sequence[Witness], patience_seconds: float) -> None:
    last = max((one.sequence for one in asked if one.sequence is not None), default=-1)
    with suppress(TimeoutError):
        async with asyncio.timeout(patience_seconds):
            for witness in there:
                await witness.until(last)


# --- figures -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Figures:
    """Milliseconds; of commands, how many everyone was shown, and how many in a second."""

    p50: float
    p99: float
    max: float
    asked: int
    shown: int
    shown_per_second: float
    message_bytes: int


def figures(asked: Sequence[Asked], there: Sequence[Witness]) -> Figures:
    """What was not shown until now counts as shown now."""
    now = time.perf_counter()
    seen = [[None if one.sequence is None else witness.saw(one.sequence) for witness in there] for one in asked]
    waits = sorted(1e3 * ((at or now) - one.at) for one, times in zip(asked, seen, strict=True) for at in times)
    shown = [max(at for at in times if at is not None) for times in seen if None not in times]
    return Figures(
        p50=waits[len(waits) // 2],
        p99=waits[len(waits) * 99 // 100],
        max=waits[-1],
        asked=len(asked),
        shown=len(shown),
        shown_per_second=len(shown) / ((max(shown) if len(shown) == len(asked) else now) - asked[0].at),
        message_bytes=max(witness.message_bytes for witness in there),
    )


async def measure(server: Server, seats: Seats, paths: Iterator[str], pace: Pace) -> Figures:
    """Of these monitors, WITNESSES at most are in this process."""
    few = min(WITNESSES, seats.monitors // 2)
    async with (
        stage.audience(server, replace(seats, monitors=seats.monitors - few)),
        client(server) as session,
        witnesses(session, replace(seats, monitors=few)) as there,
    ):
        asked = await ask(session, paths, there, pace)
        await wait_until_shown(asked, there, pace.patience_seconds)
        return figures(asked[pace.warm_up :], there)
