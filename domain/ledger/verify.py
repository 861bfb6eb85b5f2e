"""The check of it all, from the rows up: seals, rows, and the checkpoints that were kept outside the store.

Without one kept outside, only that what is in the store holds together: whoever may write to the database, and has its
signing key, can make another history that does. And whoever cuts off the end together with its seals leaves no trace
in the store at all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final, Literal

from domain.ledger import rows
from domain.ledger.check_rows import RowCheck
from domain.ledger.check_seals import SealCheck
from domain.ledger.checkpoint import Checkpoint, NoCheckpoint, VerifierKey
from domain.ledger.findings import Finding, Word, runs
from domain.ledger.keys import KEY_BYTES
from domain.ledger.logs import LOGS, Log
from domain.postgres.connect import connect

if TYPE_CHECKING:
    from domain.postgres.connect import Connection

Verdict = Literal["whole", "tampered", "cannot_check"]

_STORE: Final = "SELECT store_id::text FROM daysheet.store"
_PINNED: Final = "SELECT public_key FROM daysheet.ledger_key"
_NEWEST_NOTE: Final = "SELECT note FROM daysheet.seal WHERE log = $1 AND note IS NOT NULL ORDER BY size DESC LIMIT 1"
_EXTENT: Final = {
    log.name: f"""
SELECT (SELECT coalesce(max(size), 0) FROM daysheet.seal WHERE log = $1),
    (SELECT coalesce(max(position), 0) FROM {log.table})
"""
    for log in LOGS
}
_BEFORE_ALL: Final = -(2**63)
"""Rows below position 1, which only an attacker has, are rows as well."""
_THE_PINNED: Final = "the pinned key"


class CannotCheck(Exception):
    """There is nothing to check, or nothing to check it with; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class Outside:
    """A checkpoint that was kept elsewhere. `source`: where it was read from."""

    source: str
    checkpoint: Checkpoint


@dataclass(slots=True)
class LogReport:
    """`rows` there are; up to `sealed` they are sealed, by `seals`; up to `covered` an outside checkpoint vouches."""

    log: str
    sealed: int
    rows: int = 0
    seals: int = 0
    covered: int = 0
    outside: int = 0


@dataclass(slots=True)
class Report:
    """`unusable`: what was given to check with, and why it is no use."""

    logs: list[LogReport] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    unusable: list[str] = field(default_factory=list)

    @property
    def verdict(self) -> Verdict:
        if self.findings:
            return "tampered"
        return "cannot_check" if self.unusable or self.not_sealed else "whole"

    @property
    def not_sealed(self) -> list[str]:
        """Logs that have rows, and no seal at all."""
        return [log.log for log in self.logs if log.rows and not log.sealed]


Advance = Callable[[str, int, int], object]
"""Told the log, how much is done, and of how much."""


async def verify(
    url: str, *, outside: Sequence[Outside] = (), key: VerifierKey | None = None, advance: Advance = lambda *_: None
) -> Report:
    """`key`: the verifier key kept outside; without it, the one pinned in the store is believed.

    A store row, or a key, that is gone is a finding, as long as there is anything at all to check.
    Reads as much as there is when it begins, also while servers go on. Raises CannotCheck.
    """
    connection, bare = await connect(url), await rows.bare(url)
    try:
        report = Report()
        pinned = await _pinned(connection)
        origins = await _origins(connection, report, outside, key, pinned)
        if key is not None and key.public != pinned:
            report.findings.append(Finding("other_key", origins[key.name].name, 0, 0, source=_THE_PINNED))
        for one in outside:
            if one.checkpoint.origin not in origins:
                report.unusable.append(f"{one.source}: a checkpoint of {one.checkpoint.origin}, not of this store")
        trusted = key.public if key is not None else pinned
        for origin, log in origins.items():
            given = sorted(
                (one for one in outside if one.checkpoint.origin == origin), key=lambda one: one.checkpoint.size
            )
            check = _LogCheck(connection, bare, log, report, partial(advance, log.name))
            await check.run(VerifierKey(origin, trusted) if trusted is not None else None, given)
        report.findings = runs(report.findings)
        return report
    finally:
        connection.terminate()
        bare.terminate()


async def _pinned(connection: Connection) -> bytes | None:
    """None, too, for what cannot be a key, and for several: then it is gone among them."""
    pinned = [key for (key,) in await connection.fetch(_PINNED)]
    return pinned[0] if len(pinned) == 1 and pinned[0] is not None and len(pinned[0]) == KEY_BYTES else None


