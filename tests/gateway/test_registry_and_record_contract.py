"""Changing doctors and patients, finding patients, and reading the record: history and a date's events."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from tests.gateway.contract import UNKNOWN, at, is_problem, listed
from tests.server import Answer, Server

pytestmark = pytest.mark.asyncio(loop_scope="module")

LATER = "2999-01-01T00:00:00Z"
EVENT = {"sequence", "type", "recorded_at", "effective_at", "actor", "reason", "doctor_id", "appointment_id", "data"}


async def _patch(hospital: Server, path: str, **body: Any) -> Answer:
    return await hospital.call("PATCH", path, body)


# --- doctors -------------------------------------------------------------------------------------


async def test_a_doctors_change_keeps_what_is_left_out_and_clears_what_is_null(hospital: Server) -> None:
    full = {"name": "Dr. A", "specialty": "S", "department": "D", "room": "R"}
    made = (await hospital.post("/doctors", full | {"code": "PATCH-1"})).body
    path = f"/doctors/{made['id']}"
    changed = await _patch(hospital, path, name="Dr. B", department=None, reason="married")
    assert changed.status == 200
    assert changed.body == made | {"name": "Dr. B", "department": None, "sequence": made["sequence"] + 1}
    assert (await hospital.get(path)).body == changed.body
    for nothing in ({}, {"name": "Dr. B"}, {"department": None}, {"reason": "none"}):
        same = await _patch(hospital, path, **nothing)
        assert (same.status, same.body) == (200, changed.body)


@pytest.mark.parametrize("key", ["name", "code", "specialty"])
async def test_what_a_doctor_must_have_is_not_cleared(hospital: Server, key: str) -> None:
    path = f"/doctors/{await hospital.a_doctor()}"
    is_problem(await _patch(hospital, path, **{key: None}), 400, "invalid_request", key=key)
    is_problem(await _patch(hospital, path, **{key: ""}), 400, "invalid_request", key=key)


async def test_codes_are_exchanged_and_freed(hospital: Server) -> None:
    one, other = await hospital.a_doctor(code="SWAP-1"), await hospital.a_doctor(code="SWAP-2")
    is_problem(await _patch(hospital, f"/doctors/{one}", code="swap-2"), 409, "doctor_code_taken")
    assert (await hospital.get(f"/doctors/{one}")).body["code"] == "SWAP-1"
    assert (await _patch(hospital, f"/doctors/{one}", code="swap-1")).body["code"] == "swap-1"  # still theirs
    assert (await _patch(hospital, f"/doctors/{one}", code="SWAP-3")).status == 200
    assert (await _patch(hospital, f"/doctors/{other}", code="SWAP-1")).status == 200
    assert (await _patch(hospital, f"/doctors/{one}", code="SWAP-2")).status == 200
    is_problem(
        await hospital.post("/doctors", {"name": "A", "code": "SWAP-1", "specialty": "S"}), 409, "doctor_code_taken"
    )
    assert (await hospital.post("/doctors", {"name": "A", "code": "SWAP-3", "specialty": "S"})).status == 201


# --- patients ------------------------------------------------------------------------------------


async def test_a_patients_change_keeps_what_is_left_out_and_clears_what_is_null(hospital: Server) -> None:
    full = {"name": "John Doe", "phone": "+1", "birth_date": "1980-05-04", "gender": "male", "mrn": "PATCH-1"}
    made = (await hospital.post("/patients", full | {"private": True})).body
    path = f"/patients/{made['id']}"
    changed = await _patch(hospital, path, name="Jane Doe", phone=None, gender=None, private=False, mrn=None)
    assert changed.status == 200
    assert changed.body == made | {
        "name": "Jane Doe",
        "phone": None,
        "gender": "unknown",
        "private": False,
        "mrn": None,
        "sequence": made["sequence"] + 1,
    }
    assert (await hospital.get(path)).body == changed.body
    assert (await _patch(hospital, path, age=45, birth_date=None)).body["age"] == 45
    same = await _patch(hospital, path, age=45, gender="unknown")
    assert (same.status, same.body["sequence"]) == (200, made["sequence"] + 2)
    is_problem(await _patch(hospital, path, name=None), 400, "invalid_request", key="name")
    is_problem(await _patch(hospital, path, gender="m"), 400, "invalid_request", key="gender")


async def test_record_numbers_are_exchanged_and_freed(hospital: Server) -> None:
    one, other = await hospital.a_patient(mrn="MSWAP-1"), await hospital.a_patient(mrn="MSWAP-2")
    is_problem(await _patch(hospital, f"/patients/{one}", mrn="mswap-2"), 409, "mrn_taken")
    assert (await _patch(hospital, f"/patients/{one}", mrn=None)).status == 200
    assert (await _patch(hospital, f"/patients/{other}", mrn="MSWAP-1")).status == 200
    assert (await _patch(hospital, f"/patients/{one}", mrn="MSWAP-2")).status == 200
    is_problem(await hospital.post("/patients", {"name": "A", "mrn": "MSWAP-1"}), 409, "mrn_taken")


async def test_a_forgotten_patient_is_nobody_to_change(hospital: Server) -> None:
    patient = await hospital.a_patient()
    await hospital.post(f"/patients/{patient}/erase", {"reason": "asked"})
    is_problem(await _patch(hospital, f"/patients/{patient}", name="Back"), 404, "unknown_patient")


@pytest.mark.parametrize("kind", ["doctors", "patients"])
async def test_the_refusals_of_a_change(hospital: Server, kind: str) -> None:
    known = await (hospital.a_doctor() if kind == "doctors" else hospital.a_patient())
    unknown = "unknown_doctor" if kind == "doctors" else "unknown_patient"
    is_problem(await _patch(hospital, f"/{kind}/{UNKNOWN}", name="A", effective_at=LATER), 404, unknown)
    is_problem(await _patch(hospital, f"/{kind}/{known}", name="A", effective_at=LATER), 409, "effective_in_future")
    is_problem(await _patch(hospital, f"/{kind}/{known}", colour="blue"), 400, "invalid_request", key="colour")
    is_problem(await _patch(hospital, f"/{kind}/{known}", id=UNKNOWN), 400, "invalid_request", key="id")
    is_problem(await _patch(hospital, f"/{kind}/x", name="A"), 400, "invalid_request", key=f"{kind[:-1]}_id")
    late = await _patch(hospital, f"/{kind}/{known}", name="A", effective_at="2020-01-01T00:00:00Z")
    assert late.status == 200


@pytest.mark.parametrize("kind", ["doctors", "patients"])
async def test_a_changes_key_is_honoured_once(hospital: Server, kind: str) -> None:
    known, key = await (hospital.a_doctor() if kind == "doctors" else hospital.a_patient()), str(uuid4())
    first = await hospital.call("PATCH", f"/{kind}/{known}", {"name": "Once"}, Idempotency_Key=key)
    again = await hospital.call("PATCH", f"/{kind}/{known}", {"name": "Once"}, Idempotency_Key=key)
    assert (again.status, again.body) == (200, first.body)
    assert again.headers["Idempotency-Replayed"] == "true"
    other = await hospital.call("PATCH", f"/{kind}/{known}", {"name": "Once", "reason": None}, Idempotency_Key=key)
    assert other.status == 200  # null for an absent reason is the same request
    is_problem(
        await hospital.call("PATCH", f"/{kind}/{known}", {"name": "Twice"}, Idempotency_Key=key),
        422,
        "idempotency_key_reused",
    )


# --- as boards and monitors show it --------------------------------------------------------------


async def test_people_are_shown_as_registered_now_on_every_board(hospital: Server, past: str, future: str) -> None:
    doctor, patient = await hospital.a_doctor(), await hospital.a_patient(age=30)
    then = await hospital.an_appointment(doctor, patient, date=past, effective_at=at(past, "08:00"))
    to_come = await hospital.an_appointment(doctor, patient, date=future)
    for day, appointment in ((past, then), (future, to_come)):
        assert (await listed(hospital, day, appointment))["patient"]["name"] == "Priya Raman"
    change = {"name": "Priya Iyer", "phone": "1", "birth_date": "2000-01-01", "gender": "female"}
    changed = (await _patch(hospital, f"/patients/{patient}", **change)).body
    renamed = (await _patch(hospital, f"/doctors/{doctor}", name="Dr. New", code=f"N{uuid4().hex[:6]}")).body
    for day, appointment in ((past, then), (future, to_come)):
        shown = (await listed(hospital, day, appointment))["patient"]
        assert shown | {"age": None} == {
            "id": patient,
            "name": "Priya Iyer",
            "phone": "1",
            "age": None,
            "gender": "female",
        }
        assert shown["age"] == int(day[:4]) - 2000
        snapshot = (await hospital.get(f"/queue?date={day}&doctor_id={doctor}")).body
        assert snapshot["sequence"] == renamed["sequence"] > changed["sequence"]
        assert (snapshot["data"]["doctor"]["name"], snapshot["data"]["doctor"]["code"]) == ("Dr. New", renamed["code"])


async def test_a_monitor_hears_of_a_persons_change_as_an_event_of_nobody_in_particular(
    hospital: Server, future: str
) -> None:
    doctor, patient = await hospital.a_doctor(), await hospital.a_patient()
    await hospital.an_appointment(doctor, patient, date=future)
    async with hospital.monitor() as monitor, hospital.monitor(doctor) as one:
        for socket in (monitor, one):
            await socket.send_json({"action": "subscribe", "date": future})
            assert (await socket.receive_json(timeout=10))["type"] == "snapshot"
        for path, kind in (
            (f"/patients/{patient}", "PatientDetailsChanged"),
            (f"/doctors/{doctor}", "DoctorDetailsChanged"),
        ):
            changed = (await _patch(hospital, path, name="Changed")).body
            for socket in (monitor, one):
                update = await socket.receive_json(timeout=10)
                assert update["sequence"] == changed["sequence"]
                assert update["events"] == [
                    {"sequence": changed["sequence"], "type": kind, "doctor_id": None, "appointment_id": None}
                ]
        block = (await hospital.get(f"/queue?date={future}&doctor_id={doctor}")).body["data"]
        assert (block["doctor"]["name"], block["appointments"][0]["patient"]["name"]) == ("Changed", "Changed")


async def test_a_doctors_room_is_that_of_clinics_opened_afterwards(hospital: Server, future: str) -> None:
    doctor = await hospital.a_doctor(room="Old")
    before = await hospital.call("PUT", f"/clinics/{doctor}/{future}", {"capacity": 3})
    await _patch(hospital, f"/doctors/{doctor}", room="New")
    same = await hospital.call("PUT", f"/clinics/{doctor}/{future}", {"capacity": 3})
    other = await hospital.call("PUT", f"/clinics/{doctor}/2094-04-04", {"capacity": 3})
    assert (before.body["room"], same.body["room"], other.body["room"]) == ("Old", "Old", "New")


# --- search --------------------------------------------------------------------------------------


async def _found(hospital: Server, q: str) -> list[str]:
    answer = await hospital.post("/patients/search", {"q": q})
    assert answer.status == 200
    assert answer.body.keys() == {"patients"}
    return [card["id"] for card in answer.body["patients"]]


async def test_a_patient_is_found_by_beginnings_of_names_phone_and_record_number(hospital: Server) -> None:
    patient = await hospital.a_patient(
        name="Zerlina Quastenflosser-Ünal", phone="+49 151-777 88", mrn="SRCH 0000-00001"
    )
    await hospital.a_patient(name="Somebody Else", phone="+49 151-777 89", mrn="SRCH 0000-00002")
    for q in ("+49 151-777 88", "SRCH 0000-00001"):
        assert await _found(hospital, q) == [patient], q
    for q in ("Zer", "zerlina", "QUAST", "quast zer", "Quastenf", "unal", "+49151777", "49 151 777", "srch0"):
        assert patient in await _found(hospital, q), q
    for q in ("erlina", "zerlina x", "77788", "srch-9"):
        assert patient not in await _found(hospital, q), q
    (card,) = (await hospital.post("/patients/search", {"q": "zerlina"})).body["patients"]
    assert card == (await hospital.get(f"/patients/{patient}")).body


async def test_what_changed_is_found_by_what_it_is_now_and_what_is_forgotten_not_at_all(hospital: Server) -> None:
    patient = await hospital.a_patient(name="Wolfhard Eins", phone="0123987")
    await _patch(hospital, f"/patients/{patient}", name="Wolfhard Zwei", phone=None)
    assert await _found(hospital, "wolfhard zwei") == [patient]
    assert await _found(hospital, "wolfhard eins") == []
    assert await _found(hospital, "0123987") == []
    await hospital.post(f"/patients/{patient}/erase", {"reason": "asked"})
    assert await _found(hospital, "wolfhard") == []


async def test_a_search_answers_fifty_at_most(hospital: Server) -> None:
    for _ in range(51):
        await hospital.a_patient(name="Fiftyfold")
    assert len(await _found(hospital, "fiftyf")) == 50


@pytest.mark.parametrize("body", [{}, {"q": None}, {"q": ""}, {"q": " "}, {"q": 1}, {"q": "x" * 201}])
async def test_a_search_for_nothing_is_400(hospital: Server, body: Any) -> None:
    is_problem(await hospital.post("/patients/search", body), 400, "invalid_request", key="q")


@pytest.mark.parametrize("q", ["-", "%", "_", "'", "\u0301", "🏥", "x" * 200, "a " * 100])
async def test_a_search_takes_any_text(hospital: Server, q: str) -> None:
    assert isinstance(await _found(hospital, q), list)


# --- history and a date's events -----------------------------------------------------------------


async def _a_story(hospital: Server, past: str) -> tuple[str, str, str, list[dict[str, Any]]]:
    """Booked, here, called, moved to another doctor, and that undone."""
    doctor, other = await hospital.a_doctor(), await hospital.a_doctor()
    patient = await hospital.a_patient()
    late = {"effective_at": at(past, "08:00")}
    appointment = await hospital.an_appointment(doctor, patient, date=past, reason="fever", **late)
    await hospital.post("/checkins", {"appointment_id": appointment, "effective_at": at(past, "08:50")})
    for name, body in (
        ("call", {"reason": "very ill"}),
        ("move", {"doctor_id": other, "reason": "wrong door"}),
        ("undo", {"reason": "right door"}),
    ):
        answer = await hospital.post(f"/appointments/{appointment}/{name}", body | {"effective_at": at(past, "09:00")})
        assert answer.status == 200
    history = await hospital.get(f"/appointments/{appointment}/history")
    assert (history.status, history.body.keys()) == (200, {"events"})
    return doctor, other, appointment, history.body["events"]


async def test_a_history_tells_who_when_effective_when_and_why(hospital: Server, past: str) -> None:
    doctor, other, appointment, events = await _a_story(hospital, past)
    assert [(event["type"], event["doctor_id"], event["reason"]) for event in events] == [
        ("AppointmentBooked", doctor, "fever"),
        ("PatientCheckedIn", doctor, None),
        ("PatientCalled", doctor, "very ill"),
        ("AppointmentMovedOut", doctor, "wrong door"),
        ("AppointmentMovedIn", other, "wrong door"),
        ("StepUndone", other, "right door"),
        ("StepUndone", doctor, "right door"),
    ]
    assert all(event.keys() == EVENT for event in events)
    assert [event["sequence"] for event in events] == sorted(event["sequence"] for event in events)
    assert {event["appointment_id"] for event in events} == {appointment}
    assert {event["actor"] for event in events} == {"developer"}
    assert [event["effective_at"] for event in events[:2]] == [at(past, "08:00"), at(past, "08:50")]
    assert all(event["recorded_at"] > event["effective_at"] for event in events)
    assert events[0]["data"]["slot"] == 1
    assert events[4]["data"]["state"]["stage"] == "checked_in"
    assert events[6]["data"]["state"]["called_at"] == at(past, "09:00")


async def test_the_reasons_of_a_forgotten_patient_are_forgotten(hospital: Server, past: str) -> None:
    _, _, appointment, events = await _a_story(hospital, past)
    patient = (await hospital.get(f"/appointments/{appointment}")).body["patient_id"]
    await hospital.post(f"/patients/{patient}/erase", {"reason": "asked"})
    after = (await hospital.get(f"/appointments/{appointment}/history")).body["events"]
    assert after == [event | {"reason": None} for event in events]


async def test_an_unknown_history_is_404(hospital: Server) -> None:
    is_problem(await hospital.get(f"/appointments/{UNKNOWN}/history"), 404, "unknown_appointment")
    is_problem(await hospital.get("/appointments/x/history"), 400, "invalid_request", key="appointment_id")
    doctor = await hospital.a_doctor()
    await hospital.an_appointment(doctor)
    for other in (doctor, await hospital.a_patient()):
        is_problem(await hospital.get(f"/appointments/{other}/history"), 404, "unknown_appointment")
        is_problem(await hospital.get(f"/appointments/{other}"), 404, "unknown_appointment")


async def test_a_dates_events_are_all_of_its_clinics_in_order_and_come_in_pages(hospital: Server, past: str) -> None:
    doctor, _, appointment, history = await _a_story(hospital, past)
    await hospital.post(f"/clinics/{doctor}/{past}/delay", {"minutes": 10, "note": "an emergency", "reason": "told"})
    whole = (await hospital.get(f"/queue/{past}/events")).body
    assert whole.keys() == {"events", "next"}
    assert whole["next"] is None
    events = whole["events"]
    assert [event["type"] for event in events] == [
        "ClinicOpened",
        *["AppointmentBooked", "PatientCheckedIn", "PatientCalled", "AppointmentMovedOut"],
        *["ClinicOpened", "AppointmentMovedIn", "StepUndone", "StepUndone", "ClinicDelayed"],
    ]
    assert [event for event in events if event["appointment_id"] == appointment] == history
    assert (events[-1]["reason"], events[-1]["appointment_id"], events[-1]["doctor_id"]) == ("told", None, doctor)
    assert events[-1]["data"] == {"minutes": 10, "note": "an emergency"}
    assert events[-1]["sequence"] == (await hospital.get(f"/queue?date={past}")).body["sequence"]

    for limit in (1, 3, 9, 10, 11):
        paged: list[Any] = []
        after: int | None = 0
        while after is not None:
            page = (await hospital.get(f"/queue/{past}/events?after={after}&limit={limit}")).body
            assert 1 <= len(page["events"]) <= limit
            paged += page["events"]
            after = page["next"]
        assert paged == events
    assert (await hospital.get(f"/queue/{past}/events?after={events[-1]['sequence']}")).body == {
        "events": [],
        "next": None,
    }


async def test_what_people_change_about_themselves_is_in_no_dates_events(hospital: Server, future: str) -> None:
    doctor, patient = await hospital.a_doctor(), await hospital.a_patient()
    await hospital.an_appointment(doctor, patient, date=future)
    before = (await hospital.get(f"/queue/{future}/events")).body
    await _patch(hospital, f"/patients/{patient}", name="A")
    await _patch(hospital, f"/doctors/{doctor}", name="A")
    assert (await hospital.get(f"/queue/{future}/events")).body == before


@pytest.mark.parametrize(
    ("query", "key"),
    [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=x", "limit"),
        ("after=-1", "after"),
        ("after=x", "after"),
        ("colour=blue", "colour"),
    ],
)
async def test_a_page_that_cannot_be_is_400(hospital: Server, query: str, key: str) -> None:
    is_problem(await hospital.get(f"/queue/2090-01-01/events?{query}"), 400, "invalid_request", key=key)


async def test_a_date_without_events_has_none(hospital: Server, future: str) -> None:
    assert (await hospital.get(f"/queue/{future}/events?limit=1000")).body == {"events": [], "next": None}
    is_problem(await hospital.get("/queue/tomorrow/events"), 400, "invalid_request", key="date")
    reached = (await hospital.post("/patients", {"name": "A"})).body["sequence"]
    assert (await hospital.get(f"/queue/{future}/events?min_sequence={reached}")).status == 200
    is_problem(await hospital.get(f"/queue/{future}/events?min_sequence={reached + 1000}"), 503, "behind")
