"""Sealed fields open with the patient's own key, for that patient, as they were written, or not at all."""

from __future__ import annotations

from datetime import date
from uuid import UUID, uuid4

import pytest

from domain.rules.ids import PatientId, Sealed
from domain.vault.master import MasterKey, MasterKeys, WrongMasterKey
from domain.vault.sealing import FORMAT, PatientDetails, Tampered, Vault
from gateway.parts import Parts

DETAILS = PatientDetails(
    name="Zoë O’Brien 李",
    phone="+91 98450 12345",
    birth_date=date(1980, 2, 29),
    gender="female",
    mrn="M-1",
    private=True,
)


@pytest.fixture
def vault(parts: Parts) -> Vault:
    return Vault(parts.pool, MasterKeys(lambda: [MasterKey.of(b"k" * 32)]))


def _patient(vault: Vault) -> PatientId:
    patient = PatientId(uuid4())
    vault.new_key(patient)
    return patient


async def test_what_is_sealed_opens_again(vault: Vault) -> None:
    patient = _patient(vault)
    assert vault.open_details(patient, vault.seal_details(patient, DETAILS)) == DETAILS


async def test_what_is_sealed_says_nothing(vault: Vault) -> None:
    patient = _patient(vault)
    sealed = vault.seal_details(patient, DETAILS)
    assert sealed.startswith(FORMAT)
    assert all(word.encode() not in bytes(sealed) for word in ("Zoë", "98450", "1980", "female", "name"))
    assert vault.seal_details(patient, DETAILS) != sealed  # not even that two are the same


async def test_what_was_swapped_between_patients_is_tampered_with(vault: Vault) -> None:
    one, other = _patient(vault), _patient(vault)
    with pytest.raises(Tampered, match=str(other)):
        vault.open_details(other, vault.seal_details(one, DETAILS))


async def test_a_field_is_bound_to_its_patient_and_not_to_the_key_alone(vault: Vault) -> None:
    """Somebody who can write the key table gives one patient's key to another."""
    one, other = _patient(vault), PatientId(uuid4())
    sealed = vault.seal_details(one, DETAILS)
    vault._keys[other] = vault._keys[one]
    with pytest.raises(Tampered):
        vault.open_details(other, sealed)


async def test_every_byte_counts(vault: Vault) -> None:
    patient = _patient(vault)
    sealed = vault.seal_details(patient, DETAILS)
    for place in range(len(sealed)):
        changed = bytearray(sealed)
        changed[place] ^= 1
        with pytest.raises(Tampered):
            vault.open_details(patient, Sealed(bytes(changed)))


@pytest.mark.parametrize("length", [0, 1, 5, 8, 13, 20, 28])
async def test_what_was_cut_short_is_tampered_with(vault: Vault, length: int) -> None:
    patient = _patient(vault)
    with pytest.raises(Tampered):
        vault.open_details(patient, Sealed(vault.seal_details(patient, DETAILS)[:length]))


async def test_without_the_key_nothing_opens_and_nothing_is_sealed(vault: Vault) -> None:
    patient = _patient(vault)
    sealed = vault.seal_details(patient, DETAILS)
    vault.forget(patient)
    assert not vault.has_key(patient)
    assert vault.open_details(patient, sealed) is None
    assert vault.seal(patient, "a reason") is None


async def test_a_key_kept_under_another_master_key_is_told_apart(parts: Parts, vault: Vault) -> None:
    other = MasterKey.of(b"o" * 32)
    wrapped = vault.new_key(PatientId(UUID(int=1)))
    with pytest.raises(WrongMasterKey):
        other.unwrap(wrapped)
    with pytest.raises(WrongMasterKey):
        MasterKey.of(b"k" * 32).unwrap(wrapped[:-1] + bytes([wrapped[-1] ^ 1]))
