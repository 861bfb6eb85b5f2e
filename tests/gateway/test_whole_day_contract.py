"""The clinic's whole day, key by key and refusal by refusal: from the first walk-in to the clinic's end."""

from __future__ import annotations

from typing import Any

import pytest

from tests.gateway.contract import APPOINTMENT, CLINIC, UNKNOWN, at, is_problem, is_queue_entry, listed
from tests.server import Answer, Server

pytestmark = pytest.mark.asyncio(loop_scope="module")

LATER = "2999-01-01T00:00:00Z"
WHY = {"reason": "so it was"}
STEPS = ("call", "recall", "start", "complete", "hold", "resume", "cancel", "no-show", "priority", "move", "undo")
BODIES: dict[str, dict[str, Any]] = {name: {} for name in STEPS} | {
    "call": WHY,
    "priority": WHY | {"priority": "urgent"},
    "move": WHY | {"slot": 9},
    "undo": WHY,
}


class Day:
    """A date of a test's own, and what is done on it. All of it is entered late: the date is over."""

    def __init__(self, hospital: Server, date: str) -> None:
        self.hospital, self.date = hospital, date

    def at(self, clock: str) -> dict[str, str]:
        return {"effective_at": at(self.date, clock)}

    async def doctor(self, capacity: int = 40, **keys: Any) -> str:
        doctor = await self.hospital.a_doctor()
        path = f"/clinics/{doctor}/{self.date}"
        opened = await self.hospital.call("PUT", path, {"capacity": capacity} | keys | self.at("06:00"))
        assert opened.status == 200, opened
        return doctor

    async def booked(self, doctor: str, patient: str | None = None, **keys: Any) -> str:
        return await self.hospital.an_appointment(doctor, patient, date=self.date, **(self.at("07:00") | keys))

    async def here(self, doctor: str, clock: str = "08:00", **keys: Any) -> str:
        appointment = await self.booked(doctor, **keys)
        answer = await self.hospital.post("/checkins", {"appointment_id": appointment} | self.at(clock))
        assert answer.status == 201, answer
        return appointment

    async def step(self, appointment: str, name: str, clock: str = "08:00", **keys: Any) -> Answer:
        body = BODIES[name] | (self.at(clock) if clock else {}) | keys
        return await self.hospital.post(f"/appointments/{appointment}/{name}", body)

    async def done(self, appointment: str, *names: str, clock: str = "08:00") -> Any:
        """Steps that must succeed. Returns the last answer's body."""
        body = None
        for name in names:
            answer = await self.step(appointment, name, clock)
            assert answer.status == 200, (name, answer)
            body = answer.body
        return body

    async def clinic(self, doctor: str, name: str, body: Any = None) -> Answer:
        return await self.hospital.post(f"/clinics/{doctor}/{self.date}/{name}", body)

    async def shown(self, doctor: str) -> Any:
        return (await self.hospital.get(f"/queue?date={self.date}&doctor_id={doctor}")).body


@pytest.fixture
def day(hospital: Server, past: str) -> Day:
    return Day(hospital, past)


# --- steps of one appointment --------------------------------------------------------------------


async def test_each_step_answers_the_whole_appointment_as_it_is_then(day: Day) -> None:
    doctor = await day.doctor()
    appointment = await day.here(doctor)
    last = 0
    for name, status, stage in (
        ("call", "confirmed", "called"),
        ("recall", "confirmed", "called"),
        ("hold", "confirmed", "on_hold"),
        ("resume", "confirmed", "checked_in"),
        ("priority", "confirmed", "checked_in"),
        ("move", "confirmed", "checked_in"),
        ("call", "confirmed", "called"),
        ("start", "confirmed", "in_consultation"),
        ("complete", "completed", "completed"),
    ):
        answer = await day.step(appointment, name)
        assert answer.status == 200, answer
        assert answer.body.keys() == APPOINTMENT
        is_queue_entry(answer.body["queue"])
        assert (answer.body["status"], answer.body["queue"]["status"]) == (status, stage)
        assert answer.body["sequence"] > last
        last = answer.body["sequence"]
        seen = await day.hospital.get(f"/appointments/{appointment}")
        assert {key: seen.body[key] for key in APPOINTMENT} == answer.body
        shown = await day.shown(doctor)
        assert shown["sequence"] == last
        assert shown["data"]["appointments"][0]["queue"] == answer.body["queue"]
    last_seen = (await day.hospital.get(f"/appointments/{appointment}")).body
    assert (last_seen["slot"], last_seen["priority"]) == (9, "urgent")


