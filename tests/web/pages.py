"""Pages of the server's own origin and of another, and what goes over their sockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from aiohttp import web
from playwright.async_api import Page, WebSocket

from tests.server import Server
from tests.web.conftest import cannot_run

PATIENCE_SECONDS: Final = 20.0
BLANK: Final = '<!doctype html><html lang=en><meta charset=utf-8><title>A page</title><link rel=icon href="data:,">'


@asynccontextmanager
async def another_origin(page: str, scripts: Mapping[str, str] = MappingProxyType({})) -> AsyncIterator[str]:
    """A server of other people's on this machine: this page at its root, and these scripts by their names."""

    def answer(text: str, kind: str) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handler(request: web.Request) -> web.Response:
            return web.Response(text=text, content_type=kind)

        return handler

    app = web.Application()
    app.router.add_get("/", answer(page, "text/html"))
    for name, text in scripts.items():
        app.router.add_get(f"/{name}", answer(text, "text/javascript"))
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def package(node_modules: Path, name: str) -> Path:
    """The folder of an npm package."""
    folder = node_modules / name
    if not folder.is_dir():
        cannot_run(f"the npm package {name} is not in {node_modules}")
    return folder


@dataclass  # without slots: Playwright leaves something of its own on whoever listens to it
class Wire:
    """What a page's sockets said and heard, in order; `sockets` are all that it ever opened."""

    said: list[Any] = field(default_factory=list)
    heard: list[Any] = field(default_factory=list)
    sockets: list[WebSocket] = field(default_factory=list)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    @staticmethod
    def of(page: Page) -> Wire:
        wire = Wire()
        page.on("websocket", wire._listen)
        return wire

    def _listen(self, socket: WebSocket) -> None:
        self.sockets.append(socket)
        socket.on("framesent", lambda text: self._note(self.said, text))
        socket.on("framereceived", lambda text: self._note(self.heard, text))
        socket.on("close", lambda _: self._news.set())
        self._news.set()

    def _note(self, where: list[Any], text: str | bytes) -> None:
        where.append(json.loads(text))
        self._news.set()

    async def until(self, is_so: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not is_so():
                self._news.clear()
                await self._news.wait()

    def open_sockets(self) -> int:
        return sum(not socket.is_closed() for socket in self.sockets)

    def kinds(self) -> list[str]:
        return [message["type"] for message in self.heard]


async def without_time(server: Server, path: str) -> Any:
    """A day as the server has it now, without when it was asked."""
    answer = await server.get(path)
    assert answer.status == 200, answer
    data = answer.body["data"]
    del data["timestamp"]
    return data


async def open_own(page: Page, server: Server, html: str) -> None:
    """Show this as a page of the server's own: where it has no page, and so no policy about what pages may do."""
    await page.goto(f"{server.url}/daysheet.d.ts")
    await page.set_content(BLANK + html)
