"""Many write, one log: what is acknowledged is stored once, in one order, without gaps."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Sequence
from contextlib import AsyncExitStack
from itertools import pairwise
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest

from domain.log import append
from domain.log.append import (
    _APPEND,
    Claimed,
    Conflict,
    KeyUsed,
    OutcomeUnknown,
    StoreUnavailable,
    VaultChange,
    Writer,
    _arguments,
    _Command,
)
from domain.postgres.connect import Connection, connect
from tests.conftest import Database
from tests.log.writing import (
    a_stream,
    appending,
    draft,
    drafts,
    held,
    insert,
    positions,
    request,
    stored,
    terminate,
    until,
    writing,
)


def _claim(name: bytes) -> VaultChange:
    return VaultChange("claim", uuid4(), name)


# --- one command ---------------------------------------------------------------------------------


async def test_a_command_is_appended_as_it_was_drafted(writer: Writer, admin: Connection) -> None:
    before = await admin.fetchval("SELECT clock_timestamp()")
    command = [*drafts(a_stream(), 2), draft(a_stream(), 1, b'{"ticket":"\xc3\xa9"}')]
    assert await writer.append(command) == 3
    log = await stored(admin)
    assert [
        (row.originator_id, row.originator_version, row.topic, row.state, row.day, row.subject, row.meta) for row in log
    ] == [
        (one.originator_id, one.originator_version, one.topic, one.state, one.day, one.subject, one.meta)
        for one in command
    ]
    assert positions(log) == [1, 2, 3]
    assert before <= log[0].recorded_at <= await admin.fetchval("SELECT clock_timestamp()")


async def test_a_stream_goes_on_where_it_ended(writer: Writer, admin: Connection) -> None:
    stream = a_stream()
    await writer.append(drafts(stream, 2))
    assert await writer.append(drafts(stream, 1, after=2)) == 3
    assert [row.originator_version for row in await stored(admin)] == [1, 2, 3]


@pytest.mark.parametrize("version", [1, 2, 4], ids=["the first again", "the last again", "one too far"])
async def test_a_command_decided_on_another_past_is_a_conflict(writer: Writer, admin: Connection, version: int) -> None:
    stream = a_stream()
    await writer.append(drafts(stream, 2))
    with pytest.raises(Conflict):
        await writer.append([draft(stream, version)])
    assert len(await stored(admin)) == 2


async def test_a_command_over_several_streams_is_appended_whole_or_not_at_all(
    writer: Writer, admin: Connection
) -> None:
    taken = a_stream()
    await writer.append([draft(taken, 1)])
    with pytest.raises(Conflict):
        await writer.append(
            [draft(a_stream(), 1), draft(taken, 1), draft(a_stream(), 1)], [_claim(b"code")], request(b"key")
        )
    assert len(await stored(admin)) == 1
    assert await admin.fetchval("SELECT count(*) FROM daysheet.claim") == 0
    assert await admin.fetchval("SELECT count(*) FROM daysheet.request") == 0


async def test_a_key_used_before_appends_nothing(writer: Writer, admin: Connection) -> None:
    await writer.append([draft(a_stream(), 1)], request=request(b"key", b"first"))
    with pytest.raises(KeyUsed):
        await writer.append([draft(a_stream(), 1)], request=request(b"key", b"second"))
    assert len(await stored(admin)) == 1
    assert await admin.fetchval("SELECT outcome FROM daysheet.request") == b"first"


async def test_a_key_of_a_command_that_appended_nothing_is_remembered(writer: Writer, admin: Connection) -> None:
    assert await writer.append([], request=request()) is None
    assert await admin.fetchval("SELECT position FROM daysheet.request") == 0
    with pytest.raises(KeyUsed):
        await writer.append([], request=request())


async def test_a_key_is_remembered_with_the_position_of_the_last_event(writer: Writer, admin: Connection) -> None:
    await writer.append(drafts(a_stream(), 3), request=request())
    assert await admin.fetchval("SELECT position FROM daysheet.request") == 3


async def test_what_another_claimed_is_refused_and_nothing_appended(writer: Writer, admin: Connection) -> None:
    await writer.append([draft(a_stream(), 1)], [_claim(b"DOC001")])
    with pytest.raises(Claimed):
        await writer.append([draft(a_stream(), 1)], [_claim(b"DOC001")])
    assert len(await stored(admin)) == 1


async def test_what_a_holder_claims_again_is_still_theirs(writer: Writer, admin: Connection) -> None:
    mine = _claim(b"DOC001")
    await writer.append([draft(a_stream(), 1)], [mine])
    await writer.append([draft(a_stream(), 1)], [mine])
    assert await admin.fetchval("SELECT holder FROM daysheet.claim") == mine.subject


async def test_what_was_forgotten_may_be_claimed_again(writer: Writer, admin: Connection) -> None:
    first, second = _claim(b"mrn"), _claim(b"mrn")
    await writer.append([draft(a_stream(), 1)], [first])
    await writer.append([draft(a_stream(), 1)], [VaultChange("forget", first.subject)])
    await writer.append([draft(a_stream(), 1)], [second])
    assert await admin.fetchval("SELECT holder FROM daysheet.claim") == second.subject


async def test_a_conflicting_command_does_not_forget_anybody(writer: Writer, admin: Connection) -> None:
    patient, stream = uuid4(), a_stream()
    await writer.append([draft(stream, 1)], [VaultChange("key", patient, b"wrapped")])
    with pytest.raises(Conflict):
        await writer.append([draft(stream, 1)], [VaultChange("forget", patient)])
    assert await admin.fetchval("SELECT wrapped FROM daysheet.patient_key") == b"wrapped"


async def test_the_very_same_command_sent_again_is_recognised(database: Database, admin: Connection) -> None:
    """As after a connection that died between the commit and the answer."""
    future = asyncio.get_running_loop().create_future()
    events = [*drafts(a_stream(), 2), draft(a_stream(), 1)]
    command = _Command(events, [_claim(b"code")], request(), {a_stream(): 0}, future)
    connection = await connect(database.url)
    try:
        first = await connection.fetchrow(_APPEND, *_arguments([command]))
        again = await connection.fetchrow(_APPEND, *_arguments([command]))
    finally:
        await connection.close()
    assert tuple(first or ()) == (1, "appended", 3)
    assert tuple(again or ()) == (1, "repeated", 3)
    assert len(await stored(admin)) == 3


async def test_a_command_without_events_sent_again_finds_its_key_used(database: Database) -> None:
    command = _Command([], [], request(), {}, asyncio.get_running_loop().create_future())
    connection = await connect(database.url)
    try:
        rows = [await connection.fetchrow(_APPEND, *_arguments([command])) for _ in range(2)]
    finally:
        await connection.close()
    assert [tuple(row or ()) for row in rows] == [(1, "appended", None), (1, "replayed", None)]


@pytest.mark.parametrize("version", [0, 1, 3])
async def test_a_command_rests_on_what_has_not_moved_on(writer: Writer, admin: Connection, version: int) -> None:
    rest = a_stream()
    await writer.append(drafts(rest, 2))
    with pytest.raises(Conflict):
        await writer.append([draft(a_stream(), 1)], [_claim(b"code")], request(), {rest: version})
    assert len(await stored(admin)) == 2
    assert await admin.fetchval("SELECT count(*) FROM daysheet.claim") == 0
    assert await admin.fetchval("SELECT count(*) FROM daysheet.request") == 0
    assert await writer.append([draft(a_stream(), 1)], [_claim(b"code")], request(), {rest: 2}) == 3


async def test_what_does_not_exist_yet_can_be_rested_on_too(writer: Writer) -> None:
    nobody = a_stream()
    assert await writer.append([draft(a_stream(), 1)], rests_on={nobody: 0}) == 1
    await writer.append([draft(nobody, 1)])
    with pytest.raises(Conflict):
        await writer.append([draft(a_stream(), 1)], rests_on={nobody: 0})


async def test_of_all_that_a_command_rests_on_nothing_may_have_moved(writer: Writer) -> None:
    one, other = a_stream(), a_stream()
    await writer.append([draft(one, 1), draft(other, 1)])
    with pytest.raises(Conflict):
        await writer.append([draft(a_stream(), 1)], rests_on={one: 1, other: 2})
    assert await writer.append([draft(a_stream(), 1)], rests_on={one: 1, other: 1}) == 3


async def test_what_has_been_appended_already_is_recognised_though_what_it_rested_on_moved_on(
    database: Database, writer: Writer
) -> None:
    rest, future = a_stream(), asyncio.get_running_loop().create_future()
    command = _Command([draft(a_stream(), 1)], [], None, {rest: 0}, future)
    connection = await connect(database.url)
    try:
        first = await connection.fetchrow(_APPEND, *_arguments([command]))
        await writer.append([draft(rest, 1)])
        again = await connection.fetchrow(_APPEND, *_arguments([command]))
    finally:
        await connection.close()
    assert [tuple(row or ()) for row in (first, again)] == [(1, "appended", 1), (1, "repeated", 1)]


async def test_recorded_times_never_run_backwards(writer: Writer, admin: Connection) -> None:
    """As when the server's clock is set back, or another server takes over whose clock is behind."""
    await insert(admin, 1, draft(a_stream(), 1), recorded_at="2099-01-01T00:00:00Z")
    await writer.append(drafts(a_stream(), 2))
    first, *later = [row.recorded_at for row in await stored(admin)]
    assert later == [first, first]


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
async def test_a_database_with_another_isolation_level_appends_all_the_same(
    database: Database, admin: Connection, level: str
) -> None:
    name = await admin.fetchval("SELECT current_database()")
    await admin.execute(f"ALTER DATABASE {name} SET default_transaction_isolation = '{level}'")
    async with AsyncExitStack() as stack:
        writers = [await stack.enter_async_context(writing(database.url)) for _ in range(3)]
        async with held(admin) as log:
            tasks = [asyncio.create_task(each.append([draft(a_stream(), 1)])) for each in writers]
            await log.is_waited_for(3)
        assert sorted(await asyncio.gather(*tasks)) == [1, 2, 3]  # type: ignore[type-var]


