"""Two servers on one database are one hospital; a server that does not belong there refuses to start."""

from __future__ import annotations

import asyncio
import base64
import os
import re
import secrets
from datetime import date, timedelta
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
from aiohttp import ClientWebSocketResponse

from tests.conftest import TIMEZONE, Database, ServerFactory
from tests.server import Answer, Server
from tests.system.command import daysheet
from tests.system.record import whole_record

Servers = tuple[Server, Server]

_TIMESTAMP = re.compile(r',"timestamp":"[^"]*"')


async def snapshot(server: Server, day: str, doctor_id: str | None = None) -> str:
    """As a monitor gets it, byte for byte, but for the time it was made at."""
    async with server.monitor(doctor_id) as monitor:
        await monitor.send_json({"action": "subscribe", "date": day})
        text, stamps = _TIMESTAMP.subn("", await monitor.receive_str())
        assert stamps == 1
        return text


async def shows(monitor: ClientWebSocketResponse, accepted: Answer) -> None:
    """Wait until the monitor has come as far as a command's answer, and see that it shows the same."""
    shown = await monitor.receive_json()
    while shown["sequence"] < accepted.body["sequence"]:
        shown = await monitor.receive_json()
    (block,) = shown["data"]["doctors"]
    (appointment,) = block["appointments"]
    assert appointment["appointment_id"] == accepted.body["appointment_id"]
    assert appointment["patient"]["name"] == "Asha Rao"
    assert appointment["queue"] == accepted.body["queue"]


async def test_what_one_accepts_the_other_shows(two: Servers) -> None:
    here, there = two
    today, doctor, patient = await here.today(), await here.a_doctor(), await here.a_patient(name="Asha Rao")
    async with there.monitor() as monitor:
        await monitor.send_json({"action": "subscribe", "date": today})
        await monitor.receive_json()
        booked = await here.post("/appointments", {"doctor_id": doctor, "patient_id": patient, "date": today})
        await shows(monitor, booked)
        await shows(monitor, await here.post("/checkins", {"appointment_id": booked.body["appointment_id"]}))
        await shows(monitor, await here.post("/queue/call-next", {"doctor_id": doctor}))


async def test_a_read_with_min_sequence_waits_for_what_another_server_accepted(two: Servers) -> None:
    here, there = two
    today = await here.today()
    for _ in range(10):
        doctor = (await here.post("/doctors", {"name": "N", "code": secrets.token_hex(4), "specialty": "S"})).body
        assert (await there.get(f"/doctors/{doctor['id']}?min_sequence={doctor['sequence']}")).body == doctor
        patient = (await here.post("/patients", {"name": "Asha Rao", "age": 41})).body
        assert (await there.get(f"/patients/{patient['id']}?min_sequence={patient['sequence']}")).body == patient
        body = {"doctor_id": doctor["id"], "patient_id": patient["id"], "date": today}
        booked = (await here.post("/appointments", body)).body
        arrived = (await here.post("/checkins", {"appointment_id": booked["appointment_id"]})).body
        found = await there.get(f"/appointments/{booked['appointment_id']}?min_sequence={arrived['sequence']}")
        assert found.body == arrived | {"why": found.body["why"]}
        queue = (await there.get(f"/queue?doctor_id={doctor['id']}&min_sequence={arrived['sequence']}")).body
        assert queue["sequence"] == arrived["sequence"]
        assert [shown["queue"] for shown in queue["data"]["appointments"]] == [arrived["queue"]]


async def test_a_read_that_asks_for_more_than_there_is_says_behind(two: Servers) -> None:
    answer = await two[0].get("/queue?min_sequence=1000000")
    assert (answer.status, answer.code) == (503, "behind")
    assert int(answer.headers["Retry-After"]) > 0


async def test_the_epoch_is_the_same_on_all_servers_and_after_restarts(serve: ServerFactory) -> None:
    here, there = await asyncio.gather(serve(), serve())
    epochs = {(await server.get("/queue")).body["epoch"] for server in (here, there)}
    assert await here.stop() == await there.stop() == 0
    again = await serve()
    assert {(await again.get("/queue")).body["epoch"]} == epochs
    assert len(epochs) == 1


