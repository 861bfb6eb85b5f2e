"""Servers in pairs, and databases of a test's own to do the worst to."""

from __future__ import annotations

import asyncio
import subprocess
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio

from domain.log.migrate import migrate
from domain.postgres.embedded import EmbeddedPostgres
from tests.conftest import TIMEZONE, ServerFactory
from tests.server import Server, started
from tests.system.own_postgres import OwnPostgres, cut_power

Start = Callable[..., Awaitable[Server]]


@pytest_asyncio.fixture
async def two(serve: ServerFactory) -> tuple[Server, Server]:
    """Two servers that share one database, started at once on a store that is still empty."""
    return await asyncio.gather(serve(), serve())


@pytest.fixture(scope="session")
def made_once() -> Iterator[Path]:
    """The folder of an embedded server with the schema, stopped in good order."""

    async def make(url: str) -> None:
        connection = await asyncpg.connect(url)
        try:
            await migrate(connection)
        finally:
            await connection.close()

    with tempfile.TemporaryDirectory() as parent:
        server = EmbeddedPostgres.start(Path(parent) / "postgres")
        asyncio.run(make(server.url(user="postgres")))
        server.stop()
        yield Path(parent) / "postgres"


@pytest.fixture
def data_dir(made_once: Path) -> Iterator[Path]:
    """A data folder whose embedded server has the schema, and nothing in it.

    Not under pytest's own folder: root's is closed to the account that runs PostgreSQL.
    """
    with tempfile.TemporaryDirectory() as parent:
        subprocess.run(["cp", "-a", made_once, Path(parent) / "postgres"], check=True)
        try:
            yield Path(parent)
        finally:
            cut_power(Path(parent) / "postgres")  # a test that failed may have left it


@pytest_asyncio.fixture
async def own_postgres(data_dir: Path) -> AsyncIterator[OwnPostgres]:
    own = OwnPostgres(data_dir / "postgres")
    await own.start()
    yield own
    await own.close()


@pytest_asyncio.fixture
async def start(data_dir: Path) -> AsyncIterator[Start]:
    """Starts servers on the data folder's own PostgreSQL."""
    async with AsyncExitStack() as servers:

        async def start(*options: str) -> Server:
            given = ("--data-dir", str(data_dir), "--timezone", TIMEZONE)
            return await servers.enter_async_context(started(*given, *options))

        yield start
