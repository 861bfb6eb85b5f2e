"""One monitor: what it says, what it watches, and how its frames reach it."""

from __future__ import annotations

import asyncio
import socket
from datetime import date
from typing import TYPE_CHECKING, Final

import msgspec
from aiohttp import WSCloseCode, WSMsgType, web
from aiohttp.abc import AbstractStreamWriter

from domain.audit.codec import Viewer
from domain.audit.looks import SubscriptionEnded, SubscriptionStarted
from domain.audit.recorder import Watch
from domain.log import read
from domain.log.codec import NewerEvent
from domain.postgres.connect import FAULTS
from domain.rules.ids import DoctorId
from gateway.live.fanout import Crowd, Fanout, Stream, TooManySubscriptions
from gateway.live.frames import text_frame
from gateway.live.messages import Error, Heartbeat, Pong, Status, Unsubscribed
from gateway.live.protocol import Misunderstood, Ping, Resume, Subscribe, Unsubscribe, parse
from projections.boards import Unavailable
from projections.projector import Behind
from projections.views import View

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
RESUME_SECONDS: Final = 2.0
"""How long a client that has seen more than this worker has waits for it to catch up."""

_NOT_SHOWN: Final = (Unavailable, Behind, NewerEvent, *FAULTS)
_encode: Final = msgspec.json.Encoder().encode


