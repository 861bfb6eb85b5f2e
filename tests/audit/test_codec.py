"""What is recorded of a look stays readable, byte for byte, for as long as there are logs."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest

from domain.audit import codec
from domain.audit.codec import Draft, Meta, Viewer, to_draft, type_of
from domain.audit.looks import LOOKS, Look
from domain.log.codec import NewerEvent, UnreadableEvent
from tests.audit.expected import AT, EXPECTED

FULL = Viewer(actor="desk-2", role="reception", address="10.0.0.7", correlation_id="7f3a")
BARE = Viewer(actor="desk-2", role="reception")


def _draft(row: dict[str, Any]) -> Draft:
    day = date.fromisoformat(row["day"]) if row["day"] else None
    subject = UUID(row["subject"]) if row["subject"] else None
    return Draft(row["stream"], row["version"], row["type"], day, subject, row["data"].encode(), row["meta"].encode())


GOLDEN = {
    row["name"]: _draft(row) for row in json.loads(Path(__file__).with_name("golden.json").read_text(encoding="utf-8"))
}


def _read(draft: Draft, **changed: Any) -> codec.Recorded:
    row = {name: getattr(draft, name) for name in draft.__slots__} | changed
    return codec.recorded((7, *row.values(), AT))  # type: ignore[arg-type]  # a row's values, in the order of columns


@pytest.mark.parametrize("name", GOLDEN)
def test_stored_bytes_still_say_what_they_said(name: str) -> None:
    draft = GOLDEN[name]
    read = _read(draft)
    assert (read.position, read.stream, read.version, read.recorded_at) == (7, draft.stream, draft.version, AT)
    assert read.look == EXPECTED[name]


@pytest.mark.parametrize("name", GOLDEN)
def test_a_look_is_stored_as_exactly_these_bytes(name: str) -> None:
    draft = GOLDEN[name]
    viewer = BARE if b"correlation_id" not in draft.meta else FULL
    assert to_draft(EXPECTED[name], viewer, AT, stream=draft.stream, version=draft.version) == draft


def test_every_version_of_every_look_has_golden_bytes() -> None:
    assert GOLDEN.keys() == EXPECTED.keys()
    assert {draft.type for draft in GOLDEN.values()} == {
        f"{look.TOPIC}@{version}" for look in LOOKS for version in range(1, look.class_version + 1)
    }


@pytest.mark.parametrize("look", LOOKS)
def test_every_field_of_every_look_is_in_its_golden_bytes_and_what_may_be_left_out_in_none_of_others(
    look: type[Look],
) -> None:
    full = EXPECTED[type_of(look)]
    optional = {field.name: field.default for field in msgspec.structs.fields(look) if not field.required}
    assert [name for name, default in optional.items() if getattr(full, name) == default] == []
    if optional:
        bare = EXPECTED[f"{type_of(look)} bare"]
        assert [name for name, default in optional.items() if getattr(bare, name) != default] == []


def test_who_looked_and_when_is_stored_as_these_bytes() -> None:
    who = {draft.meta for draft in GOLDEN.values()}
    assert who == {
        b'{"at":"2025-11-17T03:45:00.123456Z","actor":"desk-2","role":"reception","address":"10.0.0.7",'
        b'"correlation_id":"7f3a"}',
        b'{"at":"2025-11-17T03:45:00.123456Z","actor":"desk-2","role":"reception"}',
    }
    for meta in who:
        assert msgspec.json.encode(msgspec.json.decode(meta, type=Meta)) == meta


def test_what_a_newer_release_wrote_is_told_from_what_is_broken() -> None:
    draft = GOLDEN["patients-searched@1"]
    for newer in ("patients-searched@2", "thoughts-read@1"):
        with pytest.raises(NewerEvent, match=newer):
            _read(draft, type=newer)
    for data in (b"", b"{}", b"[]", b"null", b"\xff", b'{"patients":["Jane Doe"]}', b'{"x":' + b"[" * 100_000):
        with pytest.raises(UnreadableEvent, match="patients-searched@1 in reader/"):
            _read(draft, data=data)
    with pytest.raises(UnreadableEvent):
        _read(draft, meta=b'{"actor":"desk-2","role":"reception"}')
