"""/asyncapi.json, made from the structs that messages are decoded to and encoded from: it cannot fall behind them.

AsyncAPI 3.0, from the server's side: it receives what a client says, and sends the rest. Payloads are JSON Schema
2020-12 as msgspec makes it, kept to what means the same in AsyncAPI's own dialect, a superset of draft-07: so no
payload needs to name its dialect, and every tool understands it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from inspect import cleandoc
from typing import Any, Final, get_args, get_origin

import msgspec
from aiohttp import web

from gateway.live.messages import Delta, Error, Heartbeat, Pong, ReplayEnd, Snapshot, Status, Unsubscribed, Update
from gateway.live.protocol import Message, Pause, Ping, Play, Replay, Seek, Subscribe, Unsubscribe
from gateway.live.routes import PATH
from gateway.rest.openapi import VERSION
from projections.shapes import Day, DayChange, DoctorDay, PublicDay, PublicDayChange, PublicDoctorDay

_REF: Final = "#/components/schemas/{name}"
_GENERIC: Final = re.compile(rb'([A-Z]\w*?)[_[]([A-Z]\w*?)[_\]](?=")')
"""What msgspec calls a generic struct: Snapshot_Day_, and in its title Snapshot[Day]. Both become SnapshotOfDay."""

HEARD: Final[tuple[Any, ...]] = get_args(Message)
ANSWERS: Final[dict[Any, tuple[Any, ...]]] = {
    Subscribe: (Snapshot, Delta, Error),
    Replay: (Snapshot, Update, ReplayEnd, Error),
    Pause: (Error,),
    Play: (Update, ReplayEnd, Error),
    Seek: (Snapshot, Error),
    Unsubscribe: (Unsubscribed, Error),
    Ping: (Pong, Error),
}
"""What follows each thing heard. A delta in place of the snapshot is for who resumes."""
PUBLISHED: Final = (Update, Delta, Heartbeat, Status, ReplayEnd, Error)
"""What comes without being asked for again."""
_OF_EVERY_CHANNEL: Final = (Heartbeat, Status, ReplayEnd, Unsubscribed, Pong, Error)

CLOSE_CODES: Final = {
    1000: "The client said good-bye.",
    1002: "What came was no WebSocket protocol.",
    1007: "A text that is no UTF-8.",
    1008: "Policy: not authenticated, an origin that is not accepted, or too many messages.",
    1009: "A message over 64 KiB.",
    1012: "The server restarts. Come back soon.",
    1013: "Overloaded, or the client reads too slowly. Come back later.",
}
_ABOUT: Final = """\
One connection watches one date at a time, as it is (`subscribe`) or as it was (`replay`); either replaces what was
watched before. A message is a JSON object of at most 64 KiB
in a text frame (a binary frame that holds the same is understood). What is wrong with one is told by an `error`, and
the connection stays. Under load, states are skipped; none is ever older than the one before it, and the last to come is
the newest. A replay skips none. Messages may gain keys.

Close codes:

"""


@dataclass(frozen=True, slots=True)
class Channel:
    """A place to connect to, and every type of message that the server says there."""

    address: str
    title: str
    about: str
    says: tuple[Any, ...]


CHANNELS: Final = {
    "queue": Channel(
        PATH,
        "All doctors of a date",
        "Or those whom a subscription chooses by `doctors` and `department`.",
        (
            *(Snapshot[Day], Update[Day], Delta[DayChange]),
            *(Snapshot[PublicDay], Update[PublicDay], Delta[PublicDayChange]),
            *_OF_EVERY_CHANNEL,
        ),
    ),
    "doctorQueue": Channel(
        PATH + "/{doctor_id}",
        "One doctor on a date",
        "A subscription chooses no `doctors` and no `department` here.",
        (
            *(Snapshot[DoctorDay], Update[DoctorDay], Delta[DayChange]),
            *(Snapshot[PublicDoctorDay], Update[PublicDoctorDay], Delta[PublicDayChange]),
            *_OF_EVERY_CHANNEL,
        ),
    ),
}


@cache
def document() -> bytes:
    kinds = list(dict.fromkeys(kind for channel in CHANNELS.values() for kind in (*HEARD, *channel.says)))
    schemas, components = msgspec.json.schema_components(kinds, ref_template=_REF)
    names = {kind: schema["$ref"].rpartition("/")[2] for kind, schema in zip(kinds, schemas, strict=True)}
    text = msgspec.json.encode(
        {
            "asyncapi": "3.0.0",
            "info": {
                "title": "Daysheet",
                "version": VERSION,
                "description": _ABOUT + "".join(f"- {code}: {meaning}\n" for code, meaning in CLOSE_CODES.items()),
                "license": {"name": "Apache-2.0"},
            },
            "defaultContentType": "application/json",
            "servers": {
                "daysheet": {
                    "host": "{host}",
                    "protocol": "ws",
                    "variables": {"host": {"default": "127.0.0.1:8000", "description": "Where `daysheet serve` is."}},
                }
            },
            "channels": {key: _channel(channel, names) for key, channel in CHANNELS.items()},
            "operations": {
                name: operation
                for key, channel in CHANNELS.items()
                for name, operation in _operations(key, channel, names).items()
            },
            "components": {
                "messages": {name: _message(name, components[name]) for name in names.values()},
                "schemas": components,
            },
        }
    )
    return _GENERIC.sub(rb"\1Of\2", text)


def _channel(channel: Channel, names: dict[Any, str]) -> dict[str, Any]:
    told: dict[str, Any] = {
        "address": channel.address,
        "title": channel.title,
        "description": channel.about,
        "servers": [{"$ref": "#/servers/daysheet"}],
        "messages": {names[kind]: {"$ref": f"#/components/messages/{names[kind]}"} for kind in (*HEARD, *channel.says)},
        "bindings": {"ws": {"method": "GET", "bindingVersion": "0.1.0"}},
    }
    if "{doctor_id}" in channel.address:
        about = "A UUID. Another text is refused with 400 before the upgrade, an unknown doctor with 404."
        told["parameters"] = {"doctor_id": {"description": about}}
    return told


def _operations(key: str, channel: Channel, names: dict[Any, str]) -> dict[str, dict[str, Any]]:
    here = {"$ref": f"#/channels/{key}"}

    def among(kinds: tuple[Any, ...]) -> list[dict[str, str]]:
        said = [kind for kind in (*HEARD, *channel.says) if (get_origin(kind) or kind) in kinds]
        return [{"$ref": f"#/channels/{key}/messages/{names[kind]}"} for kind in said]

    on = key[0].upper() + key[1:]
    operations: dict[str, dict[str, Any]] = {
        f"{kind.__struct_config__.tag}{on}": {
            "action": "receive",
            "channel": here,
            "messages": among((kind,)),
            "reply": {"channel": here, "messages": among(ANSWERS[kind])},
        }
        for kind in HEARD
    }
    operations[f"publish{on}"] = {"action": "send", "channel": here, "messages": among(PUBLISHED)}
    return operations


def _message(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    told = {"name": name, "payload": {"$ref": _REF.format(name=name)}}
    summary = cleandoc(schema["description"]).partition("\n\n")[0].replace("\n", " ")
    return told | {"title": schema["title"], "summary": summary}


async def asyncapi(request: web.Request) -> web.Response:
    return web.Response(body=document(), content_type="application/json")