async def test_called_at_is_the_latest_call_through_hold_move_and_undo(day: Day) -> None:
    appointment = await day.here(await day.doctor())

    async def called_at(name: str, clock: str) -> Any:
        answer = await day.step(appointment, name, clock)
        return answer.body["queue"]["called_at"]

    assert await called_at("call", "09:00") == at(day.date, "09:00")
    assert await called_at("recall", "09:01") == at(day.date, "09:01")
    assert await called_at("hold", "09:02") == at(day.date, "09:01")
    assert await called_at("resume", "09:03") == at(day.date, "09:01")
    assert await called_at("undo", "09:04") == at(day.date, "09:01")
    assert await called_at("undo", "09:05") == at(day.date, "09:01")
    assert await called_at("undo", "09:06") == at(day.date, "09:00")
    assert await called_at("undo", "09:07") is None


async def test_a_step_from_a_state_that_does_not_allow_it_tells_the_state(day: Day) -> None:
    doctor = await day.doctor()
    appointment = await day.booked(doctor)
    for name in ("call", "recall", "start", "complete", "hold", "resume"):
        is_problem(
            await day.step(appointment, name),
            409,
            "not_allowed_from",
            appointment_status="confirmed",
            queue_status=None,
        )
    await day.done(appointment, "cancel")
    for name in STEPS[:-1]:
        is_problem(
            await day.step(appointment, name),
            409,
            "not_allowed_from",
            appointment_status="cancelled",
            queue_status=None,
        )
    other = await day.here(doctor)
    await day.done(other, "call", "start")
    for name in ("call", "recall", "start", "hold", "resume", "cancel", "no-show", "priority", "move"):
        is_problem(
            await day.step(other, name),
            409,
            "not_allowed_from",
            appointment_status="confirmed",
            queue_status="in_consultation",
        )


@pytest.mark.parametrize("name", STEPS)
async def test_an_unknown_appointment_is_404_before_all_else(day: Day, name: str) -> None:
    is_problem(await day.step(UNKNOWN, name, effective_at=LATER), 404, "unknown_appointment")
    doctor = await day.doctor()  # the id of something else
    is_problem(await day.step(doctor, name, effective_at=LATER), 404, "unknown_appointment")


@pytest.mark.parametrize("name", STEPS)
async def test_a_late_entry_is_neither_to_come_nor_before_the_previous_step(day: Day, name: str) -> None:
    appointment = await day.here(await day.doctor(), "08:00")
    is_problem(await day.step(appointment, name, effective_at=LATER), 409, "effective_in_future")
    is_problem(await day.step(appointment, name, "07:59"), 409, "effective_too_early")


@pytest.mark.parametrize("name", ["call", "priority", "move", "undo"])
async def test_what_is_out_of_turn_needs_a_reason(day: Day, name: str) -> None:
    appointment = await day.here(await day.doctor())
    for reason in (None, "", " ", "x" * 201):
        answer = await day.step(appointment, name, reason=reason)
        is_problem(answer, 400, "invalid_request", key="reason")


@pytest.mark.parametrize("name", STEPS)
async def test_no_step_takes_a_key_it_does_not_know(day: Day, name: str) -> None:
    appointment = await day.here(await day.doctor())
    is_problem(await day.step(appointment, name, colour="blue"), 400, "invalid_request", key="colour")
    is_problem(await day.step(appointment, name, appointment_id=UNKNOWN), 400, "invalid_request", key="appointment_id")
    is_problem(
        await day.hospital.post(f"/appointments/x/{name}", BODIES[name]), 400, "invalid_request", key="appointment_id"
    )


async def test_a_call_out_of_turn_leaves_the_line_and_hold_keeps_the_place(day: Day) -> None:
    doctor = await day.doctor()
    first, second, third = [await day.here(doctor, f"08:0{n}") for n in range(3)]
    assert (await day.done(third, "call", clock="08:10"))["queue"]["position"] == 0
    await day.done(first, "hold", clock="08:10")
    assert (await listed(day.hospital, day.date, second))["queue"]["position"] == 1
    assert (await day.done(first, "resume", clock="08:30"))["queue"]["position"] == 1
    assert (await listed(day.hospital, day.date, second))["queue"]["position"] == 2


async def test_a_change_to_the_same_priority_changes_nothing(day: Day) -> None:
    appointment = await day.here(await day.doctor())
    urgent = await day.done(appointment, "priority")
    again = await day.step(appointment, "priority")
    assert (again.status, again.body) == (200, urgent)
    for priority in ("high", None, 1):
        is_problem(await day.step(appointment, "priority", priority=priority), 400, "invalid_request", key="priority")


