"""GET /queue, min_sequence, and the probes."""

from __future__ import annotations

from typing import Any

import pytest

from tests.gateway.contract import (
    CLINIC_BLOCK,
    DOCTOR_DAY,
    SHOWN_DOCTOR,
    SNAPSHOT,
    TIME,
    UNKNOWN,
    at,
    is_block,
    is_day,
    is_problem,
)
from tests.server import Server

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_date_without_clinics_is_an_empty_day(hospital: Server, future: str) -> None:
    answer = await hospital.get(f"/queue?date={future}")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    assert answer.body.keys() == SNAPSHOT
    assert (answer.body["type"], answer.body["sequence"]) == ("snapshot", 0)
    is_day(answer.body["data"])
    assert answer.body["data"] | {"timestamp": None} == {
        "date": future,
        "total_appointments": 0,
        "total_doctors": 0,
        "doctors": [],
        "timestamp": None,
    }


async def test_a_day_shows_all_doctors_by_code_and_their_appointments_by_slot(hospital: Server, past: str) -> None:
    b, a = await hospital.a_doctor(code="ORD-B"), await hospital.a_doctor(code="ORD-A", name="Dr. Smith")
    patient = await hospital.a_patient(name="John Doe", phone="+1234567890", age=45, gender="male")
    entered = {"date": past, "effective_at": at(past, "08:00")}
    third = await hospital.an_appointment(a, slot=3, **entered)
    first = await hospital.an_appointment(a, patient, slot=1, **entered)
    gone = await hospital.an_appointment(a, slot=2, **entered)
    await hospital.an_appointment(b, **entered)
    await hospital.post(f"/appointments/{gone}/cancel")
    await hospital.post("/checkins", {"appointment_id": first, "effective_at": at(past, "09:15")})

    answer = (await hospital.get(f"/queue?date={past}")).body
    is_day(answer["data"])
    assert [block["doctor"]["code"] for block in answer["data"]["doctors"]] == ["ORD-A", "ORD-B"]
    block = answer["data"]["doctors"][0]
    assert block["doctor"] == {"id": a, "name": "Dr. Smith", "code": "ORD-A", "specialty": "Cardiology"}
    assert [shown["appointment_id"] for shown in block["appointments"]] == [first, third]
    assert block["appointments"][0] == {
        "appointment_id": first,
        "slot": 1,
        "status": "confirmed",
        "priority": "routine",
        "patient": {"id": patient, "name": "John Doe", "phone": "+1234567890", "age": 45, "gender": "male"},
        "queue": {
            "position": 1,
            "checked_in_at": at(past, "09:15"),
            "called_at": None,
            "completed_at": None,
            "status": "checked_in",
            "ticket": "ORD-A-1",
        },
    }
    assert (block["total_appointments"], block["checked_in_count"]) == (2, 1)
    assert (block["clinic"]["booked"], block["clinic"]["free"], block["clinic"]["waiting"]) == (2, 38, 1)

    one = (await hospital.get(f"/queue?date={past}&doctor_id={a}")).body
    assert one.keys() == SNAPSHOT
    assert (one["epoch"], one["sequence"]) == (answer["epoch"], answer["sequence"])
    assert one["data"].keys() == DOCTOR_DAY
    is_block({key: one["data"][key] for key in block})
    assert {key: one["data"][key] for key in block} == block


async def test_one_doctor_without_a_clinic_that_day(hospital: Server, future: str) -> None:
    doctor = await hospital.a_doctor()
    answer = (await hospital.get(f"/queue?date={future}&doctor_id={doctor}")).body
    assert answer["sequence"] == (await hospital.get(f"/doctors/{doctor}")).body["sequence"]  # who is all that is shown
    assert answer["data"]["doctor"].keys() == SHOWN_DOCTOR
    assert TIME.fullmatch(answer["data"]["timestamp"])
    assert {key: value for key, value in answer["data"].items() if key not in ("doctor", "timestamp")} == {
        "date": future,
        "total_appointments": 0,
        "checked_in_count": 0,
        "clinic": None,
        "appointments": [],
    }
    await hospital.call("PUT", f"/clinics/{doctor}/{future}", {"capacity": 3})
    answer = (await hospital.get(f"/queue?date={future}&doctor_id={doctor}")).body
    assert answer["data"]["clinic"].keys() == CLINIC_BLOCK
    assert answer["data"]["appointments"] == []


