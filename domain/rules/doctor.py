"""Aggregate: a doctor in the registry."""

from __future__ import annotations

from datetime import datetime

from eventsourcing.domain import BaseAggregate, event

from domain.rules import events
from domain.rules.ids import DOCTOR


class Doctor(BaseAggregate[str]):
    TOPIC = DOCTOR
    Event = events.Event
    DoctorRegistered = events.DoctorRegistered

    @classmethod
    def register(
        cls,
        stream: str,
        *,
        name: str,
        code: str,
        specialty: str,
        department: str | None,
        room: str | None,
        reason: str | None,
        at: datetime,
    ) -> Doctor:
        return cls._create(
            events.DoctorRegistered,
            id=stream,
            name=name,
            code=code,
            specialty=specialty,
            department=department,
            room=room,
            reason=reason,
            timestamp=at,
        )

    @event(DoctorRegistered)
    def __init__(self, code: str, room: str | None) -> None:
        self.code = code
        self.room = room
