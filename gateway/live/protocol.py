"""What clients say on the WebSocket: one struct for each action, and what is said of a message that is none of them."""

from __future__ import annotations

import datetime
import re
from typing import Annotated, Any, Final, Literal, get_args

import msgspec

from domain.rules.ids import DoctorId
from gateway.live.messages import Error, ErrorCode
from projections.shapes import By

HEARTBEAT_SECONDS: Final = (5, 60)
DEPARTMENT_LENGTH: Final = 100
DOCTORS_AT_MOST: Final = 1_000
SLOWEST, FASTEST = 1, 3_600


class Resume(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The last state that the client has."""

    epoch: Annotated[str, msgspec.Meta(max_length=100)]
    sequence: int


class Subscribe(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="subscribe", tag_field="action"):
    """Show me this date from now on. All but `date` is optional, and null is the same as left out."""

    date: datetime.date
    mode: Literal["full", "delta"] | None = None
    resume: Resume | None = None
    heartbeat: (
        Annotated[int, msgspec.Meta(ge=HEARTBEAT_SECONDS[0], le=HEARTBEAT_SECONDS[1])]
        | Annotated[float, msgspec.Meta(ge=HEARTBEAT_SECONDS[0], le=HEARTBEAT_SECONDS[1])]
        | None
    ) = None
    doctors: Annotated[list[DoctorId], msgspec.Meta(max_length=DOCTORS_AT_MOST)] | None = None
    department: Annotated[str, msgspec.Meta(min_length=1, max_length=DEPARTMENT_LENGTH)] | None = None
    view: Literal["full", "public"] | None = None


Sought = Annotated[int, msgspec.Meta(ge=0)] | Annotated[datetime.datetime, msgspec.Meta(tz=True)]
"""A place in a date's past: up to and including a sequence, or a time with its offset."""

Speed = Annotated[float, msgspec.Meta(ge=0, le=FASTEST)]
"""So many times as fast as the day was: 1 to 3,600, or 0 for as fast as the client reads."""


class Replay(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="replay", tag_field="action"):
    """Show me this date's past, event by event, as it was recorded or as it was in effect.

    It begins at `from`, or before the first event. All but `date` is optional, and null is the same as left out.
    """

    date: datetime.date
    from_: Sought | None = msgspec.field(name="from", default=None)
    speed: Speed | None = None
    by: By | None = None


class Pause(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="pause", tag_field="action"):
    """Let the replay stand still."""


class Play(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="play", tag_field="action"):
    """Let the replay go on, as fast as before where no speed is given."""

    speed: Speed | None = None


class Seek(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="seek", tag_field="action"):
    """Let the replay be elsewhere, and go on from there if it is playing."""

    to: Sought


class Unsubscribe(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="unsubscribe", tag_field="action"):
    """Show me nothing for now: neither a date as it is nor one as it was."""


class Ping(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="ping", tag_field="action"):
    """Are you there?"""


Message = Subscribe | Replay | Pause | Play | Seek | Unsubscribe | Ping


class Misunderstood(Exception):
    """The message is not one; `error` is the answer."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        self.error = Error(code=code, message=message)
        super().__init__(message)


_TYPES: Final[dict[str, Any]] = {kind.__struct_config__.tag: kind for kind in get_args(Message)}


_PLACE: Final = "a time with its offset, such as 2025-11-17T09:15:00+05:30, or a sequence"
_WHAT: Final = {
    "speed": f"`speed` is {SLOWEST} to {FASTEST}, or 0",
    "by": "`by` is `recorded` or `effective`",
    "from": f"`from` is {_PLACE}",
    "to": f"`to` is {_PLACE}",
}
_KEY: Final = re.compile(r"`\$\.(\w+)")
"""What msgspec says is wrong, in its own words."""


def parse(text: bytes) -> Message:
    """Raises Misunderstood."""
    try:
        told = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise Misunderstood("invalid_json", "the message is not JSON") from None
    if not isinstance(told, dict):
        raise Misunderstood("invalid_message", "a message is a JSON object")
    action = told.get("action")
    if not isinstance(action, str):
        raise Misunderstood("invalid_message", "`action` is missing, or not a text")
    if action not in _TYPES:
        raise Misunderstood("unknown_action", f"known actions are {', '.join(_TYPES)}")
    if action in ("subscribe", "replay") and not _is_date(told.get("date")):
        raise Misunderstood("invalid_date", "`date` is missing, or no date (YYYY-MM-DD)")
    try:
        message: Message = msgspec.convert(told, _TYPES[action])
    except msgspec.ValidationError as error:
        key = _KEY.search(str(error))
        raise Misunderstood("invalid_message", _WHAT.get(key[1], str(error)) if key else str(error)) from None
    if isinstance(message, Replay | Play) and message.speed is not None and 0 < message.speed < SLOWEST:
        raise Misunderstood("invalid_message", _WHAT["speed"])
    return message


def meant(at: datetime.datetime) -> datetime.datetime:
    """Clients are told times to the second, so a time without a fraction stands for all of its second."""
    return at if at.microsecond else at.replace(microsecond=999_999)


def _is_date(told: object) -> bool:
    try:
        msgspec.convert(told, datetime.date)
    except msgspec.ValidationError:
        return False
    return isinstance(told, str)