class Monitor:
    """Lives as long as its connection. Everything it sends goes through one transport, by one path.

    What may be said between states, a status or a heartbeat, waits like them for the buffer to be empty.
    """

    __slots__ = (
        "_aside",
        "_beginning",
        "_catching_up",
        "_crowd",
        "_date",
        "_doctor_id",
        "_fanout",
        "_heartbeat",
        "_heartbeat_due",
        "_parts",
        "_seen",
        "_socket",
        "_stream",
        "_told_live",
        "_transport",
        "_viewer",
        "_was_wrong",
        "_watch",
        "_writer",
        "window_bits",
    )

    def __init__(self, parts: Parts, fanout: Fanout, doctor_id: DoctorId | None, viewer: Viewer) -> None:
        self._parts, self._fanout, self._doctor_id, self._viewer = parts, fanout, doctor_id, viewer
        self._watch: Watch | None = None
        """The record of what is being shown, to be ended with it."""
        # Compression is agreed on, and what comes is inflated; what goes is deflated once for all: see frames.py.
        self._socket = web.WebSocketResponse(
            heartbeat=PING_SECONDS, max_msg_size=MESSAGE_BYTES + 1, compress=True, timeout=CLOSE_SECONDS
        )
        self.window_bits = 0
        self._stream: Stream | None = None
        self._crowd: Crowd | None = None
        self._date: date | None = None
        """The date that stays loaded for this monitor's sake."""
        self._seen = -1
        """The state that the client has or is about to have, -1 for none; in a crowd, the crowd knows."""
        self._beginning = False
        self._was_wrong = False
        self._told_live = True
        self._heartbeat: asyncio.TimerHandle | None = None
        self._heartbeat_due = False
        self._aside = False
        """There is something to say between states."""
        self._catching_up: asyncio.Task[None] | None = None
        self._transport: asyncio.Transport
        self._writer: AbstractStreamWriter

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        writer = await self._socket.prepare(request)
        transport = request.transport
        assert transport is not None
        self._writer, self._transport = writer, transport
        self.window_bits = int(self._socket.compress)
        _keep_states_young(self._transport)
        try:
            async for message in self._socket:
                if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                    text = message.data.encode() if message.type is WSMsgType.TEXT else message.data
                    if len(text) > MESSAGE_BYTES:  # The library lets one byte more through where it was deflated.
                        await self._socket.close(code=WSCloseCode.MESSAGE_TOO_BIG)
                        break
                    await self._hear(text)
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

    async def _hear(self, text: bytes) -> None:
        try:
            message = parse(text)
            match message:
                case Subscribe():
                    await self._subscribe(message, self._view(message))
                case Unsubscribe():
                    self._leave()
                    self._reply(Unsubscribed())
                case Ping():
                    self._reply(Pong(timestamp=self._time()))
        except Misunderstood as misunderstood:
            self._reply(misunderstood.error)

    def _view(self, message: Subscribe) -> View:
        public = message.view == "public"
        if self._doctor_id is None:
            doctors = frozenset(message.doctors) if message.doctors is not None else None
            return View(doctors=doctors, department=message.department, public=public)
        if message.doctors is not None or message.department is not None:
            raise Misunderstood("invalid_message", "this connection watches one doctor: it takes no other choice")
        return View(doctor_id=self._doctor_id, public=public)

    async def _subscribe(self, message: Subscribe, view: View) -> None:
        self._leave()
        self._date = message.date
        self._parts.boards.keep(message.date)
        try:
            resumes = await self._can_go_on_from(message.resume)
            board = await self._parts.boards.get(message.date)
        except _NOT_SHOWN:
            self.lose()
            return
        # No await from here on: a state published in between would be missed.
        try:
            stream = self._fanout.join(board, view, self, deltas=message.mode == "delta")
        except TooManySubscriptions:
            self._leave()
            self._reply(Error(code="too_many_subscriptions", message="too many different choices of doctors are shown"))
            return
        self._stream = stream
        self._watch = self._parts.audit.began(self._viewer, self._started(message, view))
        self._seen, self._beginning = -1, True
        if resumes and message.resume is not None and message.resume.sequence <= stream.channel.sequence:
            self._seen = message.resume.sequence
        if message.heartbeat is not None:
            self._beat_every(message.heartbeat)
        self._aside = self._told_live != self._parts.freshness.live
        self.offer()

    def _started(self, message: Subscribe, view: View) -> SubscriptionStarted:
        """For the record. A department that no doctor belongs to shows nothing, and may be anything at all that
        somebody typed: it is not kept."""
        known = view.department in {card.department for card in self._parts.directory.doctors.values()}
        doctors = tuple(sorted(view.doctors)) if view.doctors is not None else None
        return SubscriptionStarted(
            date=message.date,
            sequence=self._parts.projector.position,
            doctor_id=view.doctor_id,
            doctors=doctors if known or view.department is None else (),
            department=view.department if known else None,
            public=view.public,
        )

    async def _can_go_on_from(self, resume: Resume | None) -> bool:
        """Whether the log has had this state. If it has and this worker has not, it is waited for: nobody goes back
        in time. Raises Behind."""
        if resume is None or resume.epoch != self._parts.epoch or resume.sequence < 0:
            return False
        if resume.sequence > self._parts.projector.position:
            async with asyncio.timeout(RESUME_SECONDS):
                head = await read.head(self._parts.pool)
            if resume.sequence > head:
                return False
            await self._parts.projector.reached(resume.sequence, seconds=RESUME_SECONDS)
        return True

    def _leave(self) -> None:
        if self._stream is not None:
            self._step_out()
            self._fanout.leave(self._stream, self)
            self._stream = None
        if self._heartbeat is not None:
            self._heartbeat.cancel()
            self._heartbeat = None
        if self._date is not None:
            if self._watch is not None:
                self._watch.ended(SubscriptionEnded(date=self._date, sequence=self._parts.projector.position))
                self._watch = None
            self._parts.boards.release(self._date)
            self._date = None
        self._beginning = self._was_wrong = self._heartbeat_due = self._aside = False

    # --- what it gets ----------------------------------------------------------------------------

    def offer(self) -> None:
        """Send the newest state now, or when what was sent before has left."""
        transport, stream = self._transport, self._stream
        if stream is None or transport.is_closing():
            return
        if transport.get_write_buffer_size():
            self._step_out()
            if self._catching_up is None or self._catching_up.done():
                self._catching_up = asyncio.create_task(self._catch_up())
            return
        if self._beginning:
            self._begin(stream)
        else:
            self._go_on(stream)
        if self._aside:
            self._say_aside()
        if self._crowd is None and self._seen == stream.published:
            self._crowd = stream.step_in(self, transport)

    def fall_behind(self) -> None:
        self._step_out()
        self.offer()

    def begin_again(self) -> None:
        self._step_out()
        self._seen, self._beginning, self._was_wrong = -1, True, True
        self.offer()

    def _step_out(self) -> None:
        if self._crowd is not None and self._stream is not None:
            self._seen = self._shown()
            self._stream.step_out(self._crowd, self, self._transport)
            self._crowd = None

    def lose(self) -> None:
        self._leave()
        self._reply(Error(code="unavailable", message="this date cannot be shown now"))

    def tell_status(self) -> None:
        """Whether boards are live may have changed."""
        if self._stream is not None and self._told_live != self._parts.freshness.live:
            self._aside = True
            self.offer()

    def _begin(self, stream: Stream) -> None:
        """The first answer to a subscription: what is another since the client's last state, or all of it."""
        self._beginning = False
        if self._was_wrong:
            self._say(Status(live=False, since=self._time()))
        if self._seen >= 0:
            self._seen, frame = stream.channel.since(self._seen, self.window_bits)
        else:
            self._seen, frame = stream.channel.snapshot(self.window_bits)
        self._transport.writelines(frame.pieces)
        if self._was_wrong:
            self._was_wrong, self._told_live, self._aside = False, True, True
            self._say(Status(live=True, since=self._time()))

    def _shown(self) -> int:
        return self._crowd.published if self._crowd is not None else self._seen

    def _go_on(self, stream: Stream) -> None:
        newest = stream.newest(self._shown(), self.window_bits)
        if newest is not None:
            self._step_out()  # Its turn in the crowd, if it still comes, would bring the same again.
            self._seen, frame = newest
            self._transport.writelines(frame.pieces)

    def _say_aside(self) -> None:
        self._aside = False
        if self._told_live != self._parts.freshness.live:
            self._told_live = self._parts.freshness.live
            self._say(Status(live=self._told_live, since=self._parts.encoder.time(self._parts.freshness.since)))
        if self._heartbeat_due:
            self._heartbeat_due = False
            head, lag_seconds = self._parts.freshness.head, self._parts.freshness.lag_seconds()
            self._say(Heartbeat(sequence=self._shown(), head=head, lag_seconds=lag_seconds, timestamp=self._time()))

    def _beat_every(self, seconds: float) -> None:
        self._heartbeat = asyncio.get_running_loop().call_later(seconds, self._beat, seconds)

    def _beat(self, seconds: float) -> None:
        self._beat_every(seconds)
        self._heartbeat_due = self._aside = True
        self.offer()

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
        self._say(answer)
        state_bytes = self._stream.channel.frame_bytes if self._stream else 0
        if self._transport.get_write_buffer_size() > REPLIES_UNREAD_BYTES + state_bytes:
            self._transport.abort()

    def _say(self, message: msgspec.Struct) -> None:
        self._transport.writelines(text_frame([_encode(message)]).pieces)

    def _time(self) -> str:
        return self._parts.encoder.time(self._parts.now())


def _keep_states_young(transport: asyncio.Transport) -> None:
    """What waits in buffers grows old. So hold nothing back in user space, and little in the kernel."""
    transport.set_write_buffer_limits(high=0)
    raw = transport.get_extra_info("socket")
    if raw is not None and hasattr(socket, "TCP_NOTSENT_LOWAT"):
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, NOT_SENT_BYTES)
