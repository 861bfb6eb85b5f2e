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
        found += bytes(here - len(found)) + hashes
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
    if position > at.size:
        raise NotSealed
    index = position - 1
    hashes = await _roots(database, log, [range(index, position), *tree.inclusion(index, at.size)])
    return Inclusion(index, hashes[0], hashes[1:], at)


async def prove_consistency(database: Pool | Connection, log: Log, old: int, new: int) -> Consistency:
    """Between two checkpoints, 0 < old <= new. Raises NotSealed."""
    older, newer = await seal(database, log, old), await seal(database, log, new)
    return Consistency(older, newer, await _roots(database, log, tree.consistency(old, new)))


async def _roots(database: Pool | Connection, log: Log, ranges: Sequence[range]) -> list[bytes]:
    """The root over each of these ranges of sealed leaves, every tile being read once."""
    tiles: dict[tuple[int, int], bytes] = {}

    async def root(node: Node) -> bytes:
        level, deep = divmod(node.level, TILE_BITS)
        first = node.index << deep
        at = (level, first // TILE_HASHES)
        if at not in tiles:
            tiles[at] = await _tile(database, log, *at)
        here = HASH_BYTES * (first % TILE_HASHES)
        return tree.subtree(tiles[at][here : here + (HASH_BYTES << deep)])

    return [tree.root_of([await root(node) for node in tree.nodes(leaves)]) for leaves in ranges]


async def _tile(database: Pool | Connection, log: Log, level: int, index: int) -> bytes:
    """As many of a tile's hashes as there are."""
    hashes: bytes | None = await database.fetchval(_TILE, log.name, level, index)
    if hashes is not None:
        return hashes
    if level == 0:
        return await leaves(database, log, range(index * TILE_HASHES, (index + 1) * TILE_HASHES))
    found: bytes = await database.fetchval(_OPEN, log.name, level, index)
    return found
