from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest_asyncio

from domain.audit.recorder import Recorder
from domain.postgres.connect import Connection
from tests.audit.recording import recording
from tests.conftest import Database


@pytest_asyncio.fixture
async def admin(database: Database) -> AsyncIterator[Connection]:
    """A superuser's session on the test's database."""
    connection = await asyncpg.connect(database.admin_url)
    yield connection
    await connection.close()


@pytest_asyncio.fixture
async def recorder(database: Database) -> AsyncIterator[Recorder]:
    async with recording(database.url) as one:
        yield one
