"""Several worker processes on one port, and the supervisor that starts them, replaces them and stops them.

    supervisor    holds the database, embedded or given, and the port; answers nobody
      worker 1    the first to start: whatever a new store is made of, is made by it alone; moves the demo's patients
      worker 2…   each listens on the same port (SO_REUSEPORT), and follows the log for itself

A worker is `daysheet worker K`, with the settings in its environment, where other users of the machine cannot read
them. Its standard input stays open, and silent, for as long as its supervisor lives. On its standard output it says
its address, once it answers, or in one line why it cannot go on; and every second an empty line, which says that it
turns. Logs go to the standard error they all share.
"""

from __future__ import annotations

import asyncio
import os
import select
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from typing import Final, NoReturn

import msgspec
import structlog

from domain.postgres import server
from domain.postgres.connect import READERS, connect
from gateway.settings import CannotListen, Settings, SettingsError

SERVES: Final = "Daysheet serves "
FAILS: Final = "daysheet: "

CONNECTIONS: Final = READERS + 4
"""To the database, per worker: those to read with, and one each to write, to follow, to record who looks, to seal."""
SETTLED_SECONDS: Final = 30.0
"""Who lived that long did not die of what killed the one before."""
DEATHS_IN_A_ROW: Final = 8
BACK_OFF_SECONDS: Final = (0.5, 10.0)
"""Before the second replacement, and at most before any. With eight deaths that is half a minute in all: a database
that restarts is back by then, and what is still broken is for whoever looks after the server to see. As long as
another worker is there, which shows the last boards if nothing else, it is tried on."""
BEAT_SECONDS: Final = 1.0
HANGS_AFTER_BEATS: Final = 20
"""That did not come. Its monitors, told nothing, would look elsewhere after 25 s; but of all new connections a share
would go on to end at a worker that answers nobody."""
STOP_SECONDS: Final = 7.0
"""A worker closes its monitors, its last requests and its pool within six. The rest of the ten are PostgreSQL's."""

_BEAT: Final = b"\n"
_SETTINGS: Final = "DAYSHEET_WORKER_SETTINGS"

log = structlog.get_logger()


class WorkerFailed(Exception):
    """No worker can start, or stays; the message says why, in its own words if it had any."""


# --- the supervisor ------------------------------------------------------------------------------


async def supervise(settings: Settings, url: str, ready: Callable[[str], None], stop: asyncio.Event) -> None:
    """Keep `settings.workers` workers at work on a database until `stop`. `ready` is told their address, once.

    Raises SettingsError; WorkerFailed, in a group, when one cannot start at first, or dies again and again. No worker
    is left, however this ends.
    """
    await _require_connections(url, settings.workers)
    with _reserved(settings.host, settings.port) as port:
        crew = _Crew(replace(settings, workers=1, database_url=url, port=port))
        async with asyncio.TaskGroup() as group:
            working = group.create_task(crew.work(settings.workers, ready))
            await stop.wait()
            log.info("stopping")
            working.cancel()


async def _require_connections(url: str, workers: int) -> None:
    """Pools grow with the load: too few connections would show at the worst of times."""
    connection = await connect(url)
    try:
        room = await server.room(connection)
    finally:
        await connection.close()
    if room < workers * CONNECTIONS:
        raise SettingsError(
            f"--workers {workers} may need {workers * CONNECTIONS} connections to PostgreSQL, which grants {room}: "
            "take fewer workers, or raise its max_connections"
        )


@contextmanager
def _reserved(host: str, port: int) -> Iterator[int]:
    """Hold a port, a free one for 0, so that workers may listen on it and nobody else can, also while none does."""
    with ExitStack() as held:
        try:
            for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
                holder = held.enter_context(socket.socket(family, kind, protocol))
                # What is left of an earlier server's connections is no obstacle. Another server is, also one whose
                # workers would share the port with ours: so sharing is allowed only once the port is held.
                holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                holder.bind((address[0], port, *address[2:]))
                holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
                holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                port = holder.getsockname()[1]
        except OSError as error:
            raise CannotListen(host, port, error) from None
        yield port


