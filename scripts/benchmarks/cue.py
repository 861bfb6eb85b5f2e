"""What a bench tells a server that publishes: its job as the first line of stdin, then a line for each publication."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import Any, Final, TypeVar

import msgspec

PATH: Final = "/api/v1/ws/queue"
"""Where monitors connect, to whatever server."""
LINE_BYTES: Final = 2**24

T = TypeVar("T")


class Script(msgspec.Struct, frozen=True):
    """For a peer: the message that it publishes, and says once to whoever subscribes."""

    message: msgspec.Raw


async def told(kind: type[T]) -> tuple[T, AsyncIterator[Any]]:
    """(the job, the cues). To be asked once."""
    reader = asyncio.StreamReader(limit=LINE_BYTES)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return msgspec.json.decode(await reader.readline(), type=kind), aiter(reader)


def listening_at(port: int) -> None:
    """For the bench, which waits for this."""
    print(f"serves http://127.0.0.1:{port}", flush=True)
