"""A backup brings back who asked to be forgotten; the list outside sees to it that nobody meets them again."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
import pytest_asyncio

from domain.postgres.cluster import _programs_for
from tests.conftest import TIMEZONE, Database
from tests.log.writing import until
from tests.server import Server, started
from tests.system.crew import logged
from tests.system.record import ask
from tests.vault.everything import everything_in, finds

ROW = {"name": "Xquirella Vanterpool", "phone": "+4790871234567", "mrn": "MRN-77Z-4410"}
WORDS = (*ROW.values(), "Xquirella", "Vanterpool", "knee surgery")


class Backup:
    """A dump of a database, and new databases restored from it."""

    def __init__(self, database: Database, file: Path) -> None:
        self._database, self._file = database, file
        self._programs = _programs_for(Path("none"))
        self.restored: list[str] = []

    def make(self) -> None:
        self._run("pg_dump", "--format=custom", f"--file={self._file}", f"--dbname={self._database.admin_url}")

    def restore(self) -> Database:
        name = f"{urlsplit(self._database.admin_url).path.lstrip('/')}_restored_{len(self.restored)}"
        urls = [_named(url, name) for url in (self._database.url, self._database.admin_url)]
        asyncio.run(_execute(self._database.admin_url, f"CREATE DATABASE {name}"))
        self.restored.append(name)
        self._run("pg_restore", "--exit-on-error", f"--dbname={urls[1]}", self._file)
        return replace(self._database, url=urls[0], admin_url=urls[1])

    def _run(self, program: str, *arguments: object) -> None:
        subprocess.run([self._programs / program, *map(str, arguments)], check=True, timeout=60)


@pytest.fixture
def backup(database: Database, tmp_path: Path) -> Iterator[Backup]:
    backup = Backup(database, tmp_path / "backup")
    yield backup
    for name in backup.restored:
        asyncio.run(_execute(database.admin_url, f"DROP DATABASE {name} WITH (FORCE)"))


def _named(url: str, name: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


Start = Callable[..., Awaitable[Server]]


@pytest_asyncio.fixture
async def start() -> AsyncIterator[Start]:
    """Starts servers on the databases given."""
    async with AsyncExitStack() as servers:

        async def start(database: Database, *options: object) -> Server:
            told = ("--database-url", database.url, "--data-dir", database.folder, "--timezone", TIMEZONE, *options)
            return await servers.enter_async_context(started(*map(str, told)))

        yield start


async def _whole_day(server: Server) -> tuple[str, str]:
    """A patient with a visit behind them, before two others in the line. Returns the patient's and the doctor's id."""
    doctor = await server.a_doctor()
    patient = await server.a_patient(**ROW)
    for one in (patient, await server.a_patient(name="Ida Berg"), await server.a_patient(name="Asha Rao")):
        booked = await server.post(
            "/appointments",
            {"doctor_id": doctor, "patient_id": one, "date": await server.today(), "reason": "knee surgery"},
        )
        await server.post("/checkins", {"appointment_id": booked.body["appointment_id"]})
    await server.post("/queue/call-next", {"doctor_id": doctor, "reason": "Xquirella, please"})
    return patient, doctor


async def _line(server: Server, doctor: str) -> list[dict[str, Any]]:
    """The doctor's appointments, in the order of the record, without people."""
    data = (await server.get(f"/queue?doctor_id={doctor}")).body["data"]
    return [{key: value for key, value in one.items() if key != "patient"} for one in data["appointments"]]


async def _everything_asked(server: Server, patient: str, doctor: str) -> str:
    """All answers in which the patient could stand."""
    today = await server.today()
    asked = [f"/patients/{patient}", "/queue", f"/queue?doctor_id={doctor}", f"/queue/{today}/events"]
    asked += [f"/appointments/{one['appointment_id']}/history" for one in await _line(server, doctor)]
    answers = [(await server.get(path)).body for path in asked]
    answers += [
        (await server.post("/patients/search", {"q": text})).body for text in ("Xquirella", "+479087", "MRN-77Z")
    ]
    return str(answers)


async def test_a_restored_backup_is_erased_again_before_it_serves(
    database: Database, backup: Backup, start: Start
) -> None:
    place = database.folder / "erasures.ndjson"
    server = await start(database, "--erasures", place)
    patient, doctor = await _whole_day(server)
    line = await _line(server, doctor)
    await asyncio.to_thread(backup.make)
    assert (await server.post(f"/patients/{patient}/erase", {"reason": "asked for it"})).status == 200
    await until(lambda: place.stat().st_size)
    assert "daysheet_erasures_pending" in await _metrics(server)
    assert await server.stop() == 0

    # Without the list the backup has brought all of it back: so there is something to forget.
    restored = await asyncio.to_thread(backup.restore)
    server = await start(restored)
    said = await _everything_asked(server, patient, doctor)
    assert ROW["name"] in said
    assert "knee surgery" in said
    assert (await server.post("/patients/search", {"q": "Xquirella"})).body["patients"]
    assert await server.stop() == 0

    restored = await asyncio.to_thread(backup.restore)
    server = await start(restored, "--erasures", place, "--workers", "2")
    (told,) = logged(server, "erased_again")
    assert (told["patients"], told["worker"]) == (1, 1)
    said = await _everything_asked(server, patient, doctor)
    assert not [word for word in WORDS[:5] if word in said]
    assert "[erased]" in said
    assert await _line(server, doctor) == line
    (erased,) = await ask(restored.admin_url, "SELECT * FROM daysheet.event WHERE type LIKE 'patient-erased@%'")
    assert str(erased["subject"]) == patient
    everything = await asyncio.to_thread(everything_in, restored.admin_url)
    assert not [word for word in WORDS if finds(everything, word)]
    assert not await ask(restored.admin_url, "SELECT FROM daysheet.patient_key WHERE patient = $1", erased["subject"])
    assert await server.stop() == 0
    assert not [word for word in WORDS if finds(bytes(server.log) + place.read_bytes(), word)]


async def test_a_list_that_is_not_there_keeps_a_restored_backup_from_serving(database: Database, start: Start) -> None:
    server = await start(database)
    await server.a_patient(**ROW)
    assert await server.stop() == 0
    with pytest.raises(AssertionError) as caught:
        await start(database, "--erasures", database.folder / "gone", "--workers", "2")
    said = str(caught.value)
    assert f"daysheet: --erasures {database.folder / 'gone'}: the list of erasures is not there. Bring it back" in said
    assert "Traceback" not in said


async def _metrics(server: Server) -> str:
    async with server._session.get(server.url + "/metrics") as response:
        return await response.text()
