"""What the stored looks in golden.json say: of each type one with all its fields, and one without what it may lack."""

from __future__ import annotations

from datetime import UTC, date, datetime
from uuid import UUID

from domain.audit.looks import (
    AccessDenied,
    AuditViewed,
    BoardViewed,
    DayEventsViewed,
    ExportMade,
    HistoryViewed,
    Look,
    PatientsSearched,
    PatientViewed,
    RecordingInterrupted,
    ReplayEnded,
    ReplayStarted,
    SubscriptionEnded,
    SubscriptionStarted,
)
from domain.rules.ids import AppointmentId, DoctorId, PatientId

AT = datetime(2025, 11, 17, 3, 45, 0, 123456, tzinfo=UTC)
LATER = datetime(2025, 11, 17, 3, 47, 30, tzinfo=UTC)
DAY = date(2025, 11, 17)
DOCTOR = DoctorId(UUID("d0c70000-0000-4000-8000-000000000001"))
PATIENT = PatientId(UUID("9a710000-0000-4000-8000-000000000002"))
OTHER = PatientId(UUID("9a710000-0000-4000-8000-000000000012"))
APPOINTMENT = AppointmentId(UUID("a9900000-0000-4000-8000-000000000003"))

EXPECTED: dict[str, Look] = {
    "patient-viewed@1": PatientViewed(patient_id=PATIENT),
    "patients-searched@1": PatientsSearched(patients=(PATIENT, OTHER)),
    "patients-searched@1 nobody": PatientsSearched(patients=()),
    "history-viewed@1": HistoryViewed(appointment_id=APPOINTMENT),
    "board-viewed@1": BoardViewed(
        date=DAY,
        sequence=340,
        doctor_id=DOCTOR,
        doctors=(DOCTOR,),
        department="Heart",
        public=True,
        by="effective",
    ),
    "board-viewed@1 bare": BoardViewed(date=DAY, sequence=340),
    "subscription-started@1": SubscriptionStarted(
        date=DAY,
        sequence=340,
        doctor_id=DOCTOR,
        doctors=(DOCTOR,),
        department="Heart",
        public=True,
    ),
    "subscription-started@1 bare": SubscriptionStarted(date=DAY, sequence=340),
    "subscription-started@1 nobody": SubscriptionStarted(date=DAY, sequence=340, doctors=()),
    "subscription-ended@1": SubscriptionEnded(date=DAY, sequence=512),
    "replay-started@1": ReplayStarted(
        date=DAY,
        sequence=340,
        doctor_id=DOCTOR,
        doctors=(DOCTOR,),
        department="Heart",
        public=True,
        by="effective",
    ),
    "replay-started@1 bare": ReplayStarted(date=DAY, sequence=340),
    "replay-ended@1": ReplayEnded(date=DAY, first=12, last=340),
    "day-events-viewed@1": DayEventsViewed(date=DAY, after=12, up_to=340),
    "export-made@1": ExportMade(
        date=DAY,
        sequence=340,
        doctor_id=DOCTOR,
        doctors=(DOCTOR,),
        department="Heart",
        public=True,
        format="ndjson",
        names=True,
    ),
    "export-made@1 bare": ExportMade(date=DAY, sequence=340, format="csv"),
    "audit-viewed@1": AuditViewed(patient_id=PATIENT, date=DAY, actor="desk-2", format="fhir", records=7),
    "audit-viewed@1 bare": AuditViewed(format="json", records=0),
    "access-denied@1": AccessDenied(minute=LATER, count=17, together=True),
    "access-denied@1 bare": AccessDenied(minute=LATER, count=1),
    "recording-interrupted@1": RecordingInterrupted(lost=3, late=250, since=AT, until=LATER),
}
