"""A date to take away, sent as it is read: GET /queue/{date}/export.

What has begun cannot become a problem any more. So where an export cannot be finished its connection is cut off, and
whoever reads it learns that it is not whole: the last chunk is missing, and of events the last line.
"""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, contextmanager
from typing import TYPE_CHECKING, Final, Literal, TypeVar, get_args

import structlog
from aiohttp import hdrs, web

from domain.audit.looks import ExportMade
from gateway.access import viewer
from gateway.rest.answer import READ_WAITS_SECONDS
from gateway.rest.decode import path_value, query
from gateway.rest.problem import Problem, problem_of

if TYPE_CHECKING:
    from gateway.parts import Parts

Format = Literal["ndjson", "csv"]
Choice = TypeVar("Choice", bound=str)
MEDIA_TYPES: Final[dict[Format, str]] = {"ndjson": "application/x-ndjson", "csv": "text/csv"}
AT_ONCE: Final = 4
"""Exports under way in one process: each may hold a page, and a day's appointments."""
STALLED_SECONDS: Final = 30.0
PIECE_BYTES: Final = 64 * 1024
"""A client that takes less than this in STALLED_SECONDS does not read."""
UNDER_WAY: Final = web.AppKey("exports_under_way", dict[int, web.Request])
"""By id(): requests are compared like dicts."""

log = structlog.get_logger()


async def day_export(parts: Parts, request: web.Request) -> web.StreamResponse:
    """A date's events (`ndjson`), or its appointments with their times (`csv`). Raises Problem, Behind."""
    day = path_value("date", request.match_info["date"])
    assert isinstance(day, datetime.date)
    values = query(request, min_sequence=int, format=str, names=str)
    wanted: Format = _one_of(values, "format", get_args(Format))
    names = _one_of(values, "names", ("false", "true")) == "true"
    if names and wanted != "csv":
        raise Problem(400, "invalid_request", "`names` is for csv: events hold no names", key="names")
    await parts.projector.reached(values.get("min_sequence", 0), seconds=READ_WAITS_SECONDS)
    export = parts.export
    pages = export.ndjson(day, made_at=parts.now()) if wanted == "ndjson" else export.csv(day, names=names)
    with _turn(request):
        if request.method != hdrs.METH_HEAD:
            look = ExportMade(date=day, sequence=parts.projector.position, format=wanted, names=names)
            await parts.audit.looked(viewer(request), look)
        return await _answer(request, f"daysheet-{day.isoformat()}.{wanted}", MEDIA_TYPES[wanted], pages)


async def _answer(
    request: web.Request, filename: str, media_type: str, pages: AsyncGenerator[bytes]
) -> web.StreamResponse:
    async with aclosing(pages):
        first = await anext(pages)  # What is wrong with the store mostly shows here, while it can still be told.
        response = web.StreamResponse(
            headers={
                hdrs.CONTENT_TYPE: f"{media_type}; charset=utf-8",
                hdrs.CONTENT_DISPOSITION: f'attachment; filename="{filename}"',
                hdrs.CACHE_CONTROL: "no-store",
                "X-Content-Type-Options": "nosniff",
            }
        )
        await response.prepare(request)
        if request.method != hdrs.METH_HEAD:
            await _send(request, response, first, pages)
    return response


async def _send(request: web.Request, response: web.StreamResponse, first: bytes, pages: AsyncIterator[bytes]) -> None:
    try:
        await _write(response, first)
        async for page in pages:
            await _write(response, page)
    except Exception as error:
        if problem_of(error) is None:
            log.exception("export_failed")
        else:
            log.warning("export_cut_off", reason=type(error).__name__)
        _cut_off(request)


def _cut_off(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()


async def cut_off_all(app: web.Application) -> None:
    """When the server stops: it cannot wait for whoever reads slowly."""
    for request in app[UNDER_WAY].values():
        _cut_off(request)


async def _write(response: web.StreamResponse, page: bytes) -> None:
    for start in range(0, len(page), PIECE_BYTES):
        async with asyncio.timeout(STALLED_SECONDS):
            await response.write(page[start : start + PIECE_BYTES])


@contextmanager
def _turn(request: web.Request) -> Iterator[None]:
    under_way = request.app[UNDER_WAY]
    if len(under_way) >= AT_ONCE:
        raise Problem(429, "rate_limited", f"{AT_ONCE} exports are under way: try again when one has ended")
    under_way[id(request)] = request
    try:
        yield
    finally:
        del under_way[id(request)]


def _one_of(values: dict[str, str], name: str, known: tuple[Choice, ...]) -> Choice:
    """The first where nothing is said. Raises Problem."""
    wanted = values.get(name, known[0])
    for choice in known:
        if choice == wanted:
            return choice
    raise Problem(400, "invalid_request", f"`{name}` is {' or '.join(known)}", key=name)
