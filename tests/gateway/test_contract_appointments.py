"""Booking, checking in, calling, completing, cancelling: every key, every status, every refusal in its order."""

from __future__ import annotations

from typing import Any

import pytest

from tests.gateway.contract import APPOINTMENT, TIME, UNKNOWN, at, is_problem, is_queue_entry, listed
from tests.server import Answer, Server

pytestmark = pytest.mark.asyncio(loop_scope="module")

LATER = "2999-01-01T00:00:00Z"


async def _book(hospital: Server, doctor: str, patient: str, day: str, **keys: Any) -> Answer:
    return await hospital.post("/appointments", {"doctor_id": doctor, "patient_id": patient, "date": day} | keys)


async def _clinic(hospital: Server, day: str, capacity: int, **keys: Any) -> str:
    doctor = await hospital.a_doctor()
    assert (await hospital.call("PUT", f"/clinics/{doctor}/{day}", {"capacity": capacity} | keys)).status == 200
    return doctor


# --- booking -------------------------------------------------------------------------------------


async def test_a_booking_takes_the_lowest_free_slot_and_is_answered_key_by_key(hospital: Server, future: str) -> None:
    doctor, patient = await hospital.a_doctor(), await hospital.a_patient()
    await hospital.an_appointment(doctor, date=future, slot=1)
    await hospital.an_appointment(doctor, date=future, slot=3)
    booked = await _book(hospital, doctor, patient, future)
    assert booked.status == 201
    assert booked.body.keys() == APPOINTMENT
    assert booked.body == {
        "appointment_id": booked.body["appointment_id"],
        "doctor_id": doctor,
        "patient_id": patient,
        "date": future,
        "slot": 2,
        "status": "confirmed",
        "priority": "routine",
        "queue": None,
        "sequence": booked.body["sequence"],
    }
    assert (await hospital.get(f"/appointments/{booked.body['appointment_id']}")).body == booked.body
    snapshot = (await hospital.get(f"/queue?date={future}")).body
    assert snapshot["sequence"] == booked.body["sequence"]
    other = await _book(hospital, doctor, await hospital.a_patient(), future, slot=40, priority="emergency")
    assert (other.body["slot"], other.body["priority"]) == (40, "emergency")


async def test_what_is_booked_is_seen_by_the_next_read(hospital: Server, future: str) -> None:
    doctor = await hospital.a_doctor()
    for _ in range(5):
        booked = await hospital.an_appointment(doctor, date=future)
        assert (await listed(hospital, future, booked))["appointment_id"] == booked


@pytest.mark.parametrize("slot", [0, -1, 4, 41, 1441, 2_000_000_000])
async def test_only_the_clinics_own_slots_can_be_had(hospital: Server, future: str, slot: int) -> None:
    doctor, patient = await _clinic(hospital, future, 3), await hospital.a_patient()
    is_problem(await _book(hospital, doctor, patient, future, slot=slot), 409, "no_such_slot")


async def test_a_cancelled_slot_is_free_again_and_its_patient_may_come_back(hospital: Server, future: str) -> None:
    doctor, patient = await _clinic(hospital, future, 1), await hospital.a_patient()
    first = (await _book(hospital, doctor, patient, future)).body
    is_problem(await _book(hospital, doctor, await hospital.a_patient(), future), 409, "clinic_full")
    assert (await hospital.post(f"/appointments/{first['appointment_id']}/cancel")).status == 200
    again = await _book(hospital, doctor, patient, future)
    assert (again.status, again.body["slot"]) == (201, 1)
    assert again.body["appointment_id"] != first["appointment_id"]


