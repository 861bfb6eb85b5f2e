"""Do the seals hold together? Leaves lead to tiles and roots, roots are what was signed, and the key is the right one.

Nothing is read of the rows here, except where a seal is gone: there the rows' own hashes stand in, so that the roots
after it can still be recomputed.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from domain.ledger import rows
from domain.ledger.checkpoint import Checkpoint, NoCheckpoint, VerifierKey
from domain.ledger.findings import Finding, Word
from domain.ledger.leaf import HASH_BYTES, leaf_hash, tag
from domain.ledger.logs import Log
from domain.ledger.read import UNKNOWN
from domain.ledger.tree import EMPTY_ROOT, TILE_BITS, Frontier, Tile

if TYPE_CHECKING:
    import asyncpg

    from domain.postgres.connect import Connection

WINDOW: Final = 5_000
"""Seals are read by where they begin, so many leaves at a time: they may have one leaf each, or thousands."""

_SEALS: Final = """
SELECT since, size, root, leaves, note FROM daysheet.seal
WHERE log = $1 AND since >= $2 AND since < $3 AND size <= $4 ORDER BY since
"""
_TILES: Final = """
SELECT t.level, t.index, t.hashes, t.root FROM unnest($2::int[], $3::bigint[]) wanted(level, index)
JOIN daysheet.tile t ON t.log = $1 AND t.level = wanted.level AND t.index = wanted.index
"""


@dataclass(slots=True)
class SealCheck:
    """`key` is the one that is trusted. `sizes`, in order: what roots are wanted of, for checkpoints kept outside."""

    connection: Connection
    bare: Connection
    log: Log
    key: VerifierKey
    sealed: int
    sizes: Sequence[int]
    advance: Callable[[int], object]
    roots: dict[int, bytes] = field(default_factory=lambda: {0: EMPTY_ROOT})
    found: list[Finding] = field(default_factory=list)
    seals: int = 0
    frontier: Frontier | None = field(default_factory=Frontier)
    """None when it cannot be told any more: seals are gone, and rows with them."""
    broken_at: int | None = None
    """Up to which size the leaves led to the roots; None if they do to the end."""

    async def run(self) -> None:
        good = 0
        async for since, size, root, leaves, note in self._all_seals():
            self.seals += 1
            await self._fill(good, since)
            await self._grow(leaves, size)
            self._check_note(since, size, root, note)
            computed = self.frontier.root() if self.frontier is not None else root
            if self.broken_at is None and computed != root:
                self.broken_at = good
                self._tell("leaves_rewritten", good, size)
            good = size
            self.advance(size)

    async def grow_with(self, leaf_hashes: bytes) -> None:
        """Beyond the last seal, for roots that were wanted of there."""
        await self._grow(leaf_hashes, None)

    async def _all_seals(self) -> AsyncIterator[asyncpg.Record]:
        for since in range(0, self.sealed, WINDOW):
            for seal in await self.connection.fetch(_SEALS, self.log.name, since, since + WINDOW, self.sealed):
                yield seal

    async def _fill(self, good: int, since: int) -> None:
        """Where a seal is gone, take the rows' word for what it held; the next root shows whether it is true."""
        if since == good:
            return
        self._tell("seal_deleted", min(good, since), max(good, since))
        hashes = bytearray()
        mark = tag(self.log)
        async for page in rows.pages(self.bare, self.log, good, since):
            try:
                hashes += b"".join([leaf_hash(mark, row, row[0]) for row in page])
            except (TypeError, struct.error):
                break
        if len(hashes) == HASH_BYTES * (since - good):
            await self._grow(bytes(hashes), since)
        else:
            self.frontier = None

    async def _grow(self, leaves: bytes, size: int | None) -> None:
        if self.frontier is None:
            return
        start = self.frontier.size
        if size is not None and len(leaves) != HASH_BYTES * (size - start):
            self.frontier = None
            self._tell("leaves_rewritten", start, size)
            return
        if size is not None and UNKNOWN in leaves:  # No row has such a hash: it would pass for one that is not known.
            self._tell("leaves_rewritten", start, size)
        end = start + len(leaves) // HASH_BYTES
        tiles: list[Tile] = []
        wanted = self.sizes[bisect_right(self.sizes, start) : bisect_right(self.sizes, end)]
        for stop in (*wanted, end):
            at = self.frontier.size
            tiles += self.frontier.extend(leaves[HASH_BYTES * (at - start) : HASH_BYTES * (stop - start)])
            if stop in wanted:
                self.roots[stop] = self.frontier.root()
        if size is not None:
            await self._check_tiles(tiles)

    async def _check_tiles(self, tiles: Iterable[Tile]) -> None:
        made = {(tile.level, tile.index): tile for tile in tiles}
        if not made:
            return
        levels, indexes = zip(*made, strict=True)
        stored = await self.connection.fetch(_TILES, self.log.name, levels, indexes)
        there = {(level, index): (hashes, root) for level, index, hashes, root in stored}
        for at, tile in made.items():
            if there.get(at) != (tile.hashes, tile.root):
                covers = 1 << TILE_BITS * (tile.level + 1)
                self._tell("tile_rewritten", tile.index * covers + 1, (tile.index + 1) * covers)

    def _check_note(self, since: int, size: int, root: bytes, note: str) -> None:
        try:
            signed = Checkpoint.of(note)
        except NoCheckpoint:
            self._tell("seal_rewritten", since, size)
            return
        if (signed.origin, signed.size, signed.root) != (self.key.name, size, root):
            self._tell("seal_rewritten", since, size)
        if not signed.signed_by(self.key):
            self._tell("forged" if signed.names(self.key) else "other_key", since, size)

    def _tell(self, word: Word, first: int, last: int) -> None:
        before = self.found[-1] if self.found else None
        if before is not None and (before.word, before.last) == (word, first):
            self.found[-1] = replace(before, last=last)
        else:
            self.found.append(Finding(word, self.log.name, first, last))
