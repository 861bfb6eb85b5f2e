"""Group commit: one task drains a queue of commands into one call of the database, each command with its own outcome.

While a batch is on its way the next one gathers, so under load one fsync serves many. A batch whose connection died
is sent again as it was: the database recognises events that did get through (see migrations/0001_log.sql).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from types import MappingProxyType
from typing import Final, Literal
from uuid import UUID

import asyncpg
import structlog

from domain.log.codec import Draft
from domain.postgres.connect import FAULTS, Line, back_off

BATCH_COMMANDS: Final = 256
QUEUED_COMMANDS: Final = 10_000
RETRY_SECONDS: Final = 5.0
"""How long a batch is on its way, tried again where the connection died, before its outcome is called unknown."""
BACK_OFF_SECONDS: Final = (0.05, 1.0)
_OWN_FAULT: Final = ("22", "23", "42")
"""SQLSTATE classes that a command brings upon itself; anything else is the connection's or the server's trouble."""
_MASTER_KEY_RETIRED: Final = "23R01"
"""What the vault's tables say (see migrations/0004_keys.sql)."""

_APPEND: Final = """
SELECT command, status, last_position
FROM daysheet.append($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)
"""

log = structlog.get_logger()

VaultAction = Literal["key", "token", "untoken", "claim", "unclaim", "forget"]


class Conflict(Exception):
    """One of the streams has moved on; nothing was appended."""


class KeyUsed(Exception):
    """The idempotency key was used before; nothing was appended."""


class Claimed(Exception):
    """Another holds what this command claims; nothing was appended."""


class MasterKeyRetired(Exception):
    """The patient's key that it brings is wrapped by a master key that is retired by now; nothing was appended."""


class StoreUnavailable(Exception):
    """The database cannot be reached; nothing was recorded."""


class OutcomeUnknown(Exception):
    """The database fell silent half-way; perhaps it was recorded."""


@dataclass(frozen=True, slots=True)
class VaultChange:
    """Something personal to keep or to forget with the command's events, in the same transaction."""

    action: VaultAction
    subject: UUID
    value: bytes | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """What an Idempotency-Key stands for: keyed digests, and the outcome to repeat."""

    key: bytes
    fingerprint: bytes
    outcome: bytes


@dataclass(slots=True, eq=False)
class _Command:
    drafts: Sequence[Draft]
    vault: Sequence[VaultChange]
    request: Request | None
    rests_on: Mapping[str, int]
    outcome: asyncio.Future[int | None]
    names: frozenset[object] = field(init=False)
    """Streams, key and claims: no two commands of a batch share one, or rest on a stream that another changes."""

    def __post_init__(self) -> None:
        names: set[object] = {draft.originator_id for draft in self.drafts}
        names.update(change.value for change in self.vault if change.action == "claim")
        if self.request:
            names.add(self.request.key)
        self.names = frozenset(names)


