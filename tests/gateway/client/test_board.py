"""A date that deltas are applied to, without a server."""

from __future__ import annotations

from uuid import UUID, uuid5

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.client import NotUnderstood
from gateway.client.board import Board
from projections import shapes
from tests.gateway.client.told import (
    CLINIC,
    DOCTORS,
    EMPTY,
    Json,
)
from tests.gateway.contract import UNKNOWN

APPOINTMENTS = [str(uuid5(UUID(UNKNOWN), f"appointment {number}")) for number in range(4)]
TOTALS = ("total_appointments", "total_doctors", "timestamp")
FIELDS = ("doctor", "total_appointments", "checked_in_count", "clinic")


@st.composite
def days(draw: st.DrawFn) -> Json:
    """Some of the doctors, with some of the appointments, however these may stand."""
    codes = draw(st.permutations("ABC"))
    blocks = [draw(blocks_of(doctor, code)) for doctor, code in zip(DOCTORS, codes, strict=True) if draw(st.booleans())]
    blocks.sort(key=lambda block: block["doctor"]["code"])
    return {
        "date": "2025-11-17",
        "total_appointments": sum(block["total_appointments"] for block in blocks),
        "total_doctors": len(blocks),
        "doctors": blocks,
        "timestamp": f"2025-11-17T10:00:{draw(st.integers(10, 59))}+05:30",
    }


@st.composite
def blocks_of(draw: st.DrawFn, doctor: str, code: str) -> Json:
    slots = draw(st.permutations(range(1, len(APPOINTMENTS) + 1)))
    listed: list[Json] = [
        {
            "appointment_id": str(uuid5(UUID(doctor), appointment)),
            "slot": slot,
            "status": "confirmed",
            "priority": draw(st.sampled_from(["routine", "urgent"])),
            "patient": {"id": UNKNOWN, "name": "Priya Raman", "phone": None, "age": 40, "gender": "female"},
            "queue": draw(st.none() | st.integers(0, 3).map(_entry)),
        }
        for appointment, slot in zip(APPOINTMENTS, slots, strict=True)
        if draw(st.booleans())
    ]
    listed.sort(key=lambda appointment: appointment["slot"])
    return {
        "doctor": {"id": doctor, "name": "Dr. Smith", "code": code, "specialty": "Cardiology"},
        "total_appointments": len(listed),
        "checked_in_count": sum(appointment["queue"] is not None for appointment in listed),
        "clinic": CLINIC | {"booked": len(listed), "delay_minutes": draw(st.integers(0, 2))},
        "appointments": listed,
    }  # fmt: skip


def _entry(position: int) -> Json:
    return {
        "position": position, "checked_in_at": "2025-11-17T09:00:00+05:30", "called_at": None, "completed_at": None,
        "status": "checked_in" if position else "called", "ticket": "A-1",
    }  # fmt: skip


def _but_position(appointment: Json) -> Json:
    return appointment | {"queue": appointment["queue"] and appointment["queue"] | {"position": 0}}


def change(before: Json, after: Json) -> Json:
    """From one day to the other, by the contract's words, the long way."""
    known = {block["doctor"]["id"]: block for block in before["doctors"]}
    changed = [_block_change(known.get(block["doctor"]["id"]), block) for block in after["doctors"]]
    gone = known.keys() - {block["doctor"]["id"] for block in after["doctors"]}
    return {
        **{key: after[key] for key in TOTALS},
        "doctors": [block for block in changed if block is not None],
        **({"removed_doctors": sorted(gone)} if gone else {}),
    }


