"""The states of one subscription, one after another: what is new, what is not, and what does not fit."""

from __future__ import annotations

from typing import Any, Final, Generic

import msgspec
from msgspec.structs import replace

from gateway.client.board import Board, Data
from gateway.live.messages import Delta, Happened, Snapshot, Update

EVENTS_KEPT: Final = 100
"""As many as the server names."""


class Shown(msgspec.Struct, Generic[Data], frozen=True, kw_only=True):
    """A state of a date.

    `sequence`: the newest event in it. `epoch`: the log that this is a position of. `events`: what happened since the
    state that came before this one; None where that was more than 100, or is not told, as with a first state. The
    public is told of none.
    """

    day: Data
    epoch: str
    sequence: int
    events: tuple[Happened, ...] | None


class Gap(Exception):
    """Something is missing between the state that is held and the delta."""


class Following(Generic[Data]):
    """Goes from state to state. `newest` is None before the first."""

    def __init__(self) -> None:
        self.newest: Shown[Data] | None = None
        self._board: Board[Data]

    def take(self, message: Snapshot[Data] | Update[Data] | Delta[Any]) -> Shown[Data] | None:
        """The state that it leads to; None where that is not a new one. Raises Gap, NotUnderstood."""
        match message:
            case Snapshot():
                return self._begin(message)
            case Update():
                return self._go_on(message)
            case Delta():
                return self._change(message)

    def _begin(self, snapshot: Snapshot[Data]) -> Shown[Data] | None:
        """A snapshot is the server's last word, also where it goes back: what was shown before is not in its log."""
        newest = self.newest
        if newest is not None and (snapshot.epoch, snapshot.sequence) == (newest.epoch, newest.sequence):
            corrected = replace(snapshot.data, timestamp=newest.day.timestamp) != newest.day
            if not corrected:
                return None
        return self._show(snapshot.data, snapshot, None)

    def _go_on(self, update: Update[Data]) -> Shown[Data] | None:
        newest = self.newest
        if newest is None or update.epoch != newest.epoch:
            return self._show(update.data, update, None)
        if update.sequence <= newest.sequence:
            return None
        return self._show(update.data, update, self._news(update) if update.from_ <= newest.sequence else None)

    def _change(self, delta: Delta[Any]) -> Shown[Data] | None:
        newest = self.newest
        if newest is None or delta.epoch != newest.epoch or delta.from_ > newest.sequence:
            raise Gap
        if delta.sequence <= newest.sequence:
            return None
        self._board.apply(delta.data)
        self.newest = Shown(day=self._board.day, epoch=delta.epoch, sequence=delta.sequence, events=self._news(delta))
        return self.newest

    def _show(
        self, day: Data, message: Snapshot[Data] | Update[Data], events: tuple[Happened, ...] | None
    ) -> Shown[Data]:
        self._board = Board(day)
        self.newest = Shown(day=day, epoch=message.epoch, sequence=message.sequence, events=events)
        return self.newest

    def _news(self, message: Update[Any] | Delta[Any]) -> tuple[Happened, ...] | None:
        """Without what the state that is held has in it already."""
        assert self.newest is not None
        if message.events is None:
            return None
        return tuple(event for event in message.events if event.sequence > self.newest.sequence)


def conflated(earlier: Shown[Data], later: Shown[Data]) -> Shown[Data]:
    """The later state, for who has seen neither."""
    if earlier.events is None or later.events is None or len(earlier.events) + len(later.events) > EVENTS_KEPT:
        return replace(later, events=None)
    return replace(later, events=earlier.events + later.events)
