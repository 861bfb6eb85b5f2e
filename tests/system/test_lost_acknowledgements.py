"""The worst moment for a connection to die: the database has committed, and nobody has heard of it."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest_asyncio

from tests.conftest import TIMEZONE, Database, ServerFactory
from tests.server import Server, start_server
from tests.system.obstacles import until_one_ends
from tests.system.own_postgres import OwnPostgres
from tests.system.record import of_type, whole_record

SOCKET = ".s.PGSQL.5432"


class Wire:
    """Lies between a server and its PostgreSQL. Loses the next answer to an append when told to."""

    def __init__(self, upstream: Path) -> None:
        self._upstream = upstream
        self.loses = False
        self.lost = 0
        self.cut_off = False
        """Nobody gets a new connection."""

    async def carry(self, asked: asyncio.StreamReader, answers: asyncio.StreamWriter) -> None:
        if self.cut_off:
            answers.transport.abort()
            return
        from_database, to_database = await asyncio.open_unix_connection(self._upstream)
        appends = False

        async def there() -> None:
            nonlocal appends
            while data := await asked.read(65536):
                appends |= b"daysheet.append" in data  # where it is prepared; later it goes by another name
                to_database.write(data)

        async def back() -> None:
            while data := await from_database.read(65536):
                if appends and self.loses:
                    self.loses = False
                    self.lost += 1
                    return
                answers.write(data)

        await until_one_ends(there(), back(), answers, to_database)


@pytest_asyncio.fixture
async def wire(own_postgres: OwnPostgres) -> AsyncIterator[tuple[Wire, str]]:
    """And the address of its nearer end."""
    wire = Wire(own_postgres.folder / SOCKET)
    with tempfile.TemporaryDirectory() as folder:
        listener = await asyncio.start_unix_server(wire.carry, Path(folder) / SOCKET)
        yield wire, f"postgresql://daysheet_app@/daysheet?host={folder}&port=5432"
        listener.close()


@pytest_asyncio.fixture
async def wired_server(wire: tuple[Wire, str], data_dir: Path) -> AsyncIterator[Server]:
    server = await start_server("--database-url", wire[1], "--data-dir", str(data_dir), "--timezone", TIMEZONE)
    yield server
    await server.stop()


async def test_a_commit_that_nobody_heard_of_is_recognised_when_it_is_sent_again(
    wired_server: Server, wire: tuple[Wire, str], own_postgres: OwnPostgres
) -> None:
    server, (line, _) = wired_server, wire
    today = await server.today()
    await server.a_doctor()  # from here on, an answer to an append is the answer to a commit
    line.loses = True
    doctor = await server.a_doctor(code="DOC001")  # what it claims is taken: by itself
    line.loses = True
    patient = await server.a_patient(name="Asha Rao", mrn="A-1")
    line.loses = True
    appointment = await server.an_appointment(doctor, patient)
    line.loses = True
    arrived = await server.post("/checkins", {"appointment_id": appointment}, Idempotency_Key="k")
    assert (arrived.status, arrived.body["queue"]["ticket"]) == (201, "DOC001-1")
    line.loses = True
    called = await server.post("/queue/call-next", {"doctor_id": doctor})
    assert (called.status, called.body["queue"]["status"]) == (200, "called")

    assert line.lost == 5
    rows = await whole_record(own_postgres.admin_url)
    assert len(rows) == called.body["sequence"]
    for topic in ("patient-registered", "appointment-booked", "patient-checked-in", "patient-called"):
        assert len(of_type(rows, topic)) == 1
    assert len(of_type(rows, "doctor-registered")) == 2
    assert (await server.get(f"/queue?date={today}")).body["sequence"] == called.body["sequence"]
    again = await server.post("/checkins", {"appointment_id": appointment}, Idempotency_Key="k")
    assert (again.body, again.headers["Idempotency-Replayed"]) == (arrived.body, "true")


async def test_where_it_cannot_be_sent_again_the_outcome_is_unknown_and_the_key_finds_it(
    wired_server: Server, wire: tuple[Wire, str], own_postgres: OwnPostgres
) -> None:
    server, (line, _) = wired_server, wire
    doctor, patient = await server.a_doctor(), await server.a_patient()
    booking = {"doctor_id": doctor, "patient_id": patient, "date": await server.today()}
    line.loses = line.cut_off = True
    unknown = await server.post("/appointments", booking, Idempotency_Key="k")
    assert (unknown.status, unknown.code, line.lost) == (503, "outcome_unknown", 1)
    line.cut_off = False
    booked = await server.post("/appointments", booking, Idempotency_Key="k")
    assert (booked.status, booked.headers["Idempotency-Replayed"]) == (201, "true")
    rows = await whole_record(own_postgres.admin_url)
    (recorded,) = of_type(rows, "appointment-booked")
    assert (str(recorded["subject"]), recorded["position"]) == (booked.body["appointment_id"], booked.body["sequence"])


async def test_what_is_recorded_and_cannot_be_shown_is_not_called_unrecorded(
    serve: ServerFactory, database: Database
) -> None:
    here, there = await asyncio.gather(serve(), serve())
    booking = {"doctor_id": await here.a_doctor(), "patient_id": await here.a_patient(), "date": await here.today()}
    connection = await asyncpg.connect(database.admin_url)
    try:
        async with connection.transaction():
            # To book, nobody has to know the patient's name. To show the board, somebody has to open it.
            await connection.execute("LOCK TABLE daysheet.patient_key IN ACCESS EXCLUSIVE MODE")
            hidden = await there.post("/appointments", booking, Idempotency_Key="k")
            assert (hidden.status, hidden.code) == (503, "outcome_unknown")
    finally:
        await connection.close()
    shown = await there.post("/appointments", booking, Idempotency_Key="k")
    assert (shown.status, shown.headers["Idempotency-Replayed"]) == (201, "true")
    assert len(of_type(await whole_record(database.admin_url), "appointment-booked")) == 1
