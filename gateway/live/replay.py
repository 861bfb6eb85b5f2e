"""A date's past, shown to one client event by event: at the day's own pace times a speed, with pause, play and seek.

A replay is a task. What steers it is taken note of at once, and done when the frame under way has left: all that the
client gets comes from this one task, in order. A client that reads slowly gets every state, only later.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left, bisect_right
from collections import deque
from contextlib import suppress
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Final

import msgspec
import structlog

from domain.audit.codec import Viewer
from domain.audit.looks import ReplayEnded, ReplayStarted
from domain.rules.events import NO_TIME, AppointmentEvent
from domain.rules.ids import DoctorId, clinic_of, clinic_stream
from gateway.live import protocol
from gateway.live.envelopes import Body, changed_head, snapshot_head
from gateway.live.fanout import PLAIN, TooManySubscriptions
from gateway.live.frames import Deflater, Frame, text_frame
from gateway.live.messages import Error, Replayed, ReplayEnd
from gateway.live.monitor import NOT_SHOWN
from gateway.live.protocol import Misunderstood, meant
from gateway.live.wire import Gone, Wire
from projections.board import DayBoard, News
from projections.timeline import START, Place, Step, Timeline
from projections.views import View

if TYPE_CHECKING:
    from gateway.parts import Parts

REPLAYS_AT_ONCE: Final = 32
"""So many play in one process. One that stands still takes nobody's place."""
LOOK_SECONDS: Final = 1.0
"""By effective time, what is entered late may belong to what comes next: so often it is looked for."""
SEEKS_WAITING: Final = 16
"""Of seeks that come faster than they can be answered, only the newest are."""
SEQUENCE_SECONDS: Final = 2.0
"""How long a sequence that this worker has not reached is waited for."""
NORMAL_SPEED: Final = 1.0

_encode: Final = msgspec.json.Encoder().encode

log = structlog.get_logger()


class Replays:
    """Those of one process. All of them together make one frame at a time, and live monitors come in between."""

    def __init__(self) -> None:
        self.playing = 0
        self.turn = asyncio.Lock()


