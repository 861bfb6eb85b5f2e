"""What one command has decided and not recorded yet is nothing that another may rest on: it may never be.

Commands of one server share what it has in memory. Another server makes what is decided here into what never was.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from datetime import timedelta
from uuid import uuid4

import pytest

from domain.desk.streams import Streams
from domain.postgres.connect import Connection
from domain.rules import commands
from domain.rules.ids import AppointmentId, DoctorId, clinic_stream, doctor_stream, patient_day_stream
from domain.rules.refusals import DoctorCodeTaken, UnknownPatient
from gateway.parts import Parts
from projections.board import Clinic, Entry
from tests.log.asking import a_booking, a_doctor, a_patient, an_appointment, ask
from tests.log.writing import held, until


async def _on_the_board(parts: Parts, appointment: AppointmentId, sequence: int) -> tuple[Clinic, Entry]:
    await parts.projector.reached(sequence, seconds=10)
    return (await parts.boards.get(parts.today())).find(appointment) or pytest.fail("not on the board")


async def _a_moment() -> None:
    """For whoever goes on now to come to where they have to wait."""
    await asyncio.sleep(0.1)


async def test_who_was_erased_there_is_not_booked_here_on_the_strength_of_a_change_that_never_was(
    here: Parts, there: Parts, admin: Connection
) -> None:
    """Erased there and changed here, the patient has as many events either way."""
    doctor, patient = await a_doctor(here), await a_patient(here)
    async with held(admin) as log:
        erasing = asyncio.create_task(ask(there, commands.ErasePatient(patient_id=patient, reason="asked for it")))
        await log.is_waited_for(1)
        changing = asyncio.create_task(ask(here, commands.ChangePatient(patient_id=patient, phone="+49 30 1")))
        await log.is_waited_for(2)
        booking = asyncio.create_task(ask(here, a_booking(here, doctor, patient)))
        await _a_moment()
    assert (await erasing).appended
    for late in (changing, booking):
        with pytest.raises(UnknownPatient):
            await late


async def test_nobody_gets_a_ticket_with_a_code_that_their_doctor_was_refused(here: Parts, admin: Connection) -> None:
    doctor = await a_doctor(here)
    code = f"T-{uuid4().hex[:6]}"
    await a_doctor(here, code=code)
    await an_appointment(here, doctor)
    coming, other = await a_patient(here), await a_patient(here)
    async with held(admin) as log:
        first = asyncio.create_task(ask(here, a_booking(here, doctor, other)))  # It has the clinic's lock.
        await log.is_waited_for()
        walk_in = asyncio.create_task(ask(here, commands.WalkIn(doctor_id=doctor, patient_id=coming)))
        await _a_moment()
        renaming = asyncio.create_task(ask(here, commands.ChangeDoctor(doctor_id=doctor, code=code)))
        await _a_moment()
    await first
    with pytest.raises(DoctorCodeTaken):
        await renaming
    came = await walk_in
    _, entry = await _on_the_board(here, AppointmentId(came.receipt.id), came.sequence)
    assert not (entry.state.ticket or code).startswith(code)


async def test_who_is_booked_there_during_a_reassignment_here_goes_with_the_others(here: Parts, there: Parts) -> None:
    """Also when somebody else looks at the clinic while it is decided who goes."""
    doctor, to, patient = await a_doctor(here), await a_doctor(here), await a_patient(here)
    first = await an_appointment(here, doctor, patient)
    locks = here.desk.equipment.locks
    day = patient_day_stream(patient, here.today())
    async with locks.hold(day):
        command = commands.ReassignClinic(doctor_id=doctor, date=here.today(), to_doctor_id=to, reason="ill")
        reassigning = asyncio.create_task(ask(here, command))
        await until(lambda: locks._locks[day].users == 2)  # It has seen who is to go.
        second = await an_appointment(there, doctor)
        undoing = asyncio.create_task(ask(here, commands.UndoStep(appointment_id=second, reason="so it was")))
        await _a_moment()
    reassigned = await reassigning
    assert set(reassigned.receipt.moved) == {first, second}
    await undoing


# --- the room of a clinic that opens by itself ---------------------------------------------------


async def _room(parts: Parts, doctor: DoctorId, appointment: AppointmentId, sequence: int) -> str | None:
    await parts.projector.reached(sequence, seconds=10)
    stream = parts.desk.equipment.whereabouts[appointment]
    day = parts.today() + timedelta(days=stream.endswith(str(parts.today() + timedelta(days=1))))
    board = await parts.boards.get(day)
    return board.clinics[clinic_stream(doctor, day)].room


async def test_a_clinic_that_opens_for_a_move_is_in_the_room_its_doctor_was_given_there(
    here: Parts, there: Parts
) -> None:
    doctor = await a_doctor(here, room="A 1")
    appointment = await an_appointment(here, doctor)
    await ask(there, commands.ChangeDoctor(doctor_id=doctor, room="B 2"))
    tomorrow = here.today() + timedelta(days=1)
    moved = await ask(here, commands.MoveAppointment(appointment_id=appointment, date=tomorrow, reason="not today"))
    assert await _room(here, doctor, appointment, moved.sequence) == "B 2"


async def test_a_clinic_that_opens_for_a_reassignment_is_in_the_room_its_doctor_was_given_there(
    here: Parts, there: Parts
) -> None:
    doctor, to = await a_doctor(here), await a_doctor(here, room="A 1")
    appointment = await an_appointment(here, doctor)
    await ask(there, commands.ChangeDoctor(doctor_id=to, room="B 2"))
    command = commands.ReassignClinic(doctor_id=doctor, date=here.today(), to_doctor_id=to, reason="ill")
    moved = await ask(here, command)
    assert await _room(here, to, appointment, moved.sequence) == "B 2"


# --- what is dropped while it is loaded ----------------------------------------------------------


@pytest.mark.parametrize("fresh", [False, True])
async def test_a_stream_dropped_after_it_was_read_is_read_again(here: Parts, fresh: bool) -> None:
    """Somebody else's try may fail at any time, and takes along what it had decided on."""
    one, other = [doctor_stream(await a_doctor(here)) for _ in range(2)]
    streams = Streams(here.pool)
    await streams.load([one])

    async def both() -> Collection[str]:
        return await streams.catch_up([one, other]) if fresh else (await streams.load([one, other]))[0]

    loading = asyncio.create_task(both())
    await asyncio.sleep(0)
    streams.drop([one])  # while the other is read
    while other not in streams._kept:  # noqa: ASYNC110 - at once, before the next query is answered
        await asyncio.sleep(0)
    streams.drop([other])  # while the one is read again
    assert set(await loading) == {one, other}
