"""Who looked, as a FHIR R4 Bundle of AuditEvents: what others' tools take in."""

from __future__ import annotations

import json
import warnings
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from domain.audit.codec import Viewer, to_draft
from tests.audit.expected import AT, EXPECTED
from tests.conftest import Database
from tests.gateway.contract import at
from tests.server import Server

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of that package's own
    from fhir.resources.R4B.auditevent import AuditEvent
    from fhir.resources.R4B.bundle import Bundle

pytestmark = pytest.mark.asyncio(loop_scope="module")

DICOM = "http://dicom.nema.org/resources/ontology/DCM"


async def bundle(server: Server, query: str) -> dict[str, Any]:
    """Valid, and every event in it an AuditEvent that says the same again."""
    async with server._session.get(
        f"{server.api}/audit?{query}", headers={"Accept": "application/fhir+json"}
    ) as answer:
        assert (answer.status, answer.content_type) == (200, "application/fhir+json")
        told: dict[str, Any] = await answer.json(content_type=None)
    assert Bundle.model_validate(told).type == "searchset"
    for entry in told.get("entry", []):
        event = AuditEvent.model_validate(entry["resource"])
        again = json.loads(event.model_dump_json())
        assert {key: again[key] for key in ("id", "type", "action", "outcome", "agent", "entity")} == {
            key: entry["resource"][key] for key in ("id", "type", "action", "outcome", "agent", "entity")
        }
    return told


def of(told: dict[str, Any], kind: str) -> dict[str, Any]:
    """The one event of this kind."""
    (found,) = [
        entry["resource"] for entry in told["entry"] if entry["resource"]["entity"][-1]["name"] == f"daysheet {kind}"
    ]
    return dict(found)


def references(event: dict[str, Any]) -> list[str]:
    return [entity["what"]["reference"] for entity in event["entity"] if "what" in entity]


def codes(event: dict[str, Any]) -> tuple[str, str | None, str, str]:
    """type, subtype, action, outcome"""
    subtype = event["subtype"][0]["code"] if "subtype" in event else None
    return event["type"]["code"], subtype, event["action"], event["outcome"]


async def test_what_happened_around_a_patient_is_a_valid_bundle_of_audit_events(hospital: Server, past: str) -> None:
    doctor, patient = await hospital.a_doctor(), await hospital.a_patient(name="Ottoline Vex")
    late = {"effective_at": at(past, "08:00")}
    appointment = await hospital.an_appointment(doctor, patient, date=past, **late)
    await hospital.call("GET", f"/patients/{patient}", X_Request_ID="round-7")
    await hospital.post("/patients/search", {"q": "ottoline"})
    await hospital.get(f"/appointments/{appointment}/history")
    await hospital.get(f"/queue?date={past}&doctor_id={doctor}")
    await hospital.get(f"/queue/{past}/events")
    async with hospital.monitor() as monitor:
        await monitor.send_json({"action": "subscribe", "date": past, "view": "public"})
        await monitor.receive_json()
        await monitor.send_json({"action": "unsubscribe"})
        await monitor.receive_json()
    await hospital.get(f"/audit?patient_id={patient}")
    await hospital.post(f"/patients/{patient}/erase", {"reason": "asked for it"})
    told = await bundle(hospital, f"patient_id={patient}")

    viewed = of(told, "patient-viewed")
    assert codes(viewed) == ("rest", "read", "R", "0")
    assert references(viewed) == [f"Patient/{patient}"]
    assert viewed["agent"] == [
        {
            "role": [{"text": "developer"}],
            "who": {"identifier": {"value": "developer"}},
            "requestor": True,
            "network": {"address": "127.0.0.1", "type": "2"},
        }
    ]
    assert viewed["source"]["observer"]["display"] == "Daysheet"
    assert {"type": "correlation_id", "valueString": "round-7"} in viewed["entity"][-1]["detail"]
    assert codes(of(told, "patients-searched")) == ("110112", "search", "E", "0")
    assert of(told, "patients-searched")["type"]["system"] == DICOM
    assert codes(of(told, "history-viewed")) == ("rest", "history-instance", "R", "0")
    assert references(of(told, "history-viewed")) == [f"Patient/{patient}", f"Appointment/{appointment}"]
    assert references(of(told, "board-viewed")) == [f"Patient/{patient}", f"Practitioner/{doctor}"]
    assert codes(of(told, "day-events-viewed")) == ("rest", "history-type", "R", "0")
    watched = of(told, "subscription")
    assert codes(watched) == ("110110", "read", "R", "0")
    assert watched["period"].keys() == {"start", "end"}
    assert {"type": "view", "valueString": "public"} in watched["entity"][-1]["detail"]
    assert codes(of(told, "audit-viewed")) == ("110101", None, "R", "0")
    commands = [
        entry["resource"] for entry in told["entry"] if entry["resource"]["entity"][-1]["name"] == "daysheet command"
    ]
    assert [codes(command)[1:3] for command in commands] == [("create", "C"), ("create", "C"), ("delete", "D")]
    assert "Ottoline" not in json.dumps(told)


