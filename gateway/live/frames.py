"""Messages as a WebSocket server sends them, made once and shared by every monitor.

Deflated ones (RFC 7692) are as well: each block is deflated by itself, with a context of its own and flushed to a whole
byte, so that deflated blocks may be kept, and joined in any order. Whoever inflates them with the context of what came
before finds nothing in them that points back there.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gateway.live.envelopes import Body

JOINED_BYTES: Final = 64 * 1024
"""Up to here one piece is cheaper to send than several."""
DEFLATED_FROM_BYTES: Final = 512
"""Below this, deflating saves less than a network packet has room for."""
LEVEL: Final = 1
"""A large day that nobody has looked at yet is deflated at once, while everybody waits: 2 MB take 20 ms."""

_TEXT: Final = 0x81
_DEFLATED_TEXT: Final = 0xC1
_FLUSH_ENDS: Final = 4
"""The last bytes of a flush, 00 00 FF FF, are not sent at the end of a message."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A text message (RFC 6455, section 5.2), in pieces that all monitors share."""

    pieces: tuple[bytes, ...]
    size: int

    def after(self, sent: int) -> list[memoryview]:
        """What is left of it when so many bytes are gone."""
        left = []
        for piece in self.pieces:
            if sent < len(piece):
                left.append(memoryview(piece)[sent:])
            sent = max(0, sent - len(piece))
        return left


def text_frame(body: Sequence[bytes]) -> Frame:
    return _frame(_TEXT, body)


def _frame(first: int, body: Sequence[bytes]) -> Frame:
    size = sum(map(len, body))
    if size < 126:
        head = bytes((first, size))
    elif size < 65536:
        head = struct.pack("!BBH", first, 126, size)
    else:
        head = struct.pack("!BBQ", first, 127, size)
    pieces = (head, *body) if size > JOINED_BYTES else (b"".join((head, *body)),)
    return Frame(pieces, len(head) + size)


class Deflater:
    """For monitors that agreed on the same window. Keeps what it made of the blocks of the last message."""

    def __init__(self, window_bits: int) -> None:
        self._window_bits = window_bits
        self._kept: dict[bytes, bytes] = {}
        self._comma = self._deflate(b",")

    def frame(self, body: Body) -> Frame:
        if not body.blocks:
            whole = body.head + body.tail
            if len(whole) < DEFLATED_FROM_BYTES:
                return text_frame([whole])
            return _frame(_DEFLATED_TEXT, [self._deflate(whole)[:-_FLUSH_ENDS]])
        known = self._kept
        self._kept = {block: known.get(block) or self._deflate(block) for block in body.blocks}
        blocks = self._comma.join([self._kept[block] for block in body.blocks])
        ends = self._deflate(body.tail)[:-_FLUSH_ENDS]
        return _frame(_DEFLATED_TEXT, [self._deflate(body.head), blocks, ends])

    def _deflate(self, data: bytes) -> bytes:
        fresh = zlib.compressobj(LEVEL, zlib.DEFLATED, -self._window_bits)
        return fresh.compress(data) + fresh.flush(zlib.Z_SYNC_FLUSH)
