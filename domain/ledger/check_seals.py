"""Do the seals hold together? Leaves lead to tiles and roots, roots are what was signed, and the key is the right one.

Nothing is read of the rows here, except where a seal is gone or its leaves are not what was signed. There the rows' own
hashes stand in, and those in the tiles: whichever lead to the signed root are what was sealed. Where none do, it goes
on as soon as the tiles lead to a signed root again, and what lies between is told as not checked.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from domain.ledger import read, rows
from domain.ledger.checkpoint import Checkpoint, NoCheckpoint, VerifierKey
from domain.ledger.findings import WORDS, Finding, Word
from domain.ledger.leaf import HASH_BYTES, leaf_hash, tag
from domain.ledger.logs import Log
from domain.ledger.read import UNKNOWN
from domain.ledger.tree import EMPTY_ROOT, TILE_BITS, TILE_BYTES, TILE_HASHES, Frontier, Tile

if TYPE_CHECKING:
    import asyncpg

    from domain.postgres.connect import Connection

WINDOW: Final = 5_000
"""Seals are read by where they begin, so many leaves at a time: they may have one leaf each, or thousands."""

MOST_RECOVERED: Final = 1_000_000
"""Leaves between two seals that are looked for elsewhere: 32 MB, a few times. Beyond, they are told as not checked."""

_SEALS: Final = """
SELECT since, size, root, leaves, note FROM daysheet.seal
WHERE log = $1 AND since >= $2 AND since < $3 AND size <= $4 ORDER BY since
"""
_NEXT: Final = "SELECT min(since) FROM daysheet.seal WHERE log = $1 AND since >= $2 AND size <= $3"
# One statement: a server may go on sealing, and adds a seal and its tiles at once.
_TILES_BEYOND: Final = """
SELECT level, index FROM daysheet.tile
WHERE log = $1 AND (index + 1)::numeric * 256.0 ^ (level + 1)
    > (SELECT coalesce(max(size), 0) FROM daysheet.seal WHERE log = $1)