# --- one batch -----------------------------------------------------------------------------------


async def _in_one_batch(
    writer: Writer, admin: Connection, *commands: tuple[object, ...]
) -> list[int | BaseException | None]:
    """The outcomes of commands that wait together while another one is on its way."""
    async with held(admin) as log:
        first = asyncio.create_task(writer.append([draft(a_stream(), 1)]))
        await log.is_waited_for()
        tasks = [asyncio.create_task(writer.append(*command)) for command in commands]  # type: ignore[arg-type]
        await until(lambda: len(writer._queue) == len(commands))
    await first
    return await asyncio.gather(*tasks, return_exceptions=True)


def _kinds(outcomes: Sequence[int | BaseException | None]) -> list[object]:
    return [type(each) if isinstance(each, BaseException) else each for each in outcomes]


async def test_each_command_of_a_batch_has_its_own_outcome(writer: Writer, admin: Connection) -> None:
    moved = a_stream()
    await writer.append([draft(moved, 1)], [_claim(b"taken")], request(b"used"))
    outcomes = await _in_one_batch(
        writer,
        admin,
        ([draft(a_stream(), 1)],),
        ([draft(moved, 1)],),
        (drafts(a_stream(), 2),),
        ([draft(a_stream(), 1)], (), request(b"used")),
        ([draft(a_stream(), 1)], [_claim(b"taken")]),
        ([], (), request(b"fresh")),
        ([draft(moved, 2)], [_claim(b"free")], request(b"other")),
    )
    assert _kinds(outcomes) == [3, Conflict, 5, KeyUsed, Claimed, None, 6]
    log = await stored(admin)
    assert positions(log) == [1, 2, 3, 4, 5, 6]
    assert len({row.recorded_at for row in log[2:5]}) == 1  # they were one batch


