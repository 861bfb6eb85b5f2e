"""Aggregate: one patient's commitments on one date, so that nobody is to be in two rooms at once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from eventsourcing.domain import BaseAggregate, event

from domain.rules import events
from domain.rules.ids import PATIENT_DAY, AppointmentId, DoctorId
from domain.rules.refusals import PatientBusy


@dataclass(frozen=True, slots=True)
class Span:
    """Minutes after midnight on the clock on the wall: from `starts` up to, not including, `ends`."""

    starts: int
    ends: int

    def overlaps(self, other: Span) -> bool:
        return self.starts < other.ends and other.starts < self.ends


class PatientDay(BaseAggregate[str]):
    TOPIC = PATIENT_DAY
    Event = events.Event
    TimeReserved = events.TimeReserved
    TimeReleased = events.TimeReleased

    def __init__(self) -> None:
        self.reserved: dict[AppointmentId, tuple[DoctorId, Span]] = {}

    @classmethod
    def untouched(cls, stream: str) -> PatientDay:
        """Everyone has every day, before anything is recorded of it: version 0."""
        day = cls.__new__(cls)
        day.__base_init__(stream, 0, events.NO_TIME)
        day.__init__()  # type: ignore[misc]
        return day

    def reserve(
        self, appointment_id: AppointmentId, doctor_id: DoctorId, span: Span, *, allow_overlap: bool, at: datetime
    ) -> None:
        """Two appointments with one doctor cannot overlap: the clinic sees to that."""
        elsewhere = (taken for doctor, taken in self.reserved.values() if doctor != doctor_id)
        if not allow_overlap and any(span.overlaps(taken) for taken in elsewhere):
            raise PatientBusy
        self._reserved(appointment_id, doctor_id, span.starts, span.ends - span.starts, timestamp=at)

    def release(self, appointment_id: AppointmentId, *, at: datetime) -> None:
        self._released(appointment_id, timestamp=at)

    @event(TimeReserved)
    def _reserved(
        self, appointment_id: AppointmentId, doctor_id: DoctorId, starts_minute: int, minutes: int, timestamp: datetime
    ) -> None:
        self.reserved[appointment_id] = doctor_id, Span(starts_minute, starts_minute + minutes)

    @event(TimeReleased)
    def _released(self, appointment_id: AppointmentId, timestamp: datetime) -> None:
        self.reserved.pop(appointment_id, None)