async def test_the_date_defaults_to_today(hospital: Server) -> None:
    appointment = await hospital.an_appointment(await hospital.a_doctor())
    checked_in = (await hospital.post("/checkins", {"appointment_id": appointment})).body  # not_today otherwise
    today = (await hospital.get("/queue")).body["data"]["date"]
    assert checked_in["date"] == today
    assert checked_in["queue"]["checked_in_at"].startswith(today)


@pytest.mark.parametrize(
    ("query", "key"),
    [
        ("date=", "date"),
        ("date=today", "date"),
        ("date=2025-1-1", "date"),
        ("date=2025-02-30", "date"),
        ("date=2025-11-17T00:00:00", "date"),
        ("date=2025-11-17&date=2025-11-17", "date"),
        ("doctor_id=", "doctor_id"),
        ("doctor_id=DOC001", "doctor_id"),
        ("min_sequence=-1", "min_sequence"),
        ("min_sequence=1.0", "min_sequence"),
        ("min_sequence=1e2", "min_sequence"),
        ("min_sequence=x", "min_sequence"),
        ("min_sequence=9223372036854775808", "min_sequence"),
        ("colour=blue", "colour"),
        ("%ff=1", "\ufffd"),
        ("%00=1", "\x00"),
    ],
)
async def test_a_query_that_says_nothing_sensible_is_400(hospital: Server, query: str, key: str) -> None:
    is_problem(await hospital.get(f"/queue?{query}"), 400, "invalid_request", key=key)


async def test_unknown_parameters_are_an_error_on_every_route(hospital: Server) -> None:
    for path in ("/doctors", f"/doctors/{UNKNOWN}", f"/patients/{UNKNOWN}", f"/appointments/{UNKNOWN}"):
        is_problem(await hospital.get(path + "?colour=blue"), 400, "invalid_request", key="colour")
    is_problem(await hospital.post("/patients?colour=blue", {"name": "A"}), 400, "invalid_request", key="colour")


async def test_an_unknown_doctors_queue_is_404(hospital: Server) -> None:
    is_problem(await hospital.get(f"/queue?doctor_id={UNKNOWN}"), 404, "unknown_doctor")


async def test_a_read_waits_for_the_sequence_it_asks_for_and_then_says_behind(hospital: Server) -> None:
    doctor = await hospital.a_doctor()
    patient = (await hospital.post("/patients", {"name": "A"})).body
    appointment = await hospital.an_appointment(doctor)
    reached = (await hospital.get(f"/appointments/{appointment}")).body["sequence"]
    paths = [
        "/queue",
        "/doctors",
        f"/doctors/{doctor}",
        f"/patients/{patient['id']}",
        f"/appointments/{appointment}",
    ]
    for path in paths:
        assert (await hospital.get(f"{path}?min_sequence={reached}")).status == 200
    is_problem(late := await hospital.get(f"/queue?min_sequence={reached + 1000}"), 503, "behind")
    assert int(late.headers["Retry-After"]) > 0


async def test_the_probes_need_nothing_and_say_little(hospital: Server) -> None:
    async def root(path: str) -> tuple[int, Any]:
        async with hospital._session.get(hospital.url + path) as answer:
            return answer.status, await answer.json()

    assert (await root("/healthz"))[0] == 200
    status, body = await root("/readyz")
    assert status == 200
    assert body["head"] == body["position"]
    status, document = await root("/openapi.json")
    assert (status, document["openapi"][:4]) == (200, "3.1.")


@pytest.mark.parametrize("path", ["/queue", "/doctors"])
async def test_head_is_get_without_the_body(hospital: Server, path: str) -> None:
    async with hospital._session.head(hospital.api + path) as answer:
        assert (answer.status, await answer.read()) == (200, b"")
        assert answer.headers["Content-Type"] == "application/json"
