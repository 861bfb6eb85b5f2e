"""A board that has lived through its day equals one that is read from the log afterwards, byte for byte."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from itertools import count
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.desk.outcome import Asker
from domain.log import codec, read
from domain.rules import commands, events
from domain.rules.ids import AppointmentId, DoctorId, PatientId, doctor_stream, patient_stream
from domain.rules.refusals import Refusal
from domain.vault.sealing import Vault
from gateway.parts import Parts
from projections import directory, shapes
from projections.board import DayBoard
from projections.boards import APPOINTMENT_BYTES, BOARD_BYTES, Boards
from projections.directory import Directory
from projections.encoding import Encoder
from projections.views import View

DOCTORS, PATIENTS, CAPACITY = 2, 4, 4
NOW = datetime(2025, 11, 17, 12, tzinfo=UTC)
DEVELOPER = Asker(actor="developer", role="developer")

_numbers = count()


def a_date() -> date:
    """One that no other test, and no other run, has anything on."""
    return date(2023, 1, 1) + timedelta(days=next(_numbers))


@dataclass
class Morning:
    """A date with doctors and patients of its own, and what was done on it."""

    parts: Parts
    day: date = field(default_factory=a_date)
    doctors: list[DoctorId] = field(default_factory=list)
    patients: list[PatientId] = field(default_factory=list)
    appointments: list[AppointmentId] = field(default_factory=list)
    refused: int = 0

    async def begin(self, doctors: int = DOCTORS, patients: int = PATIENTS) -> None:
        for number in range(doctors):
            code = f"{number}-{uuid4().hex[:8]}"
            registered = commands.RegisterDoctor(name=f"Dr. {number}", code=code, specialty="Cardiology", room="R 1")
            self.doctors.append(DoctorId(await self.do(registered)))
        for number in range(patients):
            born = date(1960 + number, 2, 28) if number % 2 else None
            registration = commands.RegisterPatient(name=f"Ünal {number}", phone="+49", birth_date=born, age=number)
            self.patients.append(PatientId(await self.do(registration)))

    async def do(self, command: Any) -> Any:
        """The id of what it was about; None where it was refused."""
        try:
            done = await self.parts.desk.handle(command, DEVELOPER)
        except Refusal:
            self.refused += 1
            return None
        return done.receipt.id

    def at(self, minute: int) -> datetime:
        eight = datetime.combine(self.day, time(8), tzinfo=ZoneInfo("Asia/Kolkata"))
        return eight + timedelta(minutes=minute)

    async def book(self, doctor: int, patient: int, slot: int | None = None, priority: Any = None) -> None:
        made = await self.do(
            commands.BookAppointment(
                doctor_id=self.doctors[doctor],
                patient_id=self.patients[patient],
                date=self.day,
                slot=slot,
                priority=priority,
                allow_overlap=True,
                effective_at=self.at(0),
            )
        )
        if made is not None:
            self.appointments.append(AppointmentId(made))

    async def up_to_date(self) -> DayBoard:
        """The live board, once it has folded all there is."""
        await self.parts.projector.reached(await read.head(self.parts.pool), seconds=10)
        return await self.parts.boards.get(self.day)


def afresh(parts: Parts, **options: Any) -> tuple[Boards, Encoder]:
    """Boards, people and keys that have seen nothing yet."""
    vault = Vault(parts.pool, parts.desk.equipment.vault._master)
    people = Directory(parts.pool, vault, codec.facts())
    boards = Boards(parts.pool, people, codec.facts(), **options)
    boards.applied = people.applied = parts.projector.position
    return boards, Encoder(people, parts.zone)


async def is_equal_when_read_again(morning: Morning) -> None:
    live, parts = await morning.up_to_date(), morning.parts
    boards, encoder = afresh(parts)
    await boards._directory.load_doctors()
    fresh = await boards.get(morning.day)
    shown = parts.encoder.day(live, NOW)
    assert shown == encoder.day(fresh, NOW)
    assert live.sequence == fresh.sequence
    assert _changes(live) == _changes(fresh)

    day = msgspec.json.decode(shown, type=shapes.Day)
    assert msgspec.json.encode(day) == shown
    public = parts.encoder.day(live, NOW, View(public=True))
    assert msgspec.json.encode(msgspec.json.decode(public, type=shapes.PublicDay)) == public
    for doctor in morning.doctors:
        one = parts.encoder.day(live, NOW, View(doctor_id=doctor))
        assert msgspec.json.encode(msgspec.json.decode(one, type=shapes.DoctorDay)) == one
        one = parts.encoder.day(live, NOW, View(doctor_id=doctor, public=True))
        assert msgspec.json.encode(msgspec.json.decode(one, type=shapes.PublicDoctorDay)) == one


def _changes(board: DayBoard) -> dict[str, object]:
    """When what changed, as far as clients are told by it."""
    return {
        stream: (
            (clinic.changed, clinic.introduced, clinic.described, clinic.counted, clinic.arrived, clinic.gone),
            {entry.appointment_id: entry.changed for entry in clinic.entries.values()},
        )
        for stream, clinic in board.clinics.items()
    }


# --- any day -------------------------------------------------------------------------------------

_doctor, _patient, _any = st.integers(0, DOCTORS - 1), st.integers(0, PATIENTS - 1), st.integers(0, 15)
_step = st.one_of(
    st.tuples(
        st.just("book"),
        _doctor,
        _patient,
        st.none() | st.integers(1, CAPACITY + 1),
        st.sampled_from([None, "routine", "urgent", "emergency"]),
    ),
    st.tuples(st.just("check in"), _any, st.integers(1, 60)),
    st.tuples(st.just("check in"), _any, st.integers(1, 60)),
    st.tuples(st.just("call"), _doctor),
    st.tuples(st.just("complete"), _any),
    st.tuples(st.just("cancel"), _any),
    st.tuples(
        st.just("clinic"),
        _doctor,
        st.integers(1, CAPACITY),
        st.sampled_from(["arrival", "slot"]),
        st.sampled_from("AB"),
    ),
    st.tuples(st.just("register"), _patient),
    st.tuples(st.just("erase"), _patient),
    st.tuples(st.just("look")),
)


@settings(
    max_examples=120,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=st.lists(_step, min_size=5, max_size=40), watched=st.booleans())
async def test_after_any_day_the_live_board_equals_one_read_from_the_log(
    parts: Parts, steps: list[Any], watched: bool
) -> None:
    morning = Morning(parts)
    await morning.begin()
    looked: list[tuple[int, bytes]] = []
    for step in steps:
        if step[0] == "erase":
            looked.clear()  # People are shown as they are now, also in the past.
        await _take(morning, step, looked)
        if watched:  # Each state is encoded, and what is kept of it is there to go stale.
            parts.encoder.day(await morning.up_to_date(), NOW)
    await is_equal_when_read_again(morning)
    for sequence, shown in looked:
        then = await parts.timelines.as_of(morning.day, sequence)
        assert parts.encoder.day(then, NOW) == shown


async def _take(morning: Morning, step: tuple[Any, ...], looked: list[tuple[int, bytes]]) -> None:
    def one_of(number: int) -> AppointmentId:
        booked = morning.appointments
        return booked[number % len(booked)] if booked else AppointmentId(uuid4())

    match step:
        case ("book", doctor, patient, slot, priority):
            await morning.book(doctor, patient, slot, priority)
        case ("check in", number, minute):
            effective_at = morning.at(minute)
            await morning.do(commands.CheckIn(appointment_id=one_of(number), effective_at=effective_at))
        case ("call", doctor):
            await morning.do(commands.CallNext(doctor_id=morning.doctors[doctor], date=morning.day))
        case ("complete", number):
            await morning.do(commands.CompleteConsultation(appointment_id=one_of(number), reason="done"))
        case ("cancel", number):
            await morning.do(commands.CancelAppointment(appointment_id=one_of(number), reason="went home"))
        case ("clinic", doctor, capacity, order, room):
            await morning.do(
                commands.SetUpClinic(
                    doctor_id=morning.doctors[doctor], date=morning.day, capacity=capacity, order=order, room=room
                )
            )
        case ("register", patient):
            morning.patients[patient] = await morning.do(commands.RegisterPatient(name='Somebody "else" \\ \u2028'))
        case ("erase", patient):
            await morning.do(commands.ErasePatient(patient_id=morning.patients[patient], reason="asked for it"))
        case ("look",):
            board = await morning.up_to_date()
            looked.append((morning.parts.projector.position, morning.parts.encoder.day(board, NOW)))


async def test_a_day_on_which_everything_happens_is_equal_too(parts: Parts) -> None:
    """What chance may leave out: one that is cancelled after being erased, one erased twice over, two clinics."""
    morning = Morning(parts)
    await morning.begin()
    for doctor in range(DOCTORS):
        for patient in range(3):
            await morning.book(doctor, patient)
    await morning.up_to_date()
    for minute, appointment in enumerate(morning.appointments, 1):
        await morning.do(commands.CheckIn(appointment_id=appointment, effective_at=morning.at(60 - minute)))
    await is_equal_when_read_again(morning)
    await morning.do(commands.CallNext(doctor_id=morning.doctors[0], date=morning.day))
    await morning.do(commands.ErasePatient(patient_id=morning.patients[0], reason="asked"))
    await is_equal_when_read_again(morning)
    await morning.do(commands.CancelAppointment(appointment_id=morning.appointments[0]))
    await morning.do(commands.ErasePatient(patient_id=morning.patients[0], reason="asked"))
    await morning.do(commands.CancelAppointment(appointment_id=morning.appointments[4]))
    await morning.do(commands.ErasePatient(patient_id=morning.patients[1], reason="asked"))
    await is_equal_when_read_again(morning)
    board = await morning.up_to_date()
    as_of = await parts.timelines.as_of(morning.day, parts.projector.position)
    assert parts.encoder.day(as_of, NOW) == parts.encoder.day(board, NOW)
    assert (as_of.sequence, _changes(as_of)) == (board.sequence, _changes(board))


# --- loading, and letting go ---------------------------------------------------------------------


async def test_a_board_loaded_while_its_day_goes_on_misses_nothing(parts: Parts) -> None:
    for pause in (0.0, 0.002, 0.005, 0.01, 0.02, 0.05):
        morning = Morning(parts)
        await morning.begin(doctors=4, patients=10)
        booking = asyncio.gather(*[morning.book(doctor, patient) for patient in range(10) for doctor in range(4)])
        erasing = asyncio.create_task(
            morning.do(commands.ErasePatient(patient_id=morning.patients[3], reason="asked for it"))
        )
        await asyncio.sleep(pause)
        await asyncio.gather(*[parts.boards.get(morning.day) for _ in range(3)])
        await asyncio.gather(booking, erasing)
        await is_equal_when_read_again(morning)
        board = await morning.up_to_date()
        assert sum(len(clinic.entries) for clinic in board.clinics.values()) == len(morning.appointments)


async def test_a_board_loaded_again_and_again_while_its_day_goes_on_misses_nothing(parts: Parts) -> None:
    morning = Morning(parts)
    await morning.begin(doctors=4, patients=20)
    going_on = asyncio.gather(*[morning.book(doctor, patient) for patient in range(20) for doctor in range(4)])
    loads = 0
    while not going_on.done():
        await parts.boards.get(morning.day)
        loads += 1
        await asyncio.sleep(0.001)
        parts.boards._drop(morning.day)
    await going_on
    assert loads > 3
    await is_equal_when_read_again(morning)


async def test_only_dates_that_nobody_watches_are_let_go_and_only_when_room_is_short(parts: Parts) -> None:
    mornings = [Morning(parts) for _ in range(4)]
    for morning in mornings:
        await morning.begin(doctors=1, patients=3)
        for patient in range(3):
            await morning.book(0, patient)
    await mornings[-1].up_to_date()
    watched, first, second, third = [morning.day for morning in mornings]
    board_bytes = BOARD_BYTES + 3 * APPOINTMENT_BYTES
    boards, encoder = afresh(parts, budget_bytes=3 * board_bytes)
    directory = boards._directory
    await directory.load_doctors()

    boards.keep(watched)
    kept = await boards.get(watched)
    await boards.get(first)
    await boards.get(second)
    assert {board.date for board in boards.loaded()} == {watched, first, second}  # there is room for three
    await boards.get(first)  # asked for again: now the second has been left alone for longest
    await boards.get(third)
    assert {board.date for board in boards.loaded()} == {watched, first, third}
    assert await boards.get(watched) is kept
    for day in (second, first, third, second):
        await boards.get(day)
    assert watched in {board.date for board in boards.loaded()}
    boards.release(watched)

    on_boards = {patient for board in boards.loaded() for patient in board.patients()}
    assert set(directory._held) == on_boards  # who stands on no board is no longer held
    again = await boards.get(first)
    live = await parts.boards.get(first)
    assert encoder.day(again, NOW) == parts.encoder.day(live, NOW)
    for day in (second, third):
        await boards.get(day)
    assert watched not in {board.date for board in boards.loaded()}  # nobody watches any more


async def test_a_board_may_show_more_people_than_are_kept(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory, "PEOPLE_KEPT", 2)
    morning, another = Morning(parts), Morning(parts)
    for each in (morning, another):
        await each.begin(doctors=2, patients=6)
        for patient in range(6):
            await each.book(patient % 2, patient)
    await is_equal_when_read_again(morning)
    await is_equal_when_read_again(another)
    assert parts.encoder.day(await parts.boards.get(morning.day), NOW)


async def test_who_is_erased_while_being_read_is_not_shown_by_name(parts: Parts) -> None:
    """The key was read a moment before it went: what is followed meanwhile counts."""
    morning = Morning(parts)
    await morning.begin(doctors=0, patients=1)
    (patient,) = morning.patients
    boards, _ = afresh(parts)
    reading = asyncio.create_task(boards._directory.have([patient]))
    await asyncio.sleep(0)  # It has asked, and waits for the answer.
    (registered,) = await read.streams(parts.pool, {patient_stream(patient): 0})
    erased = replace(registered, id=registered.id + 1, originator_version=2)
    boards._directory.fold_patient(erased, events.PatientErased(originator_id=patient_stream(patient), reason="asked"))
    await reading
    person = boards._directory.person(patient)
    assert person is not None
    assert (person.details.name, person.sequence) == ("[erased]", erased.id)


@pytest.mark.parametrize("who", ["patient", "doctor"])
async def test_who_changes_before_and_while_a_board_is_loaded_is_told_of_both_times_or_of_none(
    parts: Parts, who: str
) -> None:
    """Of people a board knows their last event only, and the last came while it was loading."""
    morning = Morning(parts)
    await morning.begin(doctors=1, patients=1)
    await morning.book(0, 0)
    (doctor,), (patient,) = morning.doctors, morning.patients
    booked = await read.head(parts.pool)
    for name in ("Ida", "Ida Berg"):
        change = (
            commands.ChangePatient(patient_id=patient, name=name)
            if who == "patient"
            else commands.ChangeDoctor(doctor_id=doctor, name=name)
        )
        await morning.do(change)
    await morning.up_to_date()
    stream = patient_stream(patient) if who == "patient" else doctor_stream(doctor)
    first, second = await read.streams(parts.pool, {stream: 1})

    boards, _ = afresh(parts)
    directory = boards._directory
    boards.applied = directory.applied = first.id
    await directory.load_doctors()
    loading = asyncio.create_task(boards.get(morning.day))
    for _ in range(2):
        await asyncio.sleep(0)
    assert boards.shows(morning.day)  # It has asked, and waits for the answer.
    fact = codec.facts().to_domain_event(second)
    if who == "patient":
        directory.fold_patient(second, fact)
        boards.person_changed(patient, second.id, fact)
    else:
        directory.fold_doctor(second, fact)
        boards.doctor_changed(doctor, second.id, fact)
    boards.applied = directory.applied = second.id
    board = await loading

    assert board.sequence == second.id
    assert View().news_after(board, directory.doctors, booked) is None
    since = View().news_after(board, directory.doctors, first.id)
    assert since is not None
    assert [news.sequence for news in since] == [second.id]