async def test_every_event_has_an_address_of_its_own_that_stays(hospital: Server, past: str) -> None:
    patient = await hospital.a_patient()
    await hospital.get(f"/patients/{patient}")
    one, other = [await bundle(hospital, f"patient_id={patient}&limit=2") for _ in range(2)]
    assert one["entry"] == other["entry"]
    assert len({entry["fullUrl"] for entry in one["entry"]}) == 2


async def test_pages_are_linked(hospital: Server, past: str) -> None:
    patient = await hospital.a_patient()
    for _ in range(2):
        await hospital.get(f"/patients/{patient}")
    first = await bundle(hospital, f"patient_id={patient}&limit=1")
    links = {link["relation"]: link["url"] for link in first["link"]}
    assert links.keys() == {"self", "next"}
    second = await bundle(hospital, links["next"].partition("?")[2])
    assert second["entry"][0]["resource"]["id"] != first["entry"][0]["resource"]["id"]


async def test_nothing_is_a_bundle_too(hospital: Server) -> None:
    assert "entry" not in await bundle(hospital, "actor=nobody")


KINDS = {
    "patient-viewed": ("rest", "read", "R", "0"),
    "patients-searched": ("110112", "search", "E", "0"),
    "history-viewed": ("rest", "history-instance", "R", "0"),
    "board-viewed": ("rest", "search", "E", "0"),
    "subscription": ("110110", "read", "R", "0"),
    "replay": ("110110", "history-type", "R", "0"),
    "day-events-viewed": ("rest", "history-type", "R", "0"),
    "export-made": ("110106", None, "R", "0"),
    "audit-viewed": ("110101", None, "R", "0"),
    "access-denied": ("110113", "110132", "E", "4"),
    "recording-interrupted": ("110113", "110133", "E", "8"),
}


async def test_every_kind_of_look_is_a_valid_audit_event(hospital: Server, module_database: Database) -> None:
    somebody = Viewer(actor="desk-of-all-kinds", role="reception", address="2001:db8::7", correlation_id="7f3a")
    admin = await asyncpg.connect(module_database.admin_url)
    for look in EXPECTED.values():
        draft = to_draft(look, somebody, AT, stream=f"subscription/{uuid4()}", version=1)
        columns = [[getattr(draft, name)] for name in draft.__slots__]
        await admin.execute("SELECT daysheet.record_access($1, $2, $3, $4, $5, $6, $7)", *columns)
    await admin.close()
    told = await bundle(hospital, f"actor={somebody.actor}")
    by_kind = {entry["resource"]["entity"][-1]["name"]: entry["resource"] for entry in told["entry"]}
    assert {kind: codes(by_kind[f"daysheet {kind}"]) for kind in KINDS} == KINDS
    assert len(told["entry"]) == len(EXPECTED)
    assert {entry["resource"]["agent"][0]["network"]["address"] for entry in told["entry"]} == {"2001:db8::7"}
