"""Another server's desk over the same store, for as long as its follower has heard of nothing."""

from __future__ import annotations

from dataclasses import replace

from domain.desk.desk import Desk
from domain.desk.streams import Locks, Streams
from domain.vault.sealing import Vault
from gateway.parts import Parts


def desk_elsewhere(parts: Parts) -> Desk:
    """It holds keys, streams and locks of its own."""
    equipment = parts.desk.equipment
    vault = Vault(parts.pool, equipment.vault._master)
    return Desk(replace(equipment, vault=vault, streams=Streams(parts.pool), locks=Locks()))
