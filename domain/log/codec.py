"""Event ⇄ stored bytes: the library's Mapper over msgspec, with upcasting by version.

    column          in the event
    stream          originator_id
    version         originator_version
    type            TOPIC@class_version
    subject         the field named by SUBJECT
    meta            timestamp (its effective_at); who, and from which command
    data            every other field that differs from its default, as JSON

A row never changes, so neither may what these bytes mean: tests/log/golden.json holds some of every version.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from functools import cache
from typing import Annotated, Any, Final, NoReturn, cast
from uuid import UUID

import msgspec
from eventsourcing.domain import DomainEventProtocol
from eventsourcing.persistence import Mapper, Notification, StoredEvent, Transcoder
from eventsourcing.utils import resolve_topic

from domain.rules import events
from domain.rules.events import Event, day_of


class Meta(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who and when, and from which command. `actor` is an opaque id, never a name. Stored as JSON."""

    effective_at: datetime
    command: str
    command_id: UUID
    correlation_id: str | None = None
    actor: str
    role: str


@dataclass(frozen=True, slots=True)
class Draft(StoredEvent):
    """An event ready to be appended."""

    day: date | None
    subject: UUID
    meta: bytes


@dataclass(frozen=True, slots=True)
class Recorded(Notification):
    """An event as the log holds it; `id` is its position."""

    day: date | None
    subject: UUID
    meta: bytes
    recorded_at: datetime


class NewerEvent(Exception):
    """The log holds an event of a kind or version that this release does not know: a newer release wrote it."""


class UnreadableEvent(Exception):
    """The bytes of a stored event are not what its type says."""


class _NoTranscoder(Transcoder):
    """The library's Mapper asks for one; structs encode themselves."""

    def encode(self, obj: Any) -> NoReturn:
        raise AssertionError("events are encoded by msgspec")

    def decode(self, data: bytes) -> NoReturn:
        raise AssertionError("events are decoded by msgspec")


class _EffectiveAt(msgspec.Struct):
    """The one part of Meta that folding needs."""

    effective_at: Annotated[datetime, msgspec.Meta(tz=True)]


_encode: Final = msgspec.json.Encoder().encode
_decode_meta: Final = msgspec.json.Decoder(Meta).decode
_decode_effective_at: Final = msgspec.json.Decoder(_EffectiveAt).decode
_decode_state: Final = msgspec.json.Decoder(dict[str, Any]).decode
_set: Final = msgspec.structs.force_setattr
_BROKEN: Final = (msgspec.DecodeError, ValueError, KeyError, RecursionError)
"""What comes of bytes that are no JSON, or too deep a one, and of those that an upcast or a type's number trips on."""
_KNOWN: Final[Mapping[str, type[Event]]] = {
    cls.TOPIC: cls
    for cls in vars(events).values()
    if isinstance(cls, type) and issubclass(cls, Event) and "TOPIC" in vars(cls)
}


def read_meta(meta: bytes) -> Meta:
    return _decode_meta(meta)


def type_of(event: type[Event]) -> str:
    return f"{event.TOPIC}@{event.class_version}"


def event_name(stored_type: str) -> str:
    """What clients see as an event's `type`: `patient-called@1` is `PatientCalled`."""
    topic = stored_type.partition("@")[0]
    return _KNOWN[topic].__name__ if topic in _KNOWN else topic


class EventMapper(Mapper[str]):
    """Between events and their stored form.

    `resolve` finds the class for a topic. The library's own gives the class that folds into its aggregate; for the
    read side, `facts()` gives the plain class of domain/rules/events.py, made for dispatch on `type(event)`.
    """

    def __init__(self, resolve: Callable[[str], Any] = resolve_topic) -> None:
        super().__init__(_NoTranscoder())
        self._resolve = resolve
        self._decoders: dict[str, tuple[Callable[[bytes], Event], str | None]] = {}

    def to_stored_event(self, domain_event: DomainEventProtocol[str]) -> StoredEvent:
        return self.to_draft(cast(Event, domain_event), meta=b"{}")

    def to_draft(self, event: Event, *, meta: bytes) -> Draft:
        """`meta` is an encoded Meta whose effective_at is the event's timestamp."""
        cls = type(event)
        data = _encode(msgspec.structs.replace(event, **_in_columns(cls)))
        stream = event.originator_id
        return Draft(stream, event.originator_version, type_of(cls), data, day_of(stream), _subject(event), meta)

    def to_domain_event(self, stored_event: StoredEvent) -> Event:
        """Takes a Recorded or a Draft. Raises NewerEvent, UnreadableEvent."""
        stored = cast(Recorded, stored_event)
        return self.read(
            stored.topic, stored.state, stored.originator_id, stored.originator_version, stored.subject, stored.meta
        )

    def read(self, stored_type: str, data: bytes, stream: Any, version: int, subject: UUID, meta: bytes) -> Event:
        """The same from bare columns: a board reads 10,000 rows this way."""
        try:
            known = self._decoders.get(stored_type)
            if known is None:
                known = self._decoders[stored_type] = self._decoder(stored_type)
            decode, subject_field = known
            event = decode(data)
            _set(event, "timestamp", _decode_effective_at(meta).effective_at)
        except _BROKEN as error:
            raise UnreadableEvent(f"{stored_type} in {stream} at version {version}: {error}") from error
        _set(event, "originator_id", stream)
        _set(event, "originator_version", version)
        if subject_field is not None:
            _set(event, subject_field, subject)
        return event

    def _decoder(self, stored_type: str) -> tuple[Callable[[bytes], Event], str | None]:
        topic, _, number = stored_type.partition("@")
        version = int(number)
        if version < 1:
            raise ValueError("versions count from 1")
        if topic not in _KNOWN or version > _KNOWN[topic].class_version:
            raise NewerEvent(f"{stored_type} was written by a newer release than this one")
        cls: type[Event] = self._resolve(topic)
        if version == cls.class_version:
            return msgspec.json.Decoder(cls).decode, cls.SUBJECT

        def upcast(data: bytes) -> Event:
            state = _decode_state(data)
            for older in range(version, cls.class_version):
                getattr(cls, f"upcast_v{older}_v{older + 1}")(state)
            return msgspec.convert(state, cls)

        return upcast, cls.SUBJECT


def facts() -> EventMapper:
    """The mapper of the read side."""
    return EventMapper(_KNOWN.__getitem__)


def _subject(event: Event) -> UUID:
    if event.SUBJECT is not None:
        return cast(UUID, getattr(event, event.SUBJECT))
    return UUID(event.originator_id.split("/")[1])  # the doctor, or the patient, whose stream it is


@cache
def _in_columns(cls: type[Event]) -> dict[str, Any]:
    """The fields that columns hold, each with its default: what equals its default is not written."""
    kept_elsewhere = {"originator_id", "originator_version", "timestamp", "originator_topic", cls.SUBJECT}
    return {field.name: field.default for field in msgspec.structs.fields(cls) if field.name in kept_elsewhere}
