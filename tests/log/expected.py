"""What the bytes in golden.json say: of every type and version there has ever been one event with all fields filled in,
and, where fields may be left out, a `bare` one without them.

A new event, or a new version of one, adds its entries here and its bytes in golden.json. Those that stand there are
never changed: rows with such bytes are in the hospitals' logs.
"""

from datetime import UTC, date, datetime
from typing import Any, Final
from uuid import UUID

from domain.rules import events
from domain.rules.events import Event
from domain.rules.ids import (
    AppointmentId,
    DoctorId,
    PatientId,
    Sealed,
    clinic_stream,
    doctor_stream,
    patient_day_stream,
    patient_stream,
)

DOCTOR = DoctorId(UUID("d0c70000-0000-4000-8000-000000000001"))
PATIENT = PatientId(UUID("9a710000-0000-4000-8000-000000000002"))
APPOINTMENT = AppointmentId(UUID("a9900000-0000-4000-8000-000000000003"))
DAY = date(2025, 11, 17)

AT = datetime(2025, 11, 17, 3, 45, 0, 123456, tzinfo=UTC)
CLINIC_STREAM = clinic_stream(DOCTOR, DAY)
DOCTOR_STREAM = doctor_stream(DOCTOR)
PATIENT_STREAM = patient_stream(PATIENT)
PATIENT_DAY_STREAM = patient_day_stream(PATIENT, DAY)
SEALED = Sealed(b"\x01sealed \xff\x00 bytes")
OTHER_DOCTOR = DoctorId(UUID("d0c70000-0000-4000-8000-000000000005"))
STATE = events.State(
    slot=3,
    priority="urgent",
    status="completed",
    stage="completed",
    ticket="DOC001-4",
    arrived_at=datetime(2025, 11, 17, 3, 30, 0, 5, tzinfo=UTC),
    arrival=6,
    place_kept=True,
    called_at=datetime(2025, 11, 17, 3, 40, tzinfo=UTC),
    completed_at=datetime(2025, 11, 17, 3, 44, 59, 999999, tzinfo=UTC),
)
BARE_STATE = events.State(slot=1)
STEPS = (
    events.Step(type="PatientCheckedIn", before=BARE_STATE),
    events.Step(type="AppointmentMovedIn", before=STATE, doctor_id=OTHER_DOCTOR, date=date(2025, 11, 16)),
)


def _in(stream: str, version: int) -> dict[str, Any]:
    return {"originator_id": stream, "originator_version": version, "timestamp": AT}