async def test_a_command_that_the_database_cannot_take_spares_the_others(writer: Writer, admin: Connection) -> None:
    outcomes = await _in_one_batch(
        writer, admin, ([draft(a_stream(), 1)],), ([draft(a_stream() + "\0", 1)],), ([draft(a_stream(), 1)],)
    )
    assert outcomes[0] == 2
    assert isinstance(outcomes[1], asyncpg.PostgresError)
    assert outcomes[2] == 3
    assert positions(await stored(admin)) == [1, 2, 3]


async def test_commands_that_share_a_stream_go_one_after_the_other(writer: Writer, admin: Connection) -> None:
    stream = a_stream()
    outcomes = await _in_one_batch(
        writer,
        admin,
        ([draft(stream, 1)],),
        ([draft(stream, 2)],),
        ([draft(a_stream(), 1)],),
        ([draft(stream, 2)],),
    )
    assert _kinds(outcomes) == [2, 4, 3, Conflict]


async def test_a_command_that_rests_on_what_another_changes_waits_for_it(writer: Writer, admin: Connection) -> None:
    rest = a_stream()
    outcomes = await _in_one_batch(
        writer,
        admin,
        ([draft(rest, 1)],),
        ([draft(a_stream(), 1)], (), None, {rest: 0}),
        ([draft(a_stream(), 1)], (), None, {rest: 1}),
        ([draft(a_stream(), 1)], (), None, {rest: 1}),
        ([draft(rest, 2)],),
        ([draft(a_stream(), 1)], (), None, {rest: 2}),
    )
    assert [type(each) for each in outcomes] == [int, Conflict, int, int, int, int]


