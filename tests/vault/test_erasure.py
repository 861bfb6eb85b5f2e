"""To forget a patient for ever, and to leave everything else as it is."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import msgspec
import pytest

from domain.desk.outcome import Asker, Done
from domain.log import read
from domain.postgres.connect import Connection
from domain.rules import commands
from domain.rules.events import PatientErased, PatientRegistered
from domain.rules.ids import AppointmentId, DoctorId, PatientId, Sealed, patient_stream
from domain.rules.refusals import UnknownPatient
from domain.vault.sealing import Tampered
from gateway.parts import Parts
from tests.conftest import Database, in_own_task
from tests.vault.elsewhere import desk_elsewhere
from tests.vault.everything import everything_in, finds

ROW = {"name": "Xquirella Vanterpool-Ødegård", "phone": "+4790871234567", "mrn": "MRN-77Z-4410"}
NEIGHBOUR = {"name": "Thessalonia Brackenridge", "phone": "+4711122233344", "mrn": "MRN-88Y-9921"}
WORDS = ("Xquirella", "Vanterpool", "Ødegård", "4790871234567", "MRN-77Z-4410", "knee surgery", "limping")
VAULT = {"patient_key": "patient", "search_token": "patient", "claim": "holder"}


async def _ask(parts: Parts, command: Any) -> Done:
    return await parts.desk.handle(command, Asker(actor="desk-1", role="reception"))


async def _register(parts: Parts, **keys: Any) -> PatientId:
    return PatientId((await _ask(parts, commands.RegisterPatient(**keys))).receipt.id)


async def _erase(parts: Parts, patient: PatientId, reason: str = "asked for it") -> Done:
    done = await _ask(parts, commands.ErasePatient(patient_id=patient, reason=reason))
    await parts.projector.reached(done.sequence, seconds=10)
    return done


@dataclass(frozen=True)
class Visit:
    """A patient with a whole visit behind them, every step with its reason."""

    patient: PatientId
    appointment: AppointmentId


@pytest.fixture
def doctor_name() -> str:
    return "Dr. Quillfeather"


async def _visit(parts: Parts, doctor_name: str) -> Visit:
    registering = commands.RegisterDoctor(name=doctor_name, code=f"D{uuid4().hex[:6]}", specialty="Cardiology")
    doctor = DoctorId((await _ask(parts, registering)).receipt.id)
    patient = await _register(parts, **ROW, reason="limping in, says Xquirella")
    booking = commands.BookAppointment(
        doctor_id=doctor, patient_id=patient, date=parts.today(), reason="knee surgery for Xquirella"
    )
    appointment = AppointmentId((await _ask(parts, booking)).receipt.id)
    await _ask(parts, commands.CheckIn(appointment_id=appointment, reason="Vanterpool limping"))
    await _ask(parts, commands.CallNext(doctor_id=doctor, reason="knee surgery"))
    await _ask(parts, commands.CompleteConsultation(appointment_id=appointment, reason="+4790871234567 to be called"))
    return Visit(patient, appointment)


async def _vault_rows(admin: Connection, patient: PatientId) -> Mapping[str, int]:
    return {
        table: await admin.fetchval(f"SELECT count(*) FROM daysheet.{table} WHERE {column} = $1", patient)
        for table, column in VAULT.items()
    }


async def _opened(parts: Parts, admin: Connection, patient: PatientId) -> bytes:
    """All sealed fields about a patient, opened as far as there is a key for it."""
    parts.desk.equipment.vault._keys.pop(patient, None)  # what this process holds says nothing about the store
    await parts.desk.equipment.vault.fetch_keys([patient])
    rows = await admin.fetch("SELECT data FROM daysheet.event ORDER BY position")
    found = []
    for row in rows:
        for value in msgspec.json.decode(row["data"], type=dict[str, Any]).values():
            try:
                sealed = Sealed(msgspec.convert(value, bytes))
            except msgspec.ValidationError:
                continue
            with suppress(Tampered):  # somebody else's, or not sealed at all
                found.append(parts.desk.equipment.vault._open(patient, sealed))
    return b"\n".join(plain for plain in found if plain is not None)


async def test_after_an_erasure_no_byte_of_the_store_tells_who_it_was(
    parts: Parts, database: Database, admin: Connection, doctor_name: str
) -> None:
    visit = await _visit(parts, doctor_name)
    opened = await _opened(parts, admin, visit.patient)
    assert all(finds(opened, word) for word in WORDS)  # so there was something to forget, and this finds it

    await _erase(parts, visit.patient, "asked for it, says Xquirella of +4790871234567")

    assert await _opened(parts, admin, visit.patient) == b""
    everything = everything_in(database.admin_url)
    assert finds(everything, doctor_name)  # in the bytes of an event: so they are searched
    assert finds(everything, "asked for it")
    assert not [word for word in WORDS if finds(everything, word)]


async def test_the_search_sees_what_is_sealed_too(parts: Parts, database: Database, admin: Connection) -> None:
    """Base64 in JSON in a bytea in a dump: if the search did not reach it, it would prove nothing."""
    patient = await _register(parts, **ROW)
    (row,) = await read.streams(parts.pool, {patient_stream(patient): 0})
    event = parts.desk.equipment.mapper.to_domain_event(row)
    assert isinstance(event, PatientRegistered)
    everything = everything_in(database.admin_url)
    assert everything.count(event.details) == 1
    assert not [word for word in WORDS if finds(everything, word)]  # it is sealed from the first event


async def test_an_erasure_takes_keys_tokens_and_claims_with_it(
    parts: Parts, admin: Connection, doctor_name: str
) -> None:
    visit = await _visit(parts, doctor_name)
    assert all((await _vault_rows(admin, visit.patient)).values())
    await _erase(parts, visit.patient)
    assert await _vault_rows(admin, visit.patient) == {"patient_key": 0, "search_token": 0, "claim": 0}


async def test_an_erasure_leaves_every_event_and_the_day_as_they_were(
    parts: Parts, admin: Connection, doctor_name: str
) -> None:
    visit = await _visit(parts, doctor_name)
    before = await admin.fetch("SELECT * FROM daysheet.event ORDER BY position")
    await _erase(parts, visit.patient)
    after = await admin.fetch("SELECT * FROM daysheet.event ORDER BY position")
    assert after[:-1] == before
    assert after[-1]["type"] == "patient-erased@1"
    board = await parts.boards.get(parts.today())
    _, entry = board.find(visit.appointment) or pytest.fail("gone from the board")
    assert (entry.state.status, entry.patient_id) == ("completed", visit.patient)


async def test_other_patients_stay_as_they_are(parts: Parts, admin: Connection) -> None:
    patient, neighbour = await _register(parts, **ROW), await _register(parts, **NEIGHBOUR)
    before = await _vault_rows(admin, neighbour)
    await _erase(parts, patient)
    assert await _vault_rows(admin, neighbour) == before
    assert finds(await _opened(parts, admin, neighbour), NEIGHBOUR["name"])
    await parts.directory.have([neighbour])
    person = parts.directory.person(neighbour)
    assert person is not None
    assert (person.details.name, person.details.mrn) == (NEIGHBOUR["name"], NEIGHBOUR["mrn"])


async def test_an_erased_patient_is_shown_as_erased(parts: Parts) -> None:
    patient = await _register(parts, **ROW)
    await parts.directory.have([patient])
    await _erase(parts, patient)
    person = parts.directory.person(patient)
    assert person is not None
    assert (person.details.name, person.details.phone, person.details.mrn) == ("[erased]", None, None)


async def test_an_erased_patient_is_not_booked(parts: Parts, doctor_name: str) -> None:
    patient = await _register(parts, **ROW)
    doctor = await _ask(parts, commands.RegisterDoctor(name=doctor_name, code="DOC001", specialty="Cardiology"))
    await _erase(parts, patient)
    with pytest.raises(UnknownPatient):
        await _ask(
            parts,
            commands.BookAppointment(doctor_id=DoctorId(doctor.receipt.id), patient_id=patient, date=parts.today()),
        )


async def test_who_was_erased_on_another_server_just_now_is_not_changed(parts: Parts) -> None:
    """This one's follower is behind: it knows the patient as they were, and their key."""
    patient = await _register(parts, **ROW)
    desk = desk_elsewhere(parts)
    asker = Asker(actor="desk-2", role="reception")
    await desk.handle(commands.ChangePatient(patient_id=patient, name="Xquirella Ek"), asker)
    await _erase(parts, patient)
    assert desk.equipment.vault.has_key(patient)
    with pytest.raises(UnknownPatient):
        await desk.handle(commands.ChangePatient(patient_id=patient, name="Xquirella Vanterpool"), asker)


