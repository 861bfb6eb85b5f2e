"""What a client sees, key by key. The order of fields is the order on the wire.

These structs say what the answers look like (OpenAPI is made from them) and are what a board's cached bytes must
equal. Times are RFC 3339 in the hospital's zone, to the second.
"""

from __future__ import annotations

import datetime
from typing import Any, Literal
from uuid import UUID

import msgspec

from domain.rules.commands import Gender
from domain.rules.events import Order, Priority, Stage, Status
from domain.rules.ids import AppointmentId, DoctorId, PatientId

ClinicStatus = Literal["open", "closed", "finished"]
By = Literal["recorded", "effective"]
"""The past as the log got to know of it, or as it was."""


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """A JSON object, every key always there."""


class QueueEntry(Shape, frozen=True, kw_only=True):
    position: int
    checked_in_at: str
    called_at: str | None
    completed_at: str | None
    status: Stage
    ticket: str


class Patient(Shape, frozen=True, kw_only=True):
    """A patient on a board. `age`: whole years on the date shown."""

    id: PatientId
    name: str
    phone: str | None
    age: int | None
    gender: Gender


class BoardAppointment(Shape, frozen=True, kw_only=True):
    appointment_id: AppointmentId
    slot: int
    status: Status
    priority: Priority
    patient: Patient
    queue: QueueEntry | None


class BoardDoctor(Shape, frozen=True, kw_only=True):
    id: DoctorId
    name: str
    code: str
    specialty: str


class ClinicBlock(Shape, frozen=True, kw_only=True):
    """`booked`: slots held; `waiting`: the line."""

    status: ClinicStatus
    capacity: int
    booked: int
    free: int
    waiting: int
    starts_at: str
    slot_minutes: int
    room: str | None
    delay_minutes: int
    note: str | None


class DoctorBlock(Shape, frozen=True, kw_only=True):
    doctor: BoardDoctor
    total_appointments: int
    checked_in_count: int
    clinic: ClinicBlock
    appointments: list[BoardAppointment]


class Day(Shape, frozen=True, kw_only=True):
    """All clinics of one date."""

    date: datetime.date
    total_appointments: int
    total_doctors: int
    doctors: list[DoctorBlock]
    timestamp: str


class DoctorDay(Shape, frozen=True, kw_only=True):
    """One doctor on one date; `clinic` is null where there is none."""

    date: datetime.date
    doctor: BoardDoctor
    total_appointments: int
    checked_in_count: int
    clinic: ClinicBlock | None
    appointments: list[BoardAppointment]
    timestamp: str


class PublicPatient(Shape, frozen=True, kw_only=True):
    """A patient as everybody in the waiting room may know them; null for one who wants to be nobody there."""

    name: str | None


class PublicAppointment(Shape, frozen=True, kw_only=True):
    appointment_id: AppointmentId
    slot: int
    status: Status
    priority: Priority
    patient: PublicPatient
    queue: QueueEntry | None


class PublicDoctorBlock(Shape, frozen=True, kw_only=True):
    doctor: BoardDoctor
    total_appointments: int
    checked_in_count: int
    clinic: ClinicBlock
    appointments: list[PublicAppointment]


class PublicDay(Shape, frozen=True, kw_only=True):
    """A Day for a display that everybody can read."""

    date: datetime.date
    total_appointments: int
    total_doctors: int
    doctors: list[PublicDoctorBlock]
    timestamp: str


class PublicDoctorDay(Shape, frozen=True, kw_only=True):
    """A DoctorDay for a display that everybody can read."""

    date: datetime.date
    doctor: BoardDoctor
    total_appointments: int
    checked_in_count: int
    clinic: ClinicBlock | None
    appointments: list[PublicAppointment]
    timestamp: str


class BlockChange(Shape, frozen=True, kw_only=True):
    """What is another than before in one doctor's block; all of it absolute. Fields that are not there stay.

    `appointments`: those that changed, whole. `positions`: of those of whom nothing else changed. `removed`: those
    that are not listed any more.
    """

    doctor_id: DoctorId
    doctor: BoardDoctor | msgspec.UnsetType = msgspec.UNSET
    total_appointments: int | msgspec.UnsetType = msgspec.UNSET
    checked_in_count: int | msgspec.UnsetType = msgspec.UNSET
    clinic: ClinicBlock | msgspec.UnsetType = msgspec.UNSET
    appointments: list[BoardAppointment]
    positions: dict[str, int]
    removed: list[AppointmentId]


class PublicBlockChange(Shape, frozen=True, kw_only=True):
    """A BlockChange for a display that everybody can read."""

    doctor_id: DoctorId
    doctor: BoardDoctor | msgspec.UnsetType = msgspec.UNSET
    total_appointments: int | msgspec.UnsetType = msgspec.UNSET
    checked_in_count: int | msgspec.UnsetType = msgspec.UNSET
    clinic: ClinicBlock | msgspec.UnsetType = msgspec.UNSET
    appointments: list[PublicAppointment]
    positions: dict[str, int]
    removed: list[AppointmentId]


