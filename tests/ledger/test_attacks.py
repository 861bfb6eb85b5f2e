"""A superuser who knows about the triggers does the worst to the record, and is found, with the right word and place.

Twenty events, each recorded at a time of its own, sealed by five seals of four; then an attack, then `verify`.
"""

from __future__ import annotations

import pytest
import pytest_asyncio

from domain.ledger.checkpoint import Checkpoint, VerifierKey, sign
from domain.ledger.leaf import HASH_BYTES
from domain.ledger.logs import EVENT
from domain.ledger.tree import Frontier
from domain.ledger.verify import Outside
from tests.ledger.sealing import ANOTHER_KEY, KEY, SealedStore

ROWS = 20
AT_MOST = 4
AWAY = 1_000_000
BACK = f"UPDATE daysheet.event SET position = position - {AWAY} WHERE position > {AWAY}"
"""Positions are unique and not negative: rows change places by way of far away."""
INSERT = """
INSERT INTO daysheet.event SELECT {at}, 'clinic/forged/1', 1, type, day, subject, data, meta, {time}
FROM daysheet.event WHERE position = {like}
"""
EDIT = "UPDATE daysheet.event SET data = '{{\"forged\": true}}' WHERE position = {at}"


@pytest_asyncio.fixture(autouse=True)
async def sealed(store: SealedStore) -> None:
    await store.append(ROWS)
    await store.seal(at_most=AT_MOST)


async def test_a_record_that_nobody_touched_is_whole(store: SealedStore) -> None:
    report = await store.verify(await store.kept(8), await store.kept(20))
    assert (report.verdict, report.findings) == ("whole", [])
    log = report.logs[0]
    assert (log.log, log.rows, log.sealed, log.seals, log.covered, log.outside) == ("event", 20, 20, 5, 20, 2)


async def test_rows_that_are_not_sealed_yet_are_no_finding(store: SealedStore) -> None:
    await store.append(3)
    report = await store.verify()
    assert report.verdict == "whole"
    assert (report.logs[0].rows, report.logs[0].sealed) == (23, 20)


# --- rows ----------------------------------------------------------------------------------------


EDITS = [
    "data = '{}x'",
    "meta = ''",
    "type = 'patient-called@2'",
    "stream = stream || 'x'",
    "version = version + 100",
    "day = NULL",
    "day = '-infinity'",
    "subject = gen_random_uuid()",
    "recorded_at = recorded_at + interval '1 microsecond'",
]


@pytest.mark.parametrize(("at", "change"), [*((at, EDITS[0]) for at in (1, 4, 5, 20)), *((7, edit) for edit in EDITS)])
async def test_an_event_that_was_edited(store: SealedStore, at: int, change: str) -> None:
    await store.attack(f"UPDATE daysheet.event SET {change} WHERE position = {at}")
    assert await store.found() == [("altered", at, at)]


async def test_neighbours_that_were_edited_are_one_finding(store: SealedStore) -> None:
    await store.attack("UPDATE daysheet.event SET meta = '' WHERE position BETWEEN 6 AND 9 OR position = 15")
    assert await store.found() == [("altered", 6, 9), ("altered", 15, 15)]


async def test_a_row_with_a_null_where_no_row_has_one(store: SealedStore) -> None:
    await store.attack(
        "ALTER TABLE daysheet.event ALTER data DROP NOT NULL",
        "UPDATE daysheet.event SET data = NULL WHERE position = 7",
    )
    assert await store.found() == [("altered", 7, 7)]


@pytest.mark.parametrize("at", [2, 9, 20])
async def test_an_event_that_was_backdated(store: SealedStore, at: int) -> None:
    await store.attack(f"UPDATE daysheet.event SET recorded_at = recorded_at - interval '1 hour' WHERE position = {at}")
    assert await store.found() == [("backdated", at, at)]


async def test_an_event_added_with_a_time_that_is_over(store: SealedStore) -> None:
    await store.attack(INSERT.format(at=21, like=20, time="recorded_at - interval '1 hour'"))
    assert await store.found() == [("backdated", 21, 21)]


