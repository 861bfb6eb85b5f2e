"""To one client: everything that is said to it goes through one transport, by one path."""

from __future__ import annotations

import asyncio
import socket
from typing import Final

import msgspec
from aiohttp.abc import AbstractStreamWriter

from gateway.live.frames import Frame, text_frame

STUCK_SECONDS: Final = 30.0
"""A client that does not read for so long is cut off."""
REPLIES_UNREAD_BYTES: Final = 256 * 1024
"""A client that asks and never reads may have so much waiting, on top of one state."""
NOT_SENT_BYTES: Final = 64 * 1024

_encode: Final = msgspec.json.Encoder().encode


class Gone(Exception):
    """The client does not read any more, or is not there."""


class Wire:
    """`window_bits`: of the compression agreed on, 0 for none."""

    __slots__ = ("_writer", "transport", "window_bits")

    def __init__(self, transport: asyncio.Transport, writer: AbstractStreamWriter, window_bits: int) -> None:
        self.transport, self._writer, self.window_bits = transport, writer, window_bits
        _keep_states_young(transport)

    @property
    def closing(self) -> bool:
        return self.transport.is_closing()

    @property
    def unsent_bytes(self) -> int:
        return self.transport.get_write_buffer_size()

    def send(self, frame: Frame) -> None:
        self.transport.writelines(frame.pieces)

    def say(self, message: msgspec.Struct) -> None:
        self.send(text_frame([_encode(message)]))

    def answer(self, message: msgspec.Struct, state_bytes: int = 0) -> None:
        """Say it to who asked. `state_bytes`: of the largest state that may be waiting to leave."""
        if self.closing:
            return
        self.say(message)
        if self.unsent_bytes > REPLIES_UNREAD_BYTES + state_bytes:
            self.abort()

    async def drained(self) -> None:
        """Wait until all has left that was sent. Raises Gone, and cuts the client off that does not read."""
        try:
            async with asyncio.timeout(STUCK_SECONDS):
                await self._writer.drain()
        except (TimeoutError, OSError):
            self.transport.abort()
        if self.closing:
            raise Gone

    def abort(self) -> None:
        self.transport.abort()


def _keep_states_young(transport: asyncio.Transport) -> None:
    """What waits in buffers grows old. So hold nothing back in user space, and little in the kernel."""
    transport.set_write_buffer_limits(high=0)
    raw = transport.get_extra_info("socket")
    if raw is not None and hasattr(socket, "TCP_NOTSENT_LOWAT"):
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, NOT_SENT_BYTES)
