"""The rows of a log, bare as they are stored, for those who hash them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Final

from domain.ledger.logs import LOGS, Log
from domain.postgres.connect import Connection, connect

if TYPE_CHECKING:
    import asyncpg

PAGE_ROWS: Final = 5_000

_PAGE: Final = {
    log.name: f"""
SELECT position, recorded_at, version, day, subject, stream, type, meta, data
FROM {log.table} WHERE position > $1 ORDER BY position LIMIT $2
"""
    for log in LOGS
}


async def bare(url: str) -> Connection:
    """A connection whose rows come as PostgreSQL has them: the values of leaf.Row.

    No value a column can hold is beyond it, also where Python has no date for it, and the rest is quicker.
    """
    connection = await connect(url)
    for type_name in ("timestamptz", "date"):
        await connection.set_type_codec(
            type_name, schema="pg_catalog", encoder=tuple, decoder=itemgetter(0), format="tuple"
        )
    for type_name in ("uuid", "text"):  # text last: asyncpg reads names of types as text
        await connection.set_type_codec(type_name, schema="pg_catalog", encoder=bytes, decoder=bytes, format="binary")
    return connection


async def pages(
    connection: Connection, log: Log, after: int, up_to: int
) -> AsyncGenerator[Sequence[asyncpg.Record], None]:
    """Rows by position, after one and up to another. The next page is on its way while one is worked on."""
    coming = asyncio.create_task(connection.fetch(_PAGE[log.name], after, PAGE_ROWS))
    try:
        while rows := await coming:
            last = rows[-1][0]
            if last < up_to and len(rows) == PAGE_ROWS:
                coming = asyncio.create_task(connection.fetch(_PAGE[log.name], last, PAGE_ROWS))
                await asyncio.sleep(0)  # so that the question is sent
                yield rows
                continue
            if within := [row for row in rows if row[0] <= up_to]:
                yield within
            return
    finally:
        coming.cancel()