async def test_a_no_show_keeps_the_slot_and_comes_after_all(day: Day) -> None:
    doctor = await day.doctor(1)
    appointment = await day.booked(doctor)
    marked = await day.done(appointment, "no-show")
    assert (marked["status"], marked["queue"]) == ("no_show", None)
    shown = await day.shown(doctor)
    assert (shown["data"]["clinic"]["booked"], shown["data"]["checked_in_count"]) == (1, 0)
    came = await day.hospital.post("/checkins", {"appointment_id": appointment} | day.at("09:30"))
    assert (came.status, came.body["status"]) == (201, "confirmed")
    assert came.body["queue"]["checked_in_at"] == at(day.date, "09:30")
    ticket = came.body["queue"]["ticket"]
    await day.done(appointment, "call", "no-show", clock="09:40")
    again = await day.hospital.post("/checkins", {"appointment_id": appointment} | day.at("09:50"))
    assert (again.body["queue"]["ticket"], again.body["queue"]["checked_in_at"]) == (ticket, at(day.date, "09:50"))
    await day.done(appointment, "no-show", clock="10:00")
    is_problem(await day.hospital.post("/checkins", {"appointment_id": appointment}), 409, "not_today")


async def test_a_no_show_who_booked_again_is_already_booked(day: Day) -> None:
    doctor, patient = await day.doctor(), await day.hospital.a_patient()
    appointment = await day.booked(doctor, patient)
    await day.done(appointment, "no-show")
    await day.booked(doctor, patient)
    is_problem(
        await day.hospital.post("/checkins", {"appointment_id": appointment} | day.at("09:00")), 409, "already_booked"
    )
    is_problem(await day.step(appointment, "undo"), 409, "already_booked")


# --- call-next -----------------------------------------------------------------------------------


async def test_call_next_completes_whoever_is_called_or_in_consultation(day: Day) -> None:
    doctor = await day.doctor()
    first, second, third = [await day.here(doctor, f"08:0{n}") for n in range(3)]
    await day.done(first, "call", "start", clock="08:10")
    await day.done(second, "call", clock="08:10")
    body = {"doctor_id": doctor, "date": day.date, "complete_current": True}
    called = await day.hospital.post("/queue/call-next", body)
    assert called.status == 200
    assert (called.body["appointment_id"], called.body["queue"]["status"]) == (third, "called")
    for done in (first, second):
        seen = (await day.hospital.get(f"/appointments/{done}")).body
        assert (seen["status"], seen["sequence"] < called.body["sequence"]) == ("completed", True)
    nobody = await day.hospital.post("/queue/call-next", body)
    assert nobody.status == 200
    assert nobody.body.keys() == APPOINTMENT
    assert nobody.body == dict.fromkeys(APPOINTMENT) | {
        "doctor_id": doctor,
        "date": day.date,
        "sequence": called.body["sequence"] + 2,  # the patient's own time is free again, and then the completion
    }
    assert (await day.shown(doctor))["sequence"] == nobody.body["sequence"]
    is_problem(await day.hospital.post("/queue/call-next", body), 409, "queue_empty")


async def test_call_next_without_it_leaves_them_as_they_are(day: Day) -> None:
    doctor = await day.doctor()
    first, second = [await day.here(doctor, f"08:0{n}") for n in range(2)]
    await day.done(first, "call", "start", clock="08:10")
    for body in ({"complete_current": False}, {"complete_current": None}):
        called = await day.hospital.post("/queue/call-next", {"doctor_id": doctor, "date": day.date} | body)
        assert called.status in (200, 409)
    assert (await day.hospital.get(f"/appointments/{first}")).body["queue"]["status"] == "in_consultation"
    assert (await day.hospital.get(f"/appointments/{second}")).body["queue"]["status"] == "called"


# --- walk-ins ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("clock", "slot"), [("08:00:00", 1), ("09:00:00", 1), ("09:00:01", 2), ("09:15:00", 3), ("09:25:00", 1)]
)
async def test_a_walk_in_is_booked_and_here_at_once_in_the_lowest_slot_not_yet_begun(
    day: Day, clock: str, slot: int
) -> None:
    doctor, patient = await day.doctor(3), await day.hospital.a_patient()
    body = {"doctor_id": doctor, "patient_id": patient, "priority": "urgent"}
    came = await day.hospital.post("/walkins", body | {"effective_at": f"{day.date}T{clock}+05:30"})
    assert came.status == 201
    assert came.body.keys() == APPOINTMENT
    assert (came.body["slot"], came.body["date"], came.body["priority"]) == (slot, day.date, "urgent")
    assert came.body["queue"]["checked_in_at"] == f"{day.date}T{clock}+05:30"
    assert (came.body["queue"]["status"], came.body["queue"]["position"]) == ("checked_in", 1)


