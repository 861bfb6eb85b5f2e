"""What nobody should send: each is answered with its status and code, and none of it leaves a trace in the log."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from io import BytesIO
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio

from tests.gateway.contract import UNKNOWN, is_problem
from tests.gateway.raw import ANSWER_SECONDS, Raw, connected, request, told
from tests.server import Answer, Server

pytestmark = pytest.mark.asyncio(loop_scope="module")

MEGABYTE = 2**20
BODY_SECONDS = 20
JSON = {"Content-Type": "application/json"}


@pytest_asyncio.fixture(scope="module", loop_scope="module", autouse=True)
async def stalled(hospital: Server) -> AsyncIterator[list[Raw]]:
    """Requests whose bodies stop half-way: one is silent, one goes on with what is no chunk. There from the start."""
    head = {"Host": "localhost"} | JSON
    async with connected(hospital) as silent, connected(hospital) as broken:
        await silent.send(request("POST", "/api/v1/doctors", head | {"Content-Length": "100"}, b'{"name":'))
        await broken.send(request("POST", "/api/v1/doctors", head | {"Transfer-Encoding": "chunked"}, b"1\r\n{\r\n"))
        await asyncio.sleep(0.1)
        await broken.send(b"zz\r\n")
        yield [silent, broken]


async def _send(
    hospital: Server, body: bytes, path: str = "/doctors", method: str = "POST", **headers: str | None
) -> Answer:
    """These very bytes. A header that is None is left out."""
    named = JSON | {name.replace("_", "-"): value for name, value in headers.items()}
    async with hospital._session.request(
        method,
        hospital.api + path,
        data=BytesIO(body),
        headers={name: value for name, value in named.items() if value is not None},
        skip_auto_headers=["Content-Type"],
    ) as answer:
        text = await answer.read()
        return Answer(answer.status, json.loads(text) if text else None, answer.headers)


def _doctor(**keys: Any) -> dict[str, Any]:
    return {"name": "A", "code": uuid4().hex[:12], "specialty": "S"} | keys


# --- bodies that are not JSON --------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"}",
        b'{"name": "A"',
        b'{"name": }',
        b'{"name": "A",}',
        b"{'name': 'A'}",
        b'{name: "A"}',
        b'{"name": "A"} {}',
        b'{"name": "A\nB"}',
        b'{"name": "\\x41"}',
        b"\xef\xbb\xbf{}",
        b"\x00",
        b"\xff\xfe{\x00}\x00",
        b'{"name": "\xff"}',
        b'{"name": "\xed\xa0\x80"}',
        b'{"name": "\\ud800"}',
        b'{"name": "\\udc00"}',
        b'{"name": "\\ud800\\u0041"}',
        b'{"name": "\\udc00\\ud800"}',
        b'{"name": NaN}',
        b'{"name": Infinity}',
        b'{"name": -Infinity}',
        b'{"name": 01}',
        b'{"name": 1e400}',
        b"null",
        b"true",
        b"1",
        b'"text"',
        b"[]",
        b"[{}]",
        b"[" * 100_000,
        b'{"name":' + b"[" * 100_000,
        b'{"name":' * 100_000,
        b'{"name":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"unknown":' + b'{"a":' * 100_000,
        b" " * 100_000,
    ],
    ids=lambda body: f"{body[:24]!r} of {len(body)}",
)
async def test_a_body_that_is_no_json_object_is_400(hospital: Server, body: bytes) -> None:
    is_problem(await _send(hospital, body), 400, "invalid_request")
    is_problem(await _send(hospital, body, "/queue/call-next"), 400, "invalid_request")
    is_problem(await _send(hospital, body, f"/clinics/{UNKNOWN}/2090-01-01", "PUT"), 400, "invalid_request")


@pytest.mark.parametrize("half", [b"\\ud800", b"\\udc00 and more", b"\\ud800\\u0041", b"\xed\xa0\x80"])
async def test_half_a_character_is_400_and_names_its_key(hospital: Server, half: bytes) -> None:
    body = b'{"name": "A", "code": "HALF", "specialty": "%b"}' % half
    is_problem(await _send(hospital, body), 400, "invalid_request", key="specialty")
    is_problem(await _send(hospital, b'{"q": "%b"}' % half, "/patients/search"), 400, "invalid_request", key="q")
    is_problem(await _send(hospital, b'{"%b": "A"}' % half), 400, "invalid_request")


async def test_an_empty_body_lacks_what_is_required(hospital: Server) -> None:
    is_problem(await _send(hospital, b""), 400, "invalid_request", key="name")
    is_problem(await _send(hospital, b"", Content_Type=None), 400, "invalid_request", key="name")
    is_problem(await _send(hospital, b"{}"), 400, "invalid_request", key="name")


async def test_of_a_key_given_twice_the_last_counts(hospital: Server) -> None:
    answer = await _send(hospital, b'{"name": "A", "name": "B", "code": "TWICE", "specialty": "S"}')
    assert (answer.status, answer.body["name"]) == (201, "B")


# --- keys and values -----------------------------------------------------------------------------

_BOOKING = {"doctor_id": UNKNOWN, "patient_id": UNKNOWN, "date": "2090-01-01"}
_CLINIC = f"/clinics/{UNKNOWN}/2090-01-01"
_BIG = 10**30
_ROWS: list[tuple[str, str, dict[str, Any], str, list[Any]]] = [
    (
        "POST",
        "/doctors",
        {"name": "A", "code": "C", "specialty": "S"},
        "name",
        ["a" * 201, "", " ", "\0", "a\0b", None],
    ),
    ("POST", "/doctors", {"name": "A", "code": "C", "specialty": "S"}, "code", ["a" * 41, "", "\t", "C\0", None]),
    ("POST", "/doctors", {"name": "A", "code": "C", "specialty": "S"}, "specialty", ["a" * 101, "", "\0", None]),
    ("POST", "/doctors", {"name": "A", "code": "C", "specialty": "S"}, "department", ["a" * 101, "\0"]),
    ("POST", "/doctors", {"name": "A", "code": "C", "specialty": "S"}, "room", ["a" * 101, "\0"]),
    ("POST", "/doctors", {"name": "A", "code": "C", "specialty": "S"}, "reason", ["a" * 201, "\0"]),
    ("POST", "/doctors", {"name": "A", "code": "C", "specialty": "S"}, "id", [UNKNOWN, None]),
    (
        "POST",
        "/doctors",
        {"name": "A", "code": "C", "specialty": "S"},
        "effective_at",
        [
            "yesterday",
            "2020-01-01",
            "2020-01-01T09:00:00",
            "2020-13-01T09:00:00Z",
            "2020-01-01T24:00:00Z",
            "2020-01-01T09:00:00+99:00",
            "0001-01-01T00:00:00+05:30",
            "0001-01-01T00:00:00Z",
            "1969-12-31T23:59:59Z",
        ],
    ),
    ("POST", "/patients", {"name": "A"}, "name", ["a" * 201, "a\0", "\u2003"]),
    ("POST", "/patients", {"name": "A"}, "phone", ["1" * 41, "\0"]),
    ("POST", "/patients", {"name": "A"}, "mrn", ["1" * 41, "\0"]),
    ("POST", "/patients", {"name": "A"}, "age", [-1, 151, 1.5, 45.0, "45", True, _BIG, 2**63, 2**64]),
    ("POST", "/patients", {"name": "A"}, "birth_date", ["1980", "1980-1-1", "1980-02-30", "0000-01-01", 19800101]),
    ("POST", "/patients", {"name": "A"}, "gender", ["m", "Male", "", 1]),
    ("POST", "/patients", {"name": "A"}, "private", [0, 1, "true", "yes"]),
    ("POST", "/patients", {"name": "A"}, "surname", ["B"]),
    ("POST", f"/patients/{UNKNOWN}/erase", {"reason": "R"}, "reason", ["a" * 201, "", "\0", None]),
    ("POST", f"/patients/{UNKNOWN}/erase", {"reason": "R"}, "patient_id", [UNKNOWN]),
    ("PUT", _CLINIC, {"capacity": 3}, "capacity", [0, -1, 3.5, 3.0, "3", True, None, _BIG, 2**31, 2**63]),
    ("PUT", _CLINIC, {"capacity": 3}, "slot_minutes", [0, -1, 10.5, "10", True, _BIG, 2**63]),
    ("PUT", _CLINIC, {"capacity": 3}, "starts_at", ["9:00", "24:00", "09:60", "09:00:00", "09:00\n", "٠٩:٠٠", 9]),
    ("PUT", _CLINIC, {"capacity": 3}, "room", ["a" * 101, "\0"]),
    ("PUT", _CLINIC, {"capacity": 3}, "order", ["queue", "Slot", 1]),
    ("PUT", _CLINIC, {"capacity": 3}, "doctor_id", [UNKNOWN]),
    ("PUT", _CLINIC, {"capacity": 3}, "date", ["2090-01-01"]),
    ("POST", "/appointments", _BOOKING, "doctor_id", ["x", "", 1, None, UNKNOWN + "0", "{" + UNKNOWN + "}"]),
    ("POST", "/appointments", _BOOKING, "patient_id", ["x", "", 1, None]),
    (
        "POST",
        "/appointments",
        _BOOKING,
        "date",
        ["tomorrow", "2090-1-1", "2090-02-30", "2090-01-01T00:00:00Z", 1, None],
    ),
    ("POST", "/appointments", _BOOKING, "slot", [1.5, 1.0, "1", True, _BIG, -_BIG, 2**63, 2**64]),
    ("POST", "/appointments", _BOOKING, "priority", ["high", "Urgent", 1]),
    ("POST", "/appointments", _BOOKING, "allow_overlap", ["yes", 1]),
    ("POST", "/appointments", _BOOKING, "reason", ["a" * 201, "\0"]),
    ("POST", "/appointments", _BOOKING, "appointment_id", [UNKNOWN]),
    ("POST", "/checkins", {"appointment_id": UNKNOWN}, "appointment_id", ["x", 1, None]),
    ("POST", "/checkins", {"appointment_id": UNKNOWN}, "patient_id", ["x", 1]),
    ("POST", "/checkins", {"appointment_id": UNKNOWN}, "ticket", ["A-1"]),
    ("POST", "/queue/call-next", {"doctor_id": UNKNOWN}, "doctor_id", ["x", 1, None]),
    ("POST", "/queue/call-next", {"doctor_id": UNKNOWN}, "date", ["today", "2090-1-1", 1]),
    ("POST", "/queue/call-next", {"doctor_id": UNKNOWN}, "effective_at", ["2020-01-01T00:00:00Z"]),
    ("POST", f"/appointments/{UNKNOWN}/cancel", {}, "reason", ["a" * 201, "\0"]),
    ("POST", f"/appointments/{UNKNOWN}/complete", {}, "outcome", ["fine"]),
]


@pytest.mark.parametrize(
    ("method", "path", "good", "key", "values"),
    _ROWS,
    ids=[f"{path.rpartition('/')[2] if UNKNOWN not in path else path.replace(UNKNOWN, '*')}-{key}"
         for _, path, _, key, _ in _ROWS],
)  # fmt: skip
async def test_a_wrong_value_is_400_and_its_key_is_named(
    hospital: Server, method: str, path: str, good: dict[str, Any], key: str, values: list[Any]
) -> None:
    """Before anything else is looked at: all the ids are unknown."""
    anything = [value for value in ([], {}, ["a"], {"a": 1}) if key not in values]
    for value in [*values, *anything]:
        is_problem(await hospital.call(method, path, good | {key: value}), 400, "invalid_request", key=key)


async def test_a_number_of_five_thousand_digits_is_400(hospital: Server) -> None:
    body = json.dumps(_BOOKING)[:-1].encode()
    is_problem(
        await _send(hospital, body + b', "slot": ' + b"9" * 5000 + b"}", "/appointments"),
        400,
        "invalid_request",
        key="slot",
    )


async def test_texts_of_the_greatest_length_are_taken_whole_in_any_script(hospital: Server) -> None:
    sent = _doctor(name="👩🏽‍⚕️" * 28, specialty="ü" * 100, department="नि" * 50, room="李" * 100, code="ß" * 40)
    made = await hospital.post("/doctors", sent | {"reason": "𝕣" * 200})
    assert made.status == 201
    assert {key: made.body[key] for key in sent} == sent
    patient = {"name": "\u202e" + "é" * 199, "phone": "1" * 40, "mrn": "7" * 40}
    made = await hospital.post("/patients", patient)
    assert {key: made.body[key] for key in patient} == patient


# --- paths, methods, media types, sizes ----------------------------------------------------------


@pytest.mark.parametrize(
    "bad", ["x", "1", UNKNOWN[:-1], UNKNOWN + "0", "%00", "%ff", "%2f", "%ed%a0%80", UNKNOWN + "%20"]
)
async def test_a_path_with_an_id_that_is_none_is_400(hospital: Server, bad: str) -> None:
    for method, path, key in (
        ("GET", f"/doctors/{bad}", "doctor_id"),
        ("GET", f"/patients/{bad}", "patient_id"),
        ("POST", f"/patients/{bad}/erase", "patient_id"),
        ("PUT", f"/clinics/{bad}/2090-01-01", "doctor_id"),
        ("GET", f"/appointments/{bad}", "appointment_id"),
        ("POST", f"/appointments/{bad}/cancel", "appointment_id"),
        ("POST", f"/appointments/{bad}/complete", "appointment_id"),
    ):
        data = request(method, f"/api/v1{path}", JSON | {"Host": "localhost", "Content-Length": "2"}, b"{}")
        is_problem(await told(hospital, data), 400, "invalid_request", key=key)


@pytest.mark.parametrize(
    "path",
    ["/", "/api", "/api/v1", "/api/v1/", "/api/v1/doctor", "/api/v1/doctors/", "/api/v1//doctors", "/api/v2/doctors",
     "/API/V1/doctors", "/api/v1/../v1/nothing", f"/api/v1/doctors/{UNKNOWN}/x", "/api/v1/ws", "/api/v1/ws/queue/",
     "/favicon.ico", "/%00", "*"],
)  # fmt: skip
async def test_what_is_not_there_is_404(hospital: Server, path: str) -> None:
    for method in ("GET", "POST", "DELETE", "OPTIONS"):
        if path != "*" or method == "OPTIONS":
            is_problem(await told(hospital, request(method, path, {"Host": "localhost"})), 404, "not_found")


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/api/v1/doctors", {"GET", "HEAD", "POST"}),
        (f"/api/v1/doctors/{UNKNOWN}", {"GET", "HEAD", "PATCH"}),
        ("/api/v1/patients", {"POST"}),
        (f"/api/v1/patients/{UNKNOWN}", {"GET", "HEAD", "PATCH"}),
        (f"/api/v1/patients/{UNKNOWN}/erase", {"POST"}),
        (f"/api/v1/clinics/{UNKNOWN}/2090-01-01", {"PUT"}),
        ("/api/v1/appointments", {"POST"}),
        (f"/api/v1/appointments/{UNKNOWN}", {"GET", "HEAD"}),
        (f"/api/v1/appointments/{UNKNOWN}/cancel", {"POST"}),
        (f"/api/v1/appointments/{UNKNOWN}/complete", {"POST"}),
        (f"/api/v1/appointments/{UNKNOWN}/history", {"GET", "HEAD"}),
        (f"/api/v1/appointments/{UNKNOWN}/undo", {"POST"}),
        (f"/api/v1/clinics/{UNKNOWN}/2090-01-01/reassign", {"POST"}),
        ("/api/v1/patients/search", {"GET", "HEAD", "PATCH", "POST"}),
        ("/api/v1/walkins", {"POST"}),
        ("/api/v1/queue/2090-01-01/events", {"GET", "HEAD"}),
        ("/api/v1/checkins", {"POST"}),
        ("/api/v1/queue", {"GET", "HEAD"}),
        ("/api/v1/queue/call-next", {"POST"}),
        ("/api/v1/ws/queue", {"GET", "HEAD"}),
        ("/healthz", {"GET", "HEAD"}),
        ("/readyz", {"GET", "HEAD"}),
        ("/openapi.json", {"GET", "HEAD"}),
    ],
)
async def test_another_method_is_405_and_told_which_are_allowed(hospital: Server, path: str, allowed: set[str]) -> None:
    for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"} - allowed:
        answer = await told(hospital, request(method, path, {"Host": "localhost"}))
        is_problem(answer, 405, "method_not_allowed")
        assert set(answer.headers["Allow"].split(", ")) == allowed


@pytest.mark.parametrize(
    "content_type",
    [None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/xml",
     "application/jsonx", "application/problem+json", "*/*", ";;;", "json"],
)  # fmt: skip
async def test_a_body_of_another_kind_is_415(hospital: Server, content_type: str | None) -> None:
    body = json.dumps(_doctor()).encode()
    is_problem(await _send(hospital, body, Content_Type=content_type), 415, "unsupported_media_type")


@pytest.mark.parametrize("content_type", ["application/json", "Application/JSON; charset=UTF-8", "application/json;"])
async def test_json_may_be_named_in_every_way(hospital: Server, content_type: str) -> None:
    assert (await _send(hospital, json.dumps(_doctor()).encode(), Content_Type=content_type)).status == 201


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "nonsense"])
async def test_a_compressed_body_is_415_whatever_is_in_it(hospital: Server, coding: str) -> None:
    plain = json.dumps(_doctor()).encode()
    for body in (plain, gzip.compress(plain), gzip.compress(b" " * 50 * MEGABYTE)):
        data = JSON | {"Host": "localhost", "Content-Length": str(len(body)), "Content-Encoding": coding}
        is_problem(await told(hospital, request("POST", "/api/v1/doctors", data, body)), 415, "unsupported_media_type")


async def test_a_body_may_have_a_megabyte_and_not_a_byte_more(hospital: Server) -> None:
    body = json.dumps(_doctor()).encode()
    assert (await _send(hospital, body.ljust(MEGABYTE))).status == 201
    is_problem(await _send(hospital, body.ljust(MEGABYTE + 1)), 413, "too_large")


@pytest.mark.parametrize("content_type", ["application/json", "text/plain"])
async def test_ten_megabytes_are_413_with_and_without_a_length(hospital: Server, content_type: str) -> None:
    is_problem(await _send(hospital, b"x" * 10 * MEGABYTE, Content_Type=content_type), 413, "too_large")
    head = request(
        "POST",
        "/api/v1/doctors",
        {"Host": "localhost", "Content-Type": content_type, "Transfer-Encoding": "chunked"},
    )
    chunks = (b"10000\r\n" + b"x" * 0x10000 + b"\r\n") * 160
    async with connected(hospital) as raw:
        answer, _ = await asyncio.gather(raw.answer(), raw.send(head + chunks + b"0\r\n\r\n"))
        is_problem(answer, 413, "too_large")


# --- what is not HTTP ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b"hello\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /api/v1/doctors HTTP/9.9\r\nHost: localhost\r\n\r\n",
        b"GET /api/v1/doctors HTTP/1.1\r\n\r\n",
        b"GET /api/v1/doctors HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
        b"GET /api/v1/doctors HTTP/1.1\r\nHost: localhost\r\nNo colon\r\n\r\n",
        b"GET /api/v1/doctors HTTP/1.1\r\nHost: localhost\r\nX : space\r\n\r\n",
        b"GET /api/v1/doctors HTTP/1.1\r\nHost: localhost\r\nX: nul\x00\r\n\r\n",
        b"GET /api/v1/doctors HTTP/1.1\r\nHost: localhost\r\n: nameless\r\n\r\n",
        b"GET /api/v1/doctors HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 20_000 + b"\r\n\r\n",
        b"GET /api/v1/doctors HTTP/1.1\r\nHost: localhost\r\n" + b"X: a\r\n" * 1000 + b"\r\n",
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /api/v1/doctors/\xff HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /api/v1/doctors?\xff HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"POST /api/v1/doctors HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST /api/v1/doctors HTTP/1.1\r\nHost: localhost\r\nContent-Length: two\r\n\r\n{}",
        b"POST /api/v1/doctors HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{} ",
        b"POST /api/v1/doctors HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        b"POST /api/v1/doctors HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    ],
    ids=lambda data: f"{data[:60]!r} of {len(data)}",
)
async def test_what_is_no_http_is_a_problem_too_and_the_connection_ends(hospital: Server, data: bytes) -> None:
    async with connected(hospital) as raw:
        await raw.send(data)
        is_problem(await raw.answer(), 400, "invalid_request")
        assert await raw.is_closed()


async def test_headers_that_are_no_text_do_no_harm(hospital: Server) -> None:
    body = json.dumps(_doctor()).encode()
    headers = JSON | {"Host": "localhost", "Content-Length": str(len(body))}
    key = await told(hospital, request("POST", "/api/v1/doctors", headers | {"Idempotency-Key": "a\xff"}, body))
    is_problem(key, 400, "invalid_request", key="Idempotency-Key")
    known = await told(hospital, request("POST", "/api/v1/doctors", headers | {"X-Request-ID": "a\xff"}, body))
    assert known.status == 201


@pytest.mark.parametrize("sent", [0, 1, 20, 120, 180])
async def test_a_request_that_breaks_off_anywhere_does_no_harm(hospital: Server, sent: int) -> None:
    body = json.dumps(_doctor()).encode()
    whole = request("POST", "/api/v1/doctors", JSON | {"Host": "localhost", "Content-Length": str(len(body))}, body)
    async with connected(hospital) as raw:
        await raw.send(whole[:sent])
        raw.writer.close()
    async with connected(hospital) as raw:
        await raw.send(whole[:sent])
        await asyncio.sleep(0.05)  # and this one with a reset


async def test_a_slow_body_is_waited_for(hospital: Server) -> None:
    body = json.dumps(_doctor()).encode()
    head = request("POST", "/api/v1/doctors", JSON | {"Host": "localhost", "Content-Length": str(len(body))})
    async with connected(hospital) as raw:
        await raw.send(head)
        for byte in body:
            await raw.send(bytes((byte,)))
            await asyncio.sleep(0.01)
        assert (await raw.answer()).status == 201


async def test_requests_sent_in_one_piece_are_answered_one_after_the_other(hospital: Server) -> None:
    async with connected(hospital) as raw:
        await raw.send(request("GET", "/healthz", {"Host": "localhost"}) * 20)
        for _ in range(20):
            assert (await raw.answer()).status == 200


async def test_many_that_connect_and_say_nothing_keep_nobody_else_waiting(hospital: Server) -> None:
    silent = [connected(hospital) for _ in range(200)]
    raws: list[Raw] = [await connection.__aenter__() for connection in silent]
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            assert (await hospital.get("/doctors")).status == 200
    finally:
        for connection in silent:
            await connection.__aexit__(None, None, None)
    assert len(raws) == 200


async def test_a_body_that_does_not_arrive_is_408(stalled: list[Raw]) -> None:
    for raw in stalled:
        async with asyncio.timeout(BODY_SECONDS + 5):
            is_problem(await raw.answer(), 408, "request_timeout")
