"""What is another than before: a board's changes since a sequence, as bytes.

Nothing that was sent is kept for this. Every part of a board knows when it last may have changed, from the log alone,
so any worker can tell anybody what changed since any state, however long ago. What is told is absolute: telling too
much, or twice, does no harm, and telling too little would.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Final

import msgspec

from domain.rules.ids import AppointmentId, DoctorId
from projections.board import Clinic, DayBoard
from projections.encoding import Encoder, checked_in
from projections.views import View

if TYPE_CHECKING:
    from projections.directory import Directory

_encode: Final = msgspec.json.Encoder().encode


class Deltas:
    def __init__(self, encoder: Encoder, directory: Directory) -> None:
        self._encoder, self._directory = encoder, directory

    def since(self, sequence: int, board: DayBoard, view: View, now: datetime) -> bytes:
        """A shapes.DayChange or PublicDayChange: from the state at `sequence` to the one that is."""
        shown = self._encoder.shown(board, view)
        changed = [self._block(board, clinic, sequence, view) for clinic in shown if clinic.changed > sequence]
        alone = view.without_clinic(board)
        if alone is not None and self._directory.doctors[alone].sequence > sequence:
            changed = [_block_of(alone, self._doctor(alone), [], {}, [])]
        left = [
            clinic.doctor_id for clinic in view.hidden(board, self._directory.doctors) if clinic.introduced > sequence
        ]
        return b'{"total_appointments":%d,"total_doctors":%d,"doctors":[%b]%b,"timestamp":"%b"}' % (
            sum([len(clinic.list_up()) for clinic in shown]),
            len(shown),
            b",".join(filter(None, changed)),
            b',"removed_doctors":' + _encode(left) if left else b"",
            self._encoder.time(now).encode(),
        )

    def _block(self, board: DayBoard, clinic: Clinic, after: int, view: View) -> bytes | None:
        """A shapes.BlockChange or PublicBlockChange; None where nothing is to be seen of what happened."""
        clinic.line_up()
        if view.department is not None and clinic.introduced > after:
            after = 0  # Perhaps the doctor has just come to this department, and all of them is new here.
        fields = b"".join(self._fields(clinic, after))
        listed = clinic.list_up()
        appointments = [
            self._encoder.entry(board, entry, public=view.public) for entry in listed if entry.changed > after
        ]
        positions = {
            str(entry.appointment_id): entry.position
            for entry in listed
            if entry.repositioned > after and entry.changed <= after
        }
        removed = [
            entry.appointment_id for entry in clinic.entries.values() if entry.changed > after and not entry.listed
        ]
        removed.extend(appointment_id for appointment_id, since in clinic.gone.items() if since > after)
        if not (fields or appointments or positions or removed):
            return None
        return _block_of(clinic.doctor_id, fields, appointments, positions, removed)

    def _fields(self, clinic: Clinic, after: int) -> list[bytes]:
        """What changed of the block beside its appointments."""
        fields = []
        if clinic.introduced > after:
            fields.append(self._doctor(clinic.doctor_id))
        if clinic.counted > after:
            fields.append(b',"total_appointments":%d' % len(clinic.list_up()))
        if clinic.arrived > after:
            fields.append(b',"checked_in_count":%d' % checked_in(clinic))
        if clinic.described > after:
            fields.append(b',"clinic":' + _encode(self._encoder.clinic(clinic)))
        return fields

    def _doctor(self, doctor_id: DoctorId) -> bytes:
        return b',"doctor":' + _encode(self._encoder.doctor(doctor_id))


def _block_of(
    doctor_id: DoctorId,
    fields: bytes,
    appointments: list[bytes],
    positions: dict[str, int],
    removed: list[AppointmentId],
) -> bytes:
    return b'{"doctor_id":"%b"%b,"appointments":[%b],"positions":%b,"removed":%b}' % (
        str(doctor_id).encode(),
        fields,
        b",".join(appointments),
        _encode(positions),
        _encode(removed),
    )
