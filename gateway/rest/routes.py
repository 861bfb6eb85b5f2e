"""One table of routes: what is asked, what it is decoded into, what it answers, what it may refuse."""

from __future__ import annotations

from typing import Final, Literal

import msgspec
from aiohttp import web

from domain.rules import commands, refusals
from domain.rules.refusals import Refusal
from gateway.rest import audit, export, fhir, ledger, reads
from gateway.rest.route import Route
from projections import shapes

PREFIX: Final = "/api/v1"


class Doctors(shapes.Shape, frozen=True, kw_only=True):
    doctors: list[shapes.DoctorCard]


class Events(shapes.Shape, frozen=True, kw_only=True):
    events: list[shapes.EventRecord]


class Page(Events, frozen=True, kw_only=True):
    """`next` is the `after` to go on with; null at the end."""

    next: int | None


class Patients(shapes.Shape, frozen=True, kw_only=True):
    patients: list[shapes.PatientCard]


class Snapshot(shapes.Shape, frozen=True, kw_only=True):
    """The envelope of a snapshot."""

    type: Literal["snapshot"]
    epoch: str
    sequence: int
    data: shapes.Day


class DoctorSnapshot(shapes.Shape, frozen=True, kw_only=True):
    """The same, of the one doctor asked for."""

    type: Literal["snapshot"]
    epoch: str
    sequence: int
    data: shapes.DoctorDay


_LATE: Final = (refusals.EffectiveInFuture,)
_STEP: Final = (refusals.UnknownAppointment, refusals.EffectiveInFuture, refusals.EffectiveTooEarly)
_CLINIC: Final = (refusals.UnknownDoctor, refusals.UnknownClinic, refusals.EffectiveInFuture)
_FREE_TIME: Final = (refusals.ClinicFull, refusals.SlotTaken, refusals.PatientBusy)
_BOOKING: Final = (
    refusals.DateInPast,
    refusals.ClinicIsClosed,
    refusals.AlreadyBooked,
    refusals.NoSuchSlot,
    *_FREE_TIME,
)


def _step(name: str, summary: str, command: type[msgspec.Struct]) -> Route:
    """A step of one appointment, allowed from some states only."""
    return Route(
        method="POST",
        path="/appointments/{appointment_id}/" + name,
        summary=summary,
        command=command,
        answers=shapes.Appointment,
        refuses=(*_STEP, refusals.NotAllowedFrom),
    )


def _of_clinic(name: str, summary: str, command: type[msgspec.Struct], *refuses: type[Refusal]) -> Route:
    """Something done to a whole clinic."""
    return Route(
        method="POST",
        path="/clinics/{doctor_id}/{date}/" + name,
        summary=summary,
        command=command,
        answers=shapes.ClinicCard,
        refuses=(*_CLINIC, *refuses),
    )


_DOCTORS: Final = (
    Route(
        method="POST",
        path="/doctors",
        summary="Register a doctor",
        command=commands.RegisterDoctor,
        answers=shapes.DoctorCard,
        creates=True,
        refuses=(*_LATE, refusals.DoctorCodeTaken),
    ),
    Route(method="GET", path="/doctors", summary="All doctors, by code", read=reads.doctors, answers=Doctors),
    Route(
        method="GET",
        path="/doctors/{doctor_id}",
        summary="One doctor",
        read=reads.doctor,
        answers=shapes.DoctorCard,
        refuses=(refusals.UnknownDoctor,),
    ),
    Route(
        method="PATCH",
        path="/doctors/{doctor_id}",
        summary="Change a doctor's details; null clears",
        command=commands.ChangeDoctor,
        answers=shapes.DoctorCard,
        refuses=(refusals.UnknownDoctor, *_LATE, refusals.DoctorCodeTaken),
    ),
)

