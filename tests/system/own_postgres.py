"""An embedded PostgreSQL of a test's own, to be killed, frozen and cut off at will."""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from domain.postgres.embedded import EmbeddedPostgres


def serving(folder: Path) -> list[psutil.Process]:
    """The postmaster that runs on a folder, if one does. A backend just forked still looks like its postmaster."""
    data = str(folder.resolve() / "cluster")
    alike = {
        process.pid: process
        for process in psutil.process_iter(["name", "cmdline", "ppid"])
        if process.info["name"] == "postgres" and data in (process.info["cmdline"] or ())
    }
    return [process for process in alike.values() if process.info["ppid"] not in alike]


def all_processes(folder: Path) -> list[psutil.Process]:
    """The postmasters first."""
    return [each for postmaster in serving(folder) for each in (postmaster, *postmaster.children(recursive=True))]


def cut_power(folder: Path) -> None:
    """What is left of a server when the machine stops: its files, and nothing that runs."""
    signalled = send(signal.SIGKILL, all_processes(folder))
    psutil.wait_procs(signalled, timeout=10)
    assert not serving(folder)


def send(number: signal.Signals, processes: list[psutil.Process]) -> list[psutil.Process]:
    for process in processes:
        with suppress(psutil.NoSuchProcess):  # A backend may have been on its way out.
            process.send_signal(number)
    return processes


@dataclass(slots=True)
class OwnPostgres:
    folder: Path
    _uses: list[EmbeddedPostgres] = field(default_factory=list)
    _frozen: list[psutil.Process] = field(default_factory=list)

    @property
    def url(self) -> str:
        return self._uses[-1].url()

    @property
    def admin_url(self) -> str:
        return self._uses[-1].url(user="postgres")

    async def start(self) -> None:
        self._uses.append(await asyncio.to_thread(EmbeddedPostgres.start, self.folder))

    async def cut_power(self) -> None:
        await asyncio.to_thread(cut_power, self.folder)

    def freeze(self) -> None:
        """It goes on to accept connections, as a kernel does, and never answers. New backends cannot come: the
        postmaster is the first to stop."""
        self._frozen = send(signal.SIGSTOP, all_processes(self.folder))

    def thaw(self) -> None:
        frozen, self._frozen = self._frozen, []
        send(signal.SIGCONT, frozen)

    async def close(self) -> None:
        self.thaw()
        for use in reversed(self._uses):
            await asyncio.to_thread(use.stop)
        assert not serving(self.folder)