async def test_a_walk_in_is_today_and_opens_a_clinic_that_nobody_opened(hospital: Server) -> None:
    doctor, patient = await hospital.a_doctor(), await hospital.a_patient()
    came = await hospital.post("/walkins", {"doctor_id": doctor, "patient_id": patient})
    assert (came.status, came.body["date"]) == (201, await hospital.today())


async def test_the_refusals_of_a_walk_in_come_in_the_contracts_order(day: Day) -> None:
    doctor, patient, other = await day.doctor(1), await day.hospital.a_patient(), await day.hospital.a_patient()

    async def walk_in(**keys: Any) -> Answer:
        return await day.hospital.post(
            "/walkins", {"doctor_id": doctor, "patient_id": patient} | day.at("08:00") | keys
        )

    is_problem(await walk_in(doctor_id=UNKNOWN, patient_id=UNKNOWN, effective_at=LATER), 404, "unknown_doctor")
    is_problem(await walk_in(patient_id=UNKNOWN, effective_at=LATER), 404, "unknown_patient")
    is_problem(await walk_in(effective_at=LATER), 409, "effective_in_future")
    is_problem(await walk_in(slot=1), 400, "invalid_request", key="slot")
    assert (await walk_in()).status == 201
    is_problem(await walk_in(), 409, "already_booked")
    is_problem(await walk_in(patient_id=other), 409, "clinic_full")
    busy = await day.doctor(1)
    is_problem(await walk_in(doctor_id=busy), 409, "patient_busy")
    assert (await walk_in(doctor_id=busy, allow_overlap=True)).status == 201
    await day.clinic(doctor, "close")
    is_problem(await walk_in(), 409, "clinic_closed")


# --- moves ---------------------------------------------------------------------------------------


async def test_a_move_keeps_id_ticket_check_in_and_urgency(day: Day, future: str) -> None:
    one, other = await day.doctor(), await day.doctor()
    appointment = await day.here(one, priority="urgent", slot=3)
    before = await day.done(appointment, "call", clock="08:10")
    moved = await day.step(appointment, "move", "08:20", doctor_id=other, slot=None)
    assert moved.status == 200
    assert moved.body == before | {
        "doctor_id": other,
        "slot": 1,
        "queue": before["queue"] | {"status": "checked_in", "position": 1},
        "sequence": moved.body["sequence"],
    }
    assert (await day.shown(one))["data"]["appointments"] == []
    assert (await day.shown(one))["data"]["clinic"]["booked"] == 0
    assert (await day.shown(other))["data"]["clinic"]["waiting"] == 1
    is_problem(await day.step(appointment, "move", "08:20", date=future), 409, "not_today")


async def test_a_move_to_another_date_is_seen_on_both_boards(hospital: Server, future: str) -> None:
    doctor = await hospital.a_doctor()
    appointment = await hospital.an_appointment(doctor, date=future, slot=7)
    elsewhere = "2095-05-05"
    moved = await hospital.post(f"/appointments/{appointment}/move", WHY | {"date": elsewhere, "slot": 7})
    assert (moved.status, moved.body["date"], moved.body["slot"]) == (200, elsewhere, 7)
    left = (await hospital.get(f"/queue?date={future}&doctor_id={doctor}")).body
    came = (await hospital.get(f"/queue?date={elsewhere}&doctor_id={doctor}")).body
    assert left["data"]["appointments"] == []
    assert came["data"]["appointments"][0]["appointment_id"] == appointment
    assert came["sequence"] == moved.body["sequence"] > left["sequence"]
    back = await hospital.post(f"/appointments/{appointment}/undo", WHY)
    assert (back.body["date"], back.body["slot"]) == (future, 7)
    assert (await hospital.get(f"/queue?date={elsewhere}&doctor_id={doctor}")).body["data"]["appointments"] == []


