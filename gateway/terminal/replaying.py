"""From a replay's states to the screen, or to lines where nobody looks at one."""

from __future__ import annotations

import asyncio
import datetime
import re
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Protocol, Self

import aiohttp
from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from gateway.client import Connection, Moment, Replay, Unaskable
from gateway.terminal.picture import Freshness, cut, picture, plain
from gateway.terminal.reception import ANSWER_SECONDS, Reception
from gateway.terminal.watching import can_be_drawn_on, told
from projections.shapes import By

TICK_SECONDS: Final = 0.2
"""Between two pictures. In between, the replayed time goes on."""

_CLOCK: Final = re.compile(r"\d\d?:\d\d(:\d\d)?")


@dataclass(frozen=True, slots=True)
class Wanted:
    """`at`: a time of the date by the hospital's clock (`09:15`), one with its offset, or a sequence."""

    url: str
    date: datetime.date
    speed: float = 1
    at: str | None = None
    by: By = "recorded"
    doctor: str | None = None


async def replay(wanted: Wanted) -> None:
    """Until its end; at a terminal, until it is cancelled. Raises WatchEnded, Unaskable, and BrokenPipeError where
    nobody reads the lines."""
    if not can_be_drawn_on():
        await _play(wanted, Lines())
        return
    with Screen(wanted.speed) as screen:
        tasks = {asyncio.create_task(_play(wanted, screen)), asyncio.create_task(screen.draw_on())}
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)


async def _play(wanted: Wanted, display: Display) -> None:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(ANSWER_SECONDS)) as session:
        reception = Reception(session, wanted.url, display.say)
        doctor_id = await reception.doctor_id(wanted.doctor) if wanted.doctor is not None else None
        start = await _start(reception, wanted)
    replaying: Replay[Any] = Replay(
        wanted.url, wanted.date, speed=wanted.speed, start=start, by=wanted.by, doctor_id=doctor_id
    )
    async with replaying:
        async for moment in replaying:
            display.show(moment)
        await display.end()


async def _start(reception: Reception, wanted: Wanted) -> int | datetime.datetime | None:
    """Raises Unaskable."""
    at = wanted.at
    if at is None:
        return None
    if at.isdecimal():
        return int(at)
    with suppress(ValueError):
        if _CLOCK.fullmatch(at):
            return await reception.time_on(wanted.date, datetime.time.fromisoformat(at.zfill(5 if len(at) < 6 else 8)))
        with_offset = datetime.datetime.fromisoformat(at)
        if with_offset.tzinfo is not None:
            return with_offset
    raise Unaskable(f"{at!r} is no time, such as 09:15 or {wanted.date}T09:15:00+05:30, and no sequence")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a replay is: the replayed time, on a bar from the date's first event to its last."""

    moment: Moment[Any]
    at: datetime.datetime
    speed: float
    ended: bool

    def line(self, page: str | None) -> RenderableType:
        facts = ["at its end" if self.ended else f"×{self.speed:g}" if self.speed else "as fast as can be"]
        if self.moment.sequence:
            facts.append(f"#{self.moment.sequence}")
        if self.moment.event is not None:
            facts.append(self.moment.event)
        if page is not None:
            facts.append(page)
        grid = Table.grid(expand=True, padding=(0, 1))
        grid.add_column(no_wrap=True)
        grid.add_column(ratio=1)
        grid.add_column(no_wrap=True, justify="right")
        clock = Text(f"{self.at:%H:%M:%S}", style="bold")
        grid.add_row(clock, ProgressBar(total=1.0, completed=self.fraction), cut(Text(" · ".join(facts))))
        return grid

    @property
    def fraction(self) -> float:
        begins, ends = self.moment.begins, self.moment.ends
        if begins is None or ends is None or ends <= begins:
            return float(self.ended)
        return min(1.0, max(0.0, (self.at - begins) / (ends - begins)))


class Display(Protocol):
    def say(self, trouble: str) -> None:
        """Why there is nothing to show yet."""

    def show(self, moment: Moment[Any]) -> None:
        """How it was next."""

    async def end(self) -> None:
        """There is no more."""


class Screen:
    """The whole terminal, given back as it was."""

    def __init__(self, speed: float) -> None:
        self._speed = speed
        self._console = Console()
        self._live = Live(console=self._console, screen=True, auto_refresh=False)
        self._trouble: str | None = None
        self._moment: Moment[Any] | None = None
        self._since = 0.0
        self._ended = False

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._live.stop()

    def say(self, trouble: str) -> None:
        self._trouble = trouble

    def show(self, moment: Moment[Any]) -> None:
        self._moment, self._since = moment, time.monotonic()

    async def end(self) -> None:
        """The last picture stays, as it would of a film."""
        self._ended = True
        await asyncio.Event().wait()

    async def draw_on(self) -> None:
        """For ever."""
        while True:
            self._draw()
            await asyncio.sleep(TICK_SECONDS)

    def _draw(self) -> None:
        width, height = self._console.size
        moment = self._moment
        if moment is None:
            connecting = Freshness(Connection.CONNECTING, trouble=self._trouble)
            drawn = picture(None, connecting, width=width, height=height, seconds=0)
        else:
            progress = Progress(moment, self._now(moment), self._speed, self._ended)
            drawn = picture(moment.day, progress, width=width, height=height, seconds=time.monotonic())
        self._live.update(drawn, refresh=True)

    def _now(self, moment: Moment[Any]) -> datetime.datetime:
        """The replayed time: between two events of the date it goes on, as the server's does."""
        begins, ends = moment.begins, moment.ends
        if begins is None or ends is None or not begins <= moment.at < ends:
            return moment.at
        return min(ends, moment.at + datetime.timedelta(seconds=(time.monotonic() - self._since) * self._speed))


class Lines:
    """One line for each state on stdout, tickets and no names, since lines are kept; what is wrong on stderr."""

    def __init__(self) -> None:
        self._said: str | None = None

    def say(self, trouble: str) -> None:
        if trouble != self._said:
            print(f"daysheet: {plain(trouble)}", file=sys.stderr, flush=True)
        self._said = trouble

    def show(self, moment: Moment[Any]) -> None:
        print(told(f"{moment.at.isoformat()} #{moment.sequence} {moment.event or 'nothing'},", moment.day), flush=True)

    async def end(self) -> None:
        pass
