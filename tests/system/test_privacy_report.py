"""`daysheet privacy report`: all that is held of a patient, and for one who is erased, what is left."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any

from tests.conftest import TIMEZONE, Database, ServerFactory
from tests.server import Server
from tests.system.command import Ended, daysheet
from tests.system.record import ask

ROW = {"name": "Xquirella Vanterpool", "phone": "+4790871234567", "mrn": "MRN-77Z-4410", "birth_date": "1980-02-29"}
WORDS = ("Xquirella", "Vanterpool", "4790871234567", "MRN-77Z", "1980-02-29", "limping", "knee surgery")


def _report(database: Database, *arguments: str) -> tuple[str, ...]:
    at = (f"--database-url={database.url}", f"--data-dir={database.folder}")
    return ("privacy", "report", *arguments, *at)


async def _held(database: Database, patient: str) -> dict[str, Any]:
    ended = await daysheet(*_report(database, patient, "--json"))
    assert ended.code == 0, ended
    held: dict[str, Any] = json.loads(ended.out)
    return held


async def _from_stdin(text: str, *arguments: str) -> Ended:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "gateway",
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ},
    )
    out, errors = await process.communicate(text.encode())
    assert process.returncode is not None
    return Ended(process.returncode, out.decode(), errors.decode())


async def _visit(server: Server) -> tuple[str, list[str]]:
    """A patient renamed, with two appointments at once, one moved and one seen. Returns them."""
    doctor, other = await server.a_doctor(), await server.a_doctor()
    patient = (await server.post("/patients", ROW | {"reason": "limping in"}, Idempotency_Key="r")).body["id"]
    await server.call("PATCH", f"/patients/{patient}", {"name": "Xquirella Ødegård", "reason": "married"})
    one = await server.an_appointment(doctor, patient, reason="knee surgery")
    two = await server.an_appointment(other, patient, allow_overlap=True)
    await server.post("/checkins", {"appointment_id": one}, Idempotency_Key="c")
    await server.post("/queue/call-next", {"doctor_id": doctor})
    await server.post(f"/appointments/{two}/move", {"date": "2091-01-04", "reason": "away"}, Idempotency_Key="m")
    neighbour = await server.a_patient(name="Ida Berg", mrn="M-2")
    await server.an_appointment(doctor, neighbour)
    return patient, [one, two]


async def test_all_that_is_held_of_a_patient_is_listed_and_nobody_elses(
    serve: ServerFactory, database: Database
) -> None:
    server = await serve()
    patient, appointments = await _visit(server)
    held = await _held(database, patient)
    assert held["patient_id"] == patient
    assert (held["key"], held["claims"], held["erased_at"]) == (True, 1, None)
    assert held["remembered_outcomes"] == 3
    assert held["search_tokens"] == len(
        await ask(database.admin_url, "SELECT FROM daysheet.search_token WHERE patient::text = $1", patient)
    )
    assert held["details"] == {**ROW, "name": "Xquirella Ødegård"}
    first, second, *days = held["events"]
    assert (first["type"], first["sealed"], first["reason"]) == (
        "PatientRegistered",
        ["details", "reason"],
        "limping in",
    )
    assert first["details"]["name"] == ROW["name"]  # what they were called before is held as well
    assert first["recorded_at"] == held["registered_at"]
    assert (second["type"], second["reason"]) == ("PatientDetailsChanged", "married")
    assert {event["type"] for event in days} == {"TimeReserved", "TimeReleased"}
    assert [one["appointment_id"] for one in held["appointments"]] == appointments
    assert held["appointments"][1]["date"] == "2091-01-04"
    reasons = [event["reason"] for event in held["appointments"][0]["events"]]
    assert reasons == ["knee surgery", None, None]
    assert "Ida" not in json.dumps(held)

    everything = {event["sequence"] for event in held["events"]}
    everything |= {event["sequence"] for one in held["appointments"] for event in one["events"]}
    named = await ask(
        database.admin_url,
        "SELECT position FROM daysheet.event WHERE strpos(convert_from(data, 'UTF8'), $1) > 0"
        " OR strpos(stream, $1) > 0 OR subject::text = ANY ($2)",
        patient,
        appointments,
    )
    assert everything == {row["position"] for row in named}


async def test_a_report_is_readable_and_cannot_steer_the_terminal(serve: ServerFactory, database: Database) -> None:
    server = await serve()
    patient = await server.a_patient(name="Asha \x1b[31m\u202eRao", mrn="M-1")
    ended = await daysheet(*_report(database, patient))
    assert ended.code == 0, ended
    assert "  name: Asha [31mRao" in ended.out.splitlines()
    assert "key            there" in ended.out
    assert "  by developer  sealed: details" in ended.out
    assert not ended.errors


async def test_of_who_is_erased_only_ids_positions_and_times_are_left(serve: ServerFactory, database: Database) -> None:
    server = await serve()
    patient, appointments = await _visit(server)
    before = await _held(database, patient)
    assert all(word in json.dumps(before) for word in WORDS)
    await server.post(f"/patients/{patient}/erase", {"reason": "asked for it"})
    after = await _held(database, patient)
    assert (after["key"], after["search_tokens"], after["claims"], after["details"]) == (False, 0, 0, None)
    assert after["erased_at"] is not None
    assert not [word for word in WORDS if word in json.dumps(after)]
    assert [one["appointment_id"] for one in after["appointments"]] == appointments
    assert after["events"][-1]["reason"] == "asked for it"
    assert [(e["sequence"], e["sealed"]) for e in after["events"]][:-1] == [
        (e["sequence"], e["sealed"]) for e in before["events"]
    ]
    ended = await daysheet(*_report(database, patient))
    assert "nothing sealed can be opened; ids, positions and times are left" in ended.out
    assert not [word for word in WORDS if word in ended.out]


async def test_a_patient_is_found_by_an_mrn_that_stands_on_no_command_line(
    serve: ServerFactory, database: Database
) -> None:
    server = await serve()
    patient = await server.a_patient(**ROW)
    found = await _from_stdin("mrn-77z-4410\n", *_report(database, "--mrn", "--json"))
    assert json.loads(found.out)["patient_id"] == patient
    assert json.loads(found.out)["registered_at"].endswith("+05:30"), TIMEZONE
    missing = await _from_stdin("MRN-0\n", *_report(database, "--mrn"))
    assert missing.said == "daysheet: no patient of this store has that number"


async def test_what_cannot_be_reported_is_one_line(serve: ServerFactory, database: Database) -> None:
    nothing = await daysheet(*_report(database, "7f0c1b2a-0000-4000-8000-000000000000"))
    assert nothing.said == "daysheet: this store is empty: no server has been started on it yet"
    server = await serve()
    doctor = await server.a_doctor()
    for unknown in ("7f0c1b2a-0000-4000-8000-000000000000", doctor):
        ended = await daysheet(*_report(database, unknown))
        assert ended.said == "daysheet: no patient of this store has that id"
    neither, both, elsewhere = await asyncio.gather(
        daysheet(*_report(database)),
        daysheet(*_report(database, doctor, "--mrn")),
        daysheet("privacy", "report", doctor, f"--database-url={database.url}", "--data-dir=/nowhere"),
    )
    assert neither.said == both.said == "daysheet: say whose: a patient's id, or --mrn and the number on standard input"
    assert "bring the file back, or set DAYSHEET_MASTER_KEY" in elsewhere.said
