"""Pages: plain HTML and ES modules, no build step, nothing from elsewhere."""

from __future__ import annotations

import re
from base64 import b64encode
from hashlib import sha256
from importlib.resources import files
from typing import Final

from aiohttp import hdrs, web

from gateway.access import Handler


def _hashes(page: bytes, element: str) -> str:
    """CSP sources that allow the inline scripts or styles of a page, and no others."""
    inline = re.findall(rb"<%b>(.*?)</%b>" % (element.encode(), element.encode()), page, re.DOTALL)
    return " ".join(f"'sha256-{b64encode(sha256(text).digest()).decode()}'" for text in inline) or "'none'"


def policy(page: bytes) -> str:
    """A Content-Security-Policy for a page that carries its script and style within: it talks to this server only.

    With trusted types demanded, the browser itself refuses to take a text for HTML.
    """
    return (
        f"default-src 'none'; script-src {_hashes(page, 'script')}; style-src {_hashes(page, 'style')}; "
        "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    )


TEST_PAGE: Final = (files(__name__) / "test_websocket.html").read_bytes()
# Read once: a policy fits the very bytes that it was made from.
_TEST_PAGE_HEADERS: Final = {
    "Content-Security-Policy": policy(TEST_PAGE),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


async def _test_websocket(request: web.Request) -> web.Response:
    return web.Response(body=TEST_PAGE, content_type="text/html", charset="utf-8", headers=_TEST_PAGE_HEADERS)


def _served(name: str, content_type: str) -> Handler:
    """A file for pages to import, also those of other origins that may connect: see gateway/access.py."""
    body = (files(__name__) / name).read_bytes()
    tag = sha256(body).hexdigest()[:32]

    async def handler(request: web.Request) -> web.Response:
        if tag in {known.value for known in request.if_none_match or ()}:
            response = web.Response(status=304)
        else:
            response = web.Response(body=body, content_type=content_type, charset="utf-8")
        response.etag = tag
        # Whoever imports it after an upgrade gets the client that fits this server.
        response.headers[hdrs.CACHE_CONTROL] = "no-cache"
        response.headers[hdrs.VARY] = hdrs.ORIGIN
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response

    return handler


def add_routes(app: web.Application) -> None:
    app.router.add_get("/test_websocket.html", _test_websocket)
    for name in ("daysheet", "use-central-queue-monitor"):
        app.router.add_get(f"/{name}.js", _served(f"{name}.js", "text/javascript"))
        app.router.add_get(f"/{name}.d.ts", _served(f"{name}.d.ts", "text/plain"))
