"""FastAPI on uvicorn, as the original system published: `await ws.send_json(data)` for one monitor after another, so
that the day is encoded again for each. uvicorn has uvloop, httptools and websockets' speed-ups."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import Any

import msgspec
import uvicorn
import uvloop
from fastapi import FastAPI, WebSocket, WebSocketDisconnect

from scripts.benchmarks import cue


def application(message: Any, monitors: list[WebSocket]) -> FastAPI:
    app = FastAPI()

    @app.websocket(cue.PATH)
    async def watch(socket: WebSocket) -> None:
        await socket.accept()
        await socket.receive_json()
        await socket.send_json(message)
        monitors.append(socket)
        with suppress(WebSocketDisconnect):
            while True:
                await socket.receive_json()
        monitors.remove(socket)

    return app


async def main() -> None:
    script, cues = await cue.told(cue.Script)
    message, monitors = msgspec.json.decode(script.message), list[WebSocket]()
    server = uvicorn.Server(uvicorn.Config(application(message, monitors), log_level="warning"))
    with socket.create_server(("127.0.0.1", 0), backlog=2048) as listener:
        serving = asyncio.create_task(server.serve([listener]))
        cue.listening_at(listener.getsockname()[1])
        async for _ in cues:
            for monitor in list(monitors):
                with suppress(WebSocketDisconnect, RuntimeError):  # one that has just gone
                    await monitor.send_json(message)
        server.should_exit = True
        await serving


if __name__ == "__main__":
    uvloop.run(main())
