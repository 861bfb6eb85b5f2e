"""Look ⇄ stored bytes, with the columns that the log of events has, too.

    column          in the look
    type            TOPIC@class_version
    day             the field named by DAY
    subject         the field named by SUBJECT
    meta            when, who, from where
    data            every other field that differs from its default, as JSON

A row never changes, so neither may what these bytes mean: tests/audit/golden.json holds some of every version.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import msgspec

from domain.audit.looks import LOOKS, Look
from domain.log.codec import NewerEvent, UnreadableEvent

if TYPE_CHECKING:
    import asyncpg


@dataclass(frozen=True, slots=True, kw_only=True)
class Viewer:
    """Who looks. `actor` is an opaque id; `address` the one they come from; `correlation_id` the asker's own."""

    actor: str
    role: str
    address: str | None = None
    correlation_id: str | None = None


class Meta(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who, from where, and when: `at` is earlier than recorded_at where the record had to wait. Stored as JSON."""

    at: datetime
    actor: str
    role: str
    address: str | None = None
    correlation_id: str | None = None


@dataclass(frozen=True, slots=True)
class Draft:
    """A look ready to be recorded."""

    stream: str
    version: int
    type: str
    day: date | None
    subject: UUID | None
    data: bytes
    meta: bytes


@dataclass(frozen=True, slots=True)
class Recorded:
    """A look as the log holds it."""

    position: int
    stream: str
    version: int
    look: Look
    meta: Meta
    recorded_at: datetime


_KNOWN: Final[Mapping[str, type[Look]]] = {f"{look.TOPIC}@{look.class_version}": look for look in LOOKS}
_encode: Final = msgspec.json.Encoder().encode
_decode_meta: Final = msgspec.json.Decoder(Meta).decode
_decode_data: Final = msgspec.json.Decoder(dict[str, Any]).decode


def type_of(look: type[Look]) -> str:
    return f"{look.TOPIC}@{look.class_version}"


def to_draft(look: Look, viewer: Viewer, at: datetime, *, stream: str, version: int) -> Draft:
    data = msgspec.to_builtins(look)
    for column in (look.DAY, look.SUBJECT):
        if column is not None:
            data.pop(column, None)
    meta = Meta(
        at=at,
        actor=viewer.actor,
        role=viewer.role,
        address=viewer.address,
        correlation_id=viewer.correlation_id,
    )
    day = getattr(look, look.DAY) if look.DAY is not None else None
    subject = getattr(look, look.SUBJECT) if look.SUBJECT is not None else None
    return Draft(stream, version, type_of(type(look)), day, subject, _encode(data), _encode(meta))


def recorded(row: asyncpg.Record) -> Recorded:
    """From a row of read.COLUMNS. Raises NewerEvent, UnreadableEvent."""
    position, stream, version, stored_type, day, subject, data, meta, recorded_at = row
    look = _KNOWN.get(stored_type)
    if look is None:
        raise NewerEvent(f"{stored_type} was written by a newer release than this one")
    try:
        fields = _decode_data(data)
        for column, value in ((look.DAY, day), (look.SUBJECT, subject)):
            if column is not None:
                fields[column] = value
        return Recorded(position, stream, version, msgspec.convert(fields, look), _decode_meta(meta), recorded_at)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise UnreadableEvent(f"{stored_type} in {stream} at version {version}: {error}") from error
