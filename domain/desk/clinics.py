"""Deciding on a clinic as a whole, and on its line."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Protocol, cast

from domain.desk.outcome import Receipt
from domain.rules import events
from domain.rules.clinic import Clinic
from domain.rules.commands import CallNext, CloseClinic, DelayClinic, FinishClinic, ReopenClinic, SetUpClinic
from domain.rules.ids import DoctorId, clinic_stream, doctor_stream
from domain.rules.refusals import QueueEmpty
from domain.rules.settings import Settings

if TYPE_CHECKING:
    from domain.desk.work import Work


async def set_up(work: Work, command: SetUpClinic) -> Receipt:
    stream = clinic_stream(command.doctor_id, command.date)
    await work.lock(stream)
    await work.load(stream)
    await work.rest_on(doctor_stream(command.doctor_id))
    doctor = work.doctor(command.doctor_id)
    moment = work.moment()
    clinic = work.clinic(command.doctor_id, command.date)
    settings = clinic.settings if clinic else Settings(room=doctor.details.room)
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


async def close(work: Work, command: CloseClinic) -> Receipt:
    clinic = await _existing(work, command)
    clinic.close(reason=command.reason, at=work.moment().at)
    return Receipt("clinic", command.doctor_id, command.date)


async def reopen(work: Work, command: ReopenClinic) -> Receipt:
    clinic = await _existing(work, command)
    clinic.reopen(reason=command.reason, at=work.moment().at)
    return Receipt("clinic", command.doctor_id, command.date)


async def delay(work: Work, command: DelayClinic) -> Receipt:
    clinic = await _existing(work, command)
    clinic.run_late(command.minutes, command.note, reason=command.reason, at=work.moment().at)
    return Receipt("clinic", command.doctor_id, command.date)


async def finish(work: Work, command: FinishClinic) -> Receipt:
    clinic = await _existing(work, command)
    moment = work.moment()
    left = clinic.finish(reason=command.reason, moment=moment)
    await work.free_days(clinic, left, at=moment.at)
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
    seen = clinic.being_seen() if command.complete_current else []
    for appointment in seen:
        reason = await work.seal_reason(appointment.patient_id)
        clinic.take(events.ConsultationCompleted, appointment.appointment_id, reason=reason, moment=moment)
    try:
        called = clinic.next_in_line()
    except QueueEmpty:
        if not seen:
            raise
        called = None
    if called is not None:
        reason = await work.seal_reason(called.patient_id)
        clinic.take(events.PatientCalled, called.appointment_id, reason=reason, moment=moment)
    await work.free_days(clinic, seen, at=moment.at)
    if called is None:
        return Receipt("nobody", command.doctor_id, day)
    return Receipt("appointment", called.appointment_id, day)


class _OfClinic(Protocol):
    @property
    def doctor_id(self) -> DoctorId: ...
    @property
    def date(self) -> date: ...


async def _existing(work: Work, command: _OfClinic) -> Clinic:
    """The clinic, locked and loaded. Raises UnknownDoctor, UnknownClinic."""
    stream = clinic_stream(command.doctor_id, command.date)
    await work.lock(stream)
    await work.load(doctor_stream(command.doctor_id), stream)
    work.doctor(command.doctor_id)
    return work.existing_clinic(command.doctor_id, command.date)
