"""/asyncapi.json is AsyncAPI, holds every message there is, and the tests' monitors find what it does not describe."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, get_args

import aiohttp
import jsonschema_rs
import msgspec
import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.live import messages, protocol
from tests.described import ALL_DOCTORS, DescribedSocket, described, is_described
from tests.gateway.contract import UNKNOWN
from tests.gateway.raw import Raw
from tests.server import Server
from tests.web.conftest import cannot_run

ONE_DOCTOR = f"{ALL_DOCTORS}/{UNKNOWN}"
SAME_IN_BOTH_DIALECTS = {
    "title", "description", "default", "type", "enum", "anyOf", "format", "properties", "required",
    "additionalProperties", "items", "minItems", "maxItems", "minLength", "maxLength", "minimum", "maximum",
}  # fmt: skip
"""Keywords that mean the same in draft-07, which AsyncAPI takes a payload's schema for, and in 2020-12."""

APPOINTMENT: dict[str, Any] = {
    "appointment_id": UNKNOWN,
    "slot": 1,
    "status": "confirmed",
    "priority": "routine",
    "patient": {"id": UNKNOWN, "name": "Priya Raman", "phone": None, "age": 45, "gender": "female"},
    "queue": None,
}
DAY: dict[str, Any] = {
    "date": "2025-11-17",
    "doctor": {"id": UNKNOWN, "name": "Dr. Smith", "code": "DOC001", "specialty": "Cardiology"},
    "total_appointments": 1,
    "checked_in_count": 0,
    "clinic": None,
    "appointments": [APPOINTMENT],
    "timestamp": "2025-11-17T09:15:00+05:30",
}
SNAPSHOT: dict[str, Any] = {"type": "snapshot", "epoch": "e", "sequence": 7, "data": DAY}


# --- the document --------------------------------------------------------------------------------


@pytest.fixture
def official() -> jsonschema_rs.Draft7Validator:
    """What the AsyncAPI initiative says a document is, from its npm package."""
    folder = os.environ.get("DAYSHEET_TEST_NODE_MODULES")
    modules = Path(folder) if folder else Path(__file__).parents[2] / ".venv" / "node" / "node_modules"
    file = modules / "@asyncapi" / "specs" / "schemas" / "3.0.0-without-$id.json"
    if not file.is_file():
        cannot_run(f"the npm package @asyncapi/specs is not in {modules}")
    return jsonschema_rs.Draft7Validator(json.loads(file.read_text(encoding="utf-8")))


def test_the_document_is_valid_asyncapi_3_0(official: jsonschema_rs.Draft7Validator) -> None:
    assert not official.is_valid(described() | {"asyncapi": "2.6.0"})
    assert [str(error) for error in official.iter_errors(described())] == []


async def test_it_is_served_as_it_is(server: Server) -> None:
    async with server._session.get(server.url + "/asyncapi.json") as answer:
        assert (answer.status, answer.content_type) == (200, "application/json")
        assert await answer.json() == described()


def _within(value: Any) -> Iterator[dict[str, Any]]:
    """Every object of a document."""
    if isinstance(value, dict):
        yield value
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _within(each)


def test_every_reference_leads_somewhere() -> None:
    for reference in [each["$ref"] for each in _within(described()) if isinstance(each.get("$ref"), str)]:
        where: Any = described()
        for key in reference.removeprefix("#/").split("/"):
            where = where[key]


def test_an_operation_hears_and_answers_only_with_messages_of_its_channel() -> None:
    operations = described()["operations"]
    assert {(each["channel"]["$ref"], each["action"]) for each in operations.values()} == {
        (f"#/channels/{key}", action) for key in described()["channels"] for action in ("send", "receive")
    }
    for operation in operations.values():
        channel = operation["channel"]["$ref"]
        for said in (operation, operation.get("reply", operation)):
            assert said["channel"]["$ref"] == channel
            assert said["messages"]
            assert all(each["$ref"].startswith(f"{channel}/messages/") for each in said["messages"])


def test_every_message_there_is_can_be_said_somewhere() -> None:
    said = {
        kind
        for schema in described()["components"]["schemas"].values()
        for kind in schema["properties"].get("type", schema["properties"].get("action", {})).get("enum", ())
    }
    structs = [each for each in vars(messages).values() if isinstance(each, type) and issubclass(each, msgspec.Struct)]
    tags = {each.__struct_config__.tag for each in (*structs, *get_args(protocol.Message))} - {None}
    assert len(tags) >= 8
    assert said >= tags


