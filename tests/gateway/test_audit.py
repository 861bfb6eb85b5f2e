"""GET /audit: who saw this patient, who looked at this date, what did this person do."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from tests.conftest import Database
from tests.gateway.contract import TIME, UNKNOWN, at, is_problem
from tests.server import Server

pytestmark = pytest.mark.asyncio(loop_scope="module")

RECORD = {
    "kind", "at", "recorded_at", "actor", "role", "address", "correlation_id", "through", "patient_id",
    "appointment_id", "doctor_id", "date", "position", "sequence", "type", "detail",
}  # fmt: skip
COMMAND = "command"


async def audit(server: Server, **asked: Any) -> list[dict[str, Any]]:
    """All records, page after page."""
    records: list[dict[str, Any]] = []
    after: str | None = ""
    while after is not None:
        query = "&".join(f"{name}={value}" for name, value in asked.items()) + (f"&after={after}" if after else "")
        answer = await server.get(f"/audit?{query}")
        assert answer.status == 200, answer
        assert answer.body.keys() == {"records", "next"}
        records += answer.body["records"]
        after = answer.body["next"]
    for record in records:
        assert record.keys() == RECORD
        assert TIME.fullmatch(record["at"])
        assert TIME.fullmatch(record["recorded_at"])
        assert (record["kind"] == COMMAND) == (record["position"] is None) == (record["sequence"] is not None)
    return records


async def looks(server: Server, **asked: Any) -> list[dict[str, Any]]:
    """The same without commands, and without those who asked for the same."""
    records = await audit(server, **asked)
    return [record for record in records if record["kind"] not in (COMMAND, "audit-viewed")]


async def text(server: Server, path: str, **headers: str) -> tuple[str, str, Any]:
    """Media type, body and headers."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with server._session.get(server.api + path, headers=named) as answer:
        assert answer.status == 200
        return answer.content_type, await answer.text(), answer.headers


@asynccontextmanager
async def watching(server: Server, day: str, doctor_id: str | None = None, **keys: Any) -> AsyncIterator[None]:
    """A monitor that has its first state, and is gone afterwards."""
    async with server.monitor(doctor_id) as monitor:
        await monitor.send_json({"action": "subscribe", "date": day} | keys)
        assert (await monitor.receive_json())["type"] == "snapshot"
        yield
        await monitor.send_json({"action": "unsubscribe"})
        while (await monitor.receive_json())["type"] != "unsubscribed":
            pass


async def watched(server: Server, patient: str) -> list[tuple[str | None, str]]:
    """Who watched this patient on boards: through which doctor's path, in which view."""
    records = await looks(server, patient_id=patient)
    return [(one["doctor_id"], one["detail"]["view"]) for one in records if one["kind"] == "subscription"]


async def booked(server: Server, day: str, **keys: Any) -> tuple[str, str, str]:
    """(doctor, patient, appointment)"""
    doctor, patient = await server.a_doctor(**keys), await server.a_patient()
    effective_at = {"effective_at": at(day, "08:00")} if day < "2090" else {}
    return doctor, patient, await server.an_appointment(doctor, patient, date=day, **effective_at)


# --- who saw this patient ------------------------------------------------------------------------


async def test_a_look_at_a_patient_says_who_when_and_from_where(hospital: Server) -> None:
    patient = await hospital.a_patient()
    await hospital.call("GET", f"/patients/{patient}", X_Request_ID="round-7")
    (look,) = await looks(hospital, patient_id=patient)
    assert {key: value for key, value in look.items() if key not in ("at", "recorded_at", "position")} == {
        "kind": "patient-viewed",
        "actor": "developer",
        "role": "developer",
        "address": "127.0.0.1",
        "correlation_id": "round-7",
        "through": "patient",
        "patient_id": patient,
        "appointment_id": None,
        "doctor_id": None,
        "date": None,
        "sequence": None,
        "type": None,
        "detail": {},
    }


