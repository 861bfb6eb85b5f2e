"""Where monitors connect: all doctors of a date, or one."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from domain.rules.ids import DoctorId
from gateway.access import viewer
from gateway.live.fanout import Fanout
from gateway.live.replay import Replays
from gateway.live.socket import Connection
from gateway.parts import PARTS
from gateway.rest.answer import doctor_card
from gateway.rest.decode import path_value
from gateway.rest.problem import Problem

PATH: Final = "/api/v1/ws/queue"
FANOUT: Final = web.AppKey("fanout", Fanout)
MONITORS: Final = web.AppKey("monitors", set[Connection])
REPLAYS: Final = web.AppKey("replays", Replays)


async def _all_doctors(request: web.Request) -> web.StreamResponse:
    return await _serve(request, None)


async def _one_doctor(request: web.Request) -> web.StreamResponse:
    doctor_id = DoctorId(path_value("doctor_id", request.match_info["doctor_id"]))  # type: ignore[arg-type]
    await doctor_card(request.app[PARTS], doctor_id)
    return await _serve(request, doctor_id)


async def _serve(request: web.Request, doctor_id: DoctorId | None) -> web.StreamResponse:
    if not web.WebSocketResponse().can_prepare(request):
        raise Problem(400, "invalid_request", "this is a WebSocket: connect to it as RFC 6455 says, by ws://")
    app = request.app
    connection = Connection(app[PARTS], app[FANOUT], app[REPLAYS], doctor_id, viewer(request))
    monitors = app[MONITORS]
    monitors.add(connection)
    try:
        return await connection.serve(request)
    finally:
        monitors.discard(connection)


def add_routes(app: web.Application) -> None:
    app.router.add_get(PATH, _all_doctors)
    app.router.add_get(PATH + "/{doctor_id}", _one_doctor)
