"""Every fact the log can hold, in the past tense. This page is the table of contents.

An event is stored as `TOPIC@class_version` and the JSON of its own fields. What the log keeps in columns of its own
(stream, version, subject, effective time) is left out of that JSON and put back when read: see domain/log/codec.py.
A field never changes its meaning or its default. A new shape is a new `class_version` with an `upcast_vN_vM`
beside it, and the bytes of every older version stay in tests/log/golden.json.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any, ClassVar, Literal
from uuid import UUID

import msgspec
from eventsourcing.domain import CanInitAggregate, CanMutateAggregate

from domain.rules.ids import (
    CLINIC,
    DOCTOR,
    PATIENT,
    AppointmentId,
    DoctorId,
    PatientId,
    Sealed,
)

Priority = Literal["routine", "urgent", "emergency"]
Order = Literal["arrival", "slot"]

NO_TIME = datetime(1970, 1, 1, tzinfo=UTC)
NO_SUBJECT = UUID(int=0)


class Event(msgspec.Struct, CanMutateAggregate[str], frozen=True, kw_only=True, omit_defaults=True):
    """A fact. `timestamp` is its effective time: when it happened in the clinic, UTC."""

    originator_id: str = ""
    originator_version: int = 0
    timestamp: datetime = NO_TIME

    TOPIC: ClassVar[str]
    SUBJECT: ClassVar[str | None] = None  # the field that the log keeps in its column `subject`
    class_version: ClassVar[int] = 1

    def _as_dict(self) -> dict[str, Any]:  # The library reads vars(), which a struct leaves empty.
        return {name: getattr(self, name) for name in self.__struct_fields__}


# --- doctors -------------------------------------------------------------------------------------


class DoctorRegistered(Event, CanInitAggregate[str], frozen=True, kw_only=True):
    TOPIC: ClassVar[str] = "doctor-registered"
    originator_topic: str = DOCTOR
    name: str
    code: str
    specialty: str
    department: str | None = None
    room: str | None = None
    reason: str | None = None


# --- patients ------------------------------------------------------------------------------------


class PatientRegistered(Event, CanInitAggregate[str], frozen=True, kw_only=True):
    """`details` hold a sealed PatientDetails (see domain/vault/sealing.py)."""

    TOPIC: ClassVar[str] = "patient-registered"
    originator_topic: str = PATIENT
    details: Sealed
    reason: Sealed | None = None


class PatientErased(Event, frozen=True, kw_only=True):
    """The key to this patient's sealed fields is gone. `reason` is open, since nothing sealed outlives the key."""

    TOPIC: ClassVar[str] = "patient-erased"
    reason: str


# --- clinics -------------------------------------------------------------------------------------


class ClinicOpened(Event, CanInitAggregate[str], frozen=True, kw_only=True):
    TOPIC: ClassVar[str] = "clinic-opened"
    class_version: ClassVar[int] = 2
    originator_topic: str = CLINIC
    capacity: int
    starts_at: str
    slot_minutes: int
    room: str | None = None
    order: Order
    reason: str | None = None

    @staticmethod
    def upcast_v1_v2(state: dict[str, Any]) -> None:
        state["order"] = "arrival"  # the only order there was


class ClinicChanged(Event, frozen=True, kw_only=True):
    """The clinic's settings after the change, all of them."""

    TOPIC: ClassVar[str] = "clinic-changed"
    capacity: int
    starts_at: str
    slot_minutes: int
    room: str | None = None
    order: Order
    reason: str | None = None


# --- appointments, in their clinic's stream ------------------------------------------------------


class AppointmentEvent(Event, frozen=True, kw_only=True):
    SUBJECT: ClassVar[str | None] = "appointment_id"
    appointment_id: AppointmentId = AppointmentId(NO_SUBJECT)
    reason: Sealed | None = None


class AppointmentBooked(AppointmentEvent, frozen=True, kw_only=True):
    TOPIC: ClassVar[str] = "appointment-booked"
    patient_id: PatientId
    slot: int
    priority: Priority = "routine"


class AppointmentCancelled(AppointmentEvent, frozen=True, kw_only=True):
    TOPIC: ClassVar[str] = "appointment-cancelled"


class PatientCheckedIn(AppointmentEvent, frozen=True, kw_only=True):
    TOPIC: ClassVar[str] = "patient-checked-in"
    ticket: str


class PatientCalled(AppointmentEvent, frozen=True, kw_only=True):
    TOPIC: ClassVar[str] = "patient-called"


class ConsultationCompleted(AppointmentEvent, frozen=True, kw_only=True):
    TOPIC: ClassVar[str] = "consultation-completed"


# --- a patient's day -----------------------------------------------------------------------------


class TimeReserved(Event, frozen=True, kw_only=True):
    """An appointment takes `minutes` of the patient's day, from `starts_minute` after midnight."""

    TOPIC: ClassVar[str] = "time-reserved"
    appointment_id: AppointmentId
    doctor_id: DoctorId
    starts_minute: int
    minutes: int


class TimeReleased(Event, frozen=True, kw_only=True):
    TOPIC: ClassVar[str] = "time-released"
    appointment_id: AppointmentId


def day_of(stream: str) -> date | None:
    """The date on whose board a stream's events are shown; None for those on no board."""
    kind, _, rest = stream.partition("/")
    return date.fromisoformat(rest[-10:]) if kind == CLINIC else None
