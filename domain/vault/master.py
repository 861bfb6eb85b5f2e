"""The master key: from a file made at first start, or from the environment. Everything in the vault hangs on it."""

from __future__ import annotations

import base64
import binascii
import os
import secrets
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap

KEY_BYTES: Final = 32
SECRET_NAMES: Final = ("search", "claim", "request")


class WrongMasterKey(Exception):
    """The master key is missing, malformed, or not the one that this store was made with."""


@dataclass(frozen=True, slots=True, repr=False)
class MasterKey:
    """Wraps other keys; seals nothing by itself, so that a new one only has to wrap those again."""

    _wrapping: bytes
    check: bytes
    """Tells one master key from another, and tells nothing about it."""

    @classmethod
    def of(cls, key: bytes) -> MasterKey:
        return cls(_derive(key, b"daysheet/wrap/1"), _derive(key, b"daysheet/check/1")[:16])

    def wrap(self, key: bytes) -> bytes:
        return aes_key_wrap(self._wrapping, key)

    def unwrap(self, wrapped: bytes) -> bytes:
        """Raises WrongMasterKey."""
        try:
            return aes_key_unwrap(self._wrapping, wrapped)
        except InvalidUnwrap as error:
            raise WrongMasterKey("a key in the vault was not wrapped by this master key") from error

    def fresh_secrets(self) -> dict[str, bytes]:
        """New store-wide secrets, wrapped: for search tokens, claims and idempotency keys."""
        return {name: self.wrap(secrets.token_bytes(KEY_BYTES)) for name in SECRET_NAMES}

    def unwrap_all(self, wrapped: Mapping[str, bytes]) -> dict[str, bytes]:
        return {name: self.unwrap(value) for name, value in wrapped.items()}


def read_master_key(given: str | None, file: Path, *, may_make: bool) -> MasterKey:
    """The key given as base64 text, else the file's. `may_make`: a store that is still empty may get a new one.

    Raises WrongMasterKey, saying what to do.
    """
    if given is not None:
        return MasterKey.of(_decode(given, "DAYSHEET_MASTER_KEY"))
    if file.exists():
        return MasterKey.of(_decode(file.read_text(encoding="ascii", errors="replace"), str(file)))
    if not may_make:
        raise WrongMasterKey(
            f"this store has a master key already, and {file} is not there: bring the file back, "
            "or set DAYSHEET_MASTER_KEY"
        )
    make_key_file(file)
    return read_master_key(None, file, may_make=False)


def make_key_file(file: Path) -> None:
    """A new key. It appears in one step, whole; where two servers make one at once, there is only the first's."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, unnamed = tempfile.mkstemp(prefix=f".{file.name}-", dir=file.parent)  # mode 0600
    try:
        with os.fdopen(descriptor, "wb") as out:
            out.write(base64.b64encode(secrets.token_bytes(KEY_BYTES)) + b"\n")
            out.flush()
            os.fsync(out.fileno())  # A vault whose key is lost in a power cut is a vault lost.
        with suppress(FileExistsError):
            os.link(unnamed, file)  # A rename would replace the key that another server has just begun to use.
    finally:
        os.unlink(unnamed)
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _decode(text: str, source: str) -> bytes:
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise WrongMasterKey(f"{source} does not hold a master key: {KEY_BYTES} bytes as base64")
    return key


def _derive(key: bytes, purpose: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=purpose).derive(key)
