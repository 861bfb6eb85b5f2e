"""What benches stand on: a PostgreSQL of their own with durable settings, and hospitals whose every event is real.

Hospitals are filled through the desk, by the commands that a client would send, so that the log holds exactly what a
hospital would have written.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import date, datetime, time
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import parse_qs, quote, urlsplit

import asyncpg

from domain.desk.outcome import Asker, Done
from domain.ledger.logs import EVENT
from domain.log import read
from domain.log.migrate import migrate
from domain.postgres.embedded import EmbeddedPostgres
from domain.rules import commands
from domain.rules.ids import AppointmentId, DoctorId, PatientId
from gateway.app import running
from gateway.parts import Parts
from gateway.settings import Settings

TIMEZONE: Final = "Asia/Kolkata"
AT_ONCE: Final = 256
CATCH_UP_SECONDS: Final = 120.0
SEAL_SECONDS: Final = 300.0

T = TypeVar("T")

_ASKER: Final = Asker(actor="bench", role="developer")
_FAMILY_NAMES: Final = ("Raman", "Okafor", "Lindqvist", "Haddad", "Moreau", "Tanaka", "Castellanos", "Novák")
_GIVEN_NAMES: Final = ("Priya", "Amara", "Åsa", "Yusuf", "Élise", "Haruto", "Lucía", "Tomáš", "Mei", "Johannes")


@dataclass(frozen=True, slots=True)
class Postgres:
    """A server. `folder` is also where the hospitals keep their one master key."""

    embedded: EmbeddedPostgres
    folder: Path

    def url(self, database: str, user: str = "postgres") -> str:
        return self.embedded.url(user=user, database=database)

    def for_libpq(self, database: str) -> dict[str, str]:
        """The same as keywords, for psycopg."""
        options = {name: values[0] for name, values in parse_qs(urlsplit(self.url(database)).query).items()}
        return {"dbname": database, "user": "postgres", **options}

    async def create(self, database: str, *, template: str = "template1") -> None:
        await self.execute("postgres", f"CREATE DATABASE {quote(database)} TEMPLATE {quote(template)}")

    async def execute(self, database: str, *statements: str) -> None:
        """As the superuser."""
        connection = await asyncpg.connect(self.url(database))
        try:
            for statement in statements:
                await connection.execute(statement, timeout=600)
        finally:
            await connection.close()

    async def version(self) -> str:
        connection = await asyncpg.connect(self.url("postgres"))
        try:
            return str(await connection.fetchval("SHOW server_version"))
        finally:
            await connection.close()

    def settings(self, database: str) -> Settings:
        url = self.url(database, user="daysheet_app")
        return Settings(database_url=url, data_dir=self.folder, timezone=TIMEZONE)


@contextmanager
def embedded_postgres() -> Iterator[Postgres]:
    with tempfile.TemporaryDirectory(prefix="daysheet-bench-") as folder:
        embedded = EmbeddedPostgres.start(Path(folder) / "postgres")
        try:
            yield Postgres(embedded, Path(folder))
        finally:
            embedded.stop()


async def found(postgres: Postgres, database: str) -> None:
    """A database with the schema, and nothing in it."""
    await postgres.create(database)
    connection = await asyncpg.connect(postgres.url(database))
    try:
        await migrate(connection)
    finally:
        await connection.close()


@asynccontextmanager
async def opened(postgres: Postgres, database: str) -> AsyncIterator[Parts]:
    """Desk and read model at work on a founded database, in this process."""
    async with opened_with(postgres.settings(database)) as parts:
        yield parts


@asynccontextmanager
async def opened_with(settings: Settings) -> AsyncIterator[Parts]:
    assert settings.database_url is not None
    async with running(settings, settings.database_url) as parts:
        yield parts


async def do(parts: Parts, command: Any) -> Done:
    return await parts.desk.handle(command, _ASKER)


async def at_once(jobs: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Their results, in order; so many run at a time that commits are shared, and no more."""
    room = asyncio.Semaphore(AT_ONCE)

    async def one(job: Coroutine[Any, Any, T]) -> T:
        async with room:
            return await job

    return await asyncio.gather(*map(one, jobs))


