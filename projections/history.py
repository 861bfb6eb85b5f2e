"""What happened, event by event: who, when it was recorded, when it happened, and why."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec

from domain.log import read
from domain.log.codec import EventMapper, Recorded, event_name, read_meta
from domain.rules.events import AppointmentEvent, Event
from domain.rules.ids import AppointmentId, PatientId, Sealed, clinic_of
from projections.shapes import EventRecord

if TYPE_CHECKING:
    from domain.postgres.connect import Pool
    from domain.vault.sealing import Vault
    from projections.encoding import Encoder

_TOLD_BESIDE: Final = frozenset(
    {"originator_id", "originator_version", "originator_topic", "timestamp", "reason", "appointment_id"}
)


@dataclass(frozen=True, slots=True)
class Told:
    """An event as the log holds it, and what is told of it. `patient_id`: whose appointment it is about."""

    row: Recorded
    record: EventRecord
    patient_id: PatientId | None


class History:
    def __init__(self, pool: Pool, vault: Vault, mapper: EventMapper, encoder: Encoder) -> None:
        self._pool, self._vault, self._mapper, self._encoder = pool, vault, mapper, encoder

    async def of_appointment(self, appointment_id: AppointmentId) -> list[EventRecord]:
        """All there is of it, in order; empty for an unknown one."""
        return [told.record for told in await self.tell(await read.subject(self._pool, appointment_id))]

    async def of_day(self, day: date, *, after: int, limit: int) -> list[EventRecord]:
        """A page of a date's events, in order."""
        rows = await read.day_after(self._pool, day, after=after, limit=limit)
        return [told.record for told in await self.tell(rows)]

    async def tell(self, rows: Sequence[Recorded]) -> list[Told]:
        """What there is to say of these events of clinics, in their order."""
        facts = [(row, self._mapper.to_domain_event(row)) for row in rows]
        appointments = {fact.appointment_id for _, fact in facts if isinstance(fact, AppointmentEvent)}
        patients = await self._patients(appointments)
        await self._vault.fetch_keys(patients.values())
        return [self._told(row, fact, patients) for row, fact in facts]

    async def _patients(self, appointments: Iterable[AppointmentId]) -> dict[AppointmentId, PatientId]:
        """Whose appointments these are: their bookings tell."""
        booked = await read.bookings(self._pool, list(appointments))
        return {AppointmentId(row.subject): self._mapper.to_domain_event(row).patient_id for row in booked}  # type: ignore[attr-defined]

    def _told(self, row: Recorded, fact: Event, patients: dict[AppointmentId, PatientId]) -> Told:
        appointment_id = fact.appointment_id if isinstance(fact, AppointmentEvent) else None
        patient_id = patients.get(appointment_id) if appointment_id else None
        record = EventRecord(
            sequence=row.id,
            type=event_name(row.topic),
            recorded_at=self._encoder.time(row.recorded_at),
            effective_at=self._encoder.time(fact.timestamp),
            actor=read_meta(row.meta).actor,
            reason=self._reason(fact, patient_id),
            doctor_id=clinic_of(fact.originator_id)[0],
            appointment_id=appointment_id,
            data=data_of(fact, self._encoder.time),
        )
        return Told(row, record, patient_id)

    def _reason(self, fact: Event, patient_id: PatientId | None) -> str | None:
        """A sealed reason opened; None where there is none, and for a patient forgotten."""
        reason: str | Sealed | None = getattr(fact, "reason", None)
        if isinstance(reason, bytes):
            return self._vault.open_text(patient_id, Sealed(reason)) if patient_id is not None else None
        return reason


def data_of(fact: Event, time: Callable[[datetime], str]) -> dict[str, Any]:
    """What an event's type tells beside, as JSON; `time` writes times."""
    told = {name: getattr(fact, name) for name in fact.__struct_fields__ if name not in _TOLD_BESIDE}
    data: dict[str, Any] = _on_the_wire(msgspec.to_builtins(told, builtin_types=(datetime,)), time)
    return data


def _on_the_wire(told: Any, time: Callable[[datetime], str]) -> Any:
    match told:
        case dict():
            return {key: _on_the_wire(value, time) for key, value in told.items()}
        case list() | tuple():
            return [_on_the_wire(value, time) for value in told]
        case datetime():
            return time(told)
        case _:
            return told
