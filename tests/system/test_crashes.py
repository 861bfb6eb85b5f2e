"""Whatever is killed under load: what was acknowledged is stored, each exactly once, and the log has no hole.

That these tests can fail is itself tested: with `synchronous_commit=off` a power cut does lose what was acknowledged.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from domain.log.append import Writer
from domain.log.codec import Draft
from domain.log.follow import Follower
from domain.postgres.connect import NotDurable, connect, require_durable
from tests.conftest import TIMEZONE, Database, ServerFactory
from tests.server import start_server
from tests.system.load import Load
from tests.system.own_postgres import OwnPostgres
from tests.system.record import ask, whole_record

ROUNDS = 5
PAUSE_SECONDS = 0.4
_TERMINATE = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND application_name = 'daysheet' AND pid <> pg_backend_pid()
"""


class Witness:
    """Somebody who follows the log the whole time."""

    def __init__(self, url: str) -> None:
        self._follower = Follower(url)
        self.seen: list[int] = []
        self._more = asyncio.Event()

    async def follow(self) -> None:
        async for batch in self._follower.batches(0):
            self.seen += (event.id for event in batch)
            self._more.set()

    async def has_seen(self, position: int) -> None:
        async with asyncio.timeout(30):
            while not self.seen or self.seen[-1] < position:
                self._more.clear()
                await self._more.wait()


@asynccontextmanager
async def witnessed(url: str, admin_url: str) -> AsyncIterator[None]:
    """Somebody follows meanwhile, and has at the end seen every event once, in order."""
    witness = Witness(url)
    following = asyncio.create_task(witness.follow())
    try:
        yield
        head = len(await whole_record(admin_url))
        await witness.has_seen(head)
        assert witness.seen == list(range(1, head + 1))
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


async def test_what_a_killed_server_acknowledged_is_stored_once(serve: ServerFactory, database: Database) -> None:
    load = Load(await serve())

    async def kill_again_and_again() -> None:
        for _ in range(ROUNDS):
            await load.more(40)
            load.server.kill()
            await load.server.process.wait()
            load.server = await serve()
        await load.more(40)

    async with witnessed(database.url, database.admin_url):
        await load.during(kill_again_and_again)
        load.assert_recorded_once(await whole_record(database.admin_url))
    assert load.trouble["connection lost"] >= ROUNDS


async def test_backends_killed_all_the_time_lose_and_double_nothing(serve: ServerFactory, database: Database) -> None:
    load = Load(await serve())
    killed = 0

    async def terminate_again_and_again() -> None:
        nonlocal killed
        for _ in range(2 * ROUNDS):
            await load.more(1)
            killed += len(await ask(database.admin_url, _TERMINATE))
            await asyncio.sleep(PAUSE_SECONDS)
        await load.more(40)

    async with witnessed(database.url, database.admin_url):
        await load.during(terminate_again_and_again)
        load.assert_recorded_once(await whole_record(database.admin_url))
    assert killed >= 2 * ROUNDS
    assert b"append_interrupted" in load.server.log


async def test_a_power_cut_of_the_database_loses_nothing_that_was_acknowledged(
    own_postgres: OwnPostgres, data_dir: Path
) -> None:
    server = await start_server("--database-url", own_postgres.url, "--data-dir", str(data_dir), "--timezone", TIMEZONE)
    load = Load(server)

    async def cut_power_again_and_again() -> None:
        for _ in range(3):
            await load.more(40)
            await own_postgres.cut_power()
            await own_postgres.start()
        await load.more(40)

    try:
        async with witnessed(own_postgres.url, own_postgres.admin_url):
            await load.during(cut_power_again_and_again)
            load.assert_recorded_once(await whole_record(own_postgres.admin_url))
    finally:
        await server.stop()
    assert b"append_interrupted" in server.log


# --- the same with and without the promise -------------------------------------------------------


async def lost_in_power_cuts(own_postgres: OwnPostgres, rounds: int) -> int:
    """Append, cut the power after an acknowledgement, and count what was acknowledged and is not there."""
    lost = 0
    for _ in range(rounds):
        writer = Writer(own_postgres.url, on_commit=lambda: None)
        running = asyncio.create_task(writer.run())
        told = []
        for number in range(20):
            stream = f"doctor/{uuid.uuid4()}"
            meta = b'{"effective_at":"2025-11-17T03:45:00Z","command":"Test","command_id":"%d"}' % number
            draft = Draft(stream, 1, "doctor-registered@1", b"{}", None, uuid.uuid4(), meta)
            assert await writer.append([draft])
            told.append(stream)
        await own_postgres.cut_power()
        writer.close()
        await running
        await own_postgres.start()
        kept = await ask(own_postgres.admin_url, "SELECT stream FROM daysheet.event WHERE stream = ANY($1)", told)
        lost += len(told) - len(kept)
        await whole_record(own_postgres.admin_url)
        if lost:
            break
    return lost


async def test_appends_that_were_acknowledged_outlive_a_power_cut(own_postgres: OwnPostgres) -> None:
    assert await lost_in_power_cuts(own_postgres, rounds=2) == 0


async def test_without_synchronous_commit_they_would_not_and_so_it_is_refused(own_postgres: OwnPostgres) -> None:
    for setting in ("synchronous_commit = off", "wal_writer_delay = '10s'"):
        await ask(own_postgres.admin_url, f"ALTER SYSTEM SET {setting}")
    await ask(own_postgres.admin_url, "SELECT pg_reload_conf()")
    await own_postgres.cut_power()
    await own_postgres.start()
    assert await lost_in_power_cuts(own_postgres, rounds=10) > 0

    connection = await connect(own_postgres.url)
    try:
        with pytest.raises(NotDurable, match="synchronous_commit=off"):
            await require_durable(connection)
    finally:
        await connection.close()
