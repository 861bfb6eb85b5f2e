"""Servers and their monitors, each in a process of its own, and what the bench that started them sees of them."""

from __future__ import annotations

import asyncio
import resource
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
import psutil

from scripts.benchmarks.cue import PATH
from scripts.benchmarks.hospital import Postgres
from scripts.benchmarks.monitors import Arrival, Job
from scripts.benchmarks.report import Measure

WHOLE: Final[dict[str, str]] = {}
"""Subscribes to whole days, as the original clients do."""
DELTA: Final = {"mode": "delta"}
START_SECONDS: Final = 60.0
ARRIVAL_SECONDS: Final = 300.0
END_SECONDS: Final = 10.0
PACE_SECONDS: Final = 0.025
OTHER_FILES: Final = 200
"""What a process has open beside its monitors, with a good margin."""

_encode: Final = msgspec.json.Encoder().encode


def room_for(monitors: int) -> int:
    """As many of these as the limit on open files allows, which is raised for this process and those it starts."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = monitors + OTHER_FILES
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return min(monitors, wanted - OTHER_FILES)


# --- servers -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Server:
    address: str
    process: Process

    def cue(self) -> None:
        """To a server that publishes when told: now."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"\n")

    def cpu_seconds(self) -> float:
        """What all its threads have used so far."""
        if sys.platform == "linux":  # to the nanosecond; /proc knows hundredths of a second
            return time.clock_gettime(~self.process.pid << 3 | 2)  # as glibc's clock_getcpuclockid makes it
        times = psutil.Process(self.process.pid).cpu_times()
        return times.user + times.system

    def resident_bytes(self) -> int:
        return psutil.Process(self.process.pid).memory_info().rss


@asynccontextmanager
async def serving(*command: str, job: Any = None) -> AsyncIterator[Server]:
    """A server that says where it listens as the last word of its first line. `job` is its stdin's first line."""
    async with _process(*command) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        if job is not None:
            process.stdin.write(_encode(job) + b"\n")
        async with asyncio.timeout(START_SECONDS):
            line = (await process.stdout.readline()).decode().split()
        if not line:
            raise RuntimeError(f"{' '.join(command)} did not start")
        yield Server(line[-1], process)


@asynccontextmanager
async def daysheet(postgres: Postgres, database: str) -> AsyncIterator[Server]:
    """`daysheet serve` on a founded database."""
    url, folder = postgres.url(database, user="daysheet_app"), str(postgres.folder)
    options = ("--port", "0", "--database-url", url, "--data-dir", folder)
    async with serving(sys.executable, "-m", "gateway", "serve", *options) as server:
        yield server


# --- audiences -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Audience:
    """Monitors of one server; see monitors.py."""

    monitors: int
    process: Process
    joined: Arrival
    _arrivals: asyncio.Queue[Arrival | None]

    async def heard(self) -> Arrival:
        """Wait until everyone has had one message more than the last time."""
        async with asyncio.timeout(ARRIVAL_SECONDS):
            return await _next(self._arrivals)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seats:
    """Who watches: `subscription` is what they say beside the date."""

    monitors: int
    date: str
    subscription: Mapping[str, str] = field(default_factory=dict)
    deflate: bool = False
    reads: bool = True


@asynccontextmanager
async def audience(server: Server, seats: Seats) -> AsyncIterator[Audience]:
    """Yields when all are connected and, if they read at all, have had a first message."""
    at = urlsplit(server.address)
    job = Job(
        host=at.hostname or "",
        port=at.port or 0,
        path=PATH,
        monitors=seats.monitors,
        message=_encode({"action": "subscribe", "date": seats.date, **seats.subscription}).decode(),
        deflate=seats.deflate,
        reads=seats.reads,
    )
    arrivals: asyncio.Queue[Arrival | None] = asyncio.Queue()
    async with _process(sys.executable, "-m", "scripts.benchmarks.monitors") as process:
        assert process.stdin is not None
        process.stdin.write(_encode(job) + b"\n")
        listening = asyncio.create_task(_listen(process, arrivals))
        try:
            async with asyncio.timeout(ARRIVAL_SECONDS):
                joined = await _next(arrivals)
            yield Audience(seats.monitors, process, joined, arrivals)
        finally:
            listening.cancel()


async def _listen(process: Process, arrivals: asyncio.Queue[Arrival | None]) -> None:
    """All the time: a full pipe would stop the monitors."""
    assert process.stdout is not None
    async for line in process.stdout:
        arrivals.put_nowait(msgspec.json.decode(line, type=Arrival))
    arrivals.put_nowait(None)


async def _next(arrivals: asyncio.Queue[Arrival | None]) -> Arrival:
    arrival = await arrivals.get()
    if arrival is None:
        raise RuntimeError("the monitors were lost")
    return arrival


async def publish(server: Server, audience: Audience) -> Arrival:
    """One state, until everyone has it; `seconds` begin with the cue."""
    begins = time.perf_counter()
    server.cue()
    arrival = await audience.heard()
    return Arrival(arrival.at, arrival.at - begins, arrival.received)


def cpu_of_publishing(server: Server, audience: Audience, seconds: float) -> Measure:
    """CPU-seconds of the server for a million deliveries, over as many states as are delivered in that time.

    They are as far apart as ours may be sent, for everybody: caches are no warmer for one than for the other.
    """

    async def measure() -> float:
        begins, cpu, times = time.perf_counter(), server.cpu_seconds(), 0
        while not times or time.perf_counter() < begins + seconds:
            arrival = await publish(server, audience)
            await asyncio.sleep(PACE_SECONDS - arrival.seconds)
            times += 1
        return 1e6 * (server.cpu_seconds() - cpu) / (times * audience.monitors)

    return measure


# --- processes -----------------------------------------------------------------------------------


@asynccontextmanager
async def _process(*command: str) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        try:
            async with asyncio.timeout(END_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
