"""The limit: an asyncio transport's `write` of a ready frame, for one connection after another.

Nothing is encoded, framed, or looked after: no ping, no buffer that is too full, and of what monitors say nothing is
understood.
"""

from __future__ import annotations

import asyncio
import struct

import uvloop

from scripts.benchmarks import cue

_UPGRADED = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)


class Connection(asyncio.Protocol):
    def __init__(self, frame: bytes, monitors: list[asyncio.Transport]) -> None:
        self._frame, self._monitors = frame, monitors
        self._upgraded = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]  # uvloop's subclass none of asyncio's

    def data_received(self, data: bytes) -> None:
        if not self._upgraded:
            self._transport.write(_UPGRADED)
            self._upgraded = True
        else:
            self._transport.write(self._frame)
            self._monitors.append(self._transport)


async def main() -> None:
    script, cues = await cue.told(cue.Script)
    body = bytes(script.message)
    size = len(body)
    head = struct.pack("!BBH", 0x81, 126, size) if size < 65536 else struct.pack("!BBQ", 0x81, 127, size)
    frame, monitors = head + body, list[asyncio.Transport]()
    server = await asyncio.get_running_loop().create_server(lambda: Connection(frame, monitors), "127.0.0.1", 0)
    cue.listening_at(server.sockets[0].getsockname()[1])
    async for _ in cues:
        for transport in monitors:
            transport.write(frame)


if __name__ == "__main__":
    uvloop.run(main())
