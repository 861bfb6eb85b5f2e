"""What the migrations make, written down: domain/log/schema.json. `daysheet check` holds databases against it."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path
from typing import Final

import asyncpg
import msgspec

from domain.log import schema
from domain.log.migrate import migrate
from domain.postgres.embedded import EmbeddedPostgres

FILE: Final = Path(schema.__file__).with_name("schema.json")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        postgres = EmbeddedPostgres.start(Path(folder) / "postgres")
        try:
            FILE.write_bytes(asyncio.run(_made(postgres.url(user="postgres"))))
        finally:
            postgres.stop()
    sys.stdout.write(f"{FILE.name} is made anew\n")


async def _made(url: str) -> bytes:
    connection = await asyncpg.connect(url)
    try:
        await migrate(connection)
        return as_text(await schema.found(connection))
    finally:
        await connection.close()


def as_text(found: schema.Schema) -> bytes:
    return msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n"


if __name__ == "__main__":
    main()
