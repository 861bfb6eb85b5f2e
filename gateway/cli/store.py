"""The store that a command works on, for as long as it does: the database given, or the embedded one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from gateway import app as composition
from gateway.settings import Settings, default_data_dir


def settings_for(database_url: str | None, data_dir: Path | None) -> Settings:
    """Raises SettingsError."""
    return Settings(database_url=database_url, data_dir=(data_dir or default_data_dir()).absolute())


@asynccontextmanager
async def administered(settings: Settings) -> AsyncIterator[str]:
    """The URL of an administrator of the database: the one given, or the embedded server's superuser."""
    if settings.database_url is not None:
        yield settings.database_url
        return
    async with composition.embedded(settings) as postgres:
        yield postgres.url(user="postgres")