async def test_the_refusals_of_a_move_come_in_the_contracts_order(day: Day) -> None:
    here, there = await day.doctor(2), await day.doctor(2)
    patient = await day.hospital.a_patient()
    appointment = await day.booked(here, patient, slot=1)

    async def move(**keys: Any) -> Answer:
        return await day.step(appointment, "move", **({"slot": None, "doctor_id": there} | keys))

    is_problem(await move(doctor_id=UNKNOWN, effective_at=LATER), 404, "unknown_doctor")
    is_problem(await move(effective_at=LATER), 409, "effective_in_future")
    is_problem(await move(clock="06:59"), 409, "effective_too_early")
    is_problem(await move(date="2020-02-02"), 409, "date_in_past")
    is_problem(await move(slot=3), 409, "no_such_slot")
    await day.booked(there, slot=1)
    is_problem(await move(slot=1), 409, "slot_taken")
    third = await day.doctor(1)
    await day.booked(third, patient, allow_overlap=True)
    is_problem(await move(slot=1), 409, "slot_taken")
    assert (await move(slot=2)).status == 200  # 09:10, while the third doctor has the patient at 09:00
    is_problem(await move(doctor_id=here, slot=1), 409, "patient_busy")
    assert (await move(doctor_id=here, slot=1, allow_overlap=True)).status == 200
    await day.booked(there, slot=2)
    is_problem(await move(slot=1), 409, "clinic_full")
    is_problem(await move(doctor_id=third), 409, "already_booked")
    await day.clinic(there, "close")
    is_problem(await move(), 409, "clinic_closed")


async def test_a_move_to_where_it_is_changes_nothing(day: Day) -> None:
    appointment = await day.booked(await day.doctor(), slot=4)
    before = (await day.hospital.get(f"/appointments/{appointment}")).body
    moved = await day.step(appointment, "move", slot=4)
    assert (moved.status, moved.body) == (200, before)


# --- undo ----------------------------------------------------------------------------------------


async def test_undo_goes_back_step_by_step_and_not_further_than_the_booking(day: Day) -> None:
    one, other = await day.doctor(), await day.doctor()
    appointment = await day.booked(one, slot=2)
    passed = [(await day.hospital.get(f"/appointments/{appointment}")).body]
    await day.hospital.post("/checkins", {"appointment_id": appointment} | day.at("08:00"))
    for name, keys in (
        ("priority", {}),
        ("hold", {}),
        ("resume", {}),
        ("call", {}),
        ("move", {"doctor_id": other, "slot": 5}),
        ("move", {"slot": 6}),
        ("call", {}),
        ("start", {}),
        ("complete", {}),
    ):
        passed.append((await day.hospital.get(f"/appointments/{appointment}")).body)
        answer = await day.step(appointment, name, **keys)
        assert answer.status == 200, answer
    last = passed[-1]["sequence"]
    while passed:
        undone = await day.step(appointment, "undo")
        assert undone.status == 200, undone
        before = passed.pop()
        assert undone.body == {key: before[key] for key in APPOINTMENT} | {"sequence": undone.body["sequence"]}
        assert undone.body["sequence"] > last
        last = undone.body["sequence"]
    is_problem(await day.step(appointment, "undo"), 409, "nothing_to_undo")


async def test_what_now_stands_in_the_way_is_refused_by_its_own_name(day: Day) -> None:
    doctor, patient = await day.doctor(2), await day.hospital.a_patient()
    appointment = await day.booked(doctor, patient, slot=1)
    await day.done(appointment, "cancel")
    elsewhere = await day.booked(await day.doctor(), patient, slot=1)
    is_problem(await day.step(appointment, "undo"), 409, "patient_busy")
    await day.done(elsewhere, "cancel")
    taken = await day.booked(doctor, slot=1)
    is_problem(await day.step(appointment, "undo"), 409, "slot_taken")
    await day.done(taken, "cancel")
    again = await day.booked(doctor, patient, slot=2)
    is_problem(await day.step(appointment, "undo"), 409, "already_booked")
    await day.done(again, "cancel")
    back = await day.done(appointment, "undo")
    assert (back["status"], back["slot"]) == ("confirmed", 1)
    is_problem(await day.step(elsewhere, "undo"), 409, "patient_busy")  # claimed again


async def test_after_a_check_in_is_undone_there_is_no_queue_entry(day: Day) -> None:
    doctor = await day.doctor()
    appointment = await day.here(doctor)
    assert (await day.done(appointment, "undo"))["queue"] is None
    shown = (await day.shown(doctor))["data"]
    assert (shown["checked_in_count"], shown["total_appointments"]) == (0, 1)


# --- whole clinics -------------------------------------------------------------------------------


