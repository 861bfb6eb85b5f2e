"""Board → JSON bytes, by part. One change encodes one appointment again; the rest is what is there already.

    day     = head, segments, tail                       pieces that sockets take as they are
    segment = some doctor blocks, by doctor's code       kept in Segment.encoded until one of them changes
    block   = doctor, counts, clinic, appointments       kept in Clinic.encoded until the clinic changes
    entry   = bytes before and after the position        kept in Entry.encoded; a call moves the whole line, and
                                                         only the number between the two is another one

The public view has blocks and entries of its own, kept as `masked`, and only where somebody asks for it.
What comes of it must equal what msgspec makes of projections/shapes.py.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import TYPE_CHECKING, Final
from weakref import ref
from zoneinfo import ZoneInfo

import msgspec

from domain.rules.ids import DoctorId, clinic_stream
from projections import shapes
from projections.board import Clinic, DayBoard, Entry, Segment
from projections.shapes import BoardDoctor, ClinicBlock
from projections.views import EVERYBODY, View

if TYPE_CHECKING:
    from projections.directory import Directory

BOARD_FORMAT: Final = 1
"""Part of the epoch: another number tells clients that what they hold cannot be continued."""

SEGMENT_CLINICS: Final = 16
"""Fewer make more pieces to send, more make more bytes to join when one of them changes."""

_BLOCK: Final = b'{"doctor":%b,"total_appointments":%d,"checked_in_count":%d,"clinic":%b,"appointments":[%b]}'

_encode: Final = msgspec.json.Encoder().encode


class Encoder:
    """Knows what times look like here, and who people are."""

    def __init__(self, directory: Directory, zone: ZoneInfo) -> None:
        self._directory, self._zone = directory, zone

    def time(self, at: datetime) -> str:
        return time_in(self._zone, at)

    def day(self, board: DayBoard, now: datetime, view: View = EVERYBODY) -> bytes:
        """A shapes.Day or PublicDay, or for one doctor a DoctorDay or PublicDoctorDay, in one piece."""
        return b"".join(self.day_pieces(board, now, view))

    def day_pieces(self, board: DayBoard, now: datetime, view: View = EVERYBODY) -> list[bytes]:
        """The same, still to be joined: sockets take pieces as they are, and copying 2 MB takes longer than all the
        rest."""
        if not view.everybody:
            head, blocks, tail = self.day_blocks(board, now, view)
            return [head, b",".join(blocks), tail]
        segments = self._in_order(board)
        joined = [segment.encoded or self._segment(board, segment) for segment in segments]
        listed = sum([segment.listed for segment in segments])
        return [self._head(board, listed, len(board.clinics)), *joined, self._tail(now)]

    def day_blocks(self, board: DayBoard, now: datetime, view: View) -> tuple[bytes, list[bytes], bytes]:
        """The same as a head, its doctors' blocks with commas still to come between them, and a tail."""
        if view.doctor_id is not None:
            return self._doctor_day(board, view.doctor_id, now, view), [], b""
        clinics = self.shown(board, view)
        blocks = [self.block(board, clinic, public=view.public) for clinic in clinics]
        listed = sum([len(clinic.list_up()) for clinic in clinics])
        return self._head(board, listed, len(clinics)), blocks, self._tail(now)

    def shown(self, board: DayBoard, view: View) -> list[Clinic]:
        """The clinics of a view, by their doctors' codes."""
        if view.doctor_id is None and not view.filtered:
            return [clinic for segment in self._in_order(board) for clinic in segment.clinics]
        shown = {id(clinic) for clinic in view.shown(board, self._directory.doctors)}
        return [clinic for segment in self._in_order(board) for clinic in segment.clinics if id(clinic) in shown]

    def _head(self, board: DayBoard, listed: int, doctors: int) -> bytes:
        day = board.date.isoformat().encode()
        return b'{"date":"%b","total_appointments":%d,"total_doctors":%d,"doctors":[' % (day, listed, doctors)

    def _tail(self, now: datetime) -> bytes:
        return b'],"timestamp":"%b"}' % self.time(now).encode()

    def _doctor_day(self, board: DayBoard, doctor_id: DoctorId, now: datetime, view: View) -> bytes:
        clinic = board.clinics.get(clinic_stream(doctor_id, board.date))
        if clinic is None:
            block = b'{"doctor":%b,"total_appointments":0,"checked_in_count":0,"clinic":null,"appointments":[]' % (
                _encode(self.doctor(doctor_id))
            )
        else:
            block = self.block(board, clinic, public=view.public)[:-1]
        head = b'{"date":"%b",' % board.date.isoformat().encode()
        return b"".join((head, block[1:], b',"timestamp":"', self.time(now).encode(), b'"}'))

    def appointment(self, clinic: Clinic, entry: Entry, day: date) -> shapes.Appointment:
        """As a command's answer has it. The line must be up to date: see DayBoard.find."""
        return shapes.Appointment(
            appointment_id=entry.appointment_id,
            doctor_id=clinic.doctor_id,
            patient_id=entry.patient_id,
            date=day,
            slot=entry.state.slot,
            status=entry.state.status,
            priority=entry.state.priority,
            queue=self._queue(entry),
            sequence=entry.changed,
        )

    def clinic(self, clinic: Clinic) -> ClinicBlock:
        booked = len(clinic.list_up())
        return ClinicBlock(
            status=clinic.status,
            capacity=clinic.capacity,
            booked=booked,
            free=max(0, clinic.capacity - booked),  # By effective time, two may have had the same slot.
            waiting=clinic.waiting,
            starts_at=clinic.starts_at,
            slot_minutes=clinic.slot_minutes,
            room=clinic.room,
            delay_minutes=clinic.delay_minutes,
            note=clinic.note,
        )

    def doctor(self, doctor_id: DoctorId) -> BoardDoctor:
        """A registered doctor, as boards show them."""
        card = self._directory.doctors[doctor_id]
        return BoardDoctor(id=card.id, name=card.name, code=card.code, specialty=card.specialty)

    # --- parts -----------------------------------------------------------------------------------

    def _in_order(self, board: DayBoard) -> list[Segment]:
        """The clinics by their doctors' codes, a few to a segment."""
        if board.segments is None:
            doctors = self._directory.doctors
            clinics = sorted(board.clinics.values(), key=lambda clinic: doctors[clinic.doctor_id].code)
            steps = range(0, len(clinics), SEGMENT_CLINICS)
            board.segments = [Segment(clinics[at : at + SEGMENT_CLINICS]) for at in steps]
            for segment in board.segments:
                for clinic in segment.clinics:
                    clinic.segment = ref(segment)
        return board.segments

    def _segment(self, board: DayBoard, segment: Segment) -> bytes:
        """With a comma in front, unless it is the first."""
        assert board.segments is not None
        encoded = b",".join([self.block(board, clinic) for clinic in segment.clinics])
        segment.listed = sum([len(clinic.list_up()) for clinic in segment.clinics])
        segment.encoded = encoded if segment is board.segments[0] else b"," + encoded
        return segment.encoded

    def block(self, board: DayBoard, clinic: Clinic, *, public: bool = False) -> bytes:
        """A shapes.DoctorBlock or PublicDoctorBlock."""
        kept = clinic.masked if public else clinic.encoded
        if kept is not None:
            return kept
        clinic.line_up()
        listed = clinic.list_up()
        block = _BLOCK % (
            _encode(self.doctor(clinic.doctor_id)),
            len(listed),
            checked_in(clinic),
            _encode(self.clinic(clinic)),
            b",".join([self.entry(board, entry, public=public) for entry in listed]),
        )
        if public:
            clinic.masked = block
        else:
            clinic.encoded = block
        return block

    def entry(self, board: DayBoard, entry: Entry, *, public: bool = False) -> bytes:
        """A shapes.BoardAppointment or PublicAppointment. The line must be up to date: see Clinic.line_up."""
        before, after = (entry.masked if public else entry.encoded) or self._halves(board, entry, public=public)
        return b"%b%d%b" % (before, entry.position, after) if after else before

    def _halves(self, board: DayBoard, entry: Entry, *, public: bool) -> tuple[bytes, bytes]:
        """Before and after the position; all of it before where there is none."""
        person = self._directory.person(entry.patient_id)
        assert person is not None, "the projector has everyone on a board at hand"
        before = b'{"appointment_id":"%b","slot":%d,"status":"%b","priority":"%b","patient":%b,"queue":' % (
            str(entry.appointment_id).encode(),
            entry.state.slot,
            entry.state.status.encode(),
            entry.state.priority.encode(),
            _encode(person.in_public() if public else person.on_board(board.date)),
        )
        queue = self._queue(entry)
        if queue is None:
            halves = before + b"null}", b""
        else:
            position, rest = _split_position(_encode(queue))
            halves = before + position, rest + b"}"
        if public:
            entry.masked = halves
        else:
            entry.encoded = halves
        return halves

    def _queue(self, entry: Entry) -> shapes.QueueEntry | None:
        state = entry.state
        if state.stage is None or state.arrived_at is None or state.ticket is None:
            return None
        return shapes.QueueEntry(
            position=entry.position,
            checked_in_at=self.time(state.arrived_at),
            called_at=self.time(state.called_at) if state.called_at else None,
            completed_at=self.time(state.completed_at) if state.completed_at else None,
            status=state.stage,
            ticket=state.ticket,
        )


def _split_position(queue: bytes) -> tuple[bytes, bytes]:
    """`{"position":7,...` around its number."""
    start = len(b'{"position":')
    return queue[:start], queue[queue.index(b",", start) :]


def checked_in(clinic: Clinic) -> int:
    """How many of those listed have a queue entry, whatever came after."""
    return sum([entry.state.stage is not None for entry in clinic.list_up()])


def time_in(zone: ZoneInfo, at: datetime) -> str:
    """RFC 3339 in the hospital's zone, to the second."""
    return at.astimezone(zone).isoformat(timespec="seconds")
