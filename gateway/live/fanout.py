"""One frame, many monitors.

A channel is what many monitors watch alike: one view of one date. It has two streams, of whole states and of deltas.
Each state that a stream publishes is encoded once, and framed once for each window of compression that its monitors
agreed on; the same bytes go to every monitor. A monitor that has not drained the last frame is skipped and gets the
newest state when it has: it may miss states, never go back, and always ends at the newest.

Whoever has the newest state, and nothing left in a buffer, stands in a crowd of bare sockets, which is handed the next
one without anybody in it being looked at: see direct.py. Only who is behind, or has something else to be told, is asked
one by one.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import date
from typing import TYPE_CHECKING, Final, Protocol

from gateway.live.direct import Handing
from gateway.live.envelopes import Body, delta, snapshot_body, snapshot_pieces, update_body, update_pieces
from gateway.live.frames import Deflater, Frame, text_frame
from projections.board import DayBoard
from projections.views import View

if TYPE_CHECKING:
    from gateway.parts import Parts

GAP_SECONDS: Final = 0.020
"""The least time between two states of one stream..."""
GAP_BYTES_PER_SECOND: Final = 20_000_000
"""...they are further apart the larger they are: a 2 MB day is sent at most every 100 ms..."""
GAP_PER_PUBLISHING: Final = 1
"""...and the longer it takes to hand one to everybody: half of the process is for others, such as commands."""
CROWD: Final = 250
"""After so many, others get their turn before the rest is handed the same state."""
FILTERS_PER_DAY: Final = 256
"""So many different choices of doctors or department are kept up to date for one date."""

PLAIN: Final = 0
"""The window of a monitor that did not agree on compression."""


class TooManySubscriptions(Exception):
    """This date is being watched through as many different filters as there may be."""


class Watcher(Protocol):
    """A monitor, as a stream sees it."""

    window_bits: int

    def offer(self) -> None:
        """There is a newer state. Never blocks."""

    def finish(self, frame: Frame, sent: int) -> None:
        """The socket took so many bytes of the state handed to its crowd: send the rest."""

    def begin_again(self) -> None:
        """What was shown so far was wrong: forget it, and take a snapshot."""

    def lose(self) -> None:
        """What is watched can no longer be shown."""


class Crowd:
    """Some of a stream's monitors, all with the same window and the same state, by the sockets they listen to."""

    def __init__(self, window_bits: int, published: int) -> None:
        self.window_bits, self.published = window_bits, published
        self.members: dict[int, Watcher] = {}

    def hand(self, handing: Handing, published: int) -> None:
        unfinished = handing.to(self.members)
        self.published = published
        for socket, sent in unfinished:
            self.members[socket].finish(handing.frame, sent)


