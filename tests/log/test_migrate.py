"""A database comes to the schema of this release, or the server does not run on it and says what to do."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from importlib.resources import files
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio

from domain.log.migrate import LATEST, SchemaMismatch, migrate, require_latest
from domain.postgres.connect import Connection, connect
from domain.postgres.embedded import EmbeddedPostgres
from gateway.app import running
from gateway.settings import Settings
from tests.conftest import Database, _with_database

TOO_NEW = f"schema 9999, newer than this release's {LATEST}"
TO_DO = "run `daysheet migrate --database-url ...` as a database administrator"


@pytest_asyncio.fixture
async def bare_url(postgres: str) -> AsyncIterator[str]:
    """A superuser's URL of a database in which nothing is."""
    name = "daysheet_test_bare"
    server = await asyncpg.connect(postgres)
    try:
        await server.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        await server.execute(f"CREATE DATABASE {name}")
        yield _with_database(postgres, name)
        await server.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await server.close()


async def _migrated(url: str) -> list[str]:
    connection = await asyncpg.connect(url)
    try:
        return await migrate(connection)
    finally:
        await connection.close()


async def _check(url: str) -> None:
    connection = await connect(url)
    try:
        await require_latest(connection)
    finally:
        await connection.close()


async def test_migrating_twice_applies_everything_once(bare_url: str) -> None:
    assert len(await _migrated(bare_url)) == LATEST
    assert await _migrated(bare_url) == []
    await _check(bare_url)


async def test_two_who_migrate_at_once_apply_everything_once(bare_url: str) -> None:
    one, other = await asyncio.gather(_migrated(bare_url), _migrated(bare_url))
    assert sorted(map(len, (one, other))) == [0, LATEST]
    await _check(bare_url)


async def test_migrating_leaves_the_session_as_it_was(bare_url: str) -> None:
    connection = await asyncpg.connect(bare_url)
    try:
        before = await connection.fetchval("SELECT current_user")
        await migrate(connection)
        assert await connection.fetchval("SELECT current_user") == before
    finally:
        await connection.close()


async def test_a_schema_of_a_newer_release_is_left_alone(database: Database, admin: Connection) -> None:
    await admin.execute("INSERT INTO daysheet.migration (number, name) VALUES (9999, '9999_from_the_future.sql')")
    with pytest.raises(SchemaMismatch, match=TOO_NEW):
        await migrate(admin)
    with pytest.raises(SchemaMismatch, match=TOO_NEW):
        await _check(database.url)


async def test_a_server_does_not_run_on_a_database_without_a_schema(bare_url: str, tmp_path: Path) -> None:
    with pytest.raises(SchemaMismatch, match=f"schema 0, this release needs {LATEST}: {TO_DO}"):
        async with running(Settings(data_dir=tmp_path), bare_url):
            pytest.fail("it ran")
    assert os.listdir(tmp_path) == []  # no master key for a store that is none


async def test_a_database_with_the_roles_alone_is_told_apart_from_a_migrated_one(bare_url: str) -> None:
    """A DBA has run roles.sql, and nobody has migrated yet."""
    administrator = await asyncpg.connect(bare_url)
    try:
        await administrator.execute((files("domain.postgres") / "roles.sql").read_text(encoding="utf-8"))
    finally:
        await administrator.close()
    with pytest.raises(SchemaMismatch, match=TO_DO):
        await _check(bare_url)
    assert len(await _migrated(bare_url)) == LATEST
    await _check(bare_url)


async def test_a_server_that_has_never_heard_of_daysheet_says_what_to_do(own_server: EmbeddedPostgres) -> None:
    with pytest.raises(asyncpg.PostgresError, match=f'role "daysheet_app" does not exist: {TO_DO}'):
        await _check(own_server.url(user="postgres", database="postgres"))


async def test_an_administrator_who_is_no_superuser_migrates(own_server: EmbeddedPostgres) -> None:
    superuser = await asyncpg.connect(own_server.url(user="postgres", database="postgres"))
    try:
        await superuser.execute("CREATE ROLE dba LOGIN CREATEROLE")
        await superuser.execute("CREATE DATABASE hospital OWNER dba")
    finally:
        await superuser.close()
    assert len(await _migrated(own_server.url(user="dba", database="hospital"))) == LATEST
    await _check(own_server.url(user="daysheet_app", database="hospital"))
