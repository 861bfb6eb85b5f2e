"""Who a store is: its id, its hospital's time zone, and the epoch that names this very log."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from uuid import UUID

if TYPE_CHECKING:
    from domain.postgres.connect import Connection

_STORE: Final = "SELECT store_id, timezone FROM daysheet.store"
_SECRETS: Final = "SELECT name, wrapped FROM daysheet.secret"
_INTRODUCE: Final = "SELECT daysheet.introduce($1, $2, $3, $4, $5)"
_LINEAGE: Final = "SELECT (pg_control_system()).system_identifier, (pg_control_checkpoint()).timeline_id"


@dataclass(frozen=True, slots=True)
class Identity:
    store_id: UUID
    timezone: str
    wrapped_secrets: Mapping[str, bytes]
    lineage: str

    def epoch(self, board_format: int) -> str:
        """The same on all workers and after restarts; another one when the log was replaced or restored.

        A restored or failed-over server may give out positions a second time, to other events: then its system
        identifier or its timeline is another one.
        """
        named = f"{self.store_id}/{self.lineage}/{board_format}"
        return hashlib.sha256(named.encode()).hexdigest()[:16]


async def identity(connection: Connection) -> Identity | None:
    """None for a store that nobody introduced yet."""
    store = await connection.fetchrow(_STORE)
    if store is None:
        return None
    secrets = {row["name"]: row["wrapped"] for row in await connection.fetch(_SECRETS)}
    system, timeline = await connection.fetchrow(_LINEAGE)  # type: ignore[misc]
    return Identity(store["store_id"], store["timezone"], secrets, f"{system}/{timeline}")


async def introduce(
    connection: Connection, store_id: UUID, timezone: str, key_check: bytes, secrets: Mapping[str, bytes]
) -> Identity:
    """Tell a new store who it is. Where two servers do so at once, both get what the first one said."""
    await connection.execute(_INTRODUCE, store_id, timezone, key_check, list(secrets), list(secrets.values()))
    known = await identity(connection)
    assert known is not None
    return known