class Channel:
    def __init__(self, parts: Parts, board: DayBoard, view: View) -> None:
        self.parts, self.board, self.view = parts, board, view
        self.full, self.deltas = _FullStates(self), _Deltas(self)
        self._deflaters: dict[int, Deflater] = {}
        self._snapshots: dict[int, Frame] = {}
        self._since: dict[tuple[int, int], Frame] = {}
        self._made_at = -1
        """The sequence that the snapshots and the answers to who was away are of."""

    @property
    def sequence(self) -> int:
        """The newest state of what this channel shows."""
        return self.view.sequence(self.board, self.parts.directory.doctors)

    @property
    def watched(self) -> bool:
        return bool(self.full.watchers or self.deltas.watchers)

    @property
    def watchers(self) -> list[Watcher]:
        return [*self.full.watchers, *self.deltas.watchers]

    @property
    def frame_bytes(self) -> int:
        """The largest that a monitor of this channel may have been sent at once."""
        frames = [*self._snapshots.values(), *self._since.values(), *self.full.frames.values()]
        return max((frame.size for frame in frames), default=0)

    def snapshot(self, window_bits: int) -> tuple[int, Frame]:
        """(sequence, frame) of the state as it is now; made once per state."""
        self._forget_old()
        frame = self._snapshots.get(window_bits)
        if frame is None:
            frame = self._snapshots[window_bits] = self.frame(
                window_bits,
                lambda: snapshot_pieces(self.parts, self.board, self.view),
                lambda: snapshot_body(self.parts, self.board, self.view),
            )
        return self._made_at, frame

    def since(self, sequence: int, window_bits: int) -> tuple[int, Frame]:
        """(sequence, frame) of what changed from a state until now; made once per state, for all who left at it."""
        self._forget_old()
        frame = self._since.get((sequence, window_bits))
        if frame is None:
            frame = self._since[sequence, window_bits] = self.delta(sequence, window_bits)
        return self._made_at, frame

    def delta(self, after: int, window_bits: int) -> Frame:
        message = delta(self.parts, self.board, self.view, after)
        return self.frame(window_bits, lambda: [message], lambda: Body(message))

    def frame(self, window_bits: int, pieces: Callable[[], list[bytes]], body: Callable[[], Body]) -> Frame:
        """Of a message that can be had in pieces or, to be deflated, by blocks."""
        if window_bits == PLAIN:
            return text_frame(pieces())
        deflater = self._deflaters.get(window_bits)
        if deflater is None:
            deflater = self._deflaters[window_bits] = Deflater(window_bits)
        return deflater.frame(body())

    def changed(self) -> None:
        self.full.changed()
        self.deltas.changed()

    def replace(self, board: DayBoard) -> None:
        """The board was wrong, and this is the right one."""
        self.board, self._made_at = board, -1
        for stream in (self.full, self.deltas):
            stream.close()  # It may be in the middle of handing out what was wrong.
            stream.published = self.sequence
        for watcher in self.watchers:
            watcher.begin_again()

    def close(self) -> None:
        self.full.close()
        self.deltas.close()

    def _forget_old(self) -> None:
        if self._made_at != self.sequence:
            self._made_at = self.sequence
            self._snapshots.clear()
            self._since.clear()


