"""Every event once, in order, for ever."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import asyncpg
import pytest

from domain.log import follow
from domain.log.append import Writer
from domain.log.codec import Recorded
from domain.log.follow import Follower, HoleInLog, LogReplaced
from domain.postgres.connect import Connection
from tests.conftest import Database
from tests.log.writing import WAIT_SECONDS, a_stream, draft, drafts, insert, stored, terminate, until, writing

FOLLOWING = "FROM daysheet.event e WHERE e.position >= "
NEVER = 3600.0


class Reader:
    """Somebody who follows the log, and what they have been told."""

    def __init__(self, follower: Follower) -> None:
        self.follower = follower
        self.read: list[Recorded] = []
        self.quiet = 0
        """How often it was told that there is no more for now."""

    async def run(self, after: int) -> None:
        async for batch in self.follower.batches(after):
            self.read += batch
            self.quiet += not batch

    async def has(self, count: int) -> None:
        await until(lambda: len(self.read) >= count)


@asynccontextmanager
async def following(url: str, after: int = 0) -> AsyncIterator[Reader]:
    reader = Reader(Follower(url))
    task = asyncio.create_task(reader.run(after))
    try:
        yield reader
        assert not task.done(), task.exception()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
def no_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that only a notification, or a wake, can be what brought the news."""
    monkeypatch.setattr(follow, "POLL_SECONDS", NEVER)


async def test_every_event_comes_once_and_in_order_with_many_writers(database: Database, admin: Connection) -> None:
    async def work(writer: Writer) -> None:
        stream = a_stream()
        for version in range(1, 41):
            await writer.append([draft(stream, version)])

    async with AsyncExitStack() as stack:
        readers = [await stack.enter_async_context(following(database.url)) for _ in range(2)]
        writers = [await stack.enter_async_context(writing(database.url)) for _ in range(3)]
        await asyncio.gather(*(work(writers[n % 3]) for n in range(12)))
        for reader in readers:
            await reader.has(480)
    log = await stored(admin)
    assert [row.id for row in log] == list(range(1, 481))
    assert [reader.read for reader in readers] == [log, log]


async def test_one_who_comes_later_reads_on_from_where_they_stand(database: Database, writer: Writer) -> None:
    await writer.append(drafts(a_stream(), 5))
    async with following(database.url, after=3) as reader:
        await reader.has(2)
        await writer.append(drafts(a_stream(), 2))
        await reader.has(4)
    assert [row.id for row in reader.read] == [4, 5, 6, 7]


async def test_a_log_longer_than_a_page_is_read_page_by_page(
    database: Database, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "PAGE_ROWS", 10)
    await writer.append(drafts(a_stream(), 35))
    sizes: list[int] = []
    async for batch in Follower(database.url).batches(0):
        sizes.append(len(batch))
        if sum(sizes) == 35:
            break
    assert sizes == [10, 10, 10, 5]


@pytest.mark.usefixtures("no_poll")
async def test_a_commit_of_another_process_is_news(database: Database, writer: Writer) -> None:
    async with following(database.url) as reader:
        await until(lambda: reader.quiet)
        await writer.append([draft(a_stream(), 1)])
        await reader.has(1)


@pytest.mark.usefixtures("no_poll")
async def test_waking_saves_the_way_through_the_notification(database: Database, admin: Connection) -> None:
    async with following(database.url) as reader:
        await until(lambda: reader.quiet)
        await insert(admin, 1, draft(a_stream(), 1))  # and nobody is notified
        reader.follower.wake()
        await reader.has(1)


async def test_a_lost_notification_is_made_good_by_the_poll(database: Database, admin: Connection) -> None:
    async with following(database.url) as reader:
        await until(lambda: reader.quiet)
        for position in (1, 2):
            await insert(admin, position, draft(a_stream(), 1))
            await reader.has(position)


async def test_a_follower_whose_backend_is_killed_finds_another(
    database: Database, writer: Writer, admin: Connection
) -> None:
    stream = a_stream()
    async with following(database.url) as reader:
        for version in range(1, 6):
            await until(lambda: reader.follower.connected)
            assert await terminate(admin, FOLLOWING) == 1
            await writer.append([draft(stream, version)])
            await reader.has(version)
    assert [row.originator_version for row in reader.read] == [1, 2, 3, 4, 5]


