"""What a command is answered when others were faster than its answer."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec

from domain.desk.outcome import Done
from domain.rules import commands
from gateway.parts import Parts
from gateway.rest.answer import answer
from tests.log.asking import a_doctor, an_appointment, ask


async def _answered(parts: Parts, done: Done) -> tuple[int, Any]:
    response = await answer(parts, done)
    assert isinstance(response.body, bytes)
    return response.status, msgspec.json.decode(response.body)


async def test_a_step_is_answered_though_its_appointment_stands_on_another_date_by_now(parts: Parts) -> None:
    """Somebody else's move may be folded together with the step, and before its answer is made."""
    doctor, today = await a_doctor(parts), parts.today()
    appointment = await an_appointment(parts, doctor)
    raised = await ask(parts, commands.ChangePriority(appointment_id=appointment, priority="urgent", reason="in pain"))
    move = commands.MoveAppointment(appointment_id=appointment, date=today + timedelta(days=1), reason="not today")
    await parts.projector.reached((await ask(parts, move)).sequence, seconds=10)

    status, card = await _answered(parts, raised)
    assert status == 200
    assert (card["date"], card["priority"], card["sequence"]) == (str(today), "urgent", raised.sequence)


async def test_a_step_that_changed_nothing_is_answered_though_its_appointment_stands_on_another_date_by_now(
    parts: Parts,
) -> None:
    doctor, today = await a_doctor(parts), parts.today()
    appointment = await an_appointment(parts, doctor)
    same = commands.ChangePriority(appointment_id=appointment, priority="routine", reason="as before")
    kept = await ask(parts, same)
    assert not kept.appended
    move = commands.MoveAppointment(appointment_id=appointment, date=today + timedelta(days=1), reason="not today")
    await parts.projector.reached((await ask(parts, move)).sequence, seconds=10)

    status, card = await _answered(parts, kept)
    assert status == 200
    assert (card["date"], card["slot"], card["sequence"]) == (str(today), 1, kept.sequence)


async def test_a_reassignment_is_answered_though_one_of_those_moved_stands_on_another_date_by_now(
    parts: Parts,
) -> None:
    here, there, today = await a_doctor(parts), await a_doctor(parts), parts.today()
    moved = [await an_appointment(parts, here) for _ in range(2)]
    reassigned = await ask(parts, commands.ReassignClinic(doctor_id=here, date=today, to_doctor_id=there, reason="ill"))
    move = commands.MoveAppointment(appointment_id=moved[0], date=today + timedelta(days=1), reason="not today")
    await parts.projector.reached((await ask(parts, move)).sequence, seconds=10)

    status, body = await _answered(parts, reassigned)
    assert status == 200
    assert [(card["appointment_id"], card["doctor_id"], card["date"]) for card in body["moved"]] == [
        (str(appointment), str(there), str(today)) for appointment in moved
    ]
