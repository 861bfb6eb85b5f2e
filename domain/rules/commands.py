"""Every request, in the imperative. REST decodes straight into these; `desk` carries them out.

Fields that a route takes from its path (see gateway/rest/routes.py) are ordinary fields here. `None` means absent.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

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
ClockTime = Annotated[str, Meta(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$", examples=["09:00"])]
"""Hours and minutes on the clock on the wall."""
Minutes = Annotated[int, Meta(ge=1, le=1440)]
Slot = Annotated[int, Meta(ge=1, le=1440)]
"""A day has 1,440 minutes, and no slot is shorter than one."""
Instant = Annotated[datetime, Meta(tz=True)]
Gender = Literal["male", "female", "other", "unknown"]


class Command(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request. `reason`: why. `effective_at`: when it really happened, for late entry."""

    reason: Reason | None = None
    effective_at: Instant | None = None


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


# --- clinics -------------------------------------------------------------------------------------


class SetUpClinic(Command, frozen=True, kw_only=True):
    """Opens the clinic, or changes it. What is `None` keeps its value, or takes the default when opening."""

    doctor_id: DoctorId
    date: date
    capacity: Slot
    starts_at: ClockTime | None = None
    slot_minutes: Minutes | None = None
    room: Label | None = None
    order: Order | None = None


class CallNext(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Call whoever stands first. Not for late entry: who stood first back then is not known."""

    doctor_id: DoctorId
    date: date | None = None
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


class CheckIn(Command, frozen=True, kw_only=True):
    appointment_id: AppointmentId
    patient_id: PatientId | None = None


class CompleteConsultation(Command, frozen=True, kw_only=True):
    appointment_id: AppointmentId


class CancelAppointment(Command, frozen=True, kw_only=True):
    appointment_id: AppointmentId
