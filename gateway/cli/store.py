"""The store that a command works on, for as long as it does: the database given, or the embedded one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from domain.log.migrate import require_latest
from domain.postgres.connect import connect
from gateway import app as composition
from gateway.settings import Settings, SettingsError, default_data_dir


def settings_for(database_url: str | None, data_dir: Path | None) -> Settings:
    """Raises SettingsError."""
    return Settings(database_url=database_url, data_dir=(data_dir or default_data_dir()).absolute())


@asynccontextmanager
async def readable(settings: Settings) -> AsyncIterator[str]:
    """The URL of a store that is there, with the schema of this release: for commands that only read.

    Raises SettingsError where no embedded database has ever been made, SchemaMismatch.
    """
    if settings.database_url is None and not (settings.folder / "postgres" / "cluster").exists():
        raise SettingsError(f"there is no store under {settings.folder}: say --data-dir, or --database-url")
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
