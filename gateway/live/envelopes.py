"""What is around a board's bytes on the wire: type, epoch, sequence, and what happened."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from domain.rules.ids import DoctorId, clinic_stream
from projections.board import DayBoard, News
from projections.encoding import board_doctor

if TYPE_CHECKING:
    from gateway.parts import Parts

_encode: Final = msgspec.json.Encoder().encode

EVENTS_NAMED: Final = 100


Pieces = list[bytes]
"""A message, or a part of one, still to be joined: every copy of a large day takes longer than all the rest."""


def day_state(parts: Parts, board: DayBoard) -> tuple[int, Pieces]:
    """(sequence, a shapes.Day) of all doctors."""
    return board.sequence, parts.encoder.day_pieces(board, parts.now())


def doctor_state(parts: Parts, board: DayBoard, doctor_id: DoctorId) -> tuple[int, Pieces]:
    """(sequence, a shapes.DoctorDay) of one known doctor; sequence 0 without a clinic."""
    stream = clinic_stream(doctor_id, board.date)
    clinic = board.clinics.get(stream)
    doctor = board_doctor(doctor_id, parts.directory)
    assert doctor is not None
    return clinic.changed if clinic else 0, [parts.encoder.doctor_day(board, stream, doctor, parts.now())]


def envelope(kind: Literal["snapshot"], epoch: str, sequence: int, data: Pieces) -> Pieces:
    head = b'{"type":"%b","epoch":"%b","sequence":%d,"data":' % (kind.encode(), epoch.encode(), sequence)
    return [head, *data, b"}"]


def update(epoch: str, after: int, sequence: int, news: Sequence[News] | None, data: Pieces) -> Pieces:
    """`after`: the state published before this one; `news` is None where there is too much of it."""
    events = b"null" if news is None or len(news) > EVENTS_NAMED else _encode(news)  # the fields of a Happened
    head = b'{"type":"update","epoch":"%b","from":%d,"sequence":%d,"events":%b,"data":' % (
        epoch.encode(),
        after,
        sequence,
        events,
    )
    return [head, *data, b"}"]
