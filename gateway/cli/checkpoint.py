"""`daysheet checkpoint`."""

from __future__ import annotations

import asyncio
from pathlib import Path

from domain.ledger import read
from domain.ledger.logs import EVENT, LOGS, Log
from domain.ledger.read import NotSealed
from domain.postgres.connect import connect
from gateway import checkpoints
from gateway.cli.failing import EXPECTED, fail
from gateway.cli.store import readable, settings_for
from gateway.settings import SettingsError


def checkpoint(
    *, to: Path | None = None, log: str = EVENT.name, database_url: str | None = None, data_dir: Path | None = None
) -> None:
    """Print the newest checkpoint of the ledger, or write it where it is to be kept.

    Parameters
    ----------
    to
        A file; or a folder, which then gets the newest checkpoint of every log under a name of its own.
    log
        Of this log: event.
    database_url
        postgresql://user:password@host/database. Without it, the embedded database.
    data_dir
        Where the embedded database is.
    """

    folder = to if to is not None and to.is_dir() else None

    async def run() -> str:
        async with readable(settings_for(database_url, data_dir)) as url:
            connection = await connect(url)
            try:
                if folder is not None:
                    written = await checkpoints.keep_newest(connection, folder)
                    return "\n".join(map(str, written)) or "the newest checkpoints are there already"
                note = (await read.seal(connection, log_named(log), None)).note
            finally:
                connection.terminate()
        if to is None:
            return note.rstrip("\n")
        checkpoints.write(to, note)
        return str(to)

    try:
        said = asyncio.run(run())
    except NotSealed:
        fail(NotSealed("nothing is sealed yet"))
    except EXPECTED as error:
        fail(error)
    print(said)


def log_named(name: str) -> Log:
    """Raises SettingsError."""
    for log in LOGS:
        if log.name == name:
            return log
    raise SettingsError(f"there is no log `{name}`, only {', '.join(log.name for log in LOGS)}")
