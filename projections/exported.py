"""An exported date by itself, without the store: is each event what the log's checkpoint was signed over?

Whoever was given an export can check it like this, and then needs to know one thing only: that the key is the store's.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final, TypeVar

import msgspec

from domain.ledger import tree
from domain.ledger.checkpoint import Checkpoint, NoCheckpoint, VerifierKey
from domain.ledger.leaf import Row, leaf_hash, tag
from domain.ledger.logs import EVENT
from projections.shapes import ExportedEvent, ExportEnd, ExportHead

Line = TypeVar("Line")

_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_TAG: Final = tag(EVENT)

_decode_head: Final = msgspec.json.Decoder(ExportHead).decode
_decode_event: Final = msgspec.json.Decoder(ExportedEvent).decode
_decode_end: Final = msgspec.json.Decoder(ExportEnd).decode


class NotProven(Exception):
    """A line of an export is not what was signed, or there is nothing to prove it with; the message says which."""


@dataclass(frozen=True, slots=True)
class Proven:
    """`events` there are; `without_proof` of them are newer than the checkpoint. `key`: what that is signed with."""

    events: int
    without_proof: int
    size: int
    key: str


def check(lines: Iterable[bytes], key: VerifierKey | None = None) -> Proven:
    """`lines`: of an export as `ndjson`. `key`: known from elsewhere; else the one that the export itself names.

    Raises NotProven.
    """
    numbered = enumerate(lines, 1)
    head = _decoded(_decode_head, next(numbered, (1, b"")))
    if head.key is None or head.checkpoint is None:
        raise NotProven("it holds no checkpoint: nothing was sealed when it was made")
    try:
        named, checkpoint = VerifierKey.of(head.key), Checkpoint.of(head.checkpoint)
    except NoCheckpoint as error:
        raise NotProven(f"line 1: {error}") from None
    if not checkpoint.signed_by(key or named) or checkpoint.origin != EVENT.origin(head.store_id):
        raise NotProven("line 1: the checkpoint is not signed by the key of this store's events")
    events = without_proof = last = 0
    for number, line in numbered:
        if line.startswith(b'{"end":'):
            end = _decoded(_decode_end, (number, line))
            if end.events != events:
                raise NotProven(f"line {number}: of {end.events} events {events} are there")
            return Proven(events, without_proof, checkpoint.size, str(key or named))
        event = _decoded(_decode_event, (number, line))
        if event.sequence <= last:
            raise NotProven(f"line {number}: event {event.sequence} comes after {last}")
        events, last = events + 1, event.sequence
        without_proof += not _is_proven(event, checkpoint, number)
    raise NotProven("its last line is missing: it was cut off")


def _is_proven(event: ExportedEvent, checkpoint: Checkpoint, number: int) -> bool:
    """False for an event that is newer than the checkpoint. Raises NotProven."""
    if event.proof is None:
        if event.sequence <= checkpoint.size:
            raise NotProven(f"line {number}: event {event.sequence} has no proof")
        return False
    try:
        hashes = [base64.b64decode(hash_, validate=True) for hash_ in event.proof.hashes]
        made = leaf_hash(_TAG, _row(event), event.sequence)
    except (binascii.Error, ValueError):
        raise NotProven(f"line {number}: event {event.sequence} has a proof that cannot be read") from None
    if not tree.includes(made, event.sequence - 1, checkpoint.size, hashes, checkpoint.root):
        raise NotProven(f"line {number}: event {event.sequence} is not what was signed")
    return True


def _row(event: ExportedEvent) -> Row:
    stored = event.stored
    return Row(
        position=event.sequence,
        recorded_at=(datetime.fromisoformat(event.recorded_at_utc) - _EPOCH) // _MICROSECOND,
        version=event.version,
        day=(stored.day - date(2000, 1, 1)).days if stored.day is not None else None,
        subject=stored.subject.bytes,
        stream=event.stream.encode(),
        type=stored.type.encode(),
        meta=stored.meta.encode(),
        data=stored.data.encode(),
    )


def _decoded(decode: Callable[[bytes], Line], line: tuple[int, bytes]) -> Line:
    number, text = line
    try:
        return decode(text)
    except (msgspec.DecodeError, ValueError) as error:
        raise NotProven(f"line {number} is none of an export: {error}") from None
