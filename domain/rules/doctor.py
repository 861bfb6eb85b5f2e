"""Aggregate: a doctor in the registry."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime

from eventsourcing.domain import BaseAggregate, event

from domain.rules import events
from domain.rules.ids import DOCTOR


@dataclass(frozen=True, slots=True)
class DoctorDetails:
    name: str
    code: str
    specialty: str
    department: str | None
    room: str | None


class Doctor(BaseAggregate[str]):
    TOPIC = DOCTOR
    Event = events.Event
    DoctorRegistered = events.DoctorRegistered
    DoctorDetailsChanged = events.DoctorDetailsChanged

    @classmethod
    def register(cls, stream: str, details: DoctorDetails, *, reason: str | None, at: datetime) -> Doctor:
        return cls._create(events.DoctorRegistered, id=stream, **asdict(details), reason=reason, timestamp=at)

    @event(DoctorRegistered)
    def __init__(self, name: str, code: str, specialty: str, department: str | None, room: str | None) -> None:
        self.details = DoctorDetails(name, code, specialty, department, room)

    def change(self, details: DoctorDetails, *, reason: str | None, at: datetime) -> None:
        if details != self.details:
            self._changed(**asdict(details), reason=reason, timestamp=at)

    @event(DoctorDetailsChanged)
    def _changed(
        self,
        name: str,
        code: str,
        specialty: str,
        department: str | None,
        room: str | None,
        reason: str | None,
        timestamp: datetime,
    ) -> None:
        self.details = DoctorDetails(name, code, specialty, department, room)
