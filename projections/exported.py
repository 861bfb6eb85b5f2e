"""An exported date by itself, without the store: is each event what the log's checkpoint was signed over?

Whoever was given an export can check it like this, and then needs to know one thing only: that the key is the store's.
All that a line says of its event is held against the bytes that were signed, but for its reason where that is sealed:
what it says is between the patient and who has the key. That no event is missing can be proven by nobody who has not
the whole log.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from domain.ledger import tree
from domain.ledger.checkpoint import Checkpoint, NoCheckpoint, VerifierKey
from domain.ledger.leaf import Row, leaf_hash, tag
from domain.ledger.logs import EVENT
from domain.log.codec import NewerEvent, UnreadableEvent, event_name, facts, read_meta
from domain.rules.events import AppointmentEvent, Event
from domain.rules.ids import AppointmentId, PatientId, clinic_of
from projections.board import brings
from projections.encoding import time_in
from projections.export import exactly
from projections.history import data_of
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
    reading = _Reading(head, checkpoint)
    for number, line in numbered:
        if line.startswith(b'{"end":'):
            end = _decoded(_decode_end, (number, line))
            if end.events != reading.events:
                raise NotProven(f"line {number}: of {end.events} events {reading.events} are there")
            if next(numbered, None) is not None:
                raise NotProven(f"line {number + 1}: something comes after the end")
            return Proven(reading.events, reading.without_proof, checkpoint.size, str(key or named))
        reading.take(number, _decoded(_decode_event, (number, line)))
    raise NotProven("its last line is missing: it was cut off")


class _Reading:
    """Event by event."""

    def __init__(self, head: ExportHead, checkpoint: Checkpoint) -> None:
        self._head, self._checkpoint, self._zone = head, checkpoint, _zone(head.timezone)
        self._mapper = facts()
        self._patients: dict[AppointmentId, PatientId] = {}
        """Whose appointments these are, as far as their bookings are in the file."""
        self._last = self.events = self.without_proof = 0

    def take(self, number: int, event: ExportedEvent) -> None:
        """Raises NotProven."""
        if not self._last < event.sequence <= self._head.up_to:
            raise NotProven(f"line {number}: event {event.sequence} comes after {self._last}, up to {self._head.up_to}")
        self.events, self._last = self.events + 1, event.sequence
        self.without_proof += not _is_proven(event, self._checkpoint, number)
        for name, said in self._said(number, event).items():
            if getattr(event, name) != said:
                raise NotProven(f"line {number}: of event {event.sequence}, `{name}` is not what was signed")

    def _said(self, number: int, event: ExportedEvent) -> dict[str, Any]:
        """What its stored bytes say."""
        stored, meta_bytes = event.stored, event.stored.meta.encode()
        try:
            meta = read_meta(meta_bytes)
            fact = self._mapper.read(
                stored.type, stored.data.encode(), event.stream, event.version, stored.subject, meta_bytes
            )
            doctor_id, day = clinic_of(event.stream)
        except (NewerEvent, UnreadableEvent, msgspec.DecodeError, ValueError) as error:
            raise NotProven(f"line {number}: event {event.sequence} cannot be read: {error}") from None
        if day != self._head.date:
            raise NotProven(f"line {number}: event {event.sequence} is one of {day}")
        appointment_id = fact.appointment_id if isinstance(fact, AppointmentEvent) else None
        said = {
            "type": event_name(stored.type),
            "recorded_at": self._time(datetime.fromisoformat(event.recorded_at_utc)),
            "effective_at": self._time(meta.effective_at),
            "effective_at_utc": exactly(meta.effective_at),
            "actor": meta.actor,
            "role": meta.role,
            "command": meta.command,
            "command_id": meta.command_id,
            "correlation_id": meta.correlation_id,
            "doctor_id": doctor_id,
            "appointment_id": appointment_id,
            "data": data_of(fact, self._time),
        }
        return said | _reason(fact) | self._patient(fact, appointment_id)

    def _patient(self, fact: Event, appointment_id: AppointmentId | None) -> dict[str, Any]:
        if appointment_id is None:
            return {"patient_id": None}
        brought = brings(fact)
        if brought is not None:
            self._patients[appointment_id] = brought
        return {"patient_id": self._patients[appointment_id]} if appointment_id in self._patients else {}

    def _time(self, at: datetime) -> str:
        return time_in(self._zone, at)


def _reason(fact: Event) -> dict[str, Any]:
    """Nothing is said of one that is sealed."""
    reason = getattr(fact, "reason", None)
    return {} if isinstance(reason, bytes) else {"reason": reason}


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise NotProven(f"line 1: {name} is no time zone") from None


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
