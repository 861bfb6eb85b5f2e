"""Many want the same thing at the same moment, through two servers on one database."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta
from typing import Any

import asyncpg

from tests.conftest import Database
from tests.server import Answer, Server
from tests.system.record import of_type, whole_record

Servers = tuple[Server, Server]


async def everywhere(two: Servers, path: str, bodies: Iterable[dict[str, Any]]) -> list[Answer]:
    """All at once, by turns at the one server and at the other."""
    return await asyncio.gather(*[two[number % 2].post(path, body) for number, body in enumerate(bodies)])


async def patients(two: Servers, number: int) -> list[str]:
    answers = await everywhere(two, "/patients", ({"name": f"Patient {n}"} for n in range(number)))
    return [answer.body["id"] for answer in answers]


async def tomorrow(server: Server) -> str:
    return str(date.fromisoformat(await server.today()) + timedelta(days=1))


async def booked_today(two: Servers, doctor: str, number: int) -> list[str]:
    today = await two[0].today()
    bodies = [{"doctor_id": doctor, "patient_id": patient, "date": today} for patient in await patients(two, number)]
    return [answer.body["appointment_id"] for answer in await everywhere(two, "/appointments", bodies)]


def effective_at(row: asyncpg.Record) -> datetime:
    return datetime.fromisoformat(json.loads(row["meta"])["effective_at"])


def outcomes(answers: Sequence[Answer]) -> Counter[tuple[int, str | None]]:
    return Counter((answer.status, answer.code if answer.status >= 400 else None) for answer in answers)


async def test_of_two_hundred_bookings_for_one_slot_one_wins(two: Servers, database: Database) -> None:
    doctor, day = await two[0].a_doctor(), await tomorrow(two[0])
    answers = await everywhere(
        two,
        "/appointments",
        [{"doctor_id": doctor, "patient_id": patient, "date": day, "slot": 7} for patient in await patients(two, 200)],
    )
    assert outcomes(answers) == {(201, None): 1, (409, "slot_taken"): 199}
    (booked,) = of_type(await whole_record(database.admin_url), "appointment-booked")
    (winner,) = (answer for answer in answers if answer.status == 201)
    assert str(booked["subject"]) == winner.body["appointment_id"]
    assert booked["position"] == winner.body["sequence"]


async def test_a_hundred_who_name_no_slot_get_the_hundred_slots_there_are(two: Servers, database: Database) -> None:
    doctor, day = await two[0].a_doctor(), await tomorrow(two[0])
    opened = await two[0].call("PUT", f"/clinics/{doctor}/{day}", {"capacity": 100, "slot_minutes": 5})
    assert opened.status == 200
    people = await patients(two, 101)
    bodies = [{"doctor_id": doctor, "patient_id": patient, "date": day} for patient in people]
    answers = await everywhere(two, "/appointments", bodies[:100])
    assert outcomes(answers) == {(201, None): 100}
    assert sorted(answer.body["slot"] for answer in answers) == list(range(1, 101))
    assert (await two[1].post("/appointments", bodies[100])).code == "clinic_full"
    assert len(of_type(await whole_record(database.admin_url), "appointment-booked")) == 100


async def test_of_forty_doctors_who_book_one_patient_for_one_hour_one_wins(two: Servers, database: Database) -> None:
    day = await tomorrow(two[0])
    doctors = await asyncio.gather(*[two[n % 2].a_doctor() for n in range(40)])
    patient = await two[1].a_patient()
    bodies = [{"doctor_id": doctor, "patient_id": patient, "date": day, "slot": 3} for doctor in doctors]
    answers = await everywhere(two, "/appointments", bodies)
    assert outcomes(answers) == {(201, None): 1, (409, "patient_busy"): 39}
    rows = await whole_record(database.admin_url)
    assert len(of_type(rows, "appointment-booked")) == len(of_type(rows, "time-reserved")) == 1
    assert len(of_type(rows, "clinic-opened")) == 1  # who was refused has opened nothing either


async def test_fifty_who_check_in_one_patient_make_one_ticket(two: Servers, database: Database) -> None:
    doctor = await two[0].a_doctor(code="DOC001")
    (appointment,) = await booked_today(two, doctor, 1)
    answers = await everywhere(two, "/checkins", [{"appointment_id": appointment}] * 50)
    assert outcomes(answers) == {(201, None): 1, (200, None): 49}
    assert {answer.body["queue"]["ticket"] for answer in answers} == {"DOC001-1"}
    assert len({answer.body["sequence"] for answer in answers}) == 1
    assert len(of_type(await whole_record(database.admin_url), "patient-checked-in")) == 1


async def test_forty_who_arrive_together_get_forty_tickets(two: Servers, database: Database) -> None:
    doctor = await two[0].a_doctor(code="DOC001")
    appointments = await booked_today(two, doctor, 40)
    answers = await everywhere(two, "/checkins", ({"appointment_id": appointment} for appointment in appointments))
    assert outcomes(answers) == {(201, None): 40}
    tickets = {answer.body["queue"]["ticket"] for answer in answers}
    assert tickets == {f"DOC001-{number}" for number in range(1, 41)}
    await whole_record(database.admin_url)


async def test_ten_who_call_the_next_call_ten_different_patients(two: Servers, database: Database) -> None:
    doctor = await two[0].a_doctor()
    appointments = await booked_today(two, doctor, 10)
    arrived = await everywhere(two, "/checkins", ({"appointment_id": appointment} for appointment in appointments))
    assert outcomes(arrived) == {(201, None): 10}
    answers = await everywhere(two, "/queue/call-next", [{"doctor_id": doctor}] * 11)
    assert outcomes(answers) == {(200, None): 10, (409, "queue_empty"): 1}
    called = {answer.body["appointment_id"] for answer in answers if answer.status == 200}
    assert called == set(appointments)
    rows = await whole_record(database.admin_url)
    line = sorted(of_type(rows, "patient-checked-in"), key=lambda row: (effective_at(row), row["position"]))
    assert [row["subject"] for row in of_type(rows, "patient-called")] == [row["subject"] for row in line]


async def test_of_forty_doctors_with_one_code_one_is_registered(two: Servers, database: Database) -> None:
    doctor = {"name": "Dr. Amara Okafor", "code": "DOC001", "specialty": "Cardiology"}
    answers = await everywhere(two, "/doctors", [doctor] * 40)
    assert outcomes(answers) == {(201, None): 1, (409, "doctor_code_taken"): 39}
    assert len(of_type(await whole_record(database.admin_url), "doctor-registered")) == 1


async def test_one_request_sent_forty_times_with_one_key_is_carried_out_once(two: Servers, database: Database) -> None:
    doctor, day, patient = await two[0].a_doctor(), await tomorrow(two[0]), await two[0].a_patient()
    body = {"doctor_id": doctor, "patient_id": patient, "date": day}
    answers = await asyncio.gather(*[two[n % 2].post("/appointments", body, Idempotency_Key="once") for n in range(40)])
    assert outcomes(answers) == {(201, None): 40}
    assert len({str(answer.body) for answer in answers}) == 1
    assert sum("Idempotency-Replayed" in answer.headers for answer in answers) == 39
    assert len(of_type(await whole_record(database.admin_url), "appointment-booked")) == 1
