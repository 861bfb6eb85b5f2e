"""A process holds so many patients' keys and no more. Whose key it let go is not taken for somebody forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from domain.desk.desk import Desk
from domain.desk.outcome import Asker
from domain.postgres.connect import Connection
from domain.rules import commands
from domain.rules.ids import DoctorId, PatientId, patient_stream
from domain.vault import sealing
from domain.vault.sealing import Vault
from gateway.parts import Parts
from tests.vault.elsewhere import desk_elsewhere

if TYPE_CHECKING:
    from domain.postgres.connect import Pool
    from domain.vault.master import MasterKeys

KEYS = 3


@pytest.fixture(autouse=True)
def room_for_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealing, "KEYS_CACHED", KEYS)


async def _ask(desk: Desk, command: Any) -> PatientId:
    return PatientId((await desk.handle(command, Asker(actor="desk-1", role="reception"))).receipt.id)


async def _patients(desk: Desk, number: int) -> list[PatientId]:
    return [await _ask(desk, commands.RegisterPatient(name=f"Asha {one}")) for one in range(number)]


def _held(vault: Vault, patients: list[PatientId]) -> int:
    return sum(vault.has_key(patient) for patient in patients)


async def test_no_more_keys_are_held_than_there_is_room_for(parts: Parts) -> None:
    patients = await _patients(parts.desk, KEYS + 2)
    vault = parts.desk.equipment.vault
    assert _held(vault, patients) == KEYS
    await vault.fetch_keys(patients[:1])
    assert vault.has_key(patients[0])
    assert _held(vault, patients) == KEYS


async def test_all_that_were_asked_for_together_are_there_together(parts: Parts) -> None:
    """Also those that would have been the next to go, and more than there is room for."""
    patients = await _patients(parts.desk, KEYS + 2)
    vault = parts.desk.equipment.vault
    wanted = patients[2:3] + patients[:2]  # The first of them is the oldest at hand.
    await vault.fetch_keys(wanted)
    assert _held(vault, wanted) == len(wanted)
    await vault.fetch_keys(patients)
    assert _held(vault, patients) == len(patients)


async def test_what_others_fetch_meanwhile_drives_none_of_them_out(parts: Parts) -> None:
    patients = await _patients(parts.desk, 3 * KEYS)
    vault = parts.desk.equipment.vault

    async def there(wanted: list[PatientId]) -> int:
        await vault.fetch_keys(wanted)
        return _held(vault, wanted)

    groups = [patients[start : start + KEYS] for start in (0, 3, 6, 1, 4)]
    assert await asyncio.gather(*map(there, groups)) == [KEYS] * len(groups)


async def test_a_change_made_elsewhere_is_read_though_the_key_was_let_go(parts: Parts) -> None:
    elsewhere = desk_elsewhere(parts)
    first, *others = await _patients(elsewhere, 1 + KEYS)
    await parts.directory.have([first])
    await parts.directory.have(others)
    assert not parts.desk.equipment.vault.has_key(first)  # So there was something to let go.

    changed = await elsewhere.handle(
        commands.ChangePatient(patient_id=first, name="Ida Berg"), Asker(actor="desk-2", role="reception")
    )
    await parts.projector.reached(changed.sequence, seconds=10)
    person = parts.directory.person(first)
    assert person is not None
    assert person.details.name == "Ida Berg"


async def test_who_is_erased_elsewhere_is_shown_as_erased_though_the_key_was_let_go(parts: Parts) -> None:
    elsewhere = desk_elsewhere(parts)
    first, *others = await _patients(elsewhere, 1 + KEYS)
    await parts.directory.have([first])
    await parts.directory.have(others)
    asker = Asker(actor="desk-2", role="reception")
    await elsewhere.handle(commands.ChangePatient(patient_id=first, name="Ida Berg"), asker)
    erased = await elsewhere.handle(commands.ErasePatient(patient_id=first, reason="asked for it"), asker)
    await parts.projector.reached(erased.sequence, seconds=10)
    person = parts.directory.person(first)
    assert person is not None
    assert person.details.name == "[erased]"


async def test_an_erasures_reason_is_cleaned_of_who_it_was_though_the_key_was_let_go_meanwhile(
    parts: Parts, admin: Connection
) -> None:
    patient = await _ask(parts.desk, commands.RegisterPatient(name="Xquirella Vanterpool"))
    others = await _patients(desk_elsewhere(parts), KEYS)
    vault = parts.desk.equipment.vault
    await vault.fetch_keys([patient])
    erasure = commands.ErasePatient(patient_id=patient, reason="asked for it, says Xquirella")
    async with admin.transaction():
        await admin.execute("LOCK TABLE daysheet.event IN ACCESS EXCLUSIVE MODE")
        erasing = asyncio.create_task(_ask(parts.desk, erasure))
        await asyncio.sleep(0.3)  # It waits for what was ever registered of the patient.
        await vault.fetch_keys(others)
        assert not vault.has_key(patient)
    await erasing
    assert b"Xquirella" not in await _last_of(admin, patient)


async def test_an_erasures_reason_is_cleaned_of_a_name_given_elsewhere_meanwhile(
    parts: Parts, admin: Connection
) -> None:
    """Somebody else here has heard of it, so that the log sees nothing wrong."""
    doctor = DoctorId(await _ask(parts.desk, commands.RegisterDoctor(name="Dr. A", code="A", specialty="Any")))
    patient = await _ask(parts.desk, commands.RegisterPatient(name="Asha"))
    slow = _SlowVault(parts.pool, parts.desk.equipment.vault._master)
    desk = Desk(replace(parts.desk.equipment, vault=slow))
    erasing = asyncio.create_task(
        _ask(desk, commands.ErasePatient(patient_id=patient, reason="asked for it, says Xquirella"))
    )
    await slow.asked.wait()
    await _ask(desk_elsewhere(parts), commands.ChangePatient(patient_id=patient, name="Xquirella Vanterpool"))
    await _ask(desk, commands.BookAppointment(doctor_id=doctor, patient_id=patient, date=parts.today()))
    slow.may_go_on.set()
    await erasing
    assert b"Xquirella" not in await _last_of(admin, patient)


async def test_a_change_made_elsewhere_meanwhile_changes_nothing_here_and_is_what_is_answered(parts: Parts) -> None:
    """Somebody else here has heard of it, so that it is seen that nothing is left to change."""
    doctor = DoctorId(await _ask(parts.desk, commands.RegisterDoctor(name="Dr. A", code="A", specialty="Any")))
    patient = await _ask(parts.desk, commands.RegisterPatient(name="Asha"))
    await _ask(desk_elsewhere(parts), commands.ChangePatient(patient_id=patient, phone="+49 30 1"))
    slow = _SlowVault(parts.pool, parts.desk.equipment.vault._master)
    slow.quick = 1  # The first try comes too late.
    desk = Desk(replace(parts.desk.equipment, vault=slow))
    change = commands.ChangePatient(patient_id=patient, name="Ida Berg")
    changing = asyncio.create_task(desk.handle(change, Asker(actor="desk-1", role="reception")))
    await slow.asked.wait()
    changed = await desk_elsewhere(parts).handle(change, Asker(actor="desk-2", role="reception"))
    await _ask(desk, commands.BookAppointment(doctor_id=doctor, patient_id=patient, date=parts.today()))
    slow.may_go_on.set()
    done = await changing
    assert (done.appended, done.sequence) == (False, changed.sequence)


class _SlowVault(Vault):
    def __init__(self, pool: Pool, master: MasterKeys) -> None:
        super().__init__(pool, master)
        self.asked, self.may_go_on = asyncio.Event(), asyncio.Event()
        self.quick = 0
        """So often it does not wait."""

    async def fetch_keys(self, patient_ids: Iterable[PatientId]) -> None:
        self.quick -= 1
        if self.quick < 0:
            self.asked.set()
            await self.may_go_on.wait()
        await super().fetch_keys(patient_ids)


async def _last_of(admin: Connection, patient: PatientId) -> bytes:
    stream = patient_stream(patient)
    query = "SELECT data FROM daysheet.event WHERE stream = $1 AND type LIKE 'patient-erased@%'"
    data = await admin.fetchval(query, stream)
    assert b"asked for it" in data
    return bytes(data)
