"""A day as tables of what is true now, in place of a log: what peers/fastapi_postgres.py serves."""

from __future__ import annotations

import sys
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Final

import asyncpg
import msgspec

from projections import shapes
from scripts.benchmarks import stage
from scripts.benchmarks.hospital import Postgres
from scripts.benchmarks.stage import Server

_SCHEMA: Final = """
CREATE TABLE doctor (id uuid PRIMARY KEY, name text NOT NULL, code text NOT NULL, specialty text NOT NULL);
CREATE TABLE patient (id uuid PRIMARY KEY, name text NOT NULL, phone text, age int, gender text NOT NULL);
CREATE TABLE appointment (
    id uuid PRIMARY KEY, date date NOT NULL, doctor_id uuid NOT NULL REFERENCES doctor,
    patient_id uuid NOT NULL REFERENCES patient, slot int NOT NULL, status text NOT NULL
);
CREATE TABLE queue (
    appointment_id uuid PRIMARY KEY REFERENCES appointment, status text NOT NULL,
    checked_in_at timestamptz NOT NULL, called_at timestamptz, completed_at timestamptz
);
CREATE INDEX ON appointment (date, doctor_id, slot);
CREATE SEQUENCE change;
"""


async def fill(postgres: Postgres, database: str, encoded: bytes) -> None:
    """A database with these tables and one day in them: a shapes.Day, everybody of whom has come."""
    day = msgspec.json.decode(encoded, type=shapes.Day)
    booked = [(block.doctor, appointment) for block in day.doctors for appointment in block.appointments]
    await postgres.create(database)
    await postgres.execute(database, _SCHEMA)
    connection = await asyncpg.connect(postgres.url(database))
    try:
        doctors = [msgspec.structs.astuple(block.doctor) for block in day.doctors]
        await connection.copy_records_to_table("doctor", records=doctors)
        patients = [msgspec.structs.astuple(appointment.patient) for _, appointment in booked]
        await connection.copy_records_to_table("patient", records=patients)
        appointments = [(a.appointment_id, day.date, doctor.id, a.patient.id, a.slot, a.status) for doctor, a in booked]
        await connection.copy_records_to_table("appointment", records=appointments)
        queue = [
            (a.appointment_id, a.queue.status, datetime.fromisoformat(a.queue.checked_in_at), None, None)
            for _, a in booked
            if a.queue is not None
        ]
        await connection.copy_records_to_table("queue", records=queue)
        await connection.execute("ANALYZE")
    finally:
        await connection.close()


def serving(postgres: Postgres, database: str) -> AbstractAsyncContextManager[Server]:
    return stage.serving(sys.executable, "-m", "scripts.benchmarks.peers.fastapi_postgres", job=postgres.url(database))
