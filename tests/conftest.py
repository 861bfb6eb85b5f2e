"""What tests stand on: a real PostgreSQL, a database of their own for each, real servers on real sockets.

DAYSHEET_TEST_DATABASE_URL (a superuser's) runs them against that server; without it the embedded one is used.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import hypothesis
import pytest
import pytest_asyncio

from domain.log.migrate import migrate
from domain.postgres.connect import Connection
from domain.postgres.embedded import EmbeddedPostgres
from gateway.app import running
from gateway.parts import Parts
from gateway.settings import Settings
from tests.server import Server, started

# How long an example takes is the machine's affair. Where a change is judged, the same change is judged alike;
# everywhere else each run looks somewhere new.
hypothesis.settings.register_profile(
    "patient", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow], print_blob=True
)
hypothesis.settings.register_profile("judged", hypothesis.settings.get_profile("patient"), derandomize=True)
hypothesis.settings.load_profile("judged" if os.environ.get("CI") else "patient")

TIMEZONE = "Asia/Kolkata"
"""Another zone than any test machine's own, so that whoever takes the wrong one is found out."""


@dataclass(frozen=True, slots=True)
class Database:
    """`url` is the app's role's; `admin_url` a superuser's. `folder` holds the master key."""

    url: str
    admin_url: str
    folder: Path

    def settings(self) -> Settings:
        return Settings(database_url=self.url, data_dir=self.folder, timezone=TIMEZONE)


def _with_database(url: str, name: str, user: str | None = None) -> str:
    parts = urlsplit(url)
    netloc = parts.netloc
    if user is not None:
        netloc = f"{user}@{netloc.rpartition('@')[2]}"
    return urlunsplit(parts._replace(netloc=netloc, path=f"/{name}"))


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """A superuser's URL of a server whose durability settings are as in production."""
    given = os.environ.get("DAYSHEET_TEST_DATABASE_URL")
    if given:
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="daysheet-test-") as folder:
        embedded = EmbeddedPostgres.start(Path(folder) / "postgres")
        try:
            yield embedded.url(user="postgres", database="postgres")
        finally:
            embedded.stop()


@pytest.fixture(scope="session")
def template(postgres: str) -> Iterator[str]:
    """The name of a migrated, empty database to copy."""
    name = f"daysheet_template_{os.getpid()}"

    async def make() -> None:
        await _execute(postgres, f"DROP DATABASE IF EXISTS {name}", f"CREATE DATABASE {name}")
        connection = await asyncpg.connect(_with_database(postgres, name))
        try:
            await migrate(connection)
        finally:
            await connection.close()

    asyncio.run(make())
    yield name
    asyncio.run(_execute(postgres, f"DROP DATABASE {name} WITH (FORCE)"))


_numbers = count(1)


@contextmanager
def new_database(postgres: str, template: str, folder: Path) -> Iterator[Database]:
    """With the schema and nothing in it."""
    name = f"{template}_{next(_numbers)}"
    asyncio.run(_execute(postgres, f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY WAL_LOG"))
    yield Database(
        _with_database(postgres, name, user="daysheet_app")
        if "DAYSHEET_TEST_DATABASE_URL" not in os.environ
        else _with_database(postgres, name),
        _with_database(postgres, name),
        folder,
    )
    asyncio.run(_execute(postgres, f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
def database(postgres: str, template: str, tmp_path: Path) -> Iterator[Database]:
    """A database of the test's own."""
    with new_database(postgres, template, tmp_path) as database:
        yield database


@pytest_asyncio.fixture
async def admin(database: Database) -> AsyncIterator[Connection]:
    """A superuser's session on the test's database."""
    connection = await asyncpg.connect(database.admin_url)
    yield connection
    await connection.close()


async def _execute(url: str, *statements: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


@pytest_asyncio.fixture
async def parts(database: Database) -> AsyncIterator[Parts]:
    """The desk and the read model at work in this process, on a database of their own."""
    async with in_own_task(database.settings()) as running_parts:
        yield running_parts


def in_own_task(settings: Settings) -> _InOwnTask:
    """`running` entered and left by one task, which task groups demand and fixtures do not grant."""
    return _InOwnTask(settings)


class _InOwnTask:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stop = asyncio.Event()

    async def __aenter__(self) -> Parts:
        ready: asyncio.Future[Parts] = asyncio.get_running_loop().create_future()

        async def hold() -> None:
            try:
                assert self._settings.database_url is not None
                async with running(self._settings, self._settings.database_url) as parts:
                    ready.set_result(parts)
                    await self._stop.wait()
            except BaseException as error:
                if not ready.done():
                    ready.set_exception(error)
                raise

        self._task = asyncio.create_task(hold())
        return await ready

    async def __aexit__(self, *_: object) -> None:
        self._stop.set()
        await self._task


ServerFactory = Callable[..., Awaitable[Server]]


@pytest_asyncio.fixture
async def serve(database: Database) -> AsyncIterator[ServerFactory]:
    """Starts `daysheet serve` processes on the test's database: `server = await serve()`. Further ones share it."""
    async with AsyncExitStack() as servers:

        async def start(*options: str) -> Server:
            given = ("--database-url", database.url, "--data-dir", str(database.folder), "--timezone", TIMEZONE)
            return await servers.enter_async_context(started(*given, *options))

        yield start


@pytest_asyncio.fixture
async def server(serve: ServerFactory) -> Server:
    return await serve()
