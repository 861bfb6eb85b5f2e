"""`daysheet key`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from cyclopts import App

from domain.log.migrate import require_latest
from domain.postgres.connect import Connection, connect
from domain.vault import rotate as rotation
from domain.vault.keyfile import KeyFile
from domain.vault.rotate import Rotated
from gateway import app as composition
from gateway.cli.failing import EXPECTED, fail
from gateway.cli.store import require_made, settings_for
from gateway.settings import Settings

key = App(name="key", help="The master key, on which everything personal hangs.")


@key.command
def rotate(*, database_url: str | None = None, data_dir: Path | None = None, prepare: bool = False) -> None:
    """Wrap every key anew under a new master key, while servers serve. Cut short, it goes on when run again.

    Parameters
    ----------
    database_url
        The one that the server is given. Without it, the embedded database.
    data_dir
        Where the key file is.
    prepare
        Only put the new key into the file, to be brought to other servers' machines before it is used.
    """
    try:
        settings = settings_for(database_url, data_dir)
        text = asyncio.run(_prepare(settings) if prepare else _rotate(settings))
    except EXPECTED as error:
        fail(error)
    print(text)


async def _prepare(settings: Settings) -> str:
    async with _connected(settings) as connection:
        new = await rotation.prepare(connection, settings.master_key, settings.key_file)
    return f"master key {new.hex()} is ready: bring {settings.key_file} to the other servers' machines, then rotate"


async def _rotate(settings: Settings) -> str:
    async with _connected(settings) as connection:
        done = await rotation.rotate(connection, settings.master_key, settings.key_file)
    return "\n".join([_told(done), *_left_to_do(done, settings)])


@asynccontextmanager
async def _connected(settings: Settings) -> AsyncIterator[Connection]:
    require_made(settings)
    async with composition.database(settings) as url:
        connection = await connect(url)
        try:
            await require_latest(connection)
            yield connection
        finally:
            await connection.close()


def _told(done: Rotated) -> str:
    if done.patients or done.secrets:
        return f"master key {done.newest.hex()} wraps {done.patients} patients' keys and {done.secrets} secrets anew"
    return f"all was wrapped by master key {done.newest.hex()} already: an earlier rotation is finished now"


def _left_to_do(done: Rotated, settings: Settings) -> list[str]:
    if not done.retired:
        return []
    if settings.master_key is not None:
        return ["take the retired key out of DAYSHEET_MASTER_KEY, and keep it for backups made before"]
    retired = KeyFile(settings.key_file).retired.path
    return [f"the retired key is in {retired}: take it to where keys of backups are kept, and destroy it with them"]