async def test_what_happens_after_an_erasure_keeps_no_reason(parts: Parts, database: Database) -> None:
    doctor = DoctorId(
        (await _ask(parts, commands.RegisterDoctor(name="Dr. Li", code="DOC001", specialty="ENT"))).receipt.id
    )
    patient = await _register(parts, **ROW)
    booking = commands.BookAppointment(doctor_id=doctor, patient_id=patient, date=parts.today())
    appointment = AppointmentId((await _ask(parts, booking)).receipt.id)
    await _erase(parts, patient)
    assert (await _ask(parts, commands.CheckIn(appointment_id=appointment, reason="knee surgery"))).appended
    assert (await _ask(parts, commands.CancelAppointment(appointment_id=appointment, reason="limping"))).appended
    everything = everything_in(database.admin_url)
    assert not [word for word in WORDS if finds(everything, word)]


async def test_an_mrn_may_be_used_again_after_an_erasure(parts: Parts) -> None:
    patient = await _register(parts, **ROW)
    await _erase(parts, patient)
    again = await _register(parts, **ROW)
    assert again != patient


async def test_erasing_twice_changes_nothing(parts: Parts) -> None:
    patient = await _register(parts, **ROW)
    first = await _erase(parts, patient)
    second = await _erase(parts, patient, "Xquirella asked again")
    assert (second.appended, second.sequence) == (False, first.sequence)
    assert await read.head(parts.pool) == first.sequence


