"""memory: what a day in memory takes, per appointment; and what a monitor takes, in memory_monitors.py.

Two days of 6,000 appointments, half of them checked in, each day with patients of its own, in a process that has just
started. It loads the first day and encodes it, so that what is needed once is there; what the second day adds is
measured, per appointment: its share of board, indexes, patient, keys and cached bytes.

resident            What the process grew by, as the system sees it.
Python objects      What tracemalloc sees; keys live outside of it, in OpenSSL.

The peer of the first two rows is the same day as plain dicts beside its JSON bytes, loaded in the same way. The last
row holds what was measured against the figure that projections/boards.py reckons with when it makes room.
"""

from __future__ import annotations

import asyncio
import gc
import json
import multiprocessing
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any, Final

import psutil

from gateway.settings import Settings
from projections.boards import APPOINTMENT_BYTES
from scripts.benchmarks import hospital, memory_monitors
from scripts.benchmarks.hospital import opened_with
from scripts.benchmarks.report import Row, interleaved, row

DAYS: Final = (date(2031, 5, 12), date(2031, 5, 13))


async def run(postgres: hospital.Postgres, *, quick: bool) -> list[Row]:
    doctors, each, rounds = (3, 4, 1) if quick else (200, 30, 3)
    await hospital.found(postgres, "ours")
    async with hospital.opened(postgres, "ours") as parts:
        staff = await hospital.hire(parts, doctors)
        for day in DAYS:
            at = hospital.turn_clock_to(parts, day)
            booked = await hospital.book(parts, day, staff, await hospital.register(parts, doctors * each))
            await hospital.check_in(parts, [appointment for own in booked.values() for appointment in own[::2]])
            await hospital.caught_up(parts)
            _file(postgres.folder, day).write_bytes(parts.encoder.day(await parts.boards.get(day), at))

    def per_appointment(keeper: Keeper, gauge: str) -> Callable[[], Awaitable[float]]:
        async def measure() -> float:
            # A process that has just started: what an earlier day freed must not be found again.
            with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
                job = process.submit(_second_day, keeper, gauge)
                return await asyncio.wrap_future(job) / (doctors * each)

        return measure

    boards, dicts = partial(_boards, postgres.settings("ours")), partial(_dicts, postgres.folder)
    figures = {
        gauge: await interleaved(rounds, per_appointment(boards, gauge), per_appointment(dicts, gauge))
        for gauge in GAUGES
    }
    reckoned = [(held, float(APPOINTMENT_BYTES)) for held, _ in figures[RESIDENT]]
    return [
        *(row(f"an appointment, {gauge}", "bytes", "plain dicts and JSON bytes", figures[gauge]) for gauge in GAUGES),
        row(f"an appointment, {RESIDENT}", "bytes", "reckoned with in projections/boards.py", reckoned),
        *await memory_monitors.run(postgres, quick=quick),
    ]


def _file(folder: Path, day: date) -> Path:
    return folder / f"{day}.json"


# --- in a process of its own ---------------------------------------------------------------------

RESIDENT: Final = "resident"
OBJECTS: Final = "Python objects"
GAUGES: Final = {
    RESIDENT: lambda: psutil.Process().memory_info().rss,
    OBJECTS: lambda: tracemalloc.get_traced_memory()[0],
}

Load = Callable[[date], Awaitable[object]]
Keeper = Callable[[], Any]
"""Opens something that loads a day, and returns what it holds of it."""


@asynccontextmanager
async def _boards(settings: Settings) -> AsyncIterator[Load]:
    async with opened_with(settings) as parts:

        async def load(day: date) -> object:
            board = await parts.boards.get(day)
            parts.encoder.day(board, parts.now())
            return board

        yield load


@asynccontextmanager
async def _dicts(folder: Path) -> AsyncIterator[Load]:
    async def load(day: date) -> object:
        encoded = _file(folder, day).read_bytes()
        return encoded, json.loads(encoded)

    yield load


def _second_day(keeper: Keeper, gauge: str) -> int:
    """How much more the gauge shows with the second day."""

    async def measure() -> int:
        async with keeper() as load:
            held = [await load(DAYS[0])]
            gc.collect()
            before = GAUGES[gauge]()
            held.append(await load(DAYS[1]))
            gc.collect()
            return max(1, GAUGES[gauge]() - before)

    if gauge == OBJECTS:
        tracemalloc.start()
    return asyncio.run(measure())
