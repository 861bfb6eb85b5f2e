from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from domain.audit.recorder import Recorder
from tests.audit.recording import recording
from tests.conftest import Database


@pytest_asyncio.fixture
async def recorder(database: Database) -> AsyncIterator[Recorder]:
    async with recording(database.url) as one:
        yield one
