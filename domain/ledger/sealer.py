"""Seals what was appended: one process of all, several times a second, beside the append and never in its way.

Whoever holds an advisory lock is the sealer, on the very connection that it seals with: a connection that breaks takes
the office with it, and the next one is elected within a second. An idle sealer is woken by LISTEN, and a poll stands
behind it.

PostgreSQL hashes the leaves (daysheet.leaf), so that sealing costs the process that serves next to nothing. A tree that
does not lead to the last signed root is never sealed over: that log's sealing stays off until somebody has looked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Final
from uuid import UUID

import asyncpg
import structlog

from domain.ledger import leaf, read
from domain.ledger.checkpoint import Checkpoint, NoCheckpoint, VerifierKey, sign
from domain.ledger.keys import SigningKey
from domain.ledger.logs import LOGS, Log
from domain.ledger.tree import Frontier
from domain.postgres.connect import FAULTS, Connection, back_off, connect

SEAL_SECONDS: Final = 0.25
"""Between two checkpoints of a log: at most four a second."""
SEAL_ROWS: Final = 10_000
"""In one seal. Folding them takes a hundredth of a second, in which nobody else has a turn."""
POLL_SECONDS: Final = 1.0
BACK_OFF_SECONDS: Final = (0.1, 5.0)

_ELECT: Final = "SELECT pg_try_advisory_lock(4004131706)"
_NEW: Final = {
    log.name: f"""
SELECT count(*), max(position), (SELECT coalesce(max(position), 0) FROM {log.table}),
    string_agg(sha256('\\x00'::bytea || daysheet.leaf(
        $1, position, recorded_at, version, day, subject, stream, type, meta, data)), ''::bytea ORDER BY position)
