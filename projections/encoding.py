"""Board → JSON bytes, by part. One change encodes one appointment again; the rest is joined from what is there.

    day     = head, doctor blocks by code, tail          joined for every state that is published
    block   = doctor, counts, clinic, appointments       kept in Clinic.encoded until the clinic changes
    entry   = bytes before and after the position        kept in Entry.encoded; a call moves the whole line, and
                                                         only the number between the two is another one

What is joined here must equal what msgspec makes of projections/shapes.py.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import TYPE_CHECKING, Final
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec

from projections import shapes
from projections.board import Clinic, DayBoard, Entry
from projections.shapes import BoardDoctor, ClinicBlock

if TYPE_CHECKING:
    from projections.directory import Directory

BOARD_FORMAT: Final = 1
"""Part of the epoch: another number tells clients that what they hold cannot be continued."""

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
        """A shapes.Day."""
        clinics = self._by_code(board)
        blocks = b",".join([clinic.encoded or self._block(board, clinic) for clinic in clinics])
        total = sum(len(clinic.list_up()) for clinic in clinics)
        head = b'{"date":"%b","total_appointments":%d,"total_doctors":%d,"doctors":[' % (
            board.date.isoformat().encode(),
            total,
            len(clinics),
        )
        return b"".join((head, blocks, b'],"timestamp":"', self.time(now).encode(), b'"}'))

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
            slot=entry.slot,
            status=entry.status,
            priority=entry.priority,
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

    def _by_code(self, board: DayBoard) -> list[Clinic]:
        doctors = self._directory.doctors
        return sorted(board.clinics.values(), key=lambda clinic: doctors[clinic.doctor_id].code)

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
            sum(entry.stage is not None for entry in listed),
            _encode(self.clinic(clinic)),
            b",".join(parts),
        )
        return clinic.encoded

    def _entry(self, board: DayBoard, entry: Entry) -> tuple[bytes, bytes]:
        person = self._directory.person(entry.patient_id)
        assert person is not None, "the projector has everyone on a board at hand"
        before = b'{"appointment_id":"%b","slot":%d,"status":"%b","priority":"%b","patient":%b,"queue":' % (
            str(entry.appointment_id).encode(),
            entry.slot,
            entry.status.encode(),
            entry.priority.encode(),
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
        if entry.stage is None:
            return None
        return shapes.QueueEntry(
            position=entry.position,
            checked_in_at=self.time(entry.arrived_at),
            called_at=self.time(entry.called_at) if entry.called_at else None,
            completed_at=self.time(entry.completed_at) if entry.completed_at else None,
            status=entry.stage,
            ticket=entry.ticket,
        )


def _split_position(queue: bytes) -> tuple[bytes, bytes]:
    """`{"position":7,...` around its number."""
    start = len(b'{"position":')
    return queue[:start], queue[queue.index(b",", start) :]


def board_doctor(doctor_id: UUID, directory: Directory) -> BoardDoctor | None:
    """A doctor as boards show them; None for an unknown one."""
    card = directory.doctors.get(doctor_id)  # type: ignore[call-overload]
    return card and BoardDoctor(id=card.id, name=card.name, code=card.code, specialty=card.specialty)
