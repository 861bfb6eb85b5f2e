"""Asking a desk for what most stories begin with."""

from __future__ import annotations

from datetime import date
from typing import Any
from uuid import uuid4

from domain.desk.outcome import Asker, Done
from domain.rules import commands
from domain.rules.ids import AppointmentId, DoctorId, PatientId
from gateway.parts import Parts


def asker(key: str | None = None, actor: str = "desk-1") -> Asker:
    return Asker(actor=actor, role="reception", idempotency_key=key)


async def ask(parts: Parts, command: Any, key: str | None = None, actor: str = "desk-1") -> Done:
    return await parts.desk.handle(command, asker(key, actor))


async def a_doctor(parts: Parts, **keys: Any) -> DoctorId:
    made_up = {"name": "Dr. Amara Okafor", "code": f"D{uuid4().hex[:6]}", "specialty": "Cardiology"}
    return DoctorId((await ask(parts, commands.RegisterDoctor(**(made_up | keys)))).receipt.id)


async def a_patient(parts: Parts, **keys: Any) -> PatientId:
    return PatientId((await ask(parts, commands.RegisterPatient(**({"name": "Priya Raman"} | keys)))).receipt.id)


async def an_appointment(
    parts: Parts, doctor_id: DoctorId, patient_id: PatientId | None = None, **keys: Any
) -> AppointmentId:
    """Today, unless said otherwise."""
    command = a_booking(parts, doctor_id, patient_id or await a_patient(parts), **keys)
    return AppointmentId((await ask(parts, command)).receipt.id)


def a_booking(parts: Parts, doctor_id: DoctorId, patient_id: PatientId, **keys: Any) -> commands.BookAppointment:
    on: date = keys.pop("date", None) or parts.today()
    return commands.BookAppointment(doctor_id=doctor_id, patient_id=patient_id, date=on, **keys)
