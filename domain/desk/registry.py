"""Deciding on doctors and patients."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from domain.desk.outcome import Receipt
from domain.log.append import VaultChange
from domain.rules.commands import ErasePatient, RegisterDoctor, RegisterPatient
from domain.rules.doctor import Doctor
from domain.rules.ids import DoctorId, PatientId, doctor_stream, patient_stream
from domain.rules.patient import Patient
from domain.rules.refusals import DoctorCodeTaken, MrnTaken
from domain.vault.sealing import PatientDetails

if TYPE_CHECKING:
    from domain.desk.work import Work

ERASED = "[erased]"


async def register_doctor(work: Work, command: RegisterDoctor) -> Receipt:
    moment = work.moment()
    doctor_id = DoctorId(work.new_id())
    work.claim("doctor code", command.code, doctor_id, DoctorCodeTaken)
    work.begin(
        Doctor.register(
            doctor_stream(doctor_id),
            name=command.name,
            code=command.code,
            specialty=command.specialty,
            department=command.department,
            room=command.room,
            reason=command.reason,
            at=moment.at,
        )
    )
    return Receipt("doctor", doctor_id, created=True)


async def register_patient(work: Work, command: RegisterPatient) -> Receipt:
    moment = work.moment()
    patient_id = PatientId(work.new_id())
    details = PatientDetails(
        name=command.name,
        phone=command.phone,
        birth_date=command.birth_date,
        age=command.age,
        gender=command.gender or "unknown",
        mrn=command.mrn,
        private=command.private,
    )
    vault = work.desk.vault
    work.vault.append(VaultChange("key", patient_id, vault.new_key(patient_id)))
    work.vault += (VaultChange("token", patient_id, token) for token in work.desk.digests.search_tokens(details))
    if command.mrn is not None:
        work.claim("mrn", command.mrn, patient_id, MrnTaken)
    work.begin(
        Patient.register(
            patient_stream(patient_id),
            details=vault.seal_details(patient_id, details),
            reason=vault.seal(patient_id, command.reason),
            at=moment.at,
        )
    )
    return Receipt("patient", patient_id, created=True)


async def erase_patient(work: Work, command: ErasePatient) -> Receipt:
    stream = patient_stream(command.patient_id)
    await work.lock(stream)
    await work.load(stream)
    patient = work.patient(command.patient_id)
    work.touch(stream)
    moment = work.moment()
    if not patient.erased:
        await work.desk.vault.fetch_keys([command.patient_id])
        details = work.desk.vault.open_details(command.patient_id, patient.details)
        patient.erase(reason=_without(details, command.reason), at=moment.at)
        work.vault.append(VaultChange("forget", command.patient_id))
    return Receipt("patient", command.patient_id)


def _without(details: PatientDetails | None, reason: str) -> str:
    """The reason stays readable for ever, so it must not say who is forgotten."""
    if details is None:
        return reason
    personal = {details.name, *details.name.split(), details.phone, details.mrn}
    for text in sorted((text for text in personal if text and len(text) > 1), key=len, reverse=True):
        reason = re.sub(re.escape(text), ERASED, reason, flags=re.IGNORECASE)
    return reason
