"""One monitor: what it watches as it happens, and how the states reach it."""

from __future__ import annotations

import asyncio
from datetime import date
from typing import TYPE_CHECKING, Final

from domain.audit.codec import Viewer
from domain.audit.looks import SubscriptionEnded, SubscriptionStarted
from domain.audit.recorder import Watch
from domain.log import read
from domain.log.codec import NewerEvent
from domain.postgres.connect import FAULTS
from gateway.live import direct
from gateway.live.fanout import Crowd, Fanout, Stream, TooManySubscriptions
from gateway.live.frames import Frame
from gateway.live.messages import Error, Heartbeat, Status
from gateway.live.protocol import Resume, Subscribe
from gateway.live.wire import Gone, Wire
from projections.boards import Unavailable
from projections.projector import Behind
from projections.views import View

if TYPE_CHECKING:
    from gateway.parts import Parts

RESUME_SECONDS: Final = 2.0
"""How long a client that has seen more than this worker has waits for it to catch up."""

NOT_SHOWN: Final = (Unavailable, Behind, NewerEvent, *FAULTS)
"""Why a date cannot be shown for now."""


class Monitor:
    """Watches at most one date.

    What may be said between states, a status or a heartbeat, waits like them for the buffer to be empty.
    """

    __slots__ = (
        "_aside",
        "_beginning",
        "_catching_up",
        "_crowd",
        "_date",
        "_fanout",
        "_heartbeat",
        "_heartbeat_due",
        "_parts",
        "_seen",
        "_stream",
        "_told_live",
        "_viewer",
        "_was_wrong",
        "_watch",
        "_wire",
        "window_bits",
    )

    def __init__(self, parts: Parts, fanout: Fanout, wire: Wire, viewer: Viewer) -> None:
        self._parts, self._fanout, self._wire, self._viewer = parts, fanout, wire, viewer
        self._watch: Watch | None = None
        """The record of what is being shown, to be ended with it."""
        self.window_bits = wire.window_bits
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
        wire.blocked = self._step_out

    @property
    def state_bytes(self) -> int:
        """The largest that may have been sent at once."""
        return self._stream.channel.frame_bytes if self._stream is not None else 0

    async def subscribe(self, message: Subscribe, view: View) -> None:
        self.leave()
        self._date = message.date
        self._parts.boards.keep(message.date)
        try:
            resumes = await self._can_go_on_from(message.resume)
            board = await self._parts.boards.get(message.date)
        except NOT_SHOWN:
            self.lose()
            return
        if self._wire.closing:
            return  # Nothing is shown any more, and so nothing was looked at.
        # No await from here on: a state published in between would be missed.
        try:
            stream = self._fanout.join(board, view, self, deltas=message.mode == "delta")
        except TooManySubscriptions:
            self.leave()
            too_many = "too many different choices of doctors are shown"
            self._wire.answer(Error(code="too_many_subscriptions", message=too_many))
            return
        self._stream = stream
        self._watch = self._parts.audit.began(self._viewer, self._started(message, view))
        self._seen, self._beginning = -1, True
        if resumes and message.resume is not None:
            # What is newer in the log than all that is shown changed nothing here: so there is nothing to tell.
            self._seen = min(message.resume.sequence, stream.channel.sequence)
        if message.heartbeat is not None:
            self._beat_every(message.heartbeat)
        self._aside = self._told_live != self._parts.freshness.live
        self.offer()

    def _started(self, message: Subscribe, view: View) -> SubscriptionStarted:
        """For the record. A department that no doctor belongs to may be anything at all that somebody typed, and is not
        kept. A doctor may come to it yet: so for the record, it may show everybody."""
        known = view.department in {card.department for card in self._parts.directory.doctors.values()}
        return SubscriptionStarted(
            date=message.date,
            sequence=self._parts.projector.position,
            doctor_id=view.doctor_id,
            doctors=tuple(sorted(view.doctors)) if view.doctors is not None else None,
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

    def leave(self) -> None:
        """Watch nothing."""
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

    def end(self) -> None:
        """The connection is no more."""
        self.leave()
        if self._catching_up is not None:
            self._catching_up.cancel()

    # --- what it gets ----------------------------------------------------------------------------

    def offer(self) -> None:
        """Send the newest state now, or when what was sent before has left."""
        stream = self._stream
        if stream is None or self._wire.closing:
            return
        if self._wire.unsent_bytes:
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
        if self._crowd is None and self._seen == stream.published and direct.AVAILABLE and self._wire.clear:
            self._crowd = stream.step_in(self, self._wire.socket)

    def finish(self, frame: Frame, sent: int) -> None:
        self._wire.send_rest(frame, sent)

    def begin_again(self) -> None:
        self._step_out()
        self._seen, self._beginning, self._was_wrong = -1, True, True
        self.offer()

    def _step_out(self) -> None:
        if self._crowd is not None and self._stream is not None:
            self._seen = self._shown()
            self._stream.step_out(self._crowd, self, self._wire.socket)
            self._crowd = None

    def lose(self) -> None:
        self.leave()
        self._wire.answer(Error(code="unavailable", message="this date cannot be shown now"))

    def tell_status(self) -> None:
        """Whether boards are live may have changed."""
        if self._stream is not None and self._told_live != self._parts.freshness.live:
            self._aside = True
            self.offer()

    def _begin(self, stream: Stream) -> None:
        """The first answer to a subscription: what is another since the client's last state, or all of it."""
        self._beginning = False
        if self._was_wrong:
            self._wire.say(Status(live=False, since=self._time()))
        if self._seen >= 0:
            self._seen, frame = stream.channel.since(self._seen, self.window_bits)
        else:
            self._seen, frame = stream.channel.snapshot(self.window_bits)
        self._wire.send(frame)
        if self._was_wrong:
            self._was_wrong, self._told_live, self._aside = False, True, True
            self._wire.say(Status(live=True, since=self._time()))

    def _shown(self) -> int:
        return self._crowd.published if self._crowd is not None else self._seen

    def _go_on(self, stream: Stream) -> None:
        newest = stream.newest(self._shown(), self.window_bits)
        if newest is not None:
            self._step_out()  # Its turn in the crowd, if it still comes, would bring the same again.
            self._seen, frame = newest
            self._wire.send(frame)

    def _say_aside(self) -> None:
        self._aside = False
        if self._told_live != self._parts.freshness.live:
            self._told_live = self._parts.freshness.live
            self._wire.say(Status(live=self._told_live, since=self._parts.encoder.time(self._parts.freshness.since)))
        if self._heartbeat_due:
            self._heartbeat_due = False
            head, lag_seconds = self._parts.freshness.head, self._parts.freshness.lag_seconds()
            self._wire.say(
                Heartbeat(sequence=self._shown(), head=head, lag_seconds=lag_seconds, timestamp=self._time())
            )

    def _beat_every(self, seconds: float) -> None:
        self._heartbeat = asyncio.get_running_loop().call_later(seconds, self._beat, seconds)

    def _beat(self, seconds: float) -> None:
        self._beat_every(seconds)
        self._heartbeat_due = self._aside = True
        self.offer()

    async def _catch_up(self) -> None:
        try:
            await self._wire.drained()
        except Gone:
            return
        self._catching_up = None
        self.offer()

    def _time(self) -> str:
        return self._parts.encoder.time(self._parts.now())
