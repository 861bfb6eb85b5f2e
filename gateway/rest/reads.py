"""Reading: the registry, an appointment, the queue. Straight from the read model."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import msgspec
from aiohttp import web

from domain.audit.looks import BoardViewed, DayEventsViewed, HistoryViewed, PatientsSearched, PatientViewed
from domain.log import read
from domain.rules.commands import Name
from domain.rules.events import NO_TIME
from domain.rules.ids import AppointmentId, DoctorId, PatientId, clinic_of
from domain.rules.refusals import UnknownAppointment, UnknownDoctor
from domain.vault.search import having_all
from gateway.access import viewer
from gateway.live.envelopes import snapshot_head, snapshot_pieces
from gateway.live.protocol import meant
from gateway.rest.answer import READ_WAITS_SECONDS, doctor_card, json_response, patient_card
from gateway.rest.decode import body_of, path_value, query
from gateway.rest.problem import Problem
from projections import shapes
from projections.board import Clinic, DayBoard, Entry
from projections.boards import fold_people
from projections.explain import why
from projections.projector import Behind
from projections.timeline import END, Place
from projections.views import View

FOUND_AT_MOST: Final = 50
EVENTS_AT_MOST: Final = 1_000
MOVES_WAITED_FOR: Final = 5

if TYPE_CHECKING:
    from gateway.parts import Parts


async def _wait(parts: Parts, request: web.Request, **known: Any) -> dict[str, Any]:
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
    card = await patient_card(parts, patient_id)
    await parts.audit.looked(viewer(request), PatientViewed(patient_id=patient_id))
    return json_response(card)


class SearchPatients(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """In the body, since patient data never stands in a URL."""

    q: Name


async def search(parts: Parts, request: web.Request) -> web.Response:
    await _wait(parts, request)
    asked: SearchPatients = await body_of(request, SearchPatients)
    found: dict[PatientId, None] = {}
    for tokens in parts.digests.question_tokens(asked.q):
        found.update(dict.fromkeys(await having_all(parts.pool, tokens, limit=FOUND_AT_MOST)))
    patient_ids = list(found)[:FOUND_AT_MOST]
    await parts.directory.have(patient_ids)
    people = [person for patient_id in patient_ids if (person := parts.directory.person(patient_id))]
    people.sort(key=lambda person: person.details.name)
    shown = tuple(person.patient_id for person in people)
    await parts.audit.looked(viewer(request), PatientsSearched(patients=shown))
    return json_response({"patients": [person.card() for person in people]})


async def appointment(parts: Parts, request: web.Request) -> web.Response:
    """With the reason for its place in the line."""
    appointment_id = AppointmentId(path_value("appointment_id", request.match_info["appointment_id"]))  # type: ignore[arg-type]
    await _wait(parts, request)
    board, (clinic, entry) = await _on_its_board(parts, appointment_id)
    card = parts.encoder.appointment(clinic, entry, board.date)
    explained = shapes.ExplainedAppointment(**msgspec.structs.asdict(card), why=why(clinic, entry) or msgspec.UNSET)
    return json_response(explained)


async def _on_its_board(parts: Parts, appointment_id: AppointmentId) -> tuple[DayBoard, tuple[Clinic, Entry]]:
    """Wherever it stands now: it may be booked, or moved to another date, this very moment."""
    for _ in range(MOVES_WAITED_FOR):
        stream = await read.stream_of(parts.pool, appointment_id)
        if stream is None:
            raise UnknownAppointment
        board = await parts.boards.get(clinic_of(stream)[1])
        found = board.find(appointment_id)
        if found is not None:
            return board, found
        await parts.projector.reached(await read.head(parts.pool), seconds=READ_WAITS_SECONDS)
    raise Behind


async def appointment_history(parts: Parts, request: web.Request) -> web.Response:
    appointment_id = AppointmentId(path_value("appointment_id", request.match_info["appointment_id"]))  # type: ignore[arg-type]
    await _wait(parts, request)
    events = await parts.history.of_appointment(appointment_id)
    if not events:
        raise UnknownAppointment
    await parts.audit.looked(viewer(request), HistoryViewed(appointment_id=appointment_id))
    return json_response({"events": events})


async def day_events(parts: Parts, request: web.Request) -> web.Response:
    """A page of a date's events; `next` is the `after` to go on with, or null."""
    day = path_value("date", request.match_info["date"])
    assert isinstance(day, datetime.date)
    values = await _wait(parts, request, after=int, limit=int)
    limit = values.get("limit", EVENTS_AT_MOST)
    if not 1 <= limit <= EVENTS_AT_MOST:
        raise Problem(400, "invalid_request", f"`limit` is 1 to {EVENTS_AT_MOST}", key="limit")
    after = values.get("after", 0)
    events = await parts.history.of_day(day, after=after, limit=limit + 1)
    following = events[limit - 1].sequence if len(events) > limit else None
    shown = events[:limit]
    up_to = shown[-1].sequence if shown else after
    await parts.audit.looked(viewer(request), DayEventsViewed(date=day, after=after, up_to=up_to))
    return json_response({"events": shown, "next": following})


