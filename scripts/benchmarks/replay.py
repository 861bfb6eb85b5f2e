"""replay: a day of 30,000 events and 6,000 appointments, opened as a past, and 50 places of it sought.

opening             From nothing in memory to the bytes of the state before its first event: its rows read and decoded,
                    its people read and opened. The peer does the same and then has the live board's bytes.
seek                50 random places, one after another, on a timeline that was just opened, each until the bytes of
                    its state are there. The peer has the decoded events in memory as well, and folds them from the
                    start each time; both encode what is not encoded yet. "p99" of 50 is the slowest: ours is then the
                    first that goes far, since it makes the keyframes that the others find.
memory              What the timeline keeps after these seeks, as tracemalloc sees it; the peer is what
                    projections/timeline.py reckons with when it makes room.
"""

from __future__ import annotations

import gc
import time
import tracemalloc
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import date
from random import Random
from typing import Final

from domain.log import codec
from domain.rules import commands
from domain.rules.ids import AppointmentId, DoctorId
from domain.vault.master import MasterKeys, read_master_keys
from domain.vault.sealing import Vault
from gateway.parts import Parts
from projections.board import DayBoard
from projections.boards import Boards
from projections.directory import Directory
from projections.encoding import Encoder
from projections.timeline import START, Timeline, Timelines
from projections.views import EVERYBODY
from scripts.benchmarks import hospital
from scripts.benchmarks.hospital import Postgres
from scripts.benchmarks.report import Row, interleaved, row

DAY: Final = date(2031, 5, 12)
DOCTORS: Final = 200
EACH: Final = 30
SEEKS: Final = 50
REFOLD: Final = "folding its events from the start each time"


async def run(postgres: Postgres, *, quick: bool) -> list[Row]:
    doctors, each, rounds = (3, 4, 1) if quick else (DOCTORS, EACH, 5)
    await hospital.found(postgres, "ours")
    async with hospital.opened(postgres, "ours") as parts:
        hospital.turn_clock_to(parts, DAY)
        people = await hospital.register(parts, doctors * each)
        booked = await hospital.book(parts, DAY, await hospital.hire(parts, doctors), people)
        await _see_everyone(parts, booked)
    # Opened anew: all that it took to fill the hospital would be in the garbage collector's way, on both sides.
    master = read_master_keys(None, postgres.folder / "master.key", may_make=False)
    async with hospital.opened(postgres, "ours") as parts:

        async def opening() -> float:
            begins = time.perf_counter()
            async with _timeline(parts, master) as (timeline, encoder):
                await _bytes_at(timeline, encoder, START, parts)
                return 1e3 * (time.perf_counter() - begins)

        async def loading() -> float:
            begins = time.perf_counter()
            boards, directory = await _afresh(parts, master)
            Encoder(directory, parts.zone).day(await boards.get(DAY), parts.now())
            return 1e3 * (time.perf_counter() - begins)

        opened = await interleaved(rounds, opening, loading)
        sought = [await _seeks(parts, master, number) for number in range(1 + rounds)][1:]
        kept, reckoned, events = await _memory(parts, master)
    what = f"{events:,} events, {doctors * each:,} appointments"
    return [
        row(f"opening, {what}", "ms", "loading the live board", opened),
        row(f"seek, p50, {what}", "ms", REFOLD, [(_at(50, ours), _at(50, theirs)) for ours, theirs in sought]),
        row(f"seek, p90, {what}", "ms", REFOLD, [(_at(90, ours), _at(90, theirs)) for ours, theirs in sought]),
        row(f"seek, p99, {what}", "ms", REFOLD, [(_at(99, ours), _at(99, theirs)) for ours, theirs in sought]),
        row(f"memory, {what}", "bytes", "reckoned with in projections/timeline.py", [(kept, reckoned)]),
    ]


