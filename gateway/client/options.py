"""What a consumer may ask for, and what it is told of the connection."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import Literal, TypedDict
from uuid import UUID

Full = Literal["full"]
Public = Literal["public"]
Mode = Literal["delta", "full"]


class Connection(StrEnum):
    """How what is shown relates to the server.

    `stale`: it may be old: the server says that it does not follow the log, or said that there is something newer, or
    fell silent. In `connecting` and `reconnecting` the server is asked, or is about to be.
    """

    IDLE = "idle"
    CONNECTING = "connecting"
    LIVE = "live"
    STALE = "stale"
    RECONNECTING = "reconnecting"
    CLOSED = "closed"


class Options(TypedDict, total=False):
    """`doctors`, `department`: only these; not with `doctor_id`, which stands for one alone.

    `mode`: "delta" (the default) or "full". `heartbeat_seconds`: 5 to 60; a server that was silent for
    `silent_heartbeats` of them is given up, and asked anew. `compression`: where the server offers it.
    `on_connection` is called with every new state of the connection.
    """

    doctors: Iterable[UUID] | None
    department: str | None
    mode: Mode
    heartbeat_seconds: float
    silent_heartbeats: float
    compression: bool
    on_connection: Callable[[Connection], None] | None
