"""Pages: plain HTML and ES modules, no build step, nothing from elsewhere."""

from __future__ import annotations

from importlib.resources import files
from typing import Final

from aiohttp import web

# Only from here, and inline: a page of ours loads nothing from anywhere else.
POLICY: Final = (
    "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "connect-src 'self' ws: wss:; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


async def _test_websocket(request: web.Request) -> web.Response:
    page = (files(__name__) / "test_websocket.html").read_bytes()
    headers = {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff", "Cache-Control": "no-cache"}
    return web.Response(body=page, content_type="text/html", charset="utf-8", headers=headers)


def add_routes(app: web.Application) -> None:
    app.router.add_get("/test_websocket.html", _test_websocket)
