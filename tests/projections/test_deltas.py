"""Whoever held any state of a date, and gets what changed since, holds the state that is: wherever they ask."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from itertools import count
from random import Random
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.desk.outcome import Asker
from domain.log import codec, read
from domain.rules import commands
from domain.rules.ids import AppointmentId, DoctorId, PatientId, clinic_stream
from domain.rules.refusals import Refusal
from domain.vault.sealing import Vault
from gateway.parts import Parts
from projections import shapes
from projections.board import DayBoard
from projections.boards import Boards
from projections.deltas import Deltas
from projections.directory import Directory, initials
from projections.encoding import Encoder
from projections.views import EVERYBODY, View
from tests.conftest import Database, in_own_task
from tests.gateway.contract import applied

DOCTORS, PATIENTS, CAPACITY, STEPS = 3, 5, 5, 40
NOW = datetime(2025, 11, 17, 12, tzinfo=UTC)
DEVELOPER = Asker(actor="developer", role="developer")

_dates = count()


# --- any day -------------------------------------------------------------------------------------


class Day:
    """A date with doctors and patients of its own, and what is done on it."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.date = date(2023, 1, 1) + timedelta(days=next(_dates))
        self.now = datetime.combine(self.date, time(8), parts.zone)
        parts.desk.equipment.now = lambda: self.now  # It is that very day: nearly everything may happen on it.
        self.doctors: list[DoctorId] = []
        self.patients: list[PatientId] = []
        self.appointments: list[AppointmentId] = []

    async def begin(self) -> None:
        for number in range(DOCTORS):
            code, department = f"{number}-{uuid4().hex[:8]}", "AB"[number % 2]
            self.doctors.append(
                await self.do(
                    commands.RegisterDoctor(name=f"Dr. {number}", code=code, specialty="Any", department=department)
                )
            )
        for number in range(PATIENTS):
            registration = commands.RegisterPatient(name=f"Ana {number} Ünal", private=number == 1)
            self.patients.append(await self.do(registration))
        for number in range(PATIENTS):
            for what in ("book", "check in")[: 1 + number % 2]:
                await self.step(what, number, number)

    async def do(self, command: Any) -> Any:
        """The id of what it was about; None where it was refused."""
        try:
            return (await self.parts.desk.handle(command, DEVELOPER)).receipt.id
        except Refusal:
            return None

    async def step(self, what: str, one: int, other: int) -> None:
        doctor, to = self.doctors[one % DOCTORS], self.doctors[other % DOCTORS]
        patient = self.patients[one % PATIENTS]
        booked = self.appointments
        appointment = booked[one % len(booked)] if booked else AppointmentId(uuid4())
        self.now += timedelta(minutes=1)
        clinic = {"doctor_id": doctor, "date": self.date}
        match what:
            case "book":
                clinic = {"doctor_id": to, "date": self.date}
                made = await self.do(commands.BookAppointment(**clinic, patient_id=patient, allow_overlap=True))
                booked.extend([made] if made else [])
            case "check in":
                await self.do(commands.CheckIn(appointment_id=appointment))
            case "call next":
                await self.do(commands.CallNext(**clinic, complete_current=bool(other % 2)))
            case "move":
                await self.do(
                    commands.MoveAppointment(appointment_id=appointment, doctor_id=to, allow_overlap=True, reason="r")
                )
            case "move within":
                slot = 1 + other % CAPACITY
                await self.do(commands.MoveAppointment(appointment_id=appointment, slot=slot, reason="r"))
            case "reassign":
                await self.do(commands.ReassignClinic(**clinic, to_doctor_id=to, allow_overlap=True, reason="r"))
            case "priority":
                priority = ("routine", "urgent", "emergency")[other % 3]
                await self.do(commands.ChangePriority(appointment_id=appointment, priority=priority, reason="r"))
            case "settings":
                order = ("arrival", "slot")[other % 2]
                await self.do(commands.SetUpClinic(**clinic, capacity=CAPACITY, order=order, room=f"R {other % 3}"))
            case "delay":
                await self.do(commands.DelayClinic(**clinic, minutes=other % 3 * 10))
            case "close" | "reopen" | "finish":
                kind = {"close": commands.CloseClinic, "reopen": commands.ReopenClinic, "finish": commands.FinishClinic}
                await self.do(kind[what](**clinic))
            case "rename patient":
                await self.do(commands.ChangePatient(patient_id=patient, name=f"Renamed {other}"))
            case "rename doctor":
                await self.do(commands.ChangeDoctor(doctor_id=doctor, code=f"{9 - one % DOCTORS}-{uuid4().hex[:8]}"))
            case "department":
                await self.do(commands.ChangeDoctor(doctor_id=doctor, department="AB"[other % 2]))
            case "erase":
                await self.do(commands.ErasePatient(patient_id=patient, reason="asked"))
                self.patients[one % PATIENTS] = await self.do(commands.RegisterPatient(name="Somebody"))
            case _:
                kinds = {
                    "start": commands.StartConsultation,
                    "recall": commands.RecallPatient,
                    "hold": commands.PutOnHold,
                    "resume": commands.Resume,
                    "complete": commands.CompleteConsultation,
                    "no-show": commands.MarkNoShow,
                    "cancel": commands.CancelAppointment,
                    "undo": commands.UndoStep,
                }
                reason = {"reason": "r"} if what == "undo" else {}
                await self.do(kinds[what](appointment_id=appointment, **reason))


