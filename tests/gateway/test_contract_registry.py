"""Doctors and patients: every key of every answer, and every refusal."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from tests.gateway.contract import UNKNOWN, at, is_problem, listed
from tests.server import Server

pytestmark = pytest.mark.asyncio(loop_scope="module")


# --- doctors -------------------------------------------------------------------------------------


async def test_a_doctor_is_answered_with_every_key_that_was_sent_and_null_for_the_others(hospital: Server) -> None:
    sent = {"name": "Dr. Smith", "code": "DOC001", "specialty": "Cardiology"}
    made = await hospital.post("/doctors", sent)
    assert made.status == 201
    assert made.headers["Content-Type"] == "application/json"
    known = {key: made.body[key] for key in ("id", "sequence")}
    assert str(UUID(known["id"])) == known["id"]
    assert known["sequence"] > 0
    assert made.body == sent | {"department": None, "room": None} | known

    full = {"name": "Dr. 李", "code": "doc-2", "specialty": "Neurology", "department": "Heads", "room": "12 B"}
    other = await hospital.post("/doctors", full | {"reason": "new here"})
    assert other.body == full | {"id": other.body["id"], "sequence": known["sequence"] + 1}

    assert (await hospital.get(f"/doctors/{known['id']}")).body == made.body
    everybody = await hospital.get("/doctors")
    assert everybody.status == 200
    assert everybody.body.keys() == {"doctors"}
    assert [card for card in everybody.body["doctors"] if card["id"] in (known["id"], other.body["id"])] == [
        made.body,
        other.body,
    ]  # by code


async def test_null_for_an_optional_key_means_absent(hospital: Server) -> None:
    made = await hospital.post(
        "/doctors",
        {"name": "A", "code": "NULLS", "specialty": "S", "department": None, "room": None, "reason": None}
        | {"effective_at": None},
    )
    assert made.status == 201
    assert (made.body["department"], made.body["room"]) == (None, None)
    patient = await hospital.post(
        "/patients", {"name": "B"} | dict.fromkeys(("phone", "birth_date", "age", "gender", "mrn", "private"))
    )
    assert patient.status == 201


@pytest.mark.parametrize("code", ["TAKEN", "taken", " Taken "])
async def test_two_doctors_never_share_a_code_however_it_is_written(hospital: Server, code: str) -> None:
    first = await hospital.post("/doctors", {"name": "A", "code": "TAKEN", "specialty": "S"})
    assert first.status in (201, 409)
    is_problem(await hospital.post("/doctors", {"name": "B", "code": code, "specialty": "S"}), 409, "doctor_code_taken")


async def test_an_unknown_doctor_is_404(hospital: Server) -> None:
    is_problem(await hospital.get(f"/doctors/{UNKNOWN}"), 404, "unknown_doctor")


# --- patients ------------------------------------------------------------------------------------


async def test_a_patient_is_answered_with_every_key_and_unknown_for_no_gender(hospital: Server) -> None:
    made = await hospital.post("/patients", {"name": "Priya Raman"})
    assert made.status == 201
    assert made.body == {
        "id": made.body["id"],
        "name": "Priya Raman",
        "phone": None,
        "birth_date": None,
        "age": None,
        "gender": "unknown",
        "mrn": None,
        "private": None,
        "sequence": made.body["sequence"],
    }
    full = {"name": "John Doe", "phone": "+1234567890", "age": 45, "gender": "male", "mrn": "MRN-1", "private": True}
    other = await hospital.post("/patients", full)
    assert other.body == full | {
        "id": other.body["id"],
        "birth_date": None,
        "sequence": made.body["sequence"] + 1,
    }
    assert (await hospital.get(f"/patients/{other.body['id']}")).body == other.body


@pytest.mark.parametrize("gender", ["male", "female", "other", "unknown"])
async def test_the_four_genders(hospital: Server, gender: str) -> None:
    assert (await hospital.post("/patients", {"name": "A", "gender": gender})).body["gender"] == gender


async def test_two_patients_never_share_a_medical_record_number(hospital: Server) -> None:
    assert (await hospital.post("/patients", {"name": "A", "mrn": "M-7"})).status == 201
    is_problem(await hospital.post("/patients", {"name": "B", "mrn": "m-7 "}), 409, "mrn_taken")


async def test_an_unknown_patient_is_404(hospital: Server) -> None:
    is_problem(await hospital.get(f"/patients/{UNKNOWN}"), 404, "unknown_patient")
    is_problem(await hospital.post(f"/patients/{UNKNOWN}/erase", {"reason": "asked"}), 404, "unknown_patient")


@pytest.mark.parametrize(
    ("shown_on", "age"), [("2024-02-28", 23), ("2024-02-29", 24), ("2025-02-28", 24), ("2025-03-01", 25)]
)
async def test_age_is_whole_years_on_the_date_shown(hospital: Server, shown_on: str, age: int) -> None:
    doctor = await hospital.a_doctor()
    patient = await hospital.a_patient(birth_date="2000-02-29", age=99)
    booked = await hospital.an_appointment(doctor, patient, date=shown_on, effective_at=at(shown_on, "08:00"))
    assert (await listed(hospital, shown_on, booked))["patient"]["age"] == age


async def test_without_a_birth_date_the_age_is_the_one_that_was_told(hospital: Server, future: str) -> None:
    booked = await hospital.an_appointment(await hospital.a_doctor(), await hospital.a_patient(age=7), date=future)
    assert (await listed(hospital, future, booked))["patient"]["age"] == 7


async def test_an_erased_patient_is_erased_everywhere_and_for_ever(hospital: Server, future: str) -> None:
    doctor = await hospital.a_doctor()
    named: dict[str, Any] = {"name": "Wanda Weg", "phone": "+4912", "gender": "female", "age": 50, "mrn": "GONE-1"}
    patient = await hospital.a_patient(**named)
    booked = await hospital.an_appointment(doctor, patient, date=future)
    before = await hospital.get(f"/appointments/{booked}")

    erased = await hospital.post(f"/patients/{patient}/erase", {"reason": "Wanda Weg asked for it"})
    assert erased.status == 200
    nobody = {
        "id": patient,
        "name": "[erased]",
        "phone": None,
        "birth_date": None,
        "age": None,
        "gender": "unknown",
        "mrn": None,
        "private": None,
        "sequence": erased.body["sequence"],
    }
    assert erased.body == nobody
    assert erased.body["sequence"] > before.body["sequence"]
    assert (await hospital.get(f"/patients/{patient}")).body == nobody
    shown = await listed(hospital, future, booked)
    assert shown["patient"] == {"id": patient, "name": "[erased]", "phone": None, "age": None, "gender": "unknown"}
    assert shown["appointment_id"] == booked

    again = await hospital.post(f"/patients/{patient}/erase", {"reason": "once more"})
    assert (again.status, again.body) == (200, nobody)  # nothing appended: the entry's latest
    is_problem(
        await hospital.post("/appointments", {"doctor_id": doctor, "patient_id": patient, "date": future}),
        404,
        "unknown_patient",
    )
    assert (await hospital.post("/patients", {"name": "Someone else", "mrn": "GONE-1"})).status == 201
    assert (await hospital.post(f"/appointments/{booked}/cancel", {"reason": "gone"})).status == 200


async def test_an_erasure_says_why(hospital: Server) -> None:
    patient = await hospital.a_patient()
    for body in ({}, {"reason": None}, {"reason": ""}):
        is_problem(await hospital.post(f"/patients/{patient}/erase", body), 400, "invalid_request", key="reason")
    assert (await hospital.get(f"/patients/{patient}")).body["name"] != "[erased]"


# --- both ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/doctors", {"name": "A", "code": "LATE-1", "specialty": "S"}),
        ("/patients", {"name": "A"}),
    ],
)
async def test_a_registration_may_be_late_and_never_early(hospital: Server, path: str, body: dict[str, Any]) -> None:
    is_problem(await hospital.post(path, body | {"effective_at": "2999-01-01T00:00:00Z"}), 409, "effective_in_future")
    assert (await hospital.post(path, body | {"effective_at": "2020-01-01T00:00:00Z"})).status == 201


async def test_a_refusal_of_the_time_comes_before_a_code_that_is_taken(hospital: Server) -> None:
    await hospital.a_doctor(code="BOTH")
    body = {"name": "A", "code": "BOTH", "specialty": "S", "effective_at": "2999-01-01T00:00:00Z"}
    is_problem(await hospital.post("/doctors", body), 409, "effective_in_future")
    patient = await hospital.a_patient(mrn="BOTH")
    body = {"name": "A", "mrn": "BOTH", "effective_at": "2999-01-01T00:00:00Z"}
    is_problem(await hospital.post("/patients", body), 409, "effective_in_future")
    is_problem(
        await hospital.post(f"/patients/{patient}/erase", {"reason": "r", "effective_at": "2999-01-01T00:00:00Z"}),
        409,
        "effective_in_future",
    )