def test_each_doctor_and_all_are_told_the_same_types_of_messages() -> None:
    types = {
        key: {
            described()["components"]["schemas"][name]["properties"].get("type", {}).get("enum", ("heard",))[0]
            for name in channel["messages"]
        }
        for key, channel in described()["channels"].items()
    }
    assert types["queue"] == types["doctorQueue"]


def test_schemas_mean_the_same_to_every_reader() -> None:
    schemas = described()["components"]["schemas"]
    for name, schema in schemas.items():
        assert name.isalnum()
        assert schema["title"].isalnum()
        for draft in (jsonschema_rs.Draft7Validator, jsonschema_rs.Draft202012Validator):
            draft({"$ref": f"#/components/schemas/{name}", "components": {"schemas": schemas}})
    for keywords in _keywords(list(schemas.values())):
        assert keywords == {"$ref"} or keywords <= SAME_IN_BOTH_DIALECTS


def _keywords(schemas: list[Any]) -> Iterator[set[str]]:
    for schema in schemas:
        yield set(schema)
        further = [*schema.get("properties", {}).values(), *schema.get("anyOf", ())]
        for keyword in ("items", "additionalProperties"):
            if isinstance(schema.get(keyword), dict):
                further.append(schema[keyword])
        yield from _keywords(further)


def test_how_a_connection_may_end_is_told() -> None:
    for code in (1000, 1002, 1007, 1008, 1009, 1012, 1013):
        assert f"\n- {code}: " in described()["info"]["description"]


# --- what clients say ----------------------------------------------------------------------------

VALUES: dict[str, list[Any]] = {
    "action": ["subscribe", "subscribe", "subscribe", "unsubscribe", "ping", "dance", 1],
    "date": ["2025-11-17", "2025-11-17", "2025-02-30", "today", None, 20251117],
    "mode": ["full", "delta", None, "half", True],
    "resume": [{"epoch": "e", "sequence": 3}, None, {}, {"epoch": "e"}, {"epoch": "e", "sequence": 3, "x": 1}],
    "heartbeat": [5, 60, 7.5, None, 4, 61, 60.5, "5"],
    "doctors": [[], [UNKNOWN], [UNKNOWN] * 1_000, [UNKNOWN] * 1_001, None, ["x"], UNKNOWN],
    "department": ["Cardiology", "x" * 100, "x" * 101, "", None, 5],
    "view": ["full", "public", None, "private"],
    "colour": ["blue"],
}


@given(
    message=st.fixed_dictionaries(
        {"action": st.sampled_from(VALUES["action"]), "date": st.sampled_from(VALUES["date"])},
        optional={key: st.sampled_from(values) for key, values in VALUES.items() if key not in ("action", "date")},
    )
)
@example(message={"action": "ping"})
@example(message={"action": "unsubscribe"})
@example(message={"action": "subscribe"})
@example(message={"date": "2025-11-17"})
@example(message={"action": "subscribe", "date": "2025-11-17", "heartbeat": 5, "view": "public", "mode": "delta"})
def test_a_message_is_understood_exactly_when_the_document_describes_it(message: dict[str, Any]) -> None:
    try:
        protocol.parse(json.dumps(message).encode())
        understood = True
    except protocol.Misunderstood:
        understood = False
    assert _HEARD.is_valid(message) == understood


_HEARD = jsonschema_rs.Draft202012Validator(
    {
        "anyOf": [{"$ref": f"#/components/schemas/{kind.__name__}"} for kind in get_args(protocol.Message)],
        "components": described()["components"],
    },
    validate_formats=True,
)


# --- the look at what servers say ----------------------------------------------------------------


def test_a_described_message_passes() -> None:
    is_described(json.dumps(SNAPSHOT), ONE_DOCTOR)
    is_described(json.dumps(SNAPSHOT), ONE_DOCTOR + "?token=x")
    is_described(b'{"type":"unsubscribed"}', ALL_DOCTORS)


