"""What a server of ours can hardly be brought to say."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import date
from uuid import UUID, uuid5

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from gateway.client import Connection, Monitor, NotAdmitted, NotUnderstood, watch
from tests.gateway.client.told import (
    CLINIC,
    DOCTORS,
    EMPTY,
    Json,
    becomes,
    delta,
    heartbeat,
    snapshot,
    until,
)
from tests.gateway.contract import UNKNOWN

Script = Callable[[web.WebSocketResponse, list[Json]], Awaitable[None]]


@asynccontextmanager
async def server_that(*script: Script | int) -> AsyncIterator[tuple[str, list[Json]]]:
    """(url, what clients asked): does for each connection what stands next; a number is an HTTP status."""
    asked: list[Json] = []
    steps = iter(script)

    async def answer(request: web.Request) -> web.StreamResponse:
        step = next(steps)
        if isinstance(step, int):
            return web.Response(status=step)
        connection = web.WebSocketResponse()
        await connection.prepare(request)
        asked.append(await connection.receive_json())
        await step(connection, asked)
        return connection

    app = web.Application()
    app.router.add_get("/api/v1/ws/queue", answer)
    server = TestServer(app, host="127.0.0.1")
    await server.start_server()
    try:
        yield str(server.make_url("")), asked
    finally:
        await server.close()


async def shows_and_stays(connection: web.WebSocketResponse, asked: list[Json]) -> None:
    await connection.send_json(snapshot(5))
    await connection.receive()


async def test_a_connection_that_policy_closes_is_not_tried_again() -> None:
    async def closes(connection: web.WebSocketResponse, asked: list[Json]) -> None:
        await connection.send_json(snapshot(5))
        await connection.close(code=1008, message=b"the token was revoked")

    async with server_that(closes) as (url, _), Monitor(url, date(2025, 11, 17)) as monitor:
        assert (await anext(monitor)).sequence == 5
        with pytest.raises(NotAdmitted, match="connection: the token was revoked"):
            await anext(monitor)
        assert monitor.connection is Connection.CLOSED


def closes(code: int) -> Script:
    async def close(connection: web.WebSocketResponse, asked: list[Json]) -> None:
        await connection.close(code=code)

    return close


def says_no(code: str) -> Script:
    async def say(connection: web.WebSocketResponse, asked: list[Json]) -> None:
        await connection.send_json({"type": "error", "code": code, "message": "not now"})
        await connection.receive()

    return say


@pytest.mark.parametrize(
    ("first", "trouble"),
    [
        pytest.param(503, "answers HTTP 503", id="503"),
        pytest.param(429, "answers HTTP 429", id="429"),
        pytest.param(408, "answers HTTP 408", id="408"),
        pytest.param(closes(1012), "closed (1012)", id="1012"),
        pytest.param(closes(1013), "closed (1013)", id="1013"),
        pytest.param(says_no("unavailable"), "not now", id="unavailable"),
        pytest.param(says_no("rate_limited"), "not now", id="rate_limited"),
    ],
)
async def test_whoever_is_busy_or_restarting_is_asked_again(first: Script | int, trouble: str) -> None:
    states: list[Connection] = []
    troubles: list[str | None] = []

    def note(connection: Connection) -> None:
        states.append(connection)
        troubles.append(monitor.trouble)

    async with server_that(first, shows_and_stays) as (url, _):
        monitor = Monitor(url, date(2025, 11, 17), on_connection=note)
        async with monitor:
            assert (await anext(monitor)).sequence == 5
    assert states == [Connection.CONNECTING, Connection.RECONNECTING, Connection.LIVE, Connection.CLOSED]
    assert trouble in (troubles[1] or "")
    assert troubles[2] is None


@pytest.mark.parametrize("status", [400, 401, 403, 404])
async def test_a_refused_upgrade_is_not_tried_again(status: int) -> None:
    async with server_that(status) as (url, _):
        with pytest.raises(NotAdmitted) as refused:
            await anext(watch(url, date(2025, 11, 17)))
    assert refused.value.status == status


async def test_a_day_of_many_megabytes_is_shown() -> None:
    block = {"total_appointments": 20_000, "checked_in_count": 0, "clinic": CLINIC, "appointments": []}
    patient = {"id": UNKNOWN, "name": "Priya Raman", "phone": None, "age": 40, "gender": "female"}
    block["doctor"] = {"id": DOCTORS[0], "name": "Dr. Smith", "code": "A", "specialty": "Cardiology"}
    block["appointments"] = [
        {
            "appointment_id": str(uuid5(UUID(UNKNOWN), str(slot))),
            "slot": slot,
            "status": "confirmed",
            "priority": "routine",
            "patient": patient,
            "queue": None,
        }
        for slot in range(20_000)
    ]
    told = msgspec.json.encode(snapshot(5) | {"data": EMPTY | {"doctors": [block]}})
    assert len(told) > 4 * 1024 * 1024, "aiohttp's own limit"

    async def shows(connection: web.WebSocketResponse, asked: list[Json]) -> None:
        await connection.send_str(told.decode())
        await connection.receive()

    async with server_that(shows) as (url, _), Monitor(url, date(2025, 11, 17)) as monitor:
        assert len((await anext(monitor)).day.doctors[0].appointments) == 20_000


async def test_a_server_that_cannot_be_read_ends_the_watch_and_a_newer_one_does_not() -> None:
    async def speaks_anew(connection: web.WebSocketResponse, asked: list[Json]) -> None:
        await connection.send_json({"type": "weather", "sunny": True})
        await connection.send_json(snapshot(5) | {"weather": "sunny"})
        await connection.send_json({"type": "snapshot", "epoch": "e"})
        await connection.receive()

    async with server_that(speaks_anew) as (url, _), Monitor(url, date(2025, 11, 17)) as monitor:
        assert (await anext(monitor)).sequence == 5
        with pytest.raises(NotUnderstood):
            await anext(monitor)


async def test_what_was_missed_is_asked_for_from_the_own_state_on() -> None:
    async def leaves_out(connection: web.WebSocketResponse, asked: list[Json]) -> None:
        await connection.send_json(snapshot(5))
        await connection.send_json(delta(8, after=7))
        await connection.send_json(delta(9, after=8))
        asked.append(await connection.receive_json())
        await connection.send_json(delta(9, after=5))
        await connection.send_json(heartbeat(10))
        asked.append(await connection.receive_json())
        await connection.send_json(delta(10, after=9))
        await connection.receive()

    states: list[Connection] = []
    async with (
        server_that(leaves_out) as (url, asked),
        Monitor(url, date(2025, 11, 17), on_connection=states.append) as monitor,
    ):
        taken = await until(monitor, 10)
    assert [each["resume"] for each in asked] == [None, {"epoch": "e", "sequence": 5}, {"epoch": "e", "sequence": 9}]
    assert [event.sequence for state in taken[1:] for event in state.events or ()] == [6, 7, 8, 9, 10]
    assert states == [
        Connection.CONNECTING,
        Connection.LIVE,
        Connection.STALE,
        Connection.LIVE,
        Connection.STALE,
        Connection.LIVE,
        Connection.CLOSED,
    ]


async def test_what_is_missing_is_stale_until_it_has_come() -> None:
    async def leaves_out_and_says_no_more(connection: web.WebSocketResponse, asked: list[Json]) -> None:
        await connection.send_json(snapshot(5))
        await connection.send_json(delta(8, after=7))
        await connection.receive_json()

    async def is_slow_to_answer(connection: web.WebSocketResponse, asked: list[Json]) -> None:
        await connection.send_json({"type": "status", "live": True, "since": EMPTY["timestamp"]})
        await connection.receive()

    states: list[Connection] = []
    async with (
        server_that(leaves_out_and_says_no_more, is_slow_to_answer) as (url, _),
        Monitor(url, date(2025, 11, 17), on_connection=states.append) as monitor,
    ):
        await becomes(lambda: states[-2:] == [Connection.RECONNECTING, Connection.STALE])
        assert monitor.newest is not None
        assert monitor.newest.sequence == 5
    assert states.count(Connection.LIVE) == 1


async def test_pings_of_a_proxy_do_not_stand_for_a_server_that_says_nothing() -> None:
    async def only_pings(connection: web.WebSocketResponse, asked: list[Json]) -> None:
        await connection.send_json(snapshot(5))
        with suppress(ConnectionError):
            while True:
                await connection.ping()
                await asyncio.sleep(0.05)

    async with (
        server_that(only_pings, shows_and_stays) as (url, asked),
        Monitor(url, date(2025, 11, 17), heartbeat_seconds=5, silent_heartbeats=0.1) as monitor,
    ):
        await becomes(lambda: len(asked) == 2)
        assert monitor.silent_seconds is not None


async def test_after_the_machine_slept_a_silent_server_is_asked_anew_within_a_moment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slept = 0.0
    async with (
        server_that(shows_and_stays, shows_and_stays) as (url, asked),
        Monitor(url, date(2025, 11, 17), heartbeat_seconds=60) as monitor,
    ):
        await anext(monitor)
        monkeypatch.setattr("gateway.client.link.time.clock_gettime", lambda _: time.monotonic() + slept)
        slept = 3600.0
        assert (monitor.silent_seconds or 0) >= 3600
        await becomes(lambda: len(asked) == 2)
        assert asked[1]["resume"] == {"epoch": "e", "sequence": 5}


async def test_a_server_that_does_not_follow_its_log_is_shown_as_stale() -> None:
    async def falls_behind(connection: web.WebSocketResponse, asked: list[Json]) -> None:
        await connection.send_json(snapshot(5))
        for live in (False, True):
            await connection.send_json({"type": "status", "live": live, "since": EMPTY["timestamp"]})
        await connection.send_json(delta(6, after=5))
        await connection.receive()

    states: list[Connection] = []
    async with (
        server_that(falls_behind) as (url, _),
        Monitor(url, date(2025, 11, 17), on_connection=states.append) as monitor,
    ):
        await until(monitor, 6)
    assert states == [
        Connection.CONNECTING,
        Connection.LIVE,
        Connection.STALE,
        Connection.LIVE,
        Connection.CLOSED,
    ]


async def test_a_monitor_can_be_left_while_nobody_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        address = f"http://127.0.0.1:{nobody.getsockname()[1]}"
    async with Monitor(address, date(2025, 11, 17)) as monitor:
        assert monitor.newest is None
        await becomes(lambda: monitor.connection is Connection.RECONNECTING)
        assert monitor.trouble == f"{address.removeprefix('http://')} cannot be reached: Connection refused"
    assert monitor.connection is Connection.CLOSED


@pytest.mark.parametrize(
    ("address", "trouble"),
    [
        ("http://ward:s3cret@127.0.0.1:1", "127.0.0.1:1 cannot be reached: Connection refused"),
        ("http://a..b:1", "a..b:1 cannot be reached: "),
    ],
)
async def test_nobody_there_is_told_without_a_password_also_where_nobody_could_be(address: str, trouble: str) -> None:
    async with Monitor(address, date(2025, 11, 17)) as monitor:
        await becomes(lambda: monitor.connection is Connection.RECONNECTING)
        assert (monitor.trouble or "").startswith(trouble)


async def test_delays_begin_anew_once_a_server_has_said_something(monkeypatch: pytest.MonkeyPatch) -> None:
    delays: list[int] = []

    def at_once(failures: int) -> float:
        delays.append(failures)
        return 0.0

    async def shows_and_goes(connection: web.WebSocketResponse, asked: list[Json]) -> None:
        await connection.send_json(snapshot(5))
        await connection.close(code=1012)

    async def goes_on(connection: web.WebSocketResponse, asked: list[Json]) -> None:
        await connection.send_json(delta(6, after=5))
        await connection.receive()

    monkeypatch.setattr("gateway.client.monitor.delay_seconds", at_once)
    script = (503, closes(1013), says_no("unavailable"), shows_and_goes, 503, goes_on)
    async with server_that(*script) as (url, asked), Monitor(url, date(2025, 11, 17)) as monitor:
        await until(monitor, 6)
    assert delays == [0, 1, 2, 0, 1]
    assert asked[-1]["resume"] == {"epoch": "e", "sequence": 5}
