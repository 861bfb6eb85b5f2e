"""The record is never changed: not by the app, not by mistake, and not even by those who could drop it.

The app's sessions here are truly the app's: they log in as daysheet_app. Where a given server asks for a password that
nobody told us, a superuser becomes daysheet_app with SET SESSION AUTHORIZATION instead.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest
import pytest_asyncio

from domain.log.append import VaultChange, Writer
from domain.postgres.connect import Connection
from tests.conftest import Database
from tests.log.writing import a_stream, draft, request, subject_of

RECORD = ("event", "request", "store", "master_key", "access", "ledger_key", "seal", "tile")
VAULT = ("secret", "patient_key", "search_token", "claim")
TABLES = (*RECORD, *VAULT, "migration")
COLUMN = {
    "event": "position",
    "request": "key",
    "store": "timezone",
    "master_key": "number",
    "access": "position",
    "secret": "name",
    "patient_key": "wrapped",
    "search_token": "token",
    "claim": "name",
    "migration": "name",
    "ledger_key": "public_key",
    "seal": "note",
    "tile": "root",
}
A_SEAL = """
SELECT daysheet.append_seal('event', 0, 1, hash, hash, 'note', hash, '{0}', '{0}', ARRAY[tile], ARRAY[hash])
FROM decode(repeat('00', 32), 'hex') hash, decode(repeat('00', 8192), 'hex') tile
"""
DENIED = (asyncpg.InsufficientPrivilegeError,)


@pytest_asyncio.fixture
async def app(database: Database) -> AsyncIterator[Connection]:
    try:
        connection = await asyncpg.connect(database.admin_url, user="daysheet_app")
    except asyncpg.InvalidAuthorizationSpecificationError:
        connection = await asyncpg.connect(database.admin_url)
        await connection.execute("SET SESSION AUTHORIZATION daysheet_app")
    assert await connection.fetchval("SELECT session_user::text || ' ' || current_user") == "daysheet_app daysheet_app"
    yield connection
    await connection.close()


@pytest_asyncio.fixture(autouse=True)
async def something_to_lose(writer: Writer, admin: Connection) -> None:
    stream = a_stream()
    patient = subject_of(stream)
    changes = [VaultChange(action, patient, b"value") for action in ("key", "token", "claim")]
    await writer.append([draft(stream, 1)], changes, request())
    await admin.execute(
        "SELECT daysheet.record_access('{reader/1}', '{1}', '{patient-viewed@1}', '{NULL}', '{NULL}', '{x}', '{x}')"
    )
    await admin.execute("SELECT daysheet.introduce(gen_random_uuid(), 'Asia/Kolkata', 'check', '{search}', '{x}')")
    await admin.execute("SELECT daysheet.pin_ledger_key(decode(repeat('00', 32), 'hex'))")
    await admin.execute(A_SEAL)
    for table in TABLES:
        assert await admin.fetchval(f"SELECT count(*) FROM daysheet.{table}") > 0


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE daysheet.{table} SET {column} = {column}",
        "DELETE FROM daysheet.{table}",
        "TRUNCATE daysheet.{table}",
        "INSERT INTO daysheet.{table} SELECT * FROM daysheet.{table}",
        "DROP TABLE daysheet.{table}",
        "ALTER TABLE daysheet.{table} ADD COLUMN more text",
        "ALTER TABLE daysheet.{table} OWNER TO daysheet_app",
        "ALTER TABLE daysheet.{table} DISABLE TRIGGER ALL",
        "CREATE TRIGGER mine BEFORE INSERT ON daysheet.{table} EXECUTE FUNCTION daysheet.refuse_change()",
        "CREATE INDEX mine ON daysheet.{table} ({column})",
        "DO 'BEGIN LOCK TABLE daysheet.{table} IN ROW EXCLUSIVE MODE; END'",
        "SELECT FROM daysheet.{table} FOR UPDATE",
    ],
)
async def test_the_app_may_not_touch_any_table(app: Connection, statement: str) -> None:
    for table in TABLES:
        with pytest.raises(DENIED):
            await app.execute(statement.format(table=table, column=COLUMN[table]))


@pytest.mark.parametrize(
    "statement",
    [
        "SET ROLE daysheet_owner",
        "SET session_replication_role = replica",
        "GRANT daysheet_owner TO daysheet_app",
        "ALTER ROLE daysheet_app SUPERUSER",
        "ALTER ROLE daysheet_owner LOGIN",
        "CREATE ROLE another",
        "CREATE TABLE daysheet.mine ()",
        "CREATE FUNCTION daysheet.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "DROP FUNCTION daysheet.append",
        "ALTER FUNCTION daysheet.append OWNER TO daysheet_app",
        "DROP TRIGGER never_changed ON daysheet.event",
        "DROP SCHEMA daysheet CASCADE",
        "ALTER SCHEMA daysheet RENAME TO other",
        "SELECT daysheet.forget(gen_random_uuid())",
        "COPY daysheet.event TO PROGRAM 'cat'",
        "SELECT pg_read_file('PG_VERSION')",
    ],
)
async def test_the_app_may_not_become_more_than_it_is(app: Connection, statement: str) -> None:
    with pytest.raises(DENIED):
        await app.execute(statement)


async def test_the_app_cannot_give_itself_rights(app: Connection) -> None:
    """PostgreSQL only warns; what counts is that nothing comes of it."""
    for table in TABLES:
        await app.execute(f"GRANT ALL ON daysheet.{table} TO daysheet_app")
    granted = await app.fetch(
        "SELECT table_name, privilege_type FROM information_schema.role_table_grants "
        "WHERE grantee = 'daysheet_app' AND table_schema = 'daysheet'"
    )
    assert sorted(map(tuple, granted)) == sorted((table, "SELECT") for table in TABLES)


async def test_the_app_may_read_every_table(app: Connection) -> None:
    for table in TABLES:
        assert await app.fetchval(f"SELECT count(*) FROM daysheet.{table}") > 0


async def test_the_app_may_call_these_functions_and_no_other(app: Connection) -> None:
    mine = await app.fetch(
        "SELECT proname FROM pg_proc WHERE pronamespace = 'daysheet'::regnamespace "
        "AND has_function_privilege(oid, 'EXECUTE') ORDER BY proname"
    )
    assert [row["proname"] for row in mine] == [
        "add_master_key",
        "append",
        "append_seal",
        "finish_erasures",
        "introduce",
        "leaf",
        "pin_ledger_key",
        "record_access",
        "rewrap",
        "rewrap_secrets",
    ]


async def test_the_owner_of_the_tables_cannot_log_in(admin: Connection) -> None:
    assert await admin.fetchval("SELECT rolcanlogin FROM pg_roles WHERE rolname = 'daysheet_owner'") is False
    owners = await admin.fetch("SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'daysheet'")
    assert [row["tableowner"] for row in owners] == ["daysheet_owner"]


async def test_nobody_else_may_call_a_function_of_the_schema(admin: Connection) -> None:
    others = await admin.fetch(
        "SELECT proname FROM pg_proc WHERE pronamespace = 'daysheet'::regnamespace "
        "AND has_function_privilege('public', oid, 'EXECUTE')"
    )
    assert [row["proname"] for row in others] == []


CHANGES = pytest.mark.parametrize(
    "change",
    ["UPDATE daysheet.{table} SET {column} = {column}", "DELETE FROM daysheet.{table}", "TRUNCATE daysheet.{table}"],
    ids=["update", "delete", "truncate"],
)


@CHANGES
async def test_not_even_their_owner_changes_the_record(admin: Connection, change: str) -> None:
    await admin.execute("SET ROLE daysheet_owner")
    for table in RECORD:
        with pytest.raises(DENIED, match=f"of daysheet.{table}: the record is never changed"):
            await admin.execute(change.format(table=table, column=COLUMN[table]))


@CHANGES
async def test_not_even_a_superuser_who_silences_triggers_changes_the_record(admin: Connection, change: str) -> None:
    await admin.execute("SET session_replication_role = replica")
    for table in RECORD:
        with pytest.raises(DENIED, match=f"of daysheet.{table}: the record is never changed"):
            await admin.execute(change.format(table=table, column=COLUMN[table]))


async def test_a_change_that_would_match_nothing_is_refused_too(admin: Connection) -> None:
    with pytest.raises(DENIED, match=r"DELETE of daysheet\.event: the record is never changed"):
        await admin.execute("DELETE FROM daysheet.event WHERE false")
