"""The whole day encoded afresh: by msgspec from structs that are already there, and by json.dumps from plain dicts that
are. Neither has to fold anything or to look anybody up."""

from __future__ import annotations

import json
from collections.abc import Callable

import msgspec

from projections import shapes

MSGSPEC = "msgspec.json.encode of the day's structs"
JSON = "json.dumps of the day's dicts"


def with_msgspec(day: bytes) -> Callable[[], bytes]:
    """`day`: what to encode, as JSON. It must come out the same."""
    structs = msgspec.json.decode(day, type=shapes.Day)
    encode = msgspec.json.Encoder().encode
    assert encode(structs) == day
    return lambda: encode(structs)


def with_json(day: bytes) -> Callable[[], bytes]:
    plain = json.loads(day)
    return lambda: json.dumps(plain).encode()
