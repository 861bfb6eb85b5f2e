"""Who stood on which board when: by another way than the boards', and it must come to the same."""

from __future__ import annotations

from datetime import date, timedelta
from itertools import product
from typing import Any
from uuid import uuid4

from domain.audit.looks import BoardViewed
from domain.log import read
from domain.rules import commands
from domain.rules.ids import AppointmentId, DoctorId, PatientId
from gateway.parts import Parts
from projections.stays import Traces
from projections.views import View
from tests.log.asking import a_doctor, a_patient, an_appointment, ask


async def _traces(parts: Parts, patient_id: PatientId) -> Traces:
    found = await parts.onlookers.traces(patient_id)
    assert found is not None
    return found


async def _listed(parts: Parts, day: date, view: View, sequence: int) -> set[PatientId]:
    """Whom the board of a date lists at a position, as boards themselves know it."""
    board = await parts.timelines.as_of(day, sequence)
    clinics = view.shown(board, parts.directory.doctors)
    return {entry.patient_id for clinic in clinics for entry in clinic.list_up()}


class Day:
    """Things happen to two patients, here and there."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.today = parts.today()
        self.tomorrow = self.today + timedelta(days=1)

    async def step(self, name: type[Any], appointment: AppointmentId, **keys: Any) -> None:
        await ask(self.parts, name(appointment_id=appointment, **keys))

    async def happens(self) -> None:
        parts = self.parts
        self.one, self.other = await a_doctor(parts), await a_doctor(parts)
        self.ann, self.bob = await a_patient(parts), await a_patient(parts)
        appointment = await an_appointment(parts, self.one, self.ann)
        await an_appointment(parts, self.other, self.bob, slot=30)
        await self.step(commands.CheckIn, appointment)
        await self.step(commands.CancelAppointment, appointment)
        await self.step(commands.UndoStep, appointment, reason="not so")
        await self.step(commands.MoveAppointment, appointment, slot=5, reason="later")
        await self.step(commands.MoveAppointment, appointment, doctor_id=self.other, reason="ill")
        await self.step(commands.UndoStep, appointment, reason="well again")
        await self.step(commands.CallPatient, appointment, reason="now")
        await self.step(commands.CompleteConsultation, appointment)
        again = await an_appointment(parts, self.one, self.ann, slot=9)
        await self.step(commands.MoveAppointment, again, date=self.tomorrow, reason="no time")
        await self.step(commands.CancelAppointment, again)
        await self.step(commands.UndoStep, again, reason="time after all")
        reassign = commands.ReassignClinic(
            doctor_id=self.one, date=self.tomorrow, to_doctor_id=self.other, reason="away"
        )
        await ask(parts, reassign)
        await self.step(commands.MarkNoShow, again)


async def test_a_patient_stood_where_the_boards_of_then_list_them(parts: Parts) -> None:
    day = Day(parts)
    await day.happens()
    head = await read.head(parts.pool)
    await parts.projector.reached(head, seconds=10)
    traces = {patient: await _traces(parts, patient) for patient in (day.ann, day.bob)}
    views = [View(), View(doctor_id=day.one), View(doctors=frozenset({day.other})), View(doctors=frozenset())]
    seen = set()
    for on, view, sequence in product((day.today, day.tomorrow), views, range(head + 1)):
        listed = await _listed(parts, on, view, sequence)
        doctors = tuple(view.doctors) if view.doctors is not None else None
        look = BoardViewed(date=on, sequence=sequence, doctor_id=view.doctor_id, doctors=doctors)
        for patient, known in traces.items():
            assert known.shown_by(look, sequence, sequence) == (patient in listed), (on, view, sequence)
            seen.add((on, view, patient, patient in listed))
    assert (day.today, View(), day.ann, True) in seen
    assert (day.tomorrow, View(doctor_id=day.one), day.ann, True) in seen
    assert (day.tomorrow, View(doctors=frozenset({day.other})), day.ann, True) in seen
    assert (day.tomorrow, View(), day.bob, True) not in seen


async def test_a_board_watched_for_a_while_showed_whoever_stood_on_it_at_any_time_of_it(parts: Parts) -> None:
    doctor, patient = await a_doctor(parts), await a_patient(parts)
    appointment = await an_appointment(parts, doctor, patient)
    booked = await read.head(parts.pool)
    await ask(parts, commands.CancelAppointment(appointment_id=appointment))
    cancelled = await read.head(parts.pool)
    traces = await _traces(parts, patient)
    look = BoardViewed(date=parts.today(), sequence=0)
    assert traces.shown_by(look, 0, cancelled)
    assert traces.shown_by(look, booked, booked)
    assert not traces.shown_by(look, cancelled, cancelled + 100)
    assert not traces.shown_by(look, 0, booked - 1)
    assert not traces.shown_by(BoardViewed(date=parts.today() + timedelta(days=1), sequence=0), 0, cancelled)


async def test_a_department_is_the_one_that_the_doctor_belonged_to_then(parts: Parts) -> None:
    doctor, patient = await a_doctor(parts, department="Heart"), await a_patient(parts)
    await an_appointment(parts, doctor, patient)
    booked = await read.head(parts.pool)
    await ask(parts, commands.ChangeDoctor(doctor_id=doctor, department="Lung"))
    changed = await read.head(parts.pool)
    traces = await _traces(parts, patient)
    heart, lung = [BoardViewed(date=parts.today(), sequence=0, department=name) for name in ("Heart", "Lung")]
    assert traces.shown_by(heart, booked, booked)
    assert not traces.shown_by(heart, changed, changed + 10)
    assert not traces.shown_by(lung, booked, booked)
    assert traces.shown_by(lung, booked, changed)  # who watched from before saw the doctor come
    assert not traces.shown_by(BoardViewed(date=parts.today(), sequence=0, department="Skin"), 0, changed)


async def test_nobody_knows_where_a_stranger_stood(parts: Parts) -> None:
    assert await parts.onlookers.traces(PatientId(uuid4())) is None
    assert (await _traces(parts, await a_patient(parts))).stays == []


async def test_another_doctors_board_showed_nobody_of_this_one(parts: Parts) -> None:
    patient = await a_patient(parts)
    await an_appointment(parts, await a_doctor(parts), patient)
    traces = await _traces(parts, patient)
    head = await read.head(parts.pool)
    assert not traces.shown_by(BoardViewed(date=parts.today(), sequence=0, doctor_id=DoctorId(uuid4())), 0, head)
