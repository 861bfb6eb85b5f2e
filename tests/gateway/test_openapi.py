"""/openapi.json says what is served, no more and no less, and the server keeps to it whatever is sent."""

from __future__ import annotations

import asyncio
import json
import re
from functools import cache
from typing import Any

import jsonschema_rs
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from gateway.rest.openapi import document
from tests.gateway.contract import PROBLEM, UNKNOWN, at
from tests.server import Server

pytestmark = pytest.mark.asyncio(loop_scope="module")

EXAMPLES = 25
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
WHOLE_CLINIC = ("close", "reopen", "delay", "finish", "reassign")
STEPS = ("call", "recall", "start", "complete", "hold", "resume", "cancel", "no-show", "priority", "move", "undo")
EXPORT = ("GET", "/api/v1/queue/{date}/export")
SERVED = {
    ("PATCH", "/api/v1/doctors/{doctor_id}"),
    ("PATCH", "/api/v1/patients/{patient_id}"),
    ("POST", "/api/v1/patients/search"),
    *(("POST", f"/api/v1/clinics/{{doctor_id}}/{{date}}/{name}") for name in WHOLE_CLINIC),
    *(("POST", f"/api/v1/appointments/{{appointment_id}}/{name}") for name in STEPS),
    ("POST", "/api/v1/walkins"),
    ("GET", "/api/v1/appointments/{appointment_id}/history"),
    ("GET", "/api/v1/queue/{date}/events"),
    EXPORT,
    ("POST", "/api/v1/doctors"),
    ("GET", "/api/v1/doctors"),
    ("GET", "/api/v1/doctors/{doctor_id}"),
    ("POST", "/api/v1/patients"),
    ("GET", "/api/v1/patients/{patient_id}"),
    ("POST", "/api/v1/patients/{patient_id}/erase"),
    ("PUT", "/api/v1/clinics/{doctor_id}/{date}"),
    ("POST", "/api/v1/appointments"),
    ("GET", "/api/v1/appointments/{appointment_id}"),
    ("POST", "/api/v1/checkins"),
    ("POST", "/api/v1/queue/call-next"),
    ("GET", "/api/v1/queue"),
    ("GET", "/api/v1/audit"),
    ("GET", "/api/v1/ledger/checkpoint"),
    ("GET", "/api/v1/ledger/key"),
    ("GET", "/api/v1/ledger/events/{sequence}/proof"),
    ("GET", "/api/v1/ledger/consistency"),
}
SUCCESSES = {
    "/api/v1/audit": {"application/json", "text/csv", "application/fhir+json"},
    "/api/v1/queue/{date}/export": {"application/x-ndjson", "text/csv"},
    "/api/v1/ledger/checkpoint": {"text/plain"},
    "/api/v1/ledger/key": {"text/plain"},
}
"""Where answers are not in JSON, or not only."""


@cache
def _described() -> dict[str, Any]:
    described: dict[str, Any] = json.loads(document())
    return described


async def test_the_document_is_valid_openapi_3_1_and_is_served_as_it_is(hospital: Server) -> None:
    async with hospital._session.get(hospital.url + "/openapi.json") as answer:
        assert (answer.status, answer.content_type) == (200, "application/json")
        served = await answer.json()
    assert served == _described()
    assert served["openapi"].startswith("3.1.")
    schemathesis.openapi.from_dict(served).validate()


async def test_it_lists_the_routes_that_are_served_and_no_others(hospital: Server) -> None:
    listed = {(method.upper(), path) for path, methods in _described()["paths"].items() for method in methods}
    assert listed == SERVED
    for method, path in listed:
        filled = re.sub(r"\{\w+\}", UNKNOWN, path.replace("{date}", "2090-01-01"))
        async with hospital._session.request(method, hospital.url + filled) as answer:
            assert answer.status == 200 or (await answer.json())["code"] not in ("not_found", "method_not_allowed")


