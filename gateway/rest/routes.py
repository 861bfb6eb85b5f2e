"""One table of routes: what is asked, what it is decoded into, what it answers, what it may refuse."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import msgspec
from aiohttp import web

from domain.rules import commands, refusals
from domain.rules.refusals import Refusal
from gateway.access import asker
from gateway.parts import PARTS, Parts
from gateway.rest import reads
from gateway.rest.answer import answer
from gateway.rest.decode import command_from
from projections import shapes

PREFIX: Final = "/api/v1"

Read = Callable[[Parts, web.Request], Awaitable[web.Response]]


class Doctors(shapes.Shape, frozen=True, kw_only=True):
    doctors: list[shapes.DoctorCard]


class Snapshot(shapes.Shape, frozen=True, kw_only=True):
    """The envelope of a snapshot: of all doctors, or of the one asked for."""

    type: str
    epoch: str
    sequence: int
    data: shapes.Day | shapes.DoctorDay


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A command to carry out, or something to read."""

    method: str
    path: str
    summary: str
    answers: type
    command: type[msgspec.Struct] | None = None
    read: Read | None = None
    parameters: tuple[str, ...] = ()
    creates: bool = False
    refuses: tuple[type[Refusal], ...] = ()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        parts = request.app[PARTS]
        if self.read is not None:
            return await self.read(parts, request)
        assert self.command is not None
        who = asker(request)
        command = await command_from(request, self.command, self.path)
        return await answer(parts, await parts.desk.handle(command, who))


_LATE: Final = (refusals.EffectiveInFuture,)
_STEP: Final = (refusals.UnknownAppointment, refusals.EffectiveInFuture, refusals.EffectiveTooEarly)

ROUTES: Final = (
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
        method="POST",
        path="/patients",
        summary="Register a patient",
        command=commands.RegisterPatient,
        answers=shapes.PatientCard,
        creates=True,
        refuses=(*_LATE, refusals.MrnTaken),
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
        method="POST",
        path="/patients/{patient_id}/erase",
        summary="Forget a patient, for ever",
        command=commands.ErasePatient,
        answers=shapes.PatientCard,
        refuses=(refusals.UnknownPatient, *_LATE),
    ),
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
            refusals.DateInPast,
            refusals.AlreadyBooked,
            refusals.NoSuchSlot,
            refusals.ClinicFull,
            refusals.SlotTaken,
            refusals.PatientBusy,
        ),
    ),
    Route(
        method="GET",
        path="/appointments/{appointment_id}",
        summary="One appointment",
        read=reads.appointment,
        answers=shapes.Appointment,
        refuses=(refusals.UnknownAppointment,),
    ),
    Route(
        method="POST",
        path="/appointments/{appointment_id}/complete",
        summary="The consultation is over",
        command=commands.CompleteConsultation,
        answers=shapes.Appointment,
        refuses=(*_STEP, refusals.NotAllowedFrom),
    ),
    Route(
        method="POST",
        path="/appointments/{appointment_id}/cancel",
        summary="Cancel, and free the slot",
        command=commands.CancelAppointment,
        answers=shapes.Appointment,
        refuses=(*_STEP, refusals.NotAllowedFrom),
    ),
    Route(
        method="POST",
        path="/checkins",
        summary="The patient is here; 200 when that was known already",
        command=commands.CheckIn,
        answers=shapes.Appointment,
        creates=True,
        refuses=(
            *_STEP,
            refusals.PatientMismatch,
            refusals.AppointmentIsCancelled,
            refusals.AppointmentClosed,
            refusals.NotToday,
        ),
    ),
    Route(
        method="POST",
        path="/queue/call-next",
        summary="Call whoever stands first",
        command=commands.CallNext,
        answers=shapes.Appointment,
        refuses=(refusals.UnknownDoctor, refusals.QueueEmpty),
    ),
    Route(
        method="GET",
        path="/queue",
        summary="A date's queue, of all doctors or of one",
        read=reads.queue,
        parameters=("date", "doctor_id"),
        answers=Snapshot,
        refuses=(refusals.UnknownDoctor,),
    ),
)


def add_routes(app: web.Application) -> None:
    for route in ROUTES:
        app.router.add_route(route.method, PREFIX + route.path, route.handle)
