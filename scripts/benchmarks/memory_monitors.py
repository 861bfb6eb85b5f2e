"""memory, the part of those who watch: what a monitor takes of the server, reading or not, and what 50 that do not read
take of the others.

idle monitor        What the server's process grows by for each of 1,000 that connect, subscribe to a day of 15
                    appointments and hear no more; and the same where they offer permessage-deflate.
connecting          How many of them have their snapshot in a second, 64 of them being on their way at a time.
stuck monitor       What it grows by for each of 50 that subscribe to a day of 6,000 appointments, 2 MB, and never read,
                    while states are published. Ten stuck ones are there before, so that what all share is not counted.
beside stuck ones   The p99 of commands on the small day, taken as `scripts/bench latency` takes it with 200 monitors,
                    while 50 others are stuck, against the same while none is.

The peers say the same day, and know nothing but connections. What the kernel holds for a connection belongs to
no process, and is not counted.
"""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, replace
from datetime import date
from typing import Final

from domain.rules.ids import AppointmentId
from scripts.benchmarks import hospital, publisher, stage, stopwatch
from scripts.benchmarks.hospital import Postgres
from scripts.benchmarks.mornings import Size, dawn
from scripts.benchmarks.peers import live
from scripts.benchmarks.peers.live import Peer
from scripts.benchmarks.report import Row, row
from scripts.benchmarks.stage import Seats, Server
from scripts.benchmarks.stopwatch import Pace

SMALL: Final = Size(3, 5)
LARGE: Final = Size(200, 30)
LARGE_DAY: Final = date(2031, 5, 12)
CUES: Final = 3
BUSY: Final = 0.05
"""A server that works for less than this part of the time has nothing to do."""
PER_SECOND: Final = 50.0
PATIENCE_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Crowd:
    """How many of each. Those that come `first` are not counted: with them comes what is needed once."""

    first: int
    idle: int
    stuck_first: int
    stuck: int
    others: int
    commands: int
    warm_up: int
    rounds: int
    look_seconds: float
    """Between two looks at whether a server has anything to do."""


FULL: Final = Crowd(
    first=100, idle=1_000, stuck_first=10, stuck=50, others=180, commands=600, warm_up=100, rounds=5, look_seconds=0.25
)
QUICK: Final = Crowd(
    first=2, idle=8, stuck_first=2, stuck=3, others=3, commands=6, warm_up=1, rounds=1, look_seconds=0.02
)


@dataclass(frozen=True, slots=True)
class Idle:
    """Of one server: bytes for each plain monitor and for each that offered to deflate, and how fast they came."""

    plain: float
    deflated: float
    per_second: float


