"""Deciding on where an appointment stands: moving it, moving a whole clinic, and taking steps back."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from domain.desk.outcome import Receipt
from domain.log.append import Conflict
from domain.rules.clinic import Clinic
from domain.rules.commands import MoveAppointment, ReassignClinic, UndoStep
from domain.rules.ids import clinic_of, clinic_stream, doctor_stream
from domain.rules.patient_day import Span
from domain.rules.refusals import DoesNotFit, EffectiveTooEarly, Refusal

if TYPE_CHECKING:
    from datetime import date, datetime

    from domain.desk.work import Work
    from domain.rules.appointment import Appointment, Moment


async def move(work: Work, command: MoveAppointment) -> Receipt:
    here = await work.where(command.appointment_id)
    doctor_id, day = clinic_of(here)
    there = clinic_stream(command.doctor_id or doctor_id, command.date or day)
    await work.lock(here, there)
    await work.load(here, there)
    await work.rest_on(doctor_stream(command.doctor_id or doctor_id))  # A clinic may open, in the doctor's room.
    clinic = work.clinic_of_appointment(here, command.appointment_id)
    work.doctor(command.doctor_id or doctor_id)
    appointment = clinic.appointment(command.appointment_id)
    moment = work.moment()
    reason = await work.seal_reason(appointment.patient_id)
    was_at = clinic.date
    span: Span | None
    if there == here:
        now_at = clinic
        span = clinic.move(command.appointment_id, command.slot, reason=reason, moment=moment)
    else:
        now_at = work.clinic_or_new(command.doctor_id or doctor_id, command.date or day, at=moment.at)
        span = clinic.move_to(now_at, command.appointment_id, command.slot, reason=reason, moment=moment)
    if span is not None:
        await work.lock_days(appointment.patient_id, was_at, now_at.date)
        await _release(work, appointment, was_at, at=moment.at)
        await _reserve(work, appointment, now_at, span, allow_overlap=bool(command.allow_overlap), at=moment.at)
        appointment.refuse_another_day(was_at, now_at.date)  # the last of a move's refusals
    return Receipt("appointment", command.appointment_id, now_at.date)


async def undo(work: Work, command: UndoStep) -> Receipt:
    here = await work.where(command.appointment_id)
    came_from = _origin(await work.look_at(here, command.appointment_id))  # to know which clinics to lock
    await work.lock(here, came_from or here)
    await work.load(here, came_from or here)
    clinic = work.clinic_of_appointment(here, command.appointment_id)
    appointment = clinic.appointment(command.appointment_id)
    if _origin(appointment) != came_from:
        raise Conflict  # Somebody else was faster: look again.
    moment = work.moment()
    reason = await work.seal_reason(appointment.patient_id)
    held = appointment.status == "confirmed"
    span, was_at = clinic.settings.span(appointment.slot), clinic
    if came_from is None:
        now_at = clinic
        state = clinic.undo(command.appointment_id, reason=reason, moment=moment)
    else:
        now_at = cast(Clinic, work.touch(came_from))
        state = clinic.undo_move(now_at, command.appointment_id, reason=reason, moment=moment)
    holds, new_span = state.status == "confirmed", now_at.settings.span(state.slot)
    if (held, span, was_at) != (holds, new_span, now_at):
        await work.lock_days(appointment.patient_id, was_at.date, now_at.date)
        if held:
            await _release(work, appointment, was_at.date, at=moment.at)
        if holds:
            await _reserve(work, appointment, now_at, new_span, allow_overlap=False, at=moment.at)
    return Receipt("appointment", command.appointment_id, now_at.date)


async def reassign(work: Work, command: ReassignClinic) -> Receipt:
    here = clinic_stream(command.doctor_id, command.date)
    there = clinic_stream(command.to_doctor_id, command.date)
    await work.lock(here, there)
    await work.load(here, there, doctor_stream(command.doctor_id))
    await work.rest_on(doctor_stream(command.to_doctor_id))  # A clinic may open, in the doctor's room.
    work.doctor(command.doctor_id)
    work.doctor(command.to_doctor_id)
    clinic = work.existing_clinic(command.doctor_id, command.date)
    moment = work.moment()
    moving = clinic.still_to_be_seen()
    if moving:
        now_at = work.clinic_or_new(command.to_doctor_id, command.date, at=moment.at)
        await _move_all(work, command, moving, clinic, now_at, moment)
    # Not with the reason: it is about patients, whose moves keep it sealed. A clinic has no key to seal it with.
    clinic.close(reason=None, at=moment.at)
    moved = tuple(appointment.appointment_id for appointment in moving)
    return Receipt("reassigned", command.doctor_id, command.date, moved=moved)


async def _move_all(
    work: Work, command: ReassignClinic, moving: list[Appointment], clinic: Clinic, now_at: Clinic, moment: Moment
) -> None:
    """Raises EffectiveTooEarly, DoesNotFit."""
    slots = now_at.allot(moving)
    await work.lock_days_of([appointment.patient_id for appointment in moving], command.date)
    misfits = []
    # Those who came at the same time stay in the order they stood in. Whom there is no slot for is looked at last.
    for appointment in sorted(moving, key=lambda a: (slots[a.appointment_id] is None, a.state.arrival)):
        reason = await work.seal_reason(appointment.patient_id)
        try:
            slot = slots[appointment.appointment_id]
            span = clinic.move_to(now_at, appointment.appointment_id, slot, reason=reason, moment=moment)
            await _release(work, appointment, command.date, at=moment.at)
            await _reserve(work, appointment, now_at, span, allow_overlap=bool(command.allow_overlap), at=moment.at)
        except EffectiveTooEarly:
            raise
        except Refusal as refusal:
            misfits.append({"appointment_id": appointment.appointment_id, "code": refusal.code})
    if misfits:
        raise DoesNotFit(appointments=misfits)


def _origin(appointment: Appointment) -> str | None:
    """The stream of the clinic that the last step came from, where that step was a move between clinics."""
    step = appointment.steps[-1] if appointment.steps else None
    if step is None or step.doctor_id is None or step.date is None:
        return None
    return clinic_stream(step.doctor_id, step.date)


async def _release(work: Work, appointment: Appointment, day: date, *, at: datetime) -> None:
    (await work.patient_day(appointment.patient_id, day)).release(appointment.appointment_id, at=at)


async def _reserve(
    work: Work, appointment: Appointment, clinic: Clinic, span: Span, *, allow_overlap: bool, at: datetime
) -> None:
    day = await work.patient_day(appointment.patient_id, clinic.date)
    day.reserve(appointment.appointment_id, clinic.doctor_id, span, allow_overlap=allow_overlap, at=at)
