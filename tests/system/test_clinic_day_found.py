"""What random days and their model have found: each defect by name, at its shortest."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from tests.server import Server

PAST = "2025-11-17"
"""Long over, so that every time is named and none is now."""


def late(clock: str) -> dict[str, str]:
    return {"effective_at": f"{PAST}T{clock}:00+05:30"}


async def booked(server: Server, doctor: str, clock: str = "08:00", **keys: Any) -> str:
    return await server.an_appointment(doctor, date=PAST, **late(clock), **keys)


async def arrives(server: Server, appointment: str, clock: str) -> dict[str, Any]:
    answer = await server.post("/checkins", {"appointment_id": appointment, **late(clock)})
    assert answer.status == 201, answer
    queue: dict[str, Any] = answer.body["queue"]
    return queue


async def does(server: Server, appointment: str, step: str, clock: str, **keys: Any) -> dict[str, Any]:
    answer = await server.post(f"/appointments/{appointment}/{step}", {**keys, **late(clock)})
    assert answer.status == 200, answer
    body: dict[str, Any] = answer.body
    return body


async def reassigned(server: Server, doctor: str, to: str, clock: str = "10:00") -> Any:
    body = {"to_doctor_id": to, "reason": "ill", **late(clock)}
    return await server.post(f"/clinics/{doctor}/{PAST}/reassign", body)


async def board(server: Server, doctor: str) -> dict[str, Any]:
    data: dict[str, Any] = (await server.get(f"/queue?date={PAST}&doctor_id={doctor}")).body["data"]
    return data


async def test_finishing_again_leaves_nobody_waiting_who_came_in_the_meantime(server: Server) -> None:
    doctor = await server.a_doctor()
    appointment = await booked(server, doctor)

    async def finished(clock: str) -> str:
        assert (await server.post(f"/clinics/{doctor}/{PAST}/finish", late(clock))).status == 200
        (shown,) = (await board(server, doctor))["appointments"]
        return str(shown["status"])

    assert await finished("12:00") == "no_show"
    await arrives(server, appointment, "12:10")
    assert await finished("12:20") == "unseen"


async def test_a_ticket_that_came_along_through_a_move_is_not_counted_again(server: Server) -> None:
    here, there = await server.a_doctor(code="HERE"), await server.a_doctor(code="THERE")
    appointment = await booked(server, here)
    assert (await arrives(server, appointment, "09:00"))["ticket"] == "HERE-1"
    await does(server, appointment, "move", "09:01", doctor_id=there, reason="sooner")
    await does(server, appointment, "no-show", "09:02")
    assert (await arrives(server, appointment, "09:03"))["ticket"] == "HERE-1"
    assert (await arrives(server, await booked(server, there), "09:04"))["ticket"] == "THERE-1"


async def test_nobody_fits_into_a_closed_clinic(server: Server) -> None:
    here, there = await server.a_doctor(), await server.a_doctor()
    appointments = [await booked(server, here) for _ in range(2)]
    await booked(server, there)
    await server.post(f"/clinics/{there}/{PAST}/close", late("09:00"))
    refused = await reassigned(server, here, there)
    assert (refused.status, refused.code) == (409, "does_not_fit")
    misfits = {each["appointment_id"]: each["code"] for each in refused.body["appointments"]}
    assert misfits == dict.fromkeys(appointments, "clinic_closed")


async def test_where_nobody_is_left_to_move_no_clinic_opens_elsewhere(server: Server) -> None:
    here, there = await server.a_doctor(), await server.a_doctor()
    await does(server, await booked(server, here), "cancel", "09:00")
    assert (await reassigned(server, here, there)).body["moved"] == []
    assert (await board(server, here))["clinic"]["status"] == "closed"
    assert (await board(server, there))["clinic"] is None


async def test_those_who_came_at_one_moment_keep_their_order_when_reassigned(server: Server) -> None:
    here, there = await server.a_doctor(), await server.a_doctor()
    first, second = [await booked(server, here, slot=slot) for slot in (2, 1)]
    for appointment in (first, second):
        await arrives(server, appointment, "09:00")
    assert (await reassigned(server, here, there)).status == 200
    line = {each["appointment_id"]: each["queue"]["position"] for each in (await board(server, there))["appointments"]}
    assert line == {first: 1, second: 2}


async def test_who_displaces_nobody_keeps_the_slot_number_when_reassigned(server: Server) -> None:
    here, there = await server.a_doctor(), await server.a_doctor()
    first, second = [await booked(server, here, slot=slot) for slot in (1, 2)]
    await booked(server, there, slot=1)
    moved = (await reassigned(server, here, there)).body["moved"]
    assert {each["appointment_id"]: each["slot"] for each in moved} == {first: 3, second: 2}


async def test_what_is_refused_of_a_booking_comes_before_not_today(server: Server) -> None:
    appointment = await booked(server, await server.a_doctor())
    await arrives(server, appointment, "09:00")
    path, keys = f"/appointments/{appointment}/move", {"reason": "sooner", **late("09:10")}
    for wanted, code in (
        ({"date": "2025-11-16"}, "date_in_past"),
        ({"date": "2025-11-18", "slot": 41}, "no_such_slot"),
        ({"date": "2025-11-18"}, "not_today"),
    ):
        assert (await server.post(path, keys | wanted)).code == code


async def test_an_unknown_patient_at_the_desk_is_unknown_rather_than_another_one(server: Server) -> None:
    asked = {"appointment_id": await booked(server, await server.a_doctor())}
    unknown = await server.post("/checkins", {**asked, "patient_id": str(uuid4()), **late("07:00")})
    assert (unknown.status, unknown.code) == (404, "unknown_patient")
    another = await server.post("/checkins", {**asked, "patient_id": await server.a_patient()})
    assert (another.status, another.code) == (409, "patient_mismatch")