async def test_the_refusals_of_a_booking_come_in_the_contracts_order(hospital: Server, future: str) -> None:
    doctor, patient, other = await _clinic(hospital, future, 2), await hospital.a_patient(), await hospital.a_patient()
    yesterday = "2020-02-02"
    is_problem(await _book(hospital, UNKNOWN, UNKNOWN, yesterday, effective_at=LATER), 404, "unknown_doctor")
    is_problem(await _book(hospital, doctor, UNKNOWN, yesterday, effective_at=LATER), 404, "unknown_patient")
    is_problem(await _book(hospital, doctor, patient, yesterday, effective_at=LATER), 409, "effective_in_future")
    is_problem(await _book(hospital, doctor, patient, yesterday, slot=99), 409, "date_in_past")

    assert (await _book(hospital, doctor, patient, future, slot=1)).status == 201
    is_problem(await _book(hospital, doctor, patient, future, slot=99), 409, "already_booked")
    is_problem(await _book(hospital, doctor, patient, future, slot=1), 409, "already_booked")
    assert (await _book(hospital, doctor, await hospital.a_patient(), future, slot=2)).status == 201
    is_problem(await _book(hospital, doctor, patient, future), 409, "already_booked")  # before clinic_full
    is_problem(await _book(hospital, doctor, other, future, slot=99), 409, "no_such_slot")  # before clinic_full
    is_problem(await _book(hospital, doctor, other, future, slot=1), 409, "clinic_full")  # before slot_taken
    is_problem(await _book(hospital, doctor, other, future), 409, "clinic_full")

    elsewhere = await _clinic(hospital, future, 2)
    await hospital.an_appointment(elsewhere, date=future, slot=1)
    is_problem(await _book(hospital, elsewhere, patient, future, slot=1), 409, "slot_taken")  # before patient_busy


async def test_nobody_is_to_be_in_two_rooms_at_once_unless_it_is_meant(hospital: Server, future: str) -> None:
    patient = await hospital.a_patient()
    nine = await _clinic(hospital, future, 3)
    first = (await _book(hospital, nine, patient, future, slot=2)).body  # 09:10 to 09:20
    until = await _clinic(hospital, future, 1, starts_at="09:00", slot_minutes=10)
    across = await _clinic(hospital, future, 1, starts_at="09:19", slot_minutes=2)
    from_then = await _clinic(hospital, future, 1, starts_at="09:20", slot_minutes=10)
    assert (await _book(hospital, until, patient, future)).status == 201
    is_problem(await _book(hospital, across, patient, future), 409, "patient_busy")
    is_problem(await _book(hospital, across, patient, future, allow_overlap=False), 409, "patient_busy")
    assert (await _book(hospital, from_then, patient, future)).status == 201
    assert (await _book(hospital, across, patient, future, allow_overlap=True)).status == 201
    await hospital.post(f"/appointments/{first['appointment_id']}/cancel")
    # 09:18 to 09:19 was in the way of none but the one cancelled.
    last = await _clinic(hospital, future, 1, starts_at="09:18", slot_minutes=1)
    assert (await _book(hospital, last, patient, future)).status == 201


async def test_who_is_done_may_be_booked_again_and_is_no_longer_busy(hospital: Server, past: str) -> None:
    doctor, patient = await hospital.a_doctor(), await hospital.a_patient()
    first = await hospital.an_appointment(doctor, patient, date=past, effective_at=at(past, "08:00"))
    await hospital.post("/checkins", {"appointment_id": first, "effective_at": at(past, "08:50")})
    await hospital.post("/queue/call-next", {"doctor_id": doctor, "date": past})
    assert (await hospital.post(f"/appointments/{first}/complete")).status == 200
    other = await hospital.a_doctor()
    assert (await _book(hospital, other, patient, past, slot=1, effective_at=at(past, "09:30"))).status == 201
    again = await _book(hospital, doctor, patient, past, effective_at=at(past, "09:30"), allow_overlap=True)
    assert (again.status, again.body["slot"]) == (201, 2)


async def test_today_may_still_be_booked(hospital: Server) -> None:
    assert (
        await _book(hospital, await hospital.a_doctor(), await hospital.a_patient(), await hospital.today())
    ).status == 201


# --- checking in ---------------------------------------------------------------------------------


async def test_a_check_in_gives_place_and_ticket_and_a_second_one_changes_nothing(hospital: Server) -> None:
    today = await hospital.today()
    doctor = await hospital.a_doctor(code="TICKET")
    patients = [await hospital.a_patient() for _ in range(2)]
    booked = [await hospital.an_appointment(doctor, patient, date=today) for patient in patients]
    first = await hospital.post("/checkins", {"appointment_id": booked[1], "patient_id": patients[1]})
    assert first.status == 201
    assert first.body.keys() == APPOINTMENT
    is_queue_entry(first.body["queue"])
    assert first.body["queue"] == {
        "position": 1,
        "checked_in_at": first.body["queue"]["checked_in_at"],
        "called_at": None,
        "completed_at": None,
        "status": "checked_in",
        "ticket": "TICKET-1",
    }
    assert first.body["queue"]["checked_in_at"].startswith(today)
    second = await hospital.post("/checkins", {"appointment_id": booked[0]})
    assert (second.body["queue"]["position"], second.body["queue"]["ticket"]) == (2, "TICKET-2")
    assert second.body["sequence"] == first.body["sequence"] + 1

    again = await hospital.post("/checkins", {"appointment_id": booked[1], "patient_id": patients[1]})
    assert again.status == 200
    assert again.body == first.body
    assert (await hospital.get(f"/queue?date={today}&doctor_id={doctor}")).body["sequence"] == second.body["sequence"]


