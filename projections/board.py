"""DayBoard: one date. Folds one event in at a time, in place, and knows what changed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, ClassVar, Final

from domain.rules import events
from domain.rules.clinic import Stage, Status
from domain.rules.events import Event, Order, Priority
from domain.rules.ids import AppointmentId, DoctorId, PatientId, clinic_of
from domain.rules.line import place
from projections.shapes import ClinicStatus

NEWS_KEPT: Final = 101
"""One more than an envelope names, to know when there are too many."""


@dataclass(slots=True, eq=False)
class Entry:
    """An appointment on the board."""

    appointment_id: AppointmentId
    patient_id: PatientId
    slot: int
    priority: Priority
    changed: int
    status: Status = "confirmed"
    stage: Stage | None = None
    ticket: str = ""
    arrival: int = 0
    arrived_at: datetime = events.NO_TIME
    called_at: datetime | None = None
    completed_at: datetime | None = None
    position: int = 0
    encoded: tuple[bytes, bytes] | None = None  # before and after the position; see encoding.py

    @property
    def listed(self) -> bool:
        return self.status != "cancelled"


@dataclass(slots=True, eq=False)
class Clinic:
    """A doctor's list on this date."""

    doctor_id: DoctorId
    capacity: int
    starts_at: str
    slot_minutes: int
    room: str | None
    order: Order
    changed: int
    status: ClinicStatus = "open"
    delay_minutes: int = 0
    note: str | None = None
    entries: dict[AppointmentId, Entry] = field(default_factory=dict)
    waiting: int = 0
    line_moved: bool = False
    listed: list[Entry] | None = None  # by slot; None when it has to be made again
    encoded: bytes | None = None

    def line_up(self) -> None:
        """Give every entry its position: 1 is next, 0 is not waiting."""
        line = [entry for entry in self.entries.values() if entry.stage == "checked_in"]
        line.sort(key=self._place)
        for entry in self.entries.values():
            entry.position = 0
        for position, entry in enumerate(line, 1):
            entry.position = position
        self.waiting = len(line)
        self.line_moved = False

    def _place(self, entry: Entry) -> Any:
        return place(
            self.order,
            priority=entry.priority,
            arrived_at=entry.arrived_at,
            arrival=entry.arrival,
            slot=entry.slot,
        )

    def list_up(self) -> list[Entry]:
        if self.listed is None:
            self.listed = sorted((e for e in self.entries.values() if e.listed), key=lambda entry: entry.slot)
        return self.listed


@dataclass(frozen=True, slots=True)
class News:
    """Something happened on this date. A person's change has no doctor and no appointment."""

    sequence: int
    type: str
    doctor_id: DoctorId | None
    appointment_id: AppointmentId | None
    clinics: tuple[str, ...]