async def test_an_event_added_with_a_time_that_is_over_and_sealed_by_a_sealer_that_knows_no_better(
    store: SealedStore,
) -> None:
    await store.attack(INSERT.format(at=21, like=20, time="recorded_at - interval '1 hour'"))
    await store.seal()
    assert await store.found() == [("backdated", 21, 21)]


@pytest.mark.parametrize(("first", "last"), [(1, 1), (7, 7), (4, 9), (12, 19)])
async def test_events_that_were_deleted(store: SealedStore, first: int, last: int) -> None:
    await store.attack(f"DELETE FROM daysheet.event WHERE position BETWEEN {first} AND {last}")
    assert await store.found() == [("deleted", first, last)]


async def test_the_end_that_was_deleted_while_its_seals_are_there(store: SealedStore) -> None:
    await store.attack("DELETE FROM daysheet.event WHERE position > 17")
    assert await store.found() == [("cut", 18, 20)]


async def test_all_that_was_deleted(store: SealedStore) -> None:
    await store.attack("DELETE FROM daysheet.event")
    assert await store.found() == [("cut", 1, 20)]


@pytest.mark.parametrize("at", [1, 7, 18])
async def test_an_event_deleted_and_those_behind_it_renumbered(store: SealedStore, at: int) -> None:
    await store.attack(
        f"DELETE FROM daysheet.event WHERE position = {at}",
        f"UPDATE daysheet.event SET position = position - 1 + {AWAY} WHERE position > {at}",
        BACK,
    )
    assert await store.found() == [("deleted", at, at), ("renumbered", at, 19)]


async def test_the_last_but_one_deleted_and_the_last_renumbered(store: SealedStore) -> None:
    await store.attack(
        "DELETE FROM daysheet.event WHERE position = 19", "UPDATE daysheet.event SET position = 19 WHERE position = 20"
    )
    assert await store.found() == [("deleted", 19, 19), ("renumbered", 19, 19)]


async def test_several_events_deleted_and_the_rest_renumbered_with_more_to_come(store: SealedStore) -> None:
    await store.append(5)
    await store.attack(
        "DELETE FROM daysheet.event WHERE position BETWEEN 6 AND 8",
        f"UPDATE daysheet.event SET position = position - 3 + {AWAY} WHERE position > 8",
        BACK,
    )
    assert await store.found() == [("deleted", 6, 8), ("renumbered", 6, 22)]


async def test_far_more_deleted_and_renumbered_than_is_looked_around_for(store: SealedStore) -> None:
    await store.append_together(180)
    await store.seal()
    await store.attack(
        "DELETE FROM daysheet.event WHERE position BETWEEN 31 AND 130",
        f"UPDATE daysheet.event SET position = position - 100 + {AWAY} WHERE position > 130",
        BACK,
    )
    assert await store.found() == [("renumbered", 31, 100), ("deleted", 31, 130)]


@pytest.mark.parametrize(("one", "other"), [(3, 4), (4, 5), (2, 19), (1, 20)])
async def test_two_events_that_were_swapped(store: SealedStore, one: int, other: int) -> None:
    await store.attack(
        f"UPDATE daysheet.event SET position = {one + other + AWAY} - position WHERE position IN ({one}, {other})", BACK
    )
    assert await store.found() == [("swapped", one, other)]


async def test_two_events_swapped_that_keep_the_times_of_their_places(store: SealedStore) -> None:
    await store.attack(
        """
        UPDATE daysheet.event e SET stream = -1 || o.stream, version = o.version, subject = o.subject, meta = o.meta
        FROM daysheet.event o WHERE e.position IN (5, 11) AND o.position = 16 - e.position
        """,
        "UPDATE daysheet.event SET stream = substr(stream, 3) WHERE position IN (5, 11)",
    )
    assert await store.found() == [("swapped", 5, 11)]


async def test_two_events_swapped_far_from_each_other(store: SealedStore) -> None:
    await store.append_together(180)
    await store.seal()
    await store.attack(
        f"UPDATE daysheet.event SET position = {200 + AWAY} - position WHERE position IN (10, 190)", BACK
    )
    assert await store.found() == [("swapped", 10, 190)]


