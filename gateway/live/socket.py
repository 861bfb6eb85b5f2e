"""One monitor: what it says, what it watches, and how its frames reach it."""

from __future__ import annotations

import asyncio
import socket
from contextlib import ExitStack
from datetime import date
from typing import TYPE_CHECKING, Final

import msgspec
from aiohttp import WSCloseCode, WSMsgType, web
from aiohttp.abc import AbstractStreamWriter

from domain.log.codec import NewerEvent
from domain.postgres.connect import FAULTS
from domain.rules.ids import DoctorId
from gateway.live.fanout import Channel, Fanout, text_frame
from gateway.live.messages import Error, Pong, Unsubscribed
from gateway.live.protocol import Misunderstood, Ping, Subscribe, Unsubscribe, parse
from projections.boards import Unavailable

if TYPE_CHECKING:
    from gateway.parts import Parts

MESSAGE_BYTES: Final = 64 * 1024
PING_SECONDS: Final = 20.0
STUCK_SECONDS: Final = 30.0
"""A monitor that does not read for so long is cut off."""
REPLIES_UNREAD_BYTES: Final = 256 * 1024
"""A client that asks and never reads may have so much waiting, on top of one state."""
NOT_SENT_BYTES: Final = 64 * 1024
CLOSE_SECONDS: Final = 2.0

_encode: Final = msgspec.json.Encoder().encode


class Monitor:
    """Lives as long as its connection. Everything it sends goes through one transport, by one path."""

    def __init__(self, parts: Parts, fanout: Fanout, doctor_id: DoctorId | None) -> None:
        self._parts, self._fanout, self._doctor_id = parts, fanout, doctor_id
        self._socket = web.WebSocketResponse(
            heartbeat=PING_SECONDS, max_msg_size=MESSAGE_BYTES + 1, compress=False, timeout=CLOSE_SECONDS
        )
        self._channel: Channel | None = None
        self._watching = ExitStack()
        self._seen = -1
        self._owed_snapshot = False
        self._catching_up: asyncio.Task[None] | None = None
        self._transport: asyncio.Transport
        self._writer: AbstractStreamWriter

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        writer = await self._socket.prepare(request)
        transport = request.transport
        assert transport is not None
        self._writer, self._transport = writer, transport
        _keep_states_young(self._transport)
        try:
            async for message in self._socket:
                if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                    await self._hear(message.data)
        finally:
            self._leave()
            if self._catching_up is not None:
                self._catching_up.cancel()
            # The close frame needs a moment to leave; behind a buffer that nobody empties it never would.
            asyncio.get_running_loop().call_later(CLOSE_SECONDS, self._transport.abort)
        return self._socket

    async def close(self) -> None:
        """The server goes; the client is to come back later."""
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._socket.close(code=WSCloseCode.SERVICE_RESTART, message=b"restarting")
        except TimeoutError:
            self._transport.abort()

    # --- what the client says --------------------------------------------------------------------

    async def _hear(self, text: str | bytes) -> None:
        try:
            message = parse(text)
        except Misunderstood as misunderstood:
            self._reply(misunderstood.error)
            return
        match message:
            case Subscribe():
                await self._subscribe(message.date)
            case Unsubscribe():
                self._leave()
                self._reply(Unsubscribed())
            case Ping():
                self._reply(Pong(timestamp=self._parts.encoder.time(self._parts.now())))

    async def _subscribe(self, day: date) -> None:
        self._leave()
        self._watching.enter_context(self._parts.boards.watch(day))
        try:
            board = await self._parts.boards.get(day)
        except (Unavailable, NewerEvent, *FAULTS):
            self.lose()
            return
        # No await from here on: a state published in between would be missed.
        self._channel = self._fanout.join(board, self._doctor_id, self)
        self._seen, self._owed_snapshot = -1, True
        self.offer()

    def _leave(self) -> None:
        if self._channel is not None:
            self._fanout.leave(self._channel, self)
            self._channel = None
        self._watching.close()
        self._owed_snapshot = False

    # --- what it gets ----------------------------------------------------------------------------

    def offer(self) -> None:
        """Send the newest state now, or when what was sent before has left."""
        if self._transport.is_closing() or self._channel is None:
            return
        if self._transport.get_write_buffer_size():
            if self._catching_up is None or self._catching_up.done():
                self._catching_up = asyncio.create_task(self._catch_up())
        elif self._owed_snapshot:
            self._owed_snapshot = False
            self._seen, frame = self._channel.snapshot()
            self._transport.writelines(frame.pieces)
        elif self._channel.published > self._seen:
            self._seen = self._channel.published
            self._transport.writelines(self._channel.frame.pieces)

    def lose(self) -> None:
        self._leave()
        self._reply(Error(code="unavailable", message="this date cannot be shown now"))

    async def _catch_up(self) -> None:
        try:
            async with asyncio.timeout(STUCK_SECONDS):
                await self._writer.drain()
        except (TimeoutError, OSError):
            self._transport.abort()
        else:
            self._catching_up = None
            self.offer()

    def _reply(self, answer: msgspec.Struct) -> None:
        if self._transport.is_closing():
            return
        self._transport.writelines(text_frame([_encode(answer)]).pieces)
        state_bytes = self._channel.frame_bytes if self._channel else 0
        if self._transport.get_write_buffer_size() > REPLIES_UNREAD_BYTES + state_bytes:
            self._transport.abort()


def _keep_states_young(transport: asyncio.Transport) -> None:
    """What waits in buffers grows old. So hold nothing back in user space, and little in the kernel."""
    transport.set_write_buffer_limits(high=0)
    raw = transport.get_extra_info("socket")
    if raw is not None and hasattr(socket, "TCP_NOTSENT_LOWAT"):
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, NOT_SENT_BYTES)
