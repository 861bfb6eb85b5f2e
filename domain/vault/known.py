"""The master keys that a store has known, and whether the newest of them is at hand."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from domain.vault.master import WrongMasterKey

if TYPE_CHECKING:
    from domain.postgres.connect import Connection, Pool
    from domain.vault.master import MasterKeys

_KNOWN: Final = "SELECT number, key_check, since FROM daysheet.master_key ORDER BY number DESC"


@dataclass(frozen=True, slots=True)
class KnownMaster:
    """What a store knows of a master key: not the key."""

    number: int
    check: bytes
    since: datetime


async def known_masters(store: Pool | Connection) -> list[KnownMaster]:
    """The newest first: that one wraps, the others are retired. Empty for a store that nobody introduced yet."""
    return [KnownMaster(*row) for row in await store.fetch(_KNOWN)]


def take_newest(keys: MasterKeys, known: list[KnownMaster]) -> None:
    """Wrap with the store's newest master key. Raises WrongMasterKey, saying what to do."""
    newest, *retired = known
    if keys.have(newest.check):
        keys.use(newest.check)
        return
    if any(keys.have(master.check) for master in retired):
        raise WrongMasterKey(
            f"the master key at hand is retired: since {newest.since:%Y-%m-%d %H:%M} UTC this store has a newer one. "
            "Bring the newest key file, or the newest DAYSHEET_MASTER_KEY"
        )
    raise WrongMasterKey("this store was made with another master key than the one at hand")
