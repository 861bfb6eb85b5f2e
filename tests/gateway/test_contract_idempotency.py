"""The same key and body give the same outcome again, whatever has happened since."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from tests.gateway.contract import is_problem
from tests.server import Answer, Server

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def _head(hospital: Server) -> int:
    async with hospital._session.get(hospital.url + "/readyz") as answer:
        return int((await answer.json())["head"])


async def _is_replayed(hospital: Server, first: Answer, method: str, path: str, body: Any, key: str) -> None:
    """Sent once more, it is answered the same and appends nothing."""
    head = await _head(hospital)
    again = await hospital.call(method, path, body, Idempotency_Key=key)
    assert (again.status, again.body) == (first.status, first.body)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert "Idempotency-Replayed" not in first.headers
    assert await _head(hospital) == head


async def test_every_command_is_honoured_once_though_the_appointment_has_moved_on_since(hospital: Server) -> None:
    today = await hospital.today()
    sent: list[tuple[Answer, str, str, Any, str]] = []

    async def send(path: str, body: Any, method: str = "POST") -> Any:
        key = str(uuid4())
        answer = await hospital.call(method, path, body, Idempotency_Key=key)
        assert answer.status < 300
        sent.append((answer, method, path, body, key))
        return answer.body

    doctor = (await send("/doctors", {"name": "A", "code": "ONCE", "specialty": "S"}))["id"]
    patient = (await send("/patients", {"name": "B", "mrn": "ONCE"}))["id"]
    await send(f"/clinics/{doctor}/{today}", {"capacity": 2}, "PUT")
    await send(f"/clinics/{doctor}/{today}", {"capacity": 2}, "PUT")  # changes nothing
    booking = {"doctor_id": doctor, "patient_id": patient, "date": today, "slot": 1}
    appointment = (await send("/appointments", booking))["appointment_id"]
    other = await hospital.an_appointment(doctor, date=today)
    await send("/checkins", {"appointment_id": appointment})
    await send("/checkins", {"appointment_id": appointment, "reason": "again"})  # changes nothing
    await hospital.post("/checkins", {"appointment_id": other})
    await send("/queue/call-next", {"doctor_id": doctor})
    await send(f"/appointments/{appointment}/complete", {})
    await send(f"/appointments/{other}/cancel", {"reason": "left"})
    await hospital.call("PUT", f"/clinics/{doctor}/{today}", {"capacity": 9, "room": "elsewhere"})

    for command in sent:
        await _is_replayed(hospital, *command)


async def test_who_was_registered_or_changed_is_answered_as_then_though_changed_again_since(hospital: Server) -> None:
    sent: list[tuple[Answer, str, str, Any, str]] = []

    async def send(method: str, path: str, body: Any) -> Any:
        key = str(uuid4())
        sent.append((await hospital.call(method, path, body, Idempotency_Key=key), method, path, body, key))
        return sent[-1][0].body

    doctor = f"/doctors/{(await send('POST', '/doctors', {'name': 'A', 'code': 'THEN', 'specialty': 'S'}))['id']}"
    patient = f"/patients/{(await send('POST', '/patients', {'name': 'B', 'phone': '1'}))['id']}"
    for person in (doctor, patient):
        await send("PATCH", person, {"name": "C"})
        await send("PATCH", person, {"name": "C"})  # changes nothing
        await hospital.call("PATCH", person, {"name": "D"})
    for command in sent:
        await _is_replayed(hospital, *command)

    registered = (await hospital.call("GET", patient)).body
    assert registered["name"] == "D"
    erased = await hospital.post(f"{patient}/erase", {"reason": "asked for it"})
    for first, method, path, body, key in sent:
        if path.startswith("/patients"):
            again = await hospital.call(method, path, body, Idempotency_Key=key)
            assert again.body == erased.body | {"sequence": first.body["sequence"]}


async def test_an_erasure_is_honoured_once(hospital: Server) -> None:
    patient = await hospital.a_patient()
    path, body = f"/patients/{patient}/erase", {"reason": "asked for it"}
    first = await hospital.post(path, body, Idempotency_Key="erase-1")
    await _is_replayed(hospital, first, "POST", path, body, "erase-1")


async def test_the_same_key_with_another_request_is_422(hospital: Server) -> None:
    body = {"name": "A", "specialty": "S"}
    assert (await hospital.post("/doctors", body | {"code": "K1"}, Idempotency_Key="one")).status == 201
    is_problem(
        await hospital.post("/doctors", body | {"code": "K2"}, Idempotency_Key="one"), 422, "idempotency_key_reused"
    )
    is_problem(await hospital.post("/patients", {"name": "A"}, Idempotency_Key="one"), 422, "idempotency_key_reused")
    # The same words in another order, or null for what is absent, are the same request.
    again = await hospital.post(
        "/doctors", {"specialty": "S", "room": None, "code": "K1", "name": "A"}, Idempotency_Key="one"
    )
    assert again.headers["Idempotency-Replayed"] == "true"


async def test_a_path_is_part_of_the_request(hospital: Server) -> None:
    doctor = await hospital.a_doctor()
    first, second = [await hospital.an_appointment(doctor) for _ in range(2)]
    assert (await hospital.post(f"/appointments/{first}/cancel", Idempotency_Key="path")).status == 200
    is_problem(
        await hospital.post(f"/appointments/{second}/cancel", Idempotency_Key="path"), 422, "idempotency_key_reused"
    )
    is_problem(
        await hospital.post(f"/appointments/{first}/complete", Idempotency_Key="path"), 422, "idempotency_key_reused"
    )


async def test_a_refusal_is_not_remembered_but_decided_again(hospital: Server) -> None:
    doctor = await hospital.a_doctor()
    today = await hospital.today()
    await hospital.call("PUT", f"/clinics/{doctor}/{today}", {"capacity": 1})
    taken = await hospital.an_appointment(doctor)
    body = {"doctor_id": doctor, "patient_id": await hospital.a_patient(), "date": today}
    is_problem(await hospital.post("/appointments", body, Idempotency_Key="try"), 409, "clinic_full")
    await hospital.post(f"/appointments/{taken}/cancel")
    made = await hospital.post("/appointments", body, Idempotency_Key="try")
    assert made.status == 201
    assert "Idempotency-Replayed" not in made.headers
    await _is_replayed(hospital, made, "POST", "/appointments", body, "try")


@pytest.mark.parametrize(
    ("key", "good"),
    [("k" * 200, True), ("k" * 201, False), ("ü" * 200, True), ("ü" * 201, False), ('a b;c,"d"', True)],
)
async def test_a_key_is_any_text_up_to_200_characters(hospital: Server, key: str, good: bool) -> None:
    first = await hospital.post("/patients", {"name": "A"}, Idempotency_Key=key)
    if good:
        assert first.status == 201
        await _is_replayed(hospital, first, "POST", "/patients", {"name": "A"}, key)
    else:
        is_problem(first, 400, "invalid_request", key="Idempotency-Key")


async def test_of_many_at_once_one_is_carried_out_and_all_are_told_the_same(hospital: Server) -> None:
    head = await _head(hospital)
    answers = await asyncio.gather(
        *[hospital.post("/patients", {"name": "A", "mrn": "AT-ONCE"}, Idempotency_Key="at once") for _ in range(20)]
    )
    assert {answer.status for answer in answers} == {201}
    assert len({answer.body["id"] for answer in answers}) == 1
    assert sum("Idempotency-Replayed" not in answer.headers for answer in answers) == 1
    assert await _head(hospital) == head + 1
