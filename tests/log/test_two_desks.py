"""Two servers on one store: what one has in memory may be behind, and must never be what an answer rests on."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any
from uuid import uuid4

import msgspec
import pytest

from domain.log import read
from domain.log.append import Writer
from domain.log.codec import Draft, facts
from domain.rules import commands
from domain.rules.ids import clinic_stream
from domain.rules.refusals import (
    AppointmentIsCancelled,
    ClinicFull,
    MrnTaken,
    NotAllowedFrom,
    PatientBusy,
    QueueEmpty,
    SlotTaken,
    UnknownPatient,
)
from gateway.parts import Parts
from tests.conftest import Database
from tests.log.asking import a_booking, a_doctor, a_patient, an_appointment, ask
from tests.log.expected import AT
from tests.log.writing import writing


async def _outcomes(*asking: object) -> Counter[str]:
    results = await asyncio.gather(*asking, return_exceptions=True)  # type: ignore[call-overload]
    return Counter(type(result).__name__ for result in results)


async def test_a_slot_freed_there_is_free_here(here: Parts, there: Parts) -> None:
    doctor = await a_doctor(here)
    holder = await an_appointment(here, doctor, slot=1)
    booking = a_booking(here, doctor, await a_patient(here), slot=1)
    with pytest.raises(SlotTaken):
        await ask(here, booking)
    await ask(there, commands.CancelAppointment(appointment_id=holder))
    assert (await ask(here, booking)).appended


async def test_a_slot_taken_there_is_taken_here(here: Parts, there: Parts) -> None:
    doctor = await a_doctor(here)
    await an_appointment(here, doctor, slot=1)
    await an_appointment(there, doctor, slot=2)
    with pytest.raises(SlotTaken):
        await an_appointment(here, doctor, slot=2)


async def test_the_lowest_free_slot_is_free_everywhere(here: Parts, there: Parts) -> None:
    doctor = await a_doctor(here)
    for parts in (here, there, here, there):
        await an_appointment(parts, doctor)
    slots = await _slots(here, clinic_stream(doctor, here.today()))
    assert slots == [1, 2, 3, 4]


async def test_a_check_in_there_is_not_repeated_here(here: Parts, there: Parts) -> None:
    appointment = await an_appointment(here, await a_doctor(here))
    first = await ask(there, commands.CheckIn(appointment_id=appointment))
    second = await ask(here, commands.CheckIn(appointment_id=appointment))
    assert (second.appended, second.sequence) == (False, first.sequence)


async def test_what_was_cancelled_there_does_not_check_in_here(here: Parts, there: Parts) -> None:
    appointment = await an_appointment(here, await a_doctor(here))
    await ask(there, commands.CancelAppointment(appointment_id=appointment))
    with pytest.raises(AppointmentIsCancelled):
        await ask(here, commands.CheckIn(appointment_id=appointment))
    with pytest.raises(NotAllowedFrom):
        await ask(here, commands.CancelAppointment(appointment_id=appointment))


async def test_whoever_was_called_there_is_not_called_here(here: Parts, there: Parts) -> None:
    doctor = await a_doctor(here)
    first, second = [await an_appointment(here, doctor) for _ in range(2)]
    for appointment in (first, second):
        await ask(here, commands.CheckIn(appointment_id=appointment))
    called = [(await ask(parts, commands.CallNext(doctor_id=doctor))).receipt.id for parts in (there, here)]
    assert called == [first, second]
    with pytest.raises(QueueEmpty):
        await ask(there, commands.CallNext(doctor_id=doctor))


async def test_a_patients_hour_taken_there_is_taken_here_and_free_again_when_freed(here: Parts, there: Parts) -> None:
    one, other = await a_doctor(here), await a_doctor(here)
    patient = await a_patient(here)
    await an_appointment(here, one, slot=1)
    appointment = await an_appointment(there, one, patient, slot=2)
    with pytest.raises(PatientBusy):
        await an_appointment(here, other, patient, slot=2)
    await ask(there, commands.CancelAppointment(appointment_id=appointment))
    await an_appointment(here, other, patient, slot=2)


async def test_settings_changed_there_hold_here(here: Parts, there: Parts) -> None:
    doctor, today = await a_doctor(here), here.today()
    await ask(here, commands.SetUpClinic(doctor_id=doctor, date=today, capacity=1))
    await an_appointment(here, doctor)
    await ask(there, commands.SetUpClinic(doctor_id=doctor, date=today, capacity=2))
    await an_appointment(here, doctor)
    with pytest.raises(ClinicFull):
        await an_appointment(there, doctor)


async def test_a_patient_erased_there_is_unknown_here(here: Parts, there: Parts) -> None:
    doctor, patient = await a_doctor(here), await a_patient(here)
    await an_appointment(here, doctor, patient)
    await ask(there, commands.ErasePatient(patient_id=patient, reason="asked for it"))
    with pytest.raises(UnknownPatient):
        await an_appointment(here, await a_doctor(here), patient, slot=9)


async def _behind_our_back(here: Parts, there: Parts, between: Any, booking: Any) -> Any:
    """What becomes of a booking decided here, when something is committed there just before its own commit."""
    append, between_once = here.desk.equipment.writer.append, iter([between])

    async def append_after(*arguments: Any) -> int | None:
        for command in between_once:
            await ask(there, command)
        return await append(*arguments)

    here.desk.equipment.writer.append = append_after  # type: ignore[method-assign,assignment]
    return await ask(here, booking)


async def test_a_booking_does_not_get_past_an_erasure_committed_there_just_before(here: Parts, there: Parts) -> None:
    doctor, patient = await a_doctor(here), await a_patient(here)
    erasure = commands.ErasePatient(patient_id=patient, reason="asked for it")
    with pytest.raises(UnknownPatient):
        await _behind_our_back(here, there, erasure, a_booking(here, doctor, patient))
    assert await _slots(here, clinic_stream(doctor, here.today())) == []


async def test_a_booking_is_decided_again_when_its_patient_changed_there_just_before(here: Parts, there: Parts) -> None:
    doctor, patient = await a_doctor(here), await a_patient(here)
    change = commands.ChangePatient(patient_id=patient, phone="+49 30 1")
    done = await _behind_our_back(here, there, change, a_booking(here, doctor, patient))
    assert done.appended
    assert await _slots(here, clinic_stream(doctor, here.today())) == [1]


async def test_a_clinic_opens_in_the_room_its_doctor_was_given_there_just_before(here: Parts, there: Parts) -> None:
    doctor, patient = await a_doctor(here, room="A 1"), await a_patient(here)
    change = commands.ChangeDoctor(doctor_id=doctor, room="B 2")
    done = await _behind_our_back(here, there, change, a_booking(here, doctor, patient))
    await here.projector.reached(done.sequence, seconds=10)
    board = await here.boards.get(here.today())
    assert board.clinics[clinic_stream(doctor, here.today())].room == "B 2"


async def test_a_ticket_has_the_code_its_doctor_was_given_there_just_before(here: Parts, there: Parts) -> None:
    doctor = await a_doctor(here)
    appointment = await an_appointment(here, doctor)
    code = f"NEW-{uuid4().hex[:6]}"
    change = commands.ChangeDoctor(doctor_id=doctor, code=code)
    done = await _behind_our_back(here, there, change, commands.CheckIn(appointment_id=appointment))
    await here.projector.reached(done.sequence, seconds=10)
    _, entry = (await here.boards.get(here.today())).find(appointment) or pytest.fail("not on the board")
    assert entry.state.ticket == f"{code}-1"


async def test_what_moved_away_there_is_found_from_here(here: Parts, there: Parts) -> None:
    one, other = await a_doctor(here), await a_doctor(here)
    appointment = await an_appointment(here, one)
    await ask(here, commands.CheckIn(appointment_id=appointment))
    await ask(there, commands.MoveAppointment(appointment_id=appointment, doctor_id=other, reason="ill"))
    called = await ask(here, commands.CallPatient(appointment_id=appointment, reason="first"))
    assert called.appended
    await ask(there, commands.UndoStep(appointment_id=appointment, reason="not yet"))
    undone = await ask(here, commands.UndoStep(appointment_id=appointment, reason="not ill after all"))
    await here.projector.reached(undone.sequence, seconds=10)
    clinic, _ = (await here.boards.get(here.today())).find(appointment) or pytest.fail("not on the board")
    assert clinic.doctor_id == one


async def test_a_mark_given_back_there_is_free_here(here: Parts, there: Parts) -> None:
    patient = await a_patient(there, mrn="M-2")
    await ask(there, commands.ChangePatient(patient_id=patient, mrn="M-3"))
    await a_patient(here, mrn="m-2")
    with pytest.raises(MrnTaken):
        await a_patient(here, mrn="m-3")


async def test_an_mrn_claimed_there_is_taken_here(here: Parts, there: Parts) -> None:
    await a_patient(there, mrn="M-1")
    with pytest.raises(MrnTaken):
        await a_patient(here, mrn="m-1")


# --- at the same moment --------------------------------------------------------------------------


async def test_of_forty_callers_for_one_slot_one_gets_it(here: Parts, there: Parts) -> None:
    doctor = await a_doctor(here)
    patients = [await a_patient(here) for _ in range(40)]
    outcomes = await _outcomes(
        *(ask((here, there)[n % 2], a_booking(here, doctor, patient, slot=7)) for n, patient in enumerate(patients))
    )
    assert outcomes == {"Done": 1, "SlotTaken": 39}


async def test_of_forty_callers_for_any_slot_each_gets_another(here: Parts, there: Parts) -> None:
    doctor = await a_doctor(here)
    patients = [await a_patient(here) for _ in range(40)]
    outcomes = await _outcomes(
        *(ask((here, there)[n % 2], a_booking(here, doctor, patient)) for n, patient in enumerate(patients))
    )
    assert outcomes == {"Done": 40}
    assert await _slots(here, clinic_stream(doctor, here.today())) == list(range(1, 41))


async def test_a_patient_wanted_by_many_doctors_at_once_goes_to_one(here: Parts, there: Parts) -> None:
    doctors = [await a_doctor(here) for _ in range(10)]
    patient = await a_patient(here)
    outcomes = await _outcomes(
        *(ask((here, there)[n % 2], a_booking(here, doctor, patient, slot=1)) for n, doctor in enumerate(doctors))
    )
    assert outcomes == {"Done": 1, "PatientBusy": 9}


async def test_one_check_in_from_many_kiosks_is_one_event_and_one_ticket(here: Parts, there: Parts) -> None:
    appointment = await an_appointment(here, await a_doctor(here))
    done = await asyncio.gather(
        *(ask((here, there)[n % 2], commands.CheckIn(appointment_id=appointment)) for n in range(20))
    )
    assert Counter(each.appended for each in done) == {True: 1, False: 19}
    assert len({each.sequence for each in done}) == 1


async def test_many_who_call_at_once_call_everybody_once(here: Parts, there: Parts) -> None:
    doctor = await a_doctor(here)
    appointments = [await an_appointment(here, doctor) for _ in range(10)]
    for appointment in appointments:
        await ask(here, commands.CheckIn(appointment_id=appointment))
    results = await asyncio.gather(
        *(ask((here, there)[n % 2], commands.CallNext(doctor_id=doctor)) for n in range(14)), return_exceptions=True
    )
    called = [result.receipt.id for result in results if not isinstance(result, BaseException)]
    assert sorted(called) == sorted(appointments)
    assert Counter(type(each) for each in results if isinstance(each, BaseException)) == {QueueEmpty: 4}


# --- what an older release wrote -----------------------------------------------------------------


async def test_a_clinic_stored_by_an_older_release_is_used_and_shown(parts: Parts, database: Database) -> None:
    doctor, today = await a_doctor(parts), parts.today()
    stream = clinic_stream(doctor, today)
    meta = msgspec.json.encode({"effective_at": AT, "command_id": "c0de0000-0000-4000-8000-000000000004"})
    old = Draft(
        stream, 1, "clinic-opened@1", b'{"capacity":2,"starts_at":"14:30","slot_minutes":15}', today, doctor, meta
    )
    async with writing(database.url) as older:
        position = await _append(older, old)
    await parts.projector.reached(position, seconds=10)

    appointments = [await an_appointment(parts, doctor) for _ in range(2)]
    with pytest.raises(ClinicFull):
        await an_appointment(parts, doctor)
    board = await parts.boards.get(today)
    clinic, entry = board.find(appointments[0]) or pytest.fail("not on the board")
    assert (clinic.capacity, clinic.starts_at, clinic.slot_minutes, clinic.order) == (2, "14:30", 15, "arrival")
    assert entry.state.slot == 1
    changed = await ask(parts, commands.SetUpClinic(doctor_id=doctor, date=today, capacity=2, order="arrival"))
    assert not changed.appended


async def _append(writer: Writer, draft: Draft) -> int:
    position = await writer.append([draft])
    assert position is not None
    return position


async def _slots(parts: Parts, stream: str) -> list[int]:
    rows = await read.streams(parts.pool, {stream: 0})
    events = [facts().to_domain_event(row) for row in rows]
    return sorted(slot for event in events if (slot := getattr(event, "slot", None)) is not None)