_WHAT = [
    *["book", "check in", "call next"] * 3,
    *["start", "recall", "hold", "resume", "complete", "no-show", "cancel", "undo", "undo", "move", "move within"],
    *["reassign", "priority", "settings", "delay", "close", "reopen", "finish"],
    *["rename patient", "rename doctor", "department", "erase"],
]


def _steps(seed: int) -> list[tuple[str, int, int]]:
    chance = Random(seed)
    return [(chance.choice(_WHAT), chance.randrange(60), chance.randrange(60)) for _ in range(STEPS)]


def _views(day: Day) -> list[View]:
    return [
        EVERYBODY,
        View(public=True),
        View(department="A"),
        View(department="B", public=True),
        View(doctors=frozenset(day.doctors[:2])),
        View(doctors=frozenset(day.doctors[1:]), department="A"),
    ]


class Reader:
    """Somebody who can say what a date looks like, and what changed."""

    def __init__(self, boards: Boards, directory: Directory, encoder: Encoder) -> None:
        self.boards, self.directory, self.encoder = boards, directory, encoder
        self.deltas = Deltas(encoder, directory)

    async def state(self, board: DayBoard, view: View) -> tuple[int, dict[str, Any]]:
        sequence = view.sequence(board, self.directory.doctors)
        return sequence, msgspec.json.decode(self.encoder.day(board, NOW, view))

    def delta(self, board: DayBoard, view: View, after: int) -> dict[str, Any]:
        change = self.deltas.since(after, board, view, NOW)
        shape = shapes.PublicDayChange if view.public else shapes.DayChange
        assert msgspec.json.encode(msgspec.json.decode(change, type=shape)) == change
        decoded: dict[str, Any] = msgspec.json.decode(change)
        return decoded


def _reader(parts: Parts) -> Reader:
    return Reader(parts.boards, parts.directory, parts.encoder)


async def _afresh(parts: Parts) -> Reader:
    directory = Directory(parts.pool, Vault(parts.pool, parts.desk.equipment.vault._master), codec.facts())
    boards = Boards(parts.pool, directory, codec.facts())
    boards.applied = directory.applied = parts.projector.position
    await directory.load_doctors()
    return Reader(boards, directory, Encoder(directory, parts.zone))


