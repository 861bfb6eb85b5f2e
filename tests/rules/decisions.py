"""What may be asked of an aggregate, as a sentence: `check_in(A1)`, `move(3)`, `undo()`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from functools import partial
from typing import Any

from eventsourcing.domain import BaseAggregate

from domain.rules import events
from domain.rules.appointment import Moment
from domain.rules.clinic import Clinic
from domain.rules.events import AppointmentStep, Priority
from domain.rules.ids import (
    AppointmentId,
    DoctorId,
    PatientId,
    Sealed,
)
from domain.rules.patient_day import PatientDay, Span
from domain.rules.settings import Settings
from tests.rules.facts import A1, CODE, DAY, NINE, STREAMS


@dataclass(frozen=True)
class Decision:
    """What is asked of an aggregate, and when. `of` says which one when there is none yet."""

    of: type[BaseAggregate[str]]
    at: datetime
    decide: Callable[[Any], Any]


def _of_clinic(at: datetime, today: date, late: bool, decide: Callable[[Clinic, Moment], Any]) -> Decision:
    return Decision(Clinic, at, lambda clinic: decide(clinic, Moment(at, today, late=late)))


def open_clinic(settings: Settings, *, at: datetime = NINE) -> Decision:
    return Decision(Clinic, at, lambda _: Clinic.open(STREAMS[Clinic], settings, reason=None, at=at))


def change(settings: Settings, *, reason: str | None = None, at: datetime = NINE) -> Decision:
    return Decision(Clinic, at, lambda clinic: clinic.change(settings, reason=reason, at=at))


def book(
    appointment_id: AppointmentId,
    patient_id: PatientId,
    slot: int | None = None,
    *,
    priority: Priority = "routine",
    reason: Sealed | None = None,
    at: datetime = NINE,
    today: date = DAY,
    late: bool = False,
) -> Decision:
    return _of_clinic(
        at,
        today,
        late,
        lambda clinic, moment: clinic.book(
            appointment_id, patient_id, slot=slot, priority=priority, reason=reason, moment=moment
        ),
    )


def check_in(
    appointment_id: AppointmentId,
    patient_id: PatientId | None = None,
    *,
    reason: Sealed | None = None,
    at: datetime = NINE,
    today: date = DAY,
    late: bool = False,
) -> Decision:
    return _of_clinic(
        at,
        today,
        late,
        lambda clinic, moment: clinic.check_in(
            appointment_id, patient_id, doctor_code=CODE, reason=reason, moment=moment
        ),
    )


def call_next(*, reason: Sealed | None = None, at: datetime = NINE) -> Decision:
    """As `desk` does it: find who stands first, and call them."""
    return _of_clinic(
        at,
        DAY,
        False,
        lambda clinic, moment: clinic.take(
            events.PatientCalled, clinic.next_in_line().appointment_id, reason=reason, moment=moment
        ),
    )


def take(
    step: type[AppointmentStep],
    appointment_id: AppointmentId = A1,
    *,
    reason: Sealed | None = None,
    at: datetime = NINE,
    today: date = DAY,
    late: bool = False,
) -> Decision:
    return _of_clinic(
        at, today, late, lambda clinic, moment: clinic.take(step, appointment_id, reason=reason, moment=moment)
    )


call = partial(take, events.PatientCalled)
recall = partial(take, events.PatientRecalled)
hold = partial(take, events.PatientPutOnHold)
resume = partial(take, events.PatientResumed)
start = partial(take, events.ConsultationStarted)
complete = partial(take, events.ConsultationCompleted)
cancel = partial(take, events.AppointmentCancelled)
mark_no_show = partial(take, events.PatientMarkedNoShow)


def change_priority(
    priority: Priority,
    appointment_id: AppointmentId = A1,
    *,
    reason: Sealed | None = None,
    at: datetime = NINE,
    late: bool = False,
) -> Decision:
    return _of_clinic(
        at,
        DAY,
        late,
        lambda clinic, moment: clinic.change_priority(appointment_id, priority, reason=reason, moment=moment),
    )


def move(
    slot: int | None,
    appointment_id: AppointmentId = A1,
    *,
    reason: Sealed | None = None,
    at: datetime = NINE,
    today: date = DAY,
    late: bool = False,
) -> Decision:
    return _of_clinic(
        at, today, late, lambda clinic, moment: clinic.move(appointment_id, slot, reason=reason, moment=moment)
    )


def undo(
    appointment_id: AppointmentId = A1,
    *,
    reason: Sealed | None = None,
    at: datetime = NINE,
    today: date = DAY,
    late: bool = False,
) -> Decision:
    return _of_clinic(at, today, late, lambda clinic, moment: clinic.undo(appointment_id, reason=reason, moment=moment))


def close(*, reason: str | None = None, at: datetime = NINE) -> Decision:
    return Decision(Clinic, at, lambda clinic: clinic.close(reason=reason, at=at))


def reopen(*, reason: str | None = None, at: datetime = NINE) -> Decision:
    return Decision(Clinic, at, lambda clinic: clinic.reopen(reason=reason, at=at))


def run_late(minutes: int, note: str | None = None, *, reason: str | None = None, at: datetime = NINE) -> Decision:
    return Decision(Clinic, at, lambda clinic: clinic.run_late(minutes, note, reason=reason, at=at))


def finish(*, reason: str | None = None, at: datetime = NINE, late: bool = False) -> Decision:
    return _of_clinic(at, DAY, late, lambda clinic, moment: clinic.finish(reason=reason, moment=moment))


def reserve(appointment_id: AppointmentId, doctor_id: DoctorId, span: Span, *, allow_overlap: bool = False) -> Decision:
    return Decision(
        PatientDay,
        NINE,
        lambda day: day.reserve(appointment_id, doctor_id, span, allow_overlap=allow_overlap, at=NINE),
    )


def release(appointment_id: AppointmentId) -> Decision:
    return Decision(PatientDay, NINE, lambda day: day.release(appointment_id, at=NINE))


# --- about two clinics ---------------------------------------------------------------------------


@dataclass(frozen=True)
class DecisionOnTwo:
    at: datetime
    decide: Callable[[Clinic, Clinic], Any]


def move_to(
    appointment_id: AppointmentId = A1,
    slot: int | None = None,
    *,
    reason: Sealed | None = None,
    at: datetime = NINE,
    today: date = DAY,
    late: bool = False,
) -> DecisionOnTwo:
    moment = Moment(at, today, late=late)
    return DecisionOnTwo(
        at, lambda here, there: here.move_to(there, appointment_id, slot, reason=reason, moment=moment)
    )


def undo_move(
    appointment_id: AppointmentId = A1,
    *,
    reason: Sealed | None = None,
    at: datetime = NINE,
    today: date = DAY,
    late: bool = False,
) -> DecisionOnTwo:
    """Of somebody who is `there`, and came from here."""
    moment = Moment(at, today, late=late)
    return DecisionOnTwo(at, lambda here, there: there.undo_move(here, appointment_id, reason=reason, moment=moment))
