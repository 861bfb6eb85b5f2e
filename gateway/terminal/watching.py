"""From the client's states to the screen, or to lines where nobody looks at one."""

from __future__ import annotations

import asyncio
import datetime
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, NoReturn, Protocol, Self

import aiohttp
from rich.console import Console
from rich.live import Live

from gateway.client import Connection, Monitor, Shown
from gateway.terminal.picture import AnyDay, Block, Freshness, clinics_of, in_order, picture, plain
from gateway.terminal.reception import ANSWER_SECONDS, Reception
from projections.shapes import ClinicBlock

TICK_SECONDS: Final = 1.0
"""So often the screen says how old it is."""
CALM_SECONDS: Final = 0.1
"""Between two pictures: nobody reads faster."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """`date`: None for the hospital's today, from midnight on the next. `doctor`: a code, or an id."""

    url: str
    date: datetime.date | None = None
    doctor: str | None = None
    department: str | None = None
    public: bool = False


async def watch(wanted: Wanted) -> NoReturn:
    """Until it is cancelled. Raises WatchEnded, Unaskable, and BrokenPipeError where nobody reads the lines."""
    with Screen() if can_be_drawn_on() else Lines() as display:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(ANSWER_SECONDS)) as session:
            reception = Reception(session, wanted.url, display.say)
            doctor_id = await reception.doctor_id(wanted.doctor) if wanted.doctor is not None else None
            date = wanted.date or await reception.today()
        while True:
            async with Monitor(
                wanted.url,
                date,
                view="public" if wanted.public else "full",
                doctor_id=doctor_id,
                department=wanted.department,
            ) as monitor:
                date = await _followed(monitor, display, date, past_midnight=wanted.date is None)


def can_be_drawn_on() -> bool:
    """Whether the output is a terminal that can move its cursor. On one that cannot, nothing would ever appear."""
    return sys.stdout.isatty() and not Console().is_dumb_terminal


async def _followed(
    monitor: Monitor[Any], display: Display, date: datetime.date, *, past_midnight: bool
) -> datetime.date:
    """The date to show next. A board that was left on overnight must not show yesterday in the morning."""
    while True:
        shown = None
        with suppress(TimeoutError):
            async with asyncio.timeout(TICK_SECONDS):
                shown = await anext(monitor)
        display.show(monitor, shown)
        if past_midnight and monitor.heartbeat is not None:
            today = datetime.datetime.fromisoformat(monitor.heartbeat.timestamp).date()
            if today > date:
                return today
        await asyncio.sleep(CALM_SECONDS)


class Display(Protocol):
    def say(self, trouble: str) -> None:
        """Why there is nothing to show yet."""

    def show(self, monitor: Monitor[Any], shown: Shown[Any] | None) -> None:
        """How it is now. `shown`: a state that was not shown before, if there is one."""


class Screen:
    """The whole terminal, given back as it was."""

    def __init__(self) -> None:
        self._console = Console()
        self._live = Live(console=self._console, screen=True, auto_refresh=False)

    def __enter__(self) -> Self:
        self._live.start()
        self._draw(None, Freshness(Connection.CONNECTING))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._live.stop()

    def say(self, trouble: str) -> None:
        self._draw(None, Freshness(Connection.CONNECTING, trouble=trouble))

    def show(self, monitor: Monitor[Any], shown: Shown[Any] | None) -> None:
        newest = monitor.newest
        freshness = Freshness(
            monitor.connection,
            sequence=None if newest is None else newest.sequence,
            silent_seconds=monitor.silent_seconds,
            trouble=monitor.trouble,
        )
        self._draw(None if newest is None else newest.day, freshness)

    def _draw(self, day: Any, freshness: Freshness) -> None:
        width, height = self._console.size
        self._live.update(picture(day, freshness, width=width, height=height, seconds=time.monotonic()), refresh=True)


class Lines:
    """One line for each state on stdout, tickets and no names, since lines are kept; what is wrong on stderr."""

    def __init__(self) -> None:
        self._said: str | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        sys.stdout.flush()

    def say(self, trouble: str) -> None:
        if trouble != self._said:
            print(f"daysheet: {plain(trouble)}", file=sys.stderr, flush=True)
        self._said = trouble

    def show(self, monitor: Monitor[Any], shown: Shown[Any] | None) -> None:
        if monitor.connection is Connection.LIVE:
            self._said = None
        elif monitor.connection is not Connection.CONNECTING:
            self.say(f"{monitor.connection}: {monitor.trouble}" if monitor.trouble else str(monitor.connection))
        if shown is not None:
            print(line(shown), flush=True)


def line(shown: Shown[Any]) -> str:
    """A state in one line."""
    return told(f"{shown.day.timestamp} #{shown.sequence}", shown.day)


def told(when: str, day: AnyDay) -> str:
    """A date in one line."""
    total = f"{when} {day.total_appointments} appointments"
    return " | ".join([total, *[_doctor(block, clinic) for block, clinic in clinics_of(day)]])


def _doctor(block: Block, clinic: ClinicBlock) -> str:
    facts = [f"{block.doctor.code} {clinic.status}", f"{clinic.waiting} waiting"]
    for _, queue in in_order(block.appointments):
        if queue.status in ("in_consultation", "called"):
            facts.append(f"{queue.status.replace('_', ' ')} {queue.ticket}")
        elif queue.position == 1:
            facts.append(f"next {queue.ticket}")
    return plain(", ".join(facts))