async def test_a_clinic_closes_opens_runs_late_and_each_is_answered_key_by_key(day: Day) -> None:
    doctor = await day.doctor(5)
    card = (await day.hospital.call("PUT", f"/clinics/{doctor}/{day.date}", {"capacity": 5})).body
    for name, body, changed in (
        ("close", WHY, {"status": "closed"}),
        ("reopen", {}, {"status": "open"}),
        ("delay", {"minutes": 20, "note": "one emergency"}, {"delay_minutes": 20, "note": "one emergency"}),
        ("delay", {"minutes": 0}, {"delay_minutes": 0, "note": None}),
        ("finish", {}, {"status": "finished"}),
        ("reopen", {}, {"status": "open"}),
    ):
        answer = await day.clinic(doctor, name, body)
        assert answer.status == 200
        assert answer.body.keys() == CLINIC
        assert answer.body == card | changed | {"sequence": card["sequence"] + 1}
        card = answer.body
        shown = (await day.shown(doctor))["data"]["clinic"]
        assert shown == {key: card[key] for key in shown}
        if name != "reopen":
            again = await day.clinic(doctor, name, body)
            assert (again.status, again.body) == (200, card)


async def test_a_closed_clinic_takes_no_bookings_and_put_does_not_reopen_it(day: Day) -> None:
    doctor, patient = await day.doctor(), await day.hospital.a_patient()
    await day.clinic(doctor, "close")
    body = {"doctor_id": doctor, "patient_id": patient, "date": day.date} | day.at("07:00")
    is_problem(await day.hospital.post("/appointments", body), 409, "clinic_closed")
    put = await day.hospital.call("PUT", f"/clinics/{doctor}/{day.date}", {"capacity": 50})
    assert (put.body["status"], put.body["capacity"]) == ("closed", 50)
    await day.clinic(doctor, "reopen")
    assert (await day.hospital.post("/appointments", body)).status == 201


async def test_finishing_leaves_nobody_waiting(day: Day) -> None:
    doctor, patient = await day.doctor(), await day.hospital.a_patient()
    never = await day.booked(doctor, patient)
    waiting, called, held = [await day.here(doctor) for _ in range(3)]
    await day.done(called, "call")
    await day.done(held, "hold")
    done, gone = await day.here(doctor), await day.booked(doctor)
    await day.done(done, "call", "start")
    is_problem(await day.clinic(doctor, "finish"), 409, "patients_in_consultation")
    await day.done(done, "complete")
    await day.done(gone, "cancel")
    is_problem(await day.clinic(doctor, "finish", day.at("07:59")), 409, "effective_too_early")
    finished = await day.clinic(doctor, "finish", day.at("18:00") | WHY)
    assert (finished.body["status"], finished.body["waiting"], finished.body["booked"]) == ("finished", 0, 5)
    stands = {}
    for name, appointment in (("never", never), ("waiting", waiting), ("called", called), ("held", held)):
        body = (await day.hospital.get(f"/appointments/{appointment}")).body
        stands[name] = body["status"], body["queue"] and body["queue"]["status"]
    assert stands == {"never": ("no_show", None)} | dict.fromkeys(("waiting", "called", "held"), ("unseen", "unseen"))
    is_problem(
        await day.hospital.post("/checkins", {"appointment_id": waiting} | day.at("18:01")), 409, "appointment_closed"
    )
    elsewhere = await day.booked(await day.doctor(), patient, slot=1)  # the patient has the time again
    is_problem(await day.step(never, "undo", "18:01"), 409, "patient_busy")
    await day.done(elsewhere, "cancel")
    assert (await day.done(never, "undo", clock="18:01"))["status"] == "confirmed"
    assert (await day.done(waiting, "undo", clock="18:01"))["queue"]["position"] == 1


@pytest.mark.parametrize("name", ["close", "reopen", "delay", "finish", "reassign"])
async def test_a_clinic_that_is_not_there_is_unknown_before_all_else(hospital: Server, future: str, name: str) -> None:
    doctor = await hospital.a_doctor()
    body: dict[str, Any] = {"effective_at": LATER}
    body |= {"minutes": 5} if name == "delay" else {}
    body |= WHY | {"to_doctor_id": await hospital.a_doctor()} if name == "reassign" else {}
    is_problem(await hospital.post(f"/clinics/{UNKNOWN}/{future}/{name}", body), 404, "unknown_doctor")
    is_problem(await hospital.post(f"/clinics/{doctor}/{future}/{name}", body), 404, "unknown_clinic")
    await hospital.call("PUT", f"/clinics/{doctor}/{future}", {"capacity": 3})
    is_problem(await hospital.post(f"/clinics/{doctor}/{future}/{name}", body), 409, "effective_in_future")
    unknown = body | {"colour": "blue"}
    is_problem(await hospital.post(f"/clinics/{doctor}/{future}/{name}", unknown), 400, "invalid_request", key="colour")


