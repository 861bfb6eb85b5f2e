"""What the record of looks says when servers end, doors are closed, and patients are forgotten."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import asyncpg
import pytest_asyncio

from tests.conftest import Database, ServerFactory
from tests.server import Server
from tests.vault.everything import finds

NAME, PHONE, MRN = "Xquirella Vanterpool-Ødegård", "+4790871234567", "MRN-77Z-4410"
WORDS = ("Xquirella", "Vanterpool", "Ødegård", "4790871234567", "MRN-77Z-4410", "limping")


async def records(server: Server, query: str) -> list[dict[str, Any]]:
    answer = await server.get(f"/audit?{query}")
    assert answer.status == 200, answer
    return list(answer.body["records"])


Subscribe = Callable[..., Awaitable[None]]


@pytest_asyncio.fixture
async def subscribe() -> AsyncIterator[Subscribe]:
    """Monitors that stay for as long as the test does, and do not hang up themselves."""
    monitors = []

    async def one(server: Server, day: str, **keys: Any) -> None:
        monitors.append(monitor := await session.ws_connect(server.ws, max_msg_size=0))
        await monitor.send_json({"action": "subscribe", "date": day} | keys)
        assert (await monitor.receive_json())["type"] == "snapshot"

    async with aiohttp.ClientSession() as session:
        yield one


async def test_a_server_that_stops_ends_what_was_watched_and_one_that_is_killed_cannot(
    serve: ServerFactory, subscribe: Subscribe
) -> None:
    stays, stops, dies = [await serve() for _ in range(3)]
    today = await stays.today()
    await stays.an_appointment(await stays.a_doctor(), patient := await stays.a_patient())
    for server, view in ((stops, "public"), (dies, "full")):
        await subscribe(server, today, view=view)
    await dies.get(f"/audit?date={today}")  # by now it has recorded what it showed
    assert await stops.stop() == 0
    dies.kill()
    await dies.process.wait()
    seen = [one for one in await records(stays, f"patient_id={patient}") if one["kind"] == "subscription"]
    assert [(one["detail"]["view"], one["detail"]["ended_at"] is None) for one in seen] == [
        ("public", False),
        ("full", True),  # nobody was there to say when: nothing is made up
    ]


async def test_whoever_is_not_let_in_is_counted(serve: ServerFactory) -> None:
    server, other = await serve(), await serve()
    foreign = {"Origin": "https://evil.example"}
    for path in ("/queue", "/doctors", "/nothing"):
        async with server._session.get(server.api + path, headers=foreign) as answer:
            assert answer.status == 403
    async with server._session.get(server.api + "/queue", headers={"Host": "evil.example"}) as answer:
        assert answer.status == 403
    assert (await server.get("/nothing")).status == 404  # not found is not refused
    assert await server.stop() == 0  # or a minute passes
    denied = [one for one in await records(other, "actor=unknown") if one["kind"] == "access-denied"]
    assert sum(one["detail"]["count"] for one in denied) == 4
    for one in denied:
        assert (one["actor"], one["address"]) == ("unknown", "127.0.0.1")
        assert one["detail"]["minute"].endswith(":00+05:30")


async def test_after_an_erasure_the_record_says_the_same_and_no_name_anywhere(
    server: Server, database: Database, subscribe: Subscribe
) -> None:
    today = await server.today()
    doctor = await server.a_doctor()
    patient = await server.a_patient(name=NAME, phone=PHONE, mrn=MRN, reason="limping in")
    appointment = await server.an_appointment(doctor, patient, reason="limping")
    await server.post("/checkins", {"appointment_id": appointment})
    for view in ("full", "public"):
        await subscribe(server, today, view=view)
    for q in ("xquirella", PHONE, MRN):
        assert (await server.post("/patients/search", {"q": q})).body["patients"][0]["name"] == NAME
    for path in (f"/patients/{patient}", "/queue", f"/queue/{today}/events", f"/appointments/{appointment}/history"):
        assert (await server.get(path)).status == 200
    questions = (f"patient_id={patient}", f"date={today}", "actor=developer", f"patient_id={patient}&date={today}")
    before = {question: await records(server, question) for question in questions}
    assert len(before[f"patient_id={patient}"]) >= 12

    erased = await server.post(f"/patients/{patient}/erase", {"reason": f"asked for it, says {NAME} of {PHONE}"})
    assert erased.status == 200
    await server.get(f"/patients/{patient}")

    said = bytearray()
    for question in questions:
        after = await records(server, question)
        assert after[: len(before[question])] == before[question]
        for form in ("json", "csv", "fhir"):
            async with server._session.get(f"{server.api}/audit?{question}&format={form}") as answer:
                assert answer.status == 200
                said += await answer.read()
    admin = await asyncpg.connect(database.admin_url)
    rows = await admin.fetch("SELECT * FROM daysheet.access ORDER BY position")
    await admin.close()
    for row in rows:
        said += repr(dict(row)).encode() + row["data"] + row["meta"]
    assert await server.stop() == 0
    assert finds(bytes(said), patient)
    assert not [word for word in WORDS if finds(bytes(said), word)]
    assert not [word for word in (*WORDS, patient) if finds(bytes(server.log), word)]
    assert all(json.loads(line)["level"] != "error" for line in server.log.decode().splitlines())
