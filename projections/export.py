"""A date to take away: its events with all that is known of them, or its appointments with their times.

Both come page by page, so that a day of any size takes little memory: whoever reads slowly holds up a page, never a
connection to the store. They stop at the event that the read model stood at when they began.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncGenerator, Iterable
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import msgspec

from domain.ledger import read as ledger
from domain.ledger.logs import EVENT
from domain.ledger.sealer import SEAL_SECONDS
from domain.log import read
from domain.log.codec import EventMapper, read_meta
from projections.history import History, Told
from projections.shapes import EventProof, ExportedEvent, ExportEnd, ExportHead, StoredRow
from projections.table import Cell, table
from projections.times import DayTimes, Visit

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from domain.postgres.connect import Pool
    from projections.directory import Directory
    from projections.encoding import Encoder

PAGE_ROWS: Final = 500
"""Of events with all about them, or of appointments: some hundred kilobytes, made in some milliseconds."""
SEALED_LOOKS: Final = 4
"""So often it is looked whether all that is to be exported is sealed. What is not goes without proof."""
COLUMNS: Final = (
    "appointment_id",
    "doctor_code",
    "ticket",
    "slot",
    "status",
    "priority",
    "booked_at",
    "checked_in_at",
    "first_called_at",
    "called_at",
    "consultation_started_at",
    "completed_at",
    "waiting_minutes",
    "consultation_minutes",
    "patient_id",
)
NAME_COLUMN: Final = "patient_name"

_encode: Final = msgspec.json.Encoder().encode


class Export:
    def __init__(
        self,
        pool: Pool,
        history: History,
        directory: Directory,
        mapper: EventMapper,
        encoder: Encoder,
        *,
        store_id: UUID,
        zone: ZoneInfo,
    ) -> None:
        self._pool, self._history, self._directory = pool, history, directory
        self._mapper, self._encoder = mapper, encoder
        self._store_id, self._zone = store_id, zone

    # --- events ----------------------------------------------------------------------------------

    async def ndjson(self, day: date, *, made_at: datetime) -> AsyncGenerator[bytes]:
        """Lines of JSON: a shapes.ExportHead, a shapes.ExportedEvent for each event in order, a shapes.ExportEnd."""
        up_to = self._directory.applied
        proofs = await self._proofs(up_to)
        key = await ledger.verifier_key(self._pool, EVENT)
        head = ExportHead(
            store_id=self._store_id,
            timezone=self._zone.key,
            date=day,
            made_at=self._encoder.time(made_at),
            up_to=up_to,
            key=str(key) if key is not None else None,
            checkpoint=proofs.seal.note if proofs is not None else None,
        )
        yield _line(head)
        after = events = 0
        while rows := await read.day_after(self._pool, day, after=after, up_to=up_to, limit=PAGE_ROWS):
            told = await self._history.tell(rows)
            yield b"".join([_line(_exported(each, await _proof(proofs, each.row.id))) for each in told])
            after, events = rows[-1].id, events + len(rows)
        yield _line(ExportEnd(events=events))

    async def _proofs(self, up_to: int) -> ledger.Proofs | None:
        """Against the newest checkpoint. It is waited for, for as long as sealing mostly takes."""
        newest = await ledger.newest(self._pool, EVENT)
        for _ in range(SEALED_LOOKS):
            if newest is None or newest.size >= up_to:
                break
            await asyncio.sleep(SEAL_SECONDS)
            newest = await ledger.newest(self._pool, EVENT)
        return ledger.Proofs(self._pool, EVENT, newest) if newest is not None else None

    # --- appointments ----------------------------------------------------------------------------

    async def csv(self, day: date, *, names: bool) -> AsyncGenerator[bytes]:
        """A table (RFC 4180, UTF-8): COLUMNS, and with `names` who the patients are now. By doctor's code and slot."""
        visits = (await self._times(day)).standing()
        visits.sort(key=lambda visit: (self._code(visit), visit.state.slot, visit.appointment_id))
        yield table([(*COLUMNS, NAME_COLUMN) if names else COLUMNS])
        for first in range(0, len(visits), PAGE_ROWS):
            page = visits[first : first + PAGE_ROWS]
            booked = await self._booked_elsewhere(page)
            if names:
                await self._directory.have([visit.patient_id for visit in page])
            yield table([self._row(visit, booked, names=names) for visit in page])

    async def _times(self, day: date) -> DayTimes:
        times = DayTimes(day)
        up_to, after = self._directory.applied, 0
        while rows := await read.day(self._pool, day, after=after, up_to=up_to, limit=PAGE_ROWS):
            for _, stored_type, data, stream, version, subject, meta in rows:
                times.fold(self._mapper.read(stored_type, data, stream, version, subject, meta))
            after = rows[-1]["position"]
        return times

    async def _booked_elsewhere(self, visits: Iterable[Visit]) -> dict[UUID, datetime]:
        """When those were booked that came from another date."""
        came = [visit.appointment_id for visit in visits if visit.booked_at is None]
        booked = await read.bookings(self._pool, came) if came else []
        return {row.subject: read_meta(row.meta).effective_at for row in booked}

    def _row(self, visit: Visit, booked: dict[UUID, datetime], *, names: bool) -> list[Cell]:
        state, times = visit.state, visit.times
        row: list[Cell] = [
            str(visit.appointment_id),
            self._code(visit),
            state.ticket,
            state.slot,
            state.status,
            state.priority,
            self._time(visit.booked_at or booked[visit.appointment_id]),
            self._time(state.arrived_at),
            self._time(times.first_called_at),
            self._time(times.called_at),
            self._time(times.started_at),
            self._time(state.completed_at),
            _minutes(visit.waiting()),
            _minutes(visit.consultation()),
            str(visit.patient_id),
        ]
        if names:
            person = self._directory.person(visit.patient_id)
            row.append(person.details.name if person is not None else None)
        return row

    def _code(self, visit: Visit) -> str:
        return self._directory.doctors[visit.doctor_id].code

    def _time(self, at: datetime | None) -> str | None:
        return self._encoder.time(at) if at is not None else None


async def _proof(proofs: ledger.Proofs | None, position: int) -> EventProof | None:
    if proofs is None or position > proofs.seal.size:
        return None
    found = await proofs.inclusion(position)
    return EventProof(leaf_hash=_base64(found.leaf_hash), hashes=[_base64(hash_) for hash_ in found.hashes])


def _exported(told: Told, proof: EventProof | None) -> ExportedEvent:
    row, meta = told.row, read_meta(told.row.meta)
    known: dict[str, Any] = {name: getattr(told.record, name) for name in told.record.__struct_fields__}
    return ExportedEvent(
        **known,
        patient_id=told.patient_id,
        stream=str(row.originator_id),
        version=row.originator_version,
        role=meta.role,
        command=meta.command,
        command_id=meta.command_id,
        correlation_id=meta.correlation_id,
        recorded_at_utc=exactly(row.recorded_at),
        effective_at_utc=exactly(meta.effective_at),
        stored=StoredRow(
            type=row.topic, day=row.day, subject=row.subject, meta=row.meta.decode(), data=row.state.decode()
        ),
        proof=proof,
    )


def _base64(hash_: bytes) -> str:
    return base64.b64encode(hash_).decode()


def _line(said: msgspec.Struct) -> bytes:
    return _encode(said) + b"\n"


def exactly(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _minutes(span: timedelta | None) -> float | None:
    return round(span.total_seconds() / 60, 1) if span is not None else None