async def test_nothing_is_missed_while_backends_are_killed_under_load(database: Database, admin: Connection) -> None:
    written = 0

    async def work(writer: Writer) -> None:
        nonlocal written
        stream = a_stream()
        for version in range(1, 81):
            await writer.append([draft(stream, version)])
            written += 1

    async with following(database.url) as reader, writing(database.url) as one, writing(database.url) as other:
        workers = [asyncio.create_task(work(each)) for each in (one, other) * 4]
        kills = 0
        for goal in range(80, 641, 80):
            await until(lambda goal=goal: written >= goal)  # type: ignore[misc]
            kills += await terminate(admin, FOLLOWING)
        await asyncio.gather(*workers)
        await reader.has(640)
    assert kills > 0
    assert reader.read == await stored(admin)


async def test_a_follower_says_whether_it_is_connected(postgres: str, database: Database, admin: Connection) -> None:
    name = await admin.fetchval("SELECT current_database()")
    elsewhere = await asyncpg.connect(postgres)
    try:
        async with following(database.url) as reader:
            assert not reader.follower.connected
            await until(lambda: reader.follower.connected)
            await elsewhere.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
            await terminate(admin, FOLLOWING)
            await until(lambda: not reader.follower.connected)
            await elsewhere.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
            await until(lambda: reader.follower.connected)
    finally:
        await elsewhere.close()


async def test_a_follower_ends_though_news_comes_with_the_cancellation(database: Database) -> None:
    """As when a server is told to stop just after a commit."""
    reader = Reader(Follower(database.url))
    task = asyncio.create_task(reader.run(0))
    await until(lambda: reader.quiet)
    reader.follower.wake()
    task.cancel()
    _, still_running = await asyncio.wait([task], timeout=5)
    assert not still_running


@pytest.mark.parametrize("positions", [(2,), (1, 3), (1, 2, 4, 5)], ids=["first", "second", "in a page"])
async def test_a_hole_in_the_log_is_never_passed_over(
    database: Database, admin: Connection, positions: tuple[int, ...]
) -> None:
    for position in positions:
        await insert(admin, position, draft(a_stream(), 1))
    with pytest.raises(HoleInLog, match=f"after position 0 come {positions[0]}..{positions[-1]}"):
        async for _ in Follower(database.url).batches(0):
            pass


async def test_a_hole_that_comes_later_is_found_too(database: Database, writer: Writer, admin: Connection) -> None:
    await writer.append([draft(a_stream(), 1)])
    reader = Reader(Follower(database.url))
    task = asyncio.create_task(reader.run(0))
    await reader.has(1)
    await insert(admin, 3, draft(a_stream(), 1))
    with pytest.raises(HoleInLog, match=r"after position 1 come 3\.\.3"):
        await asyncio.wait_for(task, WAIT_SECONDS)
    assert [row.id for row in reader.read] == [1]


@pytest.mark.parametrize("connection", ["lost", "kept"])
@pytest.mark.parametrize(
    "restored",
    ["UPDATE daysheet.event SET meta = '{}' WHERE position = 2", "DELETE FROM daysheet.event WHERE position = 2"],
    ids=["another event in its place", "a shorter log"],
)
async def test_a_log_that_was_replaced_under_a_follower_is_not_followed_on(
    database: Database, writer: Writer, admin: Connection, restored: str, connection: str
) -> None:
    """As when a server that lags behind takes over, a backup is brought back, or somebody cuts the log while we run."""
    await writer.append(drafts(a_stream(), 2))
    reader = Reader(Follower(database.url))
    task = asyncio.create_task(reader.run(0))
    await reader.has(2)
    await admin.execute("ALTER TABLE daysheet.event DISABLE TRIGGER never_changed")
    await admin.execute(restored)
    if connection == "lost":
        await terminate(admin, FOLLOWING)
    with pytest.raises(LogReplaced, match="position 2"):
        await asyncio.wait_for(task, WAIT_SECONDS)