_PATIENTS: Final = (
    Route(
        method="POST",
        path="/patients",
        summary="Register a patient",
        command=commands.RegisterPatient,
        answers=shapes.PatientCard,
        creates=True,
        refuses=(*_LATE, refusals.MrnTaken),
    ),
    Route(
        method="POST",
        path="/patients/search",
        summary="Patients by beginnings of names, phone, mrn; at most 50",
        read=reads.search,
        body=reads.SearchPatients,
        answers=Patients,
    ),
    Route(
        method="GET",
        path="/patients/{patient_id}",
        summary="One patient",
        read=reads.patient,
        answers=shapes.PatientCard,
        refuses=(refusals.UnknownPatient,),
    ),
    Route(
        method="PATCH",
        path="/patients/{patient_id}",
        summary="Change a patient's details; null clears",
        command=commands.ChangePatient,
        answers=shapes.PatientCard,
        refuses=(refusals.UnknownPatient, *_LATE, refusals.MrnTaken),
    ),
    Route(
        method="POST",
        path="/patients/{patient_id}/erase",
        summary="Forget a patient, for ever",
        command=commands.ErasePatient,
        answers=shapes.PatientCard,
        refuses=(refusals.UnknownPatient, *_LATE),
    ),
)

_CLINICS: Final = (
    Route(
        method="PUT",
        path="/clinics/{doctor_id}/{date}",
        summary="Open a clinic, or change it",
        command=commands.SetUpClinic,
        answers=shapes.ClinicCard,
        refuses=(
            refusals.UnknownDoctor,
            *_LATE,
            refusals.RunsPastMidnight,
            refusals.ClinicHasBookings,
            refusals.CapacityBelowBooked,
        ),
    ),
    _of_clinic("close", "No more bookings", commands.CloseClinic),
    _of_clinic("reopen", "Bookings again", commands.ReopenClinic),
    _of_clinic("delay", "Running late, or in time again with 0", commands.DelayClinic),
    Route(
        method="POST",
        path="/clinics/{doctor_id}/{date}/reassign",
        summary="Everyone still to be seen goes to another doctor, or nobody does",
        command=commands.ReassignClinic,
        answers=shapes.Reassigned,
        refuses=(*_CLINIC, refusals.EffectiveTooEarly, refusals.DoesNotFit),
    ),
    _of_clinic(
        "finish", "Over for the day", commands.FinishClinic, refusals.EffectiveTooEarly, refusals.PatientsInConsultation
    ),
)

_APPOINTMENTS: Final = (
    Route(
        method="POST",
        path="/appointments",
        summary="Book an appointment",
        command=commands.BookAppointment,
        answers=shapes.Appointment,
        creates=True,
        refuses=(
            refusals.UnknownDoctor,
            refusals.UnknownPatient,
            *_LATE,
            *_BOOKING,
        ),
    ),
    Route(
        method="POST",
        path="/walkins",
        summary="Book and check in at once",
        command=commands.WalkIn,
        answers=shapes.Appointment,
        creates=True,
        refuses=(
            refusals.UnknownDoctor,
            refusals.UnknownPatient,
            *_LATE,
            refusals.ClinicIsClosed,
            refusals.AlreadyBooked,
            *_FREE_TIME,
        ),
    ),
    Route(
        method="GET",
        path="/appointments/{appointment_id}",
        summary="One appointment",
        read=reads.appointment,
        answers=shapes.ExplainedAppointment,
        refuses=(refusals.UnknownAppointment,),
    ),
    Route(
        method="GET",
        path="/appointments/{appointment_id}/history",
        summary="All that happened to an appointment",
        read=reads.appointment_history,
        answers=Events,
        refuses=(refusals.UnknownAppointment,),
    ),
    Route(
        method="POST",
        path="/appointments/{appointment_id}/move",
        summary="To another slot, doctor or date, with all that it is",
        command=commands.MoveAppointment,
        answers=shapes.Appointment,
        refuses=(
            refusals.UnknownAppointment,
            refusals.UnknownDoctor,
            *_STEP[1:],
            refusals.NotAllowedFrom,
            *_BOOKING,
            refusals.NotToday,
        ),
    ),
    Route(
        method="POST",
        path="/appointments/{appointment_id}/undo",
        summary="Take back the last step",
        command=commands.UndoStep,
        answers=shapes.Appointment,
        refuses=(
            *_STEP,
            refusals.NothingToUndo,
            refusals.AlreadyBooked,
            refusals.NoSuchSlot,
            refusals.SlotTaken,
            refusals.PatientBusy,
        ),
    ),
    _step("call", "Call this patient, out of turn", commands.CallPatient),
    _step("recall", "Call again", commands.RecallPatient),
    _step("start", "The consultation begins", commands.StartConsultation),
    _step("complete", "The consultation is over", commands.CompleteConsultation),
    _step("hold", "Out of the line for a while", commands.PutOnHold),
    _step("resume", "Back in the line, at the place kept", commands.Resume),
    _step("cancel", "Cancel, and free the slot", commands.CancelAppointment),
    _step("no-show", "Never came, or never answered", commands.MarkNoShow),
    _step("priority", "Change how urgent it is", commands.ChangePriority),
)