async def test_a_search_tells_whom_it_found_and_not_what_was_asked(hospital: Server, module_database: Database) -> None:
    patient, other = await hospital.a_patient(name="Zebulon Quux"), await hospital.a_patient(name="Zebulon Quince")
    await hospital.post("/patients/search", {"q": "zebulon"})
    await hospital.post("/patients/search", {"q": "zebulon quince"})
    await hospital.post("/patients/search", {"q": "zebulon nobody"})
    (found,) = await looks(hospital, patient_id=patient)
    assert (found["kind"], found["through"], found["patient_id"]) == ("patients-searched", "search", patient)
    assert sorted(found["detail"]["patients"]) == sorted([patient, other])
    assert len(await looks(hospital, patient_id=other)) == 2
    connection = await asyncpg.connect(module_database.admin_url)
    stored = await connection.fetch("SELECT data FROM daysheet.access WHERE type = 'patients-searched@1'")
    await connection.close()
    assert stored[-1]["data"] == b'{"patients":[]}'
    assert not any(b"zebulon" in row["data"].lower() for row in stored)


async def test_an_appointments_history_and_its_dates_events_are_looks_at_its_patient(
    hospital: Server, past: str
) -> None:
    _, patient, appointment = await booked(hospital, past)
    await hospital.get(f"/appointments/{appointment}")  # carries a patient's id and nothing of theirs
    await hospital.get(f"/appointments/{appointment}/history")
    events = (await hospital.get(f"/queue/{past}/events")).body["events"]
    await hospital.get(f"/queue/{past}/events?limit=1")  # the clinic's opening: nobody is in it yet
    await hospital.get(f"/queue/{past}/events?after={events[-1]['sequence']}")
    seen = await looks(hospital, patient_id=patient)
    assert [(one["kind"], one["through"]) for one in seen] == [
        ("history-viewed", "appointment"),
        ("day-events-viewed", "events"),
    ]
    assert [(one["patient_id"], one["appointment_id"], one["date"]) for one in seen] == [
        (patient, appointment, None),
        (patient, None, past),
    ]
    assert seen[1]["detail"] == {"after": 0, "up_to": events[-1]["sequence"]}


async def test_a_board_is_a_look_at_whoever_stood_on_it_then(hospital: Server, past: str) -> None:
    doctor = await hospital.a_doctor()
    late = {"effective_at": at(past, "08:00")}
    await hospital.call("PUT", f"/clinics/{doctor}/{past}", {"capacity": 5} | late)
    await hospital.get(f"/queue?date={past}")  # too early
    patient = await hospital.a_patient()
    appointment = await hospital.an_appointment(doctor, patient, date=past, **late)
    await hospital.get(f"/queue?date={past}")
    await hospital.get(f"/queue?date={past}&doctor_id={doctor}")
    await hospital.get(f"/queue?date={past}&doctor_id={await hospital.a_doctor()}")  # somebody else's
    await hospital.post(f"/appointments/{appointment}/cancel")
    await hospital.get(f"/queue?date={past}")  # too late
    seen = await looks(hospital, patient_id=patient)
    assert [(one["kind"], one["through"], one["doctor_id"], one["date"]) for one in seen] == [
        ("board-viewed", "board", None, past),
        ("board-viewed", "board", doctor, past),
    ]


async def test_whoever_watched_while_a_patient_stood_there_saw_them(hospital: Server, past: str) -> None:
    doctor, _, _ = await booked(hospital, past, department="Heart")
    other, _, _ = await booked(hospital, past)
    async with watching(hospital, past):
        pass  # and was gone before
    patient = await hospital.a_patient()
    async with (
        watching(hospital, past),
        watching(hospital, past, view="public"),
        watching(hospital, past, doctor, mode="delta"),
        watching(hospital, past, other),
        watching(hospital, past, doctors=[other]),
        watching(hospital, past, doctors=[other, doctor], heartbeat=5),
        watching(hospital, past, department="Heart"),
        watching(hospital, past, department="Lung"),
        watching(hospital, "2020-02-29"),
    ):
        late = {"date": past, "effective_at": at(past, "08:30")}
        appointment = await hospital.an_appointment(doctor, patient, **late)
        await hospital.post(f"/appointments/{appointment}/cancel")
    async with watching(hospital, past):
        pass  # and came after
    everywhere = await looks(hospital, patient_id=patient)
    assert {one["kind"] for one in everywhere} == {"subscription"}
    told = [
        (one["doctor_id"], one["detail"]["doctors"], one["detail"]["department"], one["detail"]["view"])
        for one in everywhere
    ]
    some = sorted([other, doctor])
    assert told == [
        (None, None, None, "full"),
        (None, None, None, "public"),
        (doctor, None, None, "full"),
        (None, some, None, "full"),
        (None, None, "Heart", "full"),
        (None, None, None, "full"),  # of a department that had nobody: perhaps somebody came to it
    ]
    assert all(TIME.fullmatch(one["detail"]["started_at"]) for one in everywhere)
    assert all(TIME.fullmatch(one["detail"]["ended_at"]) for one in everywhere)


