"""PUT /clinics: opening, changing, keeping values, and what it refuses, in which order."""

from __future__ import annotations

from typing import Any

import pytest

from tests.gateway.contract import CLINIC, CLINIC_BLOCK, UNKNOWN, at, is_problem
from tests.server import Answer, Server

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def _put(hospital: Server, doctor: str, day: str, **body: Any) -> Answer:
    return await hospital.call("PUT", f"/clinics/{doctor}/{day}", body)


async def test_a_clinic_opens_with_the_defaults_and_the_doctors_room(hospital: Server, future: str) -> None:
    doctor = await hospital.a_doctor(room="R 7")
    opened = await _put(hospital, doctor, future, capacity=12)
    assert opened.status == 200
    assert opened.body == {
        "doctor_id": doctor,
        "date": future,
        "status": "open",
        "capacity": 12,
        "booked": 0,
        "free": 12,
        "waiting": 0,
        "starts_at": "09:00",
        "slot_minutes": 10,
        "room": "R 7",
        "delay_minutes": 0,
        "note": None,
        "order": "arrival",
        "sequence": opened.body["sequence"],
    }
    assert opened.body.keys() == CLINIC


async def test_a_clinic_that_nobody_opened_opens_with_the_defaults_at_its_first_booking(
    hospital: Server, future: str
) -> None:
    doctor = await hospital.a_doctor(room="R 8")
    await hospital.an_appointment(doctor, date=future)
    block = (await hospital.get(f"/queue?date={future}&doctor_id={doctor}")).body["data"]["clinic"]
    assert block.keys() == CLINIC_BLOCK
    assert block == {
        "status": "open",
        "capacity": 40,
        "booked": 1,
        "free": 39,
        "waiting": 0,
        "starts_at": "09:00",
        "slot_minutes": 10,
        "room": "R 8",
        "delay_minutes": 0,
        "note": None,
    }


async def test_keys_left_out_or_null_keep_their_value(hospital: Server, future: str) -> None:
    doctor = await hospital.a_doctor(room="R 1")
    given = {"starts_at": "14:30", "slot_minutes": 5, "room": "Annex", "order": "slot"}
    opened = await _put(hospital, doctor, future, capacity=6, **given)
    assert {key: opened.body[key] for key in given} == given
    changed = await _put(hospital, doctor, future, capacity=7, **dict.fromkeys(given))
    assert changed.body == opened.body | {"capacity": 7, "free": 7, "sequence": opened.body["sequence"] + 1}
    changed = await _put(hospital, doctor, future, capacity=7, order="arrival")
    assert changed.body == opened.body | {
        "capacity": 7,
        "free": 7,
        "order": "arrival",
        "sequence": opened.body["sequence"] + 2,
    }


async def test_what_changes_nothing_appends_nothing(hospital: Server, future: str) -> None:
    doctor = await hospital.a_doctor()
    opened = await _put(hospital, doctor, future, capacity=5)
    again = await _put(hospital, doctor, future, capacity=5, starts_at="09:00", reason="a form sent twice")
    assert (again.status, again.body) == (200, opened.body)


@pytest.mark.parametrize("body", [{}, {"capacity": None}, {"starts_at": "10:00"}])
async def test_the_capacity_is_required_also_for_a_change(hospital: Server, future: str, body: Any) -> None:
    doctor = await hospital.a_doctor()
    is_problem(await _put(hospital, doctor, future, **body), 400, "invalid_request", key="capacity")
    await _put(hospital, doctor, future, capacity=3)
    is_problem(await _put(hospital, doctor, future, **body), 400, "invalid_request", key="capacity")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"capacity": 90}, 200),
        ({"capacity": 91}, 409),
        ({"capacity": 1, "starts_at": "23:59", "slot_minutes": 1}, 200),
        ({"capacity": 2, "starts_at": "23:59", "slot_minutes": 1}, 409),
        ({"capacity": 1, "starts_at": "00:00", "slot_minutes": 1440}, 200),
        ({"capacity": 1, "starts_at": "00:01", "slot_minutes": 1440}, 409),
        ({"capacity": 1441, "starts_at": "00:00", "slot_minutes": 1}, 409),
        ({"capacity": 1_000_000}, 409),
        ({"capacity": 1, "slot_minutes": 5000}, 409),
    ],
)
async def test_a_clinic_does_not_run_past_midnight(
    hospital: Server, future: str, body: dict[str, Any], status: int
) -> None:
    answer = await _put(hospital, await hospital.a_doctor(), future, **body)
    if status == 409:
        is_problem(answer, 409, "runs_past_midnight")
    assert answer.status == status


async def test_times_are_fixed_while_someone_is_booked(hospital: Server, future: str) -> None:
    doctor = await hospital.a_doctor()
    booked = await hospital.an_appointment(doctor, date=future)
    is_problem(await _put(hospital, doctor, future, capacity=40, starts_at="10:00"), 409, "clinic_has_bookings")
    is_problem(await _put(hospital, doctor, future, capacity=40, slot_minutes=11), 409, "clinic_has_bookings")
    kept = await _put(hospital, doctor, future, capacity=41, starts_at="09:00", slot_minutes=10, room="Other")
    assert (kept.status, kept.body["booked"], kept.body["free"], kept.body["room"]) == (200, 1, 40, "Other")
    await hospital.post(f"/appointments/{booked}/cancel")
    assert (await _put(hospital, doctor, future, capacity=40, starts_at="10:00")).status == 200


async def test_the_capacity_stays_at_or_above_the_highest_slot_taken(hospital: Server, future: str) -> None:
    doctor = await hospital.a_doctor()
    await hospital.an_appointment(doctor, date=future, slot=5)
    is_problem(await _put(hospital, doctor, future, capacity=4), 409, "capacity_below_booked")
    assert (await _put(hospital, doctor, future, capacity=5)).body["free"] == 4


async def test_the_refusals_come_in_the_contracts_order(hospital: Server, future: str) -> None:
    late = {"effective_at": "2999-01-01T00:00:00Z"}
    is_problem(await _put(hospital, UNKNOWN, future, capacity=500, **late), 404, "unknown_doctor")
    doctor = await hospital.a_doctor()
    await hospital.an_appointment(doctor, date=future, slot=5)
    wrong = {"starts_at": "10:00", "slot_minutes": 1000}
    is_problem(await _put(hospital, doctor, future, capacity=4, **wrong, **late), 409, "effective_in_future")
    is_problem(await _put(hospital, doctor, future, capacity=4, **wrong), 409, "runs_past_midnight")
    is_problem(await _put(hospital, doctor, future, capacity=4, starts_at="10:00"), 409, "clinic_has_bookings")
    is_problem(await _put(hospital, doctor, future, capacity=4), 409, "capacity_below_booked")


async def test_a_clinic_of_a_past_date_may_still_be_put_right(hospital: Server, past: str) -> None:
    doctor = await hospital.a_doctor()
    assert (await _put(hospital, doctor, past, capacity=3, effective_at=at(past, "07:00"))).status == 200


@pytest.mark.parametrize("path", ["/clinics/x/2090-01-01", f"/clinics/{UNKNOWN}/2090-1-1", f"/clinics/{UNKNOWN}/x"])
async def test_a_path_that_names_no_doctor_or_no_date_is_400(hospital: Server, path: str) -> None:
    key = "doctor_id" if "/x/" in path else "date"
    is_problem(await hospital.call("PUT", path, {"capacity": 3}), 400, "invalid_request", key=key)
