"""One try at one command: what it locked, loaded and decided, until it is appended or thrown away."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Final, Self, cast
from uuid import UUID

import msgspec

from domain.desk.streams import Aggregate, Stream, in_lock_order
from domain.log import read
from domain.log.append import Request, VaultChange
from domain.log.codec import Draft, Meta
from domain.rules.clinic import Clinic, Moment
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
from domain.rules.refusals import EffectiveInFuture, Refusal, UnknownAppointment, UnknownDoctor, UnknownPatient

if TYPE_CHECKING:
    from domain.desk.desk import Desk
    from domain.desk.outcome import Asker

_encode_meta: Final = msgspec.json.Encoder().encode


@dataclass(slots=True)
class Work:
    desk: Desk
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
    _touched: dict[str, Aggregate] = field(default_factory=dict)

    async def __aenter__(self) -> Self:
        self.now = self.desk.now()
        return self

    async def __aexit__(self, *_: object) -> None:
        # What was decided and not appended never happened.
        self.desk.streams.drop(name for name, aggregate in self._touched.items() if aggregate.pending_events)
        await self._stack.aclose()

    # --- what the rules need to know -------------------------------------------------------------

    def new_id(self) -> UUID:
        return self.desk.new_id()

    def moment(self) -> Moment:
        """Raises EffectiveInFuture."""
        named: datetime | None = self.command.effective_at
        if named is not None and named > self.now:
            raise EffectiveInFuture
        at = named or self.now
        return Moment(at, self.desk.date_of(at), late=named is not None)

    async def lock(self, *names: str) -> None:
        """Until this try is over. Later calls may only ask for names that come after those held."""
        for name in in_lock_order(set(names) - set(self._held)):
            assert not self._held or name > self._held[-1], f"{name} after {self._held[-1]} could end in a deadlock"
            await self._stack.enter_async_context(self.desk.locks.hold(name))
            self._held.append(name)

    async def load(self, *names: str) -> None:
        if self.fresh:
            self._loaded.update(await self.desk.streams.catch_up(names))
        else:
            streams, from_memory = await self.desk.streams.load(names)
            self._loaded.update(streams)
            self.from_memory |= from_memory

    def doctor(self, doctor_id: DoctorId) -> Doctor:
        found = self._loaded.get(doctor_stream(doctor_id))
        if found is None:
            raise UnknownDoctor
        return cast(Doctor, found.aggregate)

    def patient(self, patient_id: PatientId) -> Patient:
        """Also an erased one. Raises UnknownPatient."""
        found = self._loaded.get(patient_stream(patient_id))
        if found is None:
            raise UnknownPatient
        return cast(Patient, found.aggregate)

    def clinic(self, doctor_id: DoctorId, day: date) -> Clinic | None:
        found = self._loaded.get(clinic_stream(doctor_id, day))
        return cast(Clinic, found.aggregate) if found else None

    async def clinic_with(self, appointment_id: AppointmentId) -> Clinic:
        """The clinic that an appointment stands in, locked and loaded. Raises UnknownAppointment."""
        stream = self.desk.whereabouts.get(appointment_id)
        if stream is None or self.fresh:
            stream = await read.stream_of(self.desk.pool, appointment_id)
            if stream is None:
                raise UnknownAppointment
            self.desk.whereabouts[appointment_id] = stream
        else:
            self.from_memory = True
        await self.lock(stream)
        await self.load(stream)
        return cast(Clinic, self.touch(stream))

    async def patient_day(self, patient_id: PatientId, day: date) -> PatientDay:
        """Locked and loaded. After the clinics: see in_lock_order."""
        stream = patient_day_stream(patient_id, day)
        await self.lock(stream)
        await self.load(stream)
        return cast(PatientDay, self.touch(stream))

    async def seal_reason(self, patient_id: PatientId) -> Sealed | None:
        if self.command.reason is None:
            return None
        await self.desk.vault.fetch_keys([patient_id])
        return self.desk.vault.seal(patient_id, self.command.reason)

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
        self.vault.append(VaultChange("claim", holder, self.desk.digests.claim(kind, value)))

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
        position = await self.desk.writer.append(drafts, self.vault, request)
        for name, aggregate in self._touched.items():
            if aggregate.pending_events:
                aggregate.collect_events()
                self.desk.streams.keep(name, Stream(aggregate, position or 0))
        for draft in drafts:
            if draft.day is not None:
                self.desk.whereabouts[AppointmentId(draft.subject)] = str(draft.originator_id)
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
        mapper = self.desk.mapper
        # Clinics last: a command's answer names its last event, which a monitor of that day is to see.
        touched = sorted(self._touched.items(), key=lambda item: item[0].startswith(CLINIC + "/"))
        return [mapper.to_draft(event, meta=meta) for _, aggregate in touched for event in aggregate.pending_events]  # type: ignore[arg-type]
