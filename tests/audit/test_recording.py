"""The log of looks: in order, without gaps, and where it could not be written, the gap is told."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from uuid import uuid4

import asyncpg
import pytest
from structlog.testing import capture_logs

from domain.audit import recorder as recording_module
from domain.audit.codec import to_draft
from domain.audit.looks import PatientViewed, SubscriptionEnded, SubscriptionStarted
from domain.audit.recorder import OURSELVES, Recorder
from domain.audit.writer import CLOSE_SECONDS
from domain.postgres.connect import Connection
from domain.rules.ids import DoctorId
from tests.audit.recording import CLERK, DAY, a_look, gaps, recording, refusing, stored, there_are
from tests.conftest import Database

STARTED = SubscriptionStarted(date=DAY, sequence=3, department="Heart")
ENDED = SubscriptionEnded(date=DAY, sequence=9)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever looks something up waits for the record for a moment only."""
    monkeypatch.setattr(recording_module, "RECORDED_WITHIN_SECONDS", 0.05)


async def test_a_look_is_on_disk_when_it_has_been_looked(recorder: Recorder, admin: Connection) -> None:
    before = datetime.now(UTC)
    look = a_look()
    await recorder.looked(CLERK, look)
    (row,) = await stored(admin)
    assert (row.position, row.version, row.look) == (1, 1, look)
    assert row.stream.startswith("reader/")
    meta = row.meta
    assert (meta.actor, meta.role, meta.address, meta.correlation_id) == ("desk-1", "reception", "10.0.0.7", "7f3a")
    assert before <= meta.at <= datetime.now(UTC)
    assert before - timedelta(seconds=1) < row.recorded_at


async def test_columns_hold_the_patient_and_the_date(recorder: Recorder, admin: Connection) -> None:
    look = a_look()
    assert isinstance(look, PatientViewed)
    await recorder.looked(CLERK, look)
    recorder.began(CLERK, STARTED)
    await there_are(admin, 2)
    rows = await admin.fetch("SELECT subject, day, type FROM daysheet.access ORDER BY position")
    assert [tuple(row) for row in rows] == [
        (look.patient_id, None, "patient-viewed@1"),
        (None, DAY, "subscription-started@1"),
    ]


async def test_a_subscription_has_a_stream_of_its_own_and_never_waits(recorder: Recorder, admin: Connection) -> None:
    one, other = recorder.began(CLERK, STARTED), recorder.began(CLERK, STARTED)
    other.ended(ENDED)
    one.ended(ENDED)
    assert recorder.waiting == 4  # nothing was awaited, so nothing can have been written
    await there_are(admin, 4)
    by_stream = defaultdict(list)
    for row in await stored(admin):
        by_stream[row.stream].append((row.version, row.look))
    assert list(by_stream.values()) == [[(1, STARTED), (2, ENDED)]] * 2
    assert all(stream.startswith("subscription/") for stream in by_stream)


async def test_whoever_waits_to_hear_of_records_hears(recorder: Recorder, admin: Connection) -> None:
    heard = asyncio.Event()
    await admin.add_listener("daysheet_access", lambda *_: heard.set())
    await recorder.looked(CLERK, a_look())
    async with asyncio.timeout(10):
        await heard.wait()


async def test_two_processes_number_one_log_without_gaps_and_each_its_own_stream(
    recorder: Recorder, database: Database, admin: Connection
) -> None:
    async with recording(database.url) as there:
        await asyncio.gather(*((recorder, there)[n % 2].looked(CLERK, a_look()) for n in range(200)))
    rows = await stored(admin)
    assert [row.position for row in rows] == list(range(1, 201))
    assert all(one.recorded_at <= other.recorded_at for one, other in pairwise(rows))
    versions = defaultdict(list)
    for row in rows:
        versions[row.stream].append(row.version)
    assert list(versions.values()) == [list(range(1, 101))] * 2


async def test_a_batch_that_is_sent_again_adds_only_what_is_missing(recorder: Recorder, admin: Connection) -> None:
    at = datetime.now(UTC)
    drafts = [to_draft(a_look(), CLERK, at, stream="reader/x", version=version) for version in (1, 2, 3)]

    async def send(*which: int) -> None:
        columns = zip(*[[getattr(drafts[n], name) for name in drafts[n].__slots__] for n in which], strict=True)
        await admin.execute("SELECT daysheet.record_access($1, $2, $3, $4, $5, $6, $7)", *map(list, columns))

    await send(0, 1)
    await send(0, 1, 2)
    assert [(row.position, row.version) for row in await stored(admin)] == [(1, 1), (2, 2), (3, 3)]


async def test_a_clock_set_back_does_not_reorder_the_record(recorder: Recorder, admin: Connection) -> None:
    await admin.execute(
        "INSERT INTO daysheet.access VALUES (1, 'reader/x', 1, 'history-viewed@1', NULL, gen_random_uuid(), '{}', "
        """'{"at":"2025-11-17T03:45:00Z","actor":"a","role":"r"}', '2099-01-01T00:00:00Z')"""
    )
    await recorder.looked(CLERK, a_look())
    first, second = await stored(admin)
    assert first.recorded_at == second.recorded_at