@pytest.mark.parametrize(
    ("name", "reason", "kept"),
    [
        ("Xquirella Vanterpool", "Xquirella asked for it", "[erased] asked for it"),
        ("Xquirella Vanterpool", "XQUIRELLA VANTERPOOL asked, vanterpool signed", "[erased] asked, [erased] signed"),
        ("Xquirella Vanterpool", "Vanterpool, Xquirella: by letter", "[erased], [erased]: by letter"),
        ("Xquirella Vanterpool", "call +4790871234567, or see mrn-77z-4410", "call [erased], or see [erased]"),
        ("Dr. (Bob) [a-z]* O+Neil$", "Dr. (Bob) [a-z]* O+Neil$ wrote", "[erased] wrote"),
        ("(", "( asked (", "( asked ("),
        ("A.B C*D", "A.B asked, AxB did not, C*D signed", "[erased] asked, AxB did not, [erased] signed"),
        ("Ed Erased Rase", "Erased Rase, called Ed", "[erased] [erased], called [erased]"),
        ("\\d+ \\1", "room 12: \\d+ was here", "room 12: [erased] was here"),
        ("Zo\u00eb \u00d8deg\u00e5rd", "Zoe\u0308 \u00d8DEGA\u030aRD asked", "[erased] asked"),
        ("李小龍", "李小龍要求", "[erased]要求"),
        ("Xquirella Vanterpool", "court order 12/2025", "court order 12/2025"),
    ],
)
async def test_a_reason_that_names_the_patient_is_cleaned(parts: Parts, name: str, reason: str, kept: str) -> None:
    patient = await _register(parts, **(ROW | {"name": name}))
    await _erase(parts, patient, reason)
    rows = await read.streams(parts.pool, {patient_stream(patient): 1})
    (erased,) = [parts.desk.equipment.mapper.to_domain_event(row) for row in rows]
    assert isinstance(erased, PatientErased)
    assert erased.reason == kept


