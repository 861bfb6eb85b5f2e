"""A row's leaf: its bytes, version 1, and their hash. docs/ledger.md has them byte by byte.

Every column is in it, in the very units PostgreSQL stores: a time or a date that has no meaning still has bytes.
daysheet.leaf (migrations/0002_ledger.sql) makes the same bytes in SQL, for the sealer; this is what `verify` makes of
the rows by itself, so that neither has to be believed.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from hashlib import sha256
from typing import Any, Final, NamedTuple

from domain.ledger.logs import Log

HASH_BYTES: Final = 32
_TAG: Final = b"daysheet-leaf/1/"
_LOG_BYTES: Final = 8
_HEAD: Final = struct.Struct(">24sqqiBi16sIIII")
_NO_SUBJECT: Final = bytes(16)
_LEAF: Final = b"\x00"
"""RFC 6962 hashes a leaf behind a zero byte, an inner node behind a one: neither can pass for the other."""


class Row(NamedTuple):
    """As stored. Times are microseconds, and dates days, since 2000-01-01 UTC; texts are UTF-8."""

    position: int
    recorded_at: int
    version: int
    day: int | None
    subject: bytes | None
    stream: bytes
    type: bytes
    meta: bytes
    data: bytes


def tag(log: Log) -> bytes:
    """What every leaf of a log begins with."""
    return _TAG + log.name.encode("ascii").ljust(_LOG_BYTES, b"\0")


def leaf(tag: bytes, row: Iterable[Any], position: int) -> bytes:
    """The leaf that a row has at a position, its own or another. `row`: what Row holds, in that order.

    Raises TypeError or struct.error for a row that holds NULL where no row of ours does.
    """
    _, recorded_at, version, day, subject, stream, type_, meta, data = row
    head = _HEAD.pack(
        tag,
        position,
        recorded_at,
        version,
        (day is not None) + 2 * (subject is not None),
        day or 0,
        _NO_SUBJECT if subject is None else subject,
        len(stream),
        len(type_),
        len(meta),
        len(data),
    )
    return b"".join((head, stream, type_, meta, data))


def leaf_hash(tag: bytes, row: Iterable[Any], position: int) -> bytes:
    """Raises as `leaf` does."""
    return sha256(_LEAF + leaf(tag, row, position)).digest()