async def test_a_subscription_that_goes_on_has_no_end_yet(hospital: Server, past: str) -> None:
    _, patient, _ = await booked(hospital, past)
    async with watching(hospital, past):
        (live,) = await looks(hospital, patient_id=patient)
        assert live["detail"]["ended_at"] is None
    (over,) = await looks(hospital, patient_id=patient)
    assert over["detail"]["ended_at"] is not None
    assert over["position"] == live["position"]


async def test_subscribing_again_ends_what_was_watched_before(hospital: Server, past: str, future: str) -> None:
    _, patient, _ = await booked(hospital, past)
    async with hospital.monitor() as monitor:
        for day in (past, future):
            await monitor.send_json({"action": "subscribe", "date": day})
            await monitor.receive_json()
        assert [one["detail"]["ended_at"] is None for one in await looks(hospital, patient_id=patient)] == [False]
        assert [one["detail"]["ended_at"] is None for one in await looks(hospital, date=future)] == [True]


async def test_a_patient_who_moved_to_another_date_is_seen_there(hospital: Server, future: str) -> None:
    _, patient, appointment = await booked(hospital, future)
    elsewhere = future.replace("209", "208", 1)
    await hospital.get(f"/queue?date={elsewhere}")
    moved = await hospital.post(f"/appointments/{appointment}/move", {"date": elsewhere, "reason": "away"})
    assert moved.status == 200
    await hospital.get(f"/queue?date={future}")
    await hospital.get(f"/queue?date={elsewhere}")
    assert [one["date"] for one in await looks(hospital, patient_id=patient)] == [elsewhere]


async def test_a_look_by_effective_time_names_whoever_it_can_have_shown(
    hospital: Server, past: str, future: str
) -> None:
    _, patient, appointment = await booked(hospital, past)
    away = await hospital.post(
        f"/appointments/{appointment}/move",
        {"date": future, "reason": "later", "effective_at": at(past, "12:00")},
    )
    assert away.status == 200, away
    before = await hospital.get(f"/queue?date={past}&by=effective&at={at(past, '11:00').replace('+', '%2B')}")
    assert appointment in str(before.body)  # it stood there then, though the log has moved on
    seen = [
        look["detail"]["by"] for look in await looks(hospital, patient_id=patient) if look["kind"] == "board-viewed"
    ]
    assert seen == ["effective"]


async def test_a_replay_that_goes_on_may_show_whoever_comes_yet(hospital: Server) -> None:
    today = await hospital.today()
    doctor = await hospital.a_doctor()
    await hospital.an_appointment(doctor)
    async with hospital.monitor(doctor) as monitor:
        await monitor.send_json({"action": "replay", "date": today, "speed": 0})
        while (await monitor.receive_json())["type"] != "replay_end":
            pass
        patient = await hospital.a_patient()
        appointment = await hospital.an_appointment(doctor, patient)
        await monitor.send_json({"action": "play", "speed": 0})
        assert appointment in str(await monitor.receive_json())
        replays = [look for look in await looks(hospital, patient_id=patient) if look["kind"] == "replay"]
        assert [look["detail"]["ended_at"] for look in replays] == [None]


async def test_a_department_that_nobody_belongs_to_is_not_written_down(
    hospital: Server, module_database: Database, past: str
) -> None:
    """It may be a name that somebody typed into the wrong field. Or one that a doctor comes to while it is watched."""
    doctor, patient, _ = await booked(hospital, past)
    async with watching(hospital, past, department="Thessalonia Brackenridge"):
        await hospital.call("PATCH", f"/doctors/{doctor}", {"department": "Thessalonia Brackenridge"})
    (watch,) = await looks(hospital, date=past)
    assert (watch["detail"]["doctors"], watch["detail"]["department"]) == (None, None)
    assert [look["kind"] for look in await looks(hospital, patient_id=patient)] == ["subscription"]
    await hospital.call("PATCH", f"/doctors/{doctor}", {"department": None})


