"""append: how many commands are committed in a second, each one on disk before it is answered.

1, 16 and 64 writers    The recorder alone. Each writer appends one event per command to a stream of its own and waits
                        for it. Ours is the group commit of domain/log/append.py on one connection; the peer is the
                        eventsourcing library's recorder with a thread and a connection for every writer.
N writers, sealed       Our recorder alone on both sides, on two databases. On ours a sealer is at work in the same
                        process, as in a server: it seals what the writers append while they append it.
bookings                The whole command, by 64 callers on 20 doctors' lists: no slot named, each booking a fresh
                        patient. Ours comes in through REST, out of a load client in a process of its own, and includes
                        HTTP, the patient's own day, and an answer read from the read model. The peer is called in its
                        own process: the library's Application with one aggregate per doctor's day and the same rules,
                        in 64 threads, deciding again on an IntegrityError.

Both sides use the same server, with fsync on. The lists are new in every round.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import count
from typing import Final
from uuid import UUID, uuid4

import msgspec

from domain.ledger.keys import SigningKey, agreed_key
from domain.ledger.sealer import SEAL_SECONDS, Sealer
from domain.log.append import Writer
from domain.log.codec import Draft, EventMapper, Meta
from domain.postgres.connect import connect
from domain.rules.commands import BookAppointment, SetUpClinic
from domain.rules.events import PatientCalled
from domain.rules.ids import AppointmentId, DoctorId, PatientId, clinic_stream
from scripts.benchmarks import hospital, stage
from scripts.benchmarks.hospital import Postgres
from scripts.benchmarks.peers import library_application, library_recorder
from scripts.benchmarks.report import Row, interleaved, row

WRITERS: Final = (1, 16, 64)
SEALED_WRITERS: Final = (1, 64)
CALLERS: Final = 64
DOCTORS: Final = 20
CAPACITY: Final = 1_400
ANSWER_SECONDS: Final = 30.0
DAY: Final = date(2031, 5, 12)

_encode: Final = msgspec.json.encode


async def run(postgres: Postgres, *, quick: bool) -> list[Row]:
    await hospital.found(postgres, "log")
    await hospital.found(postgres, "sealed")
    await hospital.found(postgres, "not_sealed")
    await hospital.found(postgres, "hospital")
    await postgres.create("peer")
    seconds, rounds = (0.2, 1) if quick else (1.5, 7)
    rows = [await _recorders(postgres, writers, seconds, rounds) for writers in WRITERS]
    rows += await _sealed(postgres, seconds, rounds)
    seconds, rounds, patients = (0.5, 1, 600) if quick else (3.0, 5, 9_000)
    return [*rows, await _bookings(postgres, seconds, rounds, patients)]


# --- the recorder alone --------------------------------------------------------------------------


async def _recorders(postgres: Postgres, writers: int, seconds: float, rounds: int) -> Row:
    writer = Writer(postgres.url("log", user="daysheet_app"), on_commit=lambda: None)
    running = asyncio.create_task(writer.run())

    async def ours() -> float:
        return await _append_for(writer, writers, seconds)

    with library_recorder.library_recorder(postgres, "peer", writers) as recorder:

        async def peer() -> float:
            return await asyncio.to_thread(recorder.append_for, seconds)

        figures = await interleaved(rounds, ours, peer)
    writer.close()
    await running
    return row(f"{writers} {'writer' if writers == 1 else 'writers'}", "commands/s", library_recorder.NAME, figures)


async def _sealed(postgres: Postgres, seconds: float, rounds: int) -> list[Row]:
    sealer = Sealer(postgres.url("sealed", user="daysheet_app"), uuid4(), await _pinned_key(postgres))
    sealing = asyncio.create_task(sealer.run())
    urls = [postgres.url(name, user="daysheet_app") for name in ("sealed", "not_sealed")]
    sides = [Writer(url, on_commit=lambda: None) for url in urls]
    running = [asyncio.create_task(writer.run()) for writer in sides]
    rows = []
    for writers in SEALED_WRITERS:

        async def with_sealing(writers: int = writers) -> float:
            figure = await _append_for(sides[0], writers, seconds)
            await asyncio.sleep(4 * SEAL_SECONDS)  # What is left must not be sealed at the other side's expense.
            return figure

        async def without(writers: int = writers) -> float:
            return await _append_for(sides[1], writers, seconds)

        figures = await interleaved(rounds, with_sealing, without)
        name = f"{writers} {'writer' if writers == 1 else 'writers'}, sealed"
        rows.append(row(name, "commands/s", "without sealing", figures))
    if sealer.faults or not sealer.sealed["event"]:
        raise RuntimeError("nothing was sealed")
    sealing.cancel()
    for writer in sides:
        writer.close()
    await asyncio.gather(*running)
    return rows


async def _pinned_key(postgres: Postgres) -> SigningKey:
    connection = await connect(postgres.url("sealed", user="daysheet_app"))
    try:
        key = await agreed_key(connection, None, postgres.folder / "ledger.key")
    finally:
        await connection.close()
    assert key is not None
    return key


async def _append_for(writer: Writer, writers: int, seconds: float) -> float:
    begins = time.perf_counter()
    mapper = EventMapper()

    async def write() -> int:
        stream, version = clinic_stream(DoctorId(uuid4()), DAY), 0
        while time.perf_counter() < begins + seconds:
            version += 1
            await writer.append([called(mapper, stream, version)])
        return version

    counts = await asyncio.gather(*(write() for _ in range(writers)))
    return sum(counts) / (time.perf_counter() - begins)


def called(mapper: EventMapper, stream: str, version: int) -> Draft:
    appointment_id, now = AppointmentId(uuid4()), datetime.now(UTC)
    event = PatientCalled(
        originator_id=stream, originator_version=version, timestamp=now, appointment_id=appointment_id
    )
    meta = Meta(effective_at=now, command="CallNext", command_id=uuid4(), actor="developer", role="developer")
    return mapper.to_draft(event, meta=_encode(meta))


# --- the whole command ---------------------------------------------------------------------------


async def _bookings(postgres: Postgres, seconds: float, rounds: int, patients: int) -> Row:
    """`patients`: more than are booked in a round; every one of them is new to every round."""
    days = [DAY + timedelta(days=number) for number in range(1 + rounds)]
    async with hospital.opened(postgres, "hospital") as parts:
        doctors = await hospital.hire(parts, DOCTORS)
        people = await hospital.register(parts, patients * len(days))
        for day in days:
            asked = [
                SetUpClinic(doctor_id=doctor, date=day, capacity=CAPACITY, starts_at="00:00", slot_minutes=1)
                for doctor in doctors
            ]
            await hospital.at_once(hospital.do(parts, command) for command in asked)
    number = count()
    async with stage.daysheet(postgres, "hospital") as server:

        async def ours() -> float:
            n = next(number)
            return await _book_for(server.address, seconds, days[n], doctors, people[n * patients : (n + 1) * patients])

        with library_application.library_application(postgres, "peer", connections=CALLERS) as application:

            async def peer() -> float:
                clinics = [application.open(doctor, str(uuid4()), CAPACITY) for doctor in doctors]
                return await asyncio.to_thread(application.book_for, seconds, CALLERS, clinics)

            figures = await interleaved(rounds, ours, peer)
    return row(f"bookings, {CALLERS} callers", "bookings/s", library_application.NAME, figures)


async def _book_for(
    address: str, seconds: float, day: date, doctors: Sequence[UUID], patients: Sequence[PatientId]
) -> float:
    job = {"url": address, "path": "/api/v1/appointments", "connections": CALLERS, "seconds": seconds}
    bodies = [
        _encode(BookAppointment(doctor_id=DoctorId(doctors[n % len(doctors)]), patient_id=patient, date=day))
        for n, patient in enumerate(patients)
    ]
    client = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "scripts.benchmarks.load", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(seconds + ANSWER_SECONDS):
        output, _ = await client.communicate(b"\n".join([json.dumps(job).encode(), *bodies]))
    answers = json.loads(output)
    if set(answers["statuses"]) != {"201"}:
        raise RuntimeError(f"not every booking was taken: {answers}")
    return float(answers["statuses"]["201"] / answers["seconds"])
