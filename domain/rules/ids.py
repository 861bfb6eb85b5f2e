"""Who and what is meant: typed ids, and the names of the streams that hold their facts."""

from datetime import date
from typing import NewType
from uuid import UUID

DoctorId = NewType("DoctorId", UUID)
PatientId = NewType("PatientId", UUID)
AppointmentId = NewType("AppointmentId", UUID)

Sealed = NewType("Sealed", bytes)
"""Text or details about one patient, readable only with that patient's key (see domain/vault)."""

CLINIC = "clinic"
DOCTOR = "doctor"
PATIENT = "patient"
PATIENT_DAY = "patient-day"


def clinic_stream(doctor_id: DoctorId, day: date) -> str:
    return f"{CLINIC}/{doctor_id}/{day.isoformat()}"


def doctor_stream(doctor_id: DoctorId) -> str:
    return f"{DOCTOR}/{doctor_id}"


def patient_stream(patient_id: PatientId) -> str:
    return f"{PATIENT}/{patient_id}"


def patient_day_stream(patient_id: PatientId, day: date) -> str:
    return f"{PATIENT_DAY}/{patient_id}/{day.isoformat()}"


def clinic_of(stream: str) -> tuple[DoctorId, date]:
    """The doctor and date in the name of a clinic's stream."""
    _, doctor, day = stream.split("/")
    return DoctorId(UUID(doctor)), date.fromisoformat(day)
