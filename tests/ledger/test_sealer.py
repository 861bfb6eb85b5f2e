"""One of all processes seals, right after the flush, goes on where the last one stopped, never over what is wrong."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import asyncpg
import pytest
import structlog

from domain.ledger import read, tree
from domain.ledger.checkpoint import Checkpoint
from domain.ledger.keys import SigningKey, WrongLedgerKey
from domain.ledger.logs import EVENT
from domain.ledger.sealer import SEAL_SECONDS, DoesNotFit, SealedLog, Sealer
from domain.ledger.verify import verify
from domain.postgres.connect import Connection
from gateway.app import running
from gateway.parts import Parts
from gateway.settings import Settings
from tests.conftest import TIMEZONE, Database, ServerFactory, in_own_task
from tests.ledger.sealing import ANOTHER_KEY, KEY, SealedStore
from tests.log.asking import a_doctor, a_patient
from tests.log.writing import draft, insert, terminate, until


@asynccontextmanager
async def sealing(store: SealedStore, key: SigningKey = KEY) -> AsyncIterator[Sealer]:
    """A sealer at work, as another process would have one."""
    await store.app.execute("SELECT daysheet.pin_ledger_key($1)", key.public)
    sealer = Sealer(store.database.url, store.store_id, key)
    task = asyncio.create_task(sealer.run())
    try:
        yield sealer
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _sealed(admin: Connection) -> int:
    return int(await admin.fetchval("SELECT coalesce(max(size), 0) FROM daysheet.seal"))


async def _head(admin: Connection) -> int:
    return int(await admin.fetchval("SELECT coalesce(max(position), 0) FROM daysheet.event"))


async def _all_sealed(admin: Connection) -> None:
    async def so() -> bool:
        return await _sealed(admin) == await _head(admin)

    await until(so)


# --- sealing -------------------------------------------------------------------------------------


async def test_what_a_server_records_is_sealed_and_proven(parts: Parts, admin: Connection, database: Database) -> None:
    await a_doctor(parts)
    for _ in range(3):
        await a_patient(parts)
        await asyncio.sleep(SEAL_SECONDS)
    await _all_sealed(admin)
    report = await verify(database.url)
    assert (report.verdict, report.logs[0].rows, report.logs[0].sealed) == ("whole", 4, 4)
    assert parts.sealer is not None
    assert parts.sealer.elected
    sealer = parts.sealer
    await until(lambda: (sealer.sealed["event"], sealer.unsealed["event"]) == (4, 0))


async def test_there_are_at_most_four_checkpoints_a_second(store: SealedStore) -> None:
    async with sealing(store):
        await store.append(400)
        await _all_sealed(store.admin)
        await store.append(1)
        await _all_sealed(store.admin)
    times = [row[0] for row in await store.admin.fetch("SELECT sealed_at FROM daysheet.seal ORDER BY size")]
    assert len(times) >= 2
    apart = [later - earlier for earlier, later in pairwise(times)]
    assert min(apart) >= timedelta(seconds=SEAL_SECONDS)


async def test_rows_that_nobody_was_notified_of_are_sealed_too(store: SealedStore) -> None:
    async with sealing(store):
        await store.append(1)
        await _all_sealed(store.admin)
        await insert(store.admin, 2, draft("clinic/silent/1", 1))
        await _all_sealed(store.admin)


async def test_a_backlog_is_sealed_piece_by_piece(store: SealedStore) -> None:
    await store.append_together(1_000)
    await store.app.execute("SELECT daysheet.pin_ledger_key($1)", KEY.public)
    sealed = await SealedLog.resumed(store.app, EVENT, KEY, EVENT.origin(store.store_id))
    assert [await sealed.seal_next(store.app, 300) for _ in range(5)] == [700, 400, 100, 0, 0]
    sizes = [row[0] for row in await store.admin.fetch("SELECT size FROM daysheet.seal ORDER BY size")]
    assert sizes == [300, 600, 900, 1_000]
    assert await store.found() == []


@pytest.mark.parametrize("at_most", [1, 7, 255, 256, 257, 1_000])
async def test_sealing_goes_on_after_every_seal_as_if_it_had_never_stopped(store: SealedStore, at_most: int) -> None:
    """Around the edge of tiles above all."""
    await store.app.execute("SELECT daysheet.pin_ledger_key($1)", KEY.public)
    rows = 550 if at_most > 1 else 20
    await store.append_together(rows)
    whole = tree.Frontier()
    left = 1
    while left:
        sealed = await SealedLog.resumed(store.app, EVENT, KEY, EVENT.origin(store.store_id))
        left = await sealed.seal_next(store.app, at_most)
    whole.extend(await read.leaves(store.app, EVENT, range(rows)))
    newest = await read.seal(store.app, EVENT, None)
    assert (newest.size, newest.root) == (rows, whole.root())
    assert Checkpoint.of(newest.note).signed_by(store.verifier_key)
    assert await store.found() == []


async def test_sealing_goes_on_beyond_the_second_level_of_tiles(store: SealedStore) -> None:
    """65,536 leaves fill a tile of tiles. The rows are copies, made in SQL: who wrote them does not matter here."""
    await store.append(1)
    await store.admin.execute(
        """
        INSERT INTO daysheet.event SELECT n, stream, n, type, day, subject, data, meta, recorded_at
        FROM daysheet.event, generate_series(2, 65900) n WHERE position = 1
        """
    )
    await store.seal(at_most=20_000)
    await store.append(3)
    await store.seal()
    assert await store.found() == []
    for position in (1, 256, 65_536, 65_537, 65_903):
        proof = await read.prove_inclusion(store.app, EVENT, position)
        assert tree.includes(proof.leaf_hash, proof.index, proof.seal.size, proof.hashes, proof.seal.root)
    consistency = await read.prove_consistency(store.app, EVENT, 40_000, 65_903)
    assert tree.goes_on(40_000, 65_903, consistency.old.root, consistency.new.root, consistency.hashes)


# --- one of many ---------------------------------------------------------------------------------


async def test_one_of_two_seals_and_the_other_takes_over(store: SealedStore) -> None:
    async with sealing(store) as one, sealing(store) as other:
        await until(lambda: one.elected or other.elected)
        await store.append(5)
        await _all_sealed(store.admin)
        assert [one.elected, other.elected].count(True) == 1
        await until(lambda: one.sealed["event"] == other.sealed["event"] == 5)  # who waits looks on
        first, second = (one, other) if one.elected else (other, one)
        holder = await store.admin.fetchval(
            "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objid = 4004131706 AND granted "
            "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        await store.admin.execute("SELECT pg_terminate_backend($1)", holder)
        await until(lambda: first.elected != second.elected)
        await store.append(5)
        await _all_sealed(store.admin)
        assert [one.elected, other.elected].count(True) == 1
        assert one.faults == other.faults == 0
    assert await store.found() == []


async def test_a_server_that_stops_seals_what_it_has_just_recorded(serve: ServerFactory, admin: Connection) -> None:
    server = await serve()
    await server.a_doctor()
    await server.a_patient()
    await server.get("/queue")
    await server.stop()
    for table, log in (("event", "event"), ("access", "access")):
        rows = await admin.fetchval(f"SELECT max(position) FROM daysheet.{table}")
        assert rows == await admin.fetchval("SELECT max(size) FROM daysheet.seal WHERE log = $1", log)


async def test_a_server_that_was_killed_leaves_the_office_to_another(
    serve: ServerFactory, admin: Connection, database: Database
) -> None:
    one = await serve()
    await one.a_doctor()
    await _all_sealed(admin)
    other = await serve()
    one.kill()
    await other.a_doctor()
    await _all_sealed(admin)
    assert (await verify(database.url)).verdict == "whole"


async def test_sealers_whose_sessions_are_killed_again_and_again_lose_nothing(store: SealedStore) -> None:
    async with sealing(store), sealing(store):
        for _ in range(5):
            await store.append(20)
            await terminate(store.admin, "append_seal")
        await _all_sealed(store.admin)
    assert await store.found() == []


async def test_of_two_who_seal_the_same_the_second_is_turned_away(store: SealedStore) -> None:
    await store.append(3)
    await store.app.execute("SELECT daysheet.pin_ledger_key($1)", KEY.public)
    one, other = [await SealedLog.resumed(store.app, EVENT, KEY, EVENT.origin(store.store_id)) for _ in range(2)]
    await one.seal_next(store.app)
    with pytest.raises(asyncpg.SerializationError, match="another seal came first"):
        await other.seal_next(store.app)
    assert await store.found() == []


# --- never over what is wrong --------------------------------------------------------------------


@pytest.mark.parametrize(
    "attack",
    [
        "UPDATE daysheet.seal SET leaves = overlay(leaves PLACING '\\x00'::bytea FROM 33)",
        "UPDATE daysheet.seal SET note = replace(note, E'\\n5\\n', E'\\n6\\n')",
        "UPDATE daysheet.seal SET note = 'whole'",
        "DELETE FROM daysheet.event WHERE position > 3",
    ],
    ids=["leaves", "checkpoint", "no checkpoint", "rows"],
)
async def test_a_ledger_that_does_not_fit_is_not_sealed_over_and_the_queue_goes_on(
    store: SealedStore, attack: str
) -> None:
    await store.append(5)
    await store.seal()
    await store.attack(attack)
    with structlog.testing.capture_logs() as logged:
        async with sealing(store) as sealer:
            await until(lambda: sealer.faults)
            await store.append(1)
            await asyncio.sleep(2 * SEAL_SECONDS)
            assert await _sealed(store.admin) == 5
            assert sealer.faults == 1
    (error,) = [line for line in logged if line["log_level"] == "error"]
    assert (error["event"], error["log"], error["todo"]) == ("ledger_does_not_fit", "event", "run `daysheet verify`")


async def test_a_gap_is_not_sealed_over(store: SealedStore) -> None:
    await store.append(5)
    await store.seal()
    await store.append(3)
    await store.attack("DELETE FROM daysheet.event WHERE position = 7")
    sealed = await SealedLog.resumed(store.app, EVENT, KEY, EVENT.origin(store.store_id))
    with pytest.raises(DoesNotFit, match="event has a gap between 5 and 8"):
        await sealed.seal_next(store.app)


# --- keys ----------------------------------------------------------------------------------------


def _settings(database: Database, key: SigningKey | None = None, seed: bytes = b"k") -> Settings:
    given = base64.b64encode(seed * 32).decode() if key is not None else None
    return Settings(database_url=database.url, data_dir=database.folder, timezone=TIMEZONE, ledger_key=given)


async def test_a_server_with_another_key_refuses_to_start(database: Database) -> None:
    async with in_own_task(_settings(database, KEY)):
        pass
    with pytest.raises(
        WrongLedgerKey, match=r"sealed with another key than the one at hand: bring back its ledger\.key"
    ):
        async with running(_settings(database, ANOTHER_KEY, b"o"), database.url):
            pytest.fail("it ran")
    async with in_own_task(_settings(database, KEY)):
        pass


async def test_a_server_without_the_key_serves_and_does_not_seal(database: Database, admin: Connection) -> None:
    async with in_own_task(_settings(database)) as parts:
        await a_doctor(parts)
        await _all_sealed(admin)
    file = database.folder / "ledger.key"
    kept = file.read_bytes()
    file.unlink()
    with structlog.testing.capture_logs() as logged:
        async with in_own_task(_settings(database)) as parts:
            assert parts.sealer is None
            await a_doctor(parts)
            await asyncio.sleep(2 * SEAL_SECONDS)
    assert await _sealed(admin) == 1
    (warning,) = [line for line in logged if line["event"] == "ledger_key_missing"]
    assert (warning["log_level"], Path(warning["file"])) == ("warning", file)
    assert not file.exists()
    file.write_bytes(kept)
    async with in_own_task(_settings(database)):
        await _all_sealed(admin)
    assert (await verify(database.url)).verdict == "whole"


async def test_a_key_that_is_not_pinned_seals_nothing(store: SealedStore) -> None:
    await store.append(1)
    await store.app.execute("SELECT daysheet.pin_ledger_key($1)", KEY.public)
    assert await store.app.fetchval("SELECT daysheet.pin_ledger_key($1)", ANOTHER_KEY.public) == KEY.public
    sealed = await SealedLog.resumed(store.app, EVENT, ANOTHER_KEY, EVENT.origin(store.store_id))
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="this key is not the one that seals this store"):
        await sealed.seal_next(store.app)