async def test_who_did_something_to_a_patient_saw_them_too(hospital: Server, past: str) -> None:
    _, patient, appointment = await booked(hospital, past)
    await hospital.post("/checkins", {"appointment_id": appointment, "effective_at": at(past, "09:00")})
    await hospital.call("PATCH", f"/patients/{patient}", {"phone": "+1"}, X_Request_ID="shift-2")
    done = [one for one in await audit(hospital, patient_id=patient) if one["kind"] == COMMAND]
    assert [(one["type"], one["through"], one["appointment_id"]) for one in done] == [
        ("PatientRegistered", "patient", None),
        ("AppointmentBooked", "appointment", appointment),
        ("PatientCheckedIn", "appointment", appointment),
        ("PatientDetailsChanged", "patient", None),
    ]
    assert {one["patient_id"] for one in done} == {patient}
    assert done[2]["detail"] == {"command": "CheckIn", "effective_at": at(past, "09:00")}
    assert done[3]["correlation_id"] == "shift-2"


async def test_a_command_that_changes_nothing_and_shows_a_patient_is_a_look(hospital: Server) -> None:
    keyed = {"Idempotency_Key": "seen-again"}
    patient = (await hospital.post("/patients", {"name": "Asha Rao"}, **keyed)).body["id"]
    assert await looks(hospital, patient_id=patient) == []
    for method, path, body, headers in (
        ("PATCH", f"/patients/{patient}", {}, {}),
        ("PATCH", f"/patients/{patient}", {"name": "Asha Rao"}, {}),
        ("POST", "/patients", {"name": "Asha Rao"}, keyed),
    ):
        answer = await hospital.call(method, path, body, **headers)
        assert answer.body["name"] == "Asha Rao"
    assert [look["kind"] for look in await looks(hospital, patient_id=patient)] == ["patient-viewed"] * 3
    await hospital.call("PATCH", f"/patients/{patient}", {"name": "Asha Menon"})
    assert len(await looks(hospital, patient_id=patient)) == 3  # an event says who did that


async def test_asking_who_looked_is_looking(hospital: Server) -> None:
    patient = await hospital.a_patient()
    assert await looks(hospital, patient_id=patient) == []
    (asked,) = [one for one in await audit(hospital, patient_id=patient) if one["kind"] == "audit-viewed"]
    assert (asked["through"], asked["patient_id"]) == ("patient", patient)
    assert asked["detail"] == {"actor": None, "format": "json", "records": 1}


async def test_nobody_is_told_that_nobody_looked_at_a_patient_who_never_was(hospital: Server) -> None:
    is_problem(await hospital.get(f"/audit?patient_id={UNKNOWN}"), 404, "unknown_patient")
    is_problem(await hospital.get(f"/patients/{UNKNOWN}"), 404, "unknown_patient")


# --- what somebody did, and a date ---------------------------------------------------------------


async def test_an_actor_has_looks_and_commands_in_the_order_in_which_they_came(hospital: Server, past: str) -> None:
    doctor, patient, appointment = await booked(hospital, past)
    await hospital.get(f"/patients/{patient}")
    await hospital.post("/checkins", {"appointment_id": appointment, "effective_at": at(past, "09:00")})
    await hospital.get(f"/queue?date={past}")
    records = await audit(hospital, actor="developer")
    mine = [one for one in records if patient in (one["patient_id"], *one["detail"].get("patients", ()))]
    mine += [one for one in records if one["date"] == past and one["patient_id"] is None]
    assert [one["type"] or one["kind"] for one in mine] == [
        "PatientRegistered",
        "AppointmentBooked",
        "patient-viewed",
        "PatientCheckedIn",
        "ClinicOpened",
        "board-viewed",
    ]
    assert all(one["appointment_id"] == appointment for one in mine if one["type"] == "PatientCheckedIn")
    assert (mine[4]["doctor_id"], mine[4]["appointment_id"]) == (doctor, None)
    assert not [one for one in records if one["type"] in ("TimeReserved", "TimeReleased")]
    times = [one["recorded_at"] for one in records]
    assert times == sorted(times)


async def test_of_an_actor_whom_nobody_knows_there_is_nothing_and_what_was_asked_is_not_kept(
    hospital: Server, module_database: Database
) -> None:
    assert await looks(hospital, actor="Thessalonia%20%22Q%22%20Brackenridge") == []
    connection = await asyncpg.connect(module_database.admin_url)
    rows = await connection.fetch("SELECT data FROM daysheet.access WHERE type = 'audit-viewed@1' ORDER BY position")
    await connection.close()
    assert rows[-1]["data"] == b'{"format":"json","records":0}'
    assert not any(b"Brackenridge" in row["data"] for row in rows)


