"""startup: what a long history costs a server that starts, and a day that is asked for.

ready               From the start of the process `daysheet serve` to its first 200 on /readyz, on a log with a million
                    events of other days, against an empty log.
cold load           A day of 10,000 rows and 6,000 people that is not in memory, out of the same million, against the
                    same day alone in its log. In parts as projections/boards.py has them: its rows read and folded, its
                    people's own events read, their keys read and unwrapped, their details opened; and "its timeline",
                    the same day opened to be replayed, as far as its first state's bytes.
opening             The whole day, and its timeline, against the sum of the parts: what is to be read and opened anyway.

Both sides have the same length and shape of everything but the history, so a ratio of 1 is the best there can be. The
history is the day's own clinics, copied in SQL to a hundred days before: real bytes, other dates, other appointments.
"""

from __future__ import annotations

import asyncio
import time
from datetime import date
from typing import Final
from urllib.parse import urlsplit

from domain.log import codec, read
from domain.rules.ids import PatientId, patient_stream
from domain.vault.master import MasterKeys, read_master_keys
from domain.vault.sealing import Vault
from gateway.parts import Parts
from projections.board import DayBoard
from projections.boards import Boards, no_garbage_collection
from projections.directory import Directory
from projections.encoding import Encoder
from projections.timeline import START, Timelines
from scripts.benchmarks import hospital, stage
from scripts.benchmarks.hospital import Postgres
from scripts.benchmarks.report import Row, interleaved, row

DAY: Final = date(2031, 5, 12)
DOCTORS: Final = 200
EACH: Final = 30
CHECKED_IN: Final = 3_800
PAST_DAYS: Final = 100
PARTS: Final = ("rows", "people", "keys", "opening")
WHOLE_DAY: Final = "the whole day"
TIMELINE: Final = "its timeline"

_COPY_TO_PAST_DAYS: Final = """
INSERT INTO daysheet.event (position, stream, version, type, day, subject, data, meta, recorded_at)
SELECT (SELECT max(position) FROM daysheet.event) + row_number() OVER (ORDER BY ago, position),
       replace(stream, day::text, (day - ago)::text), version, type, day - ago,
       CASE WHEN type LIKE 'clinic-%' THEN subject ELSE md5(ago || subject::text)::uuid END,
       data, meta, recorded_at
FROM daysheet.event, generate_series(1, {days}) ago WHERE day IS NOT NULL
"""


async def run(postgres: Postgres, *, quick: bool) -> list[Row]:
    doctors, each, checked_in, past_days = (3, 4, 5, 3) if quick else (DOCTORS, EACH, CHECKED_IN, PAST_DAYS)
    rounds = 1 if quick else 11
    for database in ("empty", "alone"):
        await hospital.found(postgres, database)
    async with hospital.opened(postgres, "empty"):
        pass  # introduced, so that both have been started before
    async with hospital.opened(postgres, "alone") as parts:
        hospital.turn_clock_to(parts, DAY)
        people = await hospital.register(parts, doctors * each)
        booked = await hospital.book(parts, DAY, await hospital.hire(parts, doctors), people)
        appointments = [appointment for own in booked.values() for appointment in own]
        await hospital.check_in(parts, appointments[:checked_in])
    await postgres.create("old", template="alone")
    await postgres.execute("old", _COPY_TO_PAST_DAYS.format(days=past_days))
    async with hospital.opened(postgres, "old") as parts:
        await hospital.sealed(parts)  # A hospital's history is; no start should have to make up for it.
    await postgres.execute("old", "VACUUM ANALYZE", "CHECKPOINT")
    await postgres.execute("alone", "VACUUM ANALYZE", "CHECKPOINT")
    history = f"{past_days * (doctors * (1 + each) + checked_in):,} events"
    return [
        await _ready(postgres, history, rounds),
        *await _cold_loads(postgres, history, rounds),
    ]


# --- until it is ready ---------------------------------------------------------------------------


