"""The ledger, for whoever wants to check it: checkpoints, the key they are signed with, and proofs."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from aiohttp import web

from domain.ledger import read
from domain.ledger.logs import EVENT, LOGS, Log
from domain.ledger.read import Consistency, Inclusion, NotSealed
from gateway.rest.answer import READ_WAITS_SECONDS, json_response
from gateway.rest.decode import path_value, query
from gateway.rest.problem import Problem
from projections.shapes import Shape

if TYPE_CHECKING:
    from gateway.parts import Parts


class InclusionProof(Shape, frozen=True, kw_only=True):
    """RFC 6962, 2.1.1: `hashes` lead from `leaf_hash` to the checkpoint's root. All of them in base64."""

    log: str
    sequence: int
    index: int
    size: int
    leaf_hash: str
    hashes: list[str]
    checkpoint: str


class ConsistencyProof(Shape, frozen=True, kw_only=True):
    """RFC 6962, 2.1.2: `hashes` lead from the older checkpoint's root to the newer one's."""

    log: str
    old_size: int
    new_size: int
    hashes: list[str]
    old_checkpoint: str
    new_checkpoint: str


async def checkpoint(parts: Parts, request: web.Request) -> web.Response:
    values, log = await _asked(parts, request, size=int)
    try:
        seal = await read.seal(parts.pool, log, values.get("size"))
    except NotSealed:
        raise await _not_sealed(parts, log) from None
    return web.Response(text=seal.note)


async def key(parts: Parts, request: web.Request) -> web.Response:
    _, log = await _asked(parts, request)
    known = await read.verifier_key(parts.pool, log)
    if known is None:
        raise Problem(404, "no_ledger_key", "no server with a ledger key has run on this store yet")
    return web.Response(text=f"{known}\n")


async def inclusion(parts: Parts, request: web.Request) -> web.Response:
    sequence = path_value("sequence", request.match_info["sequence"])
    assert isinstance(sequence, int)
    values, log = await _asked(parts, request, size=int)
    size = values.get("size")
    if sequence < 1:
        raise Problem(400, "invalid_request", "sequences count from 1", key="sequence")
    if size is not None and size < sequence:
        raise Problem(400, "invalid_request", "a checkpoint of that size is older than the event", key="size")
    try:
        found = await read.prove_inclusion(parts.pool, log, sequence, size)
    except NotSealed:
        raise await _not_sealed(parts, log) from None
    return json_response(inclusion_shape(log, found))


async def consistency(parts: Parts, request: web.Request) -> web.Response:
    values, log = await _asked(parts, request, **{"from": int, "to": int})
    try:
        old = values.get("from", 0)
        new = values["to"] if "to" in values else (await read.seal(parts.pool, log, None)).size
        if not 0 < old <= new:
            raise Problem(400, "invalid_request", "`from` is at least 1, and at most `to`", key="from")
        found = await read.prove_consistency(parts.pool, log, old, new)
    except NotSealed:
        raise await _not_sealed(parts, log) from None
    return json_response(consistency_shape(log, found))


def inclusion_shape(log: Log, found: Inclusion) -> InclusionProof:
    return InclusionProof(
        log=log.name,
        sequence=found.index + 1,
        index=found.index,
        size=found.seal.size,
        leaf_hash=_encoded(found.leaf_hash),
        hashes=[_encoded(hash_) for hash_ in found.hashes],
        checkpoint=found.seal.note,
    )


def consistency_shape(log: Log, found: Consistency) -> ConsistencyProof:
    return ConsistencyProof(
        log=log.name,
        old_size=found.old.size,
        new_size=found.new.size,
        hashes=[_encoded(hash_) for hash_ in found.hashes],
        old_checkpoint=found.old.note,
        new_checkpoint=found.new.note,
    )


async def _asked(parts: Parts, request: web.Request, **known: type) -> tuple[dict[str, Any], Log]:
    """The query, and the log it is about. Raises Problem, Behind."""
    values = query(request, min_sequence=int, log=str, **known)
    named = values.get("log", EVENT.name)
    log = next((log for log in LOGS if log.name == named), None)
    if log is None:
        raise Problem(400, "invalid_request", f"`log` is one of {', '.join(log.name for log in LOGS)}", key="log")
    await parts.projector.reached(values.get("min_sequence", 0), seconds=READ_WAITS_SECONDS)
    return values, log


async def _not_sealed(parts: Parts, log: Log) -> Problem:
    newest = await read.newest(parts.pool, log)
    sealed = newest.size if newest else 0
    return Problem(
        404, "not_sealed", f"no checkpoint covers that, or has that size; the newest has {sealed}", sealed=sealed
    )


def _encoded(hash_: bytes) -> str:
    return base64.b64encode(hash_).decode()