async def test_every_operation_names_its_statuses_and_its_problems_alike() -> None:
    problem = _described()["components"]["schemas"]["ProblemDetails"]
    assert set(problem["required"]) == PROBLEM
    names = []
    for path, methods in _described()["paths"].items():
        for method, operation in methods.items():
            names.append(operation["operationId"])
            for status, response in operation["responses"].items():
                good = SUCCESSES.get(path, {"application/json"})
                expected = good if status.startswith("2") else {"application/problem+json"}
                assert set(response["content"]) == expected, (path, status)
            assert {parameter["name"] for parameter in operation["parameters"] if parameter["in"] == "path"} == set(
                re.findall(r"\{(\w+)\}", path)
            )
            keys = {parameter["name"] for parameter in operation["parameters"]}
            assert ("Idempotency-Key" in keys) == (method != "get")
            assert ("min_sequence" in keys) == (method == "get" or path == "/api/v1/patients/search")
    assert len(names) == len(set(names))


class Walk:
    """Sends, and compares every answer with what the document says of it."""

    def __init__(self, hospital: Server) -> None:
        self.hospital = hospital
        self.walked: set[tuple[str, str, int]] = set()

    async def send(self, method: str, template: str, body: Any = None, query: str = "", **ids: str) -> Any:
        answer = await self.hospital.call(method, template.format(**ids) + query, body)
        operation = _described()["paths"]["/api/v1" + template][method.lower()]
        content = operation["responses"][str(answer.status)]["content"]
        schema = content[answer.headers["Content-Type"].partition(";")[0]]["schema"]
        _validator(json.dumps(schema)).validate(answer.body)
        self.walked.add((method, "/api/v1" + template, answer.status))
        return answer.body

    async def take_away(self, date: str) -> None:
        """Between the first line and the last, each is an event as described."""
        described = _described()["paths"][EXPORT[1]]["get"]["responses"]["200"]["content"]
        async with self.hospital._session.get(f"{self.hospital.api}/queue/{date}/export") as answer:
            schema = described[answer.content_type]["x-itemSchema"]
            _, *lines, _ = (await answer.text()).splitlines()
        for line in lines:
            _validator(json.dumps(schema)).validate(json.loads(line))
        assert len(lines) > 10
        self.walked.add((*EXPORT, answer.status))


@cache
def _validator(schema: str) -> jsonschema_rs.Draft202012Validator:
    whole = json.loads(schema) | {"components": _closed(_described()["components"])}
    return jsonschema_rs.Draft202012Validator(whole, validate_formats=True)


def _closed(components: dict[str, Any]) -> dict[str, Any]:
    """What is answered may hold no key that is not described."""
    closed = json.loads(json.dumps(components))
    for schema in closed["schemas"].values():
        schema["additionalProperties"] = False
    return dict(closed)