@pytest.mark.parametrize("at", [1, 7, 8, 19])
async def test_an_event_that_was_inserted(store: SealedStore, at: int) -> None:
    await store.attack(
        f"UPDATE daysheet.event SET position = position + 1 + {AWAY} WHERE position >= {at}",
        BACK,
        INSERT.format(at=at, like=at + 1, time="recorded_at"),
    )
    assert await store.found() == [("inserted", at, at), ("renumbered", at + 1, 21)]


async def test_an_event_inserted_before_the_last(store: SealedStore) -> None:
    await store.attack(
        "UPDATE daysheet.event SET position = 21 WHERE position = 20",
        INSERT.format(at=20, like=21, time="recorded_at"),
    )
    assert await store.found() == [("inserted", 20, 20), ("renumbered", 21, 21)]


async def test_a_gap_among_rows_that_are_not_sealed_yet(store: SealedStore) -> None:
    await store.append(5)
    await store.attack("DELETE FROM daysheet.event WHERE position IN (22, 23)")
    assert await store.found() == [("deleted", 22, 23)]


async def test_the_first_of_those_that_are_not_sealed_yet_is_gone(store: SealedStore) -> None:
    await store.append(3)
    await store.attack("DELETE FROM daysheet.event WHERE position = 21")
    assert await store.found() == [("deleted", 21, 21)]


async def test_rows_that_share_a_position_or_have_none_of_the_log(store: SealedStore) -> None:
    await store.append(2)
    await store.attack(
        "ALTER TABLE daysheet.event DROP CONSTRAINT event_pkey, DROP CONSTRAINT event_position_check",
        INSERT.format(at=-4, like=1, time="recorded_at"),
        INSERT.format(at=7, like=7, time="recorded_at").replace("forged/1", "forged/2"),
        INSERT.format(at=22, like=22, time="recorded_at").replace("forged/1", "forged/3"),
    )
    assert await store.found() == [("inserted", -4, -4), ("inserted", 7, 7), ("inserted", 22, 22)]


async def test_several_attacks_at_once_are_told_apart(store: SealedStore) -> None:
    await store.attack(
        "UPDATE daysheet.event SET meta = '' WHERE position = 2",
        "DELETE FROM daysheet.event WHERE position = 5",
        f"UPDATE daysheet.event SET position = {18 + AWAY} - position WHERE position IN (8, 10)",
        BACK,
        "UPDATE daysheet.event SET recorded_at = recorded_at - interval '1 hour' WHERE position = 13",
    )
    assert await store.found() == [("altered", 2, 2), ("deleted", 5, 5), ("swapped", 8, 10), ("backdated", 13, 13)]


# --- the ledger itself ---------------------------------------------------------------------------


async def _recompute_leaves(store: SealedStore, at: int) -> None:
    """An attacker's: the row's new hash in the place of the old one."""
    tag = b"daysheet-leaf/1/event".ljust(24, b"\0")
    new = await store.admin.fetchval(
        """
        SELECT sha256('\\x00'::bytea || daysheet.leaf($2, position, recorded_at, version, day, subject, stream, type,
            meta, data)) FROM daysheet.event WHERE position = $1
        """,
        at,
        tag,
    )
    await store.attack(
        f"""
        UPDATE daysheet.seal
        SET leaves = overlay(leaves PLACING '\\x{new.hex()}'::bytea FROM (1 + 32 * ({at - 1} - since))::int)
        WHERE since < {at} AND size >= {at}
        """
    )


async def test_an_event_edited_and_its_leaf_recomputed(store: SealedStore) -> None:
    await store.attack(EDIT.format(at=7))
    await _recompute_leaves(store, 7)
    assert await store.found() == [("leaves_rewritten", 4, 8), ("not_checked", 8, 20)]


