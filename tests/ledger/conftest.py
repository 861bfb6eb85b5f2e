"""A store that is sealed by hand, seal by seal, and a superuser who may do anything to it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from domain.log.append import Writer
from domain.postgres.connect import Connection
from tests.conftest import Database
from tests.ledger.sealing import SealedStore, sealed_store
from tests.log.writing import writing


@pytest_asyncio.fixture
async def writer(database: Database) -> AsyncIterator[Writer]:
    async with writing(database.url) as one:
        yield one


@pytest_asyncio.fixture
async def store(database: Database, admin: Connection, writer: Writer) -> AsyncIterator[SealedStore]:
    async with sealed_store(database, admin, writer) as one:
        yield one
