"""The store that a command works on, for as long as it does: the database given, or the embedded one."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from zoneinfo import ZoneInfo

from domain.log.identity import Identity, identity
from domain.log.migrate import require_latest
from domain.postgres.connect import Pool, connect, pool
from domain.vault.digests import Digests
from domain.vault.known import known_masters, take_newest
from domain.vault.master import MasterKeys, read_master_keys
from domain.vault.sealing import Vault
from gateway import app as composition
from gateway.settings import Settings, SettingsError, default_data_dir


@dataclass(frozen=True, slots=True)
class Opened:
    """A store, and what opens what is personal in it."""

    url: str
    pool: Pool
    vault: Vault
    digests: Digests
    zone: ZoneInfo


def settings_for(database_url: str | None, data_dir: Path | None) -> Settings:
    """Raises SettingsError."""
    return Settings(
        database_url=database_url,
        data_dir=(data_dir or default_data_dir()).absolute(),
        master_key=os.environ.get("DAYSHEET_MASTER_KEY"),
    )


def require_made(settings: Settings) -> None:
    """Only `serve` and `migrate` make an embedded database; for all else a folder without one is a slip of the pen.

    Raises SettingsError.
    """
    if settings.database_url is None and not (settings.folder / "postgres" / "cluster").exists():
        raise SettingsError(f"there is no store under {settings.folder}: say --data-dir, or --database-url")


@asynccontextmanager
async def readable(settings: Settings) -> AsyncIterator[str]:
    """The URL of a store that is there, with the schema of this release: for commands that only read.

    Raises SettingsError where no embedded database has ever been made, SchemaMismatch.
    """
    require_made(settings)
    async with administered(settings) as url:
        connection = await connect(url)
        try:
            await require_latest(connection)
        finally:
            await connection.close()
        yield url


@asynccontextmanager
async def administered(settings: Settings) -> AsyncIterator[str]:
    """The URL of an administrator of the database: the one given, or the embedded server's superuser."""
    if settings.database_url is not None:
        yield settings.database_url
        return
    async with composition.embedded(settings) as postgres:
        yield postgres.url(user="postgres")


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Opened]:
    """The store, read by a command that needs the master key for it. Raises WrongMasterKey, SettingsError."""
    require_made(settings)
    async with composition.database(settings) as url:
        who, keys = await _who(url, settings)
        async with pool(url) as readers:
            digests = Digests(keys.unwrap_all(who.wrapped_secrets))
            yield Opened(url, readers, Vault(readers, keys), digests, ZoneInfo(who.timezone))


async def _who(url: str, settings: Settings) -> tuple[Identity, MasterKeys]:
    connection = await connect(url)
    try:
        await require_latest(connection)
        who = await identity(connection)
        if who is None:
            raise SettingsError("this store is empty: no server has been started on it yet")
        keys = read_master_keys(settings.master_key, settings.key_file, may_make=False)
        take_newest(keys, await known_masters(connection))
        return who, keys
    finally:
        await connection.close()
