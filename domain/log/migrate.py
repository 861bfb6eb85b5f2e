"""Brings a database to the schema this release needs, one numbered file after another, each in its own transaction."""

from __future__ import annotations

from importlib.resources import files
from typing import Final

import asyncpg

_LOCK: Final = "SELECT pg_advisory_lock(4004131705)"
_HAS_ROLES: Final = """
SELECT count(*) = 2 AND to_regnamespace('daysheet') IS NOT NULL
FROM pg_roles WHERE rolname IN ('daysheet_owner', 'daysheet_app')
"""
_BOOK: Final = """
CREATE TABLE IF NOT EXISTS daysheet.migration (
    number integer PRIMARY KEY, name text NOT NULL, applied_at timestamptz NOT NULL DEFAULT clock_timestamp());
GRANT USAGE ON SCHEMA daysheet TO daysheet_app;
GRANT SELECT ON daysheet.migration TO daysheet_app;
"""
_APPLIED: Final = "SELECT coalesce(max(number), 0) FROM daysheet.migration"
_HAS_BOOK: Final = "SELECT to_regclass('daysheet.migration') IS NOT NULL"


class SchemaMismatch(Exception):
    """The database's schema is not the one this release works with."""


def _migrations() -> list[tuple[int, str, str]]:
    """(number, name, SQL) of every migration this release knows, in order."""
    folder = files("domain.log") / "migrations"
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))
    return [(int(name[:4]), name, (folder / name).read_text(encoding="utf-8")) for name in names]


LATEST: Final = _migrations()[-1][0]


async def migrate(connection: asyncpg.Connection[asyncpg.Record]) -> list[str]:
    """Apply what is missing; returns the names applied. The connection's user must be able to become the owner."""
    await connection.execute(_LOCK)  # until the connection closes: two servers may start at once
    if not await connection.fetchval(_HAS_ROLES):
        await connection.execute((files("domain.postgres") / "roles.sql").read_text(encoding="utf-8"))
    await connection.execute("SET ROLE daysheet_owner")
    await connection.execute(_BOOK)
    applied = await connection.fetchval(_APPLIED)
    if applied > LATEST:
        raise SchemaMismatch(_too_new(applied))
    names = []
    for number, name, sql in _migrations():
        if number > applied:
            async with connection.transaction():
                await connection.execute(sql)
                await connection.execute("INSERT INTO daysheet.migration (number, name) VALUES ($1, $2)", number, name)
            names.append(name)
    await connection.execute("RESET ROLE")
    return names


async def require_latest(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    """Raises SchemaMismatch with what to do about it."""
    applied = await connection.fetchval(_APPLIED) if await connection.fetchval(_HAS_BOOK) else 0
    if applied > LATEST:
        raise SchemaMismatch(_too_new(applied))
    if applied < LATEST:
        raise SchemaMismatch(
            f"the database has schema {applied}, this release needs {LATEST}: "
            "run `daysheet migrate --database-url ...` as a database administrator"
        )


def _too_new(applied: int) -> str:
    return f"the database has schema {applied}, newer than this release's {LATEST}: run a newer release"
