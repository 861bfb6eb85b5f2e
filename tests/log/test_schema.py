"""What the migrations make is written down, and stays what they make, on any PostgreSQL."""

from __future__ import annotations

from domain.log import schema
from domain.postgres.connect import Connection, connect
from scripts.schema import FILE, as_text
from tests.conftest import Database


async def test_the_list_of_what_the_migrations_make_is_what_they_make(admin: Connection) -> None:
    """After a change of a migration: scripts/schema."""
    assert as_text(await schema.found(admin)) == FILE.read_bytes()


async def test_the_app_itself_can_compare(database: Database) -> None:
    connection = await connect(database.url)
    try:
        assert await schema.found(connection) == schema.expected()
    finally:
        await connection.close()