EXPECTED: Final[dict[str, Event]] = {
    "doctor-registered@1": events.DoctorRegistered(
        **_in(DOCTOR_STREAM, 1),
        name="Dr. Zoë 李",
        code="DOC001",
        specialty="Cardiology",
        department="Medicine",
        room="B2",
        reason="new here",
    ),
    "patient-registered@1": events.PatientRegistered(**_in(PATIENT_STREAM, 1), details=SEALED, reason=SEALED),
    "patient-erased@1": events.PatientErased(**_in(PATIENT_STREAM, 2), reason="asked for it"),
    "clinic-opened@1": events.ClinicOpened(
        **_in(CLINIC_STREAM, 1),
        capacity=12,
        starts_at="14:30",
        slot_minutes=15,
        room="B2",
        order="arrival",
        reason="a first list",
    ),
    "clinic-opened@2": events.ClinicOpened(
        **_in(CLINIC_STREAM, 1),
        capacity=12,
        starts_at="14:30",
        slot_minutes=15,
        room="B2",
        order="slot",
        reason="a first list",
    ),
    "clinic-changed@1": events.ClinicChanged(
        **_in(CLINIC_STREAM, 7),
        capacity=20,
        starts_at="14:30",
        slot_minutes=15,
        room="C1",
        order="arrival",
        reason="a longer list",
    ),
    "appointment-booked@1": events.AppointmentBooked(
        **_in(CLINIC_STREAM, 7),
        appointment_id=APPOINTMENT,
        patient_id=PATIENT,
        slot=3,
        priority="urgent",
        reason=SEALED,
    ),
    "appointment-cancelled@1": events.AppointmentCancelled(
        **_in(CLINIC_STREAM, 7), appointment_id=APPOINTMENT, reason=SEALED
    ),
    "patient-checked-in@1": events.PatientCheckedIn(
        **_in(CLINIC_STREAM, 7), appointment_id=APPOINTMENT, ticket="DOC001-4", reason=SEALED
    ),
    "patient-called@1": events.PatientCalled(**_in(CLINIC_STREAM, 7), appointment_id=APPOINTMENT, reason=SEALED),
    "consultation-completed@1": events.ConsultationCompleted(
        **_in(CLINIC_STREAM, 7), appointment_id=APPOINTMENT, reason=SEALED
    ),
    "time-reserved@1": events.TimeReserved(
        **_in(PATIENT_DAY_STREAM, 1),
        appointment_id=APPOINTMENT,
        doctor_id=DOCTOR,
        starts_minute=560,
        minutes=10,
    ),
    "time-released@1": events.TimeReleased(**_in(PATIENT_DAY_STREAM, 2), appointment_id=APPOINTMENT),
    "doctor-details-changed@1": events.DoctorDetailsChanged(
        **_in(DOCTOR_STREAM, 2),
        name="Dr. Zoë 李",
        code="DOC009",
        specialty="Cardiology",
        department="Medicine",
        room="B3",
        reason="another room",
    ),
    "patient-details-changed@1": events.PatientDetailsChanged(**_in(PATIENT_STREAM, 2), details=SEALED, reason=SEALED),
    "clinic-closed@1": events.ClinicClosed(**_in(CLINIC_STREAM, 7), reason="ill"),
    "clinic-reopened@1": events.ClinicReopened(**_in(CLINIC_STREAM, 8), reason="a substitute"),
    "clinic-delayed@1": events.ClinicDelayed(**_in(CLINIC_STREAM, 7), minutes=20, note="one emergency", reason="told"),
    "clinic-finished@1": events.ClinicFinished(**_in(CLINIC_STREAM, 7), reason="six o'clock"),
    "appointment-moved@1": events.AppointmentMoved(
        **_in(CLINIC_STREAM, 7), appointment_id=APPOINTMENT, slot=4, reason=SEALED
    ),
    "appointment-moved-out@1": events.AppointmentMovedOut(
        **_in(CLINIC_STREAM, 7),
        appointment_id=APPOINTMENT,
        doctor_id=OTHER_DOCTOR,
        date=date(2025, 11, 18),
        reason=SEALED,
    ),
    "appointment-moved-in@1": events.AppointmentMovedIn(
        **_in(CLINIC_STREAM, 7),
        appointment_id=APPOINTMENT,
        patient_id=PATIENT,
        state=STATE,
        steps=STEPS,
        reason=SEALED,
    ),
    "step-undone@1": events.StepUndone(
        **_in(CLINIC_STREAM, 7),
        appointment_id=APPOINTMENT,
        step="AppointmentMovedIn",
        state=STATE,
        patient_id=PATIENT,
        steps=STEPS,
        reason=SEALED,
    ),
    "patient-recalled@1": events.PatientRecalled(**_in(CLINIC_STREAM, 7), appointment_id=APPOINTMENT, reason=SEALED),
    "patient-put-on-hold@1": events.PatientPutOnHold(
        **_in(CLINIC_STREAM, 7), appointment_id=APPOINTMENT, reason=SEALED
    ),
    "patient-resumed@1": events.PatientResumed(**_in(CLINIC_STREAM, 7), appointment_id=APPOINTMENT, reason=SEALED),
    "patient-marked-no-show@1": events.PatientMarkedNoShow(
        **_in(CLINIC_STREAM, 7), appointment_id=APPOINTMENT, reason=SEALED
    ),
    "patient-left-unseen@1": events.PatientLeftUnseen(
        **_in(CLINIC_STREAM, 7), appointment_id=APPOINTMENT, reason=SEALED
    ),
    "consultation-started@1": events.ConsultationStarted(
        **_in(CLINIC_STREAM, 7), appointment_id=APPOINTMENT, reason=SEALED
    ),
    "priority-changed@1": events.PriorityChanged(
        **_in(CLINIC_STREAM, 7), appointment_id=APPOINTMENT, priority="emergency", reason=SEALED
    ),
    # --- with every field left out that may be ---------------------------------------------------
    "doctor-registered@1 bare": events.DoctorRegistered(
        **_in(DOCTOR_STREAM, 1), name="Dr. Li", code="DOC002", specialty="ENT", department=None, room=None, reason=None
    ),
    "patient-registered@1 bare": events.PatientRegistered(**_in(PATIENT_STREAM, 1), details=SEALED, reason=None),
    "clinic-opened@1 bare": events.ClinicOpened(
        **_in(CLINIC_STREAM, 1),
        capacity=40,
        starts_at="09:00",
        slot_minutes=10,
        room=None,
        order="arrival",
        reason=None,
    ),
    "clinic-opened@2 bare": events.ClinicOpened(
        **_in(CLINIC_STREAM, 1),
        capacity=40,
        starts_at="09:00",
        slot_minutes=10,
        room=None,
        order="arrival",
        reason=None,
    ),
    "clinic-changed@1 bare": events.ClinicChanged(
        **_in(CLINIC_STREAM, 7),
        capacity=40,
        starts_at="09:00",
        slot_minutes=10,
        room=None,
        order="slot",
        reason=None,
    ),
    "appointment-booked@1 bare": events.AppointmentBooked(
        **_in(CLINIC_STREAM, 7),
        appointment_id=APPOINTMENT,
        patient_id=PATIENT,
        slot=3,
        priority="routine",
        reason=None,
    ),
    "appointment-cancelled@1 bare": events.AppointmentCancelled(
        **_in(CLINIC_STREAM, 7), appointment_id=APPOINTMENT, reason=None
    ),
    "patient-checked-in@1 bare": events.PatientCheckedIn(
        **_in(CLINIC_STREAM, 7), appointment_id=APPOINTMENT, ticket="DOC001-4", reason=None
    ),
    "patient-called@1 bare": events.PatientCalled(**_in(CLINIC_STREAM, 7), appointment_id=APPOINTMENT, reason=None),
    "consultation-completed@1 bare": events.ConsultationCompleted(
        **_in(CLINIC_STREAM, 7), appointment_id=APPOINTMENT, reason=None
    ),
    "doctor-details-changed@1 bare": events.DoctorDetailsChanged(
        **_in(DOCTOR_STREAM, 2), name="Dr. Li", code="DOC002", specialty="ENT", department=None, room=None, reason=None
    ),
    "patient-details-changed@1 bare": events.PatientDetailsChanged(
        **_in(PATIENT_STREAM, 2), details=SEALED, reason=None
    ),
    "clinic-closed@1 bare": events.ClinicClosed(**_in(CLINIC_STREAM, 7), reason=None),
    "clinic-reopened@1 bare": events.ClinicReopened(**_in(CLINIC_STREAM, 8), reason=None),
    "clinic-delayed@1 bare": events.ClinicDelayed(**_in(CLINIC_STREAM, 7), minutes=0, note=None, reason=None),
    "clinic-finished@1 bare": events.ClinicFinished(**_in(CLINIC_STREAM, 7), reason=None),
    "appointment-moved@1 bare": events.AppointmentMoved(
        **_in(CLINIC_STREAM, 7), appointment_id=APPOINTMENT, slot=4, reason=None
    ),
    "appointment-moved-out@1 bare": events.AppointmentMovedOut(
        **_in(CLINIC_STREAM, 7), appointment_id=APPOINTMENT, doctor_id=OTHER_DOCTOR, date=DAY, reason=None
    ),
    "appointment-moved-in@1 bare": events.AppointmentMovedIn(
        **_in(CLINIC_STREAM, 7),
        appointment_id=APPOINTMENT,
        patient_id=PATIENT,
        state=BARE_STATE,
        steps=(),
        reason=None,
    ),
    "step-undone@1 bare": events.StepUndone(
        **_in(CLINIC_STREAM, 7),
        appointment_id=APPOINTMENT,
        step="PatientCheckedIn",
        state=None,
        patient_id=None,
        steps=(),
        reason=None,
    ),
    "patient-recalled@1 bare": events.PatientRecalled(**_in(CLINIC_STREAM, 7), appointment_id=APPOINTMENT, reason=None),
    "patient-put-on-hold@1 bare": events.PatientPutOnHold(
        **_in(CLINIC_STREAM, 7), appointment_id=APPOINTMENT, reason=None
    ),
    "patient-resumed@1 bare": events.PatientResumed(**_in(CLINIC_STREAM, 7), appointment_id=APPOINTMENT, reason=None),
    "patient-marked-no-show@1 bare": events.PatientMarkedNoShow(
        **_in(CLINIC_STREAM, 7), appointment_id=APPOINTMENT, reason=None
    ),
    "patient-left-unseen@1 bare": events.PatientLeftUnseen(
        **_in(CLINIC_STREAM, 7), appointment_id=APPOINTMENT, reason=None
    ),
    "consultation-started@1 bare": events.ConsultationStarted(
        **_in(CLINIC_STREAM, 7), appointment_id=APPOINTMENT, reason=None
    ),
    "priority-changed@1 bare": events.PriorityChanged(
        **_in(CLINIC_STREAM, 7), appointment_id=APPOINTMENT, priority="routine", reason=None
    ),
}
