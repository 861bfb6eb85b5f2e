"""One frame, many monitors.

A channel is what many monitors watch alike: one date, of all doctors or of one. Each state it publishes is encoded
and framed once; the same bytes go to every monitor's transport. A monitor that has not drained the last frame is
skipped and gets the newest state when it has: it may miss states, never go back, and always ends at the newest.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Final, Protocol

from domain.rules.ids import DoctorId, clinic_stream
from gateway.live.envelopes import Pieces, day_state, doctor_state, envelope, update
from projections.board import DayBoard

if TYPE_CHECKING:
    from gateway.parts import Parts

GAP_SECONDS: Final = 0.020
"""The least time between two full updates of one channel..."""
GAP_BYTES_PER_SECOND: Final = 20_000_000
"""...and they are further apart the larger they are: a 2 MB day is sent at most every 100 ms."""
JOINED_BYTES: Final = 64 * 1024
"""Up to here one piece is cheaper to send than several."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A WebSocket text message as a server sends it (RFC 6455, section 5.2), in pieces that all monitors share."""

    pieces: tuple[bytes, ...]
    size: int


def text_frame(body: Sequence[bytes]) -> Frame:
    size = sum(map(len, body))
    if size < 126:
        head = bytes((0x81, size))
    elif size < 65536:
        head = struct.pack("!BBH", 0x81, 126, size)
    else:
        head = struct.pack("!BBQ", 0x81, 127, size)
    pieces = (head, *body) if size > JOINED_BYTES else (b"".join((head, *body)),)
    return Frame(pieces, len(head) + size)


class Watcher(Protocol):
    """A monitor, as a channel sees it."""

    def offer(self) -> None:
        """There is a newer state. Never blocks."""

    def lose(self) -> None:
        """What is watched can no longer be shown."""


@dataclass(slots=True, eq=False)
class Channel:
    parts: Parts
    board: DayBoard
    doctor_id: DoctorId | None
    watchers: dict[Watcher, None] = field(default_factory=dict)
    published: int = 0
    """The newest state that was published; what it was before the first is nobody's business."""
    frame: Frame = Frame((), 0)
    _snapshot: tuple[int, Frame] = (-1, Frame((), 0))
    _due: float = 0.0
    _timer: asyncio.TimerHandle | None = None

    @property
    def sequence(self) -> int:
        """The newest state of what this channel shows."""
        if self.doctor_id is None:
            return self.board.sequence
        clinic = self.board.clinics.get(clinic_stream(self.doctor_id, self.board.date))
        return clinic.changed if clinic else 0

    @property
    def frame_bytes(self) -> int:
        """The largest that a monitor of this channel may have been sent at once."""
        return max(self.frame.size, self._snapshot[1].size)

    def snapshot(self) -> tuple[int, Frame]:
        """(sequence, frame) of the state as it is now; made once per state."""
        if self._snapshot[0] != self.sequence:
            sequence, data = self._state()
            self._snapshot = sequence, text_frame(envelope("snapshot", self.parts.epoch, sequence, data))
        return self._snapshot

    def changed(self) -> None:
        if self._timer is None and self.watchers and self.sequence > self.published:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(max(self._due, loop.time()), self._publish)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _publish(self) -> None:
        self._timer = None
        stream = clinic_stream(self.doctor_id, self.board.date) if self.doctor_id else None
        news = self.board.news_after(self.published, stream)
        sequence, data = self._state()
        self.frame = text_frame(update(self.parts.epoch, self.published, sequence, news, data))
        self.published = sequence
        gap = max(GAP_SECONDS, self.frame.size / GAP_BYTES_PER_SECOND)
        self._due = asyncio.get_running_loop().time() + gap
        for watcher in list(self.watchers):
            watcher.offer()

    def _state(self) -> tuple[int, Pieces]:
        if self.doctor_id is None:
            return day_state(self.parts, self.board)
        return doctor_state(self.parts, self.board, self.doctor_id)


class Fanout:
    """The channels that somebody watches."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._channels: dict[tuple[date, DoctorId | None], Channel] = {}

    def tell(self, board: DayBoard) -> None:
        """The projector's word that a board has changed."""
        for channel in list(self._channels.values()):
            if channel.board is board:
                channel.changed()

    def give_up(self, board: DayBoard) -> None:
        """The word of `Boards` that a board is wrong, and will not change any more."""
        for channel in [channel for channel in self._channels.values() if channel.board is board]:
            for watcher in list(channel.watchers):
                watcher.lose()

    def join(self, board: DayBoard, doctor_id: DoctorId | None, watcher: Watcher) -> Channel:
        """The board must stay loaded while it is watched: see Boards.watch."""
        key = board.date, doctor_id
        channel = self._channels.get(key)
        if channel is None:
            channel = self._channels[key] = Channel(self._parts, board, doctor_id)
            channel.published = channel.sequence
        channel.watchers[watcher] = None
        return channel

    def leave(self, channel: Channel, watcher: Watcher) -> None:
        channel.watchers.pop(watcher, None)
        if not channel.watchers:
            channel.close()
            self._channels.pop((channel.board.date, channel.doctor_id), None)
