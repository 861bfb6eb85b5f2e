"""The contract's rules for a clinic's day in plain Python: what a server has to answer, and what it has to show.

Written from the contract alone. A decision that it refuses changes nothing. Ids are whatever the servers gave.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

RANK = {"emergency": 0, "urgent": 1, "routine": 2}
NOT_BEGUN = (None, "checked_in", "called", "on_hold")


class Refused(Exception):
    def __init__(self, code: str, **facts: Any) -> None:
        super().__init__(code)
        self.code, self.facts = code, facts


@dataclass(frozen=True)
class Place:
    """How an appointment stands: what undo brings back. `queue` is the queue entry's status."""

    doctor: str
    day: date
    slot: int
    priority: str
    status: str = "confirmed"
    queue: str | None = None
    ticket: str | None = None
    checked_in_at: datetime | None = None
    called_at: datetime | None = None
    completed_at: datetime | None = None
    arrival: int = 0
    """Grows with every arrival in a line: of those who came at the same time the earlier recorded is first."""


@dataclass
class Appointment:
    id: str
    patient: str
    now: Place
    last_at: datetime
    before: list[Place] = field(default_factory=list)
    happened: list[str] = field(default_factory=lambda: ["AppointmentBooked"])

    @property
    def confirmed(self) -> bool:
        return self.now.status == "confirmed"


@dataclass
class Clinic:
    room: str | None
    capacity: int = 40
    starts_at: str = "09:00"
    slot_minutes: int = 10
    order: str = "arrival"
    status: str = "open"
    delay_minutes: int = 0
    note: str | None = None
    tickets: int = 0

    def minutes(self, slot: int) -> tuple[int, int]:
        """After midnight, from and up to."""
        hours, minutes = self.starts_at.split(":")
        starts = int(hours) * 60 + int(minutes) + (slot - 1) * self.slot_minutes
        return starts, starts + self.slot_minutes


@dataclass(frozen=True)
class Doctor:
    id: str
    code: str
    room: str | None