async def _ready(postgres: Postgres, history: str, rounds: int) -> Row:
    async def with_history() -> float:
        return await _seconds_to_ready(postgres, "old")

    async def with_none() -> float:
        return await _seconds_to_ready(postgres, "empty")

    figures = await interleaved(rounds, with_history, with_none)
    return row(f"ready, with {history} of other days", "ms", "an empty log", [(1e3 * a, 1e3 * b) for a, b in figures])


async def _seconds_to_ready(postgres: Postgres, database: str) -> float:
    begins = time.perf_counter()
    async with stage.daysheet(postgres, database) as server:
        while not await _is_ready(server.address):
            pass
        return time.perf_counter() - begins


async def _is_ready(address: str) -> bool:
    at = urlsplit(address)
    reader, writer = await asyncio.open_connection(at.hostname, at.port)
    try:
        writer.write(f"GET /readyz HTTP/1.1\r\nHost: {at.netloc}\r\n\r\n".encode())
        return b" 200 " in await reader.readline()
    finally:
        writer.close()


# --- a day that is not in memory -----------------------------------------------------------------


async def _cold_loads(postgres: Postgres, history: str, rounds: int) -> list[Row]:
    master = read_master_keys(None, postgres.folder / "master.key", may_make=False)
    async with hospital.opened(postgres, "old") as old, hospital.opened(postgres, "alone") as alone:
        figures = [(await _cold_load(old, master), await _cold_load(alone, master)) for _ in range(1 + rounds)][1:]
    parts = [(sum(one[part] for part in PARTS), one) for one, _ in figures]
    return [
        *(
            row(f"cold load: {part}", "ms", f"without {history}", [(one[part], other[part]) for one, other in figures])
            for part in figures[0][0]
        ),
        *(
            row(
                f"opening: {whole}",
                "ms",
                "its rows, people, keys and opening them",
                [(one[whole], s) for s, one in parts],
            )
            for whole in (WHOLE_DAY, TIMELINE)
        ),
    ]


async def _cold_load(parts: Parts, master: MasterKeys) -> dict[str, float]:
    """Milliseconds of each part, and of the whole as a server does it."""
    facts, vault = codec.facts(), Vault(parts.pool, master)
    spent: dict[str, float] = {}
    since = time.perf_counter()

    def lap(part: str) -> None:
        nonlocal since
        now = time.perf_counter()
        spent[part], since = 1e3 * (now - since), now

    boards = Boards(parts.pool, hospital.Nobody(), facts)  # type: ignore[arg-type]
    board = DayBoard(DAY)
    with no_garbage_collection():
        await boards.read_into(board, parts.projector.position)
    patients: list[PatientId] = list(board.patients())
    lap("rows")
    rows = await read.streams(parts.pool, {patient_stream(patient): 0 for patient in patients})
    lap("people")
    await vault.fetch_keys(patients)
    lap("keys")
    for each in rows:
        event = facts.to_domain_event(each)
        assert vault.open_details(PatientId(each.subject), event.details) is not None  # type: ignore[attr-defined]
    lap("opening")
    afresh = Directory(parts.pool, Vault(parts.pool, master), facts)
    boards = Boards(parts.pool, afresh, facts)
    boards.applied = afresh.applied = parts.projector.position
    since = time.perf_counter()
    await boards.get(DAY)
    lap(WHOLE_DAY)
    afresh = Directory(parts.pool, Vault(parts.pool, master), facts)
    boards = Boards(parts.pool, afresh, facts)
    boards.applied = afresh.applied = parts.projector.position
    encoder = Encoder(afresh, parts.zone)
    timelines = Timelines(parts.pool, boards, afresh, facts)
    since = time.perf_counter()
    async with timelines.opened(DAY, "recorded") as timeline:
        _, board = await timeline.board_at(START)
        encoder.day(board, parts.now())
    lap(TIMELINE)
    return spent
