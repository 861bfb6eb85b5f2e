"""Reading the ledger: seals, the frontier to go on from, proofs out of tiles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from domain.ledger import tree
from domain.ledger.checkpoint import VerifierKey
from domain.ledger.leaf import HASH_BYTES
from domain.ledger.logs import Log
from domain.ledger.tree import TILE_BITS, TILE_HASHES, Frontier, Node

if TYPE_CHECKING:
    from domain.postgres.connect import Connection, Pool

_NEWEST: Final = """
SELECT since, size, root, note, sealed_at FROM daysheet.seal WHERE log = $1 ORDER BY size DESC LIMIT 1
"""
_SEAL: Final = "SELECT since, size, root, note, sealed_at FROM daysheet.seal WHERE log = $1 AND size = $2"
_KEY: Final = "SELECT store_id, public_key FROM daysheet.store, daysheet.ledger_key"
_TILE: Final = "SELECT hashes FROM daysheet.tile WHERE log = $1 AND level = $2 AND index = $3"
# A tile that is not full yet is not stored: on level 0 its hashes stand in the seals, above as roots of full tiles.
_OPEN: Final = """
SELECT coalesce(string_agg(root, ''::bytea ORDER BY index), '') FROM daysheet.tile
WHERE log = $1 AND level = $2 - 1 AND index >= $3::bigint * 256 AND index < ($3 + 1) * 256
"""
_LEAVES: Final = """
SELECT since, substr(leaves, 1 + 32 * greatest($2 - since, 0)::int, 32 * ($3 - greatest(since, $2))::int)
FROM daysheet.seal
WHERE log = $1 AND size > $2 AND since < $3
  AND since >= coalesce((SELECT max(since) FROM daysheet.seal WHERE log = $1 AND since <= $2), 0)
ORDER BY since
"""

TILES_KEPT: Final = 1_000
"""While many rows are proven: 8 kB each, and as much again for the hashes within."""
UNKNOWN: Final = bytes(HASH_BYTES)
"""Stands for the hash of a leaf that no seal holds, though seals go beyond it."""


class NotSealed(Exception):
    """There is no checkpoint of that size, or none yet."""


@dataclass(frozen=True, slots=True)
class Seal:
    """`note`: its checkpoint, signed. It seals the leaves at indexes `since` to `size` - 1."""

    since: int
    size: int
    root: bytes
    note: str
    sealed_at: datetime


@dataclass(frozen=True, slots=True)
class Inclusion:
    """Proves that `leaf_hash` is the leaf at `index` in the tree that `seal` signed."""

    index: int
    leaf_hash: bytes
    hashes: list[bytes]
    seal: Seal


@dataclass(frozen=True, slots=True)
class Consistency:
    """Proves that the tree that `new` signed begins with all of the one that `old` signed."""

    old: Seal
    new: Seal
    hashes: list[bytes]


async def verifier_key(database: Pool | Connection, log: Log) -> VerifierKey | None:
    """What a log's checkpoints are checked with; None for a store that no key is pinned to."""
    row = await database.fetchrow(_KEY)
    return None if row is None else VerifierKey(log.origin(row["store_id"]), row["public_key"])


async def newest(database: Pool | Connection, log: Log) -> Seal | None:
    row = await database.fetchrow(_NEWEST, log.name)
    return None if row is None else Seal(*row)


async def seal(database: Pool | Connection, log: Log, size: int | None) -> Seal:
    """The seal of that size, or the newest. Raises NotSealed."""
    row = await (database.fetchrow(_NEWEST, log.name) if size is None else database.fetchrow(_SEAL, log.name, size))
    if row is None:
        raise NotSealed
    return Seal(*row)


async def leaves(database: Pool | Connection, log: Log, wanted: range) -> bytes:
    """The sealed hashes of the leaves at these indexes, as far as there are seals; UNKNOWN where one is missing."""
    found = bytearray()
    for since, hashes in await database.fetch(_LEAVES, log.name, wanted.start, wanted.stop):
        here = HASH_BYTES * (max(since, wanted.start) - wanted.start)
        del found[here:]  # Two seals of ours never overlap.
        found += bytes(here - len(found)) + (hashes or b"")  # NULL is an attacker's
    return bytes(found[: HASH_BYTES * len(wanted)])


async def frontier(database: Pool | Connection, log: Log, size: int) -> Frontier:
    """The tree as of the newest seal, of that size, out of tiles and seals."""
    counts = tree.open_counts(size)
    hashes = [
        (await _tile(database, log, level, size >> TILE_BITS * (level + 1)))[: HASH_BYTES * count]
        for level, count in enumerate(counts)
    ]
    return Frontier(hashes)


async def prove_inclusion(database: Pool | Connection, log: Log, position: int, size: int | None = None) -> Inclusion:
    """Of the row at a position, in the tree of a checkpoint of that size, or of the newest. Raises NotSealed."""
    at = await seal(database, log, size)
    return await Proofs(database, log, at).inclusion(position)


async def prove_consistency(database: Pool | Connection, log: Log, old: int, new: int) -> Consistency:
    """Between two checkpoints, 0 < old <= new. Raises NotSealed."""
    older, newer = await seal(database, log, old), await seal(database, log, new)
    hashes = await Proofs(database, log, newer).roots(tree.consistency(old, new))
    return Consistency(older, newer, hashes)


class Proofs:
    """Of many rows in the tree of one seal. What was read and hashed for one is there for the next."""

    def __init__(self, database: Pool | Connection, log: Log, at: Seal) -> None:
        self.seal = at
        self._database, self._log = database, log
        self._tiles: dict[tuple[int, int], bytes] = {}
        self._hashes: dict[Node, bytes] = {}

    async def inclusion(self, position: int) -> Inclusion:
        """Raises NotSealed for a row beyond the seal."""
        if position > self.seal.size:
            raise NotSealed
        index = position - 1
        hashes = await self.roots([range(index, position), *tree.inclusion(index, self.seal.size)])
        return Inclusion(index, hashes[0], hashes[1:], self.seal)

    async def roots(self, ranges: Sequence[range]) -> list[bytes]:
        """The root over each of these ranges of sealed leaves."""
        if len(self._tiles) > TILES_KEPT:
            self._tiles.clear()
            self._hashes.clear()
        return [tree.root_of([await self._root(node) for node in tree.nodes(leaves)]) for leaves in ranges]

    async def _root(self, node: Node) -> bytes:
        level, deep = divmod(node.level, TILE_BITS)
        at = (level, (node.index << deep) // TILE_HASHES)
        if at not in self._tiles:
            self._tiles[at] = await _tile(self._database, self._log, *at)
        return self._hash(node, self._tiles[at])

    def _hash(self, node: Node, tile: bytes) -> bytes:
        if node.level % TILE_BITS == 0:
            here = HASH_BYTES * (node.index % TILE_HASHES)
            return tile[here : here + HASH_BYTES]
        known = self._hashes.get(node)
        if known is None:
            left, right = (self._hash(Node(node.level - 1, 2 * node.index + side), tile) for side in (0, 1))
            known = self._hashes[node] = tree.node_hash(left, right)
        return known


async def _tile(database: Pool | Connection, log: Log, level: int, index: int) -> bytes:
    """As many of a tile's hashes as there are."""
    hashes: bytes | None = await database.fetchval(_TILE, log.name, level, index)
    if hashes is not None:
        return hashes
    if level == 0:
        return await leaves(database, log, range(index * TILE_HASHES, (index + 1) * TILE_HASHES))
    found: bytes = await database.fetchval(_OPEN, log.name, level, index)
    return found
