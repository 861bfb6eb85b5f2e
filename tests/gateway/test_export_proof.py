"""An exported date is proven by itself: `daysheet proof export`, and what it is made of."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from domain.ledger.checkpoint import Checkpoint, VerifierKey
from domain.ledger.keys import SigningKey
from projections.exported import NotProven, check
from tests.gateway.contract import at
from tests.server import Server
from tests.system.command import daysheet

pytestmark = pytest.mark.asyncio(loop_scope="module")

SECONDS = 15.0

Lines = list[dict[str, Any]]


async def _export(server: Server, day: str) -> bytes:
    """Of a morning whose events are sealed."""
    entered = {"date": day, "effective_at": at(day, "08:00")}
    doctor = await server.a_doctor(code=f"P{day}")
    patient = await server.a_patient(name="Zoë Ångström")
    appointment = await server.an_appointment(doctor, patient, **entered, reason="knee — left")
    done = await server.post("/checkins", {"appointment_id": appointment, "effective_at": at(day, "09:00")})
    await _sealed(server, done.body["sequence"])
    async with server._session.get(f"{server.api}/queue/{day}/export") as answer:
        return await answer.read()


async def _sealed(server: Server, sequence: int) -> None:
    async with asyncio.timeout(SECONDS):
        while True:
            answer = await server.get("/ledger/checkpoint")
            if answer.status == 200 and Checkpoint.of(answer.body).size >= sequence:
                return
            await asyncio.sleep(0.02)


async def _key(server: Server) -> VerifierKey:
    return VerifierKey.of((await server.get("/ledger/key")).body)


async def test_every_event_of_an_export_is_what_was_signed(hospital: Server, past: str) -> None:
    body = await _export(hospital, past)
    proven = check(body.splitlines(), await _key(hospital))
    assert (proven.events, proven.without_proof) == (len(body.splitlines()) - 2, 0)
    assert proven.events >= 3
    assert check(body.splitlines()) == proven


def _with(name: str, value: Any) -> Callable[[Lines], None]:
    def change(lines: Lines) -> None:
        lines[2][name] = value

    return change


def _stored(name: str, change: Callable[[str], str]) -> Callable[[Lines], None]:
    def altered(lines: Lines) -> None:
        lines[2]["stored"][name] = change(lines[2]["stored"][name])

    return altered


def _without_a_line(lines: Lines) -> None:
    del lines[2]


def _changed_places(lines: Lines) -> None:
    lines[1], lines[2] = lines[2], lines[1]


def _proof_of_another(lines: Lines) -> None:
    lines[2]["proof"] = lines[3]["proof"]


def _cut_off(lines: Lines) -> None:
    lines.pop()


def _of_another_date(lines: Lines) -> None:
    lines[0]["date"] = "1999-12-31"


def _after_the_end(lines: Lines) -> None:
    lines.append(lines[2])


def _another_root(lines: Lines) -> None:
    note = lines[0]["checkpoint"].split("\n")
    note[1] = str(int(note[1]) + 1)
    lines[0]["checkpoint"] = "\n".join(note)


CHANGES: dict[str, tuple[Callable[[Lines], None], str]] = {
    "data": (_stored("data", lambda data: data.replace("{", '{ "slot":2,', 1)), "is not what was signed"),
    "meta": (_stored("meta", lambda meta: meta.replace("developer", "somebody")), "is not what was signed"),
    "type": (_stored("type", lambda _: "patient-called@1"), "is not what was signed"),
    "subject": (_stored("subject", lambda _: "00000000-0000-4000-8000-000000000000"), "is not what was signed"),
    "day": (_stored("day", lambda _: "1999-12-31"), "is not what was signed"),
    "recorded_at": (_with("recorded_at_utc", "2020-01-01T00:00:00.000000Z"), "is not what was signed"),
    "stream": (_with("stream", "clinic/elsewhere/2020-01-01"), "is not what was signed"),
    "version": (_with("version", 9), "is not what was signed"),
    "what is read": (_with("type", "PatientCalled"), "`type` is not what was signed"),
    "who": (_with("actor", "somebody"), "`actor` is not what was signed"),
    "when": (_with("effective_at", "2020-01-01T00:00:00+05:30"), "`effective_at` is not what was signed"),
    "when, exactly": (_with("effective_at_utc", "2020-01-01T00:00:00.000000Z"), "`effective_at_utc` is not"),
    "whose": (_with("patient_id", "00000000-0000-4000-8000-000000000000"), "`patient_id` is not what was signed"),
    "what": (_with("data", {"slot": 39}), "`data` is not what was signed"),
    "by which command": (_with("command", "CallNext"), "`command` is not what was signed"),
    "another date": (_of_another_date, "is one of"),
    "after the end": (_after_the_end, "comes after the end"),
    "no proof": (_with("proof", None), "has no proof"),
    "no base64": (_with("proof", {"leaf_hash": "", "hashes": ["no base64!"]}), "cannot be read"),
    "no number": (_with("sequence", "three"), "line 3 is none of an export"),
    "another's proof": (_proof_of_another, "is not what was signed"),
    "changed places": (_changed_places, "comes after"),
    "a line less": (_without_a_line, "events"),
    "cut off": (_cut_off, "cut off"),
    "another root": (_another_root, "not signed by the key"),
}


@pytest.mark.parametrize("changed", CHANGES)
async def test_what_was_changed_since_is_named_by_its_line(hospital: Server, past: str, changed: str) -> None:
    lines: Lines = [json.loads(line) for line in (await _export(hospital, past)).splitlines()]
    change, said = CHANGES[changed]
    change(lines)
    with pytest.raises(NotProven, match=said):
        check([json.dumps(line, separators=(",", ":")).encode() for line in lines])


async def test_a_key_that_is_known_from_elsewhere_is_believed_and_not_the_one_in_the_file(
    hospital: Server, past: str
) -> None:
    body = await _export(hospital, past)
    another = VerifierKey((await _key(hospital)).name, SigningKey.of(b"o" * 32).public)
    with pytest.raises(NotProven, match="not signed by the key"):
        check(body.splitlines(), another)


async def test_the_command_says_what_is_proven_and_what_is_not(hospital: Server, past: str, tmp_path: Path) -> None:
    file = tmp_path / "day.ndjson"
    file.write_bytes(await _export(hospital, past))
    whole = await daysheet("proof", "export", file, "--key", await _key(hospital))
    assert whole.code == 0
    assert "events, proven by the checkpoint of" in whole.out
    assert "whose key that is" not in whole.out
    believed = await daysheet("proof", "export", file)
    assert believed.code == 0
    assert "whose key that is, is not proven" in believed.out
    file.write_bytes(file.read_bytes().replace(b"developer", b"somebody"))
    changed = await daysheet("proof", "export", file)
    assert (changed.code, changed.out) == (1, "")
    assert "line 2: event" in changed.errors
    assert "is not what was signed" in changed.errors