@settings(
    max_examples=40,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(seed=st.integers(0, 2**32), looks=st.booleans())
async def test_a_delta_leads_from_any_state_to_the_one_that_is(
    parts: Parts, database: Database, seed: int, looks: bool
) -> None:
    """On a worker that looked at each state, on one that looks now and then, and on one that loads the date now."""
    day = Day(parts)
    await day.begin()
    async with in_own_task(database.settings()) as other:
        other_board = await other.boards.get(day.date)
        seen: list[tuple[View, int, dict[str, Any]]] = []
        ours, seldom = _reader(parts), _reader(other)
        for number, step in enumerate(_steps(seed)):
            await day.step(*step)
            await parts.projector.reached(await read.head(parts.pool), seconds=10)
            if number % 7 == 0:
                seldom.encoder.day(other_board, NOW)
            board = await parts.boards.get(day.date)
            for view in _views(day) if looks else [EVERYBODY]:
                sequence, state = await ours.state(board, view)
                newest = max((known for kept, known, _ in seen if kept == view), default=0)
                assert sequence >= newest, "a view went back"
                seen.append((view, sequence, state))
        head = await read.head(parts.pool)
        await other.projector.reached(head, seconds=10)
        fresh = await _afresh(parts)
        loaded = await fresh.boards.get(day.date)
        for view, sequence, state in seen:
            now, shown = await ours.state(board, view)
            assert (now, shown) == await fresh.state(loaded, view)
            for reader, at in ((seldom, other_board), (ours, board), (fresh, loaded)):
                delta = reader.delta(at, view, sequence)
                assert applied(state, delta) == shown, (view, sequence)
                assert applied(applied(state, delta), delta) == shown
        await _erased_is_nowhere(day, ours)


async def _erased_is_nowhere(day: Day, reader: Reader) -> None:
    board = await reader.boards.get(day.date)
    public = reader.encoder.day(board, NOW, View(public=True)).decode()
    assert "Ünal" not in public
    assert "Renamed" not in public


# --- and some days that chance leaves out --------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("John Doe", "J. D."),
        ("Maria del Carmen Ruiz", "M. R."),
        ("Sukarno", "S."),
        ("  Ada   Lovelace ", "A. L."),
        ("E\u0301lise O'Neill", "É. O."),
        ("प्रिया शर्मा", "प. श."),
        ("王 小明", "王. 小."),
        ("(Ben) 'Abd", "B. A."),
        ("123 4", "1. 4."),
    ],
)
def test_the_public_sees_the_first_letters_of_the_first_and_last_word(name: str, shown: str) -> None:
    assert initials(name) == shown


async def test_a_check_in_at_the_end_of_a_long_line_moves_nobody_else(parts: Parts) -> None:
    day = Day(parts)
    await day.begin()
    doctor = await day.do(commands.RegisterDoctor(name="Dr. Amara Okafor", code="LONG", specialty="Any"))
    await day.do(commands.SetUpClinic(doctor_id=doctor, date=day.date, capacity=30))
    reader, board = _reader(parts), await parts.boards.get(day.date)
    sent = 0
    for number in range(30):
        patient = await day.do(commands.RegisterPatient(name="Priya Raman"))
        made = await day.do(commands.BookAppointment(doctor_id=doctor, patient_id=patient, date=day.date))
        await parts.projector.reached(await read.head(parts.pool), seconds=10)
        sent = board.sequence
        await day.do(commands.CheckIn(appointment_id=made))
        await parts.projector.reached(await read.head(parts.pool), seconds=10)
        [block] = reader.delta(board, EVERYBODY, sent)["doctors"]
        assert [one["queue"]["position"] for one in block["appointments"]] == [number + 1]
        assert block["positions"] == {}
        assert block.keys() == {"doctor_id", "checked_in_count", "clinic", "appointments", "positions", "removed"}
        sent = board.sequence
    await day.do(commands.CallNext(doctor_id=doctor, date=day.date))
    await parts.projector.reached(await read.head(parts.pool), seconds=10)
    [block] = reader.delta(board, EVERYBODY, sent)["doctors"]
    assert [one["queue"]["position"] for one in block["appointments"]] == [0]
    assert sorted(block["positions"].values()) == list(range(1, 30))
    assert board.clinics[clinic_stream(doctor, day.date)].waiting == 29