class Stream(ABC):
    """The states of one channel, published one after another to those who watch them."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.watchers: dict[Watcher, None] = {}
        self._crowds: list[Crowd] = []
        self._alone: dict[Watcher, None] = {}
        """Those who stand in no crowd."""
        self.published = 0
        """The newest state that was published; before the first, the state that the first monitor joined at."""
        self.frames: dict[int, Frame] = {}
        self._handings: dict[int, Handing] = {}
        """Of the frames, while they are handed out."""
        self._windows: Counter[int] = Counter()
        self._due = 0.0
        self._timer: asyncio.Handle | None = None

    @abstractmethod
    def newest(self, seen: int, window_bits: int) -> tuple[int, Frame] | None:
        """(sequence, frame) for who has the state at `seen`; None where nothing newer was published."""

    @abstractmethod
    def _framed(self, window_bits: int) -> Frame:
        """The state that is, after the one published before."""

    def join(self, watcher: Watcher) -> None:
        if not self.watchers:
            self.published = self.channel.sequence
        self.watchers[watcher] = self._alone[watcher] = None
        self._windows[watcher.window_bits] += 1

    def leave(self, watcher: Watcher) -> None:
        """Out of a crowd first, if in one."""
        if watcher in self.watchers:
            del self.watchers[watcher], self._alone[watcher]
            self._windows[watcher.window_bits] -= 1
        if not self.watchers:
            self.close()

    def step_in(self, watcher: Watcher, socket: int) -> Crowd:
        """For who has the state published last, nothing in a buffer, and nothing else to be told."""
        bits, published = watcher.window_bits, self.published
        for crowd in self._crowds:
            if (crowd.window_bits, crowd.published) == (bits, published) and len(crowd.members) < CROWD:
                break
        else:
            crowd = Crowd(bits, published)
            self._crowds.append(crowd)
        crowd.members[socket] = watcher
        del self._alone[watcher]
        return crowd

    def step_out(self, crowd: Crowd, watcher: Watcher, socket: int) -> None:
        del crowd.members[socket]
        self._alone[watcher] = None

    def changed(self) -> None:
        if self._timer is None and self.watchers and self.channel.sequence > self.published:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(max(self._due, loop.time()), self._publish)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._handed_out()

    def _publish(self) -> None:
        self._timer = None
        began = asyncio.get_running_loop().time()
        try:
            self.frames = {bits: self._framed(bits) for bits, count in self._windows.items() if count}
        except Exception as error:
            self._give_up(error)
            return
        self.published = self.channel.sequence
        self._handings = {bits: Handing(frame) for bits, frame in self.frames.items()}
        self._crowds = [crowd for crowd in self._crowds if crowd.members]
        self._hand_out(iter(self._crowds.copy()), began)

    def _hand_out(self, crowds: Iterator[Crowd], began: float) -> None:
        """To one crowd after another, with others in between, and last to those who stand alone."""
        loop = asyncio.get_running_loop()
        crowd = next(crowds, None)
        try:
            if crowd is not None:
                if crowd.members:
                    crowd.hand(self._handings[crowd.window_bits], self.published)
                self._timer = loop.call_soon(self._hand_out, crowds, began)
                return
            for watcher in list(self._alone):
                watcher.offer()
        except Exception as error:
            self._give_up(error)
            return
        self._handed_out()
        self._timer = None
        size = max((frame.size for frame in self.frames.values()), default=0)
        took = loop.time() - began
        self._due = began + took + max(GAP_SECONDS, size / GAP_BYTES_PER_SECOND, GAP_PER_PUBLISHING * took)
        self.changed()

    def _give_up(self, error: Exception) -> None:
        """There is a defect; and nobody may go on looking at the state before."""
        self.close()
        self.channel.parts.boards.give_up(self.channel.board.date, error)

    def _handed_out(self) -> None:
        for handing in self._handings.values():
            handing.close()
        self._handings = {}


class _FullStates(Stream):
    def newest(self, seen: int, window_bits: int) -> tuple[int, Frame] | None:
        return (self.published, self.frames[window_bits]) if self.published > seen else None

    def _framed(self, window_bits: int) -> Frame:
        parts, board, view = self.channel.parts, self.channel.board, self.channel.view
        return self.channel.frame(
            window_bits,
            lambda: update_pieces(parts, board, view, self.published),
            lambda: update_body(parts, board, view, self.published),
        )


class _Deltas(Stream):
    _follows = 0
    """The state that the newest frames go on from."""

    def newest(self, seen: int, window_bits: int) -> tuple[int, Frame] | None:
        if self.published <= seen:
            return None
        if self._follows <= seen:
            return self.published, self.frames[window_bits]
        return self.channel.since(seen, window_bits)  # States were skipped: one delta brings them all.

    def _publish(self) -> None:
        self._follows = self.published
        super()._publish()

    def _framed(self, window_bits: int) -> Frame:
        return self.channel.delta(self.published, window_bits)


class Fanout:
    """The channels that somebody watches."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._channels: dict[tuple[date, View], Channel] = {}
        self._filters: Counter[date] = Counter()

    def tell(self, board: DayBoard) -> None:
        """The projector's word that a board has changed."""
        for channel in self._of(board):
            channel.changed()

    def give_up(self, board: DayBoard) -> None:
        """The word of `Boards` that a board is wrong, and will not change any more."""
        for channel in self._of(board):
            for watcher in channel.watchers:
                watcher.lose()

    def replace(self, wrong: DayBoard, right: DayBoard) -> None:
        """The word of `Boards` that a board was wrong, and another is there in its place."""
        for channel in self._of(wrong):
            channel.replace(right)

    def join(self, board: DayBoard, view: View, watcher: Watcher, *, deltas: bool) -> Stream:
        """The board must stay loaded while it is watched: see Boards.keep. Raises TooManySubscriptions."""
        key = board.date, view
        channel = self._channels.get(key)
        if channel is None:
            if view.filtered:
                if self._filters[board.date] >= FILTERS_PER_DAY:
                    raise TooManySubscriptions
                self._filters[board.date] += 1
            channel = self._channels[key] = Channel(self._parts, board, view)
        stream = channel.deltas if deltas else channel.full
        stream.join(watcher)
        return stream

    def leave(self, stream: Stream, watcher: Watcher) -> None:
        stream.leave(watcher)
        channel = stream.channel
        key = channel.board.date, channel.view
        if not channel.watched and self._channels.get(key) is channel:
            del self._channels[key]
            if channel.view.filtered:
                self._filters[channel.board.date] -= 1

    def _of(self, board: DayBoard) -> list[Channel]:
        return [channel for channel in self._channels.values() if channel.board is board]
