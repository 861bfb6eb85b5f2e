"""Who may connect while there are no tokens: this machine, and no page from elsewhere."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import ServerFactory
from tests.gateway.contract import UNKNOWN, is_problem
from tests.gateway.raw import connected, request, told
from tests.server import Server

pytestmark = pytest.mark.asyncio(loop_scope="module")

WS = "/api/v1/ws/queue"
LOOPBACK_HOSTS = [
    "localhost", "localhost:8000", "LocalHost", "localhost.", "127.0.0.1", "127.0.0.1:1", "127.0.0.2", "[::1]",
    "[::1]:8000", "[0:0:0:0:0:0:0:1]",
]  # fmt: skip
FOREIGN_HOSTS = [
    "evil.example", "evil.example:8000", "192.168.0.192:8000", "0.0.0.0", "localhost.evil.example",
    "127.0.0.1.evil.example", "evil.example@127.0.0.1", "127.0.0.1@evil.example", "localhost:80:80", "localhost:x",
    "[::1", "::1", "[::1]x", "[fe80::1]", "[::]", "", "\xff", "127.0.0.1 ",
]  # fmt: skip
GOOD_ORIGINS = [
    "http://localhost:3000", "http://127.0.0.1:5173", "https://localhost", "http://[::1]:8080", "HTTP://LOCALHOST:1",
    "null", "file://",
]  # fmt: skip
FOREIGN_ORIGINS = [
    "https://evil.example", "http://evil.example:8000", "http://192.168.0.7", "http://localhost.evil.example",
    "http://localhost@evil.example", "http://127.0.0.1.evil.example", "http://[", "http://[x]", "localhost", "",
    "chrome-extension://abc", "file://evil.example", "ftp://localhost", "nullx", "http://\xff", "https://board.example",
]  # fmt: skip


async def _get(hospital: Server, path: str = "/api/v1/doctors", **headers: str) -> Any:
    return await told(hospital, request("GET", path, {"Host": "localhost"} | headers))


@pytest.mark.parametrize("host", LOOPBACK_HOSTS)
async def test_a_loopback_host_is_answered_with_and_without_its_port(hospital: Server, host: str) -> None:
    assert (await _get(hospital, Host=host)).status == 200
    async with connected(hospital) as raw:
        assert (await raw.upgrade(WS, {"Host": host})).status == 101


@pytest.mark.parametrize("host", [host for host in FOREIGN_HOSTS if host.strip() == host])
async def test_a_foreign_host_is_403_everywhere_and_before_the_upgrade(hospital: Server, host: str) -> None:
    for path in ("/api/v1/doctors", "/api/v1/nothing", "/healthz", "/openapi.json", "/test_websocket.html"):
        is_problem(await _get(hospital, path, Host=host), 403, "forbidden")
    for path in (WS, f"{WS}/{UNKNOWN}", f"{WS}/x"):
        async with connected(hospital) as raw:
            is_problem(await raw.upgrade(path, {"Host": host}), 403, "forbidden")
            assert await raw.is_closed()


@pytest.mark.parametrize("origin", GOOD_ORIGINS)
async def test_pages_of_this_machine_may_read_and_connect(hospital: Server, origin: str) -> None:
    answer = await _get(hospital, Origin=origin)
    assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (200, origin)
    assert "Origin" in answer.headers["Vary"]
    refused = await _get(hospital, f"/api/v1/doctors/{UNKNOWN}", Origin=origin)
    is_problem(refused, 404, "unknown_doctor")
    assert refused.headers["Access-Control-Allow-Origin"] == origin  # an error may be read too
    async with connected(hospital) as raw:
        assert (await raw.upgrade(WS, {"Origin": origin})).status == 101
        await raw.say({"action": "ping"})
        assert (await raw.hear_json())["type"] == "pong"


async def test_the_servers_own_origin_is_always_good(hospital: Server) -> None:
    async with connected(hospital) as raw:
        assert (await raw.upgrade(WS, {"Origin": hospital.url})).status == 101
    assert (await _get(hospital, Origin=hospital.url)).status == 200


@pytest.mark.parametrize("origin", FOREIGN_ORIGINS)
async def test_pages_from_elsewhere_are_403_and_change_nothing(hospital: Server, origin: str) -> None:
    answer = await _get(hospital, Origin=origin)
    is_problem(answer, 403, "forbidden")
    assert "Access-Control-Allow-Origin" not in answer.headers
    body = b'{"name": "A", "code": "FOREIGN", "specialty": "S"}'
    # A browser sends such a POST without asking first.
    for content_type in ("text/plain", "application/json"):
        headers = {"Host": "localhost", "Origin": origin, "Content-Type": content_type, "Content-Length": "50"}
        is_problem(await told(hospital, request("POST", "/api/v1/doctors", headers, body)), 403, "forbidden")
    assert "FOREIGN" not in [card["code"] for card in (await hospital.get("/doctors")).body["doctors"]]
    preflight = {"Host": "localhost", "Origin": origin, "Access-Control-Request-Method": "POST"}
    is_problem(await told(hospital, request("OPTIONS", "/api/v1/doctors", preflight)), 403, "forbidden")
    async with connected(hospital) as raw:
        is_problem(await raw.upgrade(WS, {"Origin": origin}), 403, "forbidden")
        assert await raw.is_closed()


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
async def test_a_preflight_says_what_a_page_may_send(hospital: Server, method: str) -> None:
    answer = await told(
        hospital,
        request(
            "OPTIONS",
            "/api/v1/appointments",
            {
                "Host": "localhost",
                "Origin": "null",
                "Access-Control-Request-Method": method,
                "Access-Control-Request-Headers": "content-type, idempotency-key",
            },
        ),
    )
    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers["Access-Control-Allow-Origin"] == "null"
    assert method in answer.headers["Access-Control-Allow-Methods"].split(", ")
    allowed = {name.lower() for name in answer.headers["Access-Control-Allow-Headers"].split(", ")}
    assert {"content-type", "idempotency-key"} <= allowed
    assert "Access-Control-Allow-Credentials" not in answer.headers


async def test_a_page_may_read_that_an_answer_was_replayed(hospital: Server) -> None:
    answer = await hospital.post("/patients", {"name": "A"}, Origin="http://localhost:3000", Idempotency_Key="cors")
    exposed = {name.lower() for name in answer.headers["Access-Control-Expose-Headers"].split(", ")}
    assert {"idempotency-replayed", "retry-after"} <= exposed


async def test_without_an_origin_there_are_no_cors_headers(hospital: Server) -> None:
    answer = await _get(hospital)
    assert not [name for name in answer.headers if name.startswith("Access-Control")]


@pytest.mark.parametrize(
    ("path", "status", "code", "facts"),
    [
        (f"{WS}/x", 400, "invalid_request", {"key": "doctor_id"}),
        (f"{WS}/{UNKNOWN}", 404, "unknown_doctor", {}),
        ("/api/v1/ws", 404, "not_found", {}),
        (f"{WS}/", 404, "not_found", {}),
    ],
)
async def test_a_refused_upgrade_is_a_problem_and_the_connection_ends(
    hospital: Server, path: str, status: int, code: str, facts: dict[str, Any]
) -> None:
    async with connected(hospital) as raw:
        is_problem(await raw.upgrade(path), status, code, **facts)
        assert await raw.is_closed()


@pytest.mark.parametrize(
    "headers",
    [{"Sec-WebSocket-Version": "12"}, {"Sec-WebSocket-Key": "short"}, {"Upgrade": "h2c"}, {"Sec-WebSocket-Key": ""}],
)
async def test_an_upgrade_to_something_else_is_400_and_the_connection_ends(
    hospital: Server, headers: dict[str, str]
) -> None:
    async with connected(hospital) as raw:
        is_problem(await raw.upgrade(WS, headers), 400, "invalid_request")
        assert await raw.is_closed()


async def test_the_websocket_asked_for_as_a_page_is_400(hospital: Server) -> None:
    is_problem(await _get(hospital, WS), 400, "invalid_request")


@pytest.mark.asyncio(loop_scope="function")
async def test_a_further_origin_is_allowed_by_name_and_no_other(serve: ServerFactory) -> None:
    server = await serve("--allow-origin", "https://board.example", "--allow-origin", "https://two.example:8443/")
    for origin in ("https://board.example", "https://BOARD.example", "https://two.example:8443", "http://localhost"):
        assert (await _get(server, Origin=origin)).status == 200
        async with connected(server) as raw:
            assert (await raw.upgrade(WS, {"Origin": origin})).status == 101
    for origin in (
        "http://board.example",
        "https://board.example:8443",
        "https://x.board.example",
        "https://two.example",
    ):
        is_problem(await _get(server, Origin=origin), 403, "forbidden")
    is_problem(await _get(server, Origin="https://board.example", Host="board.example"), 403, "forbidden")
