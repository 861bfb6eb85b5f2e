"""Whatever a server says on a WebSocket while it is tested is what /asyncapi.json says, without a key that it does not.

The document is made in the test's process, so a server cannot talk its way out.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any, Final

import aiohttp
import jsonschema_rs
import msgspec

from gateway.live.asyncapi import document

ALL_DOCTORS: Final = "/api/v1/ws/queue"


class DescribedSocket(aiohttp.ClientWebSocketResponse):
    """A client's end of a connection that looks at every text it is given."""

    async def receive(self, timeout: float | None = None) -> aiohttp.WSMessage:  # noqa: ASYNC109 - aiohttp's own
        message = await super().receive(timeout)
        if message.type is aiohttp.WSMsgType.TEXT:
            is_described(message.data, self._response.url.path)
        return message


def is_described(text: str | bytes, path: str) -> None:
    """Raises AssertionError for a text that the server may not say to who is connected there."""
    message = msgspec.json.decode(text)
    channel = "queue" if path.partition("?")[0] == ALL_DOCTORS else "doctorQueue"
    kinds = _validators()[channel].get(message.get("type"), {})
    if any(validator.is_valid(message) for validator in kinds.values()):
        return
    found = []
    for name, validator in kinds.items():
        error = next(validator.iter_errors(message))
        found.append(f"no {name}: {error.message[:500]} at {'/'.join(map(str, error.instance_path)) or 'its top'}")
    raise AssertionError("\n".join([f"/asyncapi.json knows no such message: {text[:200]!r}", *found]))


@cache
def described() -> dict[str, Any]:
    """The document."""
    made: dict[str, Any] = json.loads(document())
    return made


@cache
def _validators() -> dict[str, dict[str, dict[str, jsonschema_rs.Draft202012Validator]]]:
    """By channel, type, and name of the message."""
    closed = {"schemas": {name: _closed(schema) for name, schema in described()["components"]["schemas"].items()}}
    found: dict[str, dict[str, dict[str, jsonschema_rs.Draft202012Validator]]] = {}
    for operation in described()["operations"].values():
        said = operation if operation["action"] == "send" else operation["reply"]
        for reference in said["messages"]:
            _, _, channel, _, name = reference["$ref"].split("/")
            (tag,) = closed["schemas"][name]["properties"]["type"]["enum"]
            whole = {"$ref": f"#/components/schemas/{name}", "components": closed}
            kinds = found.setdefault(channel, {}).setdefault(tag, {})
            kinds[name] = jsonschema_rs.Draft202012Validator(whole, validate_formats=True)
    return found


def _closed(schema: dict[str, Any]) -> dict[str, Any]:
    """A client must bear keys that it does not know; here each must have been described."""
    return {"additionalProperties": False} | schema
