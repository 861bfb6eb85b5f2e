"""The key that signs checkpoints: from a file made at first start, or from the environment. Pinned by its first use.

Whoever holds it can sign another history; whoever lost it can seal no more. So a store knows one public key, for ever,
and no other key ever seals it.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from domain.vault.keyfile import KeyFile

if TYPE_CHECKING:
    from domain.postgres.connect import Connection

KEY_BYTES: Final = 32

_PINNED: Final = "SELECT public_key FROM daysheet.ledger_key"
_PIN: Final = "SELECT daysheet.pin_ledger_key($1)"

log = structlog.get_logger()


class WrongLedgerKey(Exception):
    """The ledger's key is malformed, cannot be made, or is not the one that this store has been sealed with."""


@dataclass(frozen=True, slots=True, repr=False)
class SigningKey:
    _private: Ed25519PrivateKey
    public: bytes
    """What others need to check its signatures, and what a store is pinned to."""

    @classmethod
    def of(cls, seed: bytes) -> SigningKey:
        private = Ed25519PrivateKey.from_private_bytes(seed)
        return cls(private, private.public_key().public_bytes_raw())

    def sign(self, signed: bytes) -> bytes:
        return self._private.sign(signed)


def read_signing_key(given: str | None, file: Path, *, may_make: bool) -> SigningKey | None:
    """The key given as base64 text, else the file's; None where there is neither, and no new one may be made.

    Raises WrongLedgerKey, saying what to do.
    """
    if given is not None:
        return SigningKey.of(_decode(given, "DAYSHEET_LEDGER_KEY"))
    if not file.exists():
        if not may_make:
            return None
        try:
            KeyFile(file).make()
        except OSError as error:
            raise WrongLedgerKey(f"{file} cannot be made ({error.strerror}): or set DAYSHEET_LEDGER_KEY") from error
    return SigningKey.of(_decode(file.read_text(encoding="ascii", errors="replace"), str(file)))


async def agreed_key(connection: Connection, given: str | None, file: Path) -> SigningKey | None:
    """The key that this store is sealed with; None, with a warning, for a server that does not have it.

    A store that has none yet is pinned to this server's. Raises WrongLedgerKey.
    """
    pinned: bytes | None = await connection.fetchval(_PINNED)
    key = read_signing_key(given, file, may_make=pinned is None)
    if key is None:
        log.warning("ledger_key_missing", file=str(file), detail="this server seals nothing")
        return None
    if await connection.fetchval(_PIN, key.public) != key.public:
        raise WrongLedgerKey(
            "this store's ledger is sealed with another key than the one at hand: bring back its ledger.key, "
            "or set DAYSHEET_LEDGER_KEY; without any key the server runs, and seals nothing"
        )
    return key


def _decode(text: str, source: str) -> bytes:
    try:
        seed = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        seed = b""
    if len(seed) != KEY_BYTES:
        raise WrongLedgerKey(f"{source} does not hold a ledger key: {KEY_BYTES} bytes as base64")
    return seed
