"""Every fact the log can hold, in the past tense. This page is the table of contents.

An event is stored as `TOPIC@class_version` and the JSON of its own fields. What the log keeps in columns of its own
(stream, version, subject, effective time) is left out of that JSON and put back when read: see domain/log/codec.py.
A field never changes its meaning or its default. A new shape is a new `class_version` with an `upcast_vN_vM`
beside it, and the bytes of every older version stay in tests/log/golden.json.
"""

from __future__ import annotations

from datetime import UTC, datetime
from datetime import date as datetime_date
from typing import Any, ClassVar, Literal
from uuid import UUID

import msgspec
from eventsourcing.domain import CanInitAggregate, CanMutateAggregate
from msgspec.structs import replace

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

Status = Literal["confirmed", "completed", "cancelled", "no_show", "unseen"]
Stage = Literal["checked_in", "called", "in_consultation", "on_hold", "completed", "no_show", "unseen"]

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


class DoctorDetailsChanged(Event, frozen=True, kw_only=True):
    """The doctor's details after the change, all of them."""

    TOPIC: ClassVar[str] = "doctor-details-changed"
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


class PatientDetailsChanged(Event, frozen=True, kw_only=True):
    """`details` are the patient's after the change, all of them, sealed."""

    TOPIC: ClassVar[str] = "patient-details-changed"
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


class ClinicClosed(Event, frozen=True, kw_only=True):
    """No more bookings."""

    TOPIC: ClassVar[str] = "clinic-closed"
    reason: str | None = None


class ClinicReopened(Event, frozen=True, kw_only=True):
    TOPIC: ClassVar[str] = "clinic-reopened"
    reason: str | None = None


class ClinicDelayed(Event, frozen=True, kw_only=True):
    """Running late by so many minutes, or in time again with 0. Shown; changes no slot."""

    TOPIC: ClassVar[str] = "clinic-delayed"
    minutes: int
    note: str | None = None
    reason: str | None = None


class ClinicFinished(Event, frozen=True, kw_only=True):
    """Over for the day. Who was left is told by events of their own, before this one."""

    TOPIC: ClassVar[str] = "clinic-finished"
    reason: str | None = None


# --- appointments, in their clinic's stream ------------------------------------------------------


