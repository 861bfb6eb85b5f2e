"""One client's connection: what it says, and which of two it then gets, a date as it happens or as it was."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, assert_never

import msgspec
from aiohttp import WSCloseCode, WSMsgType, web

from domain.audit.codec import Viewer
from domain.rules.ids import DoctorId
from gateway.live import protocol
from gateway.live.fanout import Fanout, TooManySubscriptions
from gateway.live.messages import Error, Pong, Unsubscribed
from gateway.live.monitor import Monitor
from gateway.live.protocol import Message, Misunderstood, Pause, Ping, Play, Seek, Subscribe, Unsubscribe, parse
from gateway.live.replay import REPLAYS_AT_ONCE, Replay, Replays
from gateway.live.wire import Wire
from projections.views import View

if TYPE_CHECKING:
    from gateway.parts import Parts

MESSAGE_BYTES: Final = 64 * 1024
PING_SECONDS: Final = 20.0
CLOSE_SECONDS: Final = 2.0


class Connection:
    """Lives as long as the client is there. It shows one date, or one replay, or nothing."""

    __slots__ = ("_doctor_id", "_fanout", "_monitor", "_parts", "_replay", "_replays", "_socket", "_viewer", "_wire")

    def __init__(
        self, parts: Parts, fanout: Fanout, replays: Replays, doctor_id: DoctorId | None, viewer: Viewer
    ) -> None:
        self._parts, self._fanout, self._replays = parts, fanout, replays
        self._doctor_id, self._viewer = doctor_id, viewer
        # Compression is agreed on, and what comes is inflated; what goes is deflated once for all: see frames.py.
        self._socket = web.WebSocketResponse(
            heartbeat=PING_SECONDS, max_msg_size=MESSAGE_BYTES + 1, compress=True, timeout=CLOSE_SECONDS
        )
        self._wire: Wire
        self._monitor: Monitor | None = None
        self._replay: Replay | None = None

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        await self._socket.prepare(request)
        assert request.transport is not None
        self._wire = Wire(request.transport, int(self._socket.compress))
        self._monitor = Monitor(self._parts, self._fanout, self._wire, self._viewer)
        try:
            async for message in self._socket:
                if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                    text = message.data.encode() if message.type is WSMsgType.TEXT else message.data
                    if len(text) > MESSAGE_BYTES:  # The library lets one byte more through where it was deflated.
                        await self._say_good_bye(self._monitor, WSCloseCode.MESSAGE_TOO_BIG)
                        break
                    await self._hear(text, self._monitor)
        finally:
            self._end_replay()
            self._monitor.end()
            # The close frame needs a moment to leave; behind a buffer that nobody empties it never would.
            asyncio.get_running_loop().call_later(CLOSE_SECONDS, self._wire.abort)
        return self._socket

    async def close(self) -> None:
        """The server goes; the client is to come back later."""
        if self._monitor is None:
            return  # It has not begun.
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._say_good_bye(self._monitor, WSCloseCode.SERVICE_RESTART, b"restarting")
        except TimeoutError:
            self._wire.abort()

    async def _say_good_bye(self, monitor: Monitor, code: WSCloseCode, why: bytes = b"") -> None:
        """Nothing comes after it, while the answer is waited for: no state, and no date that is still loading."""
        self._end_replay()
        monitor.end()
        self._wire.end()
        await self._socket.close(code=code, message=why)

    def tell_status(self) -> None:
        """Whether boards are live may have changed."""
        if self._monitor is not None:
            self._monitor.tell_status()

    # --- what the client says --------------------------------------------------------------------

    async def _hear(self, text: bytes, monitor: Monitor) -> None:
        try:
            await self._do(parse(text), monitor)
        except Misunderstood as misunderstood:
            self._reply(misunderstood.error)
        except TooManySubscriptions:
            too_many = f"{REPLAYS_AT_ONCE} replays are playing: try again when one has paused, or ended"
            self._reply(Error(code="too_many_subscriptions", message=too_many))

    async def _do(self, message: Message, monitor: Monitor) -> None:
        match message:
            case Subscribe():
                view = self._view(message)
                self._end_replay()
                await monitor.subscribe(message, view)
            case protocol.Replay():
                monitor.leave()
                self._begin_replay(message)
            case Pause():
                self._replaying().pause()
            case Play():
                self._replaying().play(message.speed)
            case Seek():
                self._replaying().seek(message.to)
            case Unsubscribe():
                self._end_replay()
                monitor.leave()
                self._reply(Unsubscribed())
            case Ping():
                self._reply(Pong(timestamp=self._parts.encoder.time(self._parts.now())))
            case _:
                assert_never(message)

    def _view(self, message: Subscribe) -> View:
        public = message.view == "public"
        if self._doctor_id is None:
            doctors = frozenset(message.doctors) if message.doctors is not None else None
            return View(doctors=doctors, department=message.department, public=public)
        if message.doctors is not None or message.department is not None:
            raise Misunderstood("invalid_message", "this connection watches one doctor: it takes no other choice")
        return View(doctor_id=self._doctor_id, public=public)

    # --- replays ---------------------------------------------------------------------------------

    def _begin_replay(self, message: protocol.Replay) -> None:
        self._end_replay()
        self._replay = Replay(self._parts, self._replays, self._wire, message, self._doctor_id, self._viewer)

    def _replaying(self) -> Replay:
        """Raises Misunderstood."""
        if self._replay is None or self._replay.over:
            raise Misunderstood("invalid_message", "there is no replay: begin one with `replay`")
        return self._replay

    def _end_replay(self) -> None:
        if self._replay is not None:
            self._replay.end()
            self._replay = None

    def _reply(self, answer: msgspec.Struct) -> None:
        shown = self._replay or self._monitor
        self._wire.answer(answer, shown.state_bytes if shown is not None else 0)
