"""verify: how many events a second are proven to be the ones that were sealed.

sealed under load       200,000 events in seals of thousands, as a sealer makes them of what many writers append.
each sealed alone       20,000 events with a checkpoint each, as on a quiet ward: a signature to check for every row.

Ours is `daysheet verify`: every row is read, made into its leaf and hashed; every tile, root and signature is checked.
There is no peer that does the same. In its place stands the least that anybody could do: read the rows, prove nothing.
"""

from __future__ import annotations

import asyncio
import time
from datetime import date
from typing import Final
from uuid import UUID, uuid4

from domain.ledger import rows
from domain.ledger.keys import SigningKey
from domain.ledger.logs import EVENT
from domain.ledger.sealer import SEAL_ROWS, SealedLog
from domain.ledger.verify import verify
from domain.log.append import Writer
from domain.log.codec import EventMapper
from domain.postgres.connect import connect
from domain.rules.ids import DoctorId, clinic_stream
from scripts.benchmarks import hospital
from scripts.benchmarks.append import called
from scripts.benchmarks.hospital import Postgres
from scripts.benchmarks.report import Row, interleaved, row

DAY: Final = date(2031, 5, 12)
STREAM_EVENTS: Final = 500
STORE: Final = UUID("5708e000-0000-4000-8000-000000000000")
PIN: Final = "SELECT daysheet.pin_ledger_key($1)"
INTRODUCE: Final = f"SELECT daysheet.introduce('{STORE}', 'Asia/Kolkata', 'check', '{{}}', '{{}}')"


async def run(postgres: Postgres, *, quick: bool) -> list[Row]:
    many, few, rounds = (1_000, 100, 1) if quick else (200_000, 20_000, 5)
    await _sealed(postgres, "loaded", many, SEAL_ROWS)
    await _sealed(postgres, "quiet", few, 1)
    return [
        await _verified(postgres, "loaded", f"{many:,} events, sealed under load", many, rounds),
        await _verified(postgres, "quiet", f"{few:,} events, each sealed alone", few, rounds),
    ]


async def _sealed(postgres: Postgres, database: str, events: int, at_most: int) -> None:
    await hospital.found(postgres, database)
    await postgres.execute(database, INTRODUCE)
    url = postgres.url(database, user="daysheet_app")
    writer = Writer(url, on_commit=lambda: None)
    running = asyncio.create_task(writer.run())
    mapper = EventMapper()
    for first in range(0, events, STREAM_EVENTS):
        stream = clinic_stream(DoctorId(uuid4()), DAY)
        number = min(STREAM_EVENTS, events - first)
        await writer.append([called(mapper, stream, version) for version in range(1, number + 1)])
    writer.close()
    await running
    connection = await connect(url)
    try:
        key = SigningKey.of(bytes(32))
        await connection.execute(PIN, key.public)
        sealed = await SealedLog.resumed(connection, EVENT, key, EVENT.origin(STORE))
        while await sealed.seal_next(connection, at_most):
            pass
    finally:
        await connection.close()


async def _verified(postgres: Postgres, database: str, case: str, events: int, rounds: int) -> Row:
    url = postgres.url(database, user="daysheet_app")

    async def ours() -> float:
        begins = time.perf_counter()
        report = await verify(url)
        seconds = time.perf_counter() - begins
        if report.verdict != "whole" or report.logs[0].sealed != events:
            raise RuntimeError(f"that is not what was sealed: {report}")
        return events / seconds

    async def peer() -> float:
        begins = time.perf_counter()
        bare = await rows.bare(url)
        try:
            read = sum([len(page) async for page in rows.pages(bare, EVENT, 0, events)])
        finally:
            bare.terminate()
        assert read == events
        return events / (time.perf_counter() - begins)

    return row(case, "events/s", "reading the rows", await interleaved(rounds, ours, peer))
