"""latency: from the moment a command is sent to the moment when a monitor has the message that shows it.

1,000 monitors, or as many as the limit on open files allows, watch one day. 50 commands a second for 20 s are POSTed:
who waits is put on hold, and later back in line. Twenty of the monitors are read where the commands are sent, and note
when they have each message; the others only read. Of every command and every one of the twenty, one latency is taken:
until the first message that has the command's sequence, or a later one. Those of the first second only warm up.

Ours is `daysheet serve`, with everything that it does about a command. The peer is FastAPI and asyncpg, which read the
date again for every command and send the whole of it to each monitor, as the original system did; see
peers/fastapi_postgres.py. It keeps no history, checks no rules, and cannot keep up: 40 s after the last command it is
given up on, and what it did not show by then counts as if it had been shown at that moment. On the large day it is not
even asked to keep up: it gets 3 commands, each when the one before was shown, of which the first only warms up.

"full" sends whole days, "delta" what changed. The small day has 15 appointments, the large one 6,000, where a full
update is 2 MB: too much for a thousand monitors many times a second, so that there only deltas are compared.

"bytes" are those of one check-in's delta, and of a call-next's where 29 stay waiting, beside the peer's whole day; of
the message, and of the frame for who agreed on compression, as every browser and our own clients do.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from scripts.benchmarks import hospital, stage, stopwatch
from scripts.benchmarks.hospital import Postgres
from scripts.benchmarks.mornings import Morning, Size, dawn
from scripts.benchmarks.peers import live, tables
from scripts.benchmarks.report import Row, row
from scripts.benchmarks.stage import DELTA, Seats
from scripts.benchmarks.stopwatch import Asked, Figures, Pace, there_and_back

PEER: Final = "FastAPI and asyncpg"
MONITORS: Final = 1_000
SMALL: Final = Size(3, 5)
LARGE: Final = Size(200, 30)
STEPPING: Final = 300
"""About so many of a day's appointments are held and resumed."""
PATIENCE_SECONDS: Final = 10.0


GAUGES: Final = ("p50", "p99", "max")


STEADY: Final = Pace(1_000, 50.0, warm_up=50, patience_seconds=40.0)
ONE_BY_ONE: Final = Pace(3, None, warm_up=1, patience_seconds=60.0)


@dataclass(frozen=True, slots=True)
class Day:
    """Today, in a log of ours and in tables of the peer's."""

    log: str
    tables: str
    morning: Morning
    steps: Iterator[str]
    peers_steps: Iterator[str]
    """Of its own: a step is allowed where the one before it happened."""

    def seats(self, monitors: int, **subscription: str) -> Seats:
        return Seats(monitors=monitors, date=self.morning.date.isoformat(), subscription=subscription)


async def run(postgres: Postgres, *, quick: bool) -> list[Row]:
    if not live.here(live.POSTGRES):
        return []
    monitors, rounds, steady, one_by_one, large_size = stage.room_for(MONITORS), 3, STEADY, ONE_BY_ONE, LARGE
    if quick:
        monitors, rounds, large_size = 8, 1, Size(1, 30)
        steady, one_by_one = Pace(8, 50.0, warm_up=1, patience_seconds=5), Pace(2, None, warm_up=1, patience_seconds=5)
    small, large = await _found(postgres, "small", SMALL), await _found(postgres, "large", large_size)
    rows = await _small_day(postgres, small, monitors, steady, rounds)
    return rows + await _large_day(postgres, large, monitors, steady, one_by_one)


async def _found(postgres: Postgres, name: str, size: Size) -> Day:
    log, plain = name, f"{name}_peer"
    await hospital.found(postgres, log)
    async with hospital.opened(postgres, log) as parts:
        (morning,) = await dawn(parts, {parts.today(): size})
        encoded = parts.encoder.day(await parts.boards.get(morning.date), parts.now())
    await tables.fill(postgres, plain, encoded)
    stepping = list(morning.appointments)[:: max(1, size.appointments // STEPPING)]
    return Day(log, plain, morning, there_and_back(stepping), there_and_back(stepping))


async def _small_day(postgres: Postgres, day: Day, monitors: int, pace: Pace, rounds: int) -> list[Row]:
    figures = [
        (
            await _ours(postgres, day, day.seats(monitors), pace),
            await _ours(postgres, day, day.seats(monitors, **DELTA), pace),
            await _peers(postgres, day, day.seats(monitors), pace),
        )
        for _ in range(rounds)
    ]
    for _, _, peer in figures:
        print(f"small day: {PEER} had shown {peer.shown:,} of {peer.asked:,} commands when it was left", flush=True)
    return [
        *_compare("small day, full", [(full, peer) for full, _, peer in figures]),
        *_compare("small day, delta", [(delta, peer) for _, delta, peer in figures]),
    ]


async def _large_day(postgres: Postgres, day: Day, monitors: int, pace: Pace, peers_pace: Pace) -> list[Row]:
    check_in, call_next = await _delta_bytes(postgres, day)
    ours = await _ours(postgres, day, day.seats(monitors, **DELTA), pace)
    peer = await _peers(postgres, day, day.seats(monitors), peers_pace)
    whole = f"{PEER}, the whole day"
    return [
        *_compare("large day, delta", [(ours, peer)]),
        *(
            row(f"large day, {case}{how}", "bytes", whole, [(size, peer.message_bytes)])
            for case, sizes in (("a check-in", check_in), ("a call-next with 29 waiting", call_next))
            for how, size in zip(("", ", deflated"), sizes, strict=True)
        ),
    ]


def _compare(case: str, rounds: Sequence[tuple[Figures, Figures]]) -> list[Row]:
    return [
        *(
            row(f"{case}, {gauge}", "ms", PEER, [(getattr(a, gauge), getattr(b, gauge)) for a, b in rounds])
            for gauge in GAUGES
        ),
        row(f"{case}, shown", "commands/s", PEER, [(a.shown_per_second, b.shown_per_second) for a, b in rounds]),
    ]


async def _ours(postgres: Postgres, day: Day, seats: Seats, pace: Pace) -> Figures:
    async with stage.daysheet(postgres, day.log) as server:
        return await stopwatch.measure(server, seats, day.steps, pace)


async def _peers(postgres: Postgres, day: Day, seats: Seats, pace: Pace) -> Figures:
    async with tables.serving(postgres, day.tables) as server:
        return await stopwatch.measure(server, seats, day.peers_steps, pace)


async def _delta_bytes(postgres: Postgres, day: Day) -> tuple[tuple[int, int], tuple[int, int]]:
    """(as a message, as a deflated frame) of the check-in of who comes last, and of a call of who comes first."""
    doctor, line = next(iter(day.morning.clinics.items()))
    seats = day.seats(1, **DELTA)
    async with (
        stage.daysheet(postgres, day.log) as server,
        stopwatch.client(server) as session,
        stopwatch.witnesses(session, seats) as there,
        stage.audience(server, replace(seats, deflate=True)) as deflating,
    ):

        async def sizes(path: str, body: dict[str, str]) -> tuple[int, int]:
            asked = Asked(time.perf_counter(), await stopwatch.post(session, path, body))
            await stopwatch.wait_until_shown([asked], there, PATIENCE_SECONDS)
            return there[0].message_bytes, (await deflating.heard()).received

        await sizes(f"/api/v1/appointments/{line[-1]}/undo", {"reason": "comes later"})
        check_in = await sizes("/api/v1/checkins", {"appointment_id": str(line[-1])})
        return check_in, await sizes("/api/v1/queue/call-next", {"doctor_id": str(doctor)})
