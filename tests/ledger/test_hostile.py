"""A superuser who drops constraints first, breaks the seals' chain, or takes away what the check begins with."""

from __future__ import annotations

import pytest
import pytest_asyncio

from domain.ledger.rows import PAGE_ROWS
from tests.ledger.sealing import ANOTHER_KEY, KEY, SealedStore
from tests.ledger.test_sealer import sealing
from tests.log.writing import until

FREE = "ALTER TABLE daysheet.event DROP CONSTRAINT event_pkey, ALTER position DROP NOT NULL"
COPY = """
INSERT INTO daysheet.event SELECT {at}, 'clinic/forged/1', 1, type, day, subject, data, meta, recorded_at
FROM daysheet.event WHERE position = {like}
"""


@pytest_asyncio.fixture(autouse=True)
async def sealed(store: SealedStore) -> None:
    await store.append(20)
    await store.seal(at_most=4)


# --- rows ----------------------------------------------------------------------------------------


async def test_rows_without_a_position_are_counted(store: SealedStore) -> None:
    await store.attack(
        FREE, COPY.format(at="NULL", like=3), COPY.format(at="NULL", like=4).replace("forged/1", "forged/2")
    )
    report = await store.verify()
    assert [(one.word, one.first, one.last) for one in report.findings] == [("unplaced", 1, 2)]
    assert report.logs[0].rows == 22


async def test_the_second_of_two_rows_of_one_position_is_seen_where_a_page_ends(store: SealedStore) -> None:
    await store.append_together(PAGE_ROWS - 15)
    await store.seal()
    await store.attack(FREE, COPY.format(at=PAGE_ROWS, like=PAGE_ROWS))
    words = {word for word, *_ in await store.found()}
    assert words == {"inserted"}


async def test_the_lowest_position_that_there_is_is_seen(store: SealedStore) -> None:
    await store.attack(
        "ALTER TABLE daysheet.event DROP CONSTRAINT event_position_check", COPY.format(at=-(2**63), like=3)
    )
    assert await store.found() == [("inserted", -(2**63), -(2**63))]


@pytest.mark.parametrize("at", [7, 20, 22])
async def test_a_row_without_a_time_is_altered_sealed_or_not(store: SealedStore, at: int) -> None:
    await store.append(2)
    await store.attack(
        "ALTER TABLE daysheet.event ALTER recorded_at DROP NOT NULL",
        f"UPDATE daysheet.event SET recorded_at = NULL WHERE position = {at}",
    )
    assert await store.found() == [("altered", at, at)]


# --- seals ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "found"),
    [
        ("note", [("seal_rewritten", 4, 8)]),
        ("leaves", [("leaves_rewritten", 4, 8)]),
        ("root", [("seal_rewritten", 4, 8)]),
    ],
)
async def test_a_seal_with_a_null_is_a_finding(
    store: SealedStore, column: str, found: list[tuple[str, int, int]]
) -> None:
    await store.attack(
        f"ALTER TABLE daysheet.seal ALTER {column} DROP NOT NULL",
        f"UPDATE daysheet.seal SET {column} = NULL WHERE size = 8",
    )
    assert await store.found() == found


async def test_what_a_lost_seal_hides_is_told_and_so_is_every_outside_checkpoint_behind_it(store: SealedStore) -> None:
    kept = [await store.kept(size) for size in (4, 12, 16)]
    await store.attack(
        "DELETE FROM daysheet.seal WHERE size = 8",
        "DELETE FROM daysheet.event WHERE position = 6",
        "UPDATE daysheet.seal SET leaves = overlay(leaves PLACING '\\x00'::bytea FROM 33) WHERE size = 16",
        "UPDATE daysheet.event SET data = '{}x' WHERE position = 14",
    )
    report = await store.verify(*kept)
    assert [(one.word, one.first, one.last, one.source) for one in report.findings if one.word == "not_checked"] == [
        ("not_checked", 4, 20, None),
        ("not_checked", 12, 12, "kept-12.txt"),
        ("not_checked", 16, 16, "kept-16.txt"),
    ]
    assert report.logs[0].covered == 4


async def test_behind_a_lost_seal_tiles_say_what_was_sealed_and_seals_are_checked_again(store: SealedStore) -> None:
    await store.append_together(580)
    await store.seal(at_most=100)
    kept = await store.kept(420)
    await store.attack(
        "DELETE FROM daysheet.seal WHERE size = 220",
        "DELETE FROM daysheet.event WHERE position = 150",
        "UPDATE daysheet.event SET data = '{}x' WHERE position = 160",
        "UPDATE daysheet.seal SET leaves = overlay(leaves PLACING '\\x00'::bytea FROM 33) WHERE size = 420",
    )
    assert await store.found(kept) == [
        ("seal_deleted", 120, 220),
        ("deleted", 150, 150),
        ("altered", 160, 160),
        ("leaves_rewritten", 320, 420),
    ]