async def test_every_answer_of_a_walk_through_all_routes_is_what_the_document_says(hospital: Server, past: str) -> None:
    walk = Walk(hospital)
    late = {"effective_at": at(past, "08:00")}
    doctor = (await walk.send("POST", "/doctors", {"name": "A", "code": "WALK", "specialty": "S"}))["id"]
    await walk.send("POST", "/doctors", {"name": "A", "code": "WALK", "specialty": "S"})
    await walk.send("POST", "/doctors", {})
    await walk.send("GET", "/doctors")
    await walk.send("GET", "/doctors/{doctor_id}", doctor_id=doctor)
    await walk.send("GET", "/doctors/{doctor_id}", doctor_id=UNKNOWN)
    full = {"name": "B", "phone": "1", "birth_date": "1980-05-04", "gender": "other", "mrn": "W", "private": False}
    patient = (await walk.send("POST", "/patients", full))["id"]
    other = (await walk.send("POST", "/patients", {"name": "C"}))["id"]
    await walk.send("GET", "/patients/{patient_id}", patient_id=patient)
    await walk.send("PUT", "/clinics/{doctor_id}/{date}", {"capacity": 3} | late, doctor_id=doctor, date=past)
    await walk.send("PUT", "/clinics/{doctor_id}/{date}", {"capacity": 500} | late, doctor_id=doctor, date=past)
    booking = {"doctor_id": doctor, "date": past} | late
    first = (await walk.send("POST", "/appointments", booking | {"patient_id": patient}))["appointment_id"]
    second = (await walk.send("POST", "/appointments", booking | {"patient_id": other}))["appointment_id"]
    await walk.send("POST", "/appointments", booking | {"patient_id": other})
    await walk.send("POST", "/queue/call-next", {"doctor_id": doctor, "date": past})
    for _ in range(2):
        await walk.send("POST", "/checkins", {"appointment_id": first} | late)
    await walk.send("GET", "/queue", query=f"?date={past}")
    await walk.send("GET", "/queue", query=f"?date={past}&doctor_id={doctor}")
    await walk.send("GET", "/queue", query=f"?doctor_id={doctor}")
    await walk.send("GET", "/queue", query="?date=x")
    await walk.send("POST", "/appointments/{appointment_id}/complete", appointment_id=first)
    await walk.send("POST", "/queue/call-next", {"doctor_id": doctor, "date": past})
    await walk.send("POST", "/appointments/{appointment_id}/complete", appointment_id=first)
    await walk.send("POST", "/appointments/{appointment_id}/cancel", appointment_id=second)
    await walk.send("GET", "/appointments/{appointment_id}", appointment_id=second)
    await walk.send("GET", "/appointments/{appointment_id}", appointment_id=first)
    await _through_the_rest(walk, past, doctor, patient)
    await walk.send("GET", "/audit", query=f"?patient_id={patient}")
    await walk.send("GET", "/audit", query=f"?patient_id={UNKNOWN}")
    await walk.send("GET", "/audit", query=f"?date={past}&actor=developer&limit=5")
    await walk.send("GET", "/audit")
    await _through_the_ledger(walk)
    await walk.send("POST", "/patients/{patient_id}/erase", {"reason": "asked"}, patient_id=patient)
    await walk.send("GET", "/queue", query=f"?date={past}")

    assert {(method, path) for method, path, status in walk.walked if status < 300} == SERVED
    created = {path for _, path, status in walk.walked if status == 201}
    made = ("doctors", "patients", "appointments", "checkins", "walkins")
    assert created == {f"/api/v1/{name}" for name in made}


