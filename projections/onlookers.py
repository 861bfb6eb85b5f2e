"""Who saw this patient, who looked at this date, what did this person do: both logs, as one record after another.

Looks come from the log of looks, and what somebody did from the log of events, where an answer shows as much as a look
does. Oldest first, as all pages of this API: a log that only grows never puts anything before what was read already.
"""

from __future__ import annotations

import datetime
import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal
from uuid import UUID

import msgspec

from domain.audit import codec, looks
from domain.audit import read as audit_read
from domain.log import read
from domain.log.codec import EventMapper, event_name, read_meta
from domain.log.codec import Recorded as RecordedEvent
from domain.rules.ids import CLINIC, DOCTOR, PATIENT, PATIENT_DAY, AppointmentId, DoctorId, PatientId
from projections.shapes import Shape
from projections.stays import FOR_EVER, Traces, traces

if TYPE_CHECKING:
    from domain.postgres.connect import Pool
    from projections.encoding import Encoder

ROWS_AT_ONCE: Final = 1_000

Through = Literal["patient", "appointment", "search", "board", "events"]
Kind = Literal[
    "patient-viewed",
    "patients-searched",
    "history-viewed",
    "board-viewed",
    "subscription",
    "replay",
    "day-events-viewed",
    "export-made",
    "audit-viewed",
    "access-denied",
    "recording-interrupted",
    "command",
]


