"""The record of who looked, as FHIR R4: a Bundle of AuditEvents (https://hl7.org/fhir/R4/auditevent.html).

Codes are DICOM's (PS3.16, as FHIR's value sets name them) and FHIR's own for RESTful interactions. Patients,
appointments and doctors are named by reference, by the ids that they have here, and by nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal
from uuid import NAMESPACE_URL, uuid5

import msgspec

from projections.onlookers import AuditRecord, Kind

MEDIA_TYPE: Final = "application/fhir+json"

Action = Literal["C", "R", "U", "D", "E"]
Coding = dict[str, str]

_TERMINOLOGY: Final = "http://terminology.hl7.org/CodeSystem"


def _dicom(code: str, display: str) -> Coding:
    return {"system": "http://dicom.nema.org/resources/ontology/DCM", "code": code, "display": display}


def _restful(code: str) -> Coding:
    return {"system": "http://hl7.org/fhir/restful-interaction", "code": code, "display": code}


_REST: Final[Coding] = {"system": f"{_TERMINOLOGY}/audit-event-type", "code": "rest", "display": "RESTful Operation"}
_PATIENT_RECORD: Final = _dicom("110110", "Patient Record")
_QUERY: Final = _dicom("110112", "Query")
_ALERT: Final = _dicom("110113", "Security Alert")
_PERSON: Final[Coding] = {"system": f"{_TERMINOLOGY}/audit-entity-type", "code": "1", "display": "Person"}
_OBJECT: Final[Coding] = {"system": f"{_TERMINOLOGY}/audit-entity-type", "code": "2", "display": "System Object"}
_APPLICATION_SERVER: Final[Coding] = {
    "system": f"{_TERMINOLOGY}/security-source-type",
    "code": "4",
    "display": "Application Server",
}
_IP_ADDRESS: Final = "2"


@dataclass(frozen=True, slots=True)
class _Sort:
    """What kind of AuditEvent it is."""

    type: Coding
    subtype: Coding | None
    action: Action


_SORTS: Final[Mapping[Kind, _Sort]] = {
    "patient-viewed": _Sort(_REST, _restful("read"), "R"),
    "patients-searched": _Sort(_QUERY, _restful("search"), "E"),
    "history-viewed": _Sort(_REST, _restful("history-instance"), "R"),
    "board-viewed": _Sort(_REST, _restful("search"), "E"),
    "subscription": _Sort(_PATIENT_RECORD, _restful("read"), "R"),
    "replay": _Sort(_PATIENT_RECORD, _restful("history-type"), "R"),
    "day-events-viewed": _Sort(_REST, _restful("history-type"), "R"),
    "export-made": _Sort(_dicom("110106", "Export"), None, "R"),
    "audit-viewed": _Sort(_dicom("110101", "Audit Log Used"), None, "R"),
    "access-denied": _Sort(_ALERT, _dicom("110132", "Use of Restricted Function"), "E"),
    "recording-interrupted": _Sort(_ALERT, _dicom("110133", "Audit Recording Stopped"), "E"),
    "command": _Sort(_REST, _restful("update"), "U"),
}
_CREATES: Final = frozenset({"DoctorRegistered", "PatientRegistered", "ClinicOpened", "AppointmentBooked"})
_DELETES: Final = frozenset({"PatientErased"})


def bundle(records: Sequence[AuditRecord], *, log: str, links: Mapping[str, str]) -> dict[str, Any]:
    """A page of records as a Bundle of the type searchset. `log` names the log that they come from; `links` are
    addresses by relation, `self` and `next`."""
    entries = [
        {"fullUrl": _full_url(record, log), "resource": audit_event(record, log), "search": {"mode": "match"}}
        for record in records
    ]
    told: dict[str, Any] = {"resourceType": "Bundle", "type": "searchset"}
    told["link"] = [{"relation": relation, "url": url} for relation, url in links.items()]
    return told | ({"entry": entries} if entries else {})


def audit_event(record: AuditRecord, log: str) -> dict[str, Any]:
    """One record as an AuditEvent."""
    sort = _sort(record)
    event: dict[str, Any] = {"resourceType": "AuditEvent", "id": _id(record), "type": sort.type}
    if sort.subtype is not None:
        event["subtype"] = [sort.subtype]
    event |= {"action": sort.action, "recorded": record.recorded_at, "outcome": _outcome(record)}
    if record.kind in ("subscription", "replay"):
        named = {"start": record.detail["started_at"], "end": record.detail["ended_at"]}
        event["period"] = {name: at for name, at in named.items() if at is not None}
    observer = {"identifier": {"value": log}, "display": "Daysheet"}
    event |= {"agent": [_agent(record)], "source": {"observer": observer, "type": [_APPLICATION_SERVER]}}
    return event | {"entity": list(_entities(record))}


def _sort(record: AuditRecord) -> _Sort:
    if record.type in _CREATES:
        return _Sort(_REST, _restful("create"), "C")
    if record.type in _DELETES:
        return _Sort(_REST, _restful("delete"), "D")
    return _SORTS[record.kind]


def _outcome(record: AuditRecord) -> str:
    """0 success, 4 minor failure, 8 serious failure."""
    if record.kind == "recording-interrupted":
        return "8" if record.detail["lost"] else "4"
    return "4" if record.kind == "access-denied" else "0"


def _agent(record: AuditRecord) -> dict[str, Any]:
    agent: dict[str, Any] = {
        "role": [{"text": record.role}],
        "who": {"identifier": {"value": record.actor}},
        "requestor": record.kind != "recording-interrupted",
    }
    if record.address is not None:
        agent["network"] = {"address": record.address, "type": _IP_ADDRESS}
    return agent


def _entities(record: AuditRecord) -> Iterator[dict[str, Any]]:
    """Who and what was seen, and last how: everything else that the record tells."""
    patients = dict.fromkeys([record.patient_id, *record.detail.get("patients", ())])
    for patient_id in patients:
        if patient_id is not None:
            yield _entity(f"Patient/{patient_id}", _PERSON, "1", "Patient")
    if record.appointment_id is not None:
        yield _entity(f"Appointment/{record.appointment_id}", _OBJECT, "4", "Domain Resource")
    if record.doctor_id is not None:
        yield _entity(f"Practitioner/{record.doctor_id}", _PERSON, "15", "Practitioner")
    told = {
        "kind": record.kind,
        "at": record.at,
        "event": record.type,
        "date": record.date.isoformat() if record.date is not None else None,
        "through": record.through,
        "correlation_id": record.correlation_id,
        **{name: value for name, value in record.detail.items() if name != "patients"},
    }
    details = [{"type": name, "valueString": _text(value)} for name, value in told.items() if value is not None]
    yield {"type": _OBJECT, "name": f"daysheet {record.kind}", "detail": details}


def _entity(reference: str, type_: Coding, role: str, display: str) -> dict[str, Any]:
    coded = {"system": f"{_TERMINOLOGY}/object-role", "code": role, "display": display}
    return {"what": {"reference": reference}, "type": type_, "role": coded}


def _text(value: Any) -> str:
    return value if isinstance(value, str) and value else msgspec.json.encode(value).decode()


def _id(record: AuditRecord) -> str:
    return f"look-{record.position}" if record.position is not None else f"event-{record.sequence}"


def _full_url(record: AuditRecord, log: str) -> str:
    return f"urn:uuid:{uuid5(NAMESPACE_URL, f'{log}/{_id(record)}')}"
