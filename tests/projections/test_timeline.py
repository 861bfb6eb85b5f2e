"""A date's past: any place of any day is what a fresh fold up to there gives, however one came there."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, time, timedelta
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.log import codec
from domain.rules import commands, events
from domain.rules.ids import AppointmentId, clinic_stream
from gateway.parts import Parts
from projections import shapes
from projections import timeline as timelines_module
from projections.board import DayBoard
from projections.boards import Boards, Unavailable
from projections.directory import Directory
from projections.shapes import By
from projections.timeline import END, START, Fact, Place, Timeline, Timelines, as_it_was
from projections.views import EVERYBODY, View
from tests.projections.late_days import PATIENTS, STEPS, Day

NOW = datetime(2025, 11, 17, 12, tzinfo=UTC)


def folded(day: Day, facts: Sequence[Fact]) -> DayBoard:
    """From nothing, in that order."""
    board = DayBoard(day.date)
    for number, fact in enumerate(facts, 1):
        board.fold(number, fact.event)
    return board


def views(day: Day) -> list[View]:
    return [EVERYBODY, *(View(doctor_id=doctor) for doctor in day.doctors)]


def shown(parts: Parts, day: Day, board: DayBoard) -> list[bytes]:
    return [parts.encoder.day(board, NOW, view) for view in views(day)]


@pytest.fixture(autouse=True)
def _keyframes_close_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that days of a test's size have some."""
    monkeypatch.setattr(timelines_module, "KEYFRAME_STEPS", 7)
    monkeypatch.setattr(timelines_module, "STEPS_AT_ONCE", 3)


