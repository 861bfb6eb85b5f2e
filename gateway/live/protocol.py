"""Messages on the WebSocket: what a client may say, and the small answers to it."""

from __future__ import annotations

import datetime
from typing import Any, Final, Literal

import msgspec


class Subscribe(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="subscribe", tag_field="action"):
    date: datetime.date


class Unsubscribe(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="unsubscribe", tag_field="action"):
    pass


class Ping(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="ping", tag_field="action"):
    pass


Message = Subscribe | Unsubscribe | Ping

ErrorCode = Literal["invalid_json", "invalid_message", "unknown_action", "invalid_date", "unavailable"]


class Unsubscribed(msgspec.Struct, frozen=True, tag="unsubscribed", tag_field="type"):
    pass


class Pong(msgspec.Struct, frozen=True, tag="pong", tag_field="type"):
    timestamp: str


class Error(msgspec.Struct, frozen=True, tag="error", tag_field="type"):
    code: ErrorCode
    message: str


class Misunderstood(Exception):
    """The message is not one; `error` is the answer."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        self.error = Error(code, message)
        super().__init__(message)


_TYPES: Final[dict[str, Any]] = {"subscribe": Subscribe, "unsubscribe": Unsubscribe, "ping": Ping}


def parse(text: str | bytes) -> Message:
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
