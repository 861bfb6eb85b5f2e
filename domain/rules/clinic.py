"""Aggregate: one doctor on one date. Slots, check-ins, tickets and the line are decided here."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime
from typing import Any, Literal

from eventsourcing.domain import BaseAggregate, event

from domain.rules import events
from domain.rules.appointment import Appointment, Moment
from domain.rules.events import AppointmentStep, Order, Priority, State, Step
from domain.rules.ids import CLINIC, AppointmentId, DoctorId, PatientId, Sealed, clinic_of
from domain.rules.patient_day import Span
from domain.rules.refusals import (
    AlreadyBooked,
    AppointmentClosed,
    AppointmentIsCancelled,
    CapacityBelowBooked,
    ClinicFull,
    ClinicHasBookings,
    ClinicIsClosed,
    DateInPast,
    NoSuchSlot,
    NothingToUndo,
    NotToday,
    PatientMismatch,
    PatientsInConsultation,
    QueueEmpty,
    SlotTaken,
    UnknownAppointment,
)
from domain.rules.settings import Settings

ClinicStatus = Literal["open", "closed", "finished"]


class Clinic(BaseAggregate[str]):
    TOPIC = CLINIC
    Event = events.Event
    ClinicOpened = events.ClinicOpened
    ClinicChanged = events.ClinicChanged
    ClinicClosed = events.ClinicClosed
    ClinicReopened = events.ClinicReopened
    ClinicDelayed = events.ClinicDelayed
    ClinicFinished = events.ClinicFinished
    AppointmentBooked = events.AppointmentBooked
    AppointmentCancelled = events.AppointmentCancelled
    AppointmentMoved = events.AppointmentMoved
    AppointmentMovedOut = events.AppointmentMovedOut
    AppointmentMovedIn = events.AppointmentMovedIn
    StepUndone = events.StepUndone
    PatientCheckedIn = events.PatientCheckedIn
    PatientCalled = events.PatientCalled
    PatientRecalled = events.PatientRecalled
    PatientPutOnHold = events.PatientPutOnHold
    PatientResumed = events.PatientResumed
    PatientMarkedNoShow = events.PatientMarkedNoShow
    PatientLeftUnseen = events.PatientLeftUnseen
    PriorityChanged = events.PriorityChanged
    ConsultationStarted = events.ConsultationStarted
    ConsultationCompleted = events.ConsultationCompleted

    # --- the clinic itself -----------------------------------------------------------------------

    @classmethod
    def open(cls, stream: str, settings: Settings, *, reason: str | None, at: datetime) -> Clinic:
        settings.refuse_past_midnight()
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
        self.tickets: set[str] = set()
        self.status: ClinicStatus = "open"
        self.delay: tuple[int, str | None] = 0, None
        self.doctor_id, self.date = clinic_of(self.id)

    def change(self, settings: Settings, *, reason: str | None, at: datetime) -> None:
        if settings == self.settings:
            return  # Nothing to record: a form sent twice changes nothing.
        settings.refuse_past_midnight()
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

    def close(self, *, reason: str | None, at: datetime) -> None:
        if self.status == "open":
            self._closed(reason=reason, timestamp=at)

    @event(ClinicClosed)
    def _closed(self, reason: str | None, timestamp: datetime) -> None:
        self.status = "closed"

    def reopen(self, *, reason: str | None, at: datetime) -> None:
        if self.status != "open":
            self._reopened(reason=reason, timestamp=at)

    @event(ClinicReopened)
    def _reopened(self, reason: str | None, timestamp: datetime) -> None:
        self.status = "open"

    def run_late(self, minutes: int, note: str | None, *, reason: str | None, at: datetime) -> None:
        if (minutes, note) != self.delay:
            self._delayed(minutes, note, reason=reason, timestamp=at)

    @event(ClinicDelayed)
    def _delayed(self, minutes: int, note: str | None, reason: str | None, timestamp: datetime) -> None:
        self.delay = minutes, note

    def finish(self, *, reason: str | None, moment: Moment) -> list[Appointment]:
        """Nobody waits for a doctor who has gone. Returns those whose day this frees."""
        left = [appointment for appointment in self.appointments.values() if appointment.status == "confirmed"]
        if self.status == "finished" and not left:
            return []
        for appointment in left:
            appointment.refuse_too_early(moment)
        if any(appointment.stage == "in_consultation" for appointment in left):
            raise PatientsInConsultation
        for appointment in left:
            step = events.PatientMarkedNoShow if appointment.stage is None else events.PatientLeftUnseen
            self.trigger_event(step, appointment_id=appointment.appointment_id, timestamp=moment.at)
        self._finished(reason=reason, timestamp=moment.at)
        return left

    @event(ClinicFinished)
    def _finished(self, reason: str | None, timestamp: datetime) -> None:
        self.status = "finished"

    # --- appointments ----------------------------------------------------------------------------

    def book(
        self,
        appointment_id: AppointmentId,
        patient_id: PatientId,
        *,
        slot: int | None,
        from_minute: int = 0,
        priority: Priority,
        reason: Sealed | None,
        moment: Moment,
    ) -> Span:
        """Take `slot`, or the lowest free one, if there is one of those that begin `from_minute` of the day on.

        Returns the minutes of the patient's day it takes.
        """
        self._admit(patient_id, moment)
        slot = self._free_slot(slot, from_minute)
        self._booked(appointment_id, patient_id, slot, priority, reason=reason, timestamp=moment.at)
        return self.settings.span(slot)

    def refuse_bookings(self, moment: Moment) -> None:
        """Raises DateInPast, ClinicIsClosed."""
        if self.date < moment.today:
            raise DateInPast
        if self.status != "open":
            raise ClinicIsClosed

    def _admit(self, patient_id: PatientId, moment: Moment) -> None:
        """Whether this clinic takes this patient at all."""
        self.refuse_bookings(moment)
        if self._has_confirmed(patient_id):
            raise AlreadyBooked

    def _has_confirmed(self, patient_id: PatientId) -> bool:
        return any(a.patient_id == patient_id and a.status == "confirmed" for a in self.appointments.values())

    def _free_slot(self, wanted: int | None, from_minute: int = 0) -> int:
        if wanted is not None and not 1 <= wanted <= self.settings.capacity:
            raise NoSuchSlot
        free = [number for number in range(1, self.settings.capacity + 1) if number not in self.taken]
        if not free:
            raise ClinicFull
        if wanted in self.taken:
            raise SlotTaken
        return wanted or next((n for n in free if self.settings.span(n).starts >= from_minute), free[0])

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
        self._take_in(Appointment(appointment_id, patient_id, State(slot=slot, priority=priority), at=timestamp))

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
        if appointment.status in ("completed", "unseen"):
            raise AppointmentClosed
        if appointment.status == "confirmed" and appointment.stage is not None:
            return  # A second tap on the kiosk is not news.
        if self.date != moment.today:
            raise NotToday
        if appointment.status == "no_show" and self._has_confirmed(appointment.patient_id):
            raise AlreadyBooked
        ticket = appointment.state.ticket or f"{doctor_code}-{len(self.tickets) + 1}"
        self.trigger_event(
            events.PatientCheckedIn, appointment_id=appointment_id, ticket=ticket, reason=reason, timestamp=moment.at
        )

    def next_in_line(self) -> Appointment:
        """Raises QueueEmpty."""
        waiting = [a for a in self.appointments.values() if a.stage == "checked_in"]
        if not waiting:
            raise QueueEmpty
        return min(waiting, key=lambda a: a.place(self.settings.order))

    def being_seen(self) -> list[Appointment]:
        """Whoever is called, or in consultation."""
        return [a for a in self.appointments.values() if a.stage in ("called", "in_consultation")]

    def take(
        self,
        step: type[AppointmentStep],
        appointment_id: AppointmentId,
        *,
        reason: Sealed | None,
        moment: Moment,
        **told: Any,
    ) -> None:
        """A step that is allowed from some stages only. `told`: what the step has to tell beside."""
        self._next_step_of(appointment_id, moment).allow(step)
        self.trigger_event(step, appointment_id=appointment_id, reason=reason, timestamp=moment.at, **told)

    def take_step(self, step: AppointmentStep) -> None:
        """Fold a step of one appointment: how it stands afterwards the step says itself."""
        appointment = self.appointments[step.appointment_id]
        if isinstance(step, events.PatientCheckedIn) and appointment.state.ticket is None:
            self.tickets.add(step.ticket)  # One that came along through a move was counted elsewhere.
        self._vacate(appointment)
        appointment.take(step)
        self._occupy(appointment)

    def change_priority(
        self, appointment_id: AppointmentId, priority: Priority, *, reason: Sealed | None, moment: Moment
    ) -> None:
        if self.appointment(appointment_id).state.priority == priority:
            self._next_step_of(appointment_id, moment).allow(events.PriorityChanged)
            return  # As urgent as before is not news.
        self.take(events.PriorityChanged, appointment_id, priority=priority, reason=reason, moment=moment)

    # --- elsewhere, and back ---------------------------------------------------------------------

    def move(
        self, appointment_id: AppointmentId, slot: int | None, *, reason: Sealed | None, moment: Moment
    ) -> Span | None:
        """To another slot of this clinic. Returns the minutes it takes, or None when nothing changes."""
        appointment = self._next_step_of(appointment_id, moment)
        appointment.allow_move()
        if slot == appointment.slot:
            return None
        self.refuse_bookings(moment)
        slot = self._free_slot(slot)
        self.trigger_event(
            events.AppointmentMoved, appointment_id=appointment_id, slot=slot, reason=reason, timestamp=moment.at
        )
        return self.settings.span(slot)

    def still_to_be_seen(self) -> list[Appointment]:
        """Everyone confirmed and not in consultation, by slot."""
        left = [a for a in self.appointments.values() if a.status == "confirmed" and a.stage != "in_consultation"]
        return sorted(left, key=lambda appointment: appointment.slot)

    def allot(self, coming: Iterable[Appointment]) -> dict[AppointmentId, int | None]:
        """Slots for those who come from another clinic: the same number if it is free, else the lowest that none of
        them keeps; None for whom there is none."""
        numbers = {appointment.appointment_id: appointment.slot for appointment in coming}
        free = [number for number in range(1, self.settings.capacity + 1) if number not in self.taken]
        spare = iter(sorted(set(free) - set(numbers.values())))
        return {each: number if number in free else next(spare, None) for each, number in numbers.items()}

    def move_to(
        self, there: Clinic, appointment_id: AppointmentId, slot: int | None, *, reason: Sealed | None, moment: Moment
    ) -> Span:
        """To another clinic, with all that it is. Returns the minutes it takes there."""
        appointment = self._next_step_of(appointment_id, moment)
        appointment.allow_move()
        there._admit(appointment.patient_id, moment)
        slot = there._free_slot(slot)
        step = Step(type="AppointmentMovedIn", before=appointment.state, doctor_id=self.doctor_id, date=self.date)
        state, steps = events.moved_in(appointment.state, slot, there.version + 1), (*appointment.steps, step)
        self._moved_out(appointment_id, there.doctor_id, there.date, reason=reason, timestamp=moment.at)
        there._moved_in(appointment_id, appointment.patient_id, state, steps, reason=reason, timestamp=moment.at)
        return there.settings.span(slot)

    @event(AppointmentMovedOut)
    def _moved_out(
        self,
        appointment_id: AppointmentId,
        doctor_id: DoctorId,
        date: date,
        reason: Sealed | None,
        timestamp: datetime,
    ) -> None:
        self._let_go(appointment_id)

    @event(AppointmentMovedIn)
    def _moved_in(
        self,
        appointment_id: AppointmentId,
        patient_id: PatientId,
        state: State,
        steps: tuple[Step, ...],
        reason: Sealed | None,
        timestamp: datetime,
    ) -> None:
        self._take_in(Appointment(appointment_id, patient_id, state, at=timestamp, steps=steps))

    def last_step(self, appointment_id: AppointmentId, moment: Moment) -> Step:
        """What undo would take back. Raises NothingToUndo."""
        appointment = self._next_step_of(appointment_id, moment)
        if not appointment.steps:
            raise NothingToUndo
        return appointment.steps[-1]

    def undo(self, appointment_id: AppointmentId, *, reason: Sealed | None, moment: Moment) -> State:
        """Take the last step back, in this clinic. Returns the state restored."""
        step = self.last_step(appointment_id, moment)
        appointment = self.appointments[appointment_id]
        self._refuse_what_is_in_the_way(appointment, step.before)
        self._undone(appointment_id, step.type, step.before, None, (), reason=reason, timestamp=moment.at)
        return step.before

    def undo_move(
        self, origin: Clinic, appointment_id: AppointmentId, *, reason: Sealed | None, moment: Moment
    ) -> State:
        """Take back the move that led here, to where it came from. Returns the state restored there."""
        step = self.last_step(appointment_id, moment)
        appointment = self.appointments[appointment_id]
        origin._refuse_what_is_in_the_way(appointment, step.before)
        patient_id, steps_left = appointment.patient_id, tuple(appointment.steps[:-1])
        self._undone(appointment_id, step.type, None, None, (), reason=reason, timestamp=moment.at)
        origin._undone(
            appointment_id, step.type, step.before, patient_id, steps_left, reason=reason, timestamp=moment.at
        )
        return step.before

    def _refuse_what_is_in_the_way(self, appointment: Appointment, state: State) -> None:
        here = self.appointments.get(appointment.appointment_id)
        is_confirmed = here is not None and here.status == "confirmed"
        if state.status == "confirmed" and not is_confirmed and self._has_confirmed(appointment.patient_id):
            raise AlreadyBooked
        if state.status != "cancelled" and self.taken.get(state.slot) != appointment.appointment_id:
            if state.slot > self.settings.capacity:
                raise NoSuchSlot
            if state.slot in self.taken:
                raise SlotTaken

    @event(StepUndone)
    def _undone(
        self,
        appointment_id: AppointmentId,
        step: str,
        state: State | None,
        patient_id: PatientId | None,
        steps: tuple[Step, ...],
        reason: Sealed | None,
        timestamp: datetime,
    ) -> None:
        if state is None:
            self._let_go(appointment_id)
        elif patient_id is not None:
            self._take_in(Appointment(appointment_id, patient_id, state, at=timestamp, steps=steps))
        else:
            appointment = self.appointments[appointment_id]
            self._vacate(appointment)
            appointment.take_back(state, timestamp)
            self._occupy(appointment)

    # --- who is where ----------------------------------------------------------------------------

    def _take_in(self, appointment: Appointment) -> None:
        self.appointments[appointment.appointment_id] = appointment
        self._occupy(appointment)

    def _let_go(self, appointment_id: AppointmentId) -> None:
        self._vacate(self.appointments.pop(appointment_id))

    def _occupy(self, appointment: Appointment) -> None:
        if appointment.status != "cancelled":
            self.taken[appointment.slot] = appointment.appointment_id

    def _vacate(self, appointment: Appointment) -> None:
        if self.taken.get(appointment.slot) == appointment.appointment_id:
            del self.taken[appointment.slot]

    def appointment(self, appointment_id: AppointmentId) -> Appointment:
        """Raises UnknownAppointment."""
        found = self.appointments.get(appointment_id)
        if found is None:
            raise UnknownAppointment
        return found

    def _next_step_of(self, appointment_id: AppointmentId, moment: Moment) -> Appointment:
        appointment = self.appointment(appointment_id)
        appointment.refuse_too_early(moment)
        return appointment
