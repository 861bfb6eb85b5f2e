"""A date's past, event by event, as fast as it is wanted.

    async with Replay("http://127.0.0.1:8000", date(2025, 11, 17), speed=60) as replay:
        async for moment in replay:
            print(moment.at, moment.event, moment.day.total_appointments)

It ends where the past ends. `pause`, `play` and `seek` steer it; after a `seek` or `play` it may be iterated again.
Every state comes: who takes them slowly gets them late. A connection that is lost ends it.
"""

from __future__ import annotations

import datetime
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Final, Generic, Self, overload
from uuid import UUID

import aiohttp
import msgspec

from gateway.client.board import Data
from gateway.client.endings import NotUnderstood, Rejected, WatchEnded
from gateway.client.hearing import Heard, Refusal, reader
from gateway.client.link import Link, Lost, Silent, linked
from gateway.client.monitor import address
from gateway.live import protocol
from gateway.live.messages import Replayed, ReplayEnd, Snapshot, Update
from projections.shapes import By, Day, DoctorDay

SILENT_SECONDS: Final = 30.0
"""A server that says nothing for so long is asked whether it is there."""


class Moment(msgspec.Struct, Generic[Data], frozen=True, kw_only=True):
    """A state of the past. `event`: what led to it, at `at`; after a seek, what was last before the time sought.

    `begins`, `ends`: when the date's first and last event were, as known at the last seek.
    """

    day: Data
    sequence: int
    at: datetime.datetime
    event: str | None
    begins: datetime.datetime | None
    ends: datetime.datetime | None


class Replay(Generic[Data]):
    """`start`: a sequence, or a time with its offset; None for before everything. `speed`: 1 to 3600, or 0 for as fast
    as it is taken. Raises WatchEnded, Unaskable."""

    @overload
    def __init__(
        self: Replay[Day], url: str, date: datetime.date, *,
        speed: float = ..., start: int | datetime.datetime | None = ..., by: By = ..., doctor_id: None = ...,
    ) -> None: ...  # fmt: skip

    @overload
    def __init__(
        self: Replay[DoctorDay], url: str, date: datetime.date, *,
        speed: float = ..., start: int | datetime.datetime | None = ..., by: By = ..., doctor_id: UUID,
    ) -> None: ...  # fmt: skip

    @overload
    def __init__(
        self: Replay[Any], url: str, date: datetime.date, *,
        speed: float = ..., start: int | datetime.datetime | None = ..., by: By = ..., doctor_id: UUID | None,
    ) -> None: ...  # fmt: skip

    def __init__(
        self,
        url: str,
        date: datetime.date,
        *,
        speed: float = 1,
        start: int | datetime.datetime | None = None,
        by: By = "recorded",
        doctor_id: UUID | None = None,
    ) -> None:
        self._url = address(url, doctor_id)
        self._asked = protocol.Replay(date=date, from_=start, speed=speed, by=by)
        self._read = reader(one_doctor=doctor_id is not None, public=False)
        self._stack = AsyncExitStack()
        self._link: Link
        self._begins: datetime.datetime | None = None
        self._ends: datetime.datetime | None = None

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            session = await stack.enter_async_context(aiohttp.ClientSession())
            connecting = linked(session, self._url, compression=True, silent_after_seconds=SILENT_SECONDS)
            try:
                self._link = await stack.enter_async_context(connecting)
            except Lost as lost:
                raise WatchEnded(str(lost)) from lost
            await self._say(self._asked)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def pause(self) -> None:
        await self._say(protocol.Pause())

    async def play(self, speed: float | None = None) -> None:
        """`speed`: None for the last one."""
        await self._say(protocol.Play(speed=speed))

    async def seek(self, to: int | datetime.datetime) -> None:
        """Whatever is under way still comes before it."""
        await self._say(protocol.Seek(to=to))

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Moment[Data]:
        while True:
            match await self._hear():
                case Snapshot(replay=Replayed() as place) as state:
                    self._begins, self._ends = _time(place.begins), _time(place.ends)
                    return self._moment(state.data, place)
                case Update(replay=Replayed() as place) as state:
                    return self._moment(state.data, place)
                case ReplayEnd():
                    raise StopAsyncIteration
                case Refusal(code=code, message=message):
                    raise Rejected(code, message)

    def _moment(self, day: Data, place: Replayed) -> Moment[Data]:
        at = _time(place.at)
        if at is None:
            raise NotUnderstood("a state of a replay has no time")
        return Moment(day=day, sequence=place.sequence, at=at, event=place.event, begins=self._begins, ends=self._ends)

    async def _say(self, message: msgspec.Struct) -> None:
        try:
            await self._link.say(message)
        except Lost as lost:
            raise WatchEnded(f"the replay broke off: {lost}") from lost

    async def _hear(self) -> Heard | None:
        """A replay may have nothing to say for long, so a silent server is asked before it is given up."""
        try:
            try:
                message = await self._link.hear()
            except Silent:
                await self._link.say(protocol.Ping())
                message = await self._link.hear()
        except Lost as lost:
            raise WatchEnded(f"the replay broke off: {lost}") from lost
        return self._read(message)


def _time(told: str | msgspec.UnsetType | None) -> datetime.datetime | None:
    try:
        return datetime.datetime.fromisoformat(told) if isinstance(told, str) else None
    except ValueError as error:
        raise NotUnderstood(str(error)) from None
