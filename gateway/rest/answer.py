"""What a command's asker gets to read, and the one place that waits for the own follower."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import date
from typing import TYPE_CHECKING, Any, Final

import msgspec
from aiohttp import web

from domain.desk.outcome import Done
from domain.log import read
from domain.log.append import OutcomeUnknown
from domain.log.codec import UnreadableEvent
from domain.postgres.connect import FAULTS
from domain.rules.ids import AppointmentId, DoctorId, PatientId, clinic_stream
from domain.rules.refusals import UnknownDoctor, UnknownPatient
from projections import shapes
from projections.board import DayBoard
from projections.boards import Unavailable
from projections.projector import Behind

if TYPE_CHECKING:
    from gateway.parts import Parts

OWN_FOLLOWER_SECONDS: Final = 5.0
"""How long a command that is committed waits to be seen by this process's own read model."""
READ_WAITS_SECONDS: Final = 2.0

_encode: Final = msgspec.json.Encoder().encode


def json_response(body: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(status=status, body=_encode(body), content_type="application/json", headers=headers)


async def answer(parts: Parts, done: Done) -> web.Response:
    """The state that the command led to. A replayed command is answered as it was then."""
    with suppress(Behind):  # It is committed, and that is what counts: _board reads past a read model that lags.
        await parts.projector.reached(done.sequence, seconds=OWN_FOLLOWER_SECONDS)
    try:
        body = await _state(parts, done)
    except (Unavailable, UnreadableEvent, *FAULTS) as fault:
        if done.receipt.rests_on:
            raise
        raise OutcomeUnknown from fault  # recorded, and nothing to show for it: "nothing was recorded" would be a lie
    if not done.receipt.rests_on:
        body = msgspec.structs.replace(body, sequence=done.sequence)
    headers = {"Idempotency-Replayed": "true"} if done.replayed else None
    return json_response(body, status=201 if done.receipt.created else 200, headers=headers)


async def _state(parts: Parts, done: Done) -> Any:
    receipt = done.receipt
    match receipt.kind:
        case "doctor":
            return await _doctor_card(parts, DoctorId(receipt.id), done)
        case "patient":
            return await _patient_card(parts, PatientId(receipt.id), done)
        case "clinic":
            assert receipt.date is not None
            return await _clinic_card(parts, DoctorId(receipt.id), receipt.date, done)
        case "appointment":
            assert receipt.date is not None
            (card,) = await _appointment_cards(parts, receipt.date, done, [AppointmentId(receipt.id)])
            return card
        case "reassigned":
            assert receipt.date is not None
            appointments = [AppointmentId(moved_id) for moved_id in receipt.moved]
            moved = await _appointment_cards(parts, receipt.date, done, appointments)
            return shapes.Reassigned(moved=moved, sequence=done.sequence)
        case "nobody":
            assert receipt.date is not None
            return shapes.NobodyCalled(doctor_id=DoctorId(receipt.id), date=receipt.date, sequence=done.sequence)


async def doctor_card(parts: Parts, doctor_id: DoctorId) -> shapes.DoctorCard:
    """Raises UnknownDoctor, Behind."""
    card = parts.directory.doctors.get(doctor_id)
    if card is None:
        await _catch_up(parts)
        card = parts.directory.doctors.get(doctor_id)
    if card is None:
        raise UnknownDoctor
    return card


async def patient_card(parts: Parts, patient_id: PatientId) -> shapes.PatientCard:
    """Raises UnknownPatient, Behind."""
    await parts.directory.have([patient_id])
    person = parts.directory.person(patient_id)
    if person is None:
        await _catch_up(parts)
        await parts.directory.have([patient_id])
        person = parts.directory.person(patient_id)
    if person is None:
        raise UnknownPatient
    return person.card()


async def _catch_up(parts: Parts) -> None:
    """With what was committed, perhaps elsewhere, and not followed yet. Raises Behind: then nobody can say that there
    is no such doctor or patient."""
    await parts.projector.reached(await read.head(parts.pool), seconds=READ_WAITS_SECONDS)


async def _appointment_cards(
    parts: Parts, day: date, done: Done, appointments: Sequence[AppointmentId]
) -> list[shapes.Appointment]:
    board = await _board(parts, day, done, appointments)
    return [appointment_card(parts, board, appointment_id) for appointment_id in appointments]


def appointment_card(parts: Parts, board: DayBoard, appointment_id: AppointmentId) -> shapes.Appointment:
    found = board.find(appointment_id)
    assert found is not None
    return parts.encoder.appointment(*found, board.date)


async def _doctor_card(parts: Parts, doctor_id: DoctorId, done: Done) -> shapes.DoctorCard:
    """As registered now, unless that is something else than right after the command."""
    card = parts.directory.doctors.get(doctor_id)
    if card is not None and card.sequence == done.sequence:
        return card
    return await parts.directory.doctor_as_of(doctor_id, done.sequence)


async def _patient_card(parts: Parts, patient_id: PatientId, done: Done) -> shapes.PatientCard:
    """The same of a patient."""
    await parts.directory.have([patient_id])
    person = parts.directory.person(patient_id)
    if person is not None and person.sequence == done.sequence:
        return person.card()
    return await parts.directory.patient_as_of(patient_id, done.sequence)


async def _clinic_card(parts: Parts, doctor_id: DoctorId, day: date, done: Done) -> shapes.ClinicCard:
    board = await _board(parts, day, done)
    clinic = board.clinics[clinic_stream(doctor_id, day)]
    clinic.line_up()
    block = msgspec.structs.asdict(parts.encoder.clinic(clinic))
    return shapes.ClinicCard(**block, doctor_id=doctor_id, date=day, order=clinic.order, sequence=clinic.changed)


async def _board(parts: Parts, day: date, done: Done, appointments: Sequence[AppointmentId] = ()) -> DayBoard:
    """The live board, unless it stands elsewhere than right after the command. Somebody else may have moved these
    appointments to another date by now: then they are on the board as it was."""
    if parts.projector.position >= done.sequence:
        board = await parts.boards.get(day)
        still_there = board.clinic_of.keys() >= set(appointments)
        if board.sequence == done.sequence or (still_there and not done.replayed):
            return board
    return await parts.timelines.as_of(day, done.sequence)
