"""Connections to PostgreSQL, always as the app's role, and only to a server that keeps what it acknowledges."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

import asyncpg

if TYPE_CHECKING:
    from asyncpg.pool import PoolAcquireContext

    Connection = asyncpg.Connection[asyncpg.Record]
    _Pool = asyncpg.Pool[asyncpg.Record]
else:
    Connection, _Pool = asyncpg.Connection, asyncpg.Pool  # generic in the stubs only

APP_ROLE: Final = "daysheet_app"
CONNECT_SECONDS: Final = 5.0
COMMAND_SECONDS: Final = 4.0
"""A page of 5,000 events takes a hundredth of it: what takes longer does not come."""
READERS: Final = 6
READER_SECONDS: Final = 2.0
"""How long a read waits for a connection, and afterwards for a server that is silent to let go of it."""

_SETTINGS: Final = {
    "role": APP_ROLE,
    "application_name": "daysheet",
    "timezone": "UTC",
    "default_transaction_isolation": "read committed",  # daysheet.append must see what was committed while it waited
    # A date so new that the statistics do not know it looks like three rows to the planner: it would read all of the
    # day for every page, and sort it on disk. The index has the order already.
    "enable_bitmapscan": "off",
}
_DURABILITY: Final = """
SELECT name FROM pg_settings
WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit') AND setting = 'off' ORDER BY name
"""

FAULTS: Final = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError)
"""What a connection may raise when the server goes away. asyncpg 0.32 raises InternalClientError after a kill."""


def back_off(tries: int, between: tuple[float, float]) -> float:
    """Seconds to wait after so many tries in vain, from the first of two to the last. Uneven, so that servers do not
    come back in step."""
    first, longest = between
    return random.uniform(0.5, 1.0) * min(longest, first * 2.0 ** min(tries, 10))


class NotDurable(Exception):
    """The server may lose what it acknowledged."""


async def connect(url: str) -> Connection:
    """One connection. Whoever the URL names becomes the app's role, and may do no more than that role."""
    try:
        return await asyncpg.connect(
            url, timeout=CONNECT_SECONDS, command_timeout=COMMAND_SECONDS, server_settings=_SETTINGS
        )
    except TimeoutError:
        raise TimeoutError(f"the database does not answer within {CONNECT_SECONDS:g} s") from None
    except asyncpg.InvalidParameterValueError as error:  # the server has never heard of the app's role
        raise type(error)(f"{error}: run `daysheet migrate --database-url ...` as a database administrator") from error


class Line:
    """A connection of one's own: made when it is first asked for, and made again once it was lost or dropped."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: Connection | None = None

    async def connection(self) -> Connection:
        if self._connection is None or self._connection.is_closed():
            self._connection = await connect(self._url)
        return self._connection

    def drop(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None


class Pool(_Pool):
    """Connections for reading. Nobody waits for one for ever, which is how long asyncpg would."""

    def acquire(self, *, timeout: float | None = READER_SECONDS) -> PoolAcquireContext[asyncpg.Record]:
        return super().acquire(timeout=timeout)


def pool(url: str) -> Pool:
    """To be entered with `async with`."""
    return Pool(
        url,
        min_size=0,  # asyncpg logs a traceback whenever it cannot keep up a connection that nobody asked for
        max_size=READERS,
        max_queries=50_000,
        max_inactive_connection_lifetime=300.0,
        loop=None,
        connection_class=asyncpg.Connection,
        record_class=asyncpg.Record,
        reset=_nothing_to_reset,
        timeout=CONNECT_SECONDS,
        command_timeout=COMMAND_SECONDS,
        server_settings=_SETTINGS,
    )


async def _nothing_to_reset(connection: object) -> None:
    """After a plain SELECT asyncpg's own reset would be one more round trip for nothing."""


async def require_durable(connection: Connection) -> None:
    """Raises NotDurable, naming the settings."""
    off = [row["name"] for row in await connection.fetch(_DURABILITY)]
    if off:
        raise NotDurable(f"PostgreSQL runs with {', '.join(f'{name}=off' for name in off)}: a crash would lose events")