async def test_a_board_that_grew_and_a_board_that_was_loaded_are_the_same_bytes(
    two: Servers, serve: ServerFactory
) -> None:
    here, there = two
    today = await here.today()
    await snapshot(here, today)  # This one follows from here on; `there` will read the day when all is over.
    doctors = [await here.a_doctor(name=f"Dr. Åse {n}") for n in range(3)]
    people = [await here.a_patient(name=name, age=n) for n, name in enumerate(("José", "李小龙", "अमृता", "O'Neil"))]
    booked = [
        await here.an_appointment(doctor, person, allow_overlap=True) for doctor in doctors for person in people[1:]
    ]
    for n, appointment in enumerate(booked):
        if n % 3:
            await here.post("/checkins", {"appointment_id": appointment})
    for doctor in doctors[:2]:
        called = (await here.post("/queue/call-next", {"doctor_id": doctor})).body
    await here.post(f"/appointments/{called['appointment_id']}/complete")
    await here.post(f"/appointments/{booked[0]}/cancel", {"reason": "ill"})
    last = (await here.post(f"/patients/{people[2]}/erase", {"reason": "asked for it"})).body["sequence"]
    await there.get(f"/queue?min_sequence={last}")

    grown, loaded = await snapshot(here, today), await snapshot(there, today)
    assert grown == loaded
    assert "[erased]" in grown
    assert await snapshot(await serve(), today) == grown
    for doctor in doctors:
        assert await snapshot(here, today, doctor) == await snapshot(there, today, doctor)


async def test_who_is_erased_on_one_is_erased_on_the_other(two: Servers) -> None:
    here, there = two
    today, doctor = await here.today(), await here.a_doctor()
    tomorrow = str(date.fromisoformat(today) + timedelta(days=1))
    patient = await here.a_patient(name="Asha Rao", phone="+911234567890")
    await here.an_appointment(doctor, patient)
    await here.an_appointment(doctor, patient, date=tomorrow)
    assert (await there.get(f"/patients/{patient}")).body["name"] == "Asha Rao"
    async with there.monitor() as monitor:
        await monitor.send_json({"action": "subscribe", "date": today})
        shown = await monitor.receive_json()
        assert "Asha Rao" in str(shown)
        erased = (await here.post(f"/patients/{patient}/erase", {"reason": "asked for it"})).body
        while shown["sequence"] < erased["sequence"]:
            shown = await monitor.receive_json()
        person = shown["data"]["doctors"][0]["appointments"][0]["patient"]
        assert person == {"id": patient, "name": "[erased]", "phone": None, "age": None, "gender": "unknown"}
    assert (await there.get(f"/patients/{patient}")).body == erased
    for day in (today, tomorrow):  # one that was on the other's board before, and one that was not
        board = (await there.get(f"/queue?date={day}")).body
        assert [shown["patient"]["name"] for shown in board["data"]["doctors"][0]["appointments"]] == ["[erased]"]
    refused = await there.post("/appointments", {"doctor_id": doctor, "patient_id": patient, "date": tomorrow})
    assert refused.code == "unknown_patient"


async def test_a_key_used_on_one_is_known_to_the_other(two: Servers, database: Database) -> None:
    here, there = two
    today, doctor, patient = await here.today(), await here.a_doctor(), await here.a_patient()
    body = {"doctor_id": doctor, "patient_id": patient, "date": today}
    booked = await here.post("/appointments", body, Idempotency_Key="k")
    arrived = await here.post("/checkins", {"appointment_id": booked.body["appointment_id"]})
    again = await there.post("/appointments", body, Idempotency_Key="k")
    assert (again.status, again.headers["Idempotency-Replayed"]) == (201, "true")
    assert again.body == booked.body
    assert (await there.post("/appointments", body | {"slot": 9}, Idempotency_Key="k")).status == 422
    assert len(await whole_record(database.admin_url)) == arrived.body["sequence"]


# --- who does not belong there -------------------------------------------------------------------


async def test_another_time_zone_is_refused(server: Server, database: Database) -> None:
    ended = await daysheet(
        "serve", "--port=0", f"--database-url={database.url}", f"--data-dir={database.folder}", "--timezone=Asia/Tokyo"
    )
    assert ended.said == f"daysheet: this store keeps its dates in {TIMEZONE}, not in Asia/Tokyo"
    assert (await server.get("/queue")).status == 200


