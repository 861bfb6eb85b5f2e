"""DayBoard: one date. Folds one event in at a time, in place, and knows what changed, and when.

When is a sequence, and it comes from the log alone: a board that was loaded a moment ago, on another worker, knows it
as well as one that has followed since the morning. So whoever saw the board as it was at some sequence can be told
what is another now (see deltas.py), without anybody having kept what was sent.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any, ClassVar, Final
from weakref import ref

import msgspec

from domain.rules import events
from domain.rules.events import AppointmentStep, Event, Order, State
from domain.rules.ids import AppointmentId, DoctorId, PatientId, clinic_of, clinic_stream
from domain.rules.line import place
from projections.shapes import ClinicStatus

NEWS_KEPT: Final = 101
"""One more than an envelope names, to know when there are too many."""


REGISTRATIONS: Final = frozenset({events.PatientRegistered.__name__, events.DoctorRegistered.__name__})


class News(msgspec.Struct, frozen=True):
    """Something happened on this date. A person's change has no doctor and no appointment."""

    sequence: int
    type: str
    doctor_id: DoctorId | None
    appointment_id: AppointmentId | None


@dataclass(slots=True, eq=False)
class Entry:
    """An appointment on the board."""

    appointment_id: AppointmentId
    patient_id: PatientId
    state: State
    changed: int
    position: int = 0
    repositioned: int = 0
    """When the position became another, at the latest."""
    encoded: tuple[bytes, bytes] | None = None  # before and after the position; see encoding.py
    masked: tuple[bytes, bytes] | None = None  # the same as the public may see it
    shared: bool = False
    """It stands on several boards, and is as it is on all of them: see Clinic.own."""

    @property
    def listed(self) -> bool:
        return self.state.status != "cancelled"

    def copy(self) -> Entry:
        return Entry(
            self.appointment_id,
            self.patient_id,
            self.state,
            self.changed,
            self.position,
            self.repositioned,
            self.encoded,
            self.masked,
        )


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
    introduced: int
    """When it was opened, or its doctor's details became others."""
    described: int
    """When anything of the clinic itself may have become another: its settings, slots held, how many wait."""
    counted: int
    """When another number may have been listed."""
    arrived: int
    """When another number may have been checked in."""
    status: ClinicStatus = "open"
    delay_minutes: int = 0
    note: str | None = None
    entries: dict[AppointmentId, Entry] = field(default_factory=dict)
    gone: dict[AppointmentId, int] = field(default_factory=dict)
    """Who was here and is not on this list any more, and since when."""
    waiting: int = 0
    line_moves: tuple[int, int] | None = None
    """The first and the last event since `line_up` that may have moved the line."""
    listed: list[Entry] | None = None  # by slot; None when it has to be made again
    encoded: bytes | None = None
    masked: bytes | None = None
    segment: ref[Segment] | None = None  # weak, so that a board is gone as soon as nobody has it
    news: deque[News] = field(default_factory=lambda: deque(maxlen=NEWS_KEPT))

    def line_up(self) -> None:
        """Give every entry its position, 1 is next, 0 is not waiting; if that is to be done."""
        if self.line_moves is None:
            return
        first, last = self.line_moves
        line = [entry for entry in self.entries.values() if entry.state.stage == "checked_in"]
        line.sort(key=self._place)
        positions = dict.fromkeys(self.entries, 0)
        positions.update((entry.appointment_id, position) for position, entry in enumerate(line, 1))
        for entry in self.entries.values():
            position = positions[entry.appointment_id]
            # Who leaves the line does so by an event of their own. And between several events the line was never made
            # up here, but perhaps elsewhere: whoever waits has to be told where, even if they are where they were.
            if position and (position != entry.position or first != last):
                own = self.own(entry.appointment_id)
                own.position, own.repositioned = position, last
            elif position != entry.position:
                self.own(entry.appointment_id).position = position
        self.waiting = len(line)
        self.line_moves = None

    def line_moved(self, position: int) -> None:
        self.line_moves = (self.line_moves[0] if self.line_moves else position, position)
        self.described = position

    def _place(self, entry: Entry) -> Any:
        state = entry.state
        arrived_at = state.arrived_at or events.NO_TIME
        return place(self.order, priority=state.priority, arrived_at=arrived_at, arrival=state.arrival, slot=state.slot)

    def shows_change(self, position: int) -> None:
        """What was encoded of it is of yesterday."""
        self.changed = position
        self.forget_bytes()

    def forget_bytes(self) -> None:
        self.encoded = self.masked = None
        if self.segment is not None and (segment := self.segment()) is not None:
            segment.encoded = None

    def list_moved(self, position: int) -> None:
        self.listed = None
        self.described = self.counted = self.arrived = position

    def list_up(self) -> list[Entry]:
        """Those who are listed, by slot."""
        if self.listed is None:
            self.listed = sorted((e for e in self.entries.values() if e.listed), key=lambda entry: entry.state.slot)
        return self.listed

    def own(self, appointment_id: AppointmentId) -> Entry:
        """An entry that may be changed: if it is shared, a copy of it takes its place here."""
        entry = self.entries[appointment_id]
        if entry.shared:
            entry = self.entries[appointment_id] = entry.copy()
            self.listed = None
        return entry

    def copy(self) -> Clinic:
        """In the same state, with the same entries, and without its news."""
        for entry in self.entries.values():
            entry.shared = True
        return replace(
            self,
            entries=self.entries.copy(),
            gone=self.gone.copy(),
            listed=None,
            encoded=None,
            masked=None,
            segment=None,
            news=deque(maxlen=NEWS_KEPT),
        )


