"""Deciding on one appointment: booking it, and its steps."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Protocol

from domain.desk.outcome import Receipt
from domain.rules import events
from domain.rules.appointment import Appointment, Moment
from domain.rules.clinic import Clinic
from domain.rules.commands import (
    BookAppointment,
    CallPatient,
    CancelAppointment,
    ChangePriority,
    CheckIn,
    CompleteConsultation,
    MarkNoShow,
    PutOnHold,
    RecallPatient,
    Resume,
    StartConsultation,
    WalkIn,
)
from domain.rules.ids import AppointmentId, Sealed, clinic_stream, doctor_stream, patient_day_stream, patient_stream
from domain.rules.refusals import UnknownPatient

if TYPE_CHECKING:
    from domain.desk.work import Work


async def book(work: Work, command: BookAppointment) -> Receipt:
    clinic, appointment_id = await _book(work, command, command.date, slot=command.slot)
    return Receipt("appointment", appointment_id, clinic.date, created=True)


async def walk_in(work: Work, command: WalkIn) -> Receipt:
    moment = await _moment_of_known(work, command)
    now = work.equipment.next_minute_of_day(moment.at)
    clinic, appointment_id = await _book(work, command, moment.today, from_minute=now)
    clinic.check_in(
        appointment_id, None, doctor_code=work.doctor(command.doctor_id).details.code, reason=None, moment=moment
    )
    return Receipt("appointment", appointment_id, clinic.date, created=True)


async def _book(
    work: Work, command: BookAppointment | WalkIn, day: date, *, slot: int | None = None, from_minute: int = 0
) -> tuple[Clinic, AppointmentId]:
    """Into the clinic, opened first if nobody did, and into the patient's day."""
    clinic_name = clinic_stream(command.doctor_id, day)
    day_name = patient_day_stream(command.patient_id, day)
    # In one reading, and before locking: somebody seen for the first time is not to hold up a whole clinic's list.
    await work.load(day_name, doctor_stream(command.doctor_id), patient_stream(command.patient_id))
    moment = await _moment_of_known(work, command)
    await work.lock(clinic_name, day_name)
    await work.load(clinic_name, day_name)
    clinic = work.clinic_or_new(command.doctor_id, day, at=moment.at)
    appointment_id = AppointmentId(work.new_id())
    span = clinic.book(
        appointment_id,
        command.patient_id,
        slot=slot,
        from_minute=from_minute,
        priority=command.priority or "routine",
        reason=await work.seal_reason(command.patient_id),
        moment=moment,
    )
    patient_day = await work.patient_day(command.patient_id, day)
    patient_day.reserve(
        appointment_id, command.doctor_id, span, allow_overlap=bool(command.allow_overlap), at=moment.at
    )
    return clinic, appointment_id


async def _moment_of_known(work: Work, command: BookAppointment | WalkIn) -> Moment:
    """Unknown ids come before every other refusal."""
    # Another server may erase the patient just now, or give the doctor another room or code.
    await work.rest_on(doctor_stream(command.doctor_id), patient_stream(command.patient_id))
    work.doctor(command.doctor_id)
    if work.patient(command.patient_id).erased:
        raise UnknownPatient
    return work.moment()


async def check_in(work: Work, command: CheckIn) -> Receipt:
    clinic = await work.clinic_with(command.appointment_id)
    await work.rest_on(doctor_stream(clinic.doctor_id))
    appointment = clinic.appointment(command.appointment_id)
    if command.patient_id is not None and command.patient_id != appointment.patient_id:
        await work.load(patient_stream(command.patient_id))
        work.patient(command.patient_id)  # An unknown one is more than another one.
    moment = work.moment()
    comes_after_all = appointment.status == "no_show"
    clinic.check_in(
        command.appointment_id,
        command.patient_id,
        doctor_code=work.doctor(clinic.doctor_id).details.code,
        reason=await work.seal_reason(appointment.patient_id),
        moment=moment,
    )
    if comes_after_all:
        day = await work.patient_day(appointment.patient_id, clinic.date)
        span = clinic.settings.span(appointment.slot)
        # Somebody who stands here is here, whatever else they are booked for.
        day.reserve(command.appointment_id, clinic.doctor_id, span, allow_overlap=True, at=moment.at)
    return Receipt("appointment", command.appointment_id, clinic.date, created=work.changed)


async def call(work: Work, command: CallPatient) -> Receipt:
    return await _take(work, command, events.PatientCalled)


async def recall(work: Work, command: RecallPatient) -> Receipt:
    return await _take(work, command, events.PatientRecalled)


async def hold(work: Work, command: PutOnHold) -> Receipt:
    return await _take(work, command, events.PatientPutOnHold)


async def resume(work: Work, command: Resume) -> Receipt:
    return await _take(work, command, events.PatientResumed)


async def start(work: Work, command: StartConsultation) -> Receipt:
    return await _take(work, command, events.ConsultationStarted)


async def complete(work: Work, command: CompleteConsultation) -> Receipt:
    return await _take(work, command, events.ConsultationCompleted)


async def cancel(work: Work, command: CancelAppointment) -> Receipt:
    return await _take(work, command, events.AppointmentCancelled)


async def mark_no_show(work: Work, command: MarkNoShow) -> Receipt:
    return await _take(work, command, events.PatientMarkedNoShow)


async def change_priority(work: Work, command: ChangePriority) -> Receipt:
    step = await _step_of(work, command)
    step.clinic.change_priority(command.appointment_id, command.priority, reason=step.reason, moment=step.moment)
    return step.receipt()


async def _take(work: Work, command: StepCommand, event: type[events.AppointmentStep]) -> Receipt:
    """A step of one appointment. One that is confirmed no longer leaves the patient free at that time."""
    step = await _step_of(work, command)
    step.clinic.take(event, command.appointment_id, reason=step.reason, moment=step.moment)
    appointment = step.clinic.appointment(command.appointment_id)
    if appointment.status != "confirmed":
        await work.free_days(step.clinic, [appointment], at=step.moment.at)
    return step.receipt()


class StepCommand(Protocol):
    @property
    def appointment_id(self) -> AppointmentId: ...


@dataclass(frozen=True, slots=True)
class _Step:
    """What deciding on a step of one appointment needs."""

    clinic: Clinic
    appointment: Appointment
    reason: Sealed | None
    moment: Moment

    def receipt(self) -> Receipt:
        return Receipt("appointment", self.appointment.appointment_id, self.clinic.date)


async def _step_of(work: Work, command: StepCommand) -> _Step:
    clinic = await work.clinic_with(command.appointment_id)
    appointment = clinic.appointment(command.appointment_id)
    moment = work.moment()
    return _Step(clinic, appointment, await work.seal_reason(appointment.patient_id), moment)