async def test_the_refusals_of_a_check_in_come_in_the_contracts_order(hospital: Server, future: str) -> None:
    doctor, stranger = await hospital.a_doctor(), await hospital.a_patient()
    appointment = await hospital.an_appointment(doctor, date=future)

    async def check_in(**keys: Any) -> Answer:
        return await hospital.post("/checkins", {"appointment_id": appointment} | keys)

    is_problem(
        await check_in(appointment_id=UNKNOWN, patient_id=stranger, effective_at=LATER), 404, "unknown_appointment"
    )
    is_problem(await check_in(patient_id=stranger, effective_at=LATER), 409, "effective_in_future")
    is_problem(await check_in(patient_id=stranger, effective_at="2020-01-01T00:00:00Z"), 409, "effective_too_early")
    is_problem(await check_in(patient_id=stranger), 409, "patient_mismatch")
    is_problem(await check_in(), 409, "not_today")
    await hospital.post(f"/appointments/{appointment}/cancel")
    is_problem(await check_in(patient_id=stranger), 409, "patient_mismatch")
    is_problem(await check_in(), 409, "appointment_cancelled")


async def test_who_is_done_does_not_check_in_again(hospital: Server, past: str) -> None:
    doctor = await hospital.a_doctor()
    appointment = await hospital.an_appointment(doctor, date=past, effective_at=at(past, "08:00"))
    await hospital.post("/checkins", {"appointment_id": appointment, "effective_at": at(past, "09:00")})
    await hospital.post("/queue/call-next", {"doctor_id": doctor, "date": past})
    await hospital.post(f"/appointments/{appointment}/complete")
    is_problem(await hospital.post("/checkins", {"appointment_id": appointment}), 409, "appointment_closed")


# --- calling, completing, cancelling -------------------------------------------------------------


async def test_a_call_a_completion_and_what_they_answer(hospital: Server) -> None:
    today, doctor = await hospital.today(), await hospital.a_doctor()
    waiting = []
    for priority in ("routine", "urgent", "emergency"):
        appointment = await hospital.an_appointment(doctor, date=today, priority=priority)
        waiting.append((await hospital.post("/checkins", {"appointment_id": appointment})).body)
    assert [answer["queue"]["position"] for answer in waiting] == [1, 1, 1]  # each came before the one before

    called = await hospital.post("/queue/call-next", {"doctor_id": doctor})
    assert called.status == 200
    assert called.body.keys() == APPOINTMENT
    assert called.body["appointment_id"] == waiting[2]["appointment_id"]
    is_queue_entry(called.body["queue"])
    assert (called.body["queue"]["status"], called.body["queue"]["position"]) == ("called", 0)
    assert TIME.fullmatch(called.body["queue"]["called_at"])
    assert called.body["sequence"] == waiting[2]["sequence"] + 1
    shown = await listed(hospital, today, waiting[1]["appointment_id"])
    assert shown["queue"]["position"] == 1

    done = await hospital.post(f"/appointments/{called.body['appointment_id']}/complete")
    assert done.status == 200
    assert (done.body["status"], done.body["queue"]["status"]) == ("completed", "completed")
    assert TIME.fullmatch(done.body["queue"]["completed_at"])
    assert done.body["queue"]["called_at"] == called.body["queue"]["called_at"]
    snapshot = (await hospital.get(f"/queue?date={today}&doctor_id={doctor}")).body
    assert done.body["sequence"] == snapshot["sequence"]
    assert snapshot["data"]["checked_in_count"] == 3
    assert snapshot["data"]["clinic"]["waiting"] == 2

    next_one = await hospital.post("/queue/call-next", {"doctor_id": doctor, "date": today, "reason": "ready"})
    assert next_one.body["appointment_id"] == waiting[1]["appointment_id"]


