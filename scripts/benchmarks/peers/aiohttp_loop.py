"""aiohttp's own `await ws.send_str(text)`, for one monitor after another. With its default `compress=True` it deflates
the text again for everyone who offered that."""

from __future__ import annotations

import uvloop
from aiohttp import web

from scripts.benchmarks import cue


async def main() -> None:
    script, cues = await cue.told(cue.Script)
    text, monitors = bytes(script.message).decode(), list[web.WebSocketResponse]()

    async def watch(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(heartbeat=20)
        await socket.prepare(request)
        await socket.receive_json()
        await socket.send_str(text)
        monitors.append(socket)
        async for _ in socket:
            pass
        monitors.remove(socket)
        return socket

    app = web.Application()
    app.router.add_get(cue.PATH, watch)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    cue.listening_at(runner.addresses[0][1])
    async for _ in cues:
        for socket in monitors:
            await socket.send_str(text)


if __name__ == "__main__":
    uvloop.run(main())
