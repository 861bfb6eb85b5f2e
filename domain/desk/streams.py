"""Aggregates by the name of their stream: loaded from the log, kept while they are of use, one command at a time."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Collection, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

from eventsourcing.domain import BaseAggregate

from domain.log import read
from domain.log.codec import EventMapper, Recorded
from domain.rules.ids import PATIENT_DAY
from domain.rules.patient_day import PatientDay

if TYPE_CHECKING:
    from domain.postgres.connect import Pool

STREAMS_KEPT: Final = 5_000
LOCK_SECONDS: Final = 5.0

Aggregate = BaseAggregate[str]


@dataclass(slots=True)
class Stream:
    """An aggregate, and the log position of the newest event it has folded."""

    aggregate: Aggregate
    position: int


class Streams:
    """What is kept may be behind the log when other processes append too: only an append, or `catch_up`, proves it."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._mapper = EventMapper()
        self._kept: OrderedDict[str, Stream] = OrderedDict()
        self._asked: dict[str, int] = {}
        self._next: asyncio.Task[dict[str, list[Recorded]]] | None = None
        self._one_at_a_time = asyncio.Lock()

    async def load(self, names: Iterable[str]) -> tuple[dict[str, Stream], bool]:
        """Those of these streams that exist, and whether any was kept from before and so may be behind."""
        wanted = set(names)
        known = wanted & self._kept.keys()
        await self._read(dict.fromkeys(wanted - known, 0), known)
        return self._those(wanted), bool(known)

    async def catch_up(self, names: Iterable[str]) -> dict[str, Stream]:
        """The same, and none of them is behind what was committed before this call."""
        wanted = set(names)
        await self._read({name: self._version(name) for name in wanted})
        return self._those(wanted)

    def _those(self, wanted: set[str]) -> dict[str, Stream]:
        for name in wanted & self._kept.keys():
            self._kept.move_to_end(name)
        return {name: self._kept[name] for name in wanted & self._kept.keys()}

    async def _read(self, after: dict[str, int], known: Iterable[str] = ()) -> None:
        """What is new of these streams. All of them that exist are kept when this returns, and so are those `known`."""
        there = {*known, *(name for name, version in after.items() if version)}
        while after:
            rows = await self._rows(after)
            # Somebody else's try may have failed meanwhile, and what it had decided on was dropped: what was read goes
            # on from what is not there any more.
            dropped = {name: self._version(name) for name, version in after.items() if self._version(name) < version}
            for name in after.keys() - dropped.keys():
                if name in rows:
                    self._fold(name, rows[name])
                elif name not in self._kept and name.startswith(PATIENT_DAY + "/"):
                    self.keep(name, Stream(PatientDay.untouched(name), 0))
            there.update(after.keys() & self._kept.keys())
            after = dropped | {name: 0 for name in there if name not in self._kept}

    def _version(self, name: str) -> int:
        kept = self._kept.get(name)
        return kept.aggregate.version if kept else 0

    async def _rows(self, after: dict[str, int]) -> dict[str, list[Recorded]]:
        """By stream, others' too: what is asked for while a query is on its way goes into the next one together."""
        for name, version in after.items():
            self._asked[name] = min(version, self._asked.get(name, version))
        if self._next is None:
            self._next = asyncio.create_task(self._query())
        return await asyncio.shield(self._next)  # Whoever asked first may go; the others still wait.

    async def _query(self) -> dict[str, list[Recorded]]:
        async with self._one_at_a_time:
            after, self._asked, self._next = self._asked, {}, None
            rows = await read.streams(self._pool, after)
        return {name: list(group) for name, group in groupby(rows, key=lambda row: str(row.originator_id))}

    def _fold(self, name: str, rows: list[Recorded]) -> None:
        kept = self._kept.get(name)
        aggregate: Any = kept.aggregate if kept else None
        if aggregate is None and name.startswith(PATIENT_DAY + "/"):
            aggregate = PatientDay.untouched(name)
        for row in rows:
            if aggregate is None or row.originator_version > aggregate.version:  # another reader may have been here
                aggregate = self._mapper.to_domain_event(row).mutate(aggregate)
        if kept is None:
            self.keep(name, Stream(aggregate, rows[-1].id))
        else:
            kept.position = max(kept.position, rows[-1].id)  # also for whoever has it in use

    def keep(self, name: str, stream: Stream) -> None:
        self._kept[name] = stream
        self._kept.move_to_end(name)
        while len(self._kept) > STREAMS_KEPT:
            self._kept.popitem(last=False)

    def drop(self, names: Iterable[str]) -> None:
        for name in names:
            self._kept.pop(name, None)


class LockTimeout(Exception):
    """Others held a lock for too long."""


@dataclass(slots=True)
class _Lock:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    users: int = 0


class Locks:
    """One lock per name, for this process. Across processes the log's versions decide."""

    def __init__(self) -> None:
        self._locks: dict[str, _Lock] = {}

    @asynccontextmanager
    async def hold(self, name: str) -> AsyncIterator[None]:
        """Raises LockTimeout."""
        entry = self._locks.setdefault(name, _Lock())
        entry.users += 1
        try:
            try:
                async with asyncio.timeout(LOCK_SECONDS):
                    await entry.lock.acquire()
            except TimeoutError:
                raise LockTimeout(name) from None
            try:
                yield
            finally:
                entry.lock.release()
        finally:
            entry.users -= 1
            if entry.users == 0:
                del self._locks[name]


def in_lock_order(names: Collection[str]) -> list[str]:
    """The one order in which everybody takes locks: clinics come before the days of their patients."""
    return sorted(names)
