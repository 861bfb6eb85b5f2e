"""Both logs as one record: replays, exports, what lost its start, and pages that are put together from many rows."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from domain.audit.codec import Viewer
from domain.audit.looks import (
    BoardViewed,
    ExportMade,
    PatientViewed,
    ReplayEnded,
    ReplayStarted,
    SubscriptionEnded,
    subscription_stream,
)
from domain.log import read
from domain.rules import commands
from domain.rules.ids import PatientId
from gateway.parts import Parts
from projections import onlookers
from projections.onlookers import Asked, AuditRecord, Place
from tests.log.asking import a_doctor, a_patient, an_appointment, ask

CLERK = Viewer(actor="desk-9", role="reception", address="10.0.0.7")


async def _saw(parts: Parts, patient_id: PatientId, **asked: Any) -> list[AuditRecord]:
    """The looks at a patient."""
    await parts.audit.settled()
    traces = await parts.onlookers.traces(patient_id)
    records, following = await parts.onlookers.page(Asked(traces=traces, **asked), after=Place(), limit=100)
    assert following is None
    return [record for record in records if record.kind != "command"]


async def test_a_replay_shows_whoever_stood_there_at_the_positions_that_it_showed(parts: Parts) -> None:
    patient = await a_patient(parts)
    await an_appointment(parts, await a_doctor(parts), patient)
    booked, today = await read.head(parts.pool), parts.today()
    for first, last in ((1, booked - 1), (1, booked), (booked, booked)):
        watch = parts.audit.began(CLERK, ReplayStarted(date=today, sequence=booked))
        watch.ended(ReplayEnded(date=today, first=first, last=last))
    parts.audit.began(CLERK, ReplayStarted(date=today, sequence=booked, public=True))  # and never ended
    parts.audit.began(CLERK, ReplayStarted(date=today, sequence=booked - 1))  # nor this one: it may go on until now
    seen = await _saw(parts, patient)
    assert [(one.kind, one.through, one.date, one.detail["view"]) for one in seen] == [
        ("replay", "board", today, "full"),
        ("replay", "board", today, "full"),
        ("replay", "board", today, "public"),
        ("replay", "board", today, "full"),
    ]
    assert [(one.detail.get("first_sequence"), one.detail.get("last_sequence")) for one in seen] == [
        (1, booked),
        (booked, booked),
        (None, None),
        (None, None),
    ]
    assert [one.detail["ended_at"] is None for one in seen] == [False, False, True, True]


async def test_by_effective_time_a_board_shows_some_of_all_that_the_log_had(parts: Parts) -> None:
    patient = await a_patient(parts)
    appointment = await an_appointment(parts, await a_doctor(parts), patient)
    booked, today = await read.head(parts.pool), parts.today()
    await ask(parts, commands.CancelAppointment(appointment_id=appointment))
    gone = await read.head(parts.pool)
    for sequence in (booked - 1, gone):
        await parts.audit.looked(CLERK, BoardViewed(date=today, sequence=sequence, by="effective"))
        await parts.audit.looked(CLERK, BoardViewed(date=today, sequence=sequence))
    watch = parts.audit.began(CLERK, ReplayStarted(date=today, sequence=gone, by="effective"))
    watch.ended(ReplayEnded(date=today, first=gone, last=gone))
    seen = await _saw(parts, patient)
    assert [(one.kind, one.detail["by"], one.detail["sequence"]) for one in seen] == [
        ("board-viewed", "effective", gone),
        ("replay", "effective", gone),
    ]


async def test_an_export_holds_whoever_ever_stood_there(parts: Parts) -> None:
    patient = await a_patient(parts)
    doctor = await a_doctor(parts)
    await an_appointment(parts, doctor, patient)
    head, today = await read.head(parts.pool), parts.today()
    for sequence, chosen in ((head - 1, None), (head, None), (head + 50, (doctor,)), (head, ())):
        await parts.audit.looked(CLERK, ExportMade(date=today, sequence=sequence, doctors=chosen, format="ndjson"))
    seen = await _saw(parts, patient)
    assert [(one.kind, one.detail["format"], one.detail["sequence"]) for one in seen] == [
        ("export-made", "ndjson", head),
        ("export-made", "ndjson", head + 50),
    ]


async def test_an_end_that_lost_its_start_is_told_and_may_have_shown_anybody(parts: Parts) -> None:
    patient = await a_patient(parts)
    await an_appointment(parts, await a_doctor(parts), patient)
    today = parts.today()
    stream = subscription_stream(uuid4())
    await parts.audit.put(SubscriptionEnded(date=today, sequence=1), CLERK, stream=stream, version=2)
    (seen,) = await _saw(parts, patient)
    assert (seen.kind, seen.through, seen.detail["started_at"]) == ("subscription", "board", None)
    assert seen.detail["ended_at"] is not None
    assert await _saw(parts, await a_patient(parts)) == []


@pytest.mark.parametrize("rows_at_once", [1, 2, 3, 50])
async def test_a_page_is_the_same_however_many_rows_it_is_read_from(
    parts: Parts, monkeypatch: pytest.MonkeyPatch, rows_at_once: int
) -> None:
    patient, other = await a_patient(parts), await a_patient(parts)
    await an_appointment(parts, await a_doctor(parts), patient)
    mine = Viewer(actor="desk-10", role="reception")
    for number in range(12):
        looked = PatientViewed(patient_id=patient if number % 3 else other)
        await parts.audit.looked(mine if number % 2 else CLERK, looked)
    traces = await parts.onlookers.traces(patient)
    monkeypatch.setattr(onlookers, "ROWS_AT_ONCE", rows_at_once)
    for asked, expected in (
        (Asked(traces=traces), 10),
        (Asked(traces=traces, actor="desk-10"), 4),
        (Asked(actor="desk-10"), 6),
        (Asked(date=parts.today()), 2),
    ):
        whole, _ = await parts.onlookers.page(asked, after=Place(), limit=100)
        assert len(whole) == expected
        paged: list[AuditRecord] = []
        place: Place | None = Place()
        while place is not None:
            page, place = await parts.onlookers.page(asked, after=place, limit=2)
            paged += page
        assert paged == whole


async def test_those_who_ask_at_once_are_all_answered(parts: Parts) -> None:
    patient = await a_patient(parts)
    answers = await asyncio.gather(*(_saw(parts, patient) for _ in range(20)))
    assert answers == [[]] * 20
