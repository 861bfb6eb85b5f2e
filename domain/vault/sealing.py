"""Sealed fields: AES-256-GCM under the patient's own key, bound to that patient. Forget the key, and they are noise."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Collection, Iterable
from datetime import date
from typing import TYPE_CHECKING, Final
from uuid import UUID

import msgspec
import structlog
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from domain.rules.commands import Gender
from domain.rules.ids import PatientId, Sealed
from domain.vault.known import known_masters
from domain.vault.master import ID_BYTES, MasterKeyMissing, WrongMasterKey

if TYPE_CHECKING:
    from domain.postgres.connect import Pool
    from domain.vault.master import MasterKeys

FORMAT: Final = b"\x01"
NONCE_BYTES: Final = 12
KEYS_CACHED: Final = 50_000

_WRAPPED: Final = "SELECT patient, wrapped FROM daysheet.patient_key WHERE patient = ANY($1)"


class PatientDetails(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who a patient is. Stored as sealed JSON."""

    name: str
    phone: str | None = None
    birth_date: date | None = None
    age: int | None = None
    gender: Gender = "unknown"
    mrn: str | None = None
    private: bool | None = None


class Tampered(Exception):
    """A sealed field does not belong to this patient, or was changed."""


log = structlog.get_logger()

_encode_details: Final = msgspec.json.Encoder().encode
_decode_details: Final = msgspec.json.Decoder(PatientDetails).decode


class Vault:
    """The patients' keys, as far as this process has needed them."""

    def __init__(self, pool: Pool, master: MasterKeys) -> None:
        self._pool = pool
        self._master = master
        self._keys: OrderedDict[PatientId, bytes] = OrderedDict()  # an AESGCM of each would take 2,500 bytes more
        self._forgotten: set[PatientId] = set()

    def new_key(self, patient_id: PatientId) -> bytes:
        """Make this patient's key. Returns it wrapped, to be kept with the patient's first event."""
        key = AESGCM.generate_key(256)
        self._keys[patient_id] = key
        self._used({patient_id})
        return self._master.wrap(key)

    async def fetch_keys(self, patient_ids: Iterable[PatientId]) -> None:
        """Have the keys at hand of all these patients who are not forgotten, at least until the next await.

        Raises WrongMasterKey, MasterKeyMissing.
        """
        wanted = set(patient_ids)
        forgotten: set[PatientId] = set()
        # Again, where others drove one out or forgot it while the store was asked.
        while missing := [who for who in wanted if who not in self._keys and who not in forgotten]:
            for row in await self._pool.fetch(_WRAPPED, missing):
                if row["patient"] not in self._forgotten:
                    try:
                        self._keys[row["patient"]] = self._master.unwrap(row["wrapped"])
                    except MasterKeyMissing as error:
                        await self._require_known(row["wrapped"], error)
                        raise
            forgotten.update(who for who in missing if who not in self._keys)
        self._used(wanted - forgotten)

    async def _require_known(self, wrapped: bytes, error: MasterKeyMissing) -> None:
        """A master key that the store knows may still come to this machine. Another is nobody's: the row is broken."""
        if not any(known.check.startswith(wrapped[:ID_BYTES]) for known in await known_masters(self._pool)):
            raise WrongMasterKey("a key in the vault names a master key that this store never had") from error
        log.error("master_key_missing", detail=str(error))

    async def learn_newest_master(self) -> None:
        """Wrap new keys with the store's newest master key from now on. Raises MasterKeyMissing."""
        newest = (await known_masters(self._pool))[0]
        self._master.use(newest.check)

    def has_key(self, patient_id: PatientId) -> bool:
        return patient_id in self._keys

    def forget(self, patient_id: PatientId) -> None:
        """In this process; the store forgets with the event (see the action `forget` in domain/log/append.py)."""
        self._keys.pop(patient_id, None)
        self._forgotten.add(patient_id)  # A reading under way may still bring the key.

    def seal(self, patient_id: PatientId, text: str | None) -> Sealed | None:
        """None for no text, and for a patient already forgotten: what nobody could read again is not kept."""
        return self._seal(patient_id, text.encode()) if text is not None and patient_id in self._keys else None

    def seal_details(self, patient_id: PatientId, details: PatientDetails) -> Sealed:
        return self._seal(patient_id, _encode_details(details))

    def open_details(self, patient_id: PatientId, sealed: Sealed) -> PatientDetails | None:
        """None for a patient forgotten. Needs `fetch_keys` first. Raises Tampered."""
        plain = self._open(patient_id, sealed)
        return _decode_details(plain) if plain is not None else None

    def open_text(self, patient_id: PatientId, sealed: Sealed) -> str | None:
        """None for a patient forgotten. Needs `fetch_keys` first. Raises Tampered."""
        plain = self._open(patient_id, sealed)
        return plain.decode() if plain is not None else None

    def _seal(self, patient_id: PatientId, plain: bytes) -> Sealed:
        nonce = os.urandom(NONCE_BYTES)
        return Sealed(FORMAT + nonce + AESGCM(self._keys[patient_id]).encrypt(nonce, plain, _bound_to(patient_id)))

    def _open(self, patient_id: PatientId, sealed: Sealed) -> bytes | None:
        key = self._keys.get(patient_id)
        if key is None:
            return None
        format_, nonce, body = sealed[:1], sealed[1 : 1 + NONCE_BYTES], sealed[1 + NONCE_BYTES :]
        try:
            if format_ != FORMAT or len(nonce) != NONCE_BYTES:
                raise InvalidTag
            return AESGCM(key).decrypt(nonce, body, _bound_to(patient_id))
        except InvalidTag as error:
            raise Tampered(f"a sealed field of patient {patient_id} was changed") from error

    def _used(self, patient_ids: Collection[PatientId]) -> None:
        """These come last when there are too many: a key that is not at hand looks as one forgotten does."""
        for patient_id in patient_ids:
            self._keys.move_to_end(patient_id)
        while len(self._keys) > max(KEYS_CACHED, len(patient_ids)):
            self._keys.popitem(last=False)


def _bound_to(patient_id: UUID) -> bytes:
    return b"daysheet/sealed/1" + patient_id.bytes
