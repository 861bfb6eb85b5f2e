"""The logs that are sealed. Each has a tree, seals and checkpoints of its own; all are rows of the same columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Log:
    """`name`: at most eight ASCII characters, for ever: it stands in every leaf and in every checkpoint's first line.

    `table` has the columns of daysheet.event, positions from 1 without gaps. `channel` is notified when it grows.
    """

    name: str
    table: str
    channel: str

    def origin(self, store_id: UUID | str) -> str:
        """What names this log of this store in a checkpoint, and its key."""
        return f"daysheet/{store_id}/{self.name}"


EVENT: Final = Log("event", "daysheet.event", "daysheet_event")

ACCESS: Final = Log("access", "daysheet.access", "daysheet_access")

LOGS: Final = (EVENT, ACCESS)
