"""To one client: everything that is said to it goes through one transport, or past it while that is empty."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Final, cast

import msgspec

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
    """`window_bits`: of the compression agreed on, 0 for none. `socket`: its number, for as long as `clear`."""

    __slots__ = ("_ended", "_released", "_transport", "blocked", "socket", "window_bits")

    def __init__(self, transport: asyncio.Transport, window_bits: int) -> None:
        self._transport, self.window_bits = transport, window_bits
        self._ended = False
        self.blocked: Callable[[], None] = _nobody_minds
        """Called at once when the wire is not clear any more."""
        self._released: asyncio.Event | None = None
        """For who waits until it is again."""
        assert transport.get_extra_info("sslcontext") is None, "what goes to a socket itself goes as it is"
        raw = transport.get_extra_info("socket")
        self.socket: int = raw.fileno()
        _keep_states_young(transport, raw)
        transport.set_protocol(_Lookout(cast(asyncio.Protocol, transport.get_protocol()), self))

    @property
    def closing(self) -> bool:
        """Nothing more may be said."""
        return self._ended or self._transport.is_closing()

    def end(self) -> None:
        """A close frame comes next, and nothing after it."""
        self._ended = True

    @property
    def unsent_bytes(self) -> int:
        return self._transport.get_write_buffer_size()

    @property
    def clear(self) -> bool:
        """All that was sent is with the kernel: what is written to the socket itself comes next."""
        return not self.closing and not self.unsent_bytes

    def send(self, frame: Frame) -> None:
        self._transport.writelines(frame.pieces)

    def send_rest(self, frame: Frame, sent: int) -> None:
        """Of a frame that went to the socket, what it did not take."""
        self._transport.writelines(frame.after(sent))

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
        if self.unsent_bytes and not self.closing:
            self._released = self._released or asyncio.Event()
            try:
                async with asyncio.timeout(STUCK_SECONDS):
                    await self._released.wait()
            except TimeoutError:
                self._transport.abort()
        if self.closing:
            raise Gone

    def abort(self) -> None:
        self._transport.abort()

    def released(self) -> None:
        """All that waited has left, or never will."""
        if self._released is not None:
            self._released.set()
            self._released = None


class _Lookout(asyncio.Protocol):
    """Stands before the connection's own protocol, and hears of it first when the transport has to keep something, or
    is no more: its socket is closed next, and the number another one's."""

    __slots__ = ("_protocol", "_wire")

    def __init__(self, protocol: asyncio.Protocol, wire: Wire) -> None:
        self._protocol, self._wire = protocol, wire

    def pause_writing(self) -> None:
        self._wire.blocked()
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._wire.released()
        self._protocol.resume_writing()

    def data_received(self, data: bytes) -> None:
        self._protocol.data_received(data)

    def eof_received(self) -> bool | None:
        return self._protocol.eof_received()

    def connection_lost(self, error: Exception | None) -> None:
        self._wire.blocked()
        self._wire.blocked = _nobody_minds
        self._wire.released()
        self._protocol.connection_lost(error)


def _nobody_minds() -> None:
    pass


def _keep_states_young(transport: asyncio.Transport, raw: socket.socket) -> None:
    """What waits in buffers grows old. So hold nothing back in user space, and little in the kernel."""
    transport.set_write_buffer_limits(high=0)
    if hasattr(socket, "TCP_NOTSENT_LOWAT"):
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, NOT_SENT_BYTES)