async def test_commands_that_share_a_key_go_one_after_the_other(writer: Writer, admin: Connection) -> None:
    outcomes = await _in_one_batch(
        writer, admin, ([draft(a_stream(), 1)], (), request()), ([draft(a_stream(), 1)], (), request())
    )
    assert _kinds(outcomes) == [2, KeyUsed]


async def test_commands_that_share_a_claim_go_one_after_the_other(writer: Writer, admin: Connection) -> None:
    outcomes = await _in_one_batch(
        writer, admin, ([draft(a_stream(), 1)], [_claim(b"code")]), ([draft(a_stream(), 1)], [_claim(b"code")])
    )
    assert _kinds(outcomes) == [2, Claimed]


async def test_an_asker_who_has_gone_keeps_nobody_else_waiting(writer: Writer, admin: Connection) -> None:
    async with held(admin) as log:
        first = asyncio.create_task(writer.append([draft(a_stream(), 1)]))
        await log.is_waited_for()
        gone = asyncio.create_task(writer.append([draft(a_stream(), 1)]))
        stays = asyncio.create_task(writer.append([draft(a_stream(), 1)]))
        await until(lambda: len(writer._queue) == 2)
        first.cancel()
        gone.cancel()
    assert await stays == 3
    assert len(await stored(admin)) == 3


# --- many writers --------------------------------------------------------------------------------


async def test_positions_and_versions_have_no_gaps_under_many_writers(database: Database, admin: Connection) -> None:
    contested = [a_stream() for _ in range(3)]
    acknowledged: dict[bytes, int] = {}
    conflicts = 0

    async def work(writer: Writer, chance: random.Random) -> None:
        nonlocal conflicts
        own, version = a_stream(), 0
        for _ in range(20):
            count = chance.randint(1, 3)
            command = drafts(own, count, after=version)
            if chance.random() < 0.5:
                stream = chance.choice(contested)
                known = await admin_version(stream)
                command.append(draft(stream, known + 1))
            try:
                position = await writer.append(command)
            except Conflict:
                conflicts += 1
                continue
            assert position is not None
            version += count
            for offset, one in enumerate(reversed(command)):
                acknowledged[one.meta] = position - offset

    one_at_a_time = asyncio.Lock()

    async def admin_version(stream: str) -> int:
        async with one_at_a_time:
            return int(
                await admin.fetchval("SELECT coalesce(max(version), 0) FROM daysheet.event WHERE stream = $1", stream)
            )

    async with AsyncExitStack() as stack:
        writers = [await stack.enter_async_context(writing(database.url)) for _ in range(4)]
        await asyncio.gather(*(work(writers[n % 4], random.Random(n)) for n in range(24)))

    log = await stored(admin)
    assert positions(log) == list(range(1, len(log) + 1))
    assert {row.meta: row.id for row in log} == acknowledged
    assert conflicts > 0  # else this proved little
    assert all(one.recorded_at <= other.recorded_at for one, other in pairwise(log))
    versions = defaultdict(list)
    for row in log:
        versions[row.originator_id].append(row.originator_version)
    assert all(found == list(range(1, len(found) + 1)) for found in versions.values())