async def test_who_names_no_time_zone_gets_the_stores(serve: ServerFactory, database: Database) -> None:
    first = await serve()
    second = await serve()
    assert (await first.today()) == (await second.today())
    ended = await daysheet(
        "serve",
        "--port=0",
        f"--database-url={database.url}",
        f"--data-dir={database.folder}",
        "--timezone=Mars/Olympus",
    )
    assert ended.said == "daysheet: --timezone Mars/Olympus is no IANA time zone, such as Asia/Kolkata"


async def test_another_master_key_is_refused(server: Server, database: Database, tmp_path: Path) -> None:
    serve = ("serve", "--port=0", f"--database-url={database.url}")
    own_key = base64.b64encode(secrets.token_bytes(32)).decode()
    ended = await daysheet(*serve, f"--data-dir={tmp_path}", DAYSHEET_MASTER_KEY=own_key)
    assert ended.said == "daysheet: this store was made with another master key than the one at hand"
    assert own_key not in ended.errors

    elsewhere = tmp_path / "elsewhere"
    missing = await daysheet(*serve, f"--data-dir={elsewhere}")
    assert f"{elsewhere / 'master.key'} is not there" in missing.said
    assert "DAYSHEET_MASTER_KEY" in missing.said
    assert not (elsewhere / "master.key").exists()  # a second key would be taken for the first one, some day

    elsewhere.mkdir(exist_ok=True)
    (elsewhere / "master.key").write_text("not a key")
    assert "does not hold a master key" in (await daysheet(*serve, f"--data-dir={elsewhere}")).said


async def test_a_database_without_the_schema_is_refused_with_what_to_do(database: Database, tmp_path: Path) -> None:
    connection = await asyncpg.connect(database.admin_url)
    try:
        await connection.execute("DROP SCHEMA daysheet CASCADE")
    finally:
        await connection.close()
    ended = await daysheet("serve", "--port=0", f"--database-url={database.url}", f"--data-dir={tmp_path}")
    assert "run `daysheet migrate --database-url" in ended.said
    assert not (tmp_path / "master.key").exists()


async def test_a_database_of_a_newer_release_is_refused(database: Database, tmp_path: Path) -> None:
    connection = await asyncpg.connect(database.admin_url)
    try:
        await connection.execute("INSERT INTO daysheet.migration (number, name) VALUES (9999, '9999_later.sql')")
    finally:
        await connection.close()
    ended = await daysheet("serve", "--port=0", f"--database-url={database.url}", f"--data-dir={tmp_path}")
    assert "run a newer release" in ended.said


def _altered(url: str, **parts: str) -> str:
    return urlunsplit(urlsplit(url)._replace(**parts))


NOWHERE = (
    "postgresql://daysheet_app:hush-hush@127.0.0.1:1/daysheet",
    "postgresql://daysheet_app:hush-hush@no-such-host.invalid/daysheet",
    "postgresql://daysheet_app:hush-hush@/daysheet?host=/no/such/folder",
    "postgresql://daysheet_app:hush-hush@localhost:port/daysheet",
    "postgresql://daysheet_app:hush-hush@[::1/daysheet",
    "mysql://daysheet_app:hush-hush@localhost/daysheet",
    "hush-hush",
    "",
)


@pytest.mark.parametrize(
    ("command", "urls"), [(("serve", "--port=0"), NOWHERE), (("migrate",), NOWHERE[2:5])], ids=["serve", "migrate"]
)
async def test_a_database_url_that_leads_nowhere_is_one_line(
    command: tuple[str, ...], urls: tuple[str, ...], tmp_path: Path
) -> None:
    endings = await asyncio.gather(
        *[daysheet(*command, f"--database-url={url}", f"--data-dir={tmp_path}") for url in urls]
    )
    for ended in endings:
        assert re.fullmatch(r"daysheet: .{10,}", ended.said)
        assert "hush-hush" not in ended.errors
    assert not os.listdir(tmp_path)


async def test_a_database_or_a_user_that_does_not_exist_is_named_in_one_line(
    database: Database, tmp_path: Path
) -> None:
    nowhere = _altered(database.url, path="/no_such_database")
    ended = await daysheet("serve", "--port=0", f"--database-url={nowhere}", f"--data-dir={tmp_path}")
    assert ended.said == 'daysheet: database "no_such_database" does not exist'
    name = urlsplit(database.url).netloc
    nobody = database.url.replace(name, f"no_such_user@{name.rpartition('@')[2]}")
    assert "no_such_user" in (await daysheet("serve", "--port=0", f"--database-url={nobody}")).said