async def run(postgres: Postgres, *, quick: bool) -> list[Row]:
    crowd, large = (QUICK, SMALL) if quick else (FULL, LARGE)
    crowd = replace(crowd, idle=stage.room_for(2 * (crowd.first + crowd.idle)) // 2 - crowd.first)
    await hospital.found(postgres, "watched")
    async with hospital.opened(postgres, "watched") as parts:
        today = parts.today()
        small, _ = await dawn(parts, {today: SMALL, LARGE_DAY: large})
        small_message, large_message = [
            parts.encoder.day(await parts.boards.get(day), parts.now()) for day in (today, LARGE_DAY)
        ]
    peers = live.here(live.WEBSOCKETS, live.FASTAPI)
    return [
        *await _idle(postgres, today, small_message, peers, crowd),
        *await _stuck(postgres, large_message, peers, crowd),
        await _beside_stuck(postgres, today, list(small.appointments), crowd),
    ]


# --- reading, and hearing nothing ----------------------------------------------------------------


async def _idle(postgres: Postgres, day: date, message: bytes, peers: list[Peer], crowd: Crowd) -> list[Row]:
    rounds = [
        [await _idle_of(server, day, crowd) for server in _servers(postgres, day, peers, message)]
        for _ in range(crowd.rounds)
    ]
    rows: list[Row] = []
    for nth, peer in enumerate(peers, 1):
        pairs = [(each[0], each[nth]) for each in rounds]
        deflated = "an idle monitor that offers to deflate"
        rows += [
            row("an idle monitor", "bytes", peer.name, [(a.plain, b.plain) for a, b in pairs]),
            row(deflated, "bytes", peer.name, [(a.deflated, b.deflated) for a, b in pairs]),
            row("connecting", "monitors/s", peer.name, [(a.per_second, b.per_second) for a, b in pairs]),
        ]
    return rows


async def _idle_of(serving: AbstractAsyncContextManager[Server], day: date, crowd: Crowd) -> Idle:
    plain = Seats(monitors=crowd.first, date=day.isoformat())
    deflated = replace(plain, deflate=True)
    async with serving as server, stage.audience(server, plain), stage.audience(server, deflated):
        before = await _at_rest(server, crowd.look_seconds)
        async with stage.audience(server, replace(plain, monitors=crowd.idle)) as audience:
            between = await _at_rest(server, crowd.look_seconds)
            async with stage.audience(server, replace(deflated, monitors=crowd.idle)):
                after = await _at_rest(server, crowd.look_seconds)
                return Idle(
                    plain=max(1, between - before) / crowd.idle,
                    deflated=max(1, after - between) / crowd.idle,
                    per_second=crowd.idle / audience.joined.seconds,
                )


# --- not reading ---------------------------------------------------------------------------------


async def _stuck(postgres: Postgres, message: bytes, peers: list[Peer], crowd: Crowd) -> list[Row]:
    rounds = [
        [await _stuck_of(server, crowd) for server in _servers(postgres, LARGE_DAY, peers, message)]
        for _ in range(crowd.rounds)
    ]
    return [
        row("a stuck monitor", "bytes", peer.name, [(each[0], each[nth]) for each in rounds])
        for nth, peer in enumerate(peers, 1)
    ]


async def _stuck_of(serving: AbstractAsyncContextManager[Server], crowd: Crowd) -> float:
    seats = Seats(monitors=crowd.stuck_first, date=LARGE_DAY.isoformat(), reads=False)
    async with serving as server, stage.audience(server, seats):
        await _publish_some(server, crowd.look_seconds)
        before = await _at_rest(server, crowd.look_seconds)
        async with stage.audience(server, replace(seats, monitors=crowd.stuck)):
            await _publish_some(server, crowd.look_seconds)
            return max(1, await _at_rest(server, crowd.look_seconds) - before) / crowd.stuck


async def _publish_some(server: Server, look_seconds: float) -> None:
    for _ in range(CUES):
        await _at_rest(server, look_seconds)
        server.cue()


async def _beside_stuck(postgres: Postgres, day: date, appointments: list[AppointmentId], crowd: Crowd) -> Row:
    steps = stopwatch.there_and_back(appointments)
    seats = Seats(monitors=crowd.others, date=day.isoformat())
    pace = Pace(crowd.commands, PER_SECOND, warm_up=crowd.warm_up, patience_seconds=PATIENCE_SECONDS)

    async def beside(stuck: int) -> float:
        async with AsyncExitStack() as there:
            server = await there.enter_async_context(stage.daysheet(postgres, "watched"))
            if stuck:
                await there.enter_async_context(stage.audience(server, replace(seats, monitors=stuck, reads=False)))
            return (await stopwatch.measure(server, seats, steps, pace)).p99

    figures = [(await beside(crowd.stuck), await beside(0)) for _ in range(crowd.rounds)]
    return row(f"p99 beside {crowd.stuck} stuck monitors", "ms", "the same beside none", figures)


# --- servers -------------------------------------------------------------------------------------


def _servers(
    postgres: Postgres, day: date, peers: list[Peer], message: bytes
) -> list[AbstractAsyncContextManager[Server]]:
    """Ours, and then the peers."""
    return [publisher.publishing(postgres, "watched", day), *(peer.serving(message) for peer in peers)]


async def _at_rest(server: Server, look_seconds: float) -> int:
    """What it takes when it has nothing more to do."""
    working = True
    while working:
        before = server.cpu_seconds()
        await asyncio.sleep(look_seconds)
        working = server.cpu_seconds() - before > BUSY * look_seconds
    return server.resident_bytes()
