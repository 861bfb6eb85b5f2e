"""What is stored stays readable, byte for byte, for as long as there are logs."""

import json
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest

import domain.desk.desk  # noqa: F401  (with it come the aggregates, which the library finds by topic)
from domain.log.codec import Draft, EventMapper, Meta, NewerEvent, UnreadableEvent, event_name, facts, type_of
from domain.rules import events
from domain.rules.events import Event, State, Step
from tests.log.expected import AT, BARE_STATE, EXPECTED, STATE, STEPS

EVENTS = [
    cls for cls in vars(events).values() if isinstance(cls, type) and issubclass(cls, Event) and "TOPIC" in vars(cls)
]


@dataclass(frozen=True)
class Golden:
    name: str
    draft: Draft

    @property
    def is_current(self) -> bool:
        return self.draft.topic in map(type_of, EVENTS)


def _golden(row: dict[str, Any]) -> Golden:
    day = date.fromisoformat(row["day"]) if row["day"] else None
    data, meta = row["data"].encode(), row["meta"].encode()
    return Golden(row["name"], Draft(row["stream"], row["version"], row["type"], data, day, UUID(row["subject"]), meta))


GOLDEN = [_golden(row) for row in json.loads(Path(__file__).with_name("golden.json").read_text(encoding="utf-8"))]


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda golden: golden.name)
def test_stored_bytes_still_say_what_they_said(golden: Golden) -> None:
    assert facts().to_domain_event(golden.draft) == EXPECTED[golden.name]


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda golden: golden.name)
def test_aggregates_read_the_same_as_boards(golden: Golden) -> None:
    read: Any = EventMapper().to_domain_event(golden.draft)
    assert isinstance(read, type(EXPECTED[golden.name]))
    assert msgspec.structs.asdict(read) == msgspec.structs.asdict(EXPECTED[golden.name])


@pytest.mark.parametrize("golden", [each for each in GOLDEN if each.is_current], ids=lambda golden: golden.name)
def test_an_event_is_stored_as_exactly_these_bytes(golden: Golden) -> None:
    written = EventMapper().to_draft(EXPECTED[golden.name], meta=golden.draft.meta)
    assert written == golden.draft


@pytest.mark.parametrize("cls", EVENTS)
def test_every_version_of_every_event_has_golden_bytes(cls: type[Event]) -> None:
    known = {golden.draft.topic for golden in GOLDEN}
    assert {f"{cls.TOPIC}@{version}" for version in range(1, cls.class_version + 1)} <= known


@pytest.mark.parametrize("cls", EVENTS)
def test_every_field_of_every_event_is_in_its_golden_bytes(cls: type[Event]) -> None:
    """So that no field is renamed unseen, as long as it may be left out."""
    full = EXPECTED[type_of(cls)]
    empty = [
        field.name
        for field in msgspec.structs.fields(cls)
        if field.name != "originator_topic" and getattr(full, field.name) == field.default
    ]
    assert empty == []


@pytest.mark.parametrize(("full", "bare"), [(STATE, BARE_STATE), (STEPS[1], STEPS[0])], ids=["state", "step"])
def test_every_field_of_what_events_carry_is_in_golden_bytes_and_left_out_of_others(
    full: State | Step, bare: State | Step
) -> None:
    """A moved appointment's event carries its whole state: one field renamed, and what it was is lost."""
    for field in msgspec.structs.fields(full):
        if not field.required:
            assert getattr(full, field.name) != field.default
            assert getattr(bare, field.name) == field.default


@pytest.mark.parametrize("cls", EVENTS)
def test_an_event_with_fields_that_may_be_left_out_has_bytes_without_them(cls: type[Event]) -> None:
    """So that no default is changed unseen: in the bytes it is what is not there."""
    optional = {field.name for field in msgspec.structs.fields(cls) if not field.required}
    elsewhere = {"originator_id", "originator_version", "originator_topic", "timestamp", cls.SUBJECT}
    assert (f"{type_of(cls)} bare" in EXPECTED) == bool(optional - elsewhere)


