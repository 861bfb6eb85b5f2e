"""Deciding on doctors and patients."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from msgspec import UNSET, structs

from domain.desk.outcome import Receipt
from domain.log import read
from domain.log.append import Conflict, VaultChange
from domain.rules.commands import ChangeDoctor, ChangePatient, ErasePatient, RegisterDoctor, RegisterPatient
from domain.rules.doctor import Doctor, DoctorDetails
from domain.rules.events import PatientDetailsChanged, PatientRegistered
from domain.rules.ids import DoctorId, PatientId, doctor_stream, patient_stream
from domain.rules.patient import Patient
from domain.rules.refusals import DoctorCodeTaken, MrnTaken, UnknownPatient
from domain.vault.sealing import PatientDetails
from domain.vault.unnamed import without

if TYPE_CHECKING:
    from domain.desk.work import Work

_CODE: Final = "doctor code"
MRN: Final = "mrn"


async def register_doctor(work: Work, command: RegisterDoctor) -> Receipt:
    moment = work.moment()
    doctor_id = DoctorId(work.new_id())
    details = DoctorDetails(command.name, command.code, command.specialty, command.department, command.room)
    work.claim(_CODE, command.code, doctor_id, DoctorCodeTaken)
    work.begin(Doctor.register(doctor_stream(doctor_id), details, reason=command.reason, at=moment.at))
    return Receipt("doctor", doctor_id, created=True)


async def change_doctor(work: Work, command: ChangeDoctor) -> Receipt:
    stream = doctor_stream(command.doctor_id)
    await work.lock(stream)
    await work.load(stream)
    doctor = work.doctor(command.doctor_id)
    work.touch(stream)
    moment = work.moment()
    before = doctor.details
    details = replace(before, **_told(command, before.__slots__))
    if details.code != before.code:
        work.exchange(_CODE, before.code, details.code, command.doctor_id, DoctorCodeTaken)
    doctor.change(details, reason=command.reason, at=moment.at)
    return Receipt("doctor", command.doctor_id)


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
    vault = work.equipment.vault
    work.vault.append(VaultChange("key", patient_id, vault.new_key(patient_id)))
    work.vault += (VaultChange("token", patient_id, token) for token in work.equipment.digests.search_tokens(details))
    if command.mrn is not None:
        work.claim(MRN, command.mrn, patient_id, MrnTaken)
    work.begin(
        Patient.register(
            patient_stream(patient_id),
            details=vault.seal_details(patient_id, details),
            reason=vault.seal(patient_id, command.reason),
            at=moment.at,
        )
    )
    return Receipt("patient", patient_id, created=True)


async def change_patient(work: Work, command: ChangePatient) -> Receipt:
    stream = patient_stream(command.patient_id)
    await work.lock(stream)
    await work.load(stream)
    patient = work.patient(command.patient_id)
    work.touch(stream)
    vault, digests = work.equipment.vault, work.equipment.digests
    await vault.fetch_keys([command.patient_id])
    # Another server may have forgotten them while this one still holds the key: the key alone does not tell.
    before = None if patient.erased else vault.open_details(command.patient_id, patient.details)
    if before is None:
        raise UnknownPatient  # There is nobody left whose details could change.
    moment = work.moment()
    told = _told(command, before.__struct_fields__)
    details = structs.replace(before, **told | ({"gender": told["gender"] or "unknown"} if "gender" in told else {}))
    if details == before:
        return Receipt("patient", command.patient_id)
    if details.mrn != before.mrn:
        work.exchange(MRN, before.mrn, details.mrn, command.patient_id, MrnTaken)
    old, new = digests.search_tokens(before), digests.search_tokens(details)
    work.vault += (VaultChange("untoken", command.patient_id, token) for token in old - new)
    work.vault += (VaultChange("token", command.patient_id, token) for token in new - old)
    patient.change(
        vault.seal_details(command.patient_id, details),
        reason=vault.seal(command.patient_id, command.reason),
        at=moment.at,
    )
    return Receipt("patient", command.patient_id)


def _told(command: ChangeDoctor | ChangePatient, fields: Iterable[str]) -> dict[str, Any]:
    """What a PATCH says of these fields."""
    return {name: value for name in fields if (value := getattr(command, name)) is not UNSET}


async def erase_patient(work: Work, command: ErasePatient) -> Receipt:
    stream = patient_stream(command.patient_id)
    await work.lock(stream)
    await work.load(stream)
    patient = work.patient(command.patient_id)
    work.touch(stream)
    moment = work.moment()
    if not patient.erased:
        known = await _all_details(work, command.patient_id)
        patient.erase(reason=without(known, command.reason), at=moment.at)
        work.vault.append(VaultChange("forget", command.patient_id))
    return Receipt("patient", command.patient_id)


async def _all_details(work: Work, patient_id: PatientId) -> list[PatientDetails]:
    """What was ever registered about this patient. None of it where the key is gone. Raises Conflict where more has
    been registered elsewhere meanwhile, and is known of here."""
    vault, mapper = work.equipment.vault, work.equipment.mapper
    rows = await read.streams(work.equipment.pool, {patient_stream(patient_id): 0})
    await vault.fetch_keys([patient_id])
    if rows[-1].originator_version < work.patient(patient_id).version:
        raise Conflict
    events = [mapper.to_domain_event(row) for row in rows]
    told = [event.details for event in events if isinstance(event, PatientRegistered | PatientDetailsChanged)]
    return [details for sealed in told if (details := vault.open_details(patient_id, sealed)) is not None]