async def test_an_empty_line_is_refused_also_where_there_is_no_clinic(hospital: Server, future: str) -> None:
    doctor = await hospital.a_doctor()
    is_problem(await hospital.post("/queue/call-next", {"doctor_id": doctor, "date": future}), 409, "queue_empty")
    is_problem(await hospital.post("/queue/call-next", {"doctor_id": doctor}), 409, "queue_empty")
    await hospital.an_appointment(doctor, date=future)
    is_problem(await hospital.post("/queue/call-next", {"doctor_id": doctor, "date": future}), 409, "queue_empty")
    is_problem(await hospital.post("/queue/call-next", {"doctor_id": UNKNOWN}), 404, "unknown_doctor")
    block = (await hospital.get("/queue")).body["data"]
    assert doctor not in [shown["doctor"]["id"] for shown in block["doctors"]]  # a refusal opens no clinic


async def test_a_call_is_not_for_late_entry(hospital: Server) -> None:
    doctor = await hospital.a_doctor()
    is_problem(
        await hospital.post("/queue/call-next", {"doctor_id": doctor, "effective_at": "2020-01-01T00:00:00Z"}),
        400,
        "invalid_request",
        key="effective_at",
    )


async def test_a_cancellation_takes_the_queue_entry_with_it_and_leaves_the_board(hospital: Server) -> None:
    today, doctor = await hospital.today(), await hospital.a_doctor()
    first, second = [await hospital.an_appointment(doctor, date=today) for _ in range(2)]
    for appointment in (first, second):
        await hospital.post("/checkins", {"appointment_id": appointment})
    cancelled = await hospital.post(f"/appointments/{first}/cancel", {"reason": "went home"})
    assert cancelled.status == 200
    assert cancelled.body.keys() == APPOINTMENT
    assert (cancelled.body["status"], cancelled.body["queue"]) == ("cancelled", None)
    assert (await hospital.get(f"/appointments/{first}")).body == cancelled.body
    one = (await hospital.get(f"/queue?date={today}&doctor_id={doctor}")).body
    assert one["sequence"] == cancelled.body["sequence"]
    assert [shown["appointment_id"] for shown in one["data"]["appointments"]] == [second]
    assert one["data"]["appointments"][0]["queue"]["position"] == 1
    assert (one["data"]["checked_in_count"], one["data"]["clinic"]["free"]) == (1, 39)


@pytest.mark.parametrize("step", ["cancel", "complete"])
async def test_the_refusals_of_a_step_come_in_the_contracts_order(hospital: Server, step: str) -> None:
    doctor = await hospital.a_doctor()
    appointment = await hospital.an_appointment(doctor)
    await hospital.post(f"/appointments/{appointment}/cancel")
    early = "2020-01-01T00:00:00Z"
    is_problem(
        await hospital.post(f"/appointments/{UNKNOWN}/{step}", {"effective_at": LATER}), 404, "unknown_appointment"
    )
    path = f"/appointments/{appointment}/{step}"
    is_problem(await hospital.post(path, {"effective_at": LATER}), 409, "effective_in_future")
    is_problem(await hospital.post(path, {"effective_at": early}), 409, "effective_too_early")
    is_problem(await hospital.post(path), 409, "not_allowed_from", appointment_status="cancelled", queue_status=None)


async def test_a_step_that_the_state_does_not_allow_names_the_state(hospital: Server) -> None:
    doctor = await hospital.a_doctor()
    appointment = await hospital.an_appointment(doctor)
    complete = f"/appointments/{appointment}/complete"
    is_problem(
        await hospital.post(complete), 409, "not_allowed_from", appointment_status="confirmed", queue_status=None
    )
    await hospital.post("/checkins", {"appointment_id": appointment})
    is_problem(
        await hospital.post(complete),
        409,
        "not_allowed_from",
        appointment_status="confirmed",
        queue_status="checked_in",
    )
    await hospital.post("/queue/call-next", {"doctor_id": doctor})
    assert (await hospital.post(complete)).status == 200
    for step in ("complete", "cancel"):
        is_problem(
            await hospital.post(f"/appointments/{appointment}/{step}"),
            409,
            "not_allowed_from",
            appointment_status="completed",
            queue_status="completed",
        )