def test_who_and_when_and_from_which_command_is_stored_as_these_bytes() -> None:
    command_id = UUID("c0de0000-0000-4000-8000-000000000004")
    full = Meta(
        effective_at=AT,
        command="BookAppointment",
        command_id=command_id,
        correlation_id="7f3a",
        actor="desk-2",
        role="reception",
    )
    assert {golden.draft.meta for golden in GOLDEN} == {msgspec.json.encode(full)}
    bare = Meta(effective_at=AT, command="CallNext", command_id=command_id, actor="desk-2", role="reception")
    assert msgspec.json.encode(bare) == (
        b'{"effective_at":"2025-11-17T03:45:00.123456Z","command":"CallNext",'
        b'"command_id":"c0de0000-0000-4000-8000-000000000004","actor":"desk-2","role":"reception"}'
    )


def test_clients_see_an_event_by_the_name_of_its_class() -> None:
    assert {event_name(golden.draft.topic) for golden in GOLDEN} == {cls.__name__ for cls in EVENTS}
    assert event_name("patient-teleported@1") == "patient-teleported"


# --- what cannot be read -------------------------------------------------------------------------

MAPPERS = pytest.mark.parametrize("mapper", [EventMapper(), facts()], ids=["aggregates", "facts"])


def _read(mapper: EventMapper, **changed: Any) -> Event:
    golden = next(each for each in GOLDEN if each.name == "clinic-opened@2").draft
    row = {"stored_type": golden.topic, "data": golden.state, "meta": golden.meta} | changed
    return mapper.read(
        row["stored_type"], row["data"], golden.originator_id, golden.originator_version, golden.subject, row["meta"]
    )


@MAPPERS
@pytest.mark.parametrize("stored_type", ["clinic-opened@3", "clinic-opened@99", "patient-teleported@1"])
def test_what_a_newer_release_wrote_is_told_from_what_is_broken(mapper: EventMapper, stored_type: str) -> None:
    with pytest.raises(NewerEvent, match=stored_type):
        _read(mapper, stored_type=stored_type)


@MAPPERS
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"{}",
        b"\xff\xfe",
        b'{"capacity":"twelve","starts_at":"14:30","slot_minutes":15,"order":"slot"}',
        b'{"capacity":12,"starts_at":"14:30","slot_minutes":15,"order":"alphabet"}',
        b'{"capacity":12,"starts_at":"\xff","slot_minutes":15,"order":"slot"}',
        b'{"x":' + b"[" * 100_000,
    ],
    ids=["empty", "cut", "null", "list", "bare", "no text", "type", "literal", "inner text", "deep"],
)
@pytest.mark.parametrize("version", [1, 2])
def test_bytes_that_are_not_what_their_type_says_are_unreadable(mapper: EventMapper, version: int, data: bytes) -> None:
    if version == 1:
        data = data.replace(b',"order":"slot"', b"").replace(b',"order":"alphabet"', b',"room":7')
    with pytest.raises(UnreadableEvent, match=f"clinic-opened@{version} in clinic/d0c70000.* at version 1"):
        _read(mapper, stored_type=f"clinic-opened@{version}", data=data)


@MAPPERS
@pytest.mark.parametrize(
    "meta",
    [b"", b"{}", b"null", b"\xff", b'{"effective_at":"yesterday"}', b'{"effective_at":"2025-11-17T03:45:00"}'],
    ids=["empty", "bare", "null", "no text", "no time", "no zone"],
)
def test_an_event_without_its_time_is_unreadable(mapper: EventMapper, meta: bytes) -> None:
    with pytest.raises(UnreadableEvent, match="clinic-opened@2"):
        _read(mapper, meta=meta)


@MAPPERS
@pytest.mark.parametrize("stored_type", ["clinic-opened", "clinic-opened@", "clinic-opened@x", "clinic-opened@0", ""])
def test_a_type_without_a_version_is_unreadable(mapper: EventMapper, stored_type: str) -> None:
    with pytest.raises(UnreadableEvent):
        _read(mapper, stored_type=stored_type)


def test_columns_win_over_what_the_bytes_claim_to_be() -> None:
    lying = (
        b'{"originator_id":"clinic/x","originator_version":99,"timestamp":"2001-01-01T00:00:00Z",'
        b'"capacity":12,"starts_at":"14:30","slot_minutes":15,"room":"B2","order":"slot","reason":"a first list"}'
    )
    assert _read(facts(), data=lying) == EXPECTED["clinic-opened@2"]
