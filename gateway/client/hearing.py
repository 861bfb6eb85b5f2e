"""What the server says, read into the structs of the subscription: in full or for the public, of all doctors or one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from gateway.client.endings import NotUnderstood
from gateway.live.messages import Delta, Heartbeat, ReplayEnd, Snapshot, Status, Update
from projections.shapes import Day, DayChange, DoctorDay, PublicDay, PublicDayChange, PublicDoctorDay


class Refusal(msgspec.Struct, frozen=True, tag="error", tag_field="type"):
    """An `error` message. Its code is any text: a later release may have one more."""

    code: str
    message: str


_Other = Heartbeat | Status | ReplayEnd | Refusal
Heard = Snapshot[Any] | Update[Any] | Delta[Any] | _Other

_SAYS: Final[dict[tuple[bool, bool], Any]] = {
    (False, False): Snapshot[Day] | Update[Day] | Delta[DayChange] | _Other,
    (True, False): Snapshot[DoctorDay] | Update[DoctorDay] | Delta[DayChange] | _Other,
    (False, True): Snapshot[PublicDay] | Update[PublicDay] | Delta[PublicDayChange] | _Other,
    (True, True): Snapshot[PublicDoctorDay] | Update[PublicDoctorDay] | Delta[PublicDayChange] | _Other,
}
"""Of one doctor or all, for the public or not."""
UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_KINDS: Final = {"snapshot", "update", "delta", "heartbeat", "status", "replay_end", "error"}


class _Kind(msgspec.Struct, frozen=True):
    type: str


def reader(*, one_doctor: bool, public: bool) -> Callable[[bytes], Heard | None]:
    """Reads a message; None for a kind that nobody asked for, or that a later release came to have.

    Raises NotUnderstood.
    """
    decoder: msgspec.json.Decoder[Heard] = msgspec.json.Decoder(_SAYS[one_doctor, public])

    def read(message: bytes) -> Heard | None:
        try:
            return decoder.decode(message)
        except UNREADABLE as error:
            if _kind(message) in _KINDS:
                raise NotUnderstood(str(error)) from None
            return None

    return read


def _kind(message: bytes) -> str:
    try:
        return msgspec.json.decode(message, type=_Kind).type
    except UNREADABLE as error:
        raise NotUnderstood(str(error)) from None