class DayBoard:
    """The clinics of one date, by the name of their stream."""

    def __init__(self, day: date) -> None:
        self.date = day
        self.sequence = 0
        self.clinics: dict[str, Clinic] = {}
        self.by_patient: dict[PatientId, set[AppointmentId]] = {}
        self.clinic_of: dict[AppointmentId, str] = {}
        self.news: deque[News] = deque(maxlen=NEWS_KEPT)
        self.encoded_bytes = 0

    # --- folding ---------------------------------------------------------------------------------

    def fold(self, position: int, event: Event) -> None:
        """An event of one of this date's clinics. Positions only grow: what was folded before is passed over."""
        if position <= self.sequence:
            return
        self.sequence = position
        stream = event.originator_id
        appointment_id = self._FOLD[type(event)](self, stream, event, position)
        clinic = self.clinics[stream]
        clinic.changed, clinic.encoded = position, None
        self.news.append(News(position, type(event).__name__, clinic.doctor_id, appointment_id, (stream,)))

    def person_changed(self, patient_id: PatientId, position: int, event_name: str) -> bool:
        """A patient's details are others now, or gone. Returns whether this board shows the patient."""
        shown = [self._entry(appointment_id) for appointment_id in self.by_patient.get(patient_id, ())]
        shown = [(stream, entry) for stream, entry in shown if entry.listed]
        if not shown or position <= self.sequence:
            return False
        self.sequence = position
        for stream, entry in shown:
            entry.changed, entry.encoded = position, None
            self.clinics[stream].changed, self.clinics[stream].encoded = position, None
        self.news.append(News(position, event_name, None, None, tuple({stream for stream, _ in shown})))
        return True

    def person_was_changed(self, patient_id: PatientId, position: int) -> None:
        """While loading: the patient's last event, which may be newer than all of the date's own."""
        for appointment_id in self.by_patient.get(patient_id, ()):
            stream, entry = self._entry(appointment_id)
            if entry.listed:
                entry.changed = max(entry.changed, position)
                self.clinics[stream].changed = max(self.clinics[stream].changed, position)
                self.sequence = max(self.sequence, position)

    # --- asking ----------------------------------------------------------------------------------

    def find(self, appointment_id: AppointmentId) -> tuple[Clinic, Entry] | None:
        """An appointment of this date, cancelled ones too, with its position in the line up to date."""
        stream = self.clinic_of.get(appointment_id)
        if stream is None:
            return None
        clinic = self.clinics[stream]
        if clinic.line_moved:
            clinic.line_up()
        return clinic, clinic.entries[appointment_id]

    def patients(self) -> Iterator[PatientId]:
        return iter(self.by_patient)

    def news_after(self, sequence: int, clinic: str | None = None) -> list[News] | None:
        """What happened after `sequence`, of one clinic or of all; None where it is too much to tell."""
        if len(self.news) == NEWS_KEPT and self.news[0].sequence > sequence:
            return None
        return [news for news in self.news if news.sequence > sequence and (clinic is None or clinic in news.clinics)]

    def _entry(self, appointment_id: AppointmentId) -> tuple[str, Entry]:
        stream = self.clinic_of[appointment_id]
        return stream, self.clinics[stream].entries[appointment_id]

    def _stepped(self, stream: str, event: events.AppointmentEvent, position: int) -> tuple[Clinic, Entry]:
        clinic = self.clinics[stream]
        entry = clinic.entries[event.appointment_id]
        entry.changed, entry.encoded = position, None
        return clinic, entry

    def _opened(self, stream: str, event: events.ClinicOpened, position: int) -> None:
        self.clinics[stream] = Clinic(
            doctor_id=clinic_of(stream)[0],
            capacity=event.capacity,
            starts_at=event.starts_at,
            slot_minutes=event.slot_minutes,
            room=event.room,
            order=event.order,
            changed=position,
        )

    def _changed(self, stream: str, event: events.ClinicChanged, position: int) -> None:
        clinic = self.clinics[stream]
        clinic.capacity, clinic.starts_at, clinic.slot_minutes = event.capacity, event.starts_at, event.slot_minutes
        clinic.room, clinic.order = event.room, event.order
        clinic.line_moved = True

    def _booked(self, stream: str, event: events.AppointmentBooked, position: int) -> AppointmentId:
        clinic, appointment_id = self.clinics[stream], event.appointment_id
        clinic.entries[appointment_id] = Entry(
            appointment_id, event.patient_id, event.slot, event.priority, changed=position
        )
        clinic.listed = None
        self.clinic_of[appointment_id] = stream
        self.by_patient.setdefault(event.patient_id, set()).add(appointment_id)
        return appointment_id

    def _cancelled(self, stream: str, event: events.AppointmentCancelled, position: int) -> AppointmentId:
        clinic, entry = self._stepped(stream, event, position)
        clinic.line_moved |= entry.stage == "checked_in"
        entry.status, entry.stage = "cancelled", None
        clinic.listed = None
        return event.appointment_id

    def _checked_in(self, stream: str, event: events.PatientCheckedIn, position: int) -> AppointmentId:
        clinic, entry = self._stepped(stream, event, position)
        entry.stage, entry.ticket = "checked_in", event.ticket
        entry.arrived_at, entry.arrival = event.timestamp, position
        clinic.line_moved = True
        return event.appointment_id

    def _called(self, stream: str, event: events.PatientCalled, position: int) -> AppointmentId:
        clinic, entry = self._stepped(stream, event, position)
        entry.stage, entry.called_at = "called", event.timestamp
        clinic.line_moved = True
        return event.appointment_id

    def _completed(self, stream: str, event: events.ConsultationCompleted, position: int) -> AppointmentId:
        _, entry = self._stepped(stream, event, position)
        entry.status = entry.stage = "completed"
        entry.completed_at = event.timestamp
        return event.appointment_id

    _FOLD: ClassVar[dict[type[Event], Callable[[DayBoard, str, Any, int], AppointmentId | None]]] = {
        events.ClinicOpened: _opened,
        events.ClinicChanged: _changed,
        events.AppointmentBooked: _booked,
        events.AppointmentCancelled: _cancelled,
        events.PatientCheckedIn: _checked_in,
        events.PatientCalled: _called,
        events.ConsultationCompleted: _completed,
    }
