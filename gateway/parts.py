"""The parts of a running server, as the edge sees them. gateway/app.py puts them together."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from zoneinfo import ZoneInfo

from aiohttp import web

from domain.audit.recorder import Recorder
from domain.desk.desk import Desk
from domain.ledger.sealer import Sealer
from domain.postgres.connect import Pool
from domain.vault.digests import Digests
from gateway.clock import Clock
from gateway.downtime.writing import Downtime
from gateway.erasures import KeptErasures
from projections.boards import Boards
from projections.deltas import Deltas
from projections.directory import Directory
from projections.encoding import Encoder
from projections.export import Export
from projections.freshness import Freshness
from projections.history import History
from projections.onlookers import Onlookers
from projections.projector import Projector
from projections.proof import Prover
from projections.timeline import Timelines


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    pool: Pool
    desk: Desk
    digests: Digests
    directory: Directory
    boards: Boards
    timelines: Timelines
    encoder: Encoder
    deltas: Deltas
    freshness: Freshness
    prover: Prover
    history: History
    export: Export
    audit: Recorder
    onlookers: Onlookers
    projector: Projector
    erasures: KeptErasures | None
    clock: Clock
    zone: ZoneInfo
    epoch: str
    downtime: Downtime | None
    """None where nobody asked for sheets, and in all workers but the first."""
    sealer: Sealer | None
    """None where this server does not have the ledger's key."""

    def now(self) -> datetime:
        return self.clock.now()

    def today(self) -> date:
        """In the hospital."""
        return self.clock.now().astimezone(self.zone).date()


PARTS = web.AppKey("parts", Parts)