async def test_the_tree_is_found_again_in_the_tiles(store: SealedStore) -> None:
    await store.append_together(580)
    await store.seal(at_most=100)
    kept = await store.kept(420)
    await store.attack(
        "DELETE FROM daysheet.seal WHERE size = 220",
        "DELETE FROM daysheet.event WHERE position = 150",
        "UPDATE daysheet.tile SET hashes = overlay(hashes PLACING '\\x00'::bytea FROM 4769) WHERE index = 0",
    )
    words = [(word, first, last) for word, first, last in await store.found(kept) if word != "tile_rewritten"]
    assert words == [
        ("seal_deleted", 120, 220),
        ("leaves_rewritten", 120, 320),
        ("deleted", 150, 150),
        ("not_checked", 320, 420),
    ]


async def test_a_tail_cut_with_its_seals_leaves_a_tile_that_tells(store: SealedStore) -> None:
    await store.append_together(300)
    await store.seal(at_most=100)
    await store.attack("DELETE FROM daysheet.event WHERE position > 220", "DELETE FROM daysheet.seal WHERE size > 220")
    assert await store.found() == [("tile_left_over", 1, 256)]


async def test_a_sealer_that_meets_a_tile_left_over_stays_off_and_goes_on_counting(store: SealedStore) -> None:
    await store.append_together(300)
    await store.seal(at_most=100)
    await store.attack("DELETE FROM daysheet.event WHERE position > 220", "DELETE FROM daysheet.seal WHERE size > 220")
    async with sealing(store) as sealer:
        await store.append(40)
        await until(lambda: sealer.faults)
        await until(lambda: sealer.unsealed["event"] > 0)
        before = sealer.unsealed["event"]
        await store.append(3)
        await until(lambda: sealer.unsealed["event"] == before + 3)
        assert sealer.faults == 1


# --- what the check begins with ------------------------------------------------------------------


async def test_a_store_row_that_is_gone_stops_nothing(store: SealedStore) -> None:
    kept = await store.kept(20)
    await store.attack("DELETE FROM daysheet.store", "DELETE FROM daysheet.event WHERE position = 7")
    gone = [("store_rewritten", 0, 0), ("deleted", 7, 7)]
    assert await store.found() == gone
    assert await store.found(kept, key=store.verifier_key) == gone


async def test_a_store_emptied_to_the_last_row_is_missed_by_what_was_kept_outside(store: SealedStore) -> None:
    kept = await store.kept(20)
    tables = ("store", "event", "seal", "tile", "ledger_key")
    await store.attack(*(f"DELETE FROM daysheet.{table}" for table in tables))
    found = [("key_gone", 0, 0), ("store_rewritten", 0, 0), ("cut", 1, 20)]
    assert await store.found(kept) == found
    with pytest.raises(Exception, match="no server has ever run on this store"):
        await store.verify()


async def test_a_store_that_took_another_name_is_one_finding(store: SealedStore) -> None:
    kept = await store.kept(20)
    await store.attack("UPDATE daysheet.store SET store_id = gen_random_uuid()")
    for found in (
        await store.found(),
        await store.found(key=store.verifier_key),
        await store.found(kept, key=store.verifier_key),
    ):
        assert found == [("store_rewritten", 0, 0)]


async def test_without_a_pinned_key_a_checkpoint_kept_outside_still_tells_another_history(store: SealedStore) -> None:
    kept = await store.kept(12)
    await store.attack("UPDATE daysheet.event SET data = '{}x' WHERE position = 7")
    await store.seal_anew(KEY, at_most=4)
    await store.attack("DELETE FROM daysheet.ledger_key")
    assert await store.found(kept) == [("key_gone", 0, 0), ("history_rewritten", 0, 12)]


async def test_two_words_of_every_seal_are_two_findings(store: SealedStore) -> None:
    await store.seal_anew(ANOTHER_KEY, at_most=4, pin=False)
    await store.attack("UPDATE daysheet.seal SET root = sha256(root)")
    found = await store.found()
    assert [one for one in found if one[0] in ("other_key", "seal_rewritten")] == [
        ("other_key", 0, 20), ("seal_rewritten", 0, 20),
    ]  # fmt: skip