@pytest.mark.parametrize(
    ("path", "wrong", "told"),
    [
        (ALL_DOCTORS, SNAPSHOT, "no SnapshotOfDay"),  # that is the other channel's
        (ONE_DOCTOR, SNAPSHOT | {"colour": "blue"}, "colour"),
        (ONE_DOCTOR, SNAPSHOT | {"sequence": "7"}, "sequence"),
        (ONE_DOCTOR, {key: value for key, value in SNAPSHOT.items() if key != "epoch"}, "epoch"),
        (ONE_DOCTOR, SNAPSHOT | {"data": DAY | {"date": "17.11.2025"}}, "data/date"),
        (ONE_DOCTOR, SNAPSHOT | {"data": DAY | {"appointments": [APPOINTMENT | {"why": "x"}]}}, "why"),
        (ONE_DOCTOR, SNAPSHOT | {"data": DAY | {"appointments": [APPOINTMENT | {"status": "lost"}]}}, "lost"),
        (ONE_DOCTOR, SNAPSHOT | {"type": "picture"}, "knows no such message"),
        (ALL_DOCTORS, {"type": "error", "code": "brand_new", "message": "?"}, "brand_new"),
        (ALL_DOCTORS, {"action": "ping"}, "knows no such message"),
    ],
)
def test_a_message_that_is_not_described_is_found(path: str, wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(AssertionError, match=told):
        is_described(json.dumps(wrong), path)


CHOICES: list[dict[str, Any]] = [
    {},
    {"view": "public"},
    {"doctors": [UNKNOWN]},
    {"department": "Heart"},
    {"mode": "delta"},
    {"mode": "delta", "view": "public"},
    {"mode": "delta", "department": "Heart", "heartbeat": 5},
]


async def test_every_choice_of_a_subscription_is_answered_with_what_is_described(server: Server) -> None:
    """A monitor of the tests looks at each message by itself. Here all types come but `status`: see test_outages.py."""
    today = await server.today()
    doctor = await server.a_doctor(department="Heart")
    patient = await server.a_patient()
    heard: set[tuple[bool, str]] = set()

    async def watch(alone: bool, choice: dict[str, Any]) -> None:
        choice = choice if not alone else {key: choice[key] for key in choice.keys() - {"doctors", "department"}}
        async with server.monitor(doctor if alone else None) as monitor:

            async def hear(*kinds: str) -> dict[str, Any]:
                message: dict[str, Any] = await monitor.receive_json(timeout=10)
                assert message["type"] in kinds
                heard.add((alone, message["type"]))
                return message

            await monitor.send_json({"action": "subscribe", "date": today} | choice)
            begun = await hear("snapshot")
            watching.release()
            if choice.get("doctors") != [UNKNOWN]:
                while (await hear("update", "delta"))["sequence"] < (await everything)["sequence"]:
                    pass
            if "heartbeat" in choice:
                await hear("heartbeat")
            last = {key: begun[key] for key in ("epoch", "sequence")}
            await monitor.send_json({"action": "subscribe", "date": today, "resume": last} | choice)
            await hear("delta")
            for action in ("unsubscribe", "ping", "dance"):
                await monitor.send_json({"action": action})
                await hear("unsubscribed", "pong", "error")

    async def happen() -> dict[str, Any]:
        for _ in watchers:
            await watching.acquire()
        appointment = await server.an_appointment(doctor, patient)
        await server.post("/checkins", {"appointment_id": appointment})
        await server.post("/walkins", {"doctor_id": doctor, "patient_id": await server.a_patient(private=True)})
        await server.post("/queue/call-next", {"doctor_id": doctor})
        await server.call("PATCH", f"/doctors/{doctor}", {"name": "Dr. Ünal"})
        changed = await server.post(f"/appointments/{appointment}/undo", {"reason": "so it was"})
        assert changed.status == 200
        return dict(changed.body)

    watching = asyncio.Semaphore(0)
    watchers = [(alone, choice) for alone in (False, True) for choice in CHOICES]
    everything = asyncio.ensure_future(happen())
    await asyncio.gather(*[watch(alone, choice) for alone, choice in watchers])
    types = {"snapshot", "update", "delta", "heartbeat", "unsubscribed", "pong", "error"}
    assert heard == {(alone, kind) for alone in (False, True) for kind in types}


@pytest_asyncio.fixture
async def liar() -> AsyncIterator[TestServer]:
    """Says to whoever connects what no document knows."""

    async def lie(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_json({"type": "pong", "timestamp": "2025-11-17T09:15:00+05:30", "colour": "blue"})
        return socket

    app = web.Application()
    app.router.add_get(ALL_DOCTORS, lie)
    server = TestServer(app)
    async with server:
        yield server


async def test_a_monitor_of_a_test_looks_at_what_it_is_told(liar: TestServer) -> None:
    async with (
        aiohttp.ClientSession(ws_response_class=DescribedSocket) as session,
        session.ws_connect(liar.make_url(ALL_DOCTORS)) as monitor,
    ):
        with pytest.raises(AssertionError, match="colour"):
            await monitor.receive_json()


async def test_bytes_on_a_socket_are_looked_at_too(liar: TestServer) -> None:
    reader, writer = await asyncio.open_connection(liar.host, liar.port)
    raw = Raw(reader, writer, f"{liar.host}:{liar.port}")
    await raw.upgrade(ALL_DOCTORS)
    with pytest.raises(AssertionError, match="colour"):
        await raw.hear_json()
    writer.close()
