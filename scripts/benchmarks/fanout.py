"""fanout: what the server spends on a million deliveries of one message to many monitors, in CPU-seconds.

1,000 monitors, or as many as the limit on open files allows, connected from a process of their own; see monitors.py.
A state is published when everyone has the one before, for a second a round, at least once; what the server's process
has used by then, in all its threads, is divided by the messages that arrived. The clients' side is not counted.

Ours is the real application with one date of which changes, from the projector's word on: publisher.py. So it finds out
what changed, encodes that, makes the frame, and looks after every monitor's buffer. The peers publish the very same
bytes, and nothing changes there; only FastAPI encodes them, for each monitor, as the original system did. The first
peer is the limit: it writes a ready frame and does nothing else at all.

"deflated" is for monitors that offer permessage-deflate: ours deflates a state once, for all of them.

The days of 500 B, 8 kB and 200 kB are an empty clinic, 2 doctors with 11 patients each, and 20 with 29.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

from scripts.benchmarks import hospital, publisher, stage
from scripts.benchmarks.hospital import Postgres
from scripts.benchmarks.mornings import Size, dawn
from scripts.benchmarks.peers import live
from scripts.benchmarks.peers.live import Peer
from scripts.benchmarks.report import Measure, Row, interleaved, row
from scripts.benchmarks.stage import WHOLE, Seats, Server

MONITORS: Final = 1_000
FIRST_DAY: Final = date(2031, 5, 12)
SIZES: Final = {"500 B": Size(1, 0), "8 kB": Size(2, 11), "200 kB": Size(20, 29)}
PLAIN: Final = (live.BARE_WRITE, live.WEBSOCKETS, live.AIOHTTP, live.NODE, live.FASTAPI)
DEFLATED: Final = (live.AIOHTTP_DEFLATED,)


@dataclass(frozen=True, slots=True)
class Measuring:
    monitors: int
    rounds: int
    seconds: float


async def run(postgres: Postgres, *, quick: bool) -> list[Row]:
    sizes = ("8 kB",) if quick else tuple(SIZES)
    how = Measuring(20, 1, 0.01) if quick else Measuring(stage.room_for(MONITORS), 7, 1.0)
    await hospital.found(postgres, "ours")
    async with hospital.opened(postgres, "ours") as parts:
        mornings = await dawn(parts, {FIRST_DAY + timedelta(nth): SIZES[size] for nth, size in enumerate(sizes)})
    plain, deflated = live.here(*PLAIN), live.here(*DEFLATED)
    rows: list[Row] = []
    for size, morning in zip(sizes, mornings, strict=True):
        case = f"CPU of a million times {size}"
        (message,) = await publisher.messages(postgres, "ours", morning.date, WHOLE)
        rows += await _compare(postgres, case, morning.date, message, plain, how)
        rows += await _compare(postgres, f"{case}, deflated", morning.date, message, deflated, how, deflate=True)
    return rows


async def _compare(
    postgres: Postgres,
    case: str,
    day: date,
    message: bytes,
    peers: list[Peer],
    how: Measuring,
    *,
    deflate: bool = False,
) -> list[Row]:
    seats = Seats(monitors=how.monitors, date=day.isoformat(), deflate=deflate)
    servers = [publisher.publishing(postgres, "ours", day), *(peer.serving(message) for peer in peers)]
    async with AsyncExitStack() as sides:
        measures = await asyncio.gather(
            *(sides.enter_async_context(_side(server, seats, how.seconds)) for server in servers)
        )
        figures = await interleaved(how.rounds, *measures)
    return [row(case, "s", peer.name, [(each[0], each[nth]) for each in figures]) for nth, peer in enumerate(peers, 1)]


@asynccontextmanager
async def _side(serving: AbstractAsyncContextManager[Server], seats: Seats, seconds: float) -> AsyncIterator[Measure]:
    async with serving as server, stage.audience(server, seats) as audience:
        yield stage.cpu_of_publishing(server, audience, seconds)
