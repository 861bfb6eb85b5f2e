"""`daysheet migrate`."""

from __future__ import annotations

import asyncio
from pathlib import Path

from gateway import app as composition
from gateway.cli.failing import EXPECTED, fail
from gateway.cli.store import administered, settings_for


def migrate(*, database_url: str | None = None, data_dir: Path | None = None) -> None:
    """Bring a database to this release's schema. Needs an administrator of that database.

    Parameters
    ----------
    database_url
        postgresql://administrator:password@host/database. Without it, the embedded database.
    data_dir
        Where the embedded database is.
    """

    async def run() -> list[str]:
        async with administered(settings_for(database_url, data_dir)) as url:
            return await composition.migrated(url)

    try:
        applied = asyncio.run(run())
    except EXPECTED as error:
        fail(error)
    print("\n".join(f"applied {name}" for name in applied) or "the schema is up to date")
