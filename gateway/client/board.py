"""A date that deltas are applied to.

The days it gives are frozen, and each shares with the one before it whatever the delta did not name: a delta of one
appointment costs its doctor's list and a list of doctors, however many appointments the date has.
"""

from __future__ import annotations

from typing import Any, Final, Generic, TypeVar
from uuid import UUID

from msgspec import UNSET
from msgspec.structs import replace

from domain.rules.ids import DoctorId
from gateway.client.endings import NotUnderstood
from projections.shapes import (
    BlockChange,
    BoardAppointment,
    Day,
    DayChange,
    DoctorBlock,
    DoctorDay,
    PublicAppointment,
    PublicBlockChange,
    PublicDay,
    PublicDayChange,
    PublicDoctorBlock,
    PublicDoctorDay,
)

Data = TypeVar("Data", bound=Day | DoctorDay | PublicDay | PublicDoctorDay)
Block = TypeVar("Block", bound=DoctorBlock | PublicDoctorBlock | DoctorDay | PublicDoctorDay)

_FIELDS: Final = ("doctor", "total_appointments", "checked_in_count", "clinic")
"""What a block has beside its appointments."""


class Board(Generic[Data]):
    """Holds the newest day; `day` is another object after every delta."""

    def __init__(self, day: Data) -> None:
        self.day = day
        # In the order of codes, so that a day's list of doctors is these values as they come.
        self._blocks: dict[DoctorId, Any] = {}
        if isinstance(day, Day | PublicDay):
            self._blocks = {block.doctor.id: block for block in day.doctors}

    def apply(self, change: DayChange | PublicDayChange) -> None:
        """Raises NotUnderstood for a doctor who is new and not told whole."""
        if isinstance(self.day, Day | PublicDay):
            self._change_blocks(change)
            self.day = replace(
                self.day,
                total_appointments=change.total_appointments,
                total_doctors=change.total_doctors,
                doctors=list(self._blocks.values()),
                timestamp=change.timestamp,
            )
        else:
            for block_change in change.doctors:
                self.day = _changed(self.day, block_change)
            self.day = replace(self.day, timestamp=change.timestamp)

    def _change_blocks(self, change: DayChange | PublicDayChange) -> None:
        blocks = self._blocks
        for doctor_id in change.removed_doctors or ():
            blocks.pop(doctor_id, None)
        for block_change in change.doctors:
            block = blocks.get(block_change.doctor_id)
            blocks[block_change.doctor_id] = _new(block_change) if block is None else _changed(block, block_change)
        if any(block_change.doctor is not UNSET for block_change in change.doctors):
            self._blocks = dict(sorted(blocks.items(), key=lambda item: item[1].doctor.code))


def _new(change: BlockChange | PublicBlockChange) -> DoctorBlock | PublicDoctorBlock:
    fields: dict[str, Any] = {name: getattr(change, name) for name in _FIELDS}
    missing = [name for name, value in fields.items() if value is UNSET]
    if missing:
        raise NotUnderstood(f"a delta brings a doctor without {', '.join(missing)}")
    fields["appointments"] = _listed([], change)
    return PublicDoctorBlock(**fields) if isinstance(change, PublicBlockChange) else DoctorBlock(**fields)


def _changed(block: Block, change: BlockChange | PublicBlockChange) -> Block:
    fields = {name: value for name in _FIELDS if (value := getattr(change, name)) is not UNSET}
    if change.appointments or change.positions or change.removed:
        fields["appointments"] = _listed(block.appointments, change)
    return replace(block, **fields)


def _listed(before: list[Any], change: BlockChange | PublicBlockChange) -> list[Any]:
    """A doctor's appointments after the change, by slot."""
    replaced = {appointment.appointment_id for appointment in change.appointments}.union(change.removed)
    positions = {UUID(appointment_id): position for appointment_id, position in change.positions.items()}
    listed = [_placed(each, positions) for each in before if each.appointment_id not in replaced]
    listed.extend(change.appointments)
    listed.sort(key=lambda appointment: appointment.slot)
    return listed


def _placed(
    appointment: BoardAppointment | PublicAppointment, positions: dict[UUID, int]
) -> BoardAppointment | PublicAppointment:
    position = positions.get(appointment.appointment_id)
    if position is None or appointment.queue is None:
        return appointment
    return replace(appointment, queue=replace(appointment.queue, position=position))
