"""What a command is answered when others were faster than its answer."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from domain.desk.outcome import Done
from domain.log import codec
from domain.rules import commands
from gateway.parts import Parts
from gateway.rest import answer as answers
from gateway.rest.answer import answer
from projections.projector import Behind, Projector
from projections.timeline import Timelines
from tests.log.asking import a_doctor, a_patient, an_appointment, ask
from tests.projections.test_boards_equal import afresh


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


# --- while the read model lags -------------------------------------------------------------------


@pytest.fixture
def lagging(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> Parts:
    """The same server, whose read model does not come any further."""
    monkeypatch.setattr(answers, "OWN_FOLLOWER_SECONDS", 0.05)
    monkeypatch.setattr(answers, "READ_WAITS_SECONDS", 0.05)
    boards, encoder = afresh(parts)
    people, mapper = boards._directory, codec.facts()
    timelines = Timelines(parts.pool, boards, people, mapper)
    projector = Projector(parts.pool, parts.projector._follower, boards, timelines, people, mapper)
    return replace(parts, boards=boards, directory=people, encoder=encoder, timelines=timelines, projector=projector)


async def test_who_is_registered_is_shown_though_the_read_model_lags(parts: Parts, lagging: Parts) -> None:
    doctor = await ask(parts, commands.RegisterDoctor(name="Dr. A", code="A", specialty="Any"))
    status, card = await _answered(lagging, doctor)
    assert (status, card["id"], card["code"], card["sequence"]) == (201, str(doctor.receipt.id), "A", doctor.sequence)

    patient = await ask(parts, commands.RegisterPatient(name="Asha"))
    status, card = await _answered(lagging, patient)
    assert (status, card["id"], card["name"], card["sequence"]) == (
        201,
        str(patient.receipt.id),
        "Asha",
        patient.sequence,
    )


async def test_what_changed_of_somebody_is_shown_though_the_read_model_lags(parts: Parts, lagging: Parts) -> None:
    doctor, patient = await a_doctor(parts), await a_patient(parts)
    await parts.projector.reached((await ask(parts, commands.ChangePatient(patient_id=patient))).sequence, seconds=10)
    lagging.projector._applied(parts.projector.position)
    await lagging.directory.load_doctors()
    await lagging.directory.have([patient])

    changed = await ask(parts, commands.ChangeDoctor(doctor_id=doctor, name="Dr. B"))
    assert (await _answered(lagging, changed))[1]["name"] == "Dr. B"
    changed = await ask(parts, commands.ChangePatient(patient_id=patient, name="Ida"))
    assert (await _answered(lagging, changed))[1]["name"] == "Ida"
    erased = await ask(parts, commands.ErasePatient(patient_id=patient, reason="asked for it"))
    status, card = await _answered(lagging, erased)
    assert (status, card["name"], card["sequence"]) == (200, "[erased]", erased.sequence)


async def test_of_whom_the_read_model_has_not_heard_it_is_not_said_that_nobody_has_this_id(
    parts: Parts, lagging: Parts
) -> None:
    doctor, patient = await a_doctor(parts), await a_patient(parts)
    with pytest.raises(Behind):
        await answers.doctor_card(lagging, doctor)
    with pytest.raises(Behind):
        await answers.patient_card(lagging, patient)
