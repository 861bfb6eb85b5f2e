"""What is around a state's bytes on the wire: type, epoch, sequence, and what happened.

A Body is a message before it is framed, in pieces that stay what they are however many monitors they go to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from projections.board import DayBoard, News
from projections.views import View

if TYPE_CHECKING:
    from gateway.parts import Parts

EVENTS_NAMED: Final = 100

_encode: Final = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Body:
    """A message as a head, blocks with commas still to come between them, and a tail.

    A block stays the same object for as long as it stays the same, so whatever is made of it can be kept beside it.
    """

    head: bytes
    blocks: Sequence[bytes] = ()
    tail: bytes = b""


def snapshot_pieces(parts: Parts, board: DayBoard, view: View) -> list[bytes]:
    """A messages.Snapshot, still to be joined."""
    return [_snapshot(parts, board, view), *parts.encoder.day_pieces(board, parts.now(), view), b"}"]


def snapshot_body(parts: Parts, board: DayBoard, view: View) -> Body:
    """The same, by blocks."""
    return _around(_snapshot(parts, board, view), parts.encoder.day_blocks(board, parts.now(), view))


def update_pieces(parts: Parts, board: DayBoard, view: View, after: int) -> list[bytes]:
    """A messages.Update, still to be joined. `after`: the state published before this one."""
    head = _changed(parts, b"update", board, view, after)
    return [head, *parts.encoder.day_pieces(board, parts.now(), view), b"}"]


def update_body(parts: Parts, board: DayBoard, view: View, after: int) -> Body:
    """The same, by blocks."""
    head = _changed(parts, b"update", board, view, after)
    return _around(head, parts.encoder.day_blocks(board, parts.now(), view))


def delta(parts: Parts, board: DayBoard, view: View, after: int) -> bytes:
    """A messages.Delta: what changed since the state at `after`."""
    head = _changed(parts, b"delta", board, view, after)
    return b"%b%b}" % (head, parts.deltas.since(after, board, view, parts.now()))


def _around(head: bytes, data: tuple[bytes, list[bytes], bytes]) -> Body:
    begins, blocks, ends = data
    return Body(head + begins, blocks, ends + b"}")


def _snapshot(parts: Parts, board: DayBoard, view: View) -> bytes:
    return snapshot_head(parts, view.sequence(board, parts.directory.doctors))


def snapshot_head(parts: Parts, sequence: int) -> bytes:
    """A messages.Snapshot as far as its data."""
    return b'{"type":"snapshot","epoch":"%b","sequence":%d,"data":' % (parts.epoch.encode(), sequence)


def _changed(parts: Parts, kind: bytes, board: DayBoard, view: View, after: int) -> bytes:
    doctors = parts.directory.doctors
    news = view.news_after(board, doctors, after)
    return changed_head(parts, kind, after, view.sequence(board, doctors), news)


def changed_head(parts: Parts, kind: bytes, after: int, sequence: int, news: Sequence[News] | None) -> bytes:
    """A messages.Update or Delta as far as its data."""
    return b'{"type":"%b","epoch":"%b","from":%d,"sequence":%d,"events":%b,"data":' % (
        kind,
        parts.epoch.encode(),
        after,
        sequence,
        _happened(news),
    )


def _happened(news: Sequence[News] | None) -> bytes:
    """A list of messages.Happened, whose fields are those of News; null where it is too much to tell."""
    return b"null" if news is None or len(news) > EVENTS_NAMED else _encode(news)
