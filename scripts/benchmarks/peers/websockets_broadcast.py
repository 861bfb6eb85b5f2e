"""`websockets.broadcast`, as its documentation shows it: the text is framed once, and written to every connection."""

from __future__ import annotations

import uvloop
from websockets.asyncio.server import ServerConnection, broadcast, serve

from scripts.benchmarks import cue


async def main() -> None:
    script, cues = await cue.told(cue.Script)
    text, monitors = bytes(script.message).decode(), set[ServerConnection]()

    async def watch(connection: ServerConnection) -> None:
        await connection.recv()
        await connection.send(text)
        monitors.add(connection)
        try:
            await connection.wait_closed()
        finally:
            monitors.discard(connection)

    async with serve(watch, "127.0.0.1", 0) as server:
        cue.listening_at(server.sockets[0].getsockname()[1])
        async for _ in cues:
            broadcast(monitors, text)


if __name__ == "__main__":
    uvloop.run(main())
