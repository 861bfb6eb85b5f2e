"""Aggregate: who a patient is, sealed; and their erasure."""

from __future__ import annotations

from datetime import datetime

from eventsourcing.domain import BaseAggregate, event

from domain.rules import events
from domain.rules.ids import PATIENT, Sealed


class Patient(BaseAggregate[str]):
    TOPIC = PATIENT
    Event = events.Event
    PatientRegistered = events.PatientRegistered
    PatientDetailsChanged = events.PatientDetailsChanged
    PatientErased = events.PatientErased

    @classmethod
    def register(cls, stream: str, *, details: Sealed, reason: Sealed | None, at: datetime) -> Patient:
        return cls._create(events.PatientRegistered, id=stream, details=details, reason=reason, timestamp=at)

    @event(PatientRegistered)
    def __init__(self, details: Sealed) -> None:
        self.details = details
        self.erased = False

    def change(self, details: Sealed, *, reason: Sealed | None, at: datetime) -> None:
        """Whether the details differ only the desk can tell: sealed twice, the same text is other bytes."""
        self._changed(details, reason=reason, timestamp=at)

    @event(PatientDetailsChanged)
    def _changed(self, details: Sealed, reason: Sealed | None, timestamp: datetime) -> None:
        self.details = details

    def erase(self, *, reason: str, at: datetime) -> None:
        if self.erased:
            return  # Forgotten is forgotten: asking again is not news.
        self._erased(reason=reason, timestamp=at)

    @event(PatientErased)
    def _erased(self, reason: str, timestamp: datetime) -> None:
        self.details = Sealed(b"")
        self.erased = True