@pytest.mark.parametrize("minutes", [-1, 1441, 1.5, "5", None])
async def test_a_delay_is_whole_minutes_of_a_day(hospital: Server, future: str, minutes: Any) -> None:
    answer = await hospital.post(f"/clinics/{await hospital.a_doctor()}/{future}/delay", {"minutes": minutes})
    is_problem(answer, 400, "invalid_request", key="minutes")


# --- reassign ------------------------------------------------------------------------------------


async def test_everyone_still_to_be_seen_moves_to_the_same_number_if_free(day: Day) -> None:
    ill, other = await day.doctor(), await day.doctor()
    held = await day.booked(other, slot=1)
    first, second, called = await day.booked(ill, slot=1), await day.booked(ill, slot=2), await day.here(ill, slot=4)
    await day.done(called, "call")
    over = await day.booked(ill, slot=5)
    await day.done(over, "cancel")
    seeing = await day.here(ill, slot=6)
    await day.done(seeing, "call", "start")
    answer = await day.clinic(ill, "reassign", WHY | day.at("08:30") | {"to_doctor_id": other})
    assert answer.status == 200
    assert answer.body.keys() == {"moved", "sequence"}
    moved = {each["appointment_id"]: each for each in answer.body["moved"]}
    assert {each: (moved[each]["doctor_id"], moved[each]["slot"]) for each in moved} == {
        first: (other, 3),  # 1 is taken, and 2 is free for whoever has it
        second: (other, 2),
        called: (other, 4),
    }
    assert all(each.keys() == APPOINTMENT for each in moved.values())
    assert moved[called]["queue"]["status"] == "checked_in"
    assert answer.body["sequence"] == max(each["sequence"] for each in moved.values())
    left, came = await day.shown(ill), await day.shown(other)
    assert left["data"]["clinic"]["status"] == "closed"
    assert [each["appointment_id"] for each in left["data"]["appointments"]] == [seeing]
    assert [each["appointment_id"] for each in came["data"]["appointments"]] == [held, second, first, called]
    back = await day.done(called, "undo", clock="08:31")
    assert (back["doctor_id"], back["slot"], back["queue"]["status"]) == (ill, 4, "called")


async def test_of_three_into_two_places_nobody_moves_and_the_one_is_named(day: Day) -> None:
    ill, other = await day.doctor(3), await day.doctor(2)
    booked = [await day.booked(ill) for _ in range(3)]
    answer = await day.clinic(ill, "reassign", WHY | day.at("08:30") | {"to_doctor_id": other})
    is_problem(answer, 409, "does_not_fit", appointments=[{"appointment_id": booked[2], "code": "clinic_full"}])
    assert (await day.shown(ill))["data"]["total_appointments"] == 3
    assert (await day.shown(ill))["data"]["clinic"]["status"] == "open"
    assert (await day.shown(other))["data"]["total_appointments"] == 0


async def test_who_is_busy_or_booked_there_already_does_not_fit(day: Day) -> None:
    ill, other, third = await day.doctor(), await day.doctor(), await day.doctor()
    patient, twice = await day.hospital.a_patient(), await day.hospital.a_patient()
    busy = await day.booked(ill, patient, slot=2)
    await day.booked(other, slot=2)
    await day.booked(third, patient, slot=1)
    double = await day.booked(ill, twice, slot=5)
    await day.booked(other, twice, slot=6)
    body = WHY | day.at("08:30") | {"to_doctor_id": other}
    answer = await day.clinic(ill, "reassign", body)
    assert answer.code == "does_not_fit"
    assert {each["appointment_id"]: each["code"] for each in answer.body["appointments"]} == {
        double: "already_booked",
        busy: "patient_busy",
    }
    await day.done(double, "cancel")
    assert (await day.clinic(ill, "reassign", body | {"allow_overlap": True})).status == 200


async def test_the_refusals_of_a_reassignment(day: Day) -> None:
    ill, other = await day.doctor(), await day.doctor()
    appointment = await day.booked(ill)

    def nobody(code: str) -> Any:
        return {"appointments": [{"appointment_id": appointment, "code": code}]}

    body = WHY | day.at("08:30") | {"to_doctor_id": other}
    is_problem(await day.clinic(ill, "reassign", body | {"to_doctor_id": UNKNOWN}), 404, "unknown_doctor")
    is_problem(
        await day.clinic(ill, "reassign", WHY | {"to_doctor_id": other}), 409, "does_not_fit", **nobody("date_in_past")
    )
    is_problem(await day.clinic(ill, "reassign", body | day.at("06:59")), 409, "effective_too_early")
    is_problem(await day.clinic(ill, "reassign", body | {"reason": None}), 400, "invalid_request", key="reason")
    await day.clinic(other, "close")
    is_problem(await day.clinic(ill, "reassign", body), 409, "does_not_fit", **nobody("clinic_closed"))
    is_problem(
        await day.clinic(ill, "reassign", body | {"to_doctor_id": ill}), 409, "does_not_fit", **nobody("already_booked")
    )


