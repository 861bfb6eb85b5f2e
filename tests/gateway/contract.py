"""The contract's shapes, written down a second time: by hand, for tests to compare with."""

from __future__ import annotations

import re
from typing import Any

from tests.server import Answer, Server

DOCTOR = {"id", "name", "code", "specialty", "department", "room", "sequence"}
PATIENT = {"id", "name", "phone", "birth_date", "age", "gender", "mrn", "private", "sequence"}
CLINIC_BLOCK = {
    "status", "capacity", "booked", "free", "waiting", "starts_at", "slot_minutes", "room", "delay_minutes", "note",
}  # fmt: skip
CLINIC = CLINIC_BLOCK | {"doctor_id", "date", "order", "sequence"}
APPOINTMENT = {
    "appointment_id", "doctor_id", "patient_id", "date", "slot", "status", "priority", "queue", "sequence",
}  # fmt: skip
QUEUE_ENTRY = {"position", "checked_in_at", "called_at", "completed_at", "status", "ticket"}

SNAPSHOT = {"type", "epoch", "sequence", "data"}
UPDATE = SNAPSHOT | {"from", "events"}
DELTA = UPDATE
HAPPENED = {"sequence", "type", "doctor_id", "appointment_id"}
DAY = {"date", "total_appointments", "total_doctors", "doctors", "timestamp"}
DOCTOR_DAY = {
    "date", "doctor", "total_appointments", "checked_in_count", "clinic", "appointments", "timestamp",
}  # fmt: skip
DOCTOR_BLOCK = {"doctor", "total_appointments", "checked_in_count", "clinic", "appointments"}
SHOWN_DOCTOR = {"id", "name", "code", "specialty"}
SHOWN_APPOINTMENT = {"appointment_id", "slot", "status", "priority", "patient", "queue"}
SHOWN_PATIENT = {"id", "name", "phone", "age", "gender"}

DAY_CHANGE = {"total_appointments", "total_doctors", "doctors", "timestamp"}
BLOCK_CHANGE = {"doctor_id", "appointments", "positions", "removed"}
HEARTBEAT = {"type", "sequence", "head", "lag_seconds", "timestamp"}
STATUS = {"type", "live", "since"}

PROBLEM = {"type", "title", "status", "detail", "code"}

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+05:30")
"""RFC 3339 to the second, in the zone that all servers of these tests keep."""
UNKNOWN = "00000000-0000-4000-8000-000000000000"
"""An id that nobody has."""


def at(day: str, clock: str) -> str:
    """A time of the hospital, such as `at("2025-11-17", "09:15")`."""
    return f"{day}T{clock}:00+05:30"


def is_problem(answer: Answer, status: int, code: str, **facts: Any) -> None:
    """The answer is this error, in the one form that errors have, with these keys besides."""
    assert (answer.status, answer.code) == (status, code), answer
    assert answer.headers["Content-Type"] == "application/problem+json"
    further = {key: value for key, value in answer.body.items() if key not in PROBLEM}
    if code == "invalid_request" and not facts:
        further.pop("key", None)
    assert further == facts
    assert answer.body.keys() >= PROBLEM
    assert answer.body["status"] == status
    assert all(isinstance(answer.body[key], str) and answer.body[key] for key in PROBLEM - {"status"})


def applied(state: dict[str, Any], delta: dict[str, Any]) -> dict[str, Any]:
    """A day's data after a delta's data, by the contract's words."""
    blocks = {block["doctor"]["id"]: block for block in state["doctors"]}
    for change in delta["doctors"]:
        block = dict(blocks.get(change["doctor_id"], {"appointments": []}))
        block |= {
            key: change[key] for key in ("doctor", "total_appointments", "checked_in_count", "clinic") if key in change
        }
        listed = {one["appointment_id"]: one for one in block["appointments"]}
        for gone in change["removed"]:
            listed.pop(gone, None)
        listed |= {one["appointment_id"]: one for one in change["appointments"]}
        for moved, position in change["positions"].items():
            listed[moved] = listed[moved] | {"queue": listed[moved]["queue"] | {"position": position}}
        block["appointments"] = sorted(listed.values(), key=lambda one: one["slot"])
        blocks[change["doctor_id"]] = block
    for gone in delta.get("removed_doctors", ()):
        blocks.pop(gone, None)
    totals = {key: delta[key] for key in ("total_appointments", "total_doctors", "timestamp")}
    return state | totals | {"doctors": sorted(blocks.values(), key=lambda block: block["doctor"]["code"])}


def is_day(day: dict[str, Any]) -> None:
    """Every key of a day is there, and no other; what is counted is what is listed."""
    assert day.keys() == DAY
    assert TIME.fullmatch(day["timestamp"])
    assert day["total_doctors"] == len(day["doctors"])
    assert day["total_appointments"] == sum(block["total_appointments"] for block in day["doctors"])
    assert [block["doctor"]["code"] for block in day["doctors"]] == sorted(
        block["doctor"]["code"] for block in day["doctors"]
    )
    for block in day["doctors"]:
        assert block.keys() == DOCTOR_BLOCK
        is_block(block)


def is_block(block: dict[str, Any]) -> None:
    """A doctor's part of a day."""
    assert block["doctor"].keys() == SHOWN_DOCTOR
    assert block["clinic"].keys() == CLINIC_BLOCK
    listed = block["appointments"]
    assert block["total_appointments"] == len(listed)
    assert block["checked_in_count"] == sum(appointment["queue"] is not None for appointment in listed)
    assert [appointment["slot"] for appointment in listed] == sorted(appointment["slot"] for appointment in listed)
    positions = []
    for appointment in listed:
        assert appointment.keys() == SHOWN_APPOINTMENT
        assert appointment["patient"].keys() == SHOWN_PATIENT
        if appointment["queue"] is not None:
            is_queue_entry(appointment["queue"])
            positions.append(appointment["queue"]["position"])
    assert sorted(place for place in positions if place) == list(range(1, block["clinic"]["waiting"] + 1))


def is_queue_entry(entry: dict[str, Any]) -> None:
    assert entry.keys() == QUEUE_ENTRY
    assert TIME.fullmatch(entry["checked_in_at"])
    for key in ("called_at", "completed_at"):
        assert entry[key] is None or TIME.fullmatch(entry[key])
    assert (entry["position"] > 0) == (entry["status"] == "checked_in")


async def listed(server: Server, day: str, appointment_id: str) -> dict[str, Any]:
    """An appointment as the board of its date shows it."""
    for block in (await server.get(f"/queue?date={day}")).body["data"]["doctors"]:
        for appointment in block["appointments"]:
            if appointment["appointment_id"] == appointment_id:
                found: dict[str, Any] = appointment
                return found
    raise AssertionError(f"{appointment_id} is not on the board of {day}")