FROM {log.table} WHERE position > $2 AND position <= $2 + $3
"""
    for log in LOGS
}
_HEAD: Final = {log.name: f"SELECT coalesce(max(position), 0) FROM {log.table}" for log in LOGS}
_SEAL: Final = "SELECT daysheet.append_seal($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)"

log = structlog.get_logger()


class DoesNotFit(Exception):
    """The log, or the ledger, is not what was sealed. Sealing it now would hide that."""


class SealedLog:
    """One log, as far as it is sealed, and how to go on."""

    def __init__(self, of: Log, key: SigningKey, origin: str, frontier: Frontier) -> None:
        self.log = of
        self.frontier = frontier
        self._key, self._origin = key, origin
        self._tag = leaf.tag(of)

    @classmethod
    async def resumed(cls, connection: Connection, of: Log, key: SigningKey, origin: str) -> SealedLog:
        """Raises DoesNotFit when tiles, leaves, root and checkpoint of the newest seal are not one and the same."""
        last = await read.newest(connection, of)
        frontier = await read.frontier(connection, of, last.size) if last else Frontier()
        if last is not None:
            try:
                signed = Checkpoint.of(last.note)
            except NoCheckpoint as error:
                raise DoesNotFit(f"the newest seal of {of.name}, at {last.size}: {error}") from None
            if not signed.signed_by(VerifierKey(origin, key.public)):
                raise DoesNotFit(f"the newest checkpoint of {of.name}, at {last.size}, is not signed by this key")
            if (signed.size, signed.root) != (frontier.size, frontier.root()):
                raise DoesNotFit(f"tiles and seals of {of.name} do not lead to its newest checkpoint, at {last.size}")
        return cls(of, key, origin, frontier)

    async def seal_next(self, connection: Connection, at_most: int = SEAL_ROWS) -> int:
        """Seal what is new, in one transaction. Returns how many rows are left to seal.

        Raises DoesNotFit. After a fault the frontier is ahead of what is stored: resume.
        """
        size = self.frontier.size
        number, last, head, leaves = await connection.fetchrow(_NEW[self.log.name], self._tag, size, at_most)  # type: ignore[misc]
        if head < size:
            raise DoesNotFit(f"{self.log.name} ends at {head}, and is sealed up to {size}")
        if not number:
            return 0
        if last != size + number:
            raise DoesNotFit(f"{self.log.name} has a gap between {size} and {last}")
        if len(leaves or b"") != leaf.HASH_BYTES * number:
            raise DoesNotFit(f"{self.log.name} has a row between {size} and {last} that holds NULL where none does")
        tiles = self.frontier.extend(leaves)
        root = self.frontier.root()
        note = sign(self._key, self._origin, last, root)
        try:
            await connection.execute(
                _SEAL,
                self.log.name,
                size,
                last,
                root,
                leaves,
                note,
                self._key.public,
                [tile.level for tile in tiles],
                [tile.index for tile in tiles],
                [tile.hashes for tile in tiles],
                [tile.root for tile in tiles],
            )
        except asyncpg.UniqueViolationError as error:
            if error.table_name != "tile":
                raise  # another sealer was a moment quicker
            raise DoesNotFit(f"{self.log.name} is sealed up to {size}, and has tiles beyond") from None
        return int(head) - int(last)


class Sealer:
    """What one process does for the ledger. Its attributes are for /metrics, and are this process's own view."""

    def __init__(self, url: str, store_id: UUID, key: SigningKey) -> None:
        self._url, self._store_id, self._key = url, store_id, key
        self._news = asyncio.Event()
        self._closing = asyncio.Event()
        self.elected = False
        self.sealed = {log.name: 0 for log in LOGS}
        self.unsealed = {log.name: 0 for log in LOGS}
        self.faults = 0
        """How often a log was found that does not fit its seals."""

    async def run(self) -> None:
        """Until `close`. While the store cannot be reached nothing is appended, either."""
        failures = 0
        while not self._closing.is_set():
            connection: Connection | None = None
            try:
                connection = await connect(self._url)
                while not await connection.fetchval(_ELECT):
                    failures = 0
                    await self._look(connection, LOGS)
                    await asyncio.sleep(POLL_SECONDS)
                failures = 0
                await self._seal_until_closed(connection)
                return
            except FAULTS as fault:
                log.warning("sealer_disconnected", fault=type(fault).__name__)
            finally:
                self.elected = False
                if connection is not None:
                    connection.terminate()
            await asyncio.sleep(back_off(failures, BACK_OFF_SECONDS))
            failures += 1

    def close(self) -> None:
        """The process that is elected seals what there is, and ends."""
        self._closing.set()
        self._news.set()

    async def _look(self, connection: Connection, logs: Iterable[Log]) -> None:
        """How far these are sealed, by another process, or until sealing went off."""
        for of in logs:
            seal = await read.newest(connection, of)
            self._note(of, seal.size if seal else 0, await connection.fetchval(_HEAD[of.name]))

    async def _seal_until_closed(self, connection: Connection) -> None:
        """As the elected one."""
        self.elected = True
        log.info("sealer_elected")
        connection.add_termination_listener(self._hear)
        open_logs = [sealed for of in LOGS if (sealed := await self._resumed(connection, of))]
        while True:
            before = sum(sealed.frontier.size for sealed in open_logs)
            open_logs = [sealed for sealed in open_logs if await self._seal(connection, sealed)]
            await self._look(connection, set(LOGS).difference(sealed.log for sealed in open_logs))
            if sum(sealed.frontier.size for sealed in open_logs) > before:
                with suppress(TimeoutError):
                    async with asyncio.timeout(SEAL_SECONDS):
                        await self._closing.wait()
            elif self._closing.is_set():
                return
            else:
                await self._wait_for_news(connection, open_logs)

    async def _wait_for_news(self, connection: Connection, open_logs: Sequence[SealedLog]) -> None:
        """Listens only for as long as it has nothing to do: else every commit would wake this process for nothing."""
        self._news.clear()
        if self._closing.is_set():
            return
        for of in LOGS:
            await connection.add_listener(of.channel, self._hear)
        heads = [await connection.fetchval(_HEAD[sealed.log.name]) for sealed in open_logs]
        if all(head <= sealed.frontier.size for head, sealed in zip(heads, open_logs, strict=True)):
            # Not wait_for: before Python 3.12 it forgets a cancellation that comes together with the news.
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await self._news.wait()
        for of in LOGS:
            await connection.remove_listener(of.channel, self._hear)

    def _hear(self, *_: object) -> None:
        self._news.set()

    async def _resumed(self, connection: Connection, of: Log) -> SealedLog | None:
        try:
            return await SealedLog.resumed(connection, of, self._key, of.origin(self._store_id))
        except DoesNotFit as error:
            self._stay_off(of, error)
            return None

    async def _seal(self, connection: Connection, sealed: SealedLog) -> bool:
        """What is new. False for a log that is not to be sealed any more."""
        try:
            left = await sealed.seal_next(connection)
        except DoesNotFit as error:
            self._stay_off(sealed.log, error)
            return False
        self._note(sealed.log, sealed.frontier.size, sealed.frontier.size + left)
        return True

    def _stay_off(self, of: Log, error: DoesNotFit) -> None:
        """The queue goes on: a ledger that stands still is a lesser evil than a ward that does."""
        self.faults += 1
        log.error("ledger_does_not_fit", log=of.name, detail=str(error), todo="run `daysheet verify`")

    def _note(self, of: Log, sealed: int, head: int) -> None:
        self.sealed[of.name], self.unsealed[of.name] = sealed, max(0, head - sealed)