"""
_FULL_TILES: Final = """
SELECT index, hashes FROM daysheet.tile WHERE log = $1 AND level = 0 AND index BETWEEN $2 AND $3
"""
_TILES: Final = """
SELECT t.level, t.index, t.hashes, t.root FROM unnest($2::int[], $3::bigint[]) wanted(level, index)
JOIN daysheet.tile t ON t.log = $1 AND t.level = wanted.level AND t.index = wanted.index
"""


@dataclass(slots=True)
class SealCheck:
    """`key` is the one that is trusted; None, if there is none: then no signature is checked.

    `sealed`: how far seals go. `sizes`, in order: what roots are wanted of, for checkpoints kept outside.
    """

    connection: Connection
    bare: Connection
    log: Log
    key: VerifierKey | None
    sealed: int
    sizes: Sequence[int]
    advance: Callable[[int], object]
    roots: dict[int, bytes] = field(default_factory=lambda: {0: EMPTY_ROOT})
    """Recomputed, of the sizes that were wanted."""
    claimed: dict[int, bytes] = field(default_factory=dict)
    """What the seals of these sizes say that their root is."""
    found: list[Finding] = field(default_factory=list)
    seals: int = 0
    _frontier: Frontier | None = field(default_factory=Frontier)
    """None while it cannot be told: seals are gone, and rows with them; or nothing leads to the signed root."""
    _lost_at: int = 0
    _recovered: list[tuple[int, bytes]] = field(default_factory=list)
    """From an index on: the hashes that were sealed there, though no seal says so any more."""

    async def run(self) -> None:
        good = 0
        async for since, size, root, leaves, note in self._all_seals():
            self.seals += 1
            signed = self._check_note(since, size, root, note)
            if self._wanted(size - 1, size):
                self.claimed[size] = signed
            if since != good:
                self._tell("seal_deleted", min(good, since), max(good, since))
            if size > good:
                await self._go_on(good, since, size, leaves or b"", signed)
                good = size
            self.advance(size)
        if self._frontier is None and self._lost_at < good:
            self._tell("not_checked", self._lost_at, good)
        await self._find_tiles_beyond()

    async def grow_with(self, leaf_hashes: bytes) -> None:
        """Beyond the last seal, for roots that were wanted of there."""
        if self._frontier is not None:
            _, roots = self._grow(self._frontier, leaf_hashes)
            self.roots |= roots

    async def leaves(self, wanted: range) -> bytes:
        """The sealed hashes of the leaves at these indexes, as far as there are seals; see read.leaves."""
        found = await read.leaves(self.connection, self.log, wanted)
        for start, hashes in self._recovered:
            here = range(max(start, wanted.start), min(start + len(hashes) // HASH_BYTES, wanted.stop))
            if here:
                at = HASH_BYTES * (here.start - wanted.start)
                part = hashes[HASH_BYTES * (here.start - start) : HASH_BYTES * (here.stop - start)]
                found = found[:at].ljust(at, b"\0") + part + found[at + len(part) :]
        return found

    async def _all_seals(self) -> AsyncIterator[asyncpg.Record]:
        since: int | None = 0
        while since is not None and since < self.sealed:
            seals = await self.connection.fetch(_SEALS, self.log.name, since, since + WINDOW, self.sealed)
            for seal in seals:
                yield seal
            since += WINDOW
            if not seals:
                since = await self.connection.fetchval(_NEXT, self.log.name, since, self.sealed)

    async def _go_on(self, good: int, since: int, size: int, leaves: bytes, signed: bytes) -> None:
        """From one size to the next, by whatever leads to the root that was signed of it."""
        fits = len(leaves) == HASH_BYTES * (size - since)
        if not fits or UNKNOWN in leaves:  # No row has such a hash: it would pass for one that is not known.
            self._tell("leaves_rewritten", good, size)
        if self._frontier is None:
            await self._find_again(size, signed)
            return
        if fits and since == good and await self._leads(leaves, size, signed):
            return
        told = not fits
        if size - good <= MOST_RECOVERED:
            own, tiles = await self._rows_say(good, size), await self._tiles_say(good, size)
            gap = HASH_BYTES * max(0, since - good)
            mine = leaves[HASH_BYTES * max(0, good - since) :] if fits else b""
            before = _either(own[:gap], tiles[:gap])
            for hashes in (
                before + mine,
                _either(tiles[:gap], own[:gap]) + mine,
                _either(own, tiles),
                _either(tiles, own),
            ):
                if await self._leads(hashes, size, signed):
                    self._recovered.append((good, hashes))
                    if fits and not hashes.endswith(mine):
                        self._tell("leaves_rewritten", max(good, since), size)
                    return
            if fits and UNKNOWN not in before:
                self._tell("leaves_rewritten", good, size)
                told = True
        self._frontier, self._lost_at = None, size if told else good

    async def _leads(self, leaves: bytes, size: int, signed: bytes) -> bool:
        """Grow the tree, if that leads to the signed root."""
        assert self._frontier is not None
        if len(leaves) != HASH_BYTES * (size - self._frontier.size):
            return False
        grown = self._frontier.copy()
        tiles, roots = self._grow(grown, leaves)
        if grown.root() != signed:
            return False
        self._frontier = grown
        self.roots |= roots
        await self._check_tiles(tiles)
        return True

    async def _find_again(self, size: int, signed: bytes) -> None:
        """The tree's edge, out of the tiles, if that leads to the signed root."""
        edge = await read.frontier(self.connection, self.log, size)
        if edge.size == size and edge.root() == signed:
            if self._lost_at < size:
                self._tell("not_checked", self._lost_at, size)
            self._frontier = edge
            self.roots[size] = signed

    async def _rows_say(self, good: int, size: int) -> bytes:
        """The hashes of the rows that stand there now; UNKNOWN for those that do not."""
        hashes = bytearray(HASH_BYTES * (size - good))
        mark = tag(self.log)
        async with aclosing(rows.pages(self.bare, self.log, good + 1, size)) as pages:
            async for page in pages:
                for row in page:
                    try:
                        hash_ = leaf_hash(mark, row, row[0])
                    except (TypeError, struct.error):
                        continue
                    at = HASH_BYTES * (row[0] - good - 1)
                    hashes[at : at + HASH_BYTES] = hash_
        return bytes(hashes)

    async def _tiles_say(self, good: int, size: int) -> bytes:
        """The hashes in the full tiles that are over these leaves; UNKNOWN where there is none."""
        first, last = good // TILE_HASHES, (size - 1) // TILE_HASHES
        hashes = bytearray(TILE_BYTES * (last + 1 - first))
        for index, tile in await self.connection.fetch(_FULL_TILES, self.log.name, first, last):
            if tile is not None and len(tile) == TILE_BYTES:
                at = TILE_BYTES * (index - first)
                hashes[at : at + TILE_BYTES] = tile
        begin = HASH_BYTES * (good - first * TILE_HASHES)
        return bytes(hashes[begin : begin + HASH_BYTES * (size - good)])

    def _wanted(self, after: int, up_to: int) -> Sequence[int]:
        return self.sizes[bisect_right(self.sizes, after) : bisect_right(self.sizes, up_to)]

    def _grow(self, frontier: Frontier, leaves: bytes) -> tuple[list[Tile], dict[int, bytes]]:
        """Returns the tiles that became full, and the roots that were wanted."""
        start = frontier.size
        end = start + len(leaves) // HASH_BYTES
        tiles: list[Tile] = []
        roots: dict[int, bytes] = {}
        wanted = self._wanted(start, end)
        for stop in (*wanted, end):
            at = frontier.size
            tiles += frontier.extend(leaves[HASH_BYTES * (at - start) : HASH_BYTES * (stop - start)])
            if stop in wanted:
                roots[stop] = frontier.root()
        return tiles, roots

    async def _check_tiles(self, tiles: Iterable[Tile]) -> None:
        made = {(tile.level, tile.index): tile for tile in tiles}
        if not made:
            return
        levels, indexes = zip(*made, strict=True)
        stored = await self.connection.fetch(_TILES, self.log.name, levels, indexes)
        there = {(level, index): (hashes, root) for level, index, hashes, root in stored}
        for at, tile in made.items():
            if there.get(at) != (tile.hashes, tile.root):
                self._tell("tile_rewritten", *_extent(tile.level, tile.index))

    async def _find_tiles_beyond(self) -> None:
        for level, index in await self.connection.fetch(_TILES_BEYOND, self.log.name):
            self._tell("tile_left_over", *_extent(level, index))

    def _check_note(self, since: int, size: int, root: bytes, note: str | None) -> bytes:
        """Returns the root that was signed; what the seal says it is, where nothing was."""
        try:
            signed = Checkpoint.of(note or "")
        except NoCheckpoint:
            self._tell("seal_rewritten", since, size)
            return root
        ours = self.key is None or signed.origin == self.key.name
        if not ours or (signed.size, signed.root) != (size, root):
            self._tell("seal_rewritten", since, size)
        if self.key is not None and not signed.signed_by(self.key):
            self._tell("forged" if signed.names(self.key) else "other_key", since, size)
            return root
        return signed.root if ours and signed.size == size else root

    def _tell(self, word: Word, first: int, last: int) -> None:
        """Seals in a row as one, also where several things are wrong with each."""
        for at in range(len(self.found) - 1, max(-1, len(self.found) - 1 - len(WORDS)), -1):
            before = self.found[at]
            if (before.word, before.last) == (word, first):
                self.found[at] = replace(before, last=last)
                return
        self.found.append(Finding(word, self.log.name, first, last))


def _extent(level: int, index: int) -> tuple[int, int]:
    """The positions that a tile is over."""
    covers = 1 << TILE_BITS * (level + 1)
    return index * covers + 1, (index + 1) * covers


def _either(ones: bytes, others: bytes) -> bytes:
    """Hash by hash: the other one where one is UNKNOWN."""
    if UNKNOWN not in ones:
        return ones
    pairs = ((ones[at : at + HASH_BYTES], others[at : at + HASH_BYTES]) for at in range(0, len(ones), HASH_BYTES))
    return b"".join([other if one == UNKNOWN else one for one, other in pairs])
