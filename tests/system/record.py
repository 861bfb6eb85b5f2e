"""The record as the database holds it, read by a superuser: nobody's word is taken for it."""

from __future__ import annotations

import json
from collections import defaultdict

import asyncpg

_EVENTS = "SELECT position, stream, version, type, subject, data, meta FROM daysheet.event ORDER BY position"


async def ask(admin_url: str, sql: str, *arguments: object) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(admin_url)
    try:
        return await connection.fetch(sql, *arguments)
    finally:
        await connection.close()


async def whole_record(admin_url: str) -> list[asyncpg.Record]:
    """Every event, once it is certain that none is missing and nothing was given out twice."""
    rows = await ask(admin_url, _EVENTS)
    assert [row["position"] for row in rows] == list(range(1, len(rows) + 1))
    versions = defaultdict(list)
    for row in rows:
        versions[row["stream"]].append(row["version"])
    for stream, seen in versions.items():
        assert seen == list(range(1, len(seen) + 1)), stream
    for stream, given in _tickets(rows).items():
        assert sorted(given) == list(range(1, len(given) + 1)), stream
    _no_slot_is_held_twice(rows)
    return rows


def of_type(rows: list[asyncpg.Record], topic: str) -> list[asyncpg.Record]:
    return [row for row in rows if row["type"].startswith(topic + "@")]


def _tickets(rows: list[asyncpg.Record]) -> dict[str, list[int]]:
    """The numbers on the tickets, clinic by clinic."""
    given = defaultdict(list)
    for row in of_type(rows, "patient-checked-in"):
        given[row["stream"]].append(int(json.loads(row["data"])["ticket"].rpartition("-")[2]))
    return given


def _no_slot_is_held_twice(rows: list[asyncpg.Record]) -> None:
    held: dict[tuple[str, int], object] = {}
    for row in rows:
        if row["type"].startswith("appointment-booked@"):
            slot = row["stream"], json.loads(row["data"])["slot"]
            assert slot not in held, slot
            held[slot] = row["subject"]
        elif row["type"].startswith("appointment-cancelled@"):
            held = {slot: holder for slot, holder in held.items() if holder != row["subject"]}