def _block_change(before: Json | None, after: Json) -> Json | None:
    was = {each["appointment_id"]: each for each in before["appointments"]} if before else {}
    now = {each["appointment_id"]: each for each in after["appointments"]}
    other = [each for each in now.values() if was.get(each["appointment_id"]) != each]
    moved = [
        each
        for each in other
        if each["appointment_id"] in was and _but_position(was[each["appointment_id"]]) == _but_position(each)
    ]
    told = {key: after[key] for key in FIELDS if before is None or before[key] != after[key]}
    if not (told or other or was.keys() - now.keys()):
        return None
    return {
        "doctor_id": after["doctor"]["id"],
        **told,
        "appointments": [each for each in other if each not in moved],
        "positions": {each["appointment_id"]: each["queue"]["position"] for each in moved},
        "removed": sorted(was.keys() - now.keys()),
    }


def a_day(told: Json) -> shapes.Day:
    return msgspec.convert(told, shapes.Day)


def a_change(told: Json) -> shapes.DayChange:
    return msgspec.convert(told, shapes.DayChange)


@given(days(), days())
def test_a_delta_leads_from_any_day_to_any_other(before: Json, after: Json) -> None:
    board = Board(a_day(before))
    board.apply(a_change(change(before, after)))
    assert board.day == a_day(after)
    board.apply(a_change(change(before, after)))  # all of it is absolute
    assert board.day == a_day(after)


@given(days(), days(), days())
def test_a_day_that_was_kept_stays_as_it_was(first: Json, second: Json, third: Json) -> None:
    board = Board(a_day(first))
    kept = board.day
    board.apply(a_change(change(first, second)))
    kept_too = board.day
    board.apply(a_change(change(second, third)))
    assert (kept, kept_too) == (a_day(first), a_day(second))


@given(days(), days())
def test_what_a_delta_does_not_name_is_shared_and_not_made_again(before: Json, after: Json) -> None:
    board = Board(a_day(before))
    kept = {block.doctor.id: block for block in board.day.doctors}
    told = a_change(change(before, after))
    board.apply(told)
    named = {block.doctor_id: block for block in told.doctors}
    for block in board.day.doctors:
        if block.doctor.id not in named:
            assert block is kept[block.doctor.id]
        elif block.doctor.id in kept:
            told_of = named[block.doctor.id]
            anew = {each.appointment_id for each in told_of.appointments} | {UUID(each) for each in told_of.positions}
            was = {each.appointment_id: each for each in kept[block.doctor.id].appointments}
            for each in block.appointments:
                assert (each is was.get(each.appointment_id)) == (each.appointment_id not in anew)


@given(days(), days())
def test_one_doctors_day_follows_as_well(before: Json, after: Json) -> None:
    nothing: Json = {"total_appointments": 0, "checked_in_count": 0, "clinic": None, "appointments": []}
    doctor = {"id": DOCTORS[0], "name": "Dr. Smith", "code": "?", "specialty": "Cardiology"}

    def alone(day: Json) -> Json:
        blocks = [block for block in day["doctors"] if block["doctor"]["id"] == DOCTORS[0]]
        block = blocks[0] if blocks else nothing | {"doctor": doctor}
        return block | {"date": day["date"], "timestamp": day["timestamp"]}

    if not any(block["doctor"]["id"] == DOCTORS[0] for block in after["doctors"]):
        return  # A clinic that was there does not go away.
    told = change(before, after)
    told["doctors"] = [block for block in told["doctors"] if block["doctor_id"] == DOCTORS[0]]
    board = Board(msgspec.convert(alone(before), shapes.DoctorDay))
    board.apply(a_change(told))
    assert board.day == msgspec.convert(alone(after), shapes.DoctorDay)


def test_a_new_doctor_who_is_not_told_whole_is_not_made_up() -> None:
    board = Board(a_day(EMPTY))
    told = {key: EMPTY[key] for key in TOTALS} | {
        "doctors": [
            {"doctor_id": DOCTORS[0], "total_appointments": 1, "appointments": [], "positions": {}, "removed": []}
        ]
    }
    with pytest.raises(NotUnderstood, match="a doctor without doctor, checked_in_count, clinic"):
        board.apply(a_change(told))
