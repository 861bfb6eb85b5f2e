"""Aggregate: one doctor on one date. Slots, check-ins, tickets and the line are decided here."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal

from eventsourcing.domain import BaseAggregate, event

from domain.rules import events
from domain.rules.events import Order, Priority
from domain.rules.ids import CLINIC, AppointmentId, PatientId, Sealed, clinic_of
from domain.rules.line import Place, place
from domain.rules.patient_day import Span
from domain.rules.refusals import (
    AlreadyBooked,
    AppointmentClosed,
    AppointmentIsCancelled,
    CapacityBelowBooked,
    ClinicFull,
    ClinicHasBookings,
    DateInPast,
    EffectiveTooEarly,
    NoSuchSlot,
    NotAllowedFrom,
    NotToday,
    PatientMismatch,
    QueueEmpty,
    RunsPastMidnight,
    SlotTaken,
    UnknownAppointment,
)

MINUTES_A_DAY = 24 * 60

Status = Literal["confirmed", "completed", "cancelled", "no_show", "unseen"]
Stage = Literal["checked_in", "called", "in_consultation", "on_hold", "completed", "no_show", "unseen"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a clinic runs. A clinic that nobody opened opens with the defaults."""

    capacity: int = 40
    starts_at: str = "09:00"
    slot_minutes: int = 10
    room: str | None = None
    order: Order = "arrival"

    def span(self, slot: int) -> Span:
        """The minutes of the day that a slot takes."""
        hours, minutes = self.starts_at.split(":")
        starts = int(hours) * 60 + int(minutes) + (slot - 1) * self.slot_minutes
        return Span(starts, starts + self.slot_minutes)


@dataclass(slots=True, kw_only=True)
class Appointment:
    """A patient's claim on a slot, and how far the patient has come."""

    appointment_id: AppointmentId
    patient_id: PatientId
    slot: int
    priority: Priority
    last_step_at: datetime
    status: Status = "confirmed"
    stage: Stage | None = None
    ticket: str | None = None
    arrived_at: datetime = events.NO_TIME
    arrival: int = 0

    def place(self, order: Order) -> Place:
        return place(order, priority=self.priority, arrived_at=self.arrived_at, arrival=self.arrival, slot=self.slot)


@dataclass(frozen=True, slots=True)
class Moment:
    """When a command is decided: `at` is its effective time, `today` that time's date in the hospital's zone.

    `late` says that somebody named `at`. Two servers' clocks differ by a little, so only a named time is held
    against the appointment's previous step.
    """

    at: datetime
    today: date
    late: bool = False


