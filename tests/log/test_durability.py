"""A server that may lose what it acknowledged is not written to."""

from __future__ import annotations

import asyncpg
import pytest

from domain.postgres.connect import Connection, NotDurable, connect, require_durable
from domain.postgres.embedded import EmbeddedPostgres
from gateway.app import running
from tests.conftest import Database
from tests.log.writing import until


async def _check(url: str) -> None:
    connection = await connect(url)
    try:
        await require_durable(connection)
    finally:
        await connection.close()


async def test_a_server_at_its_defaults_is_durable(database: Database) -> None:
    await _check(database.url)


async def test_a_database_that_does_not_wait_for_the_disk_is_named_and_not_served(
    database: Database, admin: Connection
) -> None:
    name = await admin.fetchval("SELECT current_database()")
    await admin.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
    with pytest.raises(NotDurable, match="synchronous_commit=off: a crash would lose events"):
        async with running(database.settings(), database.url):
            pytest.fail("it ran")


async def test_every_setting_that_is_off_is_named(own_server: EmbeddedPostgres) -> None:
    superuser = await asyncpg.connect(own_server.url(user="postgres", database="postgres"))
    try:
        await superuser.execute("CREATE ROLE daysheet_app LOGIN")
        await _check(own_server.url(database="postgres"))
        for setting in ("fsync", "full_page_writes"):
            await superuser.execute(f"ALTER SYSTEM SET {setting} = off")
            await superuser.execute("SELECT pg_reload_conf()")
            await until(lambda setting=setting: _is_off(superuser, setting))  # type: ignore[misc]
            with pytest.raises(NotDurable, match=f"{setting}=off"):
                await _check(own_server.url(database="postgres"))
        with pytest.raises(NotDurable, match="fsync=off, full_page_writes=off"):
            await _check(own_server.url(database="postgres"))
    finally:
        await superuser.close()


async def _is_off(connection: Connection, setting: str) -> bool:
    return bool(await connection.fetchval("SELECT current_setting($1) = 'off'", setting))
