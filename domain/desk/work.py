"""One try at one command: what it locked, loaded and decided, until it is appended or thrown away."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Final, Self, cast
from uuid import UUID

import msgspec

from domain.desk.streams import Aggregate, Stream, in_lock_order
from domain.log import read
from domain.log.append import Conflict, Request, VaultChange
from domain.log.codec import Draft, Meta
from domain.rules.appointment import Appointment, Moment
from domain.rules.clinic import Clinic
from domain.rules.doctor import Doctor
from domain.rules.ids import (
    CLINIC,
    AppointmentId,
    DoctorId,
    PatientId,
    Sealed,
    clinic_stream,
    doctor_stream,
    patient_day_stream,
    patient_stream,
)
from domain.rules.patient import Patient
from domain.rules.patient_day import PatientDay
from domain.rules.refusals import (
    EffectiveInFuture,
    Refusal,
    UnknownAppointment,
    UnknownClinic,
    UnknownDoctor,
    UnknownPatient,
)
from domain.rules.settings import Settings

if TYPE_CHECKING:
    from domain.desk.equipment import Equipment
    from domain.desk.outcome import Asker

_encode_meta: Final = msgspec.json.Encoder().encode


@dataclass(slots=True)
class Work:
    equipment: Equipment
    asker: Asker
    command: Any
    fresh: bool
    """Read from the log even what is at hand: the last try was decided on something that may be behind."""

    now: datetime = field(init=False)
    from_memory: bool = False
    claims: list[type[Refusal]] = field(default_factory=list)
    vault: list[VaultChange] = field(default_factory=list)
    _stack: AsyncExitStack = field(default_factory=AsyncExitStack)
    _held: list[str] = field(default_factory=list)
    _loaded: dict[str, Stream] = field(default_factory=dict)
    _rests_on: dict[str, int] = field(default_factory=dict)
    _touched: dict[str, Aggregate] = field(default_factory=dict)

    async def __aenter__(self) -> Self:
        self.now = self.equipment.now()
        return self

    async def __aexit__(self, *_: object) -> None:
        # What was decided and not appended never happened.
        self.equipment.streams.drop(name for name, aggregate in self._touched.items() if aggregate.pending_events)
        await self._stack.aclose()

    # --- what the rules need to know -------------------------------------------------------------

    def new_id(self) -> UUID:
        return self.equipment.new_id()

    def moment(self) -> Moment:
        """Raises EffectiveInFuture."""
        named: datetime | None = self.command.effective_at
        if named is not None and named > self.now:
            raise EffectiveInFuture
        at = named or self.now
        return Moment(at, self.equipment.date_of(at), late=named is not None)

    async def lock(self, *names: str) -> None:
        """Until this try is over. Later calls may only ask for names that come after those held."""
        for name in in_lock_order(set(names) - set(self._held)):
            assert not self._held or name > self._held[-1], f"{name} after {self._held[-1]} could end in a deadlock"
            await self._stack.enter_async_context(self.equipment.locks.hold(name))
            self._held.append(name)

    async def load(self, *names: str) -> None:
        if self.fresh:
            self._loaded.update(await self.equipment.streams.catch_up(names))
        else:
            streams, from_memory = await self.equipment.streams.load(names)
            self._loaded.update(streams)
            self.from_memory |= from_memory

    async def rest_on(self, *names: str) -> None:
        """Load what this command appends nothing to, but would decide otherwise if it changed."""
        await self.load(*names)
        for name in names:
            if name in self._loaded:
                self._rests_on[name] = self._loaded[name].aggregate.version

    def doctor(self, doctor_id: DoctorId) -> Doctor:
        """Raises UnknownDoctor, Conflict."""
        return cast(Doctor, self._as_recorded(doctor_stream(doctor_id), UnknownDoctor))

    def patient(self, patient_id: PatientId) -> Patient:
        """Also an erased one. Raises UnknownPatient, Conflict."""
        return cast(Patient, self._as_recorded(patient_stream(patient_id), UnknownPatient))

    def _as_recorded(self, stream: str, unknown: type[Refusal]) -> Aggregate:
        """Raises Conflict while another command, which holds its lock, waits to hear whether what it decided is
        recorded: nothing may rest on what perhaps never is. Its version does not tell, since another server's event
        may get the same."""
        found = self._loaded.get(stream)
        if found is None:
            raise unknown
        if found.aggregate.pending_events and stream not in self._held:
            raise Conflict
        return found.aggregate

    def clinic(self, doctor_id: DoctorId, day: date) -> Clinic | None:
        found = self._loaded.get(clinic_stream(doctor_id, day))
        return cast(Clinic, found.aggregate) if found else None

    def existing_clinic(self, doctor_id: DoctorId, day: date) -> Clinic:
        """A loaded clinic, whose new events belong to this command. Raises UnknownClinic."""
        if self.clinic(doctor_id, day) is None:
            raise UnknownClinic
        return cast(Clinic, self.touch(clinic_stream(doctor_id, day)))

    def clinic_or_new(self, doctor_id: DoctorId, day: date, *, at: datetime) -> Clinic:
        """The same, opened with the defaults where nobody did. The doctor must be loaded."""
        if self.clinic(doctor_id, day) is None:
            settings = Settings(room=self.doctor(doctor_id).details.room)
            self.begin(Clinic.open(clinic_stream(doctor_id, day), settings, reason=None, at=at))
        return cast(Clinic, self.touch(clinic_stream(doctor_id, day)))

    async def where(self, appointment_id: AppointmentId) -> str:
        """The stream of the clinic that an appointment stands in, not locked yet. Raises UnknownAppointment."""
        stream = self.equipment.whereabouts.get(appointment_id)
        if stream is not None and not self.fresh:
            self.from_memory = True
            return stream
        stream = await read.stream_of(self.equipment.pool, appointment_id)
        if stream is None:
            raise UnknownAppointment
        self.equipment.whereabouts[appointment_id] = stream
        return stream

    def clinic_of_appointment(self, stream: str, appointment_id: AppointmentId) -> Clinic:
        """The clinic of a loaded stream. Raises Conflict when the appointment has left it: decide again."""
        clinic = cast(Clinic, self.touch(stream))
        if appointment_id not in clinic.appointments:
            raise Conflict
        return clinic

    async def clinic_with(self, appointment_id: AppointmentId) -> Clinic:
        """The clinic that an appointment stands in, locked and loaded. Raises UnknownAppointment, Conflict."""
        stream = await self.where(appointment_id)
        await self.lock(stream)
        await self.load(stream)
        return self.clinic_of_appointment(stream, appointment_id)

    async def look_at(self, stream: str, appointment_id: AppointmentId) -> Appointment:
        """An appointment as it stands before its clinic is locked for this try: it may be another a moment later.
        Raises Conflict as `clinic_of_appointment` does."""
        # With the lock all the same: what is read is folded into what its holder would be deciding on.
        async with self.equipment.locks.hold(stream):
            await self.load(stream)
            found = cast(Clinic, self._loaded[stream].aggregate).appointments.get(appointment_id)
        if found is None:
            raise Conflict
        return found

    async def lock_days(self, patient_id: PatientId, *days: date) -> None:
        await self.lock(*(patient_day_stream(patient_id, day) for day in days))

    async def lock_days_of(self, patient_ids: Iterable[PatientId], day: date) -> None:
        await self.lock(*(patient_day_stream(patient_id, day) for patient_id in patient_ids))

    async def patient_day(self, patient_id: PatientId, day: date) -> PatientDay:
        """Locked and loaded. After the clinics: see in_lock_order."""
        stream = patient_day_stream(patient_id, day)
        await self.lock(stream)
        await self.load(stream)
        return cast(PatientDay, self.touch(stream))

    async def free_days(self, clinic: Clinic, appointments: Collection[Appointment], *, at: datetime) -> None:
        """These patients have the time of these appointments again."""
        await self.lock_days_of([appointment.patient_id for appointment in appointments], clinic.date)
        for appointment in appointments:
            day = await self.patient_day(appointment.patient_id, clinic.date)
            day.release(appointment.appointment_id, at=at)

    async def seal_reason(self, patient_id: PatientId) -> Sealed | None:
        if self.command.reason is None:
            return None
        await self.equipment.vault.fetch_keys([patient_id])
        return self.equipment.vault.seal(patient_id, self.command.reason)

    # --- what was decided ------------------------------------------------------------------------

    def touch(self, stream: str) -> Aggregate:
        """The aggregate of a loaded stream, whose new events belong to this command."""
        aggregate = self._touched[stream] = self._loaded[stream].aggregate
        return aggregate

    def begin(self, aggregate: Aggregate) -> None:
        """A stream's first events."""
        self._loaded[aggregate.id] = Stream(aggregate, 0)
        self._touched[aggregate.id] = aggregate

    def claim(self, kind: str, value: str, holder: UUID, refusal: type[Refusal]) -> None:
        """`value` is to be `holder`'s alone; `refusal` is what it means when it is not."""
        self.claims.append(refusal)
        self.vault.append(VaultChange("claim", holder, self.equipment.digests.claim(kind, value)))

    def exchange(self, kind: str, old: str | None, new: str | None, holder: UUID, refusal: type[Refusal]) -> None:
        """`holder` gives one claim back and takes another. They may be the same but for letter case."""
        digest = self.equipment.digests.claim
        if old is not None and (new is None or digest(kind, old) != digest(kind, new)):
            self.vault.append(VaultChange("unclaim", holder, digest(kind, old)))
        if new is not None:
            self.claim(kind, new, holder, refusal)

    @property
    def changed(self) -> bool:
        return any(aggregate.pending_events for aggregate in self._touched.values())

    @property
    def position(self) -> int:
        """The newest event in any stream this try has loaded for writing."""
        return max((self._loaded[name].position for name in self._touched), default=0)

    async def commit(self, request: Request | None) -> int | None:
        """Append what was decided. Returns the position of the last event."""
        drafts = self._drafts()
        position = await self.equipment.writer.append(drafts, self.vault, request, self._rests_on)
        for name, aggregate in self._touched.items():
            if aggregate.pending_events:
                aggregate.collect_events()
                self.equipment.streams.keep(name, Stream(aggregate, position or 0))
        for draft in drafts:
            if draft.day is not None:
                self.equipment.whereabouts[AppointmentId(draft.subject)] = str(draft.originator_id)
        return position

    def _drafts(self) -> list[Draft]:
        meta = _encode_meta(
            Meta(
                effective_at=self.command.effective_at or self.now,
                command=type(self.command).__name__,
                command_id=self.new_id(),
                correlation_id=self.asker.correlation_id,
                actor=self.asker.actor,
                role=self.asker.role,
            )
        )
        mapper = self.equipment.mapper
        # Clinics last: a command's answer names its last event, which a monitor of that day is to see.
        touched = sorted(self._touched.items(), key=lambda item: item[0].startswith(CLINIC + "/"))
        return [mapper.to_draft(event, meta=meta) for _, aggregate in touched for event in aggregate.pending_events]  # type: ignore[arg-type]
