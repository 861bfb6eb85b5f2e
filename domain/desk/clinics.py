"""Deciding on a clinic as a whole, and on its line."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from domain.desk.outcome import Receipt
from domain.rules.clinic import Clinic, Settings
from domain.rules.commands import CallNext, SetUpClinic
from domain.rules.ids import clinic_stream, doctor_stream
from domain.rules.refusals import QueueEmpty

if TYPE_CHECKING:
    from domain.desk.work import Work


async def set_up(work: Work, command: SetUpClinic) -> Receipt:
    stream = clinic_stream(command.doctor_id, command.date)
    await work.lock(stream)
    await work.load(doctor_stream(command.doctor_id), stream)
    doctor = work.doctor(command.doctor_id)
    moment = work.moment()
    clinic = work.clinic(command.doctor_id, command.date)
    settings = clinic.settings if clinic else Settings(room=doctor.room)
    settings = Settings(
        capacity=command.capacity,
        starts_at=command.starts_at or settings.starts_at,
        slot_minutes=command.slot_minutes or settings.slot_minutes,
        room=command.room or settings.room,
        order=command.order or settings.order,
    )
    if clinic is None:
        work.begin(Clinic.open(stream, settings, reason=command.reason, at=moment.at))
    else:
        work.touch(stream)
        clinic.change(settings, reason=command.reason, at=moment.at)
    return Receipt("clinic", command.doctor_id, command.date)


async def call_next(work: Work, command: CallNext) -> Receipt:
    moment = work.moment()
    day = command.date or moment.today
    stream = clinic_stream(command.doctor_id, day)
    await work.lock(stream)
    await work.load(doctor_stream(command.doctor_id), stream)
    work.doctor(command.doctor_id)
    if work.clinic(command.doctor_id, day) is None:
        raise QueueEmpty
    clinic = cast(Clinic, work.touch(stream))
    appointment = clinic.next_in_line()
    reason = await work.seal_reason(appointment.patient_id)
    clinic.call(appointment.appointment_id, reason=reason, moment=moment)
    return Receipt("appointment", appointment.appointment_id, day)
