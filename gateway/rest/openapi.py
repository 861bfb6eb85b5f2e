"""/openapi.json, made from the table of routes and the structs that decode and encode: it cannot fall behind them."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from functools import cache
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
from aiohttp import web

from domain.audit.looks import Format
from domain.rules.events import Stage, Status
from gateway.rest import export
from gateway.rest.decode import PATH_TYPES, body_type, path_variables
from gateway.rest.route import Route
from gateway.rest.routes import PREFIX, ROUTES
from projections.shapes import By

VERSION: Final = "0.1.0"
_REF: Final = "#/components/schemas/{name}"
_PARAMETERS: Final[dict[str, tuple[Any, str]]] = {
    "date": (datetime.date, "Today, in the hospital's zone, where it is left out."),
    "doctor_id": (UUID, "Only this doctor."),
    "at": (Annotated[datetime.datetime, msgspec.Meta(tz=True)], "As it was at this time; one to come stands for now."),
    "sequence": (int, "As it was right after this event of the log. Not together with `at`."),
    "by": (By, "`recorded`, the default: as the log had it. `effective`: as it was, with late entries in their place."),
    "after": (int, "Only events after this sequence."),
    "limit": (int, "At most so many events, 1 to 1,000."),
    "/queue/{date}/export?format": (
        export.Format,
        "Events as lines of JSON, or appointments with their times as a table; ndjson if left out.",
    ),
    "/queue/{date}/export?names": (bool, "In a table also who the patients are, as they are registered now."),
    "/audit?patient_id": (UUID, "Who saw this patient, and acted on them."),
    "/audit?actor": (str, "What this person looked at, and did."),
    "/audit?date": (datetime.date, "Who looked at this date's board, and what was done on it."),
    "/audit?after": (str, "Only what comes after another page: its `next`."),
    "/audit?limit": (int, "At most so many records, 1 to 1,000."),
    "/audit?format": (Format, "Instead of what `Accept` says."),
    "log": (str, "Which log: event, where it is left out, or access."),
    "size": (int, "Of the checkpoint of this size; of the newest where it is left out."),
    "from": (int, "The size of the older checkpoint."),
    "to": (int, "The size of the newer checkpoint; the newest where it is left out."),
    "min_sequence": (int, "Answer only when this sequence is in: waits for 2 s, then 503 `behind`."),
}


_OTHERWISE: Final[dict[str, dict[str, str]]] = {
    "text/csv": {"type": "string"},
    "text/plain": {"type": "string"},
    "application/x-ndjson": {"type": "string"},
    "application/fhir+json": {"type": "object"},
}
"""What answers look like that are not in JSON of our own."""


class Misfit(msgspec.Struct):
    """Who cannot be moved along with the others, and the refusal that says why."""

    appointment_id: UUID
    code: str


class ProblemDetails(msgspec.Struct):
    """RFC 9457. `code` is stable. `key`: of the request, what is wrong; null where nothing can be named.

    `not_allowed_from` says how the appointment stands, `does_not_fit` for whom there is no room, `not_sealed` how much
    is sealed.
    """

    type: str
    title: str
    status: int
    detail: str
    code: str
    key: str | msgspec.UnsetType | None = msgspec.UNSET
    appointment_status: Status | msgspec.UnsetType = msgspec.UNSET
    queue_status: Stage | msgspec.UnsetType | None = msgspec.UNSET
    appointments: list[Misfit] | msgspec.UnsetType = msgspec.UNSET
    sealed: int | msgspec.UnsetType = msgspec.UNSET


@cache
def document() -> bytes:
    bodies = {
        route: body_type(asked, route.path) for route in ROUTES if (asked := route.command or route.body) is not None
    }
    answers = [answer for route in ROUTES for answer in (route.answers, route.or_answers) if answer is not None]
    types: list[Any] = [ProblemDetails, *bodies.values(), *answers]
    unique = list(dict.fromkeys(types))
    schemas, components = msgspec.json.schema_components(unique, ref_template=_REF)
    schema_of = dict(zip(unique, schemas, strict=True))
    paths: dict[str, Any] = {}
    for route in ROUTES:
        operation = _operation(route, schema_of, bodies.get(route))
        paths.setdefault(PREFIX + route.path, {})[route.method.lower()] = operation
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {"title": "Daysheet", "version": VERSION, "license": {"name": "Apache-2.0"}},
            "paths": paths,
            "components": {"schemas": components},
        }
    )


def _operation(route: Route, schema_of: dict[Any, Any], body: type | None) -> dict[str, Any]:
    problem = {"content": {"application/problem+json": {"schema": schema_of[ProblemDetails]}}}
    schema = schema_of[route.answers]
    if route.or_answers is not None:
        schema = {"oneOf": [schema, schema_of[route.or_answers]]}
    content: dict[str, Any] = {media: {"schema": _OTHERWISE.get(media, schema)} for media in route.media_types}
    if "application/x-ndjson" in content:
        content["application/x-ndjson"]["x-itemSchema"] = schema  # as OpenAPI 3.2 says it without the x
    answer = {"description": "Done", "content": content}
    responses: dict[str, Any] = {"200": answer}
    if route.creates:
        responses["201"] = answer
    for status, codes in _problems(route).items():
        responses[status] = {"description": ", ".join(f"`{code}`" for code in codes), **problem}
    operation: dict[str, Any] = {
        "summary": route.summary,
        "operationId": _name(route),
        "parameters": [*_path_parameters(route), *_query_parameters(route)],
        "responses": responses,
    }
    if body is not None:
        operation["parameters"].append(_IDEMPOTENCY_KEY)
        required = any(field.required for field in msgspec.structs.fields(body))
        asked = {"application/json": {"schema": schema_of[body]}}
        operation["requestBody"] = {"required": required, "content": asked}
    return operation


def _problems(route: Route) -> dict[str, list[str]]:
    codes: dict[str, list[str]] = {"400": ["invalid_request"], "403": ["forbidden"]}
    for refusal in route.refuses:
        codes.setdefault("404" if refusal.code.startswith("unknown_") else "409", []).append(refusal.code)
    for status, code in route.problems:
        codes.setdefault(str(status), []).append(code)
    if route.command is not None or route.body is not None:
        codes |= {"408": ["request_timeout"], "413": ["too_large"], "415": ["unsupported_media_type"]}
    if route.command is not None:
        codes["422"] = ["idempotency_key_reused"]
        codes["503"] = ["store_unavailable", "contended", "outcome_unknown"]
    else:
        codes["503"] = ["store_unavailable", "behind"]
    return codes


def _name(route: Route) -> str:
    if route.name is not None:
        return route.name
    return route.command.__name__ if route.command is not None else f"Read{route.answers.__name__}"


def _path_parameters(route: Route) -> Iterable[dict[str, Any]]:
    for name in path_variables(route.path):
        yield {"name": name, "in": "path", "required": True, "schema": _schema(PATH_TYPES.get(name, UUID))}


def _query_parameters(route: Route) -> Iterable[dict[str, Any]]:
    for name in (*route.parameters, "min_sequence") if route.read is not None else ():
        kind, description = _PARAMETERS.get(f"{route.path}?{name}") or _PARAMETERS[name]
        yield {"name": name, "in": "query", "description": description, "schema": _schema(kind)}


def _schema(kind: type) -> dict[str, Any]:
    return msgspec.json.schema(kind) | ({"minimum": 0, "maximum": 2**63 - 1} if kind is int else {})


_IDEMPOTENCY_KEY: Final = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "After a success, the same key and body give the same outcome again and append nothing.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 200},
}


async def openapi(request: web.Request) -> web.Response:
    return web.Response(body=document(), content_type="application/json")
