"""Reading the log: streams, a day, what came after a position."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Final
from uuid import UUID

from domain.log.codec import Recorded
from domain.rules.ids import PATIENT_DAY, PatientId, patient_stream

if TYPE_CHECKING:
    import asyncpg

    from domain.postgres.connect import Pool

COLUMNS: Final = "e.position, e.stream, e.version, e.type, e.data, e.day, e.subject, e.meta, e.recorded_at"
_STREAMS: Final = f"""
SELECT {COLUMNS}
FROM unnest($1::text[], $2::int[]) AS wanted(stream, version)
JOIN daysheet.event e ON e.stream = wanted.stream AND e.version > wanted.version
ORDER BY e.stream, e.version
"""
_KIND: Final = f"""
SELECT {COLUMNS} FROM daysheet.event e WHERE e.stream >= $1 AND e.stream < $2 ORDER BY e.position
"""
_DAY: Final = """
SELECT position, type, data, stream, version, subject, meta FROM daysheet.event
WHERE day = $1 AND position > $2 AND position <= $3 ORDER BY position LIMIT $4
"""
_DAY_RECORDED: Final = """
SELECT position, recorded_at, type, data, stream, version, subject, meta FROM daysheet.event
WHERE day = $1 AND position > $2 AND position <= $3 ORDER BY position LIMIT $4
"""
_DAY_AFTER: Final = f"""
SELECT {COLUMNS} FROM daysheet.event e
WHERE e.day = $1 AND e.position > $2 AND e.position <= $3 ORDER BY e.position LIMIT $4
"""
_OWN: Final = f"""
SELECT {COLUMNS} FROM daysheet.event e WHERE e.stream = $1 OR (e.stream >= $2 AND e.stream < $3) ORDER BY e.position
"""
# A clinic's own events have its doctor as their subject, and no doctor is an appointment.
_SUBJECT: Final = f"""
SELECT {COLUMNS} FROM daysheet.event e
WHERE e.subject = $1 AND e.day IS NOT NULL AND split_part(e.stream, '/', 2) <> $1::text ORDER BY e.position
"""
_BOOKINGS: Final = f"""
SELECT {COLUMNS} FROM daysheet.event e WHERE e.subject = ANY($1) AND e.type LIKE 'appointment-booked@%'
"""
_HEAD: Final = "SELECT coalesce(max(position), 0) FROM daysheet.event"
_RECORDED_AT: Final = "SELECT recorded_at FROM daysheet.event WHERE position = $1"
_STREAM_OF: Final = """
SELECT stream FROM daysheet.event
WHERE subject = $1 AND day IS NOT NULL AND split_part(stream, '/', 2) <> $1::text ORDER BY position DESC LIMIT 1
"""
_REQUEST: Final = "SELECT fingerprint, outcome, position FROM daysheet.request WHERE key = $1"

PAGE_ROWS: Final = 5_000
NO_END: Final = 2**63 - 1
"""A position that no log reaches."""


@dataclass(frozen=True, slots=True)
class PastRequest:
    """What an Idempotency-Key led to."""

    fingerprint: bytes
    outcome: bytes
    position: int


async def streams(pool: Pool, after: Mapping[str, int]) -> list[Recorded]:
    """The events of some streams, each after a version, ordered by stream and version."""
    rows = await pool.fetch(_STREAMS, list(after), list(after.values()))
    return [recorded(row) for row in rows]


async def kind(pool: Pool, name: str) -> list[Recorded]:
    """All events of all streams of one kind, such as `doctor`. For kinds that are few."""
    rows = await pool.fetch(_KIND, f"{name}/", f"{name}0")  # "0" comes after "/"
    return [recorded(row) for row in rows]


async def day(pool: Pool, date: date, *, after: int, up_to: int, limit: int = PAGE_ROWS) -> Sequence[asyncpg.Record]:
    """A page of a date's rows (position, type, data, stream, version, subject, meta), in order.

    Bare rows: a day may be 30,000 of them, and EventMapper.read takes them as they are.
    """
    return await pool.fetch(_DAY, date, after, up_to, limit)


async def day_recorded(pool: Pool, date: date, *, after: int, up_to: int) -> Sequence[asyncpg.Record]:
    """The same, and when: rows (position, recorded_at, type, data, stream, version, subject, meta)."""
    return await pool.fetch(_DAY_RECORDED, date, after, up_to, PAGE_ROWS)


async def day_after(pool: Pool, date: date, *, after: int, limit: int, up_to: int = NO_END) -> list[Recorded]:
    """A page of a date's events, in order, with all that is known of them."""
    return [recorded(row) for row in await pool.fetch(_DAY_AFTER, date, after, up_to, limit)]


async def subject(pool: Pool, subject: UUID) -> list[Recorded]:
    """All of an appointment's events, in whatever clinics it stood, in order."""
    return [recorded(row) for row in await pool.fetch(_SUBJECT, subject)]


async def own_of_patient(pool: Pool, patient_id: PatientId) -> list[Recorded]:
    """The events of a patient's own streams, in order: who they are, and what they had time for on which date."""
    days = f"{PATIENT_DAY}/{patient_id}"
    rows = await pool.fetch(_OWN, patient_stream(patient_id), f"{days}/", f"{days}0")  # "0" comes after "/"
    return [recorded(row) for row in rows]


async def bookings(pool: Pool, appointments: Sequence[UUID]) -> list[Recorded]:
    """The event that began each of these appointments."""
    return [recorded(row) for row in await pool.fetch(_BOOKINGS, appointments)]


async def head(pool: Pool) -> int:
    """The newest position; 0 for an empty log."""
    return int(await pool.fetchval(_HEAD))


async def position_at(pool: Pool, at: datetime) -> int:
    """The last event recorded by then; 0 where there is none. Times never run backwards, so it is found by halving."""
    low, high = 0, await head(pool)
    while low < high:
        middle = (low + high + 1) // 2
        if await pool.fetchval(_RECORDED_AT, middle) <= at:
            low = middle
        else:
            high = middle - 1
    return low


async def stream_of(pool: Pool, subject: UUID) -> str | None:
    """The clinic's stream that an appointment stands in now; None for an unknown one."""
    found: str | None = await pool.fetchval(_STREAM_OF, subject)
    return found


async def past_request(pool: Pool, key: bytes) -> PastRequest | None:
    row = await pool.fetchrow(_REQUEST, key)
    return PastRequest(*row) if row else None


def recorded(row: asyncpg.Record) -> Recorded:
    position, stream, version, stored_type, data, on, subject, meta, recorded_at = row
    return Recorded(stream, version, stored_type, data, position, on, subject, meta, recorded_at)