@dataclass(slots=True, eq=False, weakref_slot=True)
class Segment:
    """Some clinics that stand behind one another on the board, and their bytes in one piece: see encoding.py."""

    clinics: list[Clinic]
    encoded: bytes | None = None
    listed: int = 0


class DayBoard:
    """The clinics of one date, by the name of their stream."""

    def __init__(self, day: date) -> None:
        self.date = day
        self.sequence = 0
        self.clinics: dict[str, Clinic] = {}
        self.by_patient: dict[PatientId, tuple[AppointmentId, ...]] = {}
        """Also of those who have left: they were here."""
        self.clinic_of: dict[AppointmentId, str] = {}
        self.news: deque[News] = deque(maxlen=NEWS_KEPT)
        self.told_from = 0
        """From here on all that happened is in the news; before that people may have changed unheard."""
        self.segments: list[Segment] | None = None  # of the clinics by doctor's code; None: to be made again

    # --- folding ---------------------------------------------------------------------------------

    def fold(self, position: int, event: Event) -> bool:
        """An event of one of this date's clinics. Positions only grow: what was folded before is passed over."""
        if position <= self.sequence:
            return False
        self.sequence = position
        stream = event.originator_id
        appointment_id = self._FOLD[type(event)](self, stream, event, position)
        clinic = self.clinics[stream]
        clinic.shows_change(position)
        news = News(position, type(event).__name__, clinic.doctor_id, appointment_id)
        self.news.append(news)
        clinic.news.append(news)
        return True

    def person_changed(self, patient_id: PatientId, position: int, event_name: str) -> bool:
        """A patient's details are others now, or gone. Returns whether this board shows the patient."""
        shown = [self._entry(appointment_id) for appointment_id in self.by_patient.get(patient_id, ())]
        shown = [(stream, entry) for stream, entry in shown if entry.listed]
        if not shown or position <= self.sequence:
            return False
        self.sequence = position
        news = News(position, event_name, None, None)
        self.news.append(news)
        for _, entry in shown:
            entry.changed, entry.encoded, entry.masked = position, None, None
        for clinic in {stream: self.clinics[stream] for stream, _ in shown}.values():
            clinic.shows_change(position)
            clinic.news.append(news)
        return True

    def doctor_changed(self, doctor_id: DoctorId, position: int, event_name: str) -> bool:
        """A doctor's details are others now. Returns whether this board shows the doctor."""
        clinic = self.clinics.get(clinic_stream(doctor_id, self.date))
        if clinic is None or position <= self.sequence:
            return False
        self.sequence = clinic.introduced = position
        clinic.shows_change(position)
        self.segments = None  # The doctor's code may be another, and doctors are ordered by it.
        news = News(position, event_name, None, None)
        self.news.append(news)
        clinic.news.append(news)
        return True

    def doctor_was_changed(self, clinic: Clinic, position: int, event_name: str) -> None:
        """While loading: the doctor's last event, which may be newer than all of the date's own."""
        clinic.introduced = max(clinic.introduced, position)
        clinic.changed = max(clinic.changed, position)
        self.sequence = max(self.sequence, position)
        if event_name not in REGISTRATIONS:  # which come before anybody is on a board
            self.tells_from(position)

    def person_was_changed(self, patient_id: PatientId, position: int, event_name: str) -> None:
        """While loading: the patient's last event, which may be newer than all of the date's own."""
        for appointment_id in self.by_patient.get(patient_id, ()):
            stream, entry = self._entry(appointment_id)
            if entry.listed:
                entry = self.clinics[stream].own(appointment_id)
                entry.changed = max(entry.changed, position)
                self.clinics[stream].changed = max(self.clinics[stream].changed, position)
                self.sequence = max(self.sequence, position)
        if event_name not in REGISTRATIONS:
            self.tells_from(position)

    def tells_from(self, position: int) -> None:
        """Up to here people may have changed unheard."""
        self.told_from = max(self.told_from, position)

    # --- boards of the past ----------------------------------------------------------------------

    def copy(self) -> DayBoard:
        """Another board in the same state, to be folded on by itself. Appointments are shared, with what is encoded of
        them, until they change on one of the two; news are not taken along."""
        board = DayBoard(self.date)
        board.sequence, board.told_from = self.sequence, self.sequence
        board.clinics = {stream: clinic.copy() for stream, clinic in self.clinics.items()}
        board.by_patient, board.clinic_of = self.by_patient.copy(), self.clinic_of.copy()
        return board

    def person_looks_different(self, patient_id: PatientId) -> None:
        """A patient is registered otherwise now, or gone: nothing may be left that was encoded of them before. When
        that was is no part of a board of the past, which shows people as they are now."""
        for appointment_id in self.by_patient.get(patient_id, ()):
            stream, entry = self._entry(appointment_id)
            entry.encoded = entry.masked = None
            self.clinics[stream].forget_bytes()

    def doctor_looks_different(self, doctor_id: DoctorId) -> None:
        """The same of a doctor's details."""
        clinic = self.clinics.get(clinic_stream(doctor_id, self.date))
        if clinic is not None:
            clinic.forget_bytes()
            self.segments = None

    # --- asking ----------------------------------------------------------------------------------

    def find(self, appointment_id: AppointmentId) -> tuple[Clinic, Entry] | None:
        """An appointment of this date, cancelled ones too, with its position in the line up to date."""
        stream = self.clinic_of.get(appointment_id)
        if stream is None:
            return None
        clinic = self.clinics[stream]
        clinic.line_up()
        return clinic, clinic.entries[appointment_id]

    def patients(self) -> Iterator[PatientId]:
        return iter(self.by_patient)

    def _entry(self, appointment_id: AppointmentId) -> tuple[str, Entry]:
        stream = self.clinic_of[appointment_id]
        return stream, self.clinics[stream].entries[appointment_id]

    def _opened(self, stream: str, event: events.ClinicOpened, position: int) -> None:
        self.clinics[stream] = Clinic(
            doctor_id=clinic_of(stream)[0],
            capacity=event.capacity,
            starts_at=event.starts_at,
            slot_minutes=event.slot_minutes,
            room=event.room,
            order=event.order,
            changed=position,
            introduced=position,
            described=position,
            counted=position,
            arrived=position,
        )
        self.segments = None

    def _changed(self, stream: str, event: events.ClinicChanged, position: int) -> None:
        clinic = self.clinics[stream]
        clinic.capacity, clinic.starts_at, clinic.slot_minutes = event.capacity, event.starts_at, event.slot_minutes
        clinic.room, clinic.order = event.room, event.order
        clinic.line_moved(position)

    def _closed(self, stream: str, event: events.ClinicClosed, position: int) -> None:
        clinic = self.clinics[stream]
        clinic.status, clinic.described = "closed", position

    def _reopened(self, stream: str, event: events.ClinicReopened, position: int) -> None:
        clinic = self.clinics[stream]
        clinic.status, clinic.described = "open", position

    def _delayed(self, stream: str, event: events.ClinicDelayed, position: int) -> None:
        clinic = self.clinics[stream]
        clinic.delay_minutes, clinic.note, clinic.described = event.minutes, event.note, position

    def _finished(self, stream: str, event: events.ClinicFinished, position: int) -> None:
        clinic = self.clinics[stream]
        clinic.status, clinic.described = "finished", position

    def _booked(self, stream: str, event: events.AppointmentBooked, position: int) -> AppointmentId:
        return self._take_in(stream, event.appointment_id, event.patient_id, event.state(), position)

    def _stepped(self, stream: str, event: AppointmentStep, position: int) -> AppointmentId:
        """A step says itself how its appointment stands afterwards."""
        self._becomes(stream, event.appointment_id, event.after, position)
        return event.appointment_id

    def _moved_in(self, stream: str, event: events.AppointmentMovedIn, position: int) -> AppointmentId:
        return self._take_in(stream, event.appointment_id, event.patient_id, event.state, position)

    def _moved_out(self, stream: str, event: events.AppointmentMovedOut, position: int) -> AppointmentId:
        return self._let_go(stream, event.appointment_id, position)

    def _undone(self, stream: str, event: events.StepUndone, position: int) -> AppointmentId:
        state = event.state
        if state is None:
            return self._let_go(stream, event.appointment_id, position)
        if event.patient_id is not None:
            return self._take_in(stream, event.appointment_id, event.patient_id, state, position)
        self._becomes(stream, event.appointment_id, lambda _: state, position)
        return event.appointment_id

    # --- where appointments stand ----------------------------------------------------------------

    def _becomes(
        self, stream: str, appointment_id: AppointmentId, after: Callable[[State], State], position: int
    ) -> None:
        clinic = self.clinics[stream]
        entry = clinic.own(appointment_id)
        before, was_listed = entry.state, entry.listed
        state = entry.state = after(before)
        entry.changed, entry.encoded, entry.masked = position, None, None
        if entry.listed != was_listed or state.slot != before.slot:
            clinic.list_moved(position)
        # A step far from the line, such as a completion, leaves everybody's position as it is.
        if before.stage == "checked_in" or state.stage == "checked_in":
            clinic.line_moved(position)
        if (before.stage is None) != (state.stage is None):
            clinic.arrived = position

    def _take_in(
        self, stream: str, appointment_id: AppointmentId, patient_id: PatientId, state: State, position: int
    ) -> AppointmentId:
        clinic = self.clinics[stream]
        clinic.entries[appointment_id] = Entry(appointment_id, patient_id, state, changed=position)
        clinic.gone.pop(appointment_id, None)
        clinic.list_moved(position)
        if state.stage == "checked_in":
            clinic.line_moved(position)
        self.clinic_of[appointment_id] = stream
        known = self.by_patient.get(patient_id, ())
        self.by_patient[patient_id] = known if appointment_id in known else (*known, appointment_id)
        return appointment_id

    def _let_go(self, stream: str, appointment_id: AppointmentId, position: int) -> AppointmentId:
        clinic = self.clinics[stream]
        entry = clinic.entries.pop(appointment_id)
        clinic.gone[appointment_id] = position
        clinic.list_moved(position)
        if entry.state.stage == "checked_in":
            clinic.line_moved(position)
        if self.clinic_of[appointment_id] == stream:
            del self.clinic_of[appointment_id]
            known = self.by_patient[entry.patient_id]
            self.by_patient[entry.patient_id] = tuple(each for each in known if each != appointment_id)
        return appointment_id

    _FOLD: ClassVar[dict[type[Event], Callable[[DayBoard, str, Any, int], AppointmentId | None]]] = {
        events.ClinicOpened: _opened,
        events.ClinicChanged: _changed,
        events.ClinicClosed: _closed,
        events.ClinicReopened: _reopened,
        events.ClinicDelayed: _delayed,
        events.ClinicFinished: _finished,
        events.AppointmentBooked: _booked,
        events.AppointmentMovedIn: _moved_in,
        events.AppointmentMovedOut: _moved_out,
        events.StepUndone: _undone,
        **dict.fromkeys(events.STEPS, _stepped),
    }


def brings(event: Event) -> PatientId | None:
    """The patient whom an event brings onto a board, if it brings one."""
    if isinstance(event, events.AppointmentBooked | events.AppointmentMovedIn | events.StepUndone):
        return event.patient_id
    return None