class Clinic(BaseAggregate[str]):
    TOPIC = CLINIC
    Event = events.Event
    ClinicOpened = events.ClinicOpened
    ClinicChanged = events.ClinicChanged
    AppointmentBooked = events.AppointmentBooked
    AppointmentCancelled = events.AppointmentCancelled
    PatientCheckedIn = events.PatientCheckedIn
    PatientCalled = events.PatientCalled
    ConsultationCompleted = events.ConsultationCompleted

    # --- the clinic itself -----------------------------------------------------------------------

    @classmethod
    def open(cls, stream: str, settings: Settings, *, reason: str | None, at: datetime) -> Clinic:
        _refuse_past_midnight(settings)
        return cls._create(
            events.ClinicOpened,
            id=stream,
            capacity=settings.capacity,
            starts_at=settings.starts_at,
            slot_minutes=settings.slot_minutes,
            room=settings.room,
            order=settings.order,
            reason=reason,
            timestamp=at,
        )

    @event(ClinicOpened)
    def __init__(self, capacity: int, starts_at: str, slot_minutes: int, room: str | None, order: Order) -> None:
        self.settings = Settings(
            capacity=capacity, starts_at=starts_at, slot_minutes=slot_minutes, room=room, order=order
        )
        self.appointments: dict[AppointmentId, Appointment] = {}
        self.taken: dict[int, AppointmentId] = {}
        self.tickets = 0
        self.doctor_id, self.date = clinic_of(self.id)

    def change(self, settings: Settings, *, reason: str | None, at: datetime) -> None:
        if settings == self.settings:
            return  # Nothing to record: a form sent twice changes nothing.
        _refuse_past_midnight(settings)
        now = self.settings
        if self.taken and (settings.starts_at, settings.slot_minutes) != (now.starts_at, now.slot_minutes):
            raise ClinicHasBookings
        if settings.capacity < max(self.taken, default=0):
            raise CapacityBelowBooked
        self._changed(
            settings.capacity,
            settings.starts_at,
            settings.slot_minutes,
            settings.room,
            settings.order,
            reason=reason,
            timestamp=at,
        )

    @event(ClinicChanged)
    def _changed(
        self,
        capacity: int,
        starts_at: str,
        slot_minutes: int,
        room: str | None,
        order: Order,
        reason: str | None,
        timestamp: datetime,
    ) -> None:
        self.settings = Settings(
            capacity=capacity, starts_at=starts_at, slot_minutes=slot_minutes, room=room, order=order
        )

    # --- appointments ----------------------------------------------------------------------------

    def book(
        self,
        appointment_id: AppointmentId,
        patient_id: PatientId,
        *,
        slot: int | None,
        priority: Priority,
        reason: Sealed | None,
        moment: Moment,
    ) -> Span:
        """Take `slot`, or the lowest free one. Returns the minutes of the patient's day it takes."""
        if self.date < moment.today:
            raise DateInPast
        if any(a.patient_id == patient_id and a.status == "confirmed" for a in self.appointments.values()):
            raise AlreadyBooked
        slot = self._free_slot(slot)
        self._booked(appointment_id, patient_id, slot, priority, reason=reason, timestamp=moment.at)
        return self.settings.span(slot)

    def _free_slot(self, wanted: int | None) -> int:
        if wanted is not None and not 1 <= wanted <= self.settings.capacity:
            raise NoSuchSlot
        lowest = next((n for n in range(1, self.settings.capacity + 1) if n not in self.taken), None)
        if lowest is None:
            raise ClinicFull
        if wanted in self.taken:
            raise SlotTaken
        return wanted or lowest

    @event(AppointmentBooked)
    def _booked(
        self,
        appointment_id: AppointmentId,
        patient_id: PatientId,
        slot: int,
        priority: Priority,
        reason: Sealed | None,
        timestamp: datetime,
    ) -> None:
        self.taken[slot] = appointment_id
        self.appointments[appointment_id] = Appointment(
            appointment_id=appointment_id, patient_id=patient_id, slot=slot, priority=priority, last_step_at=timestamp
        )

    def cancel(self, appointment_id: AppointmentId, *, reason: Sealed | None, moment: Moment) -> None:
        appointment = self._next_step_of(appointment_id, moment)
        if appointment.status != "confirmed" or appointment.stage == "in_consultation":
            raise _not_allowed_from(appointment)
        self._cancelled(appointment_id, reason=reason, timestamp=moment.at)

    @event(AppointmentCancelled)
    def _cancelled(self, appointment_id: AppointmentId, reason: Sealed | None, timestamp: datetime) -> None:
        appointment = self._stepped(appointment_id, timestamp)
        appointment.status, appointment.stage = "cancelled", None
        del self.taken[appointment.slot]

    # --- the line --------------------------------------------------------------------------------

    def check_in(
        self,
        appointment_id: AppointmentId,
        patient_id: PatientId | None,
        *,
        doctor_code: str,
        reason: Sealed | None,
        moment: Moment,
    ) -> None:
        appointment = self._next_step_of(appointment_id, moment)
        if patient_id is not None and patient_id != appointment.patient_id:
            raise PatientMismatch
        if appointment.status == "cancelled":
            raise AppointmentIsCancelled
        if appointment.status != "confirmed":
            raise AppointmentClosed
        if appointment.stage is not None:
            return  # A second tap on the kiosk is not news.
        if self.date != moment.today:
            raise NotToday
        ticket = f"{doctor_code}-{self.tickets + 1}"
        self._checked_in(appointment_id, ticket, reason=reason, timestamp=moment.at)

    @event(PatientCheckedIn)
    def _checked_in(
        self, appointment_id: AppointmentId, ticket: str, reason: Sealed | None, timestamp: datetime
    ) -> None:
        appointment = self._stepped(appointment_id, timestamp)
        self.tickets += 1
        appointment.stage, appointment.ticket = "checked_in", ticket
        appointment.arrived_at, appointment.arrival = timestamp, self.version

    def next_in_line(self) -> Appointment:
        """Raises QueueEmpty."""
        waiting = [a for a in self.appointments.values() if a.stage == "checked_in"]
        if not waiting:
            raise QueueEmpty
        return min(waiting, key=lambda a: a.place(self.settings.order))

    def call(self, appointment_id: AppointmentId, *, reason: Sealed | None, moment: Moment) -> None:
        self._called(appointment_id, reason=reason, timestamp=moment.at)

    @event(PatientCalled)
    def _called(self, appointment_id: AppointmentId, reason: Sealed | None, timestamp: datetime) -> None:
        self._stepped(appointment_id, timestamp).stage = "called"

    def complete(self, appointment_id: AppointmentId, *, reason: Sealed | None, moment: Moment) -> None:
        appointment = self._next_step_of(appointment_id, moment)
        if appointment.stage not in ("called", "in_consultation"):
            raise _not_allowed_from(appointment)
        self._completed(appointment_id, reason=reason, timestamp=moment.at)

    @event(ConsultationCompleted)
    def _completed(self, appointment_id: AppointmentId, reason: Sealed | None, timestamp: datetime) -> None:
        appointment = self._stepped(appointment_id, timestamp)
        appointment.status = appointment.stage = "completed"

    # --- steps -----------------------------------------------------------------------------------

    def appointment(self, appointment_id: AppointmentId) -> Appointment:
        """Raises UnknownAppointment."""
        found = self.appointments.get(appointment_id)
        if found is None:
            raise UnknownAppointment
        return found

    def _next_step_of(self, appointment_id: AppointmentId, moment: Moment) -> Appointment:
        appointment = self.appointment(appointment_id)
        if moment.late and moment.at < appointment.last_step_at:
            raise EffectiveTooEarly
        return appointment

    def _stepped(self, appointment_id: AppointmentId, at: datetime) -> Appointment:
        appointment = self.appointments[appointment_id]
        appointment.last_step_at = at
        return appointment


def _refuse_past_midnight(settings: Settings) -> None:
    if settings.span(settings.capacity).ends > MINUTES_A_DAY:
        raise RunsPastMidnight


def _not_allowed_from(appointment: Appointment) -> NotAllowedFrom:
    return NotAllowedFrom(appointment_status=appointment.status, queue_status=appointment.stage)
