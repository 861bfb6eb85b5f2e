"""When a patient stood on which board: from which position of the log, until which.

Positions, and not times: what a monitor was shown is known by position too (see domain/audit/looks.py), so whether it
showed this patient is a matter of counting, whatever clocks said and however far a server was behind.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Final
from uuid import UUID

from domain.audit import read as audit_read
from domain.audit.looks import BoardLook, DayEventsViewed
from domain.log import read
from domain.log.codec import EventMapper, Recorded
from domain.rules import events
from domain.rules.events import Event, TimeReserved
from domain.rules.ids import AppointmentId, DoctorId, PatientId, clinic_of, doctor_stream, patient_stream

if TYPE_CHECKING:
    from domain.postgres.connect import Pool

FOR_EVER: Final = 2**63 - 1


@dataclass(slots=True)
class Stay:
    """An appointment listed on a doctor's board, from the position `first` to `last`."""

    appointment_id: AppointmentId
    doctor_id: DoctorId
    date: date
    first: int
    last: int = FOR_EVER


@dataclass(slots=True)
class Traces:
    """What the log tells of a patient: their appointments, where these stood, and when anything happened to them."""

    patient_id: PatientId
    appointments: list[AppointmentId]
    stays: list[Stay] = field(default_factory=list)
    happened: dict[date, list[int]] = field(default_factory=dict)
    departments: dict[DoctorId, list[tuple[int, str | None]]] = field(default_factory=dict)
    """Of the doctors they stood with: each department that it was, and since which position."""

    @property
    def subjects(self) -> list[UUID]:
        return [self.patient_id, *self.appointments]

    @property
    def days(self) -> list[date]:
        return sorted(self.happened)

    def shown_by(self, look: BoardLook, first: int, last: int) -> bool:
        """Whether such a board, shown from one position to another, had this patient on it."""
        return any(
            stay.date == look.date and self._has(look, stay.doctor_id, max(first, stay.first), min(last, stay.last))
            for stay in self.stays
        )

    def told_by(self, look: DayEventsViewed) -> bool:
        return any(look.after < position <= look.up_to for position in self.happened.get(look.date, ()))

    def _has(self, look: BoardLook, doctor_id: DoctorId, first: int, last: int) -> bool:
        """Whether it showed this doctor at any position from `first` to `last`."""
        if first > last:
            return False
        if look.doctor_id is not None and look.doctor_id != doctor_id:
            return False
        if look.doctors is not None and doctor_id not in look.doctors:
            return False
        if look.department is None:
            return True
        known = self.departments[doctor_id]
        ends = [since - 1 for since, _ in known[1:]] + [FOR_EVER]
        return any(
            department == look.department and since <= last and first <= end
            for (since, department), end in zip(known, ends, strict=True)
        )

    def fold(self, row: Recorded, event: Event) -> None:
        """One event of one of the appointments; those of each appointment in the order of the log."""
        doctor_id, day = clinic_of(str(row.originator_id))
        self.happened.setdefault(day, []).append(row.id)
        begins = Stay(AppointmentId(row.subject), doctor_id, day, row.id)
        listed_already = [stay for stay in self.stays if _same(stay, begins)]
        listed = _listed_after(event)
        if listed and not listed_already:
            self.stays.append(begins)
        elif listed is False:
            for stay in listed_already:
                stay.last = row.id - 1


def _same(stay: Stay, begins: Stay) -> bool:
    """Whether a stay that has not ended is of the same appointment on the same board."""
    return stay.last == FOR_EVER and (stay.appointment_id, stay.doctor_id, stay.date) == (
        begins.appointment_id,
        begins.doctor_id,
        begins.date,
    )


def _listed_after(event: Event) -> bool | None:
    """Whether the event's clinic lists the appointment from now on; None for an event that leaves it as it was."""
    match event:
        case events.AppointmentBooked() | events.AppointmentMovedIn():
            return True
        case events.AppointmentMovedOut() | events.AppointmentCancelled():
            return False
        case events.StepUndone(state=state):
            return state is not None and state.status != "cancelled"
        case _:
            return None


async def traces(pool: Pool, mapper: EventMapper, patient_id: PatientId) -> Traces | None:
    """None for a patient who was never registered; who is erased has traces like everybody else."""
    stream = patient_stream(patient_id)
    if not await read.streams(pool, {stream: 0}):
        return None
    committed = [mapper.to_domain_event(row) for row in await audit_read.commitments(pool, patient_id)]
    appointments = {event.appointment_id: None for event in committed if isinstance(event, TimeReserved)}
    found = Traces(patient_id, list(appointments))
    for appointment_id in appointments:
        for row in await read.subject(pool, appointment_id):
            found.fold(row, mapper.to_domain_event(row))
    await _learn_departments(pool, mapper, found)
    return found


async def _learn_departments(pool: Pool, mapper: EventMapper, found: Traces) -> None:
    """The log knows every department that a doctor ever belonged to, so who watched one is known as of then."""
    doctors = {stay.doctor_id for stay in found.stays}
    for row in await read.streams(pool, {doctor_stream(doctor_id): 0 for doctor_id in doctors}):
        event = mapper.to_domain_event(row)
        if isinstance(event, events.DoctorRegistered | events.DoctorDetailsChanged):
            found.departments.setdefault(DoctorId(row.subject), []).append((row.id, event.department))
