"""`daysheet proof`: what a third party can check without the store, and whether an export is what was signed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import msgspec
from cyclopts import App

from domain.ledger import read, tree
from domain.ledger.checkpoint import NoCheckpoint, VerifierKey
from domain.ledger.logs import EVENT, Log
from domain.ledger.read import NotSealed
from domain.postgres.connect import Connection, connect
from gateway.cli.checkpoint import log_named
from gateway.cli.failing import EXPECTED, fail
from gateway.cli.store import readable, settings_for
from gateway.rest.ledger import consistency_shape, inclusion_shape
from gateway.settings import SettingsError
from projections.exported import NotProven, check

proof: Final = App(name="proof", help="Prove what the ledger holds, as JSON; checked before it is printed.")


@proof.command
def event(
    sequence: int,
    /,
    *,
    size: int | None = None,
    log: str = EVENT.name,
    database_url: str | None = None,
    data_dir: Path | None = None,
) -> None:
    """That an event is in the tree of a checkpoint.

    Parameters
    ----------
    sequence
        The event's.
    size
        Of which checkpoint; without it, the newest.
    log
        In this log: event, or access for that of who looked.
    database_url
        postgresql://user:password@host/database. Without it, the embedded database.
    data_dir
        Where the embedded database is.
    """

    async def prove(connection: Connection, of: Log) -> Any:
        if sequence < 1 or (size is not None and size < sequence):
            raise SettingsError("an event is in checkpoints of its own sequence, from 1, and later ones")
        found = await read.prove_inclusion(connection, of, sequence, size)
        seal = found.seal
        if not tree.includes(found.leaf_hash, found.index, seal.size, found.hashes, seal.root):
            raise SettingsError(f"the proof does not hold: run `daysheet verify` ({log} {sequence})")
        return inclusion_shape(of, found)

    _print(prove, log, database_url, data_dir)


@proof.command
def between(
    old: int,
    new: int,
    /,
    *,
    log: str = EVENT.name,
    database_url: str | None = None,
    data_dir: Path | None = None,
) -> None:
    """That a checkpoint's tree begins with all of an older one's.

    Parameters
    ----------
    old
        Size of the older checkpoint.
    new
        Size of the newer one.
    log
        In this log: event, or access for that of who looked.
    database_url
        postgresql://user:password@host/database. Without it, the embedded database.
    data_dir
        Where the embedded database is.
    """

    async def prove(connection: Connection, of: Log) -> Any:
        if not 0 < old <= new:
            raise SettingsError("OLD is at least 1, and at most NEW")
        found = await read.prove_consistency(connection, of, old, new)
        if not tree.goes_on(old, new, found.old.root, found.new.root, found.hashes):
            raise SettingsError(f"the proof does not hold: run `daysheet verify` ({log} {old} to {new})")
        return consistency_shape(of, found)

    _print(prove, log, database_url, data_dir)


@proof.command
def export(file: Path, /, *, key: str | None = None) -> None:
    """That an exported date is what was signed. Needs nothing but the file.

    Parameters
    ----------
    file
        Of `daysheet export DATE --format ndjson`.
    key
        The verifier key, known from elsewhere. Without it, the one that the file names is believed.
    """
    try:
        with file.open("rb") as lines:
            proven = check(lines, VerifierKey.of(key) if key is not None else None)
    except (NotProven, NoCheckpoint, OSError) as error:
        fail(error)
    print(f"{proven.events} events, proven by the checkpoint of {proven.size}, signed by {proven.key}")
    if proven.without_proof:
        print(f"{proven.without_proof} of them are newer than the checkpoint, and not proven")
    print("that no event of the date is missing is not proven by a file: `daysheet verify` looks at the whole log")
    if key is None:
        print("whose key that is, is not proven: compare it with one that is known, or say --key")


def _print(
    prove: Callable[[Connection, Log], Awaitable[Any]], log: str, database_url: str | None, data_dir: Path | None
) -> None:
    async def run() -> Any:
        of = log_named(log)
        async with readable(settings_for(database_url, data_dir)) as url:
            connection = await connect(url)
            try:
                return await prove(connection, of)
            finally:
                connection.terminate()

    try:
        found = asyncio.run(run())
    except NotSealed:
        fail(NotSealed("there is no checkpoint of that size, or none yet that covers it"))
    except EXPECTED as error:
        fail(error)
    print(json.dumps(msgspec.to_builtins(found), indent=2))