@dataclass
class Hospital:
    zone: ZoneInfo
    doctors: dict[str, Doctor] = field(default_factory=dict)
    patients: set[str] = field(default_factory=set)
    appointments: dict[str, Appointment] = field(default_factory=dict)
    clinics: dict[tuple[str, date], Clinic] = field(default_factory=dict)
    arrivals: int = 0

    # --- when ------------------------------------------------------------------------------------

    def when(self, now: datetime, named: datetime | None, of: Iterable[Appointment] = ()) -> datetime:
        """The effective time of a command: it is neither in the future nor before a step it follows."""
        if named is not None and named > now:
            raise Refused("effective_in_future")
        if named is not None and any(named < appointment.last_at for appointment in of):
            raise Refused("effective_too_early")
        return named or now

    def date_of(self, at: datetime) -> date:
        return at.astimezone(self.zone).date()

    # --- what there is ---------------------------------------------------------------------------

    def doctor(self, doctor: str) -> Doctor:
        if doctor not in self.doctors:
            raise Refused("unknown_doctor")
        return self.doctors[doctor]

    def patient(self, patient: str) -> str:
        if patient not in self.patients:
            raise Refused("unknown_patient")
        return patient

    def appointment(self, appointment: str) -> Appointment:
        if appointment not in self.appointments:
            raise Refused("unknown_appointment")
        return self.appointments[appointment]

    def clinic(self, doctor: str, day: date) -> Clinic:
        self.doctor(doctor)
        if (doctor, day) not in self.clinics:
            raise Refused("unknown_clinic")
        return self.clinics[doctor, day]

    def clinic_or_default(self, doctor: str, day: date) -> Clinic:
        """One that nobody opened opens with the defaults; it is there once somebody is in it."""
        return self.clinics.get((doctor, day)) or Clinic(room=self.doctors[doctor].room)

    def listed(self, doctor: str, day: date) -> list[Appointment]:
        """By slot. All that are listed hold their slot, and no others do."""
        there = (
            appointment
            for appointment in self.appointments.values()
            if (appointment.now.doctor, appointment.now.day) == (doctor, day) and appointment.now.status != "cancelled"
        )
        return sorted(there, key=lambda appointment: appointment.now.slot)

    def held(self, doctor: str, day: date) -> dict[int, Appointment]:
        return {appointment.now.slot: appointment for appointment in self.listed(doctor, day)}

    def line(self, doctor: str, day: date) -> list[Appointment]:
        order = self.clinics[doctor, day].order

        def place(appointment: Appointment) -> tuple[Any, ...]:
            now = appointment.now
            return RANK[now.priority], *((now.slot,) if order == "slot" else (now.checked_in_at, now.arrival))

        return sorted((a for a in self.listed(doctor, day) if a.now.queue == "checked_in"), key=place)

    # --- the clinic itself -----------------------------------------------------------------------

    def set_up(self, doctor: str, day: date, now: datetime, at: datetime | None, **told: Any) -> bool:
        """Whether it changed anything."""
        self.doctor(doctor)
        self.when(now, at)
        there = self.clinics.get((doctor, day))
        wanted = replace(self.clinic_or_default(doctor, day), **told)
        if wanted == there:
            return False
        if wanted.minutes(wanted.capacity)[1] > 24 * 60:
            raise Refused("runs_past_midnight")
        held = self.held(doctor, day)
        if there and held and (there.starts_at, there.slot_minutes) != (wanted.starts_at, wanted.slot_minutes):
            raise Refused("clinic_has_bookings")
        if wanted.capacity < max(held, default=0):
            raise Refused("capacity_below_booked")
        self.clinics[doctor, day] = wanted
        return True

    def close(self, doctor: str, day: date, now: datetime, at: datetime | None) -> bool:
        clinic = self.clinic(doctor, day)
        self.when(now, at)
        return self._becomes(clinic, status="closed" if clinic.status == "open" else clinic.status)

    def reopen(self, doctor: str, day: date, now: datetime, at: datetime | None) -> bool:
        clinic = self.clinic(doctor, day)
        self.when(now, at)
        return self._becomes(clinic, status="open")

    def delay(self, doctor: str, day: date, minutes: int, note: str | None, now: datetime, at: datetime | None) -> bool:
        clinic = self.clinic(doctor, day)
        self.when(now, at)
        return self._becomes(clinic, delay_minutes=minutes, note=note)

    def finish(self, doctor: str, day: date, now: datetime, at: datetime | None) -> bool:
        clinic = self.clinic(doctor, day)
        left = [appointment for appointment in self.listed(doctor, day) if appointment.confirmed]
        at = self.when(now, at, of=left)
        if any(appointment.now.queue == "in_consultation" for appointment in left):
            raise Refused("patients_in_consultation")
        for appointment in left:
            if appointment.now.queue is None:
                self._step(appointment, "PatientMarkedNoShow", at, status="no_show")
            else:
                self._step(appointment, "PatientLeftUnseen", at, status="unseen", queue="unseen")
        return self._becomes(clinic, status="finished") or bool(left)

    def reassign(
        self, doctor: str, day: date, to: str, overlap: bool, now: datetime, at: datetime | None
    ) -> tuple[list[Appointment], bool]:
        """Who moved, and whether anything changed."""
        self.doctor(doctor)
        self.doctor(to)
        clinic = self.clinic(doctor, day)
        left = [a for a in self.listed(doctor, day) if a.confirmed and a.now.queue != "in_consultation"]
        at = self.when(now, at, of=left)
        there = self.clinic_or_default(to, day)
        there, slots = self.clinic_or_default(to, day), self._allot(left, to, day)
        misfits = []
        for appointment in left:
            slot = slots[appointment.id]
            try:
                self._refuse_booking(to, day, appointment.patient, None, at)
                if slot is None:
                    raise Refused("clinic_full")
                if not overlap:
                    self._refuse_busy(appointment, there, to, day, slot)
            except Refused as refused:
                misfits.append({"appointment_id": appointment.id, "code": refused.code})
        if misfits:
            raise Refused("does_not_fit", appointments=misfits)
        for appointment in sorted(left, key=lambda a: a.now.arrival):
            self._go(appointment, there, (to, day), slots[appointment.id], at)
        return left, self._becomes(clinic, status="closed" if clinic.status == "open" else clinic.status) or bool(left)

    def _allot(self, coming: list[Appointment], to: str, day: date) -> dict[str, Any]:
        """The same slot number if it is free, else the lowest that is left. None: there is none."""
        free = self._free(to, day)
        spare = iter([slot for slot in free if slot not in [a.now.slot for a in coming]])
        return {a.id: a.now.slot if a.now.slot in free else next(spare, None) for a in coming}

    def _becomes(self, clinic: Clinic, **changed: Any) -> bool:
        before = replace(clinic)
        for name, value in changed.items():
            setattr(clinic, name, value)
        return clinic != before

    # --- booking ---------------------------------------------------------------------------------

    def book(
        self,
        doctor: str,
        patient: str,
        day: date,
        slot: int | None,
        priority: str,
        overlap: bool,
        now: datetime,
        at: datetime | None,
    ) -> Appointment:
        self.doctor(doctor)
        self.patient(patient)
        return self._book(doctor, patient, day, slot, priority, overlap, self.when(now, at))

    def walk_in(
        self, doctor: str, patient: str, priority: str, overlap: bool, now: datetime, at: datetime | None
    ) -> Appointment:
        self.doctor(doctor)
        self.patient(patient)
        at = self.when(now, at)
        day = self.date_of(at)
        clinic = self.clinic_or_default(doctor, day)
        clock = at.astimezone(self.zone)
        minute = clock.hour * 60 + clock.minute + (clock.second + clock.microsecond / 1e6) / 60
        not_begun = [slot for slot in self._free(doctor, day) if clinic.minutes(slot)[0] >= minute]
        appointment = self._book(doctor, patient, day, None, priority, overlap, at, not_begun[:1])
        self._arrive(appointment, at)
        return appointment

    def _book(
        self,
        doctor: str,
        patient: str,
        day: date,
        slot: int | None,
        priority: str,
        overlap: bool,
        at: datetime,
        rather: list[int] | None = None,
    ) -> Appointment:
        self._refuse_booking(doctor, day, patient, slot, at)
        slot = slot or (rather or self._free(doctor, day))[0]
        clinic = self.clinic_or_default(doctor, day)
        appointment = Appointment("", patient, Place(doctor, day, slot, priority), at)
        if not overlap:
            self._refuse_busy(appointment, clinic, doctor, day, slot)
        self.clinics[doctor, day] = clinic
        return appointment

    def remember(self, appointment: Appointment, appointment_id: str) -> None:
        """Under the id that the server gave."""
        appointment.id = appointment_id
        self.appointments[appointment_id] = appointment

    def _free(self, doctor: str, day: date) -> list[int]:
        held = self.held(doctor, day)
        return [slot for slot in range(1, self.clinic_or_default(doctor, day).capacity + 1) if slot not in held]

    def _has_confirmed(self, patient: str, doctor: str, day: date) -> bool:
        return any(a.confirmed and a.patient == patient for a in self.listed(doctor, day))

    def _refuse_booking(self, doctor: str, day: date, patient: str | None, slot: int | None, at: datetime) -> None:
        """`patient` is None where the appointment stays in its clinic."""
        clinic, free = self.clinic_or_default(doctor, day), self._free(doctor, day)
        if day < self.date_of(at):
            raise Refused("date_in_past")
        if clinic.status != "open":
            raise Refused("clinic_closed")
        if patient is not None and self._has_confirmed(patient, doctor, day):
            raise Refused("already_booked")
        if slot is not None and not 1 <= slot <= clinic.capacity:
            raise Refused("no_such_slot")
        if not free:
            raise Refused("clinic_full")
        if slot is not None and slot not in free:
            raise Refused("slot_taken")

    def _refuse_busy(self, appointment: Appointment, clinic: Clinic, doctor: str, day: date, slot: int) -> None:
        starts, ends = clinic.minutes(slot)
        for other in self.appointments.values():
            now = other.now
            if other is appointment or not other.confirmed or other.patient != appointment.patient:
                continue
            if now.day == day and now.doctor != doctor:
                other_starts, other_ends = self.clinics[now.doctor, day].minutes(now.slot)
                if other_starts < ends and starts < other_ends:
                    raise Refused("patient_busy")

    # --- steps -----------------------------------------------------------------------------------

    def check_in(self, appointment_id: str, patient: str | None, now: datetime, at: datetime | None) -> bool:
        """Whether it is news."""
        appointment = self.appointment(appointment_id)
        if patient is not None:
            self.patient(patient)
        at = self.when(now, at, of=[appointment])
        place = appointment.now
        if patient not in (None, appointment.patient):
            raise Refused("patient_mismatch")
        if place.status == "cancelled":
            raise Refused("appointment_cancelled")
        if place.status in ("completed", "unseen"):
            raise Refused("appointment_closed")
        if place.status == "confirmed" and place.queue is not None:
            return False
        if place.day != self.date_of(at):
            raise Refused("not_today")
        if place.status == "no_show" and self._has_confirmed(appointment.patient, place.doctor, place.day):
            raise Refused("already_booked")
        self._arrive(appointment, at)
        return True

    def _arrive(self, appointment: Appointment, at: datetime) -> None:
        place = appointment.now
        ticket = place.ticket
        if ticket is None:
            clinic = self.clinics[place.doctor, place.day]
            clinic.tickets += 1
            ticket = f"{self.doctors[place.doctor].code}-{clinic.tickets}"
        self.arrivals += 1
        self._step(
            appointment,
            "PatientCheckedIn",
            at,
            status="confirmed",
            queue="checked_in",
            ticket=ticket,
            checked_in_at=at,
            arrival=self.arrivals,
        )

    def call_next(self, doctor: str, day: date | None, complete_current: bool, now: datetime) -> Appointment | None:
        self.doctor(doctor)
        day = day or self.date_of(now)
        if (doctor, day) not in self.clinics:
            raise Refused("queue_empty")
        seen = [a for a in self.listed(doctor, day) if a.now.queue in ("called", "in_consultation")]
        seen = seen if complete_current else []
        line = self.line(doctor, day)
        if not line and not seen:
            raise Refused("queue_empty")
        for appointment in seen:
            self._complete(appointment, now)
        for appointment in line[:1]:
            self._step(appointment, "PatientCalled", now, queue="called", called_at=now)
            return appointment
        return None

    def call(self, appointment_id: str, now: datetime, at: datetime | None) -> bool:
        appointment, at = self._allowed(appointment_id, now, at, "checked_in")
        return self._step(appointment, "PatientCalled", at, queue="called", called_at=at)

    def recall(self, appointment_id: str, now: datetime, at: datetime | None) -> bool:
        appointment, at = self._allowed(appointment_id, now, at, "called")
        return self._step(appointment, "PatientRecalled", at, called_at=at)

    def start(self, appointment_id: str, now: datetime, at: datetime | None) -> bool:
        appointment, at = self._allowed(appointment_id, now, at, "called")
        return self._step(appointment, "ConsultationStarted", at, queue="in_consultation")

    def complete(self, appointment_id: str, now: datetime, at: datetime | None) -> bool:
        return self._complete(*self._allowed(appointment_id, now, at, "called", "in_consultation"))

    def hold(self, appointment_id: str, now: datetime, at: datetime | None) -> bool:
        appointment, at = self._allowed(appointment_id, now, at, "checked_in", "called")
        return self._step(appointment, "PatientPutOnHold", at, queue="on_hold")

    def resume(self, appointment_id: str, now: datetime, at: datetime | None) -> bool:
        appointment, at = self._allowed(appointment_id, now, at, "on_hold")
        return self._step(appointment, "PatientResumed", at, queue="checked_in")

    def cancel(self, appointment_id: str, now: datetime, at: datetime | None) -> bool:
        appointment, at = self._allowed(appointment_id, now, at, *NOT_BEGUN)
        return self._step(appointment, "AppointmentCancelled", at, status="cancelled")

    def no_show(self, appointment_id: str, now: datetime, at: datetime | None) -> bool:
        appointment, at = self._allowed(appointment_id, now, at, *NOT_BEGUN)
        queue = "no_show" if appointment.now.queue else None
        return self._step(appointment, "PatientMarkedNoShow", at, status="no_show", queue=queue)

    def prioritize(self, appointment_id: str, priority: str, now: datetime, at: datetime | None) -> bool:
        appointment, at = self._allowed(appointment_id, now, at, *NOT_BEGUN)
        if appointment.now.priority == priority:
            return False
        return self._step(appointment, "PriorityChanged", at, priority=priority)

    def _allowed(
        self, appointment_id: str, now: datetime, at: datetime | None, *queue: str | None
    ) -> tuple[Appointment, datetime]:
        appointment = self.appointment(appointment_id)
        at = self.when(now, at, of=[appointment])
        place = appointment.now
        if place.status != "confirmed" or place.queue not in queue:
            shown = None if place.status == "cancelled" else place.queue
            raise Refused("not_allowed_from", appointment_status=place.status, queue_status=shown)
        return appointment, at

    def _complete(self, appointment: Appointment, at: datetime) -> bool:
        return self._step(
            appointment, "ConsultationCompleted", at, status="completed", queue="completed", completed_at=at
        )

    def _step(self, appointment: Appointment, event: str, at: datetime, **changed: Any) -> bool:
        appointment.before.append(appointment.now)
        appointment.now = replace(appointment.now, **changed)
        appointment.last_at = at
        appointment.happened.append(event)
        return True

    # --- elsewhere, and back ---------------------------------------------------------------------

    def move(
        self,
        appointment_id: str,
        doctor: str | None,
        day: date | None,
        slot: int | None,
        overlap: bool,
        now: datetime,
        at: datetime | None,
    ) -> bool:
        appointment = self.appointment(appointment_id)
        place = appointment.now
        to = doctor or place.doctor, day or place.day
        self.doctor(to[0])
        self._allowed(appointment_id, now, at, *NOT_BEGUN)
        at = self.when(now, at)
        stays = to == (place.doctor, place.day)
        if stays and slot == place.slot:
            return False
        self._refuse_booking(*to, None if stays else appointment.patient, slot, at)
        there = self.clinic_or_default(*to)
        slot = slot or self._free(*to)[0]
        if not overlap:
            self._refuse_busy(appointment, there, *to, slot)
        if place.queue is not None and to[1] != place.day:
            raise Refused("not_today")
        self._go(appointment, there, to, slot, at)
        return True

    def _go(self, appointment: Appointment, there: Clinic, to: tuple[str, date], slot: int, at: datetime) -> None:
        """A called patient is waiting again."""
        place = appointment.now
        waits = "checked_in" if place.queue == "called" else place.queue
        if to == (place.doctor, place.day):
            self._step(appointment, "AppointmentMoved", at, slot=slot, queue=waits)
            return
        self.clinics[to] = there
        self.arrivals += 1
        appointment.happened.append("AppointmentMovedOut")
        changed = {"doctor": to[0], "day": to[1], "slot": slot, "queue": waits, "arrival": self.arrivals}
        self._step(appointment, "AppointmentMovedIn", at, **changed)

    def undo(self, appointment_id: str, now: datetime, at: datetime | None) -> bool:
        appointment = self.appointment(appointment_id)
        at = self.when(now, at, of=[appointment])
        if not appointment.before:
            raise Refused("nothing_to_undo")
        place, back = appointment.now, appointment.before[-1]
        clinic = self.clinics[back.doctor, back.day]
        if back.status == "confirmed" and any(
            a is not appointment and a.confirmed and a.patient == appointment.patient
            for a in self.listed(back.doctor, back.day)
        ):
            raise Refused("already_booked")
        holder = self.held(back.doctor, back.day).get(back.slot)
        if back.status != "cancelled" and holder is not appointment:
            if back.slot > clinic.capacity:
                raise Refused("no_such_slot")
            if holder is not None:
                raise Refused("slot_taken")
        claims_time = not appointment.confirmed or (place.doctor, place.day, place.slot) != (
            back.doctor,
            back.day,
            back.slot,
        )
        if back.status == "confirmed" and claims_time:
            self._refuse_busy(appointment, clinic, back.doctor, back.day, back.slot)
        elsewhere = (place.doctor, place.day) != (back.doctor, back.day)
        appointment.before.pop()
        appointment.now, appointment.last_at = back, at
        appointment.happened += ["StepUndone"] * (2 if elsewhere else 1)
        return True

    # --- what is shown ---------------------------------------------------------------------------

    def queue_of(self, appointment: Appointment) -> dict[str, Any] | None:
        place = appointment.now
        if place.queue is None or place.status == "cancelled":
            return None
        line = self.line(place.doctor, place.day)
        return {
            "position": line.index(appointment) + 1 if appointment in line else 0,
            "checked_in_at": place.checked_in_at,
            "called_at": place.called_at,
            "completed_at": place.completed_at,
            "status": place.queue,
            "ticket": place.ticket,
        }

    def card(self, appointment: Appointment) -> dict[str, Any]:
        """An appointment in an answer."""
        place = appointment.now
        return {
            "appointment_id": appointment.id,
            "doctor_id": place.doctor,
            "patient_id": appointment.patient,
            "date": str(place.day),
            "slot": place.slot,
            "status": place.status,
            "priority": place.priority,
            "queue": self.queue_of(appointment),
        }

    def clinic_block(self, doctor: str, day: date) -> dict[str, Any]:
        clinic = self.clinics[doctor, day]
        booked = len(self.listed(doctor, day))
        return {
            "status": clinic.status,
            "capacity": clinic.capacity,
            "booked": booked,
            "free": clinic.capacity - booked,
            "waiting": len(self.line(doctor, day)),
            "starts_at": clinic.starts_at,
            "slot_minutes": clinic.slot_minutes,
            "room": clinic.room,
            "delay_minutes": clinic.delay_minutes,
            "note": clinic.note,
        }

    def clinic_card(self, doctor: str, day: date) -> dict[str, Any]:
        order = self.clinics[doctor, day].order
        return {"doctor_id": doctor, "date": str(day), "order": order, **self.clinic_block(doctor, day)}

    def doctor_block(self, doctor: str, day: date) -> dict[str, Any]:
        listed = self.listed(doctor, day)
        return {
            "doctor": {"id": doctor, "code": self.doctors[doctor].code},
            "total_appointments": len(listed),
            "checked_in_count": sum(appointment.now.queue is not None for appointment in listed),
            "clinic": self.clinic_block(doctor, day),
            "appointments": [self._listed_card(appointment) for appointment in listed],
        }

    def _listed_card(self, appointment: Appointment) -> dict[str, Any]:
        place = appointment.now
        return {
            "appointment_id": appointment.id,
            "slot": place.slot,
            "status": place.status,
            "priority": place.priority,
            "patient": {"id": appointment.patient},
            "queue": self.queue_of(appointment),
        }

    def board(self, day: date) -> list[dict[str, Any]]:
        """The doctor blocks of a date, by the doctors' codes."""
        here = sorted((doctor for doctor, its_day in self.clinics if its_day == day), key=self._code)
        return [self.doctor_block(doctor, day) for doctor in here]

    def _code(self, doctor: str) -> str:
        return self.doctors[doctor].code
