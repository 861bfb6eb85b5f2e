"""Who may connect. Without tokens everyone on this machine is `developer`, and no page from elsewhere gets in."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import urlsplit

from aiohttp import hdrs, web
from aiohttp.typedefs import Middleware

from domain.audit.codec import Viewer
from domain.desk.outcome import Asker
from gateway.parts import PARTS
from gateway.rest.problem import Problem
from gateway.settings import is_loopback

NOBODY: Final = "unknown"
"""Who is refused before anybody knows who it is."""
DENIALS: Final = frozenset({401, 403})
KEY_LENGTH: Final = 200
CORRELATION_LENGTH: Final = 200
_EXPOSED: Final = "Idempotency-Replayed, Link, Retry-After"
_METHODS: Final = "GET, POST, PUT, PATCH, DELETE"
_HEADERS: Final = "Content-Type, Idempotency-Key, Authorization, X-Request-ID"
PREFLIGHT_SECONDS: Final = 600
PAGES_OPENED_AS_FILES: Final = frozenset({"null", "file://"})
_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]]+)(?::[0-9]*)?")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def asker(request: web.Request) -> Asker:
    """Raises Problem for a malformed key."""
    key = request.headers.get("Idempotency-Key")
    if key is not None and not (1 <= len(key) <= KEY_LENGTH and _is_text(key)):
        raise Problem(
            400, "invalid_request", f"Idempotency-Key has 1 to {KEY_LENGTH} characters", key="Idempotency-Key"
        )
    return Asker(actor="developer", role="developer", idempotency_key=key, correlation_id=_correlation_id(request))


def viewer(request: web.Request) -> Viewer:
    """Who is about to look at something."""
    return Viewer(actor="developer", role="developer", address=request.remote, correlation_id=_correlation_id(request))


@web.middleware
async def count_denials(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Stands outside whatever refuses, and within what turns refusals into answers."""
    try:
        return await handler(request)
    except Problem as problem:
        if problem.status in DENIALS:
            request.app[PARTS].audit.denied(Viewer(actor=NOBODY, role=NOBODY, address=request.remote))
        raise


def guard(allowed_origins: tuple[str, ...]) -> Middleware:
    """Middleware: the Host and Origin rules, and CORS for those origins that pass them."""
    allowed = frozenset(origin.rstrip("/").lower() for origin in allowed_origins)

    @web.middleware
    async def _guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        # A foreign name that resolves to this machine is a page trying to pass for us.
        if not is_loopback(_host(request.host)):
            raise Problem(403, "forbidden", "this server answers under a loopback Host only")
        origin = request.headers.get(hdrs.ORIGIN)
        if origin is None:
            return await handler(request)
        if not _may_come_from(origin, request, allowed):
            raise Problem(403, "forbidden", "requests from this origin are not accepted")
        if request.method == hdrs.METH_OPTIONS and hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers:
            response: web.StreamResponse = web.Response(status=204)
            response.headers[hdrs.ACCESS_CONTROL_ALLOW_METHODS] = _METHODS
            response.headers[hdrs.ACCESS_CONTROL_ALLOW_HEADERS] = _HEADERS
            response.headers[hdrs.ACCESS_CONTROL_MAX_AGE] = str(PREFLIGHT_SECONDS)
            if request.headers.get("Access-Control-Request-Private-Network") == "true":
                response.headers["Access-Control-Allow-Private-Network"] = "true"
            _allow(response, origin)
            return response
        request["origin"] = origin
        return await handler(request)

    return _guard


async def allow_origin(request: web.Request, response: web.StreamResponse) -> None:
    """As headers leave: an origin that was let in may also read the answer, errors included."""
    origin = request.get("origin")
    if origin is not None:
        _allow(response, origin)


def _allow(response: web.StreamResponse, origin: str) -> None:
    response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = origin
    response.headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = _EXPOSED
    response.headers[hdrs.VARY] = hdrs.ORIGIN


def _may_come_from(origin: str, request: web.Request, allowed: frozenset[str]) -> bool:
    origin = origin.lower()
    if origin in PAGES_OPENED_AS_FILES or origin in allowed or origin == f"{request.scheme}://{request.host.lower()}":
        return True
    try:
        parts = urlsplit(origin)
    except ValueError:  # of what only looks like IPv6
        return False
    return parts.scheme in ("http", "https") and parts.hostname is not None and is_loopback(parts.hostname)


def _correlation_id(request: web.Request) -> str | None:
    told = request.headers.get("X-Request-ID")
    return told[:CORRELATION_LENGTH] if told and _is_text(told) else None


def _is_text(header: str) -> bool:
    """Bytes that are no UTF-8 arrive as lone surrogates, which nothing can store."""
    return not any("\ud800" <= letter <= "\udfff" or letter == "\0" for letter in header)


def _host(host: str) -> str:
    """A Host header without its port; empty where it is none."""
    named = _HOST.fullmatch(host)
    return named[1] if named else ""
