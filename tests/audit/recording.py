"""Those who record looks, and what the log holds of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from uuid import uuid4

from domain.audit import codec, recorder
from domain.audit.codec import Viewer
from domain.audit.looks import Look, PatientViewed, RecordingInterrupted
from domain.audit.recorder import Recorder
from domain.audit.writer import QUEUED_BYTES, Writer
from domain.postgres.connect import Connection
from domain.rules.ids import PatientId

DAY = date(2025, 11, 17)
CLERK = Viewer(actor="desk-1", role="reception", address="10.0.0.7", correlation_id="7f3a")
COLUMNS = "position, stream, version, type, day, subject, data, meta, recorded_at"
WAIT_SECONDS = 20.0


@asynccontextmanager
async def recording(url: str, *, queued_bytes: int = QUEUED_BYTES) -> AsyncIterator[Recorder]:
    """A recorder at work, as a process of its own would have one."""
    async with recorder.recording(Writer(url, _now, queued_bytes=queued_bytes), _now, uuid4) as one:
        yield one


def _now() -> datetime:
    return datetime.now(UTC)


async def stored(admin: Connection) -> list[codec.Recorded]:
    """The whole log of looks."""
    return [
        codec.recorded(row) for row in await admin.fetch(f"SELECT {COLUMNS} FROM daysheet.access ORDER BY position")
    ]


async def gaps(admin: Connection) -> list[RecordingInterrupted]:
    return [row.look for row in await stored(admin) if isinstance(row.look, RecordingInterrupted)]


def a_look() -> Look:
    return PatientViewed(patient_id=PatientId(uuid4()))


@asynccontextmanager
async def refusing(admin: Connection) -> AsyncIterator[None]:
    """Meanwhile the database takes no records."""
    await admin.execute("REVOKE EXECUTE ON FUNCTION daysheet.record_access FROM daysheet_app")
    try:
        yield
    finally:
        await admin.execute("GRANT EXECUTE ON FUNCTION daysheet.record_access TO daysheet_app")


async def there_are(admin: Connection, looks: int) -> None:
    """Until the log holds so many."""
    async with asyncio.timeout(WAIT_SECONDS):
        while await admin.fetchval("SELECT count(*) FROM daysheet.access") < looks:  # noqa: ASYNC110 - only asking tells
            await asyncio.sleep(0.01)