class Replay:
    """Begins by being made; whoever makes one says `end`. That, `play` and `seek` raise TooManySubscriptions.

    `over`: it has ended, perhaps by itself. `state_bytes`: the largest frame that was sent.
    """

    def __init__(
        self,
        parts: Parts,
        replays: Replays,
        wire: Wire,
        asked: protocol.Replay,
        doctor_id: DoctorId | None,
        viewer: Viewer,
    ) -> None:
        self._parts, self._replays, self._wire = parts, replays, wire
        self._has_place = False
        self._take_place()
        self._date, self._by, self._doctor_id = asked.date, asked.by or "recorded", doctor_id
        self._stream = clinic_stream(doctor_id, asked.date) if doctor_id is not None else None
        self._view = View(doctor_id=doctor_id)
        self._deflater = Deflater(wire.window_bits) if wire.window_bits != PLAIN else None
        self._speed = NORMAL_SPEED if asked.speed is None else asked.speed
        self._playing = True
        self._at_end = False
        """The client was told that this is the end."""
        self._seeks: deque[Place] = deque([START if asked.from_ is None else asked.from_], maxlen=SEEKS_WAITING)
        self._steered = asyncio.Event()
        self._outdated = False
        """Somebody who may be shown looks different now, or is erased."""

        self._board: DayBoard | None = None
        self._number = 0
        """So many steps are on the board..."""
        self._version = 0
        """...of this version of the timeline."""
        self._last: Step | None = None
        """The last of them that is shown."""
        self._sequence = 0
        self._moment = NO_TIME
        """What time it is in the replay..."""
        self._since = 0.0
        """...at this time of the event loop's clock."""
        self._awaited: datetime | None = None
        """When what comes next was, while that is waited for: until then the replay's time goes on."""
        self.state_bytes = 0
        self.over = False
        started = ReplayStarted(date=asked.date, sequence=parts.projector.position, doctor_id=doctor_id, by=self._by)
        self._watch = parts.audit.began(viewer, started)
        self._lowest = self._highest = 0
        """Of the states that were shown."""
        self._task = asyncio.create_task(self._run())

    def end(self) -> None:
        self._finish()
        self._task.cancel()

    def _finish(self) -> None:
        self._give_up_place()
        if not self.over:
            self.over = True
            self._watch.ended(ReplayEnded(date=self._date, first=self._lowest, last=self._highest))

    def _take_place(self) -> None:
        if not self._has_place:
            if self._replays.playing >= REPLAYS_AT_ONCE:
                raise TooManySubscriptions
            self._replays.playing += 1
            self._has_place = True

    def _give_up_place(self) -> None:
        if self._has_place:
            self._replays.playing -= 1
            self._has_place = False

    # --- steering --------------------------------------------------------------------------------

    def pause(self) -> None:
        self._moment, self._since = self._now(), self._clock()
        self._playing = False
        self._give_up_place()
        self._steered.set()

    def play(self, speed: float | None) -> None:
        """`speed`: None for the last one."""
        self._take_place()
        self._moment, self._since = self._now(), self._clock()
        self._speed = self._speed if speed is None else speed
        self._playing, self._at_end = True, False
        self._steered.set()

    def seek(self, place: Place) -> None:
        if self._playing:
            self._take_place()
        self._seeks.append(place)
        self._steered.set()

    # --- the task --------------------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            async with self._parts.timelines.opened(self._date, self._by) as timeline:
                timeline.person_changed.add(self._person_changed)
                try:
                    while True:
                        await self._go_on(timeline)
                finally:
                    timeline.person_changed.discard(self._person_changed)
        except Gone:
            pass
        except Misunderstood as nowhere:
            self._wire.answer(nowhere.error)
        except NOT_SHOWN:
            self._wire.answer(Error(code="unavailable", message="this date's past cannot be shown now"))
        except Exception:  # A defect. Nobody is to wait for what does not come, and others go on.
            log.exception("replay_failed", date=str(self._date))
            self._wire.answer(Error(code="unavailable", message="this date's past cannot be shown"))
        finally:
            self._finish()

    def _person_changed(self) -> None:
        self._outdated = True
        self._steered.set()

    async def _go_on(self, timeline: Timeline) -> None:
        """Do the next thing there is to do, or wait until there is one."""
        self._steered.clear()
        if self._seeks:
            await self._seek(timeline, self._seeks.popleft())
        elif self._outdated:
            await self._show_again(timeline)
        elif not self._playing or self._at_end:
            await self._steered.wait()
        elif await self._is_another(timeline):
            # By effective time, something came in among what was known, perhaps before this place.
            await self._jump(timeline, self._here(), self._moment)
        elif (number := self._next(timeline)) is None:
            await self._look_for_more(timeline)
        elif (seconds := self._seconds_until(timeline.steps[number])) > 0:
            self._awaited = timeline.steps[number].at
            with suppress(TimeoutError):
                async with asyncio.timeout(min(seconds, LOOK_SECONDS) if self._by == "effective" else seconds):
                    await self._steered.wait()
            self._awaited = None
        else:
            await self._step(timeline, number)

    async def _is_another(self, timeline: Timeline) -> bool:
        if self._by == "effective":
            await self._parts.timelines.catch_up(timeline)
        return self._version != timeline.version

    def _here(self) -> Place:
        return self._last.sequence if self._last is not None else START

    async def _show_again(self, timeline: Timeline) -> None:
        """The same place, with people as they are registered now."""
        was_at_end = self._at_end
        await self._jump(timeline, self._here(), self._now())
        self._at_end = was_at_end and not self._steered.is_set()

    async def _seek(self, timeline: Timeline, place: Place) -> None:
        if isinstance(place, int):
            if not await self._parts.projector.is_in_log(place, seconds=SEQUENCE_SECONDS):
                beyond = Misunderstood("invalid_message", f"the log does not go as far as {place}")
                if self._board is None:
                    raise beyond
                self._wire.answer(beyond.error, self.state_bytes)
                return
        else:
            place = max(NO_TIME, min(meant(place), self._parts.now()))
        await self._parts.timelines.catch_up(timeline)
        await self._jump(timeline, place, place if isinstance(place, datetime) else None)

    async def _jump(self, timeline: Timeline, place: Place, moment: datetime | None) -> None:
        """Be there, and show it. `moment`: None for the time of what happened there last."""
        async with self._replays.turn:
            self._outdated = False
            self._number, self._board = await timeline.board_at(place)
            # No await from here until the frame is made.
            self._version, self._at_end = timeline.version, False
            self._last = next((step for step in reversed(timeline.steps[: self._number]) if self._shows(step)), None)
            self._shows_state(timeline.sequence(self._board, self._doctor_id))
            self._moment, self._since = moment or self._time_at(timeline), self._clock()
            begins, ends = self._hours(timeline)
            replayed = self._replayed(self._last, self._moment, begins=begins, ends=ends)
            await self._send(self._frame(snapshot_head(self._parts, self._sequence), self._board, replayed))
        await self._wire.drained()

    async def _step(self, timeline: Timeline, number: int) -> None:
        async with self._replays.turn:
            if self._steered.is_set() or self._version != timeline.version or self._board is None:
                return  # Something else is to be done first.
            # No await from here until the frame is made.
            while self._number <= number:
                timeline.fold(self._board, self._number)
                self._number += 1
            step, before = timeline.steps[number], self._sequence
            self._last = step
            self._shows_state(timeline.sequence(self._board, self._doctor_id))
            self._since = self._due(step) or self._clock()
            self._moment = step.at
            head = changed_head(self._parts, b"update", before, self._sequence, [_news(step)])
            await self._send(self._frame(head, self._board, self._replayed(step, step.at)))
        await self._wire.drained()

    def _shows_state(self, sequence: int) -> None:
        self._sequence = sequence
        self._lowest, self._highest = min(self._lowest or sequence, sequence), max(self._highest, sequence)

    async def _look_for_more(self, timeline: Timeline) -> None:
        """A date may go on while it is replayed."""
        await self._parts.timelines.catch_up(timeline)
        if not self._steered.is_set() and self._version == timeline.version and self._next(timeline) is None:
            self._at_end = True
            self._give_up_place()
            self._wire.say(ReplayEnd())
            await self._wire.drained()

    # --- what is shown ---------------------------------------------------------------------------

    def _shows(self, step: Step) -> bool:
        return self._stream is None or step.event.originator_id == self._stream

    def _next(self, timeline: Timeline) -> int | None:
        """How many steps come before the next one that is shown."""
        coming = range(self._number, len(timeline.steps))
        return next((number for number in coming if self._shows(timeline.steps[number])), None)

    def _frame(self, head: bytes, board: DayBoard, replayed: Replayed) -> Frame:
        """A message by the parts that it is deflated by."""
        begins, blocks, ends = self._parts.encoder.day_blocks(board, self._moment, self._view)
        body = Body(head + begins, blocks, b'%b,"replay":%b}' % (ends, _encode(replayed)))
        if self._deflater is not None:
            return self._deflater.frame(body)
        return text_frame([body.head, b",".join(body.blocks), body.tail])

    async def _send(self, frame: Frame) -> None:
        self.state_bytes = max(self.state_bytes, frame.size)
        self._wire.send(frame)
        await asyncio.sleep(0)

    def _replayed(self, last: Step | None, at: datetime, **hours: str | None) -> Replayed:
        time = self._parts.encoder.time
        if last is None:
            return Replayed(sequence=0, at=time(at), event=None, **hours)
        return Replayed(sequence=last.sequence, at=time(at), event=type(last.event).__name__, **hours)

    # --- what time it is -------------------------------------------------------------------------

    def _clock(self) -> float:
        return asyncio.get_running_loop().time()

    def _now(self) -> datetime:
        """In the replay."""
        if self._awaited is None:
            return self._moment
        return min(self._awaited, self._moment + timedelta(seconds=(self._clock() - self._since) * self._speed))

    def _due(self, step: Step) -> float | None:
        """When a step is to be shown, by the event loop's clock; None for at once. Only the date's own hours take
        time: nobody waits through the weeks before it, in which it was booked."""
        if not self._speed or not self._is_inside(self._moment) or not self._is_inside(step.at):
            return None
        return self._since + (step.at - self._moment).total_seconds() / self._speed

    def _seconds_until(self, step: Step) -> float:
        due = self._due(step)
        return 0.0 if due is None else due - self._clock()

    def _time_at(self, timeline: Timeline) -> datetime:
        """Of what was shown last, or of what comes first; of a date without events, now."""
        if self._last is not None:
            return self._last.at
        number = self._next(timeline)
        return timeline.steps[number].at if number is not None else self._parts.now()

    def _hours(self, timeline: Timeline) -> tuple[str | None, str | None]:
        """When the first and the last event on the date itself were."""
        steps = timeline.steps
        begin = bisect_left(steps, self._date, key=lambda step: self._date_of(step.at))
        end = bisect_right(steps, self._date, key=lambda step: self._date_of(step.at))
        first = next((steps[number].at for number in range(begin, end) if self._shows(steps[number])), None)
        last = next((steps[number].at for number in reversed(range(begin, end)) if self._shows(steps[number])), None)
        time = self._parts.encoder.time
        return time(first) if first is not None else None, time(last) if last is not None else None

    def _is_inside(self, at: datetime) -> bool:
        return self._date_of(at) == self._date

    def _date_of(self, at: datetime) -> date:
        """In the hospital."""
        return at.astimezone(self._parts.zone).date()


def _news(step: Step) -> News:
    event = step.event
    appointment_id = event.appointment_id if isinstance(event, AppointmentEvent) else None
    return News(step.sequence, type(event).__name__, clinic_of(event.originator_id)[0], appointment_id)
