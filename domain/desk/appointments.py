"""Deciding on one appointment: booking it, and its steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from domain.desk.outcome import Receipt
from domain.rules.clinic import Clinic, Settings
from domain.rules.commands import BookAppointment, CancelAppointment, CheckIn, CompleteConsultation
from domain.rules.ids import AppointmentId, clinic_stream, doctor_stream, patient_day_stream, patient_stream
from domain.rules.refusals import UnknownPatient

if TYPE_CHECKING:
    from domain.desk.work import Work


async def book(work: Work, command: BookAppointment) -> Receipt:
    clinic_name = clinic_stream(command.doctor_id, command.date)
    day_name = patient_day_stream(command.patient_id, command.date)
    doctor_name, patient_name = doctor_stream(command.doctor_id), patient_stream(command.patient_id)
    await work.lock(clinic_name, day_name)
    await work.load(clinic_name, day_name, doctor_name, patient_name)
    doctor = work.doctor(command.doctor_id)
    if work.patient(command.patient_id).erased:
        raise UnknownPatient
    moment = work.moment()
    if work.clinic(command.doctor_id, command.date) is None:
        work.begin(Clinic.open(clinic_name, Settings(room=doctor.room), reason=None, at=moment.at))
    clinic: Clinic = work.touch(clinic_name)  # type: ignore[assignment]
    appointment_id = AppointmentId(work.new_id())
    span = clinic.book(
        appointment_id,
        command.patient_id,
        slot=command.slot,
        priority=command.priority or "routine",
        reason=await work.seal_reason(command.patient_id),
        moment=moment,
    )
    day = await work.patient_day(command.patient_id, command.date)
    day.reserve(appointment_id, command.doctor_id, span, allow_overlap=bool(command.allow_overlap), at=moment.at)
    return Receipt("appointment", appointment_id, command.date, created=True)


async def check_in(work: Work, command: CheckIn) -> Receipt:
    clinic = await work.clinic_with(command.appointment_id)
    await work.load(doctor_stream(clinic.doctor_id))
    appointment = clinic.appointment(command.appointment_id)
    clinic.check_in(
        command.appointment_id,
        command.patient_id,
        doctor_code=work.doctor(clinic.doctor_id).code,
        reason=await work.seal_reason(appointment.patient_id),
        moment=work.moment(),
    )
    return Receipt("appointment", command.appointment_id, clinic.date, created=work.changed)


async def complete(work: Work, command: CompleteConsultation) -> Receipt:
    clinic = await work.clinic_with(command.appointment_id)
    patient_id = clinic.appointment(command.appointment_id).patient_id
    moment = work.moment()
    clinic.complete(command.appointment_id, reason=await work.seal_reason(patient_id), moment=moment)
    day = await work.patient_day(patient_id, clinic.date)
    day.release(command.appointment_id, at=moment.at)
    return Receipt("appointment", command.appointment_id, clinic.date)


async def cancel(work: Work, command: CancelAppointment) -> Receipt:
    clinic = await work.clinic_with(command.appointment_id)
    patient_id = clinic.appointment(command.appointment_id).patient_id
    moment = work.moment()
    clinic.cancel(command.appointment_id, reason=await work.seal_reason(patient_id), moment=moment)
    day = await work.patient_day(patient_id, clinic.date)
    day.release(command.appointment_id, at=moment.at)
    return Receipt("appointment", command.appointment_id, clinic.date)