async def test_of_many_writers_who_claim_the_same_one_gets_it(database: Database, admin: Connection) -> None:
    async with AsyncExitStack() as stack:
        writers = [await stack.enter_async_context(writing(database.url)) for _ in range(4)]
        outcomes = await asyncio.gather(
            *(writers[n % 4].append([draft(a_stream(), 1)], [_claim(b"DOC001")]) for n in range(12)),
            return_exceptions=True,
        )
    assert sorted(map(str, _kinds(outcomes))) == ["1", *[str(Claimed)] * 11]
    assert len(await stored(admin)) == 1


async def test_of_many_writers_with_one_key_one_appends(database: Database, admin: Connection) -> None:
    async with AsyncExitStack() as stack:
        writers = [await stack.enter_async_context(writing(database.url)) for _ in range(4)]
        outcomes = await asyncio.gather(
            *(writers[n % 4].append([draft(a_stream(), 1)], request=request()) for n in range(12)),
            return_exceptions=True,
        )
    assert sorted(map(str, _kinds(outcomes))) == ["1", *[str(KeyUsed)] * 11]
    assert len(await stored(admin)) == 1


# --- trouble -------------------------------------------------------------------------------------


async def test_every_acknowledged_append_is_stored_once_though_backends_are_killed(
    database: Database, admin: Connection
) -> None:
    acknowledged: dict[bytes, int] = {}
    unknown: set[bytes] = set()
    working = True
    kills = 0

    async def work(writer: Writer) -> None:
        stream, version = a_stream(), 0
        while working:
            command = drafts(stream, 2, after=version)
            try:
                position = await writer.append(command)
            except OutcomeUnknown:
                unknown.update(one.meta for one in command)
                return
            assert position is not None
            acknowledged[command[0].meta], acknowledged[command[1].meta] = position - 1, position
            version += 2

    async with AsyncExitStack() as stack:
        writers = [await stack.enter_async_context(writing(database.url)) for _ in range(2)]
        workers = [asyncio.create_task(work(writers[n % 2])) for n in range(12)]
        while kills < 8:
            enough = len(acknowledged) + 20
            await until(lambda enough=enough: len(acknowledged) > enough)  # type: ignore[misc]
            kills += await terminate(admin, "daysheet.append")
        working = False
        await asyncio.gather(*workers)

    log = await stored(admin)
    assert positions(log) == list(range(1, len(log) + 1))
    assert {row.meta: row.id for row in log if row.meta not in unknown} == acknowledged


async def test_a_batch_killed_on_its_way_is_sent_again(writer: Writer, admin: Connection) -> None:
    async with held(admin) as log:
        task = asyncio.create_task(writer.append([draft(a_stream(), 1)]))
        await log.is_waited_for()
        (killed,) = await appending(admin)
        await terminate(admin, "daysheet.append")
        await until(lambda: _another_waits(admin, killed))
    assert await task == 1
    assert len(await stored(admin)) == 1


async def _another_waits(admin: Connection, than: int) -> bool:
    return any(pid != than for pid in await appending(admin))


async def test_a_store_that_cannot_be_reached_is_unavailable_for_all_who_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(append, "RETRY_SECONDS", 0.3)
    async with writing(f"postgresql://daysheet_app@/daysheet?host={tmp_path}") as writer:
        outcomes = await asyncio.gather(
            *(writer.append([draft(a_stream(), 1)]) for _ in range(append.BATCH_COMMANDS + 1)), return_exceptions=True
        )
    assert set(_kinds(outcomes)) == {StoreUnavailable}