async def queue(parts: Parts, request: web.Request) -> web.Response:
    """The envelope of a snapshot, of all doctors or of one: as it is, or as it was."""
    values = await _wait(
        parts, request, date=datetime.date, doctor_id=UUID, at=datetime.datetime, sequence=int, by=shapes.By
    )
    place = await _place(parts, values)
    day = values.get("date") or parts.today()
    doctor_id, by = values.get("doctor_id"), values.get("by", "recorded")
    if doctor_id is not None:
        await doctor_card(parts, doctor_id)
    view = View(doctor_id=doctor_id)
    if place is None and by == "recorded":
        board, sequence = await parts.boards.get(day), parts.projector.position
        body = b"".join(snapshot_pieces(parts, board, view))
    else:
        sequence, body = await _as_it_was(parts, day, by, place, view)
    look = BoardViewed(date=day, sequence=sequence, doctor_id=doctor_id, by=by)
    await parts.audit.looked(viewer(request), look)
    return web.Response(body=body, content_type="application/json")


async def _place(parts: Parts, values: dict[str, Any]) -> Place | None:
    """None for as it is now, which is what a time to come stands for. Raises Problem, Behind."""
    at, sequence = values.get("at"), values.get("sequence")
    if at is not None and sequence is not None:
        raise Problem(400, "invalid_request", "`at` and `sequence` both say when: one of them is enough", key="at")
    if sequence is None:
        return None if at is None or meant(at) >= parts.now() else max(NO_TIME, meant(at))
    if not await parts.projector.is_in_log(sequence, seconds=READ_WAITS_SECONDS):
        raise Problem(400, "invalid_request", "`sequence` is beyond the log", key="sequence")
    return int(sequence)


async def _as_it_was(
    parts: Parts, day: datetime.date, by: shapes.By, place: Place | None, view: View
) -> tuple[int, bytes]:
    """Up to where in the log, and the envelope; its `timestamp` is the time that was asked for, or that of the last
    event in it."""
    position = place if isinstance(place, int) else await read.position_at(parts.pool, place or parts.now())
    async with parts.timelines.opened(day, by) as timeline:
        number, board = await timeline.board_at(END if place is None else place)
        # No await from here on: see Timeline.board_at.
        moment = place if isinstance(place, datetime.datetime) else parts.now()
        if isinstance(place, int) and number:
            moment = timeline.steps[number - 1].at
        shown = sequence = timeline.sequence(board, view.doctor_id)
        if by == "recorded":
            fold_people(board, parts.directory, position)
            shown, newest = position, view.sequence(board, parts.directory.doctors)
            sequence = newest if newest <= position else 0  # One doctor alone may have been registered since.
        begins, blocks, ends = parts.encoder.day_blocks(board, moment, view)
        return shown, b"".join((snapshot_head(parts, sequence), begins, b",".join(blocks), ends, b"}"))