_QUEUE: Final = (
    Route(
        method="POST",
        path="/checkins",
        summary="The patient is here; 200 when that was known already",
        command=commands.CheckIn,
        answers=shapes.Appointment,
        creates=True,
        refuses=(
            refusals.UnknownAppointment,
            refusals.UnknownPatient,
            *_STEP[1:],
            refusals.PatientMismatch,
            refusals.AppointmentIsCancelled,
            refusals.AppointmentClosed,
            refusals.NotToday,
            refusals.AlreadyBooked,
        ),
    ),
    Route(
        method="POST",
        path="/queue/call-next",
        summary="Call whoever stands first",
        command=commands.CallNext,
        answers=shapes.Appointment,
        or_answers=shapes.NobodyCalled,
        refuses=(refusals.UnknownDoctor, refusals.QueueEmpty),
    ),
    Route(
        method="GET",
        path="/queue",
        summary="A date's queue, of all doctors or of one, as it is or as it was",
        read=reads.queue,
        parameters=("date", "doctor_id", "at", "sequence", "by"),
        answers=Snapshot,
        or_answers=DoctorSnapshot,
        refuses=(refusals.UnknownDoctor,),
    ),
)

_EVENTS: Final = (
    Route(
        method="GET",
        path="/queue/{date}/events",
        summary="A date's events, in order",
        read=reads.day_events,
        parameters=("after", "limit"),
        answers=Page,
    ),
    Route(
        method="GET",
        path="/queue/{date}/export",
        summary="A date to take away: its events, or its appointments with their times",
        read=export.day_export,
        parameters=("format", "names"),
        answers=shapes.ExportedEvent,
        media_types=tuple(export.MEDIA_TYPES.values()),
        problems=((429, "rate_limited"),),
    ),
)

_AUDIT: Final = (
    Route(
        method="GET",
        path="/audit",
        summary="Who saw a patient, who looked at a date, what somebody did; oldest first",
        read=audit.audit,
        parameters=("patient_id", "actor", "date", "after", "limit", "format"),
        answers=audit.Audit,
        media_types=("application/json", "text/csv", fhir.MEDIA_TYPE),
        refuses=(refusals.UnknownPatient,),
    ),
)

_LEDGER: Final = (
    Route(
        method="GET",
        path="/ledger/checkpoint",
        summary="A signed checkpoint: the newest, or that of a size",
        read=ledger.checkpoint,
        parameters=("log", "size"),
        answers=str,
        media_types=("text/plain",),
        name="ReadCheckpoint",
        problems=((404, "not_sealed"),),
    ),
    Route(
        method="GET",
        path="/ledger/key",
        summary="The verifier key that checkpoints are checked with",
        read=ledger.key,
        parameters=("log",),
        answers=str,
        media_types=("text/plain",),
        name="ReadLedgerKey",
        problems=((404, "no_ledger_key"),),
    ),
    Route(
        method="GET",
        path="/ledger/events/{sequence}/proof",
        summary="That an event is in a checkpoint's tree",
        read=ledger.inclusion,
        parameters=("log", "size"),
        answers=ledger.InclusionProof,
        problems=((404, "not_sealed"),),
    ),
    Route(
        method="GET",
        path="/ledger/consistency",
        summary="That a checkpoint's tree begins with all of an older one's",
        read=ledger.consistency,
        parameters=("log", "from", "to"),
        answers=ledger.ConsistencyProof,
        problems=((404, "not_sealed"),),
    ),
)

ROUTES: Final = (*_DOCTORS, *_PATIENTS, *_CLINICS, *_APPOINTMENTS, *_QUEUE, *_EVENTS, *_AUDIT, *_LEDGER)


def add_routes(app: web.Application) -> None:
    app[export.UNDER_WAY] = {}
    app.on_shutdown.append(export.cut_off_all)
    for route in ROUTES:
        if route.method == "GET":
            app.router.add_get(PREFIX + route.path, route.handle)  # and HEAD with it
        else:
            app.router.add_route(route.method, PREFIX + route.path, route.handle)
