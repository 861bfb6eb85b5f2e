"""Errors as RFC 9457 has them: application/problem+json with a `code` that stays what it is."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final

import msgspec
import structlog
from aiohttp import web

from domain.desk.outcome import Contended, KeyReused
from domain.log.append import OutcomeUnknown, StoreUnavailable
from domain.log.codec import NewerEvent, UnreadableEvent
from domain.postgres.connect import FAULTS
from domain.rules.refusals import Refusal, Unknown
from projections.boards import Unavailable
from projections.projector import Behind

RETRY_AFTER_SECONDS: Final = 1

log = structlog.get_logger()

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Problem(Exception):
    """An answer that is an error. `facts` become further keys of the body."""

    def __init__(self, status: int, code: str, detail: str, **facts: object) -> None:
        self.status, self.code, self.detail, self.facts = status, code, detail, facts
        super().__init__(detail)

    def response(self) -> web.Response:
        body = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
            **self.facts,
        }
        headers = {"Retry-After": str(RETRY_AFTER_SECONDS)} if self.status in (429, 503) else None
        return web.Response(
            status=self.status,
            body=msgspec.json.encode(body),
            content_type="application/problem+json",
            headers=headers,
        )


def invalid(error: Exception) -> Problem:
    """What msgspec says of a body, and the key it says it of."""
    if isinstance(error, RecursionError):
        return Problem(400, "invalid_request", "the JSON is nested too deeply")
    if isinstance(error, UnicodeDecodeError):
        return Problem(400, "invalid_request", "the JSON is not UTF-8")
    detail = str(error)
    named = re.search(r"`\$\.([^`]+)`|field `([^`]+)`", detail)
    return Problem(400, "invalid_request", detail, key=(named[1] or named[2]) if named else None)


_CODES: Final = {404: "not_found", 405: "method_not_allowed", 413: "too_large", 415: "unsupported_media_type"}


def problem_of(error: Exception) -> Problem | None:
    """The one place that turns what went wrong into a status. None for a defect of ours."""
    match error:
        case Problem():
            return error
        case Unknown():
            return Problem(404, error.code, str(error))
        case Refusal():
            return Problem(409, error.code, str(error), **error.facts)
        case KeyReused():
            return Problem(422, "idempotency_key_reused", "this Idempotency-Key was used for another request")
        case Contended():
            return Problem(503, "contended", "others keep changing the same; nothing was recorded")
        case OutcomeUnknown():
            detail = "the store fell silent; perhaps it was recorded: repeat with the same Idempotency-Key"
            return Problem(503, "outcome_unknown", detail)
        case StoreUnavailable():
            return Problem(503, "store_unavailable", "the store cannot be reached; nothing was recorded")
        case Behind():
            return Problem(503, "behind", "the read model has not reached that sequence")
        case Unavailable() | UnreadableEvent():
            return Problem(503, "unavailable", "the record of this date cannot be read")
        case NewerEvent():
            return Problem(503, "unavailable", "a newer release wrote the record of this date")
        case web.HTTPException() if error.status >= 400:
            code = _CODES.get(error.status, "invalid_request")
            return Problem(error.status, code, error.reason)
        case _ if isinstance(error, FAULTS):
            return Problem(503, "store_unavailable", "the store cannot be reached")
        case _:
            return None


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every error leaves as a problem; a defect is logged with its place and shows nothing of it outside."""
    try:
        return await handler(request)
    except Exception as error:
        problem = problem_of(error)
        if problem is None:
            if isinstance(error, web.HTTPException):
                raise
            log.exception("defect", route=_route(request))
            problem = Problem(500, "internal_error", "something is wrong with the server")
        response = problem.response()
        if isinstance(error, web.HTTPMethodNotAllowed):
            response.headers["Allow"] = ", ".join(sorted(error.allowed_methods))
        if "Upgrade" in request.headers:
            response.force_close()  # a refused WebSocket would keep its connection open, and nobody reads it
        return response


def _route(request: web.Request) -> str | None:
    """The route's pattern: a path may carry an id, which does not belong in a log."""
    resource = request.match_info.route.resource
    return resource.canonical if resource else None