async def test_who_was_called_may_still_cancel(hospital: Server) -> None:
    doctor = await hospital.a_doctor()
    appointment = await hospital.an_appointment(doctor)
    await hospital.post("/checkins", {"appointment_id": appointment})
    await hospital.post("/queue/call-next", {"doctor_id": doctor})
    assert (await hospital.post(f"/appointments/{appointment}/cancel")).body["status"] == "cancelled"


async def test_an_empty_body_equals_an_empty_object_and_needs_no_content_type(hospital: Server) -> None:
    appointment = await hospital.an_appointment(await hospital.a_doctor())
    assert (await hospital.call("POST", f"/appointments/{appointment}/cancel")).status == 200
    other = await hospital.an_appointment(await hospital.a_doctor())
    assert (await hospital.post(f"/appointments/{other}/cancel", {})).status == 200


async def test_an_unknown_appointment_is_404(hospital: Server) -> None:
    is_problem(await hospital.get(f"/appointments/{UNKNOWN}"), 404, "unknown_appointment")


# --- late entry ----------------------------------------------------------------------------------


async def test_late_entry_is_decided_and_shown_at_the_time_it_really_happened(hospital: Server, past: str) -> None:
    doctor = await hospital.a_doctor()
    first, second = [await hospital.an_appointment(doctor, date=past, effective_at=at(past, "08:00")) for _ in range(2)]
    # Entered in the wrong order: the line is by the time of arrival.
    late = await hospital.post("/checkins", {"appointment_id": second, "effective_at": at(past, "09:20")})
    assert (late.status, late.body["queue"]["checked_in_at"]) == (201, at(past, "09:20"))
    early = await hospital.post("/checkins", {"appointment_id": first, "effective_at": f"{past}T03:40:00Z"})
    assert early.body["queue"]["checked_in_at"] == at(past, "09:10")
    assert early.body["queue"]["position"] == 1
    assert early.body["queue"]["ticket"].endswith("-2")  # kept in the order they were given
    assert (await listed(hospital, past, second))["queue"]["position"] == 2

    called = await hospital.post("/queue/call-next", {"doctor_id": doctor, "date": past})
    assert called.body["appointment_id"] == first
    assert called.body["queue"]["called_at"] > at("2025-01-01", "00:00")  # a call is always now
    is_problem(
        await hospital.post(f"/appointments/{first}/complete", {"effective_at": at(past, "09:30")}),
        409,
        "effective_too_early",
    )
    gone = await hospital.post(f"/appointments/{second}/cancel", {"effective_at": at(past, "09:20")})
    assert gone.status == 200  # the same moment is not before


async def test_the_date_of_the_effective_time_is_the_hospitals(hospital: Server, past: str) -> None:
    doctor = await hospital.a_doctor()
    just_before = f"{past}T23:59:59+05:30"
    booked = await hospital.an_appointment(doctor, date=past, effective_at=just_before)
    is_problem(
        await _book(hospital, doctor, await hospital.a_patient(), past, effective_at=f"{past}T18:30:00Z"),
        409,
        "date_in_past",
    )
    is_problem(
        await hospital.post("/checkins", {"appointment_id": booked, "effective_at": f"{past}T18:30:00Z"}),
        409,
        "not_today",
    )
    answer = await hospital.post("/checkins", {"appointment_id": booked, "effective_at": f"{past}T18:29:59.9Z"})
    assert answer.body["queue"]["checked_in_at"] == just_before  # to the second


@pytest.mark.parametrize("order", ["arrival", "slot"])
async def test_the_line_is_ordered_by_priority_and_then_as_the_clinic_says(
    hospital: Server, past: str, order: str
) -> None:
    doctor = await hospital.a_doctor()
    opened_at = at(past, "07:00")
    await hospital.call("PUT", f"/clinics/{doctor}/{past}", {"capacity": 4, "order": order, "effective_at": opened_at})
    booked = {}
    for slot, priority, arrives in ((1, "routine", "09:30"), (2, "routine", "09:10"), (3, "urgent", "09:40")):
        booked[slot] = await hospital.an_appointment(
            doctor, date=past, slot=slot, priority=priority, effective_at=opened_at
        )
        await hospital.post("/checkins", {"appointment_id": booked[slot], "effective_at": at(past, arrives)})
    expected = [3, 2, 1] if order == "arrival" else [3, 1, 2]
    called = [
        (await hospital.post("/queue/call-next", {"doctor_id": doctor, "date": past})).body["slot"] for _ in range(3)
    ]
    assert called == expected
