"""GET /audit: who saw this patient, who looked at this date, what did this person do. As JSON, CSV or FHIR."""

from __future__ import annotations

import asyncio
import datetime
import re
from typing import TYPE_CHECKING, Any, Final, get_args
from uuid import UUID

import msgspec
from aiohttp import hdrs, web

from domain.audit.looks import AuditViewed, Format
from domain.rules.ids import PatientId
from domain.rules.refusals import UnknownPatient
from gateway.access import viewer
from gateway.rest import fhir
from gateway.rest.answer import READ_WAITS_SECONDS, json_response
from gateway.rest.decode import query
from gateway.rest.problem import Problem
from projections import shapes
from projections.onlookers import Asked, AuditRecord, Place
from projections.table import Cell, table

if TYPE_CHECKING:
    from gateway.parts import Parts

RECORDS_AT_MOST: Final = 1_000
ACTOR_LENGTH: Final = 200
MEDIA_TYPES: Final[dict[str, Format]] = {
    "application/json": "json",
    "text/csv": "csv",
    fhir.MEDIA_TYPE: "fhir",
}
_PLACE: Final = re.compile(r"([0-9]{1,18})-([0-9]{1,18})")
_QUERY: Final[dict[str, type]] = {
    "patient_id": UUID,
    "actor": str,
    "date": datetime.date,
    "after": str,
    "limit": int,
    "format": str,
    "min_sequence": int,
}


class Audit(shapes.Shape, frozen=True, kw_only=True):
    """`next` is the `after` to go on with; null at the end."""

    records: list[AuditRecord]
    next: str | None


async def audit(parts: Parts, request: web.Request) -> web.Response:
    """A page of records, oldest first. Asking is looking, and is recorded, too."""
    values = query(request, **_QUERY)
    form, after, limit = _format(request, values), _after(values), _limit(values)
    await parts.projector.reached(values.get("min_sequence", 0), seconds=READ_WAITS_SECONDS)
    await parts.audit.settled()
    asked = await _asked(parts, values)
    records, following = await parts.onlookers.page(asked, after=after, limit=limit)
    look = AuditViewed(
        patient_id=values.get("patient_id"),
        date=asked.date,
        actor=asked.actor if any(record.actor == asked.actor for record in records) else None,
        format=form,
        records=len(records),
    )
    await parts.audit.looked(viewer(request), look)
    return await _answer(parts, request, form, records, following)


async def _asked(parts: Parts, values: dict[str, Any]) -> Asked:
    """Raises Problem, UnknownPatient."""
    if not values.keys() & {"patient_id", "actor", "date"}:
        raise Problem(400, "invalid_request", "say whom or what it is about: `patient_id`, `actor` or `date`")
    actor = values.get("actor")
    if actor is not None and not (1 <= len(actor) <= ACTOR_LENGTH and "\0" not in actor):
        raise Problem(400, "invalid_request", f"`actor` has 1 to {ACTOR_LENGTH} characters", key="actor")
    traces = None
    if "patient_id" in values:
        traces = await parts.onlookers.traces(PatientId(values["patient_id"]))
        if traces is None:
            raise UnknownPatient
    return Asked(traces=traces, actor=actor, date=values.get("date"))


def _format(request: web.Request, values: dict[str, Any]) -> Format:
    """The one that is named; else the first that `Accept` knows; else JSON."""
    named = values.get("format")
    for known in get_args(Format):
        if known == named:
            return known  # type: ignore[no-any-return]
    if named is not None:
        raise Problem(400, "invalid_request", f"`format` is one of {', '.join(get_args(Format))}", key="format")
    accepted = [media.partition(";")[0].strip().lower() for media in request.headers.get(hdrs.ACCEPT, "").split(",")]
    return next((MEDIA_TYPES[media] for media in accepted if media in MEDIA_TYPES), "json")


def _after(values: dict[str, Any]) -> Place:
    if "after" not in values:
        return Place()
    written = _PLACE.fullmatch(values["after"])
    if written is None:
        raise Problem(400, "invalid_request", "`after` is the `next` of another page", key="after")
    return Place(int(written[1]), int(written[2]))


def _limit(values: dict[str, Any]) -> int:
    limit: int = values.get("limit", RECORDS_AT_MOST)
    if not 1 <= limit <= RECORDS_AT_MOST:
        raise Problem(400, "invalid_request", f"`limit` is 1 to {RECORDS_AT_MOST}", key="limit")
    return limit


async def _answer(
    parts: Parts, request: web.Request, form: Format, records: list[AuditRecord], following: Place | None
) -> web.Response:
    links = {"self": str(request.url)}
    headers = {}
    if following is not None:
        links["next"] = str(request.url.update_query(after=str(following)))
        headers["Link"] = f'<{links["next"]}>; rel="next"'
    match form:
        case "json":
            next_page = str(following) if following is not None else None
            return json_response(Audit(records=records, next=next_page), headers=headers)
        # A thousand records take 20 ms as CSV and 50 ms as FHIR: monitors are not to feel it.
        case "csv":
            rows = [AuditRecord.__struct_fields__, *map(_row, records)]
            body = await asyncio.to_thread(table, rows)
            return web.Response(body=body, content_type="text/csv", charset="utf-8", headers=headers)
        case "fhir":
            body = await asyncio.to_thread(_bundle, records, parts.epoch, links)
            return web.Response(body=body, content_type=fhir.MEDIA_TYPE, headers=headers)


def _bundle(records: list[AuditRecord], log: str, links: dict[str, str]) -> bytes:
    return msgspec.json.encode(fhir.bundle(records, log=log, links=links))


def _row(record: AuditRecord) -> list[Cell]:
    """In the order of the keys. What a record tells beside is one cell of JSON."""
    told = msgspec.to_builtins(record) | {"detail": msgspec.json.encode(record.detail).decode()}
    return list(told.values())
