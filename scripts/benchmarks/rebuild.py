"""rebuild: how many events a second are read from the log and folded back into state.

200 doctors saw 40 patients each on one date: 32,200 events. Ours reads the date's rows by their index and folds them
into a DayBoard, as a server does when somebody asks for a date that is not in memory (without the people on it:
`startup` measures those). The peer holds the same facts as the library's aggregates, one per doctor's day, and reads
them back in two ways: `repository.get` of every aggregate, as its applications do, and by hand, in pages of the whole
log's notifications, mapped and mutated without a repository.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import date
from typing import Any, Final
from uuid import uuid4

from domain.log import codec
from domain.log.read import PAGE_ROWS
from projections.board import DayBoard
from projections.boards import Boards, no_garbage_collection
from scripts.benchmarks import hospital
from scripts.benchmarks.hospital import Postgres
from scripts.benchmarks.peers import library_application
from scripts.benchmarks.report import Row, interleaved, row

DAY: Final = date(2031, 5, 12)


async def run(postgres: Postgres, *, quick: bool) -> list[Row]:
    doctors, patients, rounds = (3, 4, 1) if quick else (200, 40, 7)
    await hospital.found(postgres, "ours")
    await postgres.create("peer")
    async with hospital.opened(postgres, "ours") as parts:
        hospital.turn_clock_to(parts, DAY)
        booked = await hospital.book(
            parts, DAY, await hospital.hire(parts, doctors), await hospital.register(parts, doctors * patients)
        )
        await hospital.see_everyone(parts, DAY, booked)
    # Opened anew: all that it took to fill the hospital would be in the garbage collector's way, on both sides.
    async with hospital.opened(postgres, "ours") as parts:
        head = parts.projector.position
        events = doctors * (1 + 4 * patients)
        boards = Boards(parts.pool, hospital.Nobody(), codec.facts())  # type: ignore[arg-type]

        async def ours() -> float:
            begins = time.perf_counter()
            board = DayBoard(DAY)
            with no_garbage_collection():
                await boards.read_into(board, head)
            seconds = time.perf_counter() - begins
            assert len(board.clinic_of) == doctors * patients
            return events / seconds

        with library_application.library_application(postgres, "peer", connections=1) as application:
            clinics = [application.open(uuid4(), str(DAY), patients) for _ in range(doctors)]
            for clinic in clinics:
                application.live_through(clinic, patients)

            async def by_clinic() -> float:
                return await asyncio.to_thread(timed, application.rebuild_by_clinic, clinics)

            async def by_page() -> float:
                return await asyncio.to_thread(timed, application.rebuild_by_page, PAGE_ROWS)

            def timed(rebuild: Callable[[Any], int], by: object) -> float:
                begins = time.perf_counter()
                read = rebuild(by)
                seconds = time.perf_counter() - begins
                assert read == events
                return events / seconds

            figures = await interleaved(rounds, ours, by_clinic, by_page)
    name = library_application.NAME
    return [
        row(f"a day of {events:,} events", "events/s", f"{name}, by aggregate", [(a, b) for a, b, _ in figures]),
        row(f"a day of {events:,} events", "events/s", f"{name}, by page", [(a, c) for a, _, c in figures]),
    ]