class AuditRecord(Shape, frozen=True, kw_only=True):
    """Somebody looked, or did something. Ids only: who a patient was is told by the registry, or by nobody any more.

    `at`: when; `recorded_at`: when that was on disk. `through`: where a patient was asked for, how it showed them, who
    is then the `patient_id`.
    `position` is a look's in the log of looks; `sequence` and `type` are a command's event. `detail`: what its kind
    tells beside.
    """

    kind: Kind
    at: str
    recorded_at: str
    actor: str
    role: str
    address: str | None
    correlation_id: str | None
    through: Through | None
    patient_id: PatientId | None
    appointment_id: AppointmentId | None
    doctor_id: DoctorId | None
    date: datetime.date | None
    position: int | None
    sequence: int | None
    type: str | None
    detail: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Place:
    """How far somebody has read in both logs. Written `looks-events`, such as `12-340`."""

    look: int = 0
    event: int = 0

    def __str__(self) -> str:
        return f"{self.look}-{self.event}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """At least one of them; of several, only what all of them are true of."""

    traces: Traces | None = None
    actor: str | None = None
    date: datetime.date | None = None


@dataclass(frozen=True, slots=True)
class _Found:
    """A record, where it stands in its log, and what it is ordered by."""

    recorded_at: datetime.datetime
    place: Place
    record: AuditRecord


class Onlookers:
    def __init__(self, pool: Pool, mapper: EventMapper, encoder: Encoder) -> None:
        self._pool, self._mapper, self._encoder = pool, mapper, encoder

    async def traces(self, patient_id: PatientId) -> Traces | None:
        """None for a patient who was never registered."""
        return await traces(self._pool, self._mapper, patient_id)

    async def page(self, asked: Asked, *, after: Place, limit: int) -> tuple[list[AuditRecord], Place | None]:
        """A page of what is true of all that was asked for, and where the next one begins; None at the end.

        Raises NewerEvent, UnreadableEvent.
        """
        seen = await self._looks(asked, after.look, limit + 1)
        done = await self._commands(asked, after.event, limit + 1)
        both = list(heapq.merge(seen, done, key=lambda found: found.recorded_at))
        page = both[:limit]
        place = after
        for found in page:
            place = Place(found.place.look or place.look, found.place.event or place.event)
        records = await self._with_patients([found.record for found in page])
        return records, place if len(both) > limit else None

    # --- looks -----------------------------------------------------------------------------------

    async def _looks(self, asked: Asked, after: int, wanted: int) -> list[_Found]:
        found: list[_Found] = []
        while len(found) < wanted:
            rows = await self._rows_of_looks(asked, after)
            watches = await self._watches(rows)
            for row in rows:
                record = self._look(asked, row, watches.get(row.stream, {}))
                if record is not None:
                    found.append(_Found(row.recorded_at, Place(look=row.position), record))
            if len(rows) < ROWS_AT_ONCE:
                break
            after = rows[-1].position
        return found[:wanted]

    async def _rows_of_looks(self, asked: Asked, after: int) -> list[codec.Recorded]:
        """By the narrowest that was asked for; the rest is looked at row by row."""
        page: dict[str, int] = {"after": after, "limit": ROWS_AT_ONCE}
        if asked.traces is not None:
            days = asked.traces.days if asked.date is None else [asked.date]
            return await audit_read.looks_about(
                self._pool, asked.traces.patient_id, asked.traces.subjects, days, **page
            )
        if asked.date is not None:
            return await audit_read.looks_at(self._pool, asked.date, **page)
        assert asked.actor is not None
        return await audit_read.looks_by(self._pool, asked.actor, **page)

    async def _watches(self, rows: Sequence[codec.Recorded]) -> dict[str, dict[int, codec.Recorded]]:
        """Of each subscription and replay its start and its end, as far as they were recorded."""
        streams = {row.stream for row in rows if not row.stream.startswith(looks.READER)}
        watches: dict[str, dict[int, codec.Recorded]] = {}
        for row in await audit_read.of_streams(self._pool, streams) if streams else ():
            watches.setdefault(row.stream, {})[row.version] = row
        return watches

    def _look(self, asked: Asked, row: codec.Recorded, watch: dict[int, codec.Recorded]) -> AuditRecord | None:
        """None for a row that is not what was asked for, or that is told with another."""
        look, end = row.look, watch.get(2)
        if isinstance(look, looks.RecordingInterrupted):
            # What was lost could have been anybody's. What only came late is there.
            told = look.lost or asked.actor == row.meta.actor
            return self._record(row, "recording-interrupted") if told else None
        if asked.actor not in (None, row.meta.actor) or (row.version == 2 and 1 in watch):
            return None
        if asked.date is not None and getattr(look, "date", None) != asked.date:
            return None
        through: Through | None = None
        if asked.traces is not None:
            through = _through(asked.traces, look, end.look if end is not None else None)
            if through is None:
                return None
        record = self._record(row, _kind(look), through, end)
        if asked.traces is None or record.patient_id is not None:
            return record
        return msgspec.structs.replace(record, patient_id=asked.traces.patient_id)

    def _record(
        self, row: codec.Recorded, kind: Kind, through: Through | None = None, end: codec.Recorded | None = None
    ) -> AuditRecord:
        look, meta = row.look, row.meta
        return AuditRecord(
            kind=kind,
            at=self._encoder.time(meta.at),
            recorded_at=self._encoder.time(row.recorded_at),
            actor=meta.actor,
            role=meta.role,
            address=meta.address,
            correlation_id=meta.correlation_id,
            through=through,
            patient_id=getattr(look, "patient_id", None),
            appointment_id=getattr(look, "appointment_id", None),
            doctor_id=getattr(look, "doctor_id", None),
            date=getattr(look, "date", None),
            position=row.position,
            sequence=None,
            type=None,
            detail=self._detail(row, end),
        )

    def _detail(self, row: codec.Recorded, end: codec.Recorded | None) -> dict[str, Any]:
        look = row.look
        told = {name: getattr(look, name) for name in look.__struct_fields__ if name not in _TOLD_BESIDE}
        if isinstance(look, looks.BoardLook):
            told["view"] = "public" if told.pop("public") else "full"
        if _kind(look) in ("subscription", "replay"):
            started = row if row.version == 1 else None
            told = {"started_at": started and started.meta.at, "ended_at": end and end.meta.at, **told}
            match end and end.look:
                case looks.SubscriptionEnded(sequence=last):
                    told["last_sequence"] = last
                case looks.ReplayEnded(first=first, last=last):
                    told |= {"first_sequence": first, "last_sequence": last}
        return {name: self._on_the_wire(value) for name, value in told.items()}

    def _on_the_wire(self, told: Any) -> Any:
        if isinstance(told, datetime.datetime):
            return self._encoder.time(told)
        return msgspec.to_builtins(told)

    # --- commands --------------------------------------------------------------------------------

    async def _commands(self, asked: Asked, after: int, wanted: int) -> list[_Found]:
        found: list[_Found] = []
        while len(found) < wanted:
            rows = await self._rows_of_commands(asked, after)
            for row in rows:
                record = self._command(asked, row)
                if record is not None:
                    found.append(_Found(row.recorded_at, Place(event=row.id), record))
            if len(rows) < ROWS_AT_ONCE:
                break
            after = rows[-1].id
        return found[:wanted]

    async def _rows_of_commands(self, asked: Asked, after: int) -> list[RecordedEvent]:
        if asked.traces is not None:
            subjects = asked.traces.subjects
            return await audit_read.events_about(self._pool, subjects, after=after, limit=ROWS_AT_ONCE)
        if asked.date is not None:
            return await read.day_after(self._pool, asked.date, after=after, limit=ROWS_AT_ONCE)
        assert asked.actor is not None
        return await audit_read.events_by(self._pool, asked.actor, after=after, limit=ROWS_AT_ONCE)

    def _command(self, asked: Asked, row: RecordedEvent) -> AuditRecord | None:
        """None for an event that is not what was asked for, or that no client sees as one."""
        stream_kind, owner = _owner(str(row.originator_id))
        meta = read_meta(row.meta)
        if stream_kind == PATIENT_DAY or asked.actor not in (None, meta.actor) or asked.date not in (None, row.day):
            return None
        is_appointment = stream_kind == CLINIC and row.subject != owner
        through: Through | None = None
        if asked.traces is not None:
            through = "appointment" if is_appointment else "patient"
        return AuditRecord(
            kind="command",
            at=self._encoder.time(row.recorded_at),
            recorded_at=self._encoder.time(row.recorded_at),
            actor=meta.actor,
            role=meta.role,
            address=None,
            correlation_id=meta.correlation_id,
            through=through,
            patient_id=PatientId(owner) if stream_kind == PATIENT else None,
            appointment_id=AppointmentId(row.subject) if is_appointment else None,
            doctor_id=DoctorId(owner) if stream_kind in (CLINIC, DOCTOR) else None,
            date=row.day,
            position=None,
            sequence=row.id,
            type=event_name(row.topic),
            detail={"command": meta.command, "effective_at": self._encoder.time(meta.effective_at)},
        )

    # --- whose appointment -----------------------------------------------------------------------

    async def _with_patients(self, records: Sequence[AuditRecord]) -> list[AuditRecord]:
        """Whose appointments these are: their bookings tell."""
        wanted = {record.appointment_id for record in records if record.appointment_id is not None}
        booked = await read.bookings(self._pool, list(wanted)) if wanted else []
        patients = {row.subject: self._mapper.to_domain_event(row).patient_id for row in booked}  # type: ignore[attr-defined]
        return [
            msgspec.structs.replace(record, patient_id=patients[record.appointment_id])
            if record.appointment_id in patients
            else record
            for record in records
        ]


def _owner(stream: str) -> tuple[str, UUID]:
    """What kind of stream it is, and whose: a patient's or a doctor's."""
    kind, owner = stream.split("/")[:2]
    return kind, UUID(owner)


_TOLD_BESIDE: Final = frozenset({"patient_id", "appointment_id", "doctor_id", "date"})
_WATCHES: Final = (looks.SubscriptionStarted, looks.SubscriptionEnded, looks.ReplayStarted, looks.ReplayEnded)


def _kind(look: looks.Look) -> Kind:
    """Start and end of a subscription, or of a replay, are told as one."""
    topic = look.TOPIC
    if isinstance(look, _WATCHES):
        topic = topic.removesuffix("-started").removesuffix("-ended")
    return topic  # type: ignore[return-value]  # all topics but those two are kinds


def _through(traces: Traces, look: looks.Look, end: looks.Look | None) -> Through | None:
    """How a look shows this patient; None for one that does not."""
    match look:
        case looks.PatientViewed(patient_id=patient_id) | looks.AuditViewed(patient_id=patient_id):
            return "patient" if patient_id == traces.patient_id else None
        case looks.HistoryViewed(appointment_id=appointment_id):
            return "appointment" if appointment_id in traces.appointments else None
        case looks.PatientsSearched(patients=patients):
            return "search" if traces.patient_id in patients else None
        case looks.DayEventsViewed():
            return "events" if traces.told_by(look) else None
        case looks.BoardLook():
            return "board" if traces.shown_by(look, *_positions(look, end)) else None
        case looks.SubscriptionEnded() | looks.ReplayEnded():
            return "board" if look.date in traces.days else None  # What it showed was lost with its start.
        case _:
            return None


def _positions(look: looks.BoardLook, end: looks.Look | None) -> tuple[int, int]:
    """From which position to which a look showed a board. Where nobody knows, it is as much as it can have been."""
    match look, end:
        case looks.SubscriptionStarted(), looks.SubscriptionEnded():
            return look.sequence, end.sequence
        case looks.SubscriptionStarted(), _:
            return look.sequence, FOR_EVER
        case looks.ReplayStarted(by="recorded"), looks.ReplayEnded():
            return end.first, end.last
        case looks.ReplayStarted(), looks.ReplayEnded():  # By effective time a board is none that the log ever had:
            return 0, end.last  # it shows some of all that happened up to there.
        case looks.ReplayStarted(), _:
            return 0, FOR_EVER
        case ((looks.BoardViewed(by="effective") | looks.ExportMade()), _):
            return 0, look.sequence
        case _:
            return look.sequence, look.sequence