async def test_a_reassignment_of_nobody_closes_the_clinic_and_opens_no_other(day: Day) -> None:
    ill, other = await day.doctor(), await day.hospital.a_doctor()
    answer = await day.clinic(ill, "reassign", WHY | day.at("08:30") | {"to_doctor_id": other})
    assert (answer.status, answer.body["moved"]) == (200, [])
    assert (await day.shown(ill))["data"]["clinic"]["status"] == "closed"
    assert (await day.shown(other))["data"]["clinic"] is None


# --- why one stands where one stands -------------------------------------------------------------


async def test_whoever_waits_is_told_why_they_stand_where_they_do(day: Day) -> None:
    doctor = await day.doctor()
    first = await day.here(doctor, "08:00")
    urgent = await day.here(doctor, "08:01", priority="urgent")
    last = await day.here(doctor, "08:02")

    async def why(appointment: str) -> Any:
        answer = (await day.hospital.get(f"/appointments/{appointment}")).body
        assert answer.keys() == APPOINTMENT | {"why"}
        return answer["why"]

    told = await why(last)
    assert told.pop("text")
    assert told == {
        "order": "arrival",
        "priority": "routine",
        "ahead_by_priority": 1,
        "ahead_by_order": 1,
        "place_kept": False,
    }
    await day.done(first, "hold", clock="08:10")
    assert "why" not in (await day.hospital.get(f"/appointments/{first}")).body
    await day.done(first, "resume", clock="08:11")
    told = await why(first)
    assert (told["place_kept"], told["ahead_by_priority"], told["ahead_by_order"]) == (True, 1, 0)
    assert (await why(urgent))["ahead_by_priority"] == 0
    await day.done(first, "undo", "undo", clock="08:12")
    assert (await why(first))["place_kept"] is False


# --- idempotency ---------------------------------------------------------------------------------


async def test_each_of_these_is_honoured_once(day: Day) -> None:
    hospital = day.hospital
    sent: list[tuple[Answer, str, str, Any, str]] = []
    ill, other = await day.doctor(), await day.doctor()
    appointment = await day.here(ill)

    async def send(path: str, body: Any, method: str = "POST") -> None:
        key = f"{path} {len(sent)}"
        answer = await hospital.call(method, path, body, Idempotency_Key=key)
        assert answer.status < 300, (path, answer)
        sent.append((answer, method, path, body, key))

    late = day.at("08:30")
    for name in ("priority", "hold", "resume", "call", "recall", "move", "call", "start", "undo", "undo"):
        await send(f"/appointments/{appointment}/{name}", BODIES[name] | late)
    patient = await hospital.a_patient()
    await send("/walkins", {"doctor_id": ill, "patient_id": patient} | late)
    await send(f"/clinics/{ill}/{day.date}", {"capacity": 30} | late, "PUT")
    await send(f"/clinics/{ill}/{day.date}/delay", {"minutes": 10} | late)
    await send(f"/clinics/{ill}/{day.date}/reassign", WHY | late | {"to_doctor_id": other})
    await send(f"/clinics/{ill}/{day.date}/reopen", late)
    await send(f"/clinics/{ill}/{day.date}/close", late)
    await send("/queue/call-next", {"doctor_id": other, "date": day.date, "complete_current": True})
    await send("/queue/call-next", {"doctor_id": other, "date": day.date, "complete_current": True})
    await send("/queue/call-next", {"doctor_id": other, "date": day.date, "complete_current": True})
    assert sent[-1][0].body["appointment_id"] is None
    await send(f"/clinics/{other}/{day.date}/finish", {})
    await send(f"/doctors/{ill}", {"room": "7"}, "PATCH")
    await send(f"/patients/{patient}", {"phone": "1"}, "PATCH")
    head = (await hospital.get(f"/queue?date={day.date}")).body["sequence"]
    for first, method, path, body, key in sent:
        again = await hospital.call(method, path, body, Idempotency_Key=key)
        assert (again.status, again.body) == (first.status, first.body), path
        assert again.headers["Idempotency-Replayed"] == "true"
        reused = await hospital.call(method, path, body | {"reason": "another"}, Idempotency_Key=key)
        is_problem(reused, 422, "idempotency_key_reused")
    assert (await hospital.get(f"/queue?date={day.date}")).body["sequence"] == head
