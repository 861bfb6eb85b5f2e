"""After an erasure: what left the database before, and is still ours to clear (sheets, exports, logs), and what is
shown of the past from then on (replay, history, who looked), whose order and whose proof stay what they were."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

from gateway.downtime.folder import sheet_file
from tests.gateway.contract import at
from tests.log.writing import until
from tests.server import Server
from tests.system.command import daysheet
from tests.system.conftest import Start

NAME, PHONE, WHY = "Quirin Unverwechselbar", "+49 151 2345678", "afraid of needles"
PERSONAL = (b"Quirin", b"Unverwechselbar", b"2345678", b"5678", b"needles")
WORDS = ("Quirin", "Unverwechselbar", "2345678", "5678-A", "needles")
"""Without four digits that an id may hold by chance."""


def _holding(folder: Path, names: tuple[str, ...]) -> list[str]:
    files = [file for pattern in names for file in folder.rglob(pattern)]
    assert files
    return [file.name for file in files if any(word in file.read_bytes() for word in PERSONAL)]


async def test_neither_exports_nor_sheets_nor_log_files_show_name_phone_or_reason(start: Start, data_dir: Path) -> None:
    sheets = data_dir / "sheets"
    server = await start("--downtime-dir", str(sheets))
    patient = await server.a_patient(name=NAME, phone=PHONE)
    doctor = await server.a_doctor()
    today = await server.today()
    appointment = await server.an_appointment(doctor, patient, reason=WHY)
    await server.post("/checkins", {"appointment_id": appointment, "reason": WHY})
    # What is refused, or makes no sense, is logged no more than what is done.
    await server.post("/checkins", {"appointment_id": appointment, "effective_at": at(today, "00:00"), "name": NAME})
    await server.post("/patients", {"name": NAME, "phone": PHONE * 9})
    await server.stop()
    before = server
    assert NAME in sheet_file(sheets, date.fromisoformat(today)).read_text(encoding="utf-8")

    server = await start("--downtime-dir", str(sheets))
    assert (await server.post(f"/patients/{patient}/erase", {"reason": "asked for it"})).status == 200
    await until(lambda: _holding(sheets, ("*.html",)) == [])
    for query in (("--format", "ndjson"), ("--format", "csv", "--names")):
        ended = await daysheet("export", today, *query, "--to", data_dir / f"{query[1]}.export", "--url", server.url)
        assert ended.code == 0, ended
    await server.stop()
    assert _holding(data_dir, ("*.export", "*.html", "server.log")) == []
    assert not any(word in before.log + server.log for word in PERSONAL)


async def _replayed(server: Server, day: str, by: str) -> list[str]:
    """Every message of a replay, as it came."""
    told: list[str] = []
    async with server.monitor() as socket:
        await socket.send_json({"action": "replay", "date": day, "speed": 0, "by": by})
        while not told or '"type":"replay_end"' not in told[-1]:
            told.append(await socket.receive_str(timeout=20))
    return told


def _steps(told: list[str]) -> list[Any]:
    """What happened when, and who stood where in the line."""
    steps: list[Any] = []
    for message in map(json.loads, told[:-1]):
        lines = [
            (entry["appointment_id"], entry["slot"], entry["status"], entry["queue"])
            for block in message["data"]["doctors"]
            for entry in block["appointments"]
        ]
        steps.append((message["type"], message["sequence"], message["replay"], lines))
    return steps


async def _text(server: Server, path: str) -> str:
    async with server._session.get(server.api + path) as answer:
        assert answer.status == 200, (path, answer.status)
        return await answer.text()


async def test_the_past_is_shown_in_the_same_order_without_name_and_its_proof_holds(
    start: Start, data_dir: Path
) -> None:
    server = await start()
    patient, other = await server.a_patient(name=NAME, phone=PHONE, mrn="5678-A"), await server.a_patient()
    doctor, today = await server.a_doctor(), await server.today()
    first = await server.an_appointment(doctor, patient, reason=WHY)
    second = await server.an_appointment(doctor, other)
    await server.post("/checkins", {"appointment_id": second})
    await server.post("/checkins", {"appointment_id": first, "reason": WHY})
    await server.post(f"/appointments/{first}/priority", {"priority": "urgent", "reason": WHY})
    await server.post("/queue/call-next", {"doctor_id": doctor})
    last = await server.post("/queue/call-next", {"doctor_id": doctor, "complete_current": True})
    await server.post("/patients/search", {"q": "Quirin"})
    before = {by: await _replayed(server, today, by) for by in ("recorded", "effective")}
    assert NAME in before["recorded"][-2]

    erased = await server.post(f"/patients/{patient}/erase", {"reason": f"{NAME} asked for it"})
    assert erased.status == 200
    for by, told in before.items():
        after = await _replayed(server, today, by)
        assert _steps(after) == _steps(told)
        assert "[erased]" in after[-2]
        assert not any(word in message for message in after for word in WORDS)
    shown = [
        f"/queue?date={today}&sequence={last.body['sequence']}",
        f"/queue/{today}/events",
        f"/appointments/{first}/history",
        f"/patients/{patient}",
        *(f"/audit?patient_id={patient}&format={form}" for form in ("json", "csv", "fhir")),
        f"/audit?date={today}",
        "/audit?actor=developer",
    ]
    for path in shown:
        text = await _text(server, path)
        assert first in text or patient in text, path
        assert not any(word in text for word in WORDS), path
    await server.stop()
    verified = await daysheet("verify", "--data-dir", data_dir, "--json")
    assert verified.code == 0, verified
    assert json.loads(verified.out)["verdict"] == "whole"
