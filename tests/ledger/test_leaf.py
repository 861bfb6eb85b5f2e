"""A row's leaf: what PostgreSQL makes of it and what Python makes of it are one, whatever the row holds."""

from __future__ import annotations

import hashlib
import re
import struct
from datetime import UTC, date, datetime
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest

from domain.ledger import rows
from domain.ledger.findings import WORDS
from domain.ledger.leaf import Row, leaf, leaf_hash, tag
from domain.ledger.logs import EVENT, LOGS, Log
from domain.postgres.connect import Connection
from tests.conftest import Database

_LEAF = """
SELECT daysheet.leaf($1, position, recorded_at, version, day, subject, stream, type, meta, data)
FROM daysheet.event ORDER BY position
"""
_INSERT = """
INSERT INTO daysheet.event (position, recorded_at, version, day, subject, stream, type, meta, data)
VALUES ($1, $2::text::timestamptz, $3, $4::text::date, $5, $6, $7, $8, $9)
"""
SUBJECT = UUID("a9900000-0000-4000-8000-000000000003")
ODD: dict[str, tuple[object, ...]] = {
    "an ordinary row": (
        "2025-11-17T03:45:00.123456Z",
        1,
        "2025-11-17",
        SUBJECT,
        "clinic/a/b",
        "x@1",
        b"{}",
        b'{"a":1}',
    ),
    "no day, no subject": ("2025-11-17T03:45:00Z", 1, None, None, "s", "x@1", b"{}", b"{}"),
    "before 1970": ("1931-01-01T00:00:00.000001Z", 1, "1931-01-01", SUBJECT, "s", "x@1", b"", b""),
    "times that Python has not": ("infinity", 1, "-infinity", SUBJECT, "s", "x@1", b"", b""),
    "before Christ": ("4713-01-01 00:00:00 BC", 1, "4713-01-01 BC", SUBJECT, "s", "x@1", b"", b""),
    "the far end": ("294276-12-31 23:59:59.999999Z", 2**31 - 1, "5874897-12-31", SUBJECT, "s", "x@1", b"", b""),
    "the very first day": ("2000-01-01T00:00:00Z", 1, "2000-01-01", UUID(int=0), "s", "x@1", b"", b""),
    "every byte": ("2025-11-17T03:45:00Z", 1, None, SUBJECT, "s", "x@1", bytes(range(256)), bytes(range(255, -1, -1))),
    "other scripts": ("2025-11-17T03:45:00Z", 1, None, SUBJECT, "प्रिया/🧡/\n", "é@1", b"", b""),
    "empty": ("2025-11-17T03:45:00Z", 1, None, SUBJECT, "", "", b"", b""),
    "large": ("2025-11-17T03:45:00Z", 1, None, SUBJECT, "s" * 2_000, "t" * 300, b"m" * 70_000, b"d" * 70_000),
}


async def test_sql_and_python_make_the_same_leaf_of_any_row(database: Database, admin: Connection) -> None:
    await admin.execute("ALTER TABLE daysheet.event ALTER subject DROP NOT NULL")
    for position, row in enumerate(ODD.values(), 1):
        await admin.execute(_INSERT, position, *row[:4], f"{row[4]}{position}", *row[5:])
    last = 2**63 - 1
    await admin.execute(_INSERT, last, *next(iter(ODD.values())))
    bare = await rows.bare(database.url)
    try:
        pages = [page async for page in rows.pages(bare, EVENT, 0, last)]
    finally:
        bare.terminate()
    mine = [leaf(tag(EVENT), row, row[0]) for page in pages for row in page]
    theirs = [row[0] for row in await admin.fetch(_LEAF, tag(EVENT))]
    assert len(theirs) == len(ODD) + 1
    for name, one, other in zip([*ODD, "the last position"], mine, theirs, strict=True):
        assert one == other, name


FIELDS = Row(
    position=7,
    recorded_at=816_580_800_123_456,
    version=3,
    day=9_452,
    subject=SUBJECT.bytes,
    stream=b"clinic/a/b",
    type=b"patient-called@1",
    meta=b'{"m":1}',
    data=b'{"d":2}',
)


def test_every_column_is_in_the_leaf() -> None:
    others = FIELDS._replace(
        position=8,
        recorded_at=0,
        version=4,
        day=None,
        subject=None,
        stream=b"clinic/a/c",
        type=b"patient-called@2",
        meta=b"",
        data=b"",
    )
    hashes = {leaf_hash(tag(EVENT), FIELDS, 7), leaf_hash(tag(Log("access", "", "")), FIELDS, 7)}
    for name in Row._fields:
        changed = FIELDS._replace(**{name: getattr(others, name)})
        hashes.add(leaf_hash(tag(EVENT), changed, changed.position))
    assert len(hashes) == 2 + len(Row._fields)


