"""Reading: the registry, an appointment, the queue. Straight from the read model."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from aiohttp import web

from domain.log import read
from domain.rules.ids import AppointmentId, DoctorId, PatientId, clinic_of
from domain.rules.refusals import UnknownAppointment, UnknownDoctor
from gateway.live.envelopes import day_state, doctor_state, envelope
from gateway.rest.answer import READ_WAITS_SECONDS, appointment_card, doctor_card, json_response, patient_card
from gateway.rest.decode import path_value, query

if TYPE_CHECKING:
    from gateway.parts import Parts


async def _wait(parts: Parts, request: web.Request, **known: type) -> dict[str, Any]:
    """The query, once the read model has come as far as it demands. Raises Problem, Behind."""
    values = query(request, min_sequence=int, **known)
    await parts.projector.reached(values.get("min_sequence", 0), seconds=READ_WAITS_SECONDS)
    return values


async def doctors(parts: Parts, request: web.Request) -> web.Response:
    await _wait(parts, request)
    cards = sorted(parts.directory.doctors.values(), key=lambda card: card.code)
    return json_response({"doctors": cards})


async def doctor(parts: Parts, request: web.Request) -> web.Response:
    doctor_id = DoctorId(path_value("doctor_id", request.match_info["doctor_id"]))  # type: ignore[arg-type]
    await _wait(parts, request)
    card = parts.directory.doctors.get(doctor_id)
    if card is None:
        raise UnknownDoctor
    return json_response(card)


async def patient(parts: Parts, request: web.Request) -> web.Response:
    patient_id = PatientId(path_value("patient_id", request.match_info["patient_id"]))  # type: ignore[arg-type]
    await _wait(parts, request)
    return json_response(await patient_card(parts, patient_id))


async def appointment(parts: Parts, request: web.Request) -> web.Response:
    appointment_id = AppointmentId(path_value("appointment_id", request.match_info["appointment_id"]))  # type: ignore[arg-type]
    await _wait(parts, request)
    stream = await read.stream_of(parts.pool, appointment_id)
    if stream is None:
        raise UnknownAppointment
    board = await parts.boards.get(clinic_of(stream)[1])
    if board.find(appointment_id) is None:  # booked this very moment, and not followed yet
        await parts.projector.reached(await read.head(parts.pool), seconds=READ_WAITS_SECONDS)
    return json_response(appointment_card(parts, board, appointment_id))


async def queue(parts: Parts, request: web.Request) -> web.Response:
    """The envelope of a snapshot, of all doctors or of one."""
    values = await _wait(parts, request, date=datetime.date, doctor_id=UUID)
    day = values.get("date") or parts.today()
    doctor_id = values.get("doctor_id")
    if doctor_id is None:
        board = await parts.boards.get(day)
        sequence, data = day_state(parts, board)
    else:
        await doctor_card(parts, doctor_id)
        board = await parts.boards.get(day)
        sequence, data = doctor_state(parts, board, doctor_id)
    body = envelope("snapshot", parts.epoch, sequence, data)
    return web.Response(body=body, content_type="application/json")
