"""Checkpoints: a log's size and root, signed. C2SP tlog-checkpoint in a signed note, so that other tools read them.

    daysheet/3f0e…/event          the origin: whose log it is; also the name of its key
    1234                          how many leaves
    CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=      the root

    — daysheet/3f0e…/event Az3grl…     four bytes that name the key, and an Ed25519 signature of what is above the blank
                                       line

Others may add lines below the root, and signatures of their own; they are kept, and not looked at.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from domain.ledger.keys import SigningKey
from domain.ledger.leaf import HASH_BYTES

_ED25519: Final = b"\x01"
_KEY_ID_BYTES: Final = 4
_KEY_BYTES: Final = 32
_SIGNED_BY: Final = "\N{EM DASH} "
MOST_CHARACTERS: Final = 16_384
"""A note with some witnesses' signatures is a tenth of it."""


class NoCheckpoint(Exception):
    """This is no checkpoint, or no verifier key; the message says why."""


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A public key under the name it signs with. As text: `name+keyid+base64`, as C2SP's signed-note has it."""

    name: str
    public: bytes

    @property
    def id(self) -> bytes:
        return sha256(self.name.encode() + b"\n" + _ED25519 + self.public).digest()[:_KEY_ID_BYTES]

    def __str__(self) -> str:
        return f"{self.name}+{self.id.hex()}+{base64.b64encode(_ED25519 + self.public).decode()}"

    @classmethod
    def of(cls, text: str) -> VerifierKey:
        """Raises NoCheckpoint."""
        name, _, rest = text.strip().partition("+")
        key_id, _, encoded = rest.partition("+")
        key = _decoded(encoded)
        if len(key) != 1 + _KEY_BYTES or key[:1] != _ED25519:
            raise NoCheckpoint("a verifier key is NAME+KEYID+BASE64, of an Ed25519 key")
        known = cls(name, key[1:])
        if known.id.hex() != key_id.lower():
            raise NoCheckpoint("the verifier key's id is not that of its name and key")
        return known


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A note as it was read. `signatures`: the names, key ids and signatures below it."""

    origin: str
    size: int
    root: bytes
    signed: bytes
    signatures: tuple[tuple[str, bytes, bytes], ...]

    @classmethod
    def of(cls, note: str) -> Checkpoint:
        """Raises NoCheckpoint."""
        if len(note) > MOST_CHARACTERS:
            raise NoCheckpoint(f"a checkpoint has at most {MOST_CHARACTERS} characters")
        text, parted, below = note.rpartition("\n\n")
        origin, size, root, *_ = [*text.split("\n"), "", "", ""]
        hash_ = _decoded(root)
        if not parted or not origin or not _is_size(size) or len(hash_) != HASH_BYTES or not below.endswith("\n"):
            raise NoCheckpoint("a checkpoint is a line of origin, of size and of root, a blank line, and signatures")
        signatures = tuple(_signature(line) for line in below.splitlines())
        return cls(origin, int(size), hash_, f"{text}\n".encode(), signatures)

    def names(self, key: VerifierKey) -> bool:
        """Whether one of its signatures says that it is this key's."""
        return any((name, key_id) == (key.name, key.id) for name, key_id, _ in self.signatures)

    def signed_by(self, key: VerifierKey) -> bool:
        """Whether this key did sign it."""
        public = Ed25519PublicKey.from_public_bytes(key.public)
        return any(
            _is_signature(public, signature, self.signed)
            for name, key_id, signature in self.signatures
            if (name, key_id) == (key.name, key.id)
        )


def sign(key: SigningKey, origin: str, size: int, root: bytes) -> str:
    """A checkpoint's note."""
    text = f"{origin}\n{size}\n{base64.b64encode(root).decode()}\n"
    signature = VerifierKey(origin, key.public).id + key.sign(text.encode())
    return f"{text}\n{_SIGNED_BY}{origin} {base64.b64encode(signature).decode()}\n"


def _signature(line: str) -> tuple[str, bytes, bytes]:
    name, _, encoded = line.removeprefix(_SIGNED_BY).partition(" ")
    signature = _decoded(encoded)
    if not line.startswith(_SIGNED_BY) or not name or len(signature) <= _KEY_ID_BYTES:
        raise NoCheckpoint("below a checkpoint's blank line stand signatures, and nothing else")
    return name, signature[:_KEY_ID_BYTES], signature[_KEY_ID_BYTES:]


def _is_signature(public: Ed25519PublicKey, signature: bytes, signed: bytes) -> bool:
    try:
        public.verify(signature, signed)
    except InvalidSignature:
        return False
    return True


def _is_size(text: str) -> bool:
    """Decimal, and written in the one way there is."""
    return text.isascii() and text.isdecimal() and (text == "0" or text[0] != "0") and len(text) <= 19


def _decoded(text: str) -> bytes:
    """Nothing, for what is no base64."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""