class Writer:
    """The only way into the log. `run()` must be running for `append` to return."""

    def __init__(self, url: str, on_commit: Callable[[], None]) -> None:
        self._line = Line(url)
        self._on_commit = on_commit
        self._queue: deque[_Command] = deque()
        self._wake = asyncio.Event()
        self._closing = False

    async def append(
        self,
        drafts: Sequence[Draft],
        vault: Sequence[VaultChange] = (),
        request: Request | None = None,
        rests_on: Mapping[str, int] = MappingProxyType({}),
    ) -> int | None:
        """Append all of a command, or nothing. Returns the last event's position, None where there is no event.

        `rests_on`: versions of streams that it appends nothing to, but that must not have moved on either.
        Raises Conflict, KeyUsed, Claimed, MasterKeyRetired, StoreUnavailable, OutcomeUnknown.
        """
        if self._closing or len(self._queue) >= QUEUED_COMMANDS:
            raise StoreUnavailable
        command = _Command(drafts, vault, request, rests_on, asyncio.get_running_loop().create_future())
        self._queue.append(command)
        self._wake.set()
        return await command.outcome

    async def run(self) -> None:
        """Until close(): what was accepted before that is still committed."""
        try:
            while self._queue or not self._closing:
                await self._wake.wait()
                self._wake.clear()
                while self._queue:
                    batch = self._next_batch()
                    try:
                        await self._settle(batch)
                    finally:  # However this ends, nobody is left waiting.
                        for command in batch:
                            _fail(command, OutcomeUnknown())
        finally:
            self._closing = True
            for command in self._queue:
                _fail(command, StoreUnavailable())
            self._queue.clear()
            self._line.drop()

    def close(self) -> None:
        self._closing = True
        self._wake.set()

    def _next_batch(self) -> list[_Command]:
        """First come, first served; a command that is in the way of an earlier one waits for the next batch."""
        batch: list[_Command] = []
        later: deque[_Command] = deque()
        changed: set[object] = set()
        rested_on: set[object] = set()
        while self._queue and len(batch) < BATCH_COMMANDS:
            command = self._queue.popleft()
            names, rests = command.names, command.rests_on.keys()
            free = changed.isdisjoint(names) and changed.isdisjoint(rests) and rested_on.isdisjoint(names)
            (batch if free else later).append(command)
            changed |= names
            rested_on |= rests
        later.extend(self._queue)
        self._queue = later
        return batch

    async def _settle(self, batch: list[_Command]) -> None:
        """Send a batch until its outcome is known, or for as long as RETRY_SECONDS."""
        now = asyncio.get_running_loop().time
        give_up_at = now() + RETRY_SECONDS
        sent = False
        for attempt in count():
            try:
                async with asyncio.timeout_at(give_up_at):
                    connection = await self._line.connection()
                    sent = True
                    rows = await connection.fetch(_APPEND, *_arguments(batch))
            except FAULTS as fault:
                if (getattr(fault, "sqlstate", None) or "")[:2] in _OWN_FAULT:
                    await self._settle_one_by_one(batch, fault)
                    return
                self._line.drop()
                log.warning("append_interrupted", commands=len(batch), fault=type(fault).__name__)
                wait = back_off(attempt, BACK_OFF_SECONDS)
                if now() + wait > give_up_at:
                    self._give_up(batch, OutcomeUnknown() if sent else StoreUnavailable())
                    return
                await asyncio.sleep(wait)
            else:
                self._on_commit()
                _tell(batch, rows)
                return

    def _give_up(self, batch: list[_Command], error: Exception) -> None:
        """Those that wait behind this batch would wait as long, one batch after another: none of them was sent."""
        for command in batch:
            _fail(command, error)
        while self._queue:
            _fail(self._queue.popleft(), StoreUnavailable())

    async def _settle_one_by_one(self, batch: list[_Command], fault: Exception) -> None:
        """The database cannot take one of them: the others must not suffer for it."""
        if len(batch) == 1:
            if getattr(fault, "sqlstate", None) == _MASTER_KEY_RETIRED:
                _fail(batch[0], MasterKeyRetired())
                return
            log.error("append_refused_by_database", fault=type(fault).__name__)
            _fail(batch[0], fault)
            return
        for command in batch:
            await self._settle([command])


def _arguments(batch: list[_Command]) -> list[list[object]]:
    """The columns that daysheet.append takes."""
    requests = [command.request for command in batch]
    drafts = [(no, draft) for no, command in enumerate(batch, 1) for draft in command.drafts]
    rests = [(no, rest) for no, command in enumerate(batch, 1) for rest in command.rests_on.items()]
    vault = [(no, change) for no, command in enumerate(batch, 1) for change in command.vault]
    return [
        [request and request.key for request in requests],
        [request and request.fingerprint for request in requests],
        [request and request.outcome for request in requests],
        [no for no, _ in drafts],
        [draft.originator_id for _, draft in drafts],
        [draft.originator_version for _, draft in drafts],
        [draft.topic for _, draft in drafts],
        [draft.day for _, draft in drafts],
        [draft.subject for _, draft in drafts],
        [draft.state for _, draft in drafts],
        [draft.meta for _, draft in drafts],
        [no for no, _ in rests],
        [stream for _, (stream, _) in rests],
        [version for _, (_, version) in rests],
        [no for no, _ in vault],
        [change.action for _, change in vault],
        [change.subject for _, change in vault],
        [change.value for _, change in vault],
    ]


def _tell(batch: list[_Command], rows: Sequence[asyncpg.Record]) -> None:
    refusals = {"conflict": Conflict, "replayed": KeyUsed, "claimed": Claimed}
    for number, status, position in rows:
        command = batch[number - 1]
        if status in refusals:
            _fail(command, refusals[status]())
        elif not command.outcome.done():
            command.outcome.set_result(position)


def _fail(command: _Command, error: Exception) -> None:
    if not command.outcome.done():  # The asker may have gone.
        command.outcome.set_exception(error)
