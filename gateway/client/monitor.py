"""Monitor: keeps a connection, holds the newest state, and hands states over at the consumer's pace."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Final, Generic, NoReturn, Self, Unpack, overload
from uuid import UUID

import aiohttp
from msgspec.structs import replace
from yarl import URL

from domain.rules.ids import DoctorId
from gateway.client.board import Data
from gateway.client.endings import Rejected, Unaskable
from gateway.client.hearing import Heard, Refusal, reader
from gateway.client.link import Link, Lost, Silent, delay_seconds, linked, seconds_awake_and_asleep, server_address
from gateway.client.options import Connection, Full, Mode, Options, Public
from gateway.client.shown import Following, Gap, Shown, conflated
from gateway.live.messages import Delta, Heartbeat, Snapshot, Status, Update
from gateway.live.protocol import Resume, Subscribe
from projections.shapes import Day, DoctorDay, PublicDay, PublicDoctorDay

PATH: Final = "api/v1/ws/queue"
HEARTBEAT_SECONDS: Final = 10.0
SILENT_HEARTBEATS: Final = 2.5
PASSING: Final = {"unavailable", "rate_limited", "too_many_subscriptions"}
"""What the server says no to for now only."""


class Monitor(Generic[Data]):
    """Watches a date while it is entered. To be iterated by one consumer.

    A consumer that is slower than the hospital misses states, never the newest: what it has not taken becomes one with
    what comes. `url` is the server's: http, https, ws or wss.
    """

    @overload
    def __init__(
        self: Monitor[Day], url: str, date: datetime.date, *,
        view: Full = ..., doctor_id: None = ..., **options: Unpack[Options],
    ) -> None: ...  # fmt: skip

    @overload
    def __init__(
        self: Monitor[DoctorDay], url: str, date: datetime.date, *,
        view: Full = ..., doctor_id: UUID, **options: Unpack[Options],
    ) -> None: ...  # fmt: skip

    @overload
    def __init__(
        self: Monitor[PublicDay], url: str, date: datetime.date, *,
        view: Public, doctor_id: None = ..., **options: Unpack[Options],
    ) -> None: ...  # fmt: skip

    @overload
    def __init__(
        self: Monitor[PublicDoctorDay], url: str, date: datetime.date, *,
        view: Public, doctor_id: UUID, **options: Unpack[Options],
    ) -> None: ...  # fmt: skip

    def __init__(
        self,
        url: str,
        date: datetime.date,
        *,
        view: Full | Public = "full",
        doctor_id: UUID | None = None,
        doctors: Iterable[UUID] | None = None,
        department: str | None = None,
        mode: Mode = "delta",
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
        silent_heartbeats: float = SILENT_HEARTBEATS,
        compression: bool = True,
        on_connection: Callable[[Connection], None] | None = None,
    ) -> None:
        self._url = address(url, doctor_id)
        if doctor_id is not None and (doctors is not None or department is not None):
            raise Unaskable("doctor_id stands for one doctor alone: without doctors and department")
        self._subscribe = Subscribe(
            date=date,
            mode=mode,
            heartbeat=heartbeat_seconds,
            doctors=None if doctors is None else [DoctorId(each) for each in doctors],
            department=department,
            view=view,
        )
        self._silent_after_seconds = heartbeat_seconds * silent_heartbeats
        self._compression = compression
        self._on_connection = on_connection
        self._read = reader(one_doctor=doctor_id is not None, public=view == "public")

        self.connection = Connection.IDLE
        self.trouble: str | None = None
        """Why the last connection was lost, until there is another."""
        self.heartbeat: Heartbeat | None = None
        """The last one: what time it is in the hospital, and how far the server is behind its log."""
        self._heard_at: float | None = None
        self._failures = 0
        self._asked = False
        self._server_follows = True
        self._following: Following[Data] = Following()
        self._untaken: Shown[Data] | None = None
        self._news = asyncio.Event()
        self._listening: asyncio.Task[NoReturn] | None = None

    async def __aenter__(self) -> Self:
        self._become(Connection.CONNECTING)
        self._listening = asyncio.create_task(self._listen())
        self._listening.add_done_callback(lambda _: self._news.set())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._listening is not None
        self._listening.cancel()
        await asyncio.wait([self._listening])

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Shown[Data]:
        """The newest state that was not taken yet. Raises WatchEnded."""
        if self._listening is None:
            raise RuntimeError("a Monitor is entered before it is iterated: `async with Monitor(...) as monitor`")
        while self._untaken is None:
            if self._listening.cancelled():
                raise StopAsyncIteration
            if self._listening.done():
                self._listening.result()
            self._news.clear()
            await self._news.wait()
        taken, self._untaken = self._untaken, None
        return taken

    @property
    def newest(self) -> Shown[Data] | None:
        """The newest state, taken or not; its events are those since the state before it."""
        return self._following.newest

    @property
    def silent_seconds(self) -> float | None:
        """How long ago the server last said something."""
        return None if self._heard_at is None else seconds_awake_and_asleep() - self._heard_at

    # --- listening -------------------------------------------------------------------------------

    async def _listen(self) -> NoReturn:
        """Ends with a WatchEnded, or when it is cancelled."""
        try:
            async with aiohttp.ClientSession() as session:
                while True:
                    try:
                        await self._stay(session)
                    except Lost as lost:
                        self.trouble = str(lost)
                    self._become(Connection.RECONNECTING)
                    await asyncio.sleep(delay_seconds(self._failures))
                    self._failures += 1
        finally:
            self._become(Connection.CLOSED)

    async def _stay(self, session: aiohttp.ClientSession) -> NoReturn:
        """On one connection, as long as it lasts."""
        self._server_follows, self.heartbeat = True, None
        async with linked(
            session, self._url, compression=self._compression, silent_after_seconds=self._silent_after_seconds
        ) as link:
            await self._ask(link)
            while True:
                try:
                    message = self._read(await link.hear())
                except Silent:
                    self._become(Connection.STALE)
                    raise
                self._heard_at = seconds_awake_and_asleep()
                if message is not None:
                    await self._hear(link, message)

    async def _ask(self, link: Link) -> None:
        """For what came after the newest state, or for all where there is none."""
        newest = self._following.newest
        resume = None if newest is None else Resume(newest.epoch, newest.sequence)
        await link.say(replace(self._subscribe, resume=resume))
        self._asked = True

    async def _hear(self, link: Link, message: Heard) -> None:
        missed = False
        match message:
            case Snapshot() | Update() | Delta():
                missed = not self._take(message)
            case Heartbeat():
                self.heartbeat = message
                missed = self._behind
            case Status():
                self._server_follows = message.live
            case Refusal() if message.code in PASSING:
                raise Lost(f"the server says: {message.message}")
            case Refusal():
                raise Rejected(message.code, message.message)
        self._failures, self.trouble = 0, None
        if missed and not self._asked:
            await self._ask(link)
        if self._following.newest is not None:
            newest = self._server_follows and not self._behind and not self._asked
            self._become(Connection.LIVE if newest else Connection.STALE)

    def _take(self, message: Snapshot[Data] | Update[Data] | Delta[Any]) -> bool:
        """Whether it fits what is held."""
        try:
            shown = self._following.take(message)
        except Gap:
            return False
        self._asked = False
        if shown is not None:
            self._untaken = shown if self._untaken is None else conflated(self._untaken, shown)
            self._news.set()
        return True

    @property
    def _behind(self) -> bool:
        """The server has told of a state that has not come."""
        newest = self._following.newest
        return self.heartbeat is not None and (newest is None or newest.sequence < self.heartbeat.sequence)

    def _become(self, connection: Connection) -> None:
        if connection is not self.connection:
            self.connection = connection
            if self._on_connection is not None:
                self._on_connection(connection)


def address(url: str, doctor_id: UUID | None) -> URL:
    """Of the WebSocket. Raises Unaskable."""
    address = server_address(url) / PATH
    return address if doctor_id is None else address / str(doctor_id)
