"""A terminal for a command to draw on."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import re
import struct
import sys
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

SECONDS = 30.0
CTRL_C = b"\x03"


class Terminal:
    """A command of `daysheet` at a terminal of its own; `text` is all that was ever drawn, `raw` with how."""

    def __init__(self, process: asyncio.subprocess.Process, terminal: int) -> None:
        self.process, self.terminal, self.raw = process, terminal, b""
        self._changed = asyncio.Event()
        asyncio.get_running_loop().add_reader(terminal, self._read)

    @property
    def text(self) -> str:
        return " ".join(re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", self.raw.decode(errors="replace")).split())

    def _read(self) -> None:
        with suppress(OSError):  # Linux' word for a terminal that nobody has open any more
            self.raw += os.read(self.terminal, 65536)
        self._changed.set()

    async def shows(self, text: str) -> None:
        async with asyncio.timeout(SECONDS):
            while text not in self.text:
                self._changed.clear()
                await self._changed.wait()

    async def ends(self) -> None:
        async with asyncio.timeout(SECONDS):
            await self.process.wait()
        self._read()


@asynccontextmanager
async def terminal(*arguments: str, kind: str = "xterm-256color") -> AsyncIterator[Terminal]:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", OWN_TERMINAL, *arguments),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "TERM": kind},
        start_new_session=True,
    )
    os.close(theirs)
    screen = Terminal(process, ours)
    try:
        yield screen
    finally:
        asyncio.get_running_loop().remove_reader(ours)
        if process.returncode is None:
            process.kill()
        await process.wait()
        os.close(ours)


OWN_TERMINAL = """
import fcntl, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # so that its Ctrl-C is a signal
from gateway.cli import main
sys.argv[0:1] = ["daysheet"]
main()
"""