class DayChange(Shape, frozen=True, kw_only=True):
    """What became another on a date since a sequence: its totals, and the blocks that changed.

    `removed_doctors`: whose blocks a subscription does not show any more.
    """

    total_appointments: int
    total_doctors: int
    doctors: list[BlockChange]
    removed_doctors: list[DoctorId] | msgspec.UnsetType = msgspec.UNSET
    timestamp: str


class PublicDayChange(Shape, frozen=True, kw_only=True):
    """A DayChange for a display that everybody can read."""

    total_appointments: int
    total_doctors: int
    doctors: list[PublicBlockChange]
    removed_doctors: list[DoctorId] | msgspec.UnsetType = msgspec.UNSET
    timestamp: str


class Why(Shape, frozen=True, kw_only=True):
    """Why an entry stands where it does: how many are ahead because they are more urgent, how many by the clinic's
    order among those as urgent; and whether the place was kept during a hold."""

    text: str
    order: Order
    priority: Priority
    ahead_by_priority: int
    ahead_by_order: int
    place_kept: bool


class Appointment(Shape, frozen=True, kw_only=True):
    """An appointment as a command's answer has it."""

    appointment_id: AppointmentId
    doctor_id: DoctorId
    patient_id: PatientId
    date: datetime.date
    slot: int
    status: Status
    priority: Priority
    queue: QueueEntry | None
    sequence: int


class ExplainedAppointment(Appointment, frozen=True, kw_only=True):
    """An appointment, and for one that is waiting, why it stands where it does."""

    why: Why | msgspec.UnsetType = msgspec.UNSET


class Reassigned(Shape, frozen=True, kw_only=True):
    """Who moved when a clinic was reassigned."""

    moved: list[Appointment]
    sequence: int


class NobodyCalled(Shape, frozen=True, kw_only=True):
    """What call-next answers when it completed somebody and nobody is waiting."""

    appointment_id: None = None
    doctor_id: DoctorId
    patient_id: None = None
    date: datetime.date
    slot: None = None
    status: None = None
    priority: None = None
    queue: None = None
    sequence: int


class EventRecord(Shape, frozen=True, kw_only=True):
    """One event: `data` is what its type tells beside. `reason` of an erased patient's event is null."""

    sequence: int
    type: str
    recorded_at: str
    effective_at: str
    actor: str
    reason: str | None
    doctor_id: DoctorId
    appointment_id: AppointmentId | None
    data: dict[str, Any]


class ExportHead(Shape, frozen=True, kw_only=True):
    """The first line of an exported day. `up_to`: the newest event of the log that it could hold.

    `checkpoint`: what its events are proven against, signed by `key`; null before anything is sealed.
    """

    export: Literal["daysheet"] = "daysheet"
    format: int = 1
    store_id: UUID
    timezone: str
    date: datetime.date
    made_at: str
    up_to: int
    key: str | None
    checkpoint: str | None


class StoredRow(Shape, frozen=True, kw_only=True):
    """What the log holds of an event beside what its line says already, to the letter: its leaf is made of these."""

    type: str
    day: datetime.date | None
    subject: UUID
    meta: str
    data: str


class EventProof(Shape, frozen=True, kw_only=True):
    """RFC 6962, 2.1.1: `hashes` lead from `leaf_hash` to the checkpoint's root. In base64."""

    leaf_hash: str
    hashes: list[str]


class ExportedEvent(EventRecord, frozen=True, kw_only=True):
    """An event with all that the log knows of it. `recorded_at_utc` and `effective_at_utc` are to the microsecond.

    `proof` is null for an event that is newer than the checkpoint.
    """

    patient_id: PatientId | None
    stream: str
    version: int
    role: str
    command: str
    command_id: UUID
    correlation_id: str | None
    recorded_at_utc: str
    effective_at_utc: str
    stored: StoredRow
    proof: EventProof | None


class ExportEnd(Shape, frozen=True, kw_only=True):
    """The last line of an exported day: one that lacks it was cut off."""

    end: Literal["daysheet"] = "daysheet"
    events: int


class ClinicCard(ClinicBlock, frozen=True, kw_only=True):
    """A clinic as PUT answers it."""

    doctor_id: DoctorId
    date: datetime.date
    order: Order
    sequence: int


class DoctorCard(Shape, frozen=True, kw_only=True):
    """A doctor in the registry."""

    id: DoctorId
    name: str
    code: str
    specialty: str
    department: str | None
    room: str | None
    sequence: int


class PatientCard(Shape, frozen=True, kw_only=True):
    """A patient in the registry."""

    id: PatientId
    name: str
    phone: str | None
    birth_date: datetime.date | None
    age: int | None
    gender: Gender
    mrn: str | None
    private: bool | None
    sequence: int