async def test_a_date_has_who_looked_at_it_and_what_was_done_on_it(hospital: Server, past: str) -> None:
    _, patient, _ = await booked(hospital, past)
    await hospital.get(f"/queue?date={past}")
    await hospital.get(f"/queue?date={past.replace('2021', '2020')}")
    await hospital.get(f"/patients/{patient}")
    records = await audit(hospital, date=past)
    assert [one["type"] or one["kind"] for one in records] == ["ClinicOpened", "AppointmentBooked", "board-viewed"]
    assert {one["date"] for one in records} == {past}
    assert {one["through"] for one in records} == {None}


async def test_of_several_questions_all_must_be_true(hospital: Server, past: str) -> None:
    _, patient, appointment = await booked(hospital, past)
    await hospital.get(f"/queue?date={past}")
    await hospital.get(f"/patients/{patient}")
    await hospital.get(f"/appointments/{appointment}/history")
    both = await audit(hospital, patient_id=patient, date=past)
    assert [one["type"] or one["kind"] for one in both] == ["AppointmentBooked", "board-viewed"]
    assert await audit(hospital, patient_id=patient, actor="somebody") == []
    assert await audit(hospital, date=past, actor="somebody") == []
    three = await looks(hospital, patient_id=patient, date=past, actor="developer")
    assert [one["kind"] for one in three] == ["board-viewed"]


async def test_pages_hold_everything_once(hospital: Server, past: str) -> None:
    _, patient, appointment = await booked(hospital, past)
    for _ in range(5):
        await hospital.get(f"/patients/{patient}")
        await hospital.post(f"/appointments/{appointment}/cancel")
        await hospital.get(f"/appointments/{appointment}/history")
        await hospital.post(f"/appointments/{appointment}/undo", {"reason": "again"})
    whole = (await hospital.get(f"/audit?patient_id={patient}")).body["records"]
    assert len(whole) == 22
    paged: list[Any] = []
    after = "0-0"
    while len(paged) < len(whole):
        page = (await hospital.get(f"/audit?patient_id={patient}&limit=3&after={after}")).body
        assert len(page["records"]) == 3
        paged += page["records"]
        after = page["next"]
    assert paged[: len(whole)] == whole
    assert {one["kind"] for one in paged[len(whole) :]} <= {"audit-viewed"}


@pytest.mark.parametrize(
    ("query", "key"),
    [
        ("", None),
        ("limit=5", None),
        ("actor=", "actor"),
        ("actor=%00", "actor"),
        (f"actor={'a' * 201}", "actor"),
        ("patient_id=7", "patient_id"),
        ("date=today", "date"),
        ("date=2025-11-17&limit=0", "limit"),
        ("date=2025-11-17&limit=1001", "limit"),
        ("date=2025-11-17&after=7", "after"),
        ("date=2025-11-17&after=7-x", "after"),
        ("date=2025-11-17&after=7-9999999999999999999", "after"),
        ("date=2025-11-17&format=xml", "format"),
        ("date=2025-11-17&name=Jane", "name"),
    ],
)
async def test_a_question_that_is_none_is_400(hospital: Server, query: str, key: str | None) -> None:
    answer = await hospital.get(f"/audit?{query}")
    is_problem(answer, 400, "invalid_request", **({"key": key} if key else {}))


# --- gaps ----------------------------------------------------------------------------------------


async def test_while_looks_cannot_be_recorded_all_goes_on_and_the_gap_is_told(
    hospital: Server, module_database: Database, past: str
) -> None:
    _, patient, _ = await booked(hospital, past)
    admin = await asyncpg.connect(module_database.admin_url)
    await admin.execute("REVOKE EXECUTE ON FUNCTION daysheet.record_access FROM daysheet_app")
    async with watching(hospital, past):
        answers = await asyncio.gather(*(hospital.get(f"/patients/{patient}") for _ in range(3)))
        assert [answer.status for answer in answers] == [200, 200, 200]
        await admin.execute("GRANT EXECUTE ON FUNCTION daysheet.record_access TO daysheet_app")
        await hospital.get(f"/patients/{patient}")
    await admin.close()
    kinds = [one["kind"] for one in await looks(hospital, patient_id=patient)]
    assert sorted(kinds) == ["patient-viewed"] * 4 + ["subscription"]
    *_, gap = [one for one in await audit(hospital, actor="daysheet") if one["kind"] == "recording-interrupted"]
    assert gap["detail"]["lost"] == 0
    assert gap["detail"]["late"] >= 4