async def test_leaves_and_roots_recomputed_by_who_has_no_key_at_all(store: SealedStore) -> None:
    await store.attack(EDIT.format(at=7))
    await _recompute_leaves(store, 7)
    await store.attack("UPDATE daysheet.seal SET root = sha256('forged') WHERE size = 8")
    assert await store.found() == [("leaves_rewritten", 4, 8), ("seal_rewritten", 4, 8), ("not_checked", 8, 20)]


async def test_a_leaf_that_stands_for_any_row_is_none_even_if_it_was_signed(store: SealedStore) -> None:
    """Zeros stand for what no seal holds. Sealed with a stolen key they would let a row be anything, ever after."""
    await store.attack("DELETE FROM daysheet.seal")
    leaves, frontier = bytes(ROWS * HASH_BYTES), Frontier()
    frontier.extend(leaves)
    note = sign(KEY, EVENT.origin(store.store_id), ROWS, frontier.root())
    await store.app.execute(
        "SELECT daysheet.append_seal('event', 0, $1, $2, $3, $4, $5, '{}', '{}', '{}', '{}')",
        *(ROWS, frontier.root(), leaves, note, KEY.public),
    )
    assert await store.found() == [("leaves_rewritten", 0, 20)]


async def test_a_checkpoint_whose_text_was_changed(store: SealedStore) -> None:
    await store.attack("UPDATE daysheet.seal SET note = replace(note, E'\\n8\\n', E'\\n9\\n') WHERE size = 8")
    assert await store.found() == [("forged", 4, 8), ("seal_rewritten", 4, 8)]


async def test_a_checkpoint_that_is_none(store: SealedStore) -> None:
    await store.attack("UPDATE daysheet.seal SET note = 'whole' WHERE size = 20")
    assert await store.found() == [("seal_rewritten", 16, 20)]


async def test_a_seal_that_was_deleted_is_missed_and_its_rows_are_still_proven(store: SealedStore) -> None:
    await store.attack("DELETE FROM daysheet.seal WHERE size = 8")
    assert await store.found() == [("seal_deleted", 4, 8)]
    await store.attack(EDIT.format(at=7))
    assert await store.found() == [("seal_deleted", 4, 8), ("leaves_rewritten", 4, 12), ("not_checked", 12, 20)]


async def test_a_seal_and_its_rows_that_were_deleted(store: SealedStore) -> None:
    await store.attack("DELETE FROM daysheet.seal WHERE size = 8", "DELETE FROM daysheet.event WHERE position = 6")
    found = await store.found(await store.kept(20))
    assert found == [("seal_deleted", 4, 8), ("not_checked", 4, 20), ("deleted", 6, 6), ("not_checked", 20, 20)]


async def test_tiles_that_were_changed_or_deleted(store: SealedStore) -> None:
    await store.append_together(1_100)
    await store.seal()
    await store.attack(
        "UPDATE daysheet.tile SET hashes = overlay(hashes PLACING '\\x00'::bytea FROM 300) WHERE index = 1",
        "DELETE FROM daysheet.tile WHERE index = 3",
    )
    assert await store.found() == [("tile_rewritten", 257, 512), ("tile_rewritten", 769, 1024)]


async def test_seals_cut_off_alone_are_missed_by_a_checkpoint_kept_outside(store: SealedStore) -> None:
    kept = await store.kept(20)
    await store.attack("DELETE FROM daysheet.seal WHERE size > 12")
    assert await store.found(kept) == [("seals_cut", 12, 20)]
    assert await store.found() == []


# --- keys ----------------------------------------------------------------------------------------


async def test_another_history_signed_with_another_key(store: SealedStore) -> None:
    await store.attack(EDIT.format(at=7))
    await store.seal_anew(ANOTHER_KEY, at_most=AT_MOST, pin=False)
    assert await store.found() == [("other_key", 0, 20)]


async def test_another_history_signed_with_another_key_that_was_pinned_as_well(store: SealedStore) -> None:
    kept = await store.kept(12)
    await store.attack(EDIT.format(at=7))
    await store.seal_anew(ANOTHER_KEY, at_most=AT_MOST)
    assert await store.found() == []  # Inner consistency is all that can be proven from inside.
    assert await store.found(kept) == [("other_key", 12, 12)]
    assert await store.found(key=store.verifier_key) == [("other_key", 0, 0), ("other_key", 0, 20)]