async def _through_the_rest(walk: Walk, day: str, doctor: str, patient: str) -> None:
    """What the clinic's whole day has beside: from a walk-in to the clinic's end."""
    why = {"reason": "so it was"}
    late = {"effective_at": at(day, "08:30")}

    walk_in = {"doctor_id": doctor, "patient_id": patient} | late
    here = (await walk.send("POST", "/walkins", walk_in))["appointment_id"]
    await walk.send("POST", "/walkins", walk_in)

    async def step(name: str, body: Any = None, who: str = here) -> Any:
        return await walk.send("POST", f"/appointments/{{appointment_id}}/{name}", body, appointment_id=who)

    async def clinic(name: str, body: Any = None, of: str = doctor) -> Any:
        return await walk.send("POST", f"/clinics/{{doctor_id}}/{{date}}/{name}", body, doctor_id=of, date=day)

    await step("undo", why | late)
    await step("undo", why)
    await step("undo", why, who=UNKNOWN)
    await step("priority", why | late | {"priority": "urgent"})
    await step("recall", late)
    await walk.send("POST", "/checkins", {"appointment_id": here} | late)
    for name in ("call", "recall", "hold", "resume"):
        await step(name, late | why)
    await walk.send("GET", "/appointments/{appointment_id}", appointment_id=here)
    await walk.send("GET", "/appointments/{appointment_id}/history", appointment_id=here)
    await walk.send("GET", "/appointments/{appointment_id}/history", appointment_id=UNKNOWN)
    other = (await walk.send("POST", "/doctors", {"name": "D", "code": "WALK-2", "specialty": "S"}))["id"]
    await step("move", why | late | {"doctor_id": other, "slot": 999})
    await step("move", why | late | {"doctor_id": other})
    await clinic("finish", of=UNKNOWN)
    await clinic("reassign", why | late | {"to_doctor_id": doctor}, of=other)
    await step("call", why | late)
    await step("start", late)
    await clinic("finish", late)
    await step("complete", late)
    await clinic("reopen")
    await walk.send("POST", "/queue/call-next", {"doctor_id": doctor, "date": day, "complete_current": True})
    again = (await walk.send("POST", "/walkins", walk_in))["appointment_id"]
    await step("no-show", who=again)
    for name, body in (("close", {}), ("reopen", {}), ("delay", {"minutes": 5, "note": "soon"}), ("finish", late)):
        await clinic(name, body)
    await clinic("delay", {"minutes": -1})
    await walk.send("GET", "/queue/{date}/events", query="?limit=2", date=day)
    await walk.send("GET", "/queue/{date}/events", query="?limit=0", date=day)
    await walk.send("GET", "/queue/{date}/export", query="?format=0", date=day)
    await walk.take_away(day)
    await walk.send("PATCH", "/doctors/{doctor_id}", {"room": "7"}, doctor_id=doctor)
    await walk.send("PATCH", "/doctors/{doctor_id}", {"code": "WALK-2"}, doctor_id=doctor)
    await walk.send("PATCH", "/patients/{patient_id}", {"phone": None}, patient_id=patient)
    await walk.send("POST", "/patients/search", {"q": "b"})
    await walk.send("POST", "/patients/search", {})


async def _through_the_ledger(walk: Walk) -> None:
    while isinstance(note := await walk.send("GET", "/ledger/checkpoint"), dict):
        assert note["code"] == "not_sealed"
    size = note.splitlines()[1]
    await walk.send("GET", "/ledger/checkpoint", query=f"?size={2**62}")
    await walk.send("GET", "/ledger/key")
    await walk.send("GET", "/ledger/key", query="?log=unheard-of")
    await walk.send("GET", "/ledger/events/{sequence}/proof", query=f"?size={size}", sequence="1")
    await walk.send("GET", "/ledger/events/{sequence}/proof", sequence=str(2**62))
    await walk.send("GET", "/ledger/events/{sequence}/proof", sequence="0")
    await walk.send("GET", "/ledger/consistency", query=f"?from={size}&to={size}")
    await walk.send("GET", "/ledger/consistency")


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=lambda mode: mode.value)
async def test_whatever_is_sent_is_answered_as_the_document_says(hospital: Server, mode: GenerationMode) -> None:
    known = {"doctor_id": await hospital.a_doctor(), "patient_id": await hospital.a_patient()}
    known["appointment_id"] = await hospital.an_appointment(known["doctor_id"], known["patient_id"])
    schema = schemathesis.openapi.from_dict(_described())

    def throw(operation: Any) -> None:
        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            derandomize=True,
        )
        @given(case=operation.as_strategy(generation_mode=mode), real=st.booleans())
        def one(case: Any, real: bool) -> None:
            if real:  # Made-up ids are unknown: beyond that stands whatever rule comes next.
                for part in (case.path_parameters, case.body):
                    if isinstance(part, dict):
                        part.update({name: value for name, value in known.items() if name in part})
            if str((case.query or {}).get("min_sequence", "")).isdecimal():
                case.query["min_sequence"] = 0  # Beyond the log is 503 `behind`, after two seconds: as it should be.
            case.call_and_validate(base_url=hospital.url, checks=CHECKS)

        one()

    for result in schema.get_all_operations():
        await asyncio.to_thread(throw, result.ok())
