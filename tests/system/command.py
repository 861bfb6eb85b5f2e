"""The command `daysheet`, run to its end."""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import dataclass

SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Ended:
    code: int
    out: str
    errors: str

    @property
    def said(self) -> str:
        """The one line that it left with."""
        assert self.code == 1, self
        assert self.out == ""
        (line,) = self.errors.splitlines()
        return line


async def daysheet(*arguments: object, **environment: str) -> Ended:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "gateway",
        *map(str, arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **environment},
    )
    try:
        async with asyncio.timeout(SECONDS):
            out, errors = await process.communicate()
    except TimeoutError:
        process.kill()
        out, errors = await process.communicate()
        raise AssertionError(f"it does not end: {out.decode()}{errors.decode()}") from None
    assert process.returncode is not None
    return Ended(process.returncode, out.decode(), errors.decode())