async def test_another_history_signed_with_the_stolen_key(store: SealedStore) -> None:
    early, late = await store.kept(4), await store.kept(12)
    await store.attack(EDIT.format(at=7))
    await store.seal_anew(KEY, at_most=5)
    assert await store.found() == []
    assert await store.found(early) == []
    assert await store.found(late, early) == [("history_rewritten", 4, 12)]


async def test_a_checkpoint_of_another_store_is_no_use(store: SealedStore) -> None:
    kept = (await store.kept(8)).checkpoint
    other = Checkpoint("daysheet/another/event", kept.size, kept.root, kept.signed, kept.signatures)
    report = await store.verify(Outside("file", other))
    assert (report.verdict, report.findings) == ("cannot_check", [])
    assert report.unusable == ["file: a checkpoint of daysheet/another/event, not of this store"]


async def test_a_checkpoint_that_was_changed_since_it_was_kept_proves_nothing(store: SealedStore) -> None:
    kept = (await store.kept(8)).checkpoint
    changed = Checkpoint(kept.origin, 9, kept.root, kept.signed.replace(b"\n8\n", b"\n9\n"), kept.signatures)
    report = await store.verify(Outside("file", changed))
    assert (report.verdict, report.findings) == ("cannot_check", [])
    assert report.unusable == ["file: its signature is not of what it says: it was changed since"]


async def test_a_witness_may_add_its_own_signature(store: SealedStore) -> None:
    kept = (await store.kept(8)).checkpoint
    witnessed = Checkpoint(
        kept.origin, kept.size, kept.root, kept.signed, (("witness.example", b"1234", b"x"), *kept.signatures)
    )
    assert await store.found(Outside("file", witnessed)) == []


# --- the end cut off, seals and all --------------------------------------------------------------


async def _cut_after(store: SealedStore, size: int) -> None:
    await store.attack(
        f"DELETE FROM daysheet.event WHERE position > {size}", f"DELETE FROM daysheet.seal WHERE size > {size}"
    )


async def test_a_tail_cut_with_its_seals_shows_against_a_checkpoint_kept_outside(store: SealedStore) -> None:
    kept = await store.kept(16)
    await _cut_after(store, 12)
    assert await store.found(kept) == [("cut", 13, 16)]


async def test_a_tail_cut_and_grown_anew_shows_against_a_checkpoint_kept_outside(store: SealedStore) -> None:
    kept = [await store.kept(8), await store.kept(16)]
    await _cut_after(store, 12)
    await store.append(8)
    await store.seal(at_most=AT_MOST)
    assert await store.found(*kept) == [("history_rewritten", 8, 16)]


async def test_a_tail_cut_after_the_newest_outside_checkpoint_does_not_show(store: SealedStore) -> None:
    kept = await store.kept(12)
    await _cut_after(store, 12)
    report = await store.verify(kept)
    assert report.verdict == "whole"
    assert (report.logs[0].rows, report.logs[0].covered) == (12, 12)


# --- what there is to check with -----------------------------------------------------------------


async def test_a_key_of_another_store_is_refused(store: SealedStore) -> None:
    with pytest.raises(Exception, match="the key is that of daysheet/another/event, not of this store"):
        await store.verify(key=VerifierKey("daysheet/another/event", KEY.public))


async def test_a_pinned_key_that_is_gone_from_a_sealed_store_is_missed(store: SealedStore) -> None:
    await store.attack("DELETE FROM daysheet.ledger_key")
    assert await store.found() == [("key_gone", 0, 0)]
    assert await store.found(key=store.verifier_key) == [("other_key", 0, 0)]


async def test_a_store_without_any_seal_cannot_be_checked(store: SealedStore) -> None:
    await store.attack("DELETE FROM daysheet.seal")
    report = await store.verify()
    assert (report.verdict, report.findings) == ("cannot_check", [])
    assert EVENT.name == report.logs[0].log