async def _see_everyone(parts: Parts, booked: dict[DoctorId, list[AppointmentId]]) -> None:
    """Everybody is checked in, called, in consultation and completed."""

    async def see(doctor: DoctorId, appointments: list[AppointmentId]) -> None:
        for appointment in appointments:
            await hospital.do(parts, commands.CheckIn(appointment_id=appointment))
            await hospital.do(parts, commands.CallNext(doctor_id=doctor, date=DAY))
            await hospital.do(parts, commands.StartConsultation(appointment_id=appointment))
            await hospital.do(parts, commands.CompleteConsultation(appointment_id=appointment))

    await hospital.at_once(see(doctor, appointments) for doctor, appointments in booked.items())


async def _afresh(parts: Parts, master: MasterKeys) -> tuple[Boards, Directory]:
    """That know nobody yet but the doctors."""
    facts = codec.facts()
    directory = Directory(parts.pool, Vault(parts.pool, master), facts)
    boards = Boards(parts.pool, directory, facts)
    boards.applied = directory.applied = parts.projector.position
    await directory.load_doctors()
    return boards, directory


@asynccontextmanager
async def _timeline(parts: Parts, master: MasterKeys) -> AsyncIterator[tuple[Timeline, Encoder]]:
    boards, directory = await _afresh(parts, master)
    encoder = Encoder(directory, parts.zone)
    timelines = Timelines(parts.pool, boards, directory, codec.facts())
    async with timelines.opened(DAY, "recorded") as timeline:
        yield timeline, encoder


async def _bytes_at(timeline: Timeline, encoder: Encoder, sequence: int, parts: Parts) -> bytes:
    _, board = await timeline.board_at(sequence)
    return _encoded(encoder, board, parts)


def _encoded(encoder: Encoder, board: DayBoard, parts: Parts) -> bytes:
    head, blocks, tail = encoder.day_blocks(board, parts.now(), EVERYBODY)
    return b"".join((head, b",".join(blocks), tail))


def _places(timeline: Timeline, seed: int) -> list[int]:
    chance = Random(seed)
    return [chance.choice(timeline.steps).sequence for _ in range(SEEKS)]


async def _seeks(parts: Parts, master: MasterKeys, seed: int) -> tuple[list[float], list[float]]:
    """Milliseconds of each, ours and the peer's, sorted."""
    ours: list[float] = []
    theirs: list[float] = []
    async with _timeline(parts, master) as (timeline, encoder):
        for place in _places(timeline, seed):
            begins = time.perf_counter()
            found = await _bytes_at(timeline, encoder, place, parts)
            ours.append(1e3 * (time.perf_counter() - begins))
            begins = time.perf_counter()
            board = DayBoard(DAY)
            for step in timeline.steps:
                if step.sequence > place:
                    break
                board.fold(step.sequence, step.event)
            refolded = _encoded(encoder, board, parts)
            theirs.append(1e3 * (time.perf_counter() - begins))
            assert len(refolded) == len(found)
    return sorted(ours), sorted(theirs)


async def _memory(parts: Parts, master: MasterKeys) -> tuple[float, float, int]:
    """(bytes kept, bytes reckoned with, events)"""
    async with _timeline(parts, master) as (timeline, encoder):
        events = len(timeline.steps)
    tracemalloc.start()
    boards, directory = await _afresh(parts, master)
    await boards.get(DAY)  # The people are the directory's, whoever looks at them.
    gc.collect()
    before, _ = tracemalloc.get_traced_memory()
    encoder = Encoder(directory, parts.zone)
    timelines = Timelines(parts.pool, boards, directory, codec.facts())
    async with timelines.opened(DAY, "recorded") as timeline:
        for place in _places(timeline, 0):
            await _bytes_at(timeline, encoder, place, parts)
        gc.collect()
        kept = tracemalloc.get_traced_memory()[0] - before
        reckoned = timeline.size_bytes
    tracemalloc.stop()
    return float(max(1, kept)), float(reckoned), events


def _at(percent: int, sorted_figures: Sequence[float]) -> float:
    return sorted_figures[min(len(sorted_figures) - 1, len(sorted_figures) * percent // 100)]
