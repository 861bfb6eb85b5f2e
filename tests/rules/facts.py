"""People, clocks, and the facts that many stories begin with."""

from __future__ import annotations

from datetime import UTC, date, datetime
from uuid import UUID

from eventsourcing.domain import BaseAggregate

from domain.rules import events
from domain.rules.clinic import Clinic
from domain.rules.doctor import Doctor
from domain.rules.events import Event, Order, Priority
from domain.rules.ids import (
    AppointmentId,
    DoctorId,
    PatientId,
    clinic_stream,
    doctor_stream,
    patient_day_stream,
    patient_stream,
)
from domain.rules.patient import Patient
from domain.rules.patient_day import PatientDay

D1, D2, D3 = (DoctorId(UUID(int=0xD0 + n)) for n in (1, 2, 3))
P1, P2, P3 = (PatientId(UUID(int=0x90 + n)) for n in (1, 2, 3))
A1, A2, A3 = (AppointmentId(UUID(int=0xA0 + n)) for n in (1, 2, 3))

YESTERDAY, DAY, TOMORROW = (date(2025, 11, day) for day in (16, 17, 18))
CODE = "DOC001"


def clock(hours: int, minutes: int = 0, day: date = DAY) -> datetime:
    return datetime(day.year, day.month, day.day, hours, minutes, tzinfo=UTC)


NINE = clock(9)

STREAMS: dict[type[BaseAggregate[str]], str] = {
    Clinic: clinic_stream(D1, DAY),
    Doctor: doctor_stream(D1),
    Patient: patient_stream(P1),
    PatientDay: patient_day_stream(P1, DAY),
}


# --- facts that many stories begin with ----------------------------------------------------------


def opened(
    capacity: int = 3,
    starts_at: str = "09:00",
    slot_minutes: int = 10,
    room: str | None = None,
    order: Order = "arrival",
) -> events.ClinicOpened:
    return events.ClinicOpened(
        capacity=capacity, starts_at=starts_at, slot_minutes=slot_minutes, room=room, order=order
    )


def booked(
    appointment_id: AppointmentId, patient_id: PatientId, slot: int, priority: Priority = "routine"
) -> events.AppointmentBooked:
    return events.AppointmentBooked(appointment_id=appointment_id, patient_id=patient_id, slot=slot, priority=priority)


def checked_in(appointment_id: AppointmentId, number: int, at: datetime = NINE) -> events.PatientCheckedIn:
    return events.PatientCheckedIn(appointment_id=appointment_id, ticket=f"{CODE}-{number}", timestamp=at)


OPENED = opened()
BOOKED = booked(A1, P1, 1)
CANCELLED = events.AppointmentCancelled(appointment_id=A1)
CHECKED_IN = checked_in(A1, 1)
CALLED = events.PatientCalled(appointment_id=A1)
RECALLED = events.PatientRecalled(appointment_id=A1)
ON_HOLD = events.PatientPutOnHold(appointment_id=A1)
RESUMED = events.PatientResumed(appointment_id=A1)
STARTED = events.ConsultationStarted(appointment_id=A1)
COMPLETED = events.ConsultationCompleted(appointment_id=A1)
NO_SHOW = events.PatientMarkedNoShow(appointment_id=A1)
UNSEEN = events.PatientLeftUnseen(appointment_id=A1)
CLOSED = events.ClinicClosed()
FINISHED = events.ClinicFinished()
REOPENED = events.ClinicReopened()

WAITING = (OPENED, BOOKED, CHECKED_IN)
CALLED_IN = (*WAITING, CALLED)
HELD = (*WAITING, ON_HOLD)
IN_CONSULTATION = (*CALLED_IN, STARTED)
SEEN = (*CALLED_IN, COMPLETED)
STAGES: dict[str, tuple[Event, ...]] = {
    "booked": (OPENED, BOOKED),
    "waiting": WAITING,
    "called": CALLED_IN,
    "on hold": HELD,
    "in consultation": IN_CONSULTATION,
    "completed": SEEN,
    "cancelled": (OPENED, BOOKED, CANCELLED),
    "never came": (OPENED, BOOKED, NO_SHOW),
    "never answered": (*CALLED_IN, NO_SHOW),
    "unseen": (*WAITING, UNSEEN),
}
"""Every state that an appointment can be in, and how A1 comes into it."""
