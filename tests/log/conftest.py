"""A writer, two servers over one store, and a PostgreSQL of a test's own."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from domain.log.append import Writer
from domain.postgres.embedded import EmbeddedPostgres
from gateway.parts import Parts
from tests.conftest import Database, in_own_task
from tests.log.writing import writing


@pytest_asyncio.fixture
async def writer(database: Database) -> AsyncIterator[Writer]:
    async with writing(database.url) as one:
        yield one


@pytest_asyncio.fixture
async def here(parts: Parts) -> Parts:
    """One of two servers over the same store..."""
    return parts


@pytest_asyncio.fixture
async def there(database: Database, parts: Parts) -> AsyncIterator[Parts]:
    """...and the other."""
    async with in_own_task(database.settings()) as other:
        yield other


@pytest.fixture(scope="module")
def own_server() -> Iterator[EmbeddedPostgres]:
    """A server that nobody else uses, and that has never heard of Daysheet."""
    with tempfile.TemporaryDirectory() as parent:
        server = EmbeddedPostgres.start(Path(parent) / "postgres")
        try:
            yield server
        finally:
            server.stop()