async def test_every_answer_tells_of_records_that_were_lost(
    hospital: Server, module_database: Database, past: str
) -> None:
    """They could have been of anybody, and of any date."""
    admin = await asyncpg.connect(module_database.admin_url)
    await admin.execute(
        "SELECT daysheet.record_access(ARRAY[$1::text], '{1}', '{recording-interrupted@1}', '{NULL}', '{NULL}', "
        "ARRAY[$2::bytea], ARRAY[$3::bytea])",
        f"reader/{uuid.uuid4()}",
        b'{"lost":3,"late":0,"since":"2025-11-17T03:45:00Z","until":"2025-11-17T03:47:30Z"}',
        b'{"at":"2025-11-17T03:47:30Z","actor":"daysheet","role":"server"}',
    )
    await admin.close()
    patient = await hospital.a_patient()
    for asked in ({"patient_id": patient}, {"date": past}, {"actor": "somebody"}, {"actor": "daysheet"}):
        (lost,) = [one for one in await looks(hospital, **asked) if one["detail"].get("lost")]
        assert lost["kind"] == "recording-interrupted"
        assert lost["detail"] == {"lost": 3, "late": 0, "since": at("2025-11-17", "09:15"),
                                  "until": "2025-11-17T09:17:30+05:30"}  # fmt: skip


# --- CSV -----------------------------------------------------------------------------------------


async def test_the_same_as_csv(hospital: Server, past: str) -> None:
    doctor, patient, _ = await booked(hospital, past)
    await hospital.get(f"/patients/{patient}")
    await hospital.get(f"/queue?date={past}&doctor_id={doctor}")
    records = (await hospital.get(f"/audit?patient_id={patient}")).body["records"]
    media_type, body, _ = await text(hospital, f"/audit?patient_id={patient}&format=csv")
    assert media_type == "text/csv"
    assert body.count("\r\n") == len(records) + 2  # the head, and the asking just before
    rows = list(csv.DictReader(io.StringIO(body, newline="")))
    assert rows[0].keys() == RECORD
    for row, record in zip(rows, records, strict=False):
        assert json.loads(row.pop("detail")) == record["detail"]
        assert row == {key: "" if record[key] is None else str(record[key]) for key in row}


@pytest.mark.parametrize("named", ['=1+1,"x"', "+1", "-1", "@SUM(A1)", '=HYPERLINK("http://x","y")'])
async def test_no_cell_is_a_formula(hospital: Server, named: str) -> None:
    patient = await hospital.a_patient()
    await hospital.call("GET", f"/patients/{patient}", X_Request_ID=named)
    _, body, _ = await text(hospital, f"/audit?patient_id={patient}&format=csv")
    rows = list(csv.DictReader(io.StringIO(body, newline="")))
    (look,) = [row for row in rows if row["kind"] == "patient-viewed"]
    assert look["correlation_id"] == f"'{named}"
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in rows for cell in row.values())


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("text/csv", "text/csv"),
        ("application/fhir+json;fhirVersion=4.0", "application/fhir+json"),
        ("text/html, application/fhir+json, text/csv", "application/fhir+json"),
        ("application/json, text/csv", "application/json"),
        ("*/*", "application/json"),
        ("text/html", "application/json"),
    ],
)
async def test_accept_chooses_the_form_where_no_format_is_named(
    hospital: Server, past: str, accept: str, expected: str
) -> None:
    assert (await text(hospital, f"/audit?date={past}", Accept=accept))[0] == expected
    assert (await text(hospital, f"/audit?date={past}&format=json", Accept=accept))[0] == "application/json"


async def test_the_next_page_is_linked_in_every_form(hospital: Server, past: str) -> None:
    _, patient, _ = await booked(hospital, past)
    for form in ("json", "csv", "fhir"):
        _, _, headers = await text(hospital, f"/audit?patient_id={patient}&limit=1&format={form}")
        link, relation = headers["Link"].split("; ")
        assert relation == 'rel="next"'
        async with hospital._session.get(link.strip("<>")) as answer:
            assert answer.status == 200
        _, _, headers = await text(hospital, f"/audit?patient_id={patient}&format={form}")
        assert "Link" not in headers