async def test_while_nothing_can_be_recorded_nobody_is_kept_and_what_was_looked_at_comes_late(
    recorder: Recorder, admin: Connection, impatient: None
) -> None:
    await recorder.looked(CLERK, a_look())
    async with refusing(admin):
        begun = datetime.now(UTC)
        await asyncio.gather(*(recorder.looked(CLERK, a_look()) for _ in range(5)))
        recorder.began(CLERK, STARTED).ended(ENDED)
        assert await admin.fetchval("SELECT count(*) FROM daysheet.access") == 1
        over = datetime.now(UTC)
    await there_are(admin, 9)
    rows = await stored(admin)
    assert all(begun <= row.meta.at <= over <= row.recorded_at for row in rows[1:8])
    assert [row.version for row in rows if row.stream == rows[0].stream] == [1, 2, 3, 4, 5, 6, 7]
    (gap,) = await gaps(admin)
    assert (gap.lost, gap.late) == (0, 7)
    assert begun <= gap.since <= over <= gap.until
    assert (rows[8].meta.actor, rows[8].meta.role) == (OURSELVES.actor, OURSELVES.role)
    await recorder.looked(CLERK, a_look())
    assert len(await gaps(admin)) == 1  # told once


async def test_what_there_was_no_room_for_is_counted_and_leaves_its_number_empty(
    database: Database, admin: Connection, impatient: None
) -> None:
    async with recording(database.url, queued_bytes=3_000) as recorder:
        async with refusing(admin):
            for _ in range(20):
                await recorder.looked(CLERK, a_look())
            kept = recorder.waiting
            assert 0 < kept < 20
            assert recorder.lost == 20 - kept
        await there_are(admin, kept + 1)
        (gap,) = await gaps(admin)
        assert (gap.lost, gap.late) == (20 - kept, kept)
        rows = await stored(admin)
        assert [row.version for row in rows] == [*range(1, kept + 1), 21]
        await recorder.looked(CLERK, a_look())  # and there is room again


async def test_connections_that_die_lose_nothing_and_record_nothing_twice(
    recorder: Recorder, admin: Connection
) -> None:
    killed = asyncio.Event()

    async def look_on() -> int:
        looked = 0
        while not killed.is_set():
            await recorder.looked(CLERK, a_look())
            looked += 1
        return looked

    async def kill(sessions: int) -> int:
        while sessions > 0:
            await asyncio.sleep(0.01)
            sessions -= await admin.fetchval(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() "
                "AND application_name = 'daysheet'"
            )
        killed.set()
        return 0

    looked = sum(await asyncio.gather(*(look_on() for _ in range(4)), kill(6)))
    await there_are(admin, looked)
    rows = await stored(admin)
    assert [row.position for row in rows] == list(range(1, len(rows) + 1))
    assert [row.version for row in rows] == list(range(1, len(rows) + 1))
    assert sum(isinstance(row.look, PatientViewed) for row in rows) == looked
    assert sum(gap.lost for gap in await gaps(admin)) == 0


async def test_three_thousand_monitors_that_come_and_go_during_an_outage_all_find_room(
    recorder: Recorder, admin: Connection, impatient: None
) -> None:
    a_whole_filter = SubscriptionStarted(date=DAY, sequence=3, doctors=tuple(DoctorId(uuid4()) for _ in range(20)))
    async with refusing(admin):
        watches = [recorder.began(CLERK, a_whole_filter) for _ in range(3_000)]
        for watch in watches:
            watch.ended(ENDED)
        await recorder.looked(CLERK, a_look())  # in vain, by now
    await there_are(admin, 6_002)
    (gap,) = await gaps(admin)
    assert (gap.lost, gap.late) == (0, 6_001)


async def test_what_waits_is_recorded_before_a_server_is_gone(database: Database, admin: Connection) -> None:
    async with recording(database.url) as recorder:
        for _ in range(1_200):
            recorder.began(CLERK, STARTED)
        recorder.denied(CLERK)
    rows = await stored(admin)
    assert len(rows) == 1_201
    assert rows[-1].look.TOPIC == "access-denied"


async def test_a_server_that_cannot_record_goes_all_the_same_and_says_what_is_lost(
    database: Database, admin: Connection
) -> None:
    with capture_logs() as logged:
        async with refusing(admin), asyncio.timeout(CLOSE_SECONDS + 5), recording(database.url) as recorder:
            for _ in range(3):
                recorder.began(CLERK, STARTED)
        assert recorder.lost == 3
    assert {"event": "looks_not_recorded", "records": 3, "log_level": "warning"} in logged
    assert await stored(admin) == []


async def test_the_app_cannot_write_the_record_by_itself(database: Database, admin: Connection) -> None:
    app = await asyncpg.connect(database.admin_url)
    await app.execute("SET SESSION AUTHORIZATION daysheet_app")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await app.execute("INSERT INTO daysheet.access SELECT * FROM daysheet.access")
    await app.close()
