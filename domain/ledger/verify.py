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

from domain.ledger import read, rows
from domain.ledger.check_rows import RowCheck
from domain.ledger.check_seals import SealCheck
from domain.ledger.checkpoint import Checkpoint, VerifierKey
from domain.ledger.findings import Finding, runs
from domain.ledger.logs import LOGS, Log
from domain.postgres.connect import connect

if TYPE_CHECKING:
    from domain.postgres.connect import Connection

Verdict = Literal["whole", "tampered", "cannot_check"]

_STORE: Final = """
SELECT store_id, (SELECT public_key FROM daysheet.ledger_key) FROM daysheet.store
"""
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

    Reads as much as there is when it begins, also while servers go on. Raises CannotCheck.
    """
    connection, bare = await connect(url), await rows.bare(url)
    try:
        store = await connection.fetchrow(_STORE)
        if store is None:
            raise CannotCheck("no server has ever run on this store: there is nothing to check")
        store_id, pinned = store
        report = Report()
        origins = {log.origin(store_id): log for log in LOGS}
        if key is not None:
            if key.name not in origins:
                raise CannotCheck(f"the key is that of {key.name}, not of this store")
            if key.public != pinned:
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
        report.findings = list(runs(report.findings))
        return report
    finally:
        connection.terminate()
        bare.terminate()


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
            raise CannotCheck("no key is pinned in this store, though it was sealed: give the verifier key, --key")
        about = LogReport(self.log.name, sealed, outside=len(outside))
        self.report.logs.append(about)
        outside = [one for one in outside if key is not None and self._is_usable(one, key)]
        sizes = sorted({one.checkpoint.size for one in outside})
        seals: SealCheck | None = None
        if key is not None:
            whole = sealed + head
            seals = SealCheck(
                self.connection, self.bare, self.log, key, sealed, sizes, lambda done: self.advance(done, whole)
            )
            await seals.run()
            about.seals = seals.seals
            self.report.findings += seals.found
        tail = await self._check_rows(about, head, wants_tail=bool(sizes) and sizes[-1] > sealed)
        if seals is not None:
            await seals.grow_with(tail)
            about.covered = self._compare(outside, seals, head)

    async def _check_rows(self, about: LogReport, head: int, *, wants_tail: bool) -> bytes:
        """Returns the leaf hashes of the rows after the last seal, where they are wanted."""
        tail = bytearray()
        leaves = partial(read.leaves, self.connection, self.log)
        check = RowCheck(self.log, about.sealed, head, leaves, tail.extend if wants_tail else lambda _: None)
        async with aclosing(rows.pages(self.bare, self.log, _BEFORE_ALL, head)) as pages:
            async for page in pages:
                await check.take(page)
                about.rows += len(page)
                self.advance(about.sealed + about.rows, about.sealed + head)
        self.report.findings += await check.findings()
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
            elif root is not None and (seals.broken_at is None or size <= seals.broken_at):
                self._tell("history_rewritten", fits, size)
                break
        return fits

    def _tell(self, word: Literal["cut", "seals_cut", "history_rewritten"], first: int, last: int) -> None:
        self.report.findings.append(Finding(word, self.log.name, first, last))