async def test_a_former_name_phone_and_mrn_are_taken_out_as_well(parts: Parts) -> None:
    patient = await _register(parts, **ROW)
    await _ask(parts, commands.ChangePatient(patient_id=patient, name="Élodie O'Neill", phone=None, mrn="NEW-1"))
    await _ask(parts, commands.ChangePatient(patient_id=patient, name="Nobody Special", mrn=None))
    await _erase(parts, patient, "Ms ODEGARD (ElodieONeill), 479-0871234567, mrn 77z/4410 or new1: by letter")
    rows = await read.streams(parts.pool, {patient_stream(patient): 3})
    (erased,) = [parts.desk.equipment.mapper.to_domain_event(row) for row in rows]
    assert isinstance(erased, PatientErased)
    assert erased.reason == "Ms [erased] ([erased]), [erased], [erased] or [erased]: by letter"


# --- undone --------------------------------------------------------------------------------------


async def test_an_erasure_undone_by_an_old_backup_is_carried_out_again_at_the_next_start(
    database: Database, admin: Connection
) -> None:
    async with in_own_task(database.settings()) as parts:
        patient, neighbour = await _register(parts, **ROW), await _register(parts, **NEIGHBOUR)
        untouched = await _vault_rows(admin, neighbour)
        backup = {
            table: await admin.fetch(f"SELECT * FROM daysheet.{table} WHERE {column} = $1", patient)
            for table, column in VAULT.items()
        }
        await _erase(parts, patient)
    for table, rows in backup.items():
        await admin.copy_records_to_table(table, schema_name="daysheet", records=[tuple(row) for row in rows])
    assert all((await _vault_rows(admin, patient)).values())

    async with in_own_task(database.settings()) as parts:
        assert await _vault_rows(admin, patient) == {"patient_key": 0, "search_token": 0, "claim": 0}
        assert await _vault_rows(admin, neighbour) == untouched
        await parts.directory.have([patient])
        person = parts.directory.person(patient)
        assert person is not None
        assert person.details.name == "[erased]"


@pytest.mark.parametrize("table", VAULT)
async def test_an_erasure_undone_in_one_table_alone_is_carried_out_again(
    database: Database, admin: Connection, table: str
) -> None:
    async with in_own_task(database.settings()) as parts:
        patient = await _register(parts, **ROW)
        rows = await admin.fetch(f"SELECT * FROM daysheet.{table} WHERE {VAULT[table]} = $1", patient)
        await _erase(parts, patient)
    await admin.copy_records_to_table(table, schema_name="daysheet", records=[tuple(row) for row in rows])
    async with in_own_task(database.settings()):
        assert not any((await _vault_rows(admin, patient)).values())


async def test_finishing_erasures_takes_nothing_from_whoever_uses_the_mrn_now(
    database: Database, admin: Connection
) -> None:
    async with in_own_task(database.settings()) as parts:
        patient = await _register(parts, **ROW)
        keys = await admin.fetch("SELECT * FROM daysheet.patient_key WHERE patient = $1", patient)
        await _erase(parts, patient)
        heir = await _register(parts, **ROW)
        before = await _vault_rows(admin, heir)
    await admin.copy_records_to_table("patient_key", schema_name="daysheet", records=[tuple(row) for row in keys])
    async with in_own_task(database.settings()):
        assert await _vault_rows(admin, heir) == before
