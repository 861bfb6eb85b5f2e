"""Request → command: the body straight into a struct, the path's part beside it."""

from __future__ import annotations

import asyncio
import datetime
import json
import re
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from typing import Any, Final, TypeVar
from uuid import UUID

import msgspec
from aiohttp import hdrs, web

from gateway.rest.problem import Problem, invalid
from projections.shapes import By

BODY_BYTES: Final = 2**20
BODY_SECONDS: Final = 20.0

Asked = TypeVar("Asked", bound=msgspec.Struct)

_HALF_A_CHARACTER: Final = re.compile("[\ud800-\udfff]")
_PATH_VARIABLE: Final = re.compile(r"\{(\w+)\}")


def path_variables(path: str) -> tuple[str, ...]:
    return tuple(_PATH_VARIABLE.findall(path))


@cache
def body_type(command: type[msgspec.Struct], path: str) -> type[msgspec.Struct]:
    """The command without what its path says already."""
    in_path = path_variables(path)
    fields = [field for field in msgspec.structs.fields(command) if field.name not in in_path]
    if not in_path:
        return command
    return msgspec.defstruct(
        command.__name__,
        [(field.name, field.type) if field.required else (field.name, field.type, field.default) for field in fields],
        frozen=True,
        kw_only=True,
        forbid_unknown_fields=True,
        module=command.__module__,
    )


@cache
def _decoder(command: type[msgspec.Struct], path: str) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(body_type(command, path))


async def command_from(request: web.Request, command: type[msgspec.Struct], path: str) -> Any:
    """Raises Problem."""
    given = {name: path_value(name, request.match_info[name]) for name in path_variables(path)}
    query(request)
    body = await _body(request)
    try:
        decoded = _decoder(command, path).decode(body or b"{}")
        if not given:
            return decoded
        return command(**given, **{name: getattr(decoded, name) for name in decoded.__struct_fields__})
    except (ValueError, RecursionError) as error:  # msgspec's own errors are ValueErrors too
        raise _refused(error, body) from None


async def body_of(request: web.Request, wanted: type[Asked]) -> Asked:
    """A body that is no command. Raises Problem."""
    body = await _body(request)
    try:
        asked: Asked = _decoder(wanted, "").decode(body or b"{}")
    except (ValueError, RecursionError) as error:
        raise _refused(error, body) from None
    return asked


def _refused(error: Exception, body: bytes) -> Problem:
    """What is wrong with a body, and with which key.

    Of half a character, a lone surrogate, msgspec says that the JSON is broken, and not where. It is JSON, though, and
    what is wrong is a text.
    """
    with suppress(ValueError, RecursionError):
        told = json.loads(body)
        if isinstance(told, dict):
            for key, value in told.items():
                if isinstance(value, str) and _HALF_A_CHARACTER.search(value) and not _HALF_A_CHARACTER.search(key):
                    return Problem(400, "invalid_request", f"`{key}` holds a lone surrogate", key=key)
    return invalid(error)


async def _body(request: web.Request) -> bytes:
    try:
        async with asyncio.timeout(BODY_SECONDS):
            body = await request.read()
    except TimeoutError:
        raise Problem(408, "request_timeout", f"the body did not arrive within {BODY_SECONDS:g} s") from None
    except web.RequestPayloadError as error:
        raise Problem(400, "invalid_request", "the body is not what its headers say") from error
    if body and (request.content_type != "application/json" or hdrs.CONTENT_ENCODING in request.headers):
        raise Problem(415, "unsupported_media_type", "send application/json, and not compressed")
    return body


def query(request: web.Request, **known: Any) -> dict[str, Any]:
    """The query's parameters, converted; a key that means nothing here is an error, as it is in a body."""
    values: dict[str, Any] = {}
    for name, text in request.query.items():
        if name not in known:
            raise Problem(400, "invalid_request", f"unknown parameter `{name}`", key=name)
        if name in values:
            raise Problem(400, "invalid_request", f"parameter `{name}` is given twice", key=name)
        values[name] = _converted(name, text, known[name])
    return values


PATH_TYPES: Final[Mapping[str, type]] = {"date": datetime.date, "sequence": int}
"""Of a path's variables; all others are ids."""


def path_value(name: str, text: str) -> UUID | datetime.date | int:
    converted: UUID | datetime.date | int = _converted(name, text, PATH_TYPES.get(name, UUID))
    return converted


_WHAT: Final[Mapping[Any, str]] = {
    UUID: "a UUID",
    datetime.date: "a date (YYYY-MM-DD)",
    datetime.datetime: "a time with its offset, such as 2025-11-17T09:15:00+05:30",
    int: "a whole number from 0",
    str: "a text",
    By: "`recorded` or `effective`",
}
_PLUS_BECAME_SPACE: Final = re.compile(r" (?=\d\d:\d\d$)")
"""What an offset's `+` is in a query where nobody escaped it."""
_RFC_3339_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d")
"""A bare number would be taken for seconds since 1970."""


def _converted(name: str, text: str, wanted: Any) -> Any:
    if wanted is datetime.datetime:
        text = _PLUS_BECAME_SPACE.sub("+", text)
    try:
        value: Any = msgspec.convert(text, wanted, strict=False)
        if wanted is datetime.datetime and (value.tzinfo is None or not _RFC_3339_DATE.match(text)):
            raise ValueError
        if wanted is int and not (text.isdecimal() and text.isascii() and value < 2**63):
            raise ValueError
    except (msgspec.ValidationError, ValueError):
        raise Problem(400, "invalid_request", f"`{name}` is not {_WHAT[wanted]}", key=name) from None
    return value
