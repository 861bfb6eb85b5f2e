"""A superuser beside the app, a writer, and a server of a test's own."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from domain.log.append import Writer
from domain.postgres.embedded import EmbeddedPostgres
from tests.conftest import Database
from tests.log.writing import writing


@pytest_asyncio.fixture
async def writer(database: Database) -> AsyncIterator[Writer]:
    async with writing(database.url) as one:
        yield one


@pytest.fixture(scope="module")
def own_server() -> Iterator[EmbeddedPostgres]:
    """A server that nobody else uses, and that has never heard of Daysheet."""
    with tempfile.TemporaryDirectory() as parent:
        server = EmbeddedPostgres.start(Path(parent) / "postgres")
        try:
            yield server
        finally:
            server.stop()
