"""What clients say on the WebSocket: one struct for each action, and what is said of a message that is none of them."""

from __future__ import annotations

import datetime
from typing import Annotated, Any, Final, Literal

import msgspec

from domain.rules.ids import DoctorId
from gateway.live.messages import Error, ErrorCode

HEARTBEAT_SECONDS: Final = (5, 60)
DEPARTMENT_LENGTH: Final = 100
DOCTORS_AT_MOST: Final = 1_000


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


class Unsubscribe(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="unsubscribe", tag_field="action"):
    """Show me nothing for now."""


class Ping(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="ping", tag_field="action"):
    """Are you there?"""


Message = Subscribe | Unsubscribe | Ping


class Misunderstood(Exception):
    """The message is not one; `error` is the answer."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        self.error = Error(code=code, message=message)
        super().__init__(message)


_TYPES: Final[dict[str, Any]] = {"subscribe": Subscribe, "unsubscribe": Unsubscribe, "ping": Ping}


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
    if action == "subscribe" and not _is_date(told.get("date")):
        raise Misunderstood("invalid_date", "`date` is missing, or no date (YYYY-MM-DD)")
    try:
        message: Message = msgspec.convert(told, _TYPES[action])
    except msgspec.ValidationError as error:
        raise Misunderstood("invalid_message", str(error)) from None
    return message


def _is_date(told: object) -> bool:
    try:
        msgspec.convert(told, datetime.date)
    except msgspec.ValidationError:
        return False
    return isinstance(told, str)