class _Crew:
    """The workers of one server, each in a numbered place."""

    def __init__(self, settings: Settings) -> None:
        # They import what this process imports, from wherever it was started.
        path = os.pathsep.join(map(os.path.abspath, sys.path))
        given = msgspec.json.encode(settings, enc_hook=str).decode()
        self._environment = {**os.environ, "PYTHONPATH": path, _SETTINGS: given}
        self._workers: dict[int, _Worker] = {}

    async def work(self, number: int, ready: Callable[[str], None]) -> None:
        """Until cancelled. Raises WorkerFailed, alone or in a group."""
        try:
            address = await self._first_in_place(1)  # alone, so that a new store is introduced once
            async with asyncio.TaskGroup() as others:
                for place in range(2, number + 1):
                    others.create_task(self._first_in_place(place))
            ready(address)
            async with asyncio.TaskGroup() as places:
                for place in self._workers:
                    places.create_task(self._keep(place))
                places.create_task(self._watch())
        finally:
            await self._dismiss()

    async def _first_in_place(self, place: int) -> str:
        worker = await self._start(place)
        if worker.address is None:
            raise WorkerFailed(await worker.last_words())
        return worker.address

    async def _keep(self, place: int) -> NoReturn:
        """Whoever dies is replaced."""
        deaths = 0
        while True:
            worker = self._workers[place]
            reason = await worker.last_words()
            deaths = 1 if worker.settled() else deaths + 1
            if deaths >= DEATHS_IN_A_ROW and not any(one.at_work() for one in self._workers.values()):
                raise WorkerFailed(f"worker {place} died {deaths} times in a row: {reason}")
            pause = _back_off(deaths)
            log.error("worker_died", worker=place, pid=worker.pid, reason=reason, replaced_in_seconds=pause)
            await asyncio.sleep(pause)
            worker = await self._start(place)
            if worker.address is not None:
                log.info("worker_replaced", worker=place, pid=worker.pid)

    async def _watch(self) -> NoReturn:
        """Whoever hangs is killed, and so replaced."""
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            for place, worker in self._workers.items():
                if worker.misses_a_beat() == HANGS_AFTER_BEATS:
                    log.error("worker_hangs", worker=place, pid=worker.pid, missed_beats=HANGS_AFTER_BEATS)
                    worker.send(signal.SIGKILL)

    async def _start(self, place: int) -> _Worker:
        """Returns when it answers, or has failed to."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            "gateway",
            "worker",
            str(place),
            stdin=PIPE,
            stdout=PIPE,
            env=self._environment,
            start_new_session=True,  # Ctrl-C is for the supervisor, who knows in what order to stop.
        )
        worker = self._workers[place] = _Worker(place, process)
        await worker.get_ready()
        return worker

    async def _dismiss(self) -> None:
        """Stop all. Who takes longer than STOP_SECONDS is killed: nobody was told of what it has not committed."""
        for worker in self._workers.values():
            worker.send(signal.SIGTERM)
        # Not asyncio.timeout: this task is cancelled, and the first releases of Python 3.11 take the time-out for that.
        all_gone = asyncio.ensure_future(self._all_gone())
        await asyncio.wait([all_gone], timeout=STOP_SECONDS)
        if not all_gone.done():
            for worker in self._workers.values():
                worker.send(signal.SIGKILL)
        await all_gone

    async def _all_gone(self) -> None:
        for worker in self._workers.values():
            await worker.gone()


class _Worker:
    """A worker's process, from its supervisor's side. `address` is known once it answers."""

    def __init__(self, place: int, process: Process) -> None:
        assert process.stdout is not None
        self._place, self._process, self._says = place, process, process.stdout
        self._words = ""
        self._ready_at = 0.0
        self._missed_beats: int | None = None
        self.address: str | None = None
        self.pid = process.pid

    async def get_ready(self) -> None:
        line = await self._line()
        if line.startswith(SERVES):
            self.address = line.removeprefix(SERVES)
            self._ready_at = asyncio.get_running_loop().time()
        else:
            self._words = line

    async def last_words(self) -> str:
        """Wait for its end, and learn why."""
        words = self._words
        while line := await self._line():
            words = line
        code = await self._process.wait()
        how = f"signal {-code} ({signal.strsignal(-code)})" if code < 0 else f"exit code {code}"
        return words.removeprefix(FAILS) or f"worker {self._place} ended with {how}"

    def misses_a_beat(self) -> int:
        """How many are missing by now, if it is asked with every beat. None of one that has yet to begin, or has ended.

        They are counted, and no clock is asked: where the supervisor stood still as well, as when the machine slept,
        nobody has missed anything.
        """
        if self._missed_beats is None or self._process.returncode is not None:
            return 0
        self._missed_beats += 1
        return self._missed_beats

    def at_work(self) -> bool:
        return self.address is not None and self._process.returncode is None

    def settled(self) -> bool:
        return self.address is not None and asyncio.get_running_loop().time() - self._ready_at > SETTLED_SECONDS

    def send(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            self._process.send_signal(number)

    async def gone(self) -> None:
        await self._process.wait()

    async def _line(self) -> str:
        """The next that is no beat; empty at the end."""
        while (line := await self._says.readline()) == _BEAT:
            self._missed_beats = 0
        return line.decode(errors="replace").strip()


def _back_off(deaths: int) -> float:
    """Seconds: none after the first death."""
    first, longest = BACK_OFF_SECONDS
    return 0.0 if deaths == 1 else min(longest, first * 2.0 ** (deaths - 2))


# --- a worker ------------------------------------------------------------------------------------


def settings_of_worker(number: int) -> Settings:
    """What the supervisor left in this process's environment. Raises SettingsError where there is no supervisor."""
    given = os.environ.pop(_SETTINGS, None)
    if given is None:
        raise SettingsError("a worker is started by `daysheet serve --workers`, not by hand")
    settings = msgspec.json.decode(given, type=Settings, dec_hook=lambda kind, value: kind(value))
    return replace(settings, worker=number)


def beat() -> None:
    """Tell the supervisor, from now on, that the event loop turns. One that does not read keeps nobody waiting."""
    if select.select((), (sys.stdout,), (), 0)[1]:
        with suppress(BrokenPipeError):  # stop_when_orphaned knows better what to do then.
            os.write(sys.stdout.fileno(), _BEAT)
    asyncio.get_running_loop().call_later(BEAT_SECONDS, beat)


def stop_when_orphaned(stop: asyncio.Event) -> None:
    """Without its supervisor a worker would hold on to the port, and to a PostgreSQL that nobody stops."""
    loop = asyncio.get_running_loop()
    supervisor = sys.stdin.fileno()

    def end() -> None:
        loop.remove_reader(supervisor)  # The end of a file goes on to be readable.
        stop.set()
        log.warning("orphaned")  # Last: who reads the log may be gone as well.

    loop.add_reader(supervisor, end)