async def _origins(
    connection: Connection, report: Report, outside: Sequence[Outside], key: VerifierKey | None, pinned: bytes | None
) -> dict[str, Log]:
    """What the logs are called in checkpoints. Raises CannotCheck.

    The store's own row says it; but more is to be believed what the seals have signed, and then, where there is no such
    row, what was kept outside.
    """
    stores = [store for (store,) in await connection.fetch(_STORE)]
    named = stores[0] if len(stores) == 1 else None
    sealed = await _sealed_as(connection, [public for public in (key and key.public, pinned) if public])
    kept = [key.name] if key is not None else [one.checkpoint.origin for one in outside]
    store_id = sealed or named or next(filter(None, map(_store_of, kept)), None)
    if store_id is None:
        if not await _has_rows(connection):
            raise CannotCheck("no server has ever run on this store: there is nothing to check")
        store_id = "unknown"
    origins = {log.origin(store_id): log for log in LOGS}
    if key is not None and key.name not in origins:
        raise CannotCheck(f"the key is that of {key.name}, not of this store")
    if store_id != named:
        report.findings.append(Finding("store_rewritten", LOGS[0].name, 0, 0))
    return origins


async def _sealed_as(connection: Connection, keys: Sequence[bytes]) -> str | None:
    """The store that the newest seals name, if one of these keys signed that."""
    for log in LOGS:
        try:
            signed = Checkpoint.of(await connection.fetchval(_NEWEST_NOTE, log.name) or "")
        except NoCheckpoint:
            continue
        store_id = _store_of(signed.origin)
        if store_id and any(signed.signed_by(VerifierKey(log.origin(store_id), public)) for public in keys):
            return store_id
    return None


def _store_of(origin: str) -> str | None:
    """None for what is no log of ours."""
    store_id = "".join(origin.split("/")[1:2])
    return store_id if origin in [log.origin(store_id) for log in LOGS] else None


async def _has_rows(connection: Connection) -> bool:
    return any([any(await connection.fetchrow(_EXTENT[log.name], log.name) or ()) for log in LOGS])


@dataclass(slots=True)
class _LogCheck:
    connection: Connection
    bare: Connection
    log: Log
    report: Report
    advance: Callable[[int, int], object]

    async def run(self, key: VerifierKey | None, outside: Sequence[Outside]) -> None:
        sealed, head = await self.connection.fetchrow(_EXTENT[self.log.name], self.log.name)  # type: ignore[misc]
        if key is None and (sealed or outside):
            self._tell("key_gone", 0, 0)
        about = LogReport(self.log.name, sealed, outside=len(outside))
        self.report.logs.append(about)
        outside = [one for one in outside if key is None or self._is_usable(one, key)]
        sizes = sorted({one.checkpoint.size for one in outside})
        whole = sealed + head
        seals = SealCheck(
            self.connection, self.bare, self.log, key, sealed, sizes, lambda done: self.advance(done, whole)
        )
        await seals.run()
        about.seals = seals.seals
        self.report.findings += seals.found
        tail = await self._check_rows(about, head, seals, wants_tail=bool(sizes) and sizes[-1] > sealed)
        await seals.grow_with(tail)
        about.covered = self._compare(outside, seals, head)

    async def _check_rows(self, about: LogReport, head: int, seals: SealCheck, *, wants_tail: bool) -> bytes:
        """Returns the leaf hashes of the rows after the last seal, where they are wanted."""
        tail = bytearray()
        check = RowCheck(self.log, about.sealed, head, seals.leaves, tail.extend if wants_tail else lambda _: None)
        async with aclosing(rows.pages(self.bare, self.log, _BEFORE_ALL, head)) as pages:
            async for page in pages:
                await check.take(page)
                about.rows += len(page)
                self.advance(about.sealed + about.rows, about.sealed + head)
        self.report.findings += await check.findings()
        if unplaced := await rows.unplaced(self.connection, self.log):
            about.rows += unplaced
            self._tell("unplaced", 1, unplaced)
        return bytes(tail)

    def _is_usable(self, one: Outside, key: VerifierKey) -> bool:
        if not one.checkpoint.names(key):
            size = one.checkpoint.size
            self.report.findings.append(Finding("other_key", self.log.name, size, size, source=one.source))
            return False
        if not one.checkpoint.signed_by(key):
            self.report.unusable.append(f"{one.source}: its signature is not of what it says: it was changed since")
            return False
        return True

    def _compare(self, outside: Sequence[Outside], seals: SealCheck, head: int) -> int:
        """With checkpoints kept outside, in order of size. Returns the size of the newest that still fits."""
        fits = 0
        for one in outside:
            size = one.checkpoint.size
            if size > seals.sealed:
                self._tell("seals_cut", seals.sealed, size) if size <= head else self._tell("cut", head + 1, size)
            root = seals.roots.get(size)
            if root == one.checkpoint.root:
                fits = size
            elif (root or seals.claimed.get(size, one.checkpoint.root)) != one.checkpoint.root:
                self._tell("history_rewritten", fits, size)
                break
            elif size <= max(seals.sealed, head):
                self._tell("not_checked", size, size, one.source)
        return fits

    def _tell(self, word: Word, first: int, last: int, source: str | None = None) -> None:
        self.report.findings.append(Finding(word, self.log.name, first, last, source=source))
