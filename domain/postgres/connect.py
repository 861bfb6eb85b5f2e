"""Connections to PostgreSQL, always as the app's role, and only to a server that keeps what it acknowledges."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import asyncpg

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]
    Pool = asyncpg.Pool[asyncpg.Record]
else:
    Connection, Pool = asyncpg.Connection, asyncpg.Pool  # generic in the stubs only

APP_ROLE: Final = "daysheet_app"
CONNECT_SECONDS: Final = 10.0
COMMAND_SECONDS: Final = 30.0
READERS: Final = 6

_SETTINGS: Final = {"role": APP_ROLE, "application_name": "daysheet", "timezone": "UTC"}
_DURABILITY: Final = """
SELECT name FROM pg_settings
WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit') AND setting = 'off' ORDER BY name
"""

FAULTS: Final = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError)
"""What a connection may raise when the server goes away. asyncpg 0.32 raises InternalClientError after a kill."""


class NotDurable(Exception):
    """The server may lose what it acknowledged."""


async def connect(url: str) -> Connection:
    """One connection. Whoever the URL names becomes the app's role, and may do no more than that role."""
    return await asyncpg.connect(
        url, timeout=CONNECT_SECONDS, command_timeout=COMMAND_SECONDS, server_settings=_SETTINGS
    )


async def pool(url: str) -> Pool:
    """Connections for reading."""
    return await asyncpg.create_pool(
        url,
        min_size=1,
        max_size=READERS,
        timeout=CONNECT_SECONDS,
        command_timeout=COMMAND_SECONDS,
        server_settings=_SETTINGS,
    )


async def require_durable(connection: Connection) -> None:
    """Raises NotDurable, naming the settings."""
    off = [row["name"] for row in await connection.fetch(_DURABILITY)]
    if off:
        raise NotDurable(f"PostgreSQL runs with {', '.join(f'{name}=off' for name in off)}: a crash would lose events")
