"""What the server says on the WebSocket: one struct for each type of message.

A state's bytes are put together in gateway/live/envelopes.py from what is encoded already, and must equal what
msgspec makes of these; the AsyncAPI document and the types of the browser's client are made from them too.
"""

from __future__ import annotations

from typing import Generic, Literal, TypeVar

import msgspec

from domain.rules.ids import AppointmentId, DoctorId

Data = TypeVar("Data")
"""One of the shapes of projections/shapes.py: a Day, a DoctorDay, a DayChange, or what the public may see of them."""

ErrorCode = Literal[
    "invalid_json", "invalid_message", "unknown_action", "invalid_date", "too_many_subscriptions", "unavailable"
]


class Happened(msgspec.Struct, frozen=True, kw_only=True):
    """One event that led to a state. A change of a person's details has no doctor and no appointment."""

    sequence: int
    type: str
    doctor_id: DoctorId | None
    appointment_id: AppointmentId | None


class Replayed(msgspec.Struct, frozen=True, kw_only=True):
    """Where a replay is: the last event in the state, when it was recorded or effective, and its type.

    A snapshot may stand elsewhere than at an event: `at` is the time that was sought. Before the first event `sequence`
    is 0 and `event` null. `begins` and `ends`, in a snapshot: the times of the first and the last event of the date's
    own hours; null where it has none.
    """

    sequence: int
    at: str
    event: str | None
    begins: str | msgspec.UnsetType | None = msgspec.UNSET
    ends: str | msgspec.UnsetType | None = msgspec.UNSET


class Snapshot(msgspec.Struct, Generic[Data], frozen=True, kw_only=True, tag="snapshot", tag_field="type"):
    """The whole state: the first answer to a subscription, to a replay and to a seek."""

    epoch: str
    sequence: int
    data: Data
    replay: Replayed | msgspec.UnsetType = msgspec.UNSET


class Update(msgspec.Struct, Generic[Data], frozen=True, kw_only=True, tag="update", tag_field="type"):
    """The whole state again, after something happened.

    `from`: the state published before this one. `events`: what happened after it; null where that is more than 100,
    and none in the public view. In a replay, by effective time, a late entry's state has the `sequence` of newer ones.
    """

    epoch: str
    from_: int = msgspec.field(name="from")
    sequence: int
    events: list[Happened] | None
    data: Data
    replay: Replayed | msgspec.UnsetType = msgspec.UNSET


class Delta(msgspec.Struct, Generic[Data], frozen=True, kw_only=True, tag="delta", tag_field="type"):
    """What changed after `from`. It may be applied to any state from `from` on, and twice."""

    epoch: str
    from_: int = msgspec.field(name="from")
    sequence: int
    events: list[Happened] | None
    data: Data


class Heartbeat(msgspec.Struct, frozen=True, kw_only=True, tag="heartbeat", tag_field="type"):
    """A client whose own sequence is below `sequence` has missed something.

    `head`: the newest event of the log. `lag_seconds`: how long ago what the server shows was known to be the newest.
    """

    sequence: int
    head: int
    lag_seconds: float
    timestamp: str


class Status(msgspec.Struct, frozen=True, kw_only=True, tag="status", tag_field="type"):
    """Whether boards follow what happens. While they do not, the last one stays; `since` when."""

    live: bool
    since: str


class Unsubscribed(msgspec.Struct, frozen=True, kw_only=True, tag="unsubscribed", tag_field="type"):
    """Nothing is shown any more."""


class ReplayEnd(msgspec.Struct, frozen=True, kw_only=True, tag="replay_end", tag_field="type"):
    """A replay has shown all there is. It may still be sought in, and played on when more has happened."""


class Pong(msgspec.Struct, frozen=True, kw_only=True, tag="pong", tag_field="type"):
    """The answer to a ping."""

    timestamp: str


class Error(msgspec.Struct, frozen=True, kw_only=True, tag="error", tag_field="type"):
    """Something was wrong with a message. The connection stays."""

    code: ErrorCode
    message: str