def test_bytes_that_move_from_one_field_to_the_next_make_another_leaf() -> None:
    """A length in front of each: `ab`, `c` is not `a`, `bc`."""
    leaves = {
        leaf(tag(EVENT), FIELDS._replace(stream=b"ab"[:cut], type=b"ab"[cut:], meta=b"", data=b""), 7)
        for cut in range(3)
    }
    assert len(leaves) == 3


def test_the_day_of_the_epoch_is_not_no_day() -> None:
    assert leaf(tag(EVENT), FIELDS._replace(day=0), 7) != leaf(tag(EVENT), FIELDS._replace(day=None), 7)
    nobody = FIELDS._replace(subject=bytes(16))
    assert leaf(tag(EVENT), nobody, 7) != leaf(tag(EVENT), nobody._replace(subject=None), 7)


def test_a_leaf_is_never_an_inner_node() -> None:
    assert leaf_hash(tag(EVENT), FIELDS, 7) == hashlib.sha256(b"\0" + leaf(tag(EVENT), FIELDS, 7)).digest()


def test_names_of_logs_fit_their_field_and_differ() -> None:
    assert {len(tag(log)) for log in LOGS} == {24}
    assert len({tag(log) for log in LOGS}) == len(LOGS)


def test_a_row_that_is_none_of_ours_has_no_leaf() -> None:
    with pytest.raises((TypeError, struct.error)):
        leaf(tag(EVENT), (*FIELDS[:8], None), 7)


async def test_bare_rows_are_in_postgresqls_own_units(database: Database, admin: Connection) -> None:
    at, day = datetime(2025, 11, 17, 3, 45, 0, 123456, tzinfo=UTC), date(2025, 11, 17)
    await admin.execute(_INSERT, 1, at.isoformat(), 3, day.isoformat(), SUBJECT, "clinic/a/b", "x@1", b"m", b"d")
    bare = await rows.bare(database.url)
    try:
        (page,) = [page async for page in rows.pages(bare, EVENT, 0, 1)]
    finally:
        bare.terminate()
    (row,) = page
    assert isinstance(row, asyncpg.Record)
    microseconds = (at - datetime(2000, 1, 1, tzinfo=UTC)).total_seconds() * 1_000_000
    days = (day - date(2000, 1, 1)).days
    assert Row(*row) == Row(1, round(microseconds), 3, days, SUBJECT.bytes, b"clinic/a/b", b"x@1", b"m", b"d")


# --- as docs/ledger.md has it --------------------------------------------------------------------

PAGE = (Path(__file__).parents[2] / "docs" / "ledger.md").read_text(encoding="utf-8")


async def test_the_documents_example_is_made_byte_by_byte(database: Database, admin: Connection) -> None:
    """In Python and in SQL; and what its table says of the head is all there is in the head."""
    described, hashed = re.findall(r"```\n(.*?)```", PAGE, re.DOTALL)[:2]
    row = dict(line.split(None, 1) for line in described.splitlines())
    await admin.execute(
        _INSERT,
        int(row["position"]),
        row["recorded_at"],
        int(row["version"]),
        row["day"],
        UUID(row["subject"]),
        row["stream"],
        row["type"],
        row["meta"].encode(),
        row["data"].encode(),
    )
    made = await admin.fetchval(_LEAF, tag(EVENT))
    table = re.findall(r"^\| (\d+) \| (\d+) \| .* \| `([0-9a-f ]+)` \|$", PAGE, re.MULTILINE)
    at = 0
    for offset, length, hexed in table:
        assert int(offset) == at
        assert made[at : at + int(length)] == bytes.fromhex(hexed)
        at += int(length)
    assert at == 81
    assert made[at:] == "".join(row[name] for name in ("stream", "type", "meta", "data")).encode()
    bare = await rows.bare(database.url)
    try:
        ((only,),) = [page async for page in rows.pages(bare, EVENT, 0, 10)]
    finally:
        bare.terminate()
    assert leaf(tag(EVENT), only, 7) == made
    assert leaf_hash(tag(EVENT), only, 7).hex() == hashed.strip()


def test_the_document_explains_every_word_of_verify_and_no_other() -> None:
    assert re.findall(r"^\| `(\w+)` \| .+ \| .+ \|$", PAGE, re.MULTILINE) == list(WORDS)
