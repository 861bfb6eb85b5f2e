"""The master keys: from a file made at first start, or from the environment. Everything in the vault hangs on them.

Mostly there is one. While the vault is wrapped anew there are two, and it is for the store to say which of them wraps
(see known.py and rotate.py). Whatever is wrapped begins with the id of the master key that opens it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap

from domain.vault.keyfile import KEY_BYTES, KeyFile, MalformedKeys, decoded

ID_BYTES: Final = 8
SECRET_NAMES: Final = ("search", "claim", "request")


class WrongMasterKey(Exception):
    """The master key is missing, malformed, or not the one that this store was made with."""


class MasterKeyMissing(OSError):
    """The store names a master key that is not at hand. Like a store out of reach, it may be there in a moment:
    somebody is wrapping the vault anew, and this machine's copy of the file is behind."""


@dataclass(frozen=True, slots=True, repr=False)
class MasterKey:
    """Wraps other keys; seals nothing by itself, so that a new one only has to wrap those again."""

    _wrapping: bytes
    check: bytes
    """Tells one master key from another, and tells nothing about it."""

    @classmethod
    def of(cls, key: bytes) -> MasterKey:
        return cls(_derive(key, b"daysheet/wrap/1"), _derive(key, b"daysheet/check/1")[:16])

    @property
    def id(self) -> bytes:
        return self.check[:ID_BYTES]

    def wrap(self, key: bytes) -> bytes:
        return self.id + aes_key_wrap(self._wrapping, key)

    def unwrap(self, wrapped: bytes) -> bytes:
        """Raises WrongMasterKey."""
        try:
            if not wrapped.startswith(self.id):
                raise InvalidUnwrap
            return aes_key_unwrap(self._wrapping, wrapped[ID_BYTES:])
        except InvalidUnwrap as error:
            raise WrongMasterKey("a key in the vault was not wrapped by this master key") from error

    def fresh_secrets(self) -> dict[str, bytes]:
        """New store-wide secrets, wrapped: for search tokens, claims and idempotency keys."""
        return {name: self.wrap(secrets.token_bytes(KEY_BYTES)) for name in SECRET_NAMES}


class MasterKeys:
    """Those at hand. One of them wraps, at first the first; each unwraps what it has wrapped.

    They are read again when one is asked for that is not among them. Once seen they stay: a key that was fetched
    before its master key was retired may be opened after.
    """

    def __init__(self, read: Callable[[], Sequence[MasterKey]]) -> None:
        """Raises what `read` does."""
        self._read = read
        keys = read()
        self._by_id = {key.id: key for key in keys}
        self.current = keys[0]

    def use(self, check: bytes) -> None:
        """Wrap with this one from now on. Raises MasterKeyMissing."""
        self.current = self._named(check[:ID_BYTES])

    def have(self, check: bytes) -> bool:
        return check[:ID_BYTES] in self._by_id

    def wrap(self, key: bytes) -> bytes:
        return self.current.wrap(key)

    def unwrap(self, wrapped: bytes) -> bytes:
        """Raises WrongMasterKey, MasterKeyMissing."""
        return self._named(wrapped[:ID_BYTES]).unwrap(wrapped)

    def unwrap_all(self, wrapped: Mapping[str, bytes]) -> dict[str, bytes]:
        return {name: self.unwrap(value) for name, value in wrapped.items()}

    def _named(self, id_: bytes) -> MasterKey:
        if id_ not in self._by_id:
            try:
                self._by_id |= {key.id: key for key in self._read()}
            except (WrongMasterKey, OSError) as error:  # It may be being copied to this machine this very moment.
                raise MasterKeyMissing(f"master key {id_.hex()} is not at hand: {error}") from error
        if id_ not in self._by_id:
            raise MasterKeyMissing(f"master key {id_.hex()} is not at hand: bring the newest key file to this machine")
        return self._by_id[id_]


def read_master_keys(given: str | None, file: Path, *, may_make: bool) -> MasterKeys:
    """Those given as base64 text, else the file's. `may_make`: a store that is still empty may get a new one.

    Raises WrongMasterKey, saying what to do.
    """
    if given is None and may_make and not file.exists():
        KeyFile(file).make()
    return MasterKeys(lambda: at_hand(given, file))


def at_hand(given: str | None, file: Path) -> list[MasterKey]:
    """In the order in which they are given, at least one. Raises WrongMasterKey."""
    try:
        keys = decoded(given, "DAYSHEET_MASTER_KEY") if given is not None else KeyFile(file).read()
    except FileNotFoundError:
        raise WrongMasterKey(
            f"this store has a master key already, and {file} is not there: bring the file back, "
            "or set DAYSHEET_MASTER_KEY"
        ) from None
    except MalformedKeys as error:
        raise WrongMasterKey(str(error)) from None
    return [MasterKey.of(key) for key in keys]


def _derive(key: bytes, purpose: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=purpose).derive(key)
