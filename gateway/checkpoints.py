"""Checkpoints as files, for keeping where nobody who can write to the store can write."""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

import structlog

from domain.ledger import read
from domain.ledger.logs import LOGS, Log
from domain.ledger.read import Seal
from domain.postgres.connect import FAULTS

if TYPE_CHECKING:
    from domain.postgres.connect import Connection, Pool

KEEP_SECONDS: Final = 60.0

log = structlog.get_logger()


async def keep(database: Pool, folder: Path) -> NoReturn:
    """For ever: every minute the newest checkpoint of every log, where it is another than the last."""
    while True:
        try:
            await keep_newest(database, folder)
        except FAULTS as fault:  # A disk that is full, or a share that is away, must not stop the queue.
            log.error("checkpoints_not_kept", folder=str(folder), fault=type(fault).__name__, detail=str(fault))
        await asyncio.sleep(KEEP_SECONDS)


async def keep_newest(database: Pool | Connection, folder: Path) -> list[Path]:
    """The files written: none where nothing is sealed, or all of it was there already. Raises FAULTS."""
    written = []
    for of in LOGS:
        seal = await read.newest(database, of)
        if seal is not None and not (file := folder / name(of, seal)).exists():
            await asyncio.to_thread(write, file, seal.note)
            written.append(file)
    return written


def name(of: Log, seal: Seal) -> str:
    """Names sort as the checkpoints do."""
    return f"{of.name}-{seal.size:012}.txt"


def write(file: Path, text: str) -> None:
    """It appears in one step, whole and on disk. Raises OSError."""
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor, unnamed = tempfile.mkstemp(prefix=f".{file.name}-", dir=file.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        os.chmod(unnamed, 0o644)  # It is no secret, and may have to be fetched by others.
        os.replace(unnamed, file)
    except BaseException:
        os.unlink(unnamed)
        raise