class State(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How an appointment stands: carried by the events that put it somewhere else. Times are effective ones.

    `arrival` is the version of the event that brought the patient into this clinic's line: it breaks the tie between
    those who came at the same time. `place_kept`: they were on hold since they came.
    """

    slot: int
    priority: Priority = "routine"
    status: Status = "confirmed"
    stage: Stage | None = None
    ticket: str | None = None
    arrived_at: datetime | None = None
    arrival: int = 0
    place_kept: bool = False
    called_at: datetime | None = None
    completed_at: datetime | None = None


class Step(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A step that can be taken back: how the appointment stood before it, and for a move also where."""

    type: str
    before: State
    doctor_id: DoctorId | None = None
    date: datetime_date | None = None


class AppointmentEvent(Event, frozen=True, kw_only=True):
    SUBJECT: ClassVar[str | None] = "appointment_id"
    appointment_id: AppointmentId = AppointmentId(NO_SUBJECT)
    reason: Sealed | None = None


class AppointmentBooked(AppointmentEvent, frozen=True, kw_only=True):
    TOPIC: ClassVar[str] = "appointment-booked"
    patient_id: PatientId
    slot: int
    priority: Priority = "routine"

    def state(self) -> State:
        return State(slot=self.slot, priority=self.priority)


class AppointmentStep(AppointmentEvent, frozen=True, kw_only=True):
    """Changes nothing but how the appointment stands, and can be taken back.

    `after` says how: for the rules that decide and for the board that shows. It never refuses, since whether the step
    was allowed has been decided before.
    """

    def after(self, state: State) -> State:
        raise NotImplementedError

    def apply(self, aggregate: Any) -> None:
        aggregate.take_step(self)


class AppointmentCancelled(AppointmentStep, frozen=True, kw_only=True):
    TOPIC: ClassVar[str] = "appointment-cancelled"

    def after(self, state: State) -> State:
        return replace(state, status="cancelled", stage=None)


class AppointmentMoved(AppointmentStep, frozen=True, kw_only=True):
    """To another slot of the same clinic. Who was called is waiting again."""

    TOPIC: ClassVar[str] = "appointment-moved"
    slot: int

    def after(self, state: State) -> State:
        return moved(state, self.slot)


class PatientCheckedIn(AppointmentStep, frozen=True, kw_only=True):
    """Also of a no-show who comes after all, and arrives now."""

    TOPIC: ClassVar[str] = "patient-checked-in"
    ticket: str

    def after(self, state: State) -> State:
        return replace(
            state,
            status="confirmed",
            stage="checked_in",
            ticket=self.ticket,
            arrived_at=self.timestamp,
            arrival=self.originator_version,
            place_kept=False,
        )


class PatientCalled(AppointmentStep, frozen=True, kw_only=True):
    TOPIC: ClassVar[str] = "patient-called"

    def after(self, state: State) -> State:
        return replace(state, stage="called", called_at=self.timestamp)


class PatientRecalled(AppointmentStep, frozen=True, kw_only=True):
    TOPIC: ClassVar[str] = "patient-recalled"

    def after(self, state: State) -> State:
        return replace(state, called_at=self.timestamp)


class PatientPutOnHold(AppointmentStep, frozen=True, kw_only=True):
    """Out of the line for a while; the place is kept."""

    TOPIC: ClassVar[str] = "patient-put-on-hold"

    def after(self, state: State) -> State:
        return replace(state, stage="on_hold")


class PatientResumed(AppointmentStep, frozen=True, kw_only=True):
    """Back at the place kept: when they arrived stays what it was."""

    TOPIC: ClassVar[str] = "patient-resumed"

    def after(self, state: State) -> State:
        return replace(state, stage="checked_in", place_kept=True)


class PatientMarkedNoShow(AppointmentStep, frozen=True, kw_only=True):
    """Never came, or never answered. Who never checked in has no queue entry to mark."""

    TOPIC: ClassVar[str] = "patient-marked-no-show"

    def after(self, state: State) -> State:
        return replace(state, status="no_show", stage="no_show" if state.stage is not None else None)


class PatientLeftUnseen(AppointmentStep, frozen=True, kw_only=True):
    """Came, and the clinic finished without seeing them."""

    TOPIC: ClassVar[str] = "patient-left-unseen"

    def after(self, state: State) -> State:
        return replace(state, status="unseen", stage="unseen")


class PriorityChanged(AppointmentStep, frozen=True, kw_only=True):
    TOPIC: ClassVar[str] = "priority-changed"
    priority: Priority

    def after(self, state: State) -> State:
        return replace(state, priority=self.priority)


class ConsultationStarted(AppointmentStep, frozen=True, kw_only=True):
    TOPIC: ClassVar[str] = "consultation-started"

    def after(self, state: State) -> State:
        return replace(state, stage="in_consultation")


class ConsultationCompleted(AppointmentStep, frozen=True, kw_only=True):
    TOPIC: ClassVar[str] = "consultation-completed"

    def after(self, state: State) -> State:
        return replace(state, status="completed", stage="completed", completed_at=self.timestamp)


STEPS = (
    AppointmentCancelled,
    AppointmentMoved,
    PatientCheckedIn,
    PatientCalled,
    PatientRecalled,
    PatientPutOnHold,
    PatientResumed,
    PatientMarkedNoShow,
    PatientLeftUnseen,
    PriorityChanged,
    ConsultationStarted,
    ConsultationCompleted,
)


class AppointmentMovedOut(AppointmentEvent, frozen=True, kw_only=True):
    """To the clinic of this doctor on this date."""

    TOPIC: ClassVar[str] = "appointment-moved-out"
    doctor_id: DoctorId
    date: datetime_date


class AppointmentMovedIn(AppointmentEvent, frozen=True, kw_only=True):
    """From another clinic, with all that it was: the state it has now, and the steps that can be taken back."""

    TOPIC: ClassVar[str] = "appointment-moved-in"
    patient_id: PatientId
    state: State
    steps: tuple[Step, ...]


class StepUndone(AppointmentEvent, frozen=True, kw_only=True):
    """A step is taken back, and the appointment stands as it did before it.

    `state` is null in the clinic that an undone move had led to. In the clinic that it came from, and comes back to,
    `patient_id` and `steps` are given.
    """

    TOPIC: ClassVar[str] = "step-undone"
    step: str
    state: State | None = None
    patient_id: PatientId | None = None
    steps: tuple[Step, ...] = ()


def moved(state: State, slot: int) -> State:
    """The state in another slot, here or in another clinic: who was called is waiting again."""
    return replace(state, slot=slot, stage="checked_in" if state.stage == "called" else state.stage)


def moved_in(state: State, slot: int, version: int) -> State:
    """The state in another clinic, which the event of that version there brings about."""
    return replace(moved(state, slot), arrival=version if state.stage is not None else 0)


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


def day_of(stream: str) -> datetime_date | None:
    """The date on whose board a stream's events are shown; None for those on no board."""
    kind, _, rest = stream.partition("/")
    return datetime_date.fromisoformat(rest[-10:]) if kind == CLINIC else None
