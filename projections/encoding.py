"""Board → JSON bytes, by part. One change encodes one appointment again; the rest is what is there already.

    day     = head, segments, tail                       pieces that sockets take as they are
    segment = some doctor blocks, by doctor's code       kept in Segment.encoded until one of them changes
    block   = doctor, counts, clinic, appointments       kept in Clinic.encoded until the clinic changes
    entry   = bytes before and after the position        kept in Entry.encoded; a call moves the whole line, and
                                                         only the number between the two is another one

What comes of it must equal what msgspec makes of projections/shapes.py.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import TYPE_CHECKING, Final
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec

from projections import shapes
from projections.board import Clinic, DayBoard, Entry, Segment
from projections.shapes import BoardDoctor, ClinicBlock

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
        """RFC 3339 in the hospital's zone, to the second."""
        return at.astimezone(self._zone).isoformat(timespec="seconds")

    def day(self, board: DayBoard, now: datetime) -> bytes:
        """A shapes.Day, in one piece."""
        return b"".join(self.day_pieces(board, now))

    def day_pieces(self, board: DayBoard, now: datetime) -> list[bytes]:
        """A shapes.Day, still to be joined: sockets take pieces as they are, and copying 2 MB takes longer than all
        the rest."""
        segments = board.segments
        if segments is None:
            segments = board.segments = self._segments(board)
        blocks = [segment.encoded or self._segment(board, segment) for segment in segments]
        head = b'{"date":"%b","total_appointments":%d,"total_doctors":%d,"doctors":[' % (
            board.date.isoformat().encode(),
            sum([segment.listed for segment in segments]),
            len(board.clinics),
        )
        return [head, *blocks, b'],"timestamp":"%b"}' % self.time(now).encode()]

    def doctor_day(self, board: DayBoard, stream: str, doctor: BoardDoctor, now: datetime) -> bytes:
        """A shapes.DoctorDay."""
        clinic = board.clinics.get(stream)
        if clinic is None:
            block = b'{"doctor":%b,"total_appointments":0,"checked_in_count":0,"clinic":null,"appointments":[]' % (
                _encode(doctor)
            )
        else:
            block = (clinic.encoded or self._block(board, clinic))[:-1]
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
            free=clinic.capacity - booked,
            waiting=clinic.waiting,
            starts_at=clinic.starts_at,
            slot_minutes=clinic.slot_minutes,
            room=clinic.room,
            delay_minutes=clinic.delay_minutes,
            note=clinic.note,
        )

    def doctor(self, clinic: Clinic) -> BoardDoctor:
        card = self._directory.doctors[clinic.doctor_id]
        return BoardDoctor(id=card.id, name=card.name, code=card.code, specialty=card.specialty)

    # --- parts -----------------------------------------------------------------------------------

    def _segments(self, board: DayBoard) -> list[Segment]:
        """The clinics by their doctors' codes, a few to a segment."""
        doctors = self._directory.doctors
        clinics = sorted(board.clinics.values(), key=lambda clinic: doctors[clinic.doctor_id].code)
        segments = [Segment(clinics[at : at + SEGMENT_CLINICS]) for at in range(0, len(clinics), SEGMENT_CLINICS)]
        for segment in segments:
            for clinic in segment.clinics:
                clinic.segment = segment
        return segments

    def _segment(self, board: DayBoard, segment: Segment) -> bytes:
        """With a comma in front, unless it is the first."""
        assert board.segments is not None
        encoded = b",".join([clinic.encoded or self._block(board, clinic) for clinic in segment.clinics])
        segment.listed = sum([len(clinic.list_up()) for clinic in segment.clinics])
        segment.encoded = encoded if segment is board.segments[0] else b"," + encoded
        return segment.encoded

    def _block(self, board: DayBoard, clinic: Clinic) -> bytes:
        if clinic.line_moved:
            clinic.line_up()
        listed = clinic.list_up()
        parts = []
        for entry in listed:
            before, after = entry.encoded or self._entry(board, entry)
            parts.append(b"%b%d%b" % (before, entry.position, after) if after else before)
        clinic.encoded = _BLOCK % (
            _encode(self.doctor(clinic)),
            len(listed),
            sum(entry.state.stage is not None for entry in listed),
            _encode(self.clinic(clinic)),
            b",".join(parts),
        )
        return clinic.encoded

    def _entry(self, board: DayBoard, entry: Entry) -> tuple[bytes, bytes]:
        person = self._directory.person(entry.patient_id)
        assert person is not None, "the projector has everyone on a board at hand"
        before = b'{"appointment_id":"%b","slot":%d,"status":"%b","priority":"%b","patient":%b,"queue":' % (
            str(entry.appointment_id).encode(),
            entry.state.slot,
            entry.state.status.encode(),
            entry.state.priority.encode(),
            _encode(person.on_board(board.date)),
        )
        queue = self._queue(entry)
        if queue is None:
            entry.encoded = before + b"null}", b""
        else:
            position, rest = _split_position(_encode(queue))
            entry.encoded = before + position, rest + b"}"
        return entry.encoded

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


def board_doctor(doctor_id: UUID, directory: Directory) -> BoardDoctor | None:
    """A doctor as boards show them; None for an unknown one."""
    card = directory.doctors.get(doctor_id)  # type: ignore[call-overload]
    return card and BoardDoctor(id=card.id, name=card.name, code=card.code, specialty=card.specialty)
