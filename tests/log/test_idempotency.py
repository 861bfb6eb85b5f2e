"""The same request once more: carried out once, answered as often as asked."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from domain.desk.outcome import KeyReused
from domain.log import read
from domain.rules import commands
from domain.rules.ids import AppointmentId, DoctorId, PatientId
from domain.rules.refusals import (
    AlreadyBooked,
    DoctorCodeTaken,
    EffectiveInFuture,
    MrnTaken,
    QueueEmpty,
    SlotTaken,
    UnknownAppointment,
    UnknownDoctor,
    UnknownPatient,
)
from gateway.parts import Parts
from tests.conftest import Database, in_own_task
from tests.log.asking import a_booking, a_doctor, a_patient, an_appointment, ask


async def test_a_request_repeated_with_its_key_gives_the_same_outcome_and_appends_nothing(parts: Parts) -> None:
    doctor, patient = await a_doctor(parts), await a_patient(parts)
    booking = a_booking(parts, doctor, patient, slot=3)
    first = await ask(parts, booking, "key")
    head = await read.head(parts.pool)
    again = await ask(parts, booking, "key")
    assert (again.receipt, again.sequence) == (first.receipt, first.sequence)
    assert (first.appended, first.replayed) == (True, False)
    assert (again.appended, again.replayed) == (False, True)
    assert await read.head(parts.pool) == head


async def test_the_key_is_looked_up_before_anything_is_decided(parts: Parts) -> None:
    """Else a retry would meet its own slot_taken, or find that its day has gone by, or its doctor changed."""
    doctor, patient = await a_doctor(parts), await a_patient(parts)
    booking = a_booking(parts, doctor, patient, slot=1)
    first = await ask(parts, booking, "key")
    with pytest.raises(AlreadyBooked):
        await ask(parts, booking)
    assert (await ask(parts, booking, "key")).receipt == first.receipt
    await ask(parts, commands.CancelAppointment(appointment_id=AppointmentId(first.receipt.id)))
    assert (await ask(parts, booking, "key")).receipt == first.receipt


async def test_the_same_key_with_another_body_is_refused(parts: Parts) -> None:
    doctor, patient = await a_doctor(parts), await a_patient(parts)
    await ask(parts, a_booking(parts, doctor, patient, slot=1), "key")
    head = await read.head(parts.pool)
    for other in (
        a_booking(parts, doctor, patient, slot=2),
        a_booking(parts, doctor, patient, slot=1, reason="a reason"),
        commands.CallNext(doctor_id=doctor),
    ):
        with pytest.raises(KeyReused):
            await ask(parts, other, "key")
    assert await read.head(parts.pool) == head


async def test_two_kinds_of_request_with_the_same_body_are_not_the_same(parts: Parts) -> None:
    appointment = await an_appointment(parts, await a_doctor(parts))
    await ask(parts, commands.CheckIn(appointment_id=appointment), "key")
    with pytest.raises(KeyReused):
        await ask(parts, commands.CancelAppointment(appointment_id=appointment), "key")


async def test_another_actors_same_key_is_another_key(parts: Parts) -> None:
    doctor = await a_doctor(parts)
    one = await ask(parts, a_booking(parts, doctor, await a_patient(parts)), "key", actor="desk-1")
    other = await ask(parts, a_booking(parts, doctor, await a_patient(parts)), "key", actor="desk-2")
    assert other.appended
    assert one.receipt.id != other.receipt.id


async def test_a_refusal_is_not_remembered(parts: Parts) -> None:
    doctor = await a_doctor(parts)
    holder = await an_appointment(parts, doctor, slot=1)
    booking = a_booking(parts, doctor, await a_patient(parts), slot=1)
    with pytest.raises(SlotTaken):
        await ask(parts, booking, "key")
    await ask(parts, commands.CancelAppointment(appointment_id=holder))
    assert (await ask(parts, booking, "key")).appended


async def test_a_key_may_be_used_for_another_body_after_a_refusal(parts: Parts) -> None:
    doctor = await a_doctor(parts)
    await an_appointment(parts, doctor, slot=1)
    patient = await a_patient(parts)
    with pytest.raises(SlotTaken):
        await ask(parts, a_booking(parts, doctor, patient, slot=1), "key")
    assert (await ask(parts, a_booking(parts, doctor, patient, slot=2), "key")).appended


async def test_a_request_that_changed_nothing_is_remembered_too(parts: Parts) -> None:
    appointment = await an_appointment(parts, await a_doctor(parts))
    checking_in = commands.CheckIn(appointment_id=appointment)
    await ask(parts, checking_in)
    second = await ask(parts, checking_in, "key")
    assert (second.appended, second.replayed, second.receipt.created) == (False, False, False)
    third = await ask(parts, checking_in, "key")
    assert (third.replayed, third.receipt) == (True, second.receipt)


async def test_two_callers_with_one_key_append_once(parts: Parts) -> None:
    doctor, patient = await a_doctor(parts), await a_patient(parts)
    booking = a_booking(parts, doctor, patient)
    done = await asyncio.gather(*(ask(parts, booking, "key") for _ in range(8)))
    assert len({each.receipt.id for each in done}) == 1
    assert Counter(each.replayed for each in done) == {False: 1, True: 7}


async def test_two_servers_with_one_key_append_once(parts: Parts, database: Database) -> None:
    doctor = await a_doctor(parts)
    async with in_own_task(database.settings()) as elsewhere:
        for slot in range(1, 11):
            booking = a_booking(parts, doctor, await a_patient(parts), slot=slot)
            done = await asyncio.gather(*(ask(each, booking, f"key {slot}") for each in (parts, elsewhere) * 3))
            assert len({each.receipt.id for each in done}) == 1
            assert Counter(each.replayed for each in done) == {False: 1, True: 5}


async def test_two_servers_register_one_patient_for_one_key(parts: Parts, database: Database) -> None:
    """A registration shares no stream with another: it is the key alone that tells."""
    async with in_own_task(database.settings()) as elsewhere:
        registering = commands.RegisterPatient(name="Priya Raman", mrn="M-1")
        done = await asyncio.gather(*(ask(each, registering, "key") for each in (parts, elsewhere) * 5))
    assert len({each.receipt.id for each in done}) == 1
    assert await parts.pool.fetchval("SELECT count(*) FROM daysheet.event WHERE stream LIKE 'patient/%'") == 1


async def test_a_key_is_known_after_a_restart(database: Database) -> None:
    async with in_own_task(database.settings()) as before:
        doctor = await a_doctor(before)
        booking = a_booking(before, doctor, await a_patient(before))
        first = await ask(before, booking, "key")
    async with in_own_task(database.settings()) as after:
        again = await ask(after, booking, "key")
    assert (again.replayed, again.receipt) == (True, first.receipt)


async def test_neither_key_nor_body_is_stored_readably(parts: Parts) -> None:
    await ask(parts, commands.RegisterPatient(name="Priya Raman", phone="+91 98450 12345"), "a-telling-key")
    row = await parts.pool.fetchrow("SELECT key, fingerprint, outcome FROM daysheet.request")
    stored = b"|".join(row or ())
    assert b"patient" in stored  # what kind of thing it led to, by id
    assert all(word not in stored for word in (b"Priya", b"98450", b"a-telling-key"))


# --- what only the desk can refuse ---------------------------------------------------------------


async def test_what_nobody_knows_is_refused_before_all_else(parts: Parts) -> None:
    doctor, patient = await a_doctor(parts), await a_patient(parts)
    nobody, tomorrow = uuid4(), datetime.now(UTC) + timedelta(days=1)
    yesterday = parts.today() - timedelta(days=1)
    unknown_doctor = a_booking(parts, DoctorId(nobody), patient, effective_at=tomorrow, date=yesterday)
    with pytest.raises(UnknownDoctor):
        await ask(parts, unknown_doctor)
    with pytest.raises(UnknownPatient):
        await ask(parts, a_booking(parts, doctor, PatientId(nobody), effective_at=tomorrow, date=yesterday))
    with pytest.raises(UnknownAppointment):
        await ask(parts, commands.CheckIn(appointment_id=AppointmentId(nobody), effective_at=tomorrow))
    with pytest.raises(UnknownDoctor):
        await ask(parts, commands.CallNext(doctor_id=DoctorId(nobody)))
    with pytest.raises(UnknownPatient):
        await ask(parts, commands.ErasePatient(patient_id=PatientId(nobody), reason="asked for it"))


async def test_nothing_happens_in_the_future(parts: Parts) -> None:
    doctor, patient = await a_doctor(parts), await a_patient(parts)
    soon = parts.now() + timedelta(minutes=1)
    yesterday = parts.today() - timedelta(days=1)
    with pytest.raises(EffectiveInFuture):
        await ask(parts, a_booking(parts, doctor, patient, date=yesterday, effective_at=soon))


async def test_a_late_entry_is_judged_by_its_own_day(parts: Parts) -> None:
    doctor, patient = await a_doctor(parts), await a_patient(parts)
    yesterday = parts.today() - timedelta(days=1)
    at = parts.now() - timedelta(days=1)
    booking = a_booking(parts, doctor, patient, date=yesterday, effective_at=at)
    appointment = AppointmentId((await ask(parts, booking)).receipt.id)
    assert (await ask(parts, commands.CheckIn(appointment_id=appointment, effective_at=at))).appended


async def test_a_doctors_code_and_a_patients_mrn_are_theirs_alone(parts: Parts) -> None:
    await a_doctor(parts, code="DOC001")
    await a_patient(parts, mrn="DOC001")  # another kind of thing
    with pytest.raises(DoctorCodeTaken):
        await a_doctor(parts, code=" doc001 ")
    with pytest.raises(MrnTaken):
        await a_patient(parts, mrn="Doc001")


async def test_a_clinic_that_nobody_opened_has_no_line(parts: Parts) -> None:
    with pytest.raises(QueueEmpty):
        await ask(parts, commands.CallNext(doctor_id=await a_doctor(parts)))
