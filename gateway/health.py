"""Is the process alive, and can it serve? For supervisors and load balancers; neither needs a token."""

from __future__ import annotations

import asyncio
from typing import Final

from aiohttp import web

from domain.log import read
from domain.postgres.connect import FAULTS
from gateway.parts import PARTS
from gateway.rest.answer import json_response
from gateway.rest.problem import Problem
from projections.projector import Behind

STORE_SECONDS: Final = 2.0
CATCH_UP_SECONDS: Final = 1.0


async def healthz(request: web.Request) -> web.Response:
    """Alive: the event loop turns."""
    return json_response({"status": "alive"})


async def readyz(request: web.Request) -> web.Response:
    """Ready: the store answers, and the read model has what the store has."""
    parts = request.app[PARTS]
    try:
        async with asyncio.timeout(STORE_SECONDS):
            head = await read.head(parts.pool)
    except FAULTS:
        raise Problem(503, "store_unavailable", "the store cannot be reached") from None
    try:
        await parts.projector.reached(head, seconds=CATCH_UP_SECONDS)
    except Behind:
        lag = head - parts.projector.position
        raise Problem(503, "behind", f"the read model is {lag} events behind the log", lag_events=lag) from None
    return json_response({"status": "ready", "head": head, "position": parts.projector.position})


def add_routes(app: web.Application) -> None:
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
