"""Every request, in the imperative. REST decodes straight into these; `desk` carries them out.

Fields that a route takes from its path (see gateway/rest/routes.py) are ordinary fields here. `None` means absent.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Annotated, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from domain.rules.events import Order, Priority
from domain.rules.ids import AppointmentId, DoctorId, PatientId

# PostgreSQL stores no NUL, and a name of blanks is none.
_SOME_TEXT = r"^[^\x00]*[^\s\x00][^\x00]*$"

Name = Annotated[str, Meta(min_length=1, max_length=200, pattern=_SOME_TEXT)]
Label = Annotated[str, Meta(min_length=1, max_length=100, pattern=_SOME_TEXT)]
"""A specialty, department or room."""
Mark = Annotated[str, Meta(min_length=1, max_length=40, pattern=_SOME_TEXT)]
"""A code, phone number or medical record number."""
Reason = Annotated[str, Meta(min_length=1, max_length=200, pattern=_SOME_TEXT)]
Age = Annotated[int, Meta(ge=0, le=150)]
ClockTime = Annotated[str, Meta(max_length=5, pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$", examples=["09:00"])]
"""Hours and minutes on the clock on the wall. The length: in Python `$` also stands before a last line break."""
Amount = Annotated[int, Meta(ge=1, le=2**31 - 1)]
"""Of slots, or of minutes. Whether a day holds that many is a rule's to say."""
Slot = Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)]
"""As asked for. Whether there is such a slot is a rule's to say."""
Instant = Annotated[datetime, Meta(tz=True)]
EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""Nothing of ours happened before. The calendar's very first days do not exist in every zone."""
Gender = Literal["male", "female", "other", "unknown"]


class Command(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request. `reason`: why. `effective_at`: when it really happened, for late entry."""

    reason: Reason | None = None
    effective_at: Instant | None = None

    def __post_init__(self) -> None:
        if self.effective_at is not None and self.effective_at < EARLIEST:
            raise ValueError(f"field `effective_at` lies before {EARLIEST.year}")


# --- registry ------------------------------------------------------------------------------------


class RegisterDoctor(Command, frozen=True, kw_only=True):
    name: Name
    code: Mark
    specialty: Label
    department: Label | None = None
    room: Label | None = None


class RegisterPatient(Command, frozen=True, kw_only=True):
    name: Name
    phone: Mark | None = None
    birth_date: date | None = None
    age: Age | None = None
    gender: Gender | None = None
    mrn: Mark | None = None
    private: bool | None = None


class ErasePatient(Command, frozen=True, kw_only=True):
    patient_id: PatientId
    reason: Reason


class ChangeDoctor(Command, frozen=True, kw_only=True):
    """What is left out stays; `null` clears what may be absent."""

    doctor_id: DoctorId
    name: Name | UnsetType = UNSET
    code: Mark | UnsetType = UNSET
    specialty: Label | UnsetType = UNSET
    department: Label | UnsetType | None = UNSET
    room: Label | UnsetType | None = UNSET


class ChangePatient(Command, frozen=True, kw_only=True):
    """What is left out stays; `null` clears what may be absent."""

    patient_id: PatientId
    name: Name | UnsetType = UNSET
    phone: Mark | UnsetType | None = UNSET
    birth_date: date | UnsetType | None = UNSET
    age: Age | UnsetType | None = UNSET
    gender: Gender | UnsetType | None = UNSET
    mrn: Mark | UnsetType | None = UNSET
    private: bool | UnsetType | None = UNSET


# --- clinics -------------------------------------------------------------------------------------


class SetUpClinic(Command, frozen=True, kw_only=True):
    """Opens the clinic, or changes it. What is `None` keeps its value, or takes the default when opening."""

    doctor_id: DoctorId
    date: date
    capacity: Amount
    starts_at: ClockTime | None = None
    slot_minutes: Amount | None = None
    room: Label | None = None
    order: Order | None = None


class CloseClinic(Command, frozen=True, kw_only=True):
    doctor_id: DoctorId
    date: date


class ReopenClinic(Command, frozen=True, kw_only=True):
    doctor_id: DoctorId
    date: date


class DelayClinic(Command, frozen=True, kw_only=True):
    """Running late by so many minutes, or 0."""

    doctor_id: DoctorId
    date: date
    minutes: Annotated[int, Meta(ge=0, le=1440)]
    note: Reason | None = None


class FinishClinic(Command, frozen=True, kw_only=True):
    doctor_id: DoctorId
    date: date


class ReassignClinic(Command, frozen=True, kw_only=True):
    """Everyone who is still to be seen goes to another doctor on the same date, or nobody does."""

    doctor_id: DoctorId
    date: date
    to_doctor_id: DoctorId
    allow_overlap: bool | None = None
    reason: Reason


class CallNext(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Call whoever stands first. Not for late entry: who stood first back then is not known."""

    doctor_id: DoctorId
    date: date | None = None
    complete_current: bool | None = None
    reason: Reason | None = None

    @property
    def effective_at(self) -> None:
        return None


# --- appointments --------------------------------------------------------------------------------


class BookAppointment(Command, frozen=True, kw_only=True):
    doctor_id: DoctorId
    patient_id: PatientId
    date: date
    slot: Slot | None = None
    priority: Priority | None = None
    allow_overlap: bool | None = None


class WalkIn(Command, frozen=True, kw_only=True):
    """Booked and checked in at once, today."""

    doctor_id: DoctorId
    patient_id: PatientId
    priority: Priority | None = None
    allow_overlap: bool | None = None


class CheckIn(Command, frozen=True, kw_only=True):
    appointment_id: AppointmentId
    patient_id: PatientId | None = None


class CompleteConsultation(Command, frozen=True, kw_only=True):
    appointment_id: AppointmentId


class CallPatient(Command, frozen=True, kw_only=True):
    """Out of turn, so there has to be a reason."""

    appointment_id: AppointmentId
    reason: Reason


class RecallPatient(Command, frozen=True, kw_only=True):
    appointment_id: AppointmentId


class StartConsultation(Command, frozen=True, kw_only=True):
    appointment_id: AppointmentId


class PutOnHold(Command, frozen=True, kw_only=True):
    appointment_id: AppointmentId


class Resume(Command, frozen=True, kw_only=True):
    appointment_id: AppointmentId


class MarkNoShow(Command, frozen=True, kw_only=True):
    appointment_id: AppointmentId


class ChangePriority(Command, frozen=True, kw_only=True):
    appointment_id: AppointmentId
    priority: Priority
    reason: Reason


class MoveAppointment(Command, frozen=True, kw_only=True):
    """To another slot, doctor or date; what is absent stays, except that without a slot it is the lowest free one."""

    appointment_id: AppointmentId
    doctor_id: DoctorId | None = None
    date: date | None = None
    slot: Slot | None = None
    allow_overlap: bool | None = None
    reason: Reason


class UndoStep(Command, frozen=True, kw_only=True):
    """Take back the last step that is not taken back yet."""

    appointment_id: AppointmentId
    reason: Reason


class CancelAppointment(Command, frozen=True, kw_only=True):
    appointment_id: AppointmentId