any_day = settings(
    max_examples=15,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@any_day
@given(seed=st.integers(0, 2**32))
async def test_the_state_at_every_sequence_is_a_fresh_fold_up_to_it(parts: Parts, seed: int) -> None:
    """Wherever one goes, in whatever order; and at its end it is the live board, byte for byte."""
    day = Day(parts, seed)
    await day.begin()
    await day.live(STEPS)
    head = await day.up_to_date()
    facts = await day.facts()
    places = [*range(facts[0].sequence - 1, head + 1)]
    day.chance.shuffle(places)
    async with parts.timelines.opened(day.date, "recorded") as timeline:
        for sequence in places:
            number, board = await timeline.board_at(sequence)
            past = [fact for fact in facts if fact.sequence <= sequence]
            assert number == len(past)
            assert shown(parts, day, board) == shown(parts, day, folded(day, past))
            assert timeline.sequence(board, None) == (past[-1].sequence if past else 0)
        number, board = await timeline.board_at(END)
        assert shown(parts, day, board) == shown(parts, day, await parts.boards.get(day.date))


@any_day
@given(seed=st.integers(0, 2**32))
async def test_by_effective_time_any_day_can_be_shown_at_every_step(parts: Parts, seed: int) -> None:
    """Nothing that rules let through leads to a past that cannot be folded."""
    day = Day(parts, seed)
    await day.begin()
    await day.live(STEPS)
    await day.up_to_date()
    placed = as_it_was(await day.facts())
    assert sorted(placed, key=lambda each: (each[1], each[0].sequence)) == placed
    async with parts.timelines.opened(day.date, "effective") as timeline:
        assert [(step.sequence, step.at) for step in timeline.steps] == [(fact.sequence, at) for fact, at in placed]
        order = [*range(len(placed) + 1)]
        day.chance.shuffle(order)
        for done in order:
            past = [fact for fact, _ in placed[:done]]
            number, board = await timeline.board_at(past[-1].sequence if past else START)
            assert number == done
            assert shown(parts, day, board) == shown(parts, day, folded(day, past))
            for doctor in (None, *day.doctors):
                stream = clinic_stream(doctor, day.date) if doctor is not None else None
                own = [fact.sequence for fact in past if stream in (None, fact.event.originator_id)]
                assert timeline.sequence(board, doctor) == max(own, default=0)
        _, board = await timeline.board_at(END)
        assert _appointments(board) == _appointments(await parts.boards.get(day.date))


def _appointments(board: DayBoard) -> dict[AppointmentId, Any]:
    """How each stands in the end: clinics may have been set up in another order than was recorded."""
    return {each: entry.state for clinic in board.clinics.values() for each, entry in clinic.entries.items()}


@any_day
@given(seed=st.integers(0, 2**32), by=st.sampled_from(("recorded", "effective")))
async def test_a_timeline_that_grows_is_one_that_was_read_at_once(parts: Parts, seed: int, by: By) -> None:
    day = Day(parts, seed)
    await day.begin()
    async with parts.timelines.opened(day.date, by) as timeline:
        for _ in range(5):
            await day.live(STEPS // 5)
            await day.up_to_date()
            await parts.timelines.catch_up(timeline)
            await timeline.board_at(END)
        afresh = Timeline(day.date, by)
        afresh.extend(await day.facts(), parts.projector.position)
        assert timeline.steps == afresh.steps
        for step in timeline.steps:
            (number, board), (same, other) = [await each.board_at(step.sequence) for each in (timeline, afresh)]
            assert number == same
            assert shown(parts, day, board) == shown(parts, day, other)


# --- late entries --------------------------------------------------------------------------------


@pytest_asyncio.fixture
async def day(parts: Parts) -> Day:
    """With three doctors, six patients, and one clinic that was opened at eight."""
    day = Day(parts, 0)
    await day.begin()
    return day


async def _board(day: Day, by: By, place: Place) -> DayBoard:
    await day.up_to_date()
    async with day.parts.timelines.opened(day.date, by) as timeline:
        _, board = await timeline.board_at(place)
        return board


async def _stages(day: Day, by: By, clock: str) -> list[str | None]:
    """Of all appointments at that time, by slot."""
    board = await _board(day, by, datetime.combine(day.date, time.fromisoformat(clock), day.parts.zone))
    return [entry.state.stage for clinic in board.clinics.values() for entry in clinic.list_up()]


def _clock(day: Day, clock: str) -> datetime:
    return datetime.combine(day.date, time.fromisoformat(clock), day.parts.zone)


async def test_a_late_entry_is_missing_then_by_recorded_time_and_in_its_place_by_effective_time(day: Day) -> None:
    booking = commands.BookAppointment(doctor_id=day.doctors[0], patient_id=day.patients[0], date=day.date)
    booked = await day.do(booking)
    day.now = _clock(day, "11:00")
    await day.do(commands.CheckIn(appointment_id=booked, effective_at=_clock(day, "09:30")))
    await day.do(commands.CallNext(doctor_id=day.doctors[0], date=day.date))
    assert await _stages(day, "effective", "09:29") == [None]
    assert await _stages(day, "effective", "09:30") == ["checked_in"]
    assert await _stages(day, "effective", "11:00") == ["called"]
    facts = await day.facts()
    recorded = [fact.recorded_at for fact in facts]
    assert [len((await _board(day, "recorded", at)).clinic_of) for at in recorded] == [0, 1, 1, 1]
    before = await _board(day, "recorded", facts[2].sequence - 1)
    assert next(iter(before.clinics.values())).entries[booked].state.stage is None


async def test_a_clinic_opened_late_in_the_record_was_there_when_the_first_thing_in_it_happened(day: Day) -> None:
    doctor = day.doctors[1]
    day.now = _clock(day, "10:00")
    await day.do(commands.SetUpClinic(doctor_id=doctor, date=day.date, capacity=3))
    booking = commands.BookAppointment(
        doctor_id=doctor, patient_id=day.patients[0], date=day.date, effective_at=_clock(day, "08:30")
    )
    assert await day.do(booking)
    assert clinic_stream(doctor, day.date) not in (await _board(day, "effective", _clock(day, "08:29"))).clinics
    there = (await _board(day, "effective", _clock(day, "08:30"))).clinics[clinic_stream(doctor, day.date)]
    assert len(there.list_up()) == 1


async def test_two_who_had_one_slot_by_effective_time_are_both_shown(day: Day) -> None:
    doctor = day.doctors[0]
    await day.do(commands.SetUpClinic(doctor_id=doctor, date=day.date, capacity=1))
    one, other = day.patients[:2]
    booked = await day.do(commands.BookAppointment(doctor_id=doctor, patient_id=one, date=day.date))
    day.now = _clock(day, "11:00")
    await day.do(commands.CancelAppointment(appointment_id=booked))
    late = _clock(day, "09:00")
    second = commands.BookAppointment(doctor_id=doctor, patient_id=other, date=day.date, effective_at=late)
    assert await day.do(second)
    board = await _board(day, "effective", _clock(day, "10:00"))
    shown = msgspec.json.decode(day.parts.encoder.day(board, NOW), type=shapes.Day)
    (block,) = shown.doctors
    assert [appointment.slot for appointment in block.appointments] == [1, 1]
    assert (block.clinic.booked, block.clinic.capacity, block.clinic.free) == (2, 1, 0)


async def test_steps_of_the_same_second_stay_in_the_order_they_were_decided_in(day: Day) -> None:
    """A time copied from a board lies a little before the step that it stands for, and is let through."""
    one, other = day.doctors[:2]
    day.now = _clock(day, "10:00") + timedelta(microseconds=700_000)
    second = day.now.replace(microsecond=0)
    booked = await day.do(commands.BookAppointment(doctor_id=one, patient_id=day.patients[0], date=day.date))
    await day.do(commands.MoveAppointment(appointment_id=booked, doctor_id=other, reason="r"))
    await day.do(commands.CheckIn(appointment_id=booked, effective_at=second))
    await day.do(commands.CancelAppointment(appointment_id=booked, effective_at=second))
    facts = await day.facts()
    assert facts[-1].event.timestamp < facts[-3].event.timestamp, "the rules let it through"
    kinds = [type(fact.event).__name__ for fact, _ in as_it_was(facts)]
    moved = ["AppointmentMovedOut", "ClinicOpened", "AppointmentMovedIn"]
    assert kinds[-5:] == [*moved, "PatientCheckedIn", "AppointmentCancelled"]
    board = await _board(day, "effective", END)
    assert board.find(booked)[1].state.status == "cancelled"  # type: ignore[index]


# --- people --------------------------------------------------------------------------------------


async def _with_everybody_here(day: Day) -> list[AppointmentId]:
    """Eighteen appointments, enough for several keyframes."""
    booked: list[AppointmentId] = []
    for doctor in day.doctors:
        await day.do(commands.SetUpClinic(doctor_id=doctor, date=day.date, capacity=PATIENTS))
        for patient in day.patients:
            booking = commands.BookAppointment(doctor_id=doctor, patient_id=patient, date=day.date, allow_overlap=True)
            booked.append(AppointmentId(await day.do(booking)))
    for appointment in booked:
        await day.do(commands.CheckIn(appointment_id=appointment))
    return booked


@pytest.mark.parametrize("by", ["recorded", "effective"])
async def test_who_is_erased_is_in_no_keyframe_and_on_no_board_that_is_still_looked_at(day: Day, by: By) -> None:
    await _with_everybody_here(day)
    await day.up_to_date()
    parts = day.parts
    async with parts.timelines.opened(day.date, by) as timeline:
        held = []
        for step in timeline.steps:
            _, board = await timeline.board_at(step.sequence)
            parts.encoder.day(board, NOW)
            held.append(board)
        order = [step.sequence for step in timeline.steps]
        assert len(timeline._keyframes) > 5
        await day.do(commands.ErasePatient(patient_id=day.patients[0], reason="asked for it"))
        await day.do(commands.ChangePatient(patient_id=day.patients[1], name="Renamed 1"))
        await day.do(commands.ChangeDoctor(doctor_id=day.doctors[0], name="Dr. Renamed", code="ZZZ"))
        await day.up_to_date()
        for board in (*timeline._keyframes.values(), *timeline._lent):
            assert b"nal 0" not in b"".join(_kept_bytes(board))
            assert b"+49 0" not in b"".join(_kept_bytes(board))
            assert b"nal 1" not in b"".join(_kept_bytes(board))
        days = [parts.encoder.day(board, NOW).decode() for board in held]
        assert not any("Ünal 0" in each or "Ünal 1" in each for each in days)
        day_shown = days[-1]
        assert "[erased]" in day_shown
        assert "Renamed 1" in day_shown
        assert [block["doctor"]["name"] for block in msgspec.json.decode(day_shown)["doctors"]][-1] == "Dr. Renamed"
    async with parts.timelines.opened(day.date, by) as timeline:
        assert [step.sequence for step in timeline.steps] == order


def _kept_bytes(board: DayBoard) -> Iterator[bytes]:
    for clinic in board.clinics.values():
        yield clinic.encoded or b""
        segment = clinic.segment() if clinic.segment is not None else None
        yield (segment.encoded if segment is not None else b"") or b""
        for entry in clinic.entries.values():
            yield from entry.encoded or ()


# --- what is kept --------------------------------------------------------------------------------


async def test_going_somewhere_again_folds_no_more_than_what_is_after_a_keyframe(
    day: Day, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _with_everybody_here(day)
    await day.up_to_date()
    folds = 0
    fold = DayBoard.fold

    def counted(board: DayBoard, position: int, event: events.Event) -> bool:
        nonlocal folds
        folds += 1
        return fold(board, position, event)

    async with day.parts.timelines.opened(day.date, "recorded") as timeline:
        await timeline.board_at(END)
        monkeypatch.setattr(DayBoard, "fold", counted)
        for step in timeline.steps:
            folds = 0
            await timeline.board_at(step.sequence)
            assert folds < timelines_module.KEYFRAME_STEPS


async def test_timelines_are_shared_while_used_and_let_go_when_room_is_short(day: Day) -> None:
    await _with_everybody_here(day)
    await day.up_to_date()
    parts = day.parts
    few = Timelines(parts.pool, parts.boards, parts.directory, codec.facts(), budget_bytes=1)
    held = parts.directory._held.copy()
    async with few.opened(day.date, "recorded") as one:
        async with few.opened(day.date, "recorded") as same, few.opened(day.date, "effective") as other:
            assert same is one
            assert other is not one
        assert set(few._kept) == {(day.date, "recorded")}
        async with few.opened(day.date, "recorded") as again:
            assert again is one
        assert parts.directory._held[day.patients[0]] == held[day.patients[0]] + 1
    assert not few._kept
    assert parts.directory._held == held
    async with parts.timelines.opened(day.date, "recorded") as kept:
        pass
    async with parts.timelines.opened(day.date, "recorded") as again:
        assert again is kept  # there is room


async def test_many_who_go_to_many_places_at_once_each_get_their_own(day: Day) -> None:
    await _with_everybody_here(day)
    await day.up_to_date()
    facts = await day.facts()
    async with day.parts.timelines.opened(day.date, "recorded") as timeline:
        found = await asyncio.gather(*[timeline.board_at(fact.sequence) for fact in facts])
    assert [number for number, _ in found] == [*range(1, len(facts) + 1)]
    for number, board in found:
        assert shown(day.parts, day, board) == shown(day.parts, day, folded(day, facts[:number]))


async def test_a_state_ahead_of_the_projector_is_read_and_nobody_on_it_is_kept(day: Day) -> None:
    """An answer that cannot wait any longer for a read model that lags."""
    await day.up_to_date()
    parts = day.parts
    behind = parts.projector.position
    doctor = day.doctors[0]
    await _with_everybody_here(day)
    head = await day.up_to_date()
    lagging = Boards(parts.pool, Directory(parts.pool, parts.desk.equipment.vault, codec.facts()), codec.facts())
    lagging.applied = lagging._directory.applied = behind
    timelines = Timelines(parts.pool, lagging, lagging._directory, codec.facts())
    board = await timelines.as_of(day.date, head)
    assert len(board.clinics[clinic_stream(doctor, day.date)].entries) == PATIENTS
    assert not lagging._directory._people
    async with timelines.opened(day.date, "recorded") as timeline:
        assert all(step.sequence <= behind for step in timeline.steps)


async def test_a_record_that_cannot_be_folded_is_unavailable_and_the_others_are_not(parts: Parts) -> None:
    broken, other = Day(parts, 0), Day(parts, 1)
    for day in (broken, other):
        await day.begin()
        await _with_everybody_here(day)
    await other.up_to_date()
    async with parts.timelines.opened(broken.date, "recorded") as timeline:
        timeline.steps[:] = timeline.steps[1:]  # as if a clinic had never been opened
        with pytest.raises(Unavailable):
            await timeline.board_at(END)
    async with parts.timelines.opened(other.date, "recorded") as timeline:
        await timeline.board_at(END)
