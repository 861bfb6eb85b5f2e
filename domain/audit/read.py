"""Reading both logs for an auditor: looks, and commands, of a patient, of a date, of an actor.

Everything comes in pages, in the order of positions, each from an index that has this order already: a log of ten years
must not be read to find the looks at one patient. To an optimiser who is told `actor = 'desk-7' ORDER BY position LIMIT
1000` reading the whole log by position looks cheap, and for an actor who was never there it is not. So here they are
pairs, `(actor, position)` between two of them: only the index of these pairs has that order.

Every page of looks also holds the gaps: what was lost in one could have been anybody's.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import date
from typing import TYPE_CHECKING, Final
from uuid import UUID

import msgspec

from domain.audit import codec
from domain.log import read as log_read
from domain.log.codec import Recorded as RecordedEvent
from domain.rules.ids import PATIENT_DAY, PatientId

if TYPE_CHECKING:
    from domain.postgres.connect import Pool

_COLUMNS: Final = "a.position, a.stream, a.version, a.type, a.day, a.subject, a.data, a.meta, a.recorded_at"
_ACTOR: Final = """split_part(split_part(encode({}.meta, 'escape'), '"actor":"', 2), '"', 1)"""
"""As the indexes have it: see migrations/0003_audit.sql."""
_LAST: Final = "9223372036854775807::bigint"
"""No position comes after this one."""
_GAPS: Final = """
SELECT a.position FROM daysheet.access a
WHERE a.type LIKE 'recording-interrupted@%' AND a.position > $1 ORDER BY a.position LIMIT $2
"""
_PAGE: Final = f"""
SELECT a.* FROM (SELECT position FROM wanted ORDER BY position LIMIT $2) w CROSS JOIN LATERAL (
    SELECT {_COLUMNS} FROM daysheet.access a WHERE a.position = w.position LIMIT 1) a
ORDER BY a.position
"""
_ABOUT: Final = f"""
WITH wanted AS (
    SELECT f.position FROM unnest($3::uuid[]) s(subject) CROSS JOIN LATERAL (
        SELECT a.position FROM daysheet.access a
        WHERE a.subject IS NOT NULL
          AND (a.subject, a.position) > (s.subject, $1) AND (a.subject, a.position) <= (s.subject, {_LAST})
        ORDER BY a.subject, a.position LIMIT $2) f
    UNION
    SELECT f.position FROM unnest($4::date[]) d(day) CROSS JOIN LATERAL (
        SELECT a.position FROM daysheet.access a
        WHERE a.day IS NOT NULL
          AND (a.day, a.position) > (d.day, $1) AND (a.day, a.position) <= (d.day, {_LAST})
        ORDER BY a.day, a.position LIMIT $2) f
    UNION
    SELECT unnest($5::bigint[])
    UNION
    ({_GAPS})
)
{_PAGE}
"""
# `+ 0`, so that nobody reads the whole log by position. An inverted index is only ever read by bitmap, which
# connect.py turns off.
_FOUND: Final = """
SELECT a.position FROM daysheet.access a
WHERE a.type LIKE 'patients-searched@%' AND encode(a.data, 'escape')::jsonb -> 'patients' ? $3 AND a.position + 0 > $1
ORDER BY a.position + 0 LIMIT $2
"""
_BY_BITMAP: Final = "SET LOCAL enable_bitmapscan = on; SET LOCAL enable_seqscan = off"
_BY: Final = f"""
WITH wanted AS (
    (SELECT a.position FROM daysheet.access a
     WHERE ({_ACTOR.format("a")}, a.position) > (encode($3, 'escape'), $1)
       AND ({_ACTOR.format("a")}, a.position) <= (encode($3, 'escape'), {_LAST})
     ORDER BY {_ACTOR.format("a")}, a.position LIMIT $2)
    UNION
    ({_GAPS})
)
{_PAGE}
"""
_OF_STREAMS: Final = f"""
SELECT {_COLUMNS} FROM unnest($1::text[]) s(stream) JOIN daysheet.access a ON a.stream = s.stream ORDER BY a.position
"""

_EVENTS_ABOUT: Final = f"""
SELECT e.* FROM unnest($3::uuid[]) s(subject) CROSS JOIN LATERAL (
    SELECT {log_read.COLUMNS} FROM daysheet.event e
    WHERE (e.subject, e.position) > (s.subject, $1) AND (e.subject, e.position) <= (s.subject, {_LAST})
    ORDER BY e.subject, e.position LIMIT $2) e
ORDER BY e.position LIMIT $2
"""
_EVENTS_BY: Final = f"""
SELECT {log_read.COLUMNS} FROM daysheet.event e
WHERE ({_ACTOR.format("e")}, e.position) > (encode($3, 'escape'), $1)
  AND ({_ACTOR.format("e")}, e.position) <= (encode($3, 'escape'), {_LAST})
ORDER BY {_ACTOR.format("e")}, e.position LIMIT $2
"""


async def looks_about(
    pool: Pool, patient_id: PatientId, subjects: Sequence[UUID], days: Sequence[date], *, after: int, limit: int
) -> list[codec.Recorded]:
    """Looks at these subjects and these dates, and searches that found the patient. Raises NewerEvent."""
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute(_BY_BITMAP)
        found = [row["position"] for row in await connection.fetch(_FOUND, after, limit, str(patient_id))]
    rows = await pool.fetch(_ABOUT, after, limit, subjects, days, found)
    return [codec.recorded(row) for row in rows]


async def looks_at(pool: Pool, day: date, *, after: int, limit: int) -> list[codec.Recorded]:
    """Looks at a date. Raises NewerEvent."""
    return [codec.recorded(row) for row in await pool.fetch(_ABOUT, after, limit, [], [day], [])]


async def looks_by(pool: Pool, actor: str, *, after: int, limit: int) -> list[codec.Recorded]:
    """Raises NewerEvent."""
    return [codec.recorded(row) for row in await pool.fetch(_BY, after, limit, _as_stored(actor))]


async def of_streams(pool: Pool, streams: Collection[str]) -> list[codec.Recorded]:
    """All there is of some subscriptions or replays. Raises NewerEvent."""
    return [codec.recorded(row) for row in await pool.fetch(_OF_STREAMS, list(streams))]


async def events_about(pool: Pool, subjects: Sequence[UUID], *, after: int, limit: int) -> list[RecordedEvent]:
    """Events of a patient and of appointments."""
    return [log_read.recorded(row) for row in await pool.fetch(_EVENTS_ABOUT, after, limit, subjects)]


async def events_by(pool: Pool, actor: str, *, after: int, limit: int) -> list[RecordedEvent]:
    return [log_read.recorded(row) for row in await pool.fetch(_EVENTS_BY, after, limit, _as_stored(actor))]


async def commitments(pool: Pool, patient_id: PatientId) -> list[RecordedEvent]:
    """All events of all of a patient's days: every appointment ever booked for them is among them."""
    return await log_read.kind(pool, f"{PATIENT_DAY}/{patient_id}")


def _as_stored(actor: str) -> bytes:
    """As it stands between its quotes in the JSON of meta."""
    return msgspec.json.encode(actor)[1:-1]
