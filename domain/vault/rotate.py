"""A new master key, while servers serve: every patient's key, and the store's secrets, wrapped anew.

    1  the new key stands in the key file, before the old one       nothing rests on it yet
    2  the store knows it: from here on nothing else may wrap       who does not know yet is refused, and reads the file
    3  what the older ones wrapped is wrapped anew, in batches      each batch is whole, or never was
    4  the old key leaves the file                                  nothing in the store needs it any more

After each of them everything can be opened by what the file holds. Whoever begins again goes on where it was left.
A new master key never lies in the store, wrapped or not, so no older one leads to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from uuid import UUID

from domain.vault.keyfile import KeyFile
from domain.vault.known import KnownMaster, known_masters, take_newest
from domain.vault.master import ID_BYTES, MasterKey, MasterKeys, WrongMasterKey, at_hand, read_master_keys

if TYPE_CHECKING:
    import asyncpg

    from domain.postgres.connect import Connection

BATCH_KEYS: Final = 200
"""Nobody appends while a batch is written: that takes a few milliseconds."""
NOBODY: Final = UUID(int=0)

_ALONE: Final = "SELECT pg_try_advisory_lock(4004131708)"
_ADD: Final = "SELECT daysheet.add_master_key($1)"
_SECRETS: Final = "SELECT name, wrapped FROM daysheet.secret"
_REWRAP_SECRETS: Final = "SELECT daysheet.rewrap_secrets($1, $2, $3)"
_PATIENTS: Final = "SELECT patient, wrapped FROM daysheet.patient_key WHERE patient > $1 ORDER BY patient LIMIT $2"
_REWRAP: Final = "SELECT daysheet.rewrap($1, $2, $3)"
_LEFT: Final = f"""
SELECT EXISTS (SELECT FROM daysheet.patient_key WHERE substr(wrapped, 1, {ID_BYTES}) <> $1)
    OR EXISTS (SELECT FROM daysheet.secret WHERE substr(wrapped, 1, {ID_BYTES}) <> $1)
"""


class CannotRotate(Exception):
    """The message says what to do first."""


@dataclass(frozen=True, slots=True)
class Rotated:
    """What one call did: how many keys of patients and secrets of the store it wrapped anew, and how many retired
    master keys it found at hand; those of a file are out of it now."""

    newest: bytes
    patients: int
    secrets: int
    retired: int


async def rotate(connection: Connection, given: str | None, file: Path) -> Rotated:
    """Give the store a new master key, or finish giving it one. `given`: the environment's keys, which go before the
    file's. Raises CannotRotate, WrongMasterKey, MasterKeyMissing.
    """
    keys, target = await _begin(connection, given, file)
    await connection.execute(_ADD, target.check)
    keys.use(target.check)
    secrets = await _wrap_anew(connection, _REWRAP_SECRETS, await connection.fetch(_SECRETS), keys)
    patients = await _wrap_patients_anew(connection, keys)
    if await connection.fetchval(_LEFT, target.id):
        raise WrongMasterKey("some keys in the vault are still wrapped by an older master key: run this again")
    checks = {master.check for master in await known_masters(connection)} - {target.check}
    retired = [key for key in at_hand(given, file) if key.check in checks]
    if retired and given is None:
        KeyFile(file).retire([key for key in KeyFile(file).read() if MasterKey.of(key).check in checks])
    return Rotated(target.id, patients, secrets, len(retired))


async def prepare(connection: Connection, given: str | None, file: Path) -> bytes:
    """The first step alone, so that the file can be brought to other machines before anything rests on it.
    Returns the id of the key that `rotate` will go on with. Raises as it does."""
    return (await _begin(connection, given, file))[1].id


async def _begin(connection: Connection, given: str | None, file: Path) -> tuple[MasterKeys, MasterKey]:
    """The keys at hand, and the one to rotate to: of a rotation that was cut short, one prepared, or one made now."""
    if not await connection.fetchval(_ALONE):
        raise CannotRotate("another rotation of the master key is under way on this store")
    known = await known_masters(connection)
    if not known:
        raise CannotRotate("this store has no master key yet: a server's first start gives it one")
    keys = read_master_keys(given, file, may_make=False)
    take_newest(keys, known)
    if (prepared := _unknown(given, file, known)) is not None:
        return keys, prepared
    if any(keys.have(master.check) for master in known[1:]):
        return keys, keys.current  # One was cut short, whenever: the old key is the last to go.
    return keys, _made(given, file, known)


def _made(given: str | None, file: Path, known: list[KnownMaster]) -> MasterKey:
    """A new key in the file, and on disk. Raises CannotRotate where there is no file."""
    if given is not None:
        raise CannotRotate(
            "the master key is in the environment, which cannot be changed from here: make another "
            "(openssl rand -base64 32), restart every server with DAYSHEET_MASTER_KEY='NEW OLD', "
            "and run this with the same"
        )
    KeyFile(file).add_new()
    made = _unknown(None, file, known)
    assert made is not None
    return made


def _unknown(given: str | None, file: Path, known: list[KnownMaster]) -> MasterKey | None:
    """The first key at hand that the store has never heard of."""
    checks = {master.check for master in known}
    return next((key for key in at_hand(given, file) if key.check not in checks), None)


async def _wrap_patients_anew(connection: Connection, keys: MasterKeys) -> int:
    """In the order of their ids. Whoever registers meanwhile is wrapped by the new key already."""
    done, after = 0, NOBODY
    while rows := await connection.fetch(_PATIENTS, after, BATCH_KEYS):
        done += await _wrap_anew(connection, _REWRAP, rows, keys)
        after = rows[-1]["patient"]
    return done


async def _wrap_anew(connection: Connection, sql: str, rows: Sequence[asyncpg.Record], keys: MasterKeys) -> int:
    """`rows` are a name and what is wrapped. Returns how many were changed: some may have been forgotten meanwhile."""
    old = [(name, wrapped) for name, wrapped in rows if not wrapped.startswith(keys.current.id)]
    if not old:
        return 0
    names, wrapped = zip(*old, strict=True)
    return int(await connection.fetchval(sql, names, wrapped, [keys.wrap(keys.unwrap(one)) for one in wrapped]))
