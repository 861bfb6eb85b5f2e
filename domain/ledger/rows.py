"""The rows of a log, bare as they are stored, for those who hash them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from operator import itemgetter
from typing import TYPE_CHECKING, Final

from domain.ledger.logs import LOGS, Log
from domain.postgres.connect import Connection, connect

if TYPE_CHECKING:
    import asyncpg

PAGE_ROWS: Final = 5_000
PAGE_SECONDS: Final = 300.0
"""At most. It takes thousandths with the primary key, and a sort or a scan of all rows without it."""

_PAGE: Final = {
    log.name: f"""
SELECT position, recorded_at, version, day, subject, stream, type, meta, data
FROM {log.table} WHERE position >= $1 AND position <= $2 ORDER BY position
"""
    for log in LOGS
}
_BY_THE_INDEX: Final = "SET LOCAL enable_sort = off"
"""So that the first page does not wait for a sort of all rows. Where the index is gone, PostgreSQL sorts."""
_UNPLACED: Final = {log.name: f"SELECT count(*) FROM {log.table} WHERE position IS NULL" for log in LOGS}


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
    connection: Connection, log: Log, first: int, last: int
) -> AsyncGenerator[Sequence[asyncpg.Record], None]:
    """Rows by position, from one up to another. The next page is on its way while one is worked on.

    One query, not one a page: rows of one position, which only an attacker has, could fall between two. To be closed.
    """
    async with connection.transaction():
        await connection.execute(_BY_THE_INDEX)
        cursor = await connection.cursor(_PAGE[log.name], first, last)
        coming = asyncio.create_task(cursor.fetch(PAGE_ROWS, timeout=PAGE_SECONDS))
        try:
            while rows := await coming:
                if len(rows) < PAGE_ROWS:
                    yield rows
                    return
                coming = asyncio.create_task(cursor.fetch(PAGE_ROWS, timeout=PAGE_SECONDS))
                await asyncio.sleep(0)  # so that the question is sent
                yield rows
        finally:
            coming.cancel()
            with suppress(asyncio.CancelledError):
                await coming


async def unplaced(connection: Connection, log: Log) -> int:
    """How many rows have no position, and so are on no page. Only without the primary key can there be any."""
    return int(await connection.fetchval(_UNPLACED[log.name], timeout=PAGE_SECONDS))
