"""Events for the log to hold, whatever they say, and those who write them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date
from uuid import UUID, uuid4

from domain.log.append import Request, Writer
from domain.log.codec import Draft, Recorded
from domain.log.read import COLUMNS, recorded
from domain.postgres.connect import Connection
from domain.rules.ids import DoctorId, clinic_stream

DAY = date(2025, 11, 17)
APPEND_LOCK = 4004131704
WAIT_SECONDS = 20.0


def a_stream() -> str:
    return clinic_stream(DoctorId(uuid4()), DAY)


def draft(stream: str, version: int, data: bytes = b"{}") -> Draft:
    """No two are the same: each names a command of its own."""
    meta = b'{"effective_at":"2025-11-17T03:45:00Z","command_id":"%s"}' % str(uuid4()).encode()
    return Draft(stream, version, "patient-called@1", data, DAY, uuid4(), meta)


def drafts(stream: str, count: int, after: int = 0) -> list[Draft]:
    """Of one command: the first versions of a stream, or those after one."""
    return [draft(stream, after + version) for version in range(1, count + 1)]


def request(key: bytes = b"key", outcome: bytes = b"{}") -> Request:
    return Request(key, b"fingerprint", outcome)


@asynccontextmanager
async def writing(url: str, on_commit: Callable[[], None] = lambda: None) -> AsyncIterator[Writer]:
    """A writer at work, as a process of its own would have one."""
    writer = Writer(url, on_commit)
    task = asyncio.create_task(writer.run())
    try:
        yield writer
    finally:
        writer.close()
        await task


async def stored(admin: Connection) -> list[Recorded]:
    """The whole log."""
    return [recorded(row) for row in await admin.fetch(f"SELECT {COLUMNS} FROM daysheet.event e ORDER BY position")]


async def insert(admin: Connection, position: int, event: Draft, recorded_at: str = "now") -> None:
    """Behind the append function's back: nobody is notified, and nothing is checked."""
    await admin.execute(
        "INSERT INTO daysheet.event VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9::text::timestamptz)",
        position,
        event.originator_id,
        event.originator_version,
        event.topic,
        event.day,
        event.subject,
        event.state,
        event.meta,
        recorded_at,
    )


@dataclass(frozen=True)
class HeldLog:
    """While it is held nobody appends: whatever is sent waits in the database, and whatever comes then gathers."""

    admin: Connection

    async def is_waited_for(self, sessions: int = 1) -> None:
        """Until that many appends have reached the database."""
        await until(lambda: self._waiting(sessions))

    async def _waiting(self, sessions: int) -> bool:
        return len(await appending(self.admin)) >= sessions


@asynccontextmanager
async def held(admin: Connection) -> AsyncIterator[HeldLog]:
    await admin.execute("SELECT pg_advisory_lock($1)", APPEND_LOCK)
    try:
        yield HeldLog(admin)
    finally:
        await admin.execute("SELECT pg_advisory_unlock($1)", APPEND_LOCK)


async def appending(admin: Connection) -> list[int]:
    """The backends of this database that wait to append."""
    rows = await admin.fetch(
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'daysheet' "
        "AND wait_event_type = 'Lock' AND query LIKE '%daysheet.append%'"
    )
    return [row["pid"] for row in rows]


async def terminate(admin: Connection, query: str) -> int:
    """End the app's sessions whose latest query contains a text. Returns how many there were."""
    rows = await admin.fetch(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
        "AND application_name = 'daysheet' AND pid <> pg_backend_pid() AND strpos(query, $1) > 0",
        query,
    )
    return len(rows)


async def until(condition: Callable[[], object]) -> None:
    """Wait for a condition, plain or awaitable. Raises TimeoutError."""
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            met = condition()
            if await met if asyncio.iscoroutine(met) else met:
                return
            await asyncio.sleep(0.01)


def positions(log: Sequence[Recorded]) -> list[int]:
    return [row.id for row in log]


def subject_of(stream: str) -> UUID:
    return UUID(stream.split("/")[1])
