"""Starting the PostgreSQL that comes along takes as long as its recovery. Who is told to stop waits for neither."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Final

import structlog

from domain.postgres.embedded import EmbeddedPostgres

LAST_MOMENT_SECONDS: Final = 3.0
"""For a start that is nearly done: then PostgreSQL is stopped in good order, which takes five more at most."""

log = structlog.get_logger()


class StoppedMeanwhile(Exception):
    """The server was told to stop before its PostgreSQL was there."""


async def start(folder: Path, stop: asyncio.Event) -> EmbeddedPostgres:
    """Raises EmbeddedPostgresError; StoppedMeanwhile, and then PostgreSQL goes on as after a `kill -9`: the next start
    finds it further along."""
    promised: Future[EmbeddedPostgres] = Future()
    promised.set_running_or_notify_cancel()

    def run() -> None:
        try:
            promised.set_result(EmbeddedPostgres.start(folder))
        except BaseException as error:
            promised.set_exception(error)

    # Not asyncio's own threads, which are waited for at the end.
    threading.Thread(target=run, daemon=True).start()
    starting, stopping = asyncio.wrap_future(promised), asyncio.create_task(stop.wait())
    either: list[asyncio.Future[Any]] = [starting, stopping]
    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not starting.done():
        await asyncio.wait([starting], timeout=LAST_MOMENT_SECONDS)
    if not starting.done():
        starting.cancel()
        log.warning("postgres_left_starting", folder=str(folder))
        raise StoppedMeanwhile
    return starting.result()
