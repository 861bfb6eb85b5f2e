"""All that is held of one patient: for the patient, who may ask for it, and for whoever has to answer."""

from __future__ import annotations

import datetime
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from domain.log import read
from domain.log.codec import EventMapper, Recorded, event_name, read_meta
from domain.rules.events import Event, PatientErased, TimeReserved
from domain.rules.ids import AppointmentId, DoctorId, PatientId, Sealed, clinic_of
from domain.vault.held import in_vault, outcomes_naming
from domain.vault.sealing import PatientDetails
from projections.onlookers import Asked, AuditRecord, Onlookers, Place
from projections.shapes import Shape

if TYPE_CHECKING:
    from domain.postgres.connect import Pool
    from domain.vault.sealing import Vault

LOOKS_AT_ONCE: Final = 1_000
_DETAILS: Final = "details"


class HeldEvent(Shape, frozen=True, kw_only=True):
    """`sealed`: which of its fields only the patient's key opens; they follow, opened, as long as there is a key."""

    sequence: int
    type: str
    recorded_at: str
    effective_at: str
    actor: str
    sealed: list[str]
    reason: str | None
    details: PatientDetails | None


class HeldAppointment(Shape, frozen=True, kw_only=True):
    """With whom, and on which date, it stands now."""

    appointment_id: AppointmentId
    doctor_id: DoctorId
    date: datetime.date
    events: list[HeldEvent]


class Held(Shape, frozen=True, kw_only=True):
    """Times are RFC 3339 in the hospital's zone. `details` as they are now; earlier ones stand with their events.

    `looks`: who saw this patient.
    """

    patient_id: PatientId
    registered_at: str
    erased_at: str | None
    details: PatientDetails | None
    key: bool
    search_tokens: int
    claims: int
    remembered_outcomes: int
    events: list[HeldEvent]
    appointments: list[HeldAppointment]
    looks: list[AuditRecord]


class Holdings:
    def __init__(self, pool: Pool, vault: Vault, mapper: EventMapper, onlookers: Onlookers, zone: ZoneInfo) -> None:
        self._pool, self._vault, self._mapper, self._zone = pool, vault, mapper, zone
        self._onlookers = onlookers

    async def of_patient(self, patient_id: PatientId) -> Held | None:
        """None for somebody who never was."""
        own = self._facts(await read.own_of_patient(self._pool, patient_id))
        if not own:
            return None
        await self._vault.fetch_keys([patient_id])
        appointments = list(dict.fromkeys(fact.appointment_id for _, fact in own if isinstance(fact, TimeReserved)))
        vault = await in_vault(self._pool, patient_id)
        events = [self._event(patient_id, row, fact) for row, fact in own]
        return Held(
            patient_id=patient_id,
            registered_at=events[0].recorded_at,
            erased_at=next((self._time(row.recorded_at) for row, fact in own if isinstance(fact, PatientErased)), None),
            details=next((event.details for event in reversed(events) if event.details is not None), None),
            key=vault.key,
            search_tokens=vault.search_tokens,
            claims=vault.claims,
            remembered_outcomes=await outcomes_naming(self._pool, [patient_id, *appointments]),
            events=events,
            appointments=[await self._appointment(patient_id, appointment_id) for appointment_id in appointments],
            looks=[look async for look in self._looks(patient_id)],
        )

    async def _looks(self, patient_id: PatientId) -> AsyncIterator[AuditRecord]:
        """Who saw them. What was done to them is told by the events."""
        asked, place = Asked(traces=await self._onlookers.traces(patient_id)), Place()
        while True:
            records, following = await self._onlookers.page(asked, after=place, limit=LOOKS_AT_ONCE)
            for record in records:
                if record.kind != "command":
                    yield record
            if following is None:
                return
            place = following

    async def _appointment(self, patient_id: PatientId, appointment_id: AppointmentId) -> HeldAppointment:
        facts = self._facts(await read.subject(self._pool, appointment_id))
        doctor_id, date = clinic_of(facts[-1][1].originator_id)
        return HeldAppointment(
            appointment_id=appointment_id,
            doctor_id=doctor_id,
            date=date,
            events=[self._event(patient_id, row, fact) for row, fact in facts],
        )

    def _facts(self, rows: Sequence[Recorded]) -> list[tuple[Recorded, Event]]:
        return [(row, self._mapper.to_domain_event(row)) for row in rows]

    def _event(self, patient_id: PatientId, row: Recorded, fact: Event) -> HeldEvent:
        told = {name: getattr(fact, name) for name in fact.__struct_fields__}
        sealed = {name: Sealed(value) for name, value in told.items() if isinstance(value, bytes)}
        reason = self._vault.open_text(patient_id, sealed["reason"]) if "reason" in sealed else told.get("reason")
        return HeldEvent(
            sequence=row.id,
            type=event_name(row.topic),
            recorded_at=self._time(row.recorded_at),
            effective_at=self._time(fact.timestamp),
            actor=read_meta(row.meta).actor,
            sealed=sorted(sealed),
            reason=reason,
            details=self._vault.open_details(patient_id, sealed[_DETAILS]) if _DETAILS in sealed else None,
        )

    def _time(self, at: datetime.datetime) -> str:
        return at.astimezone(self._zone).isoformat(timespec="seconds")
