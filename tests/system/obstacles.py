"""What gets in a server's way: appends that are held up, and somebody in between it and its database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from tests.log.writing import HeldLog, held


@asynccontextmanager
async def appends_held_up(admin_url: str) -> AsyncIterator[HeldLog]:
    """No append gets through meanwhile."""
    admin = await asyncpg.connect(admin_url)
    try:
        async with held(admin) as log:
            yield log
    finally:
        await admin.close()


async def until_one_ends(
    there: Coroutine[Any, Any, None], back: Coroutine[Any, Any, None], *ends: asyncio.StreamWriter
) -> None:
    """Carry both ways; when one is over the other is, too, and all that is connected is cut off."""
    either = [asyncio.create_task(there), asyncio.create_task(back)]
    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    for end in ends:
        end.transport.abort()
    await asyncio.wait(either)
    for task in either:
        task.exception()