async def test_a_store_that_falls_silent_half_way_leaves_the_outcome_unknown(
    database: Database, admin: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(append, "RETRY_SECONDS", 0.5)
    async with writing(database.url) as writer, held(admin) as log:
        sent = asyncio.create_task(writer.append([draft(a_stream(), 1)]))
        await log.is_waited_for()
        behind = asyncio.create_task(writer.append([draft(a_stream(), 1)]))
        async with asyncio.timeout(20):
            while not sent.done():
                await terminate(admin, "daysheet.append")
                await asyncio.sleep(0.01)
        outcomes = await asyncio.gather(sent, behind, return_exceptions=True)
        assert _kinds(outcomes) == [OutcomeUnknown, StoreUnavailable]


async def test_after_an_outage_the_writer_goes_on(
    postgres: str, database: Database, admin: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(append, "RETRY_SECONDS", 0.3)
    name = await admin.fetchval("SELECT current_database()")
    elsewhere = await asyncpg.connect(postgres)
    try:
        async with writing(database.url) as writer:
            await writer.append([draft(a_stream(), 1)])
            await elsewhere.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
            await terminate(admin, "daysheet.append")
            line = writer._line
            await until(lambda: line._connection is None or line._connection.is_closed())
            with pytest.raises(StoreUnavailable):
                await writer.append([draft(a_stream(), 1)])
            await elsewhere.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
            position = await writer.append([draft(a_stream(), 1)])
    finally:
        await elsewhere.close()
    assert position == 2


async def test_more_than_the_queue_holds_is_turned_away_at_once(
    writer: Writer, admin: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(append, "QUEUED_COMMANDS", 2)
    async with held(admin) as log:
        first = asyncio.create_task(writer.append([draft(a_stream(), 1)]))
        await log.is_waited_for()
        queued = [asyncio.create_task(writer.append([draft(a_stream(), 1)])) for _ in range(2)]
        await until(lambda: len(writer._queue) == 2)
        with pytest.raises(StoreUnavailable):
            await writer.append([draft(a_stream(), 1)])
    assert sorted([await first, *await asyncio.gather(*queued)]) == [1, 2, 3]  # type: ignore[type-var]


async def test_closing_commits_what_was_accepted_and_takes_no_more(database: Database, admin: Connection) -> None:
    async with writing(database.url) as writer, held(admin) as log:
        first = asyncio.create_task(writer.append([draft(a_stream(), 1)]))
        await log.is_waited_for()
        queued = [asyncio.create_task(writer.append([draft(a_stream(), 1)])) for _ in range(3)]
        await until(lambda: len(writer._queue) == 3)
        writer.close()
        with pytest.raises(StoreUnavailable):
            await writer.append([draft(a_stream(), 1)])
    assert sorted([await first, *await asyncio.gather(*queued)]) == [1, 2, 3, 4]  # type: ignore[type-var]
    assert len(await stored(admin)) == 4


async def test_a_writer_that_is_cut_off_leaves_nobody_waiting(database: Database, admin: Connection) -> None:
    writer = Writer(database.url, lambda: None)
    running = asyncio.create_task(writer.run())
    async with held(admin) as log:
        sent = asyncio.create_task(writer.append([draft(a_stream(), 1)]))
        await log.is_waited_for()
        behind = asyncio.create_task(writer.append([draft(a_stream(), 1)]))
        await until(lambda: len(writer._queue) == 1)
        running.cancel()
        outcomes = await asyncio.wait_for(asyncio.gather(sent, behind, return_exceptions=True), 5)
        assert _kinds(outcomes) == [OutcomeUnknown, StoreUnavailable]
        with pytest.raises(StoreUnavailable):
            await asyncio.wait_for(writer.append([draft(a_stream(), 1)]), 5)


async def test_a_commit_is_told_before_its_asker_knows(database: Database) -> None:
    told: list[str] = []
    async with writing(database.url, lambda: told.append("commit")) as writer:
        await writer.append([draft(a_stream(), 1)])
        told.append("answer")
    assert told == ["commit", "answer"]
