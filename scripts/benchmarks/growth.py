"""growth: how what a check-in costs grows with the day, and with those who watch.

encode              The event is folded and the whole day's JSON is ready again, as `scripts/bench encode` takes it. The
                    peer is json.dumps of the day's dicts.
bytes               What each monitor is sent: the delta, beside the whole day's update.
publish             From the projector's word in a server of its own (publisher.py) until the last of 100 monitors has
                    the delta, beside the same with the whole day's update.
publish to more     The same with the delta of a day of 400 appointments and more and more monitors. The peer is
                    websockets.broadcast of the same bytes.

`--plot FILE` also draws the rows.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import date, timedelta
from itertools import cycle, islice
from statistics import median
from typing import Final

from gateway.parts import Parts
from scripts.benchmarks import hospital, publisher, stage
from scripts.benchmarks.hospital import Postgres
from scripts.benchmarks.mornings import Morning, Size, dawn
from scripts.benchmarks.peers import live, whole_day
from scripts.benchmarks.report import Measure, Row, interleaved, microseconds, row
from scripts.benchmarks.stage import DELTA, WHOLE, Seats, Server

FIRST_DAY: Final = date(2031, 5, 12)
SIZES: Final = (Size(3, 5), Size(5, 10), Size(10, 15), Size(20, 20), Size(50, 20), Size(100, 25), Size(200, 30))
MIDDLE: Final = 3
"""Which of these days more and more monitors watch."""
AUDIENCE: Final = 100
AUDIENCES: Final = (10, 30, 100, 300, 1_000, 3_000)
PEER: Final = "the whole day's update"
REST_SECONDS: Final = 0.12
"""Between two states: whole days of 2 MB are at least 100 ms apart, and none must wait for its turn."""

Rounds = list[tuple[float, ...]]


@dataclass(frozen=True, slots=True)
class Effort:
    rounds: int
    seconds: float
    """Of encoding, in a round."""
    times: int
    """A state is published in a round."""


async def run(postgres: Postgres, *, quick: bool) -> list[Row]:
    sizes: tuple[Size, ...] = SIZES
    audiences: tuple[int, ...] = AUDIENCES
    audience, effort = AUDIENCE, Effort(rounds=5, seconds=0.2, times=9)
    if quick:
        sizes, audience, audiences, effort = SIZES[:1], 5, (5,), Effort(rounds=1, seconds=0.01, times=1)
    await hospital.found(postgres, "ours")
    async with hospital.opened(postgres, "ours") as parts:
        mornings = await dawn(parts, {FIRST_DAY + timedelta(nth): size for nth, size in enumerate(sizes)})
        rows = [await _encode(parts, morning, effort) for morning in mornings]
    sent = [await _send(postgres, morning, audience, effort) for morning in mornings]
    rows += [size for size, _ in sent] + [publishing for _, publishing in sent]
    watched = mornings[min(MIDDLE, len(mornings) - 1)]
    if live.here(live.WEBSOCKETS):
        (delta,) = await publisher.messages(postgres, "ours", watched.date, DELTA)
        rows += [await _send_to(postgres, watched, delta, stage.room_for(monitors), effort) for monitors in audiences]
    return rows


# --- encoding ------------------------------------------------------------------------------------


async def _encode(parts: Parts, morning: Morning, effort: Effort) -> Row:
    board, at = await parts.boards.get(morning.date), hospital.turn_clock_to(parts, morning.date)
    happens = cycle(list(islice(publisher.events(board), len(board.clinics))))

    def ours() -> None:
        board.fold(board.sequence + 1, next(happens))
        parts.encoder.day_pieces(board, at)

    peer = whole_day.with_json(parts.encoder.day(board, at))
    figures = await interleaved(effort.rounds, microseconds(ours, effort.seconds), microseconds(peer, effort.seconds))
    return row(f"encode a check-in, {len(board.clinic_of):,} appointments", "µs", whole_day.JSON, figures)


# --- sending -------------------------------------------------------------------------------------


async def _send(postgres: Postgres, morning: Morning, monitors: int, effort: Effort) -> tuple[Row, Row]:
    """How large it is, and how soon everyone has it: the delta, and the whole day."""
    day, whole = morning.date, Seats(monitors=monitors, date=morning.date.isoformat())
    figures = await _side_by_side(
        effort,
        (publisher.publishing(postgres, "ours", day), replace(whole, subscription=DELTA)),
        (publisher.publishing(postgres, "ours", day), whole),
    )
    delta, update = await publisher.messages(postgres, "ours", day, DELTA, WHOLE)
    appointments = f"{len(list(morning.appointments)):,} appointments"
    return (
        row(f"bytes of a check-in, {appointments}", "bytes", PEER, [(len(delta), len(update))]),
        row(f"publish to {monitors:,} monitors, {appointments}", "ms", PEER, figures),
    )


async def _send_to(postgres: Postgres, morning: Morning, delta: bytes, monitors: int, effort: Effort) -> Row:
    seats = Seats(monitors=monitors, date=morning.date.isoformat(), subscription=DELTA)
    figures = await _side_by_side(
        effort,
        (publisher.publishing(postgres, "ours", morning.date), seats),
        (live.WEBSOCKETS.serving(delta), seats),
    )
    return row(f"publish a delta, {monitors:,} monitors", "ms", live.WEBSOCKETS.name, figures)


async def _side_by_side(effort: Effort, *sides: tuple[AbstractAsyncContextManager[Server], Seats]) -> Rounds:
    """Milliseconds until everyone has a state."""
    async with AsyncExitStack() as there:
        measures = [
            await there.enter_async_context(_publishing(serving, seats, effort.times)) for serving, seats in sides
        ]
        return await interleaved(effort.rounds, *measures)


@asynccontextmanager
async def _publishing(serving: AbstractAsyncContextManager[Server], seats: Seats, times: int) -> AsyncIterator[Measure]:
    async with serving as server, stage.audience(server, seats) as audience:

        async def measure() -> float:
            waits: list[float] = []
            for _ in range(times):
                waits.append(1e3 * (await stage.publish(server, audience)).seconds)
                await asyncio.sleep(REST_SECONDS)
            return median(waits)

        yield measure