async def hire(parts: Parts, number: int) -> list[DoctorId]:
    asked = [
        commands.RegisterDoctor(name=f"Dr. {_name(n)}", code=f"DOC{n:03}", specialty="Cardiology", room=f"{n}")
        for n in range(number)
    ]
    return [DoctorId(done.receipt.id) for done in await at_once(do(parts, command) for command in asked)]


async def register(parts: Parts, number: int) -> list[PatientId]:
    asked = [
        commands.RegisterPatient(
            name=_name(n),
            phone=f"+91-{9000000000 + n}",
            birth_date=date(1940 + n % 80, 1 + n % 12, 1 + n % 28),
            gender="female",
        )
        for n in range(number)
    ]
    return [PatientId(done.receipt.id) for done in await at_once(do(parts, command) for command in asked)]


def _name(n: int) -> str:
    return f"{_GIVEN_NAMES[n % len(_GIVEN_NAMES)]} {_FAMILY_NAMES[n // len(_GIVEN_NAMES) % len(_FAMILY_NAMES)]}"


async def book(
    parts: Parts, day: date, doctors: list[DoctorId], patients: list[PatientId]
) -> dict[DoctorId, list[AppointmentId]]:
    """The day fills up: every doctor gets an equal share of the patients."""
    share = len(patients) // len(doctors)
    booked: dict[DoctorId, list[AppointmentId]] = {}

    async def fill(doctor: DoctorId, own: list[PatientId]) -> None:
        await do(parts, commands.SetUpClinic(doctor_id=doctor, date=day, capacity=share))
        asked = [commands.BookAppointment(doctor_id=doctor, patient_id=patient, date=day) for patient in own]
        booked[doctor] = [AppointmentId((await do(parts, command)).receipt.id) for command in asked]

    await at_once(fill(doctor, patients[n * share : (n + 1) * share]) for n, doctor in enumerate(doctors))
    return booked


async def check_in(parts: Parts, appointments: Iterable[AppointmentId]) -> None:
    await at_once(do(parts, commands.CheckIn(appointment_id=appointment)) for appointment in appointments)


async def see_everyone(parts: Parts, day: date, booked: Mapping[DoctorId, list[AppointmentId]]) -> None:
    """Everybody is checked in, called and completed."""

    async def see(doctor: DoctorId, appointments: list[AppointmentId]) -> None:
        for appointment in appointments:
            await do(parts, commands.CheckIn(appointment_id=appointment))
            await do(parts, commands.CallNext(doctor_id=doctor, date=day))
            await do(parts, commands.CompleteConsultation(appointment_id=appointment))

    await at_once(see(doctor, appointments) for doctor, appointments in booked.items())


def turn_clock_to(parts: Parts, day: date) -> datetime:
    """Nine in the morning of that day is when everything happens from now on."""
    morning = datetime.combine(day, time(9), parts.zone)
    parts.desk.equipment.now = lambda: morning
    return morning


async def caught_up(parts: Parts) -> int:
    """Wait until the read model has everything. Returns the log's head."""
    head = await read.head(parts.pool)
    await parts.projector.reached(head, seconds=CATCH_UP_SECONDS)
    return head


async def sealed(parts: Parts) -> None:
    """Wait until the ledger has everything: else sealing it is measured together with whatever comes next."""
    head = await read.head(parts.pool)
    assert parts.sealer is not None
    async with asyncio.timeout(SEAL_SECONDS):
        while True:
            if parts.sealer.sealed[EVENT.name] >= head:
                return
            await asyncio.sleep(0.05)


class Nobody:
    """In the directory's place: nobody is looked up."""

    def __init__(self) -> None:
        self.doctors: dict[DoctorId, object] = {}

    async def have(self, patient_ids: Iterable[object]) -> None:
        pass

    def person(self, patient_id: object) -> None:
        pass
