"""The Merkle tree of RFC 6962: roots, proofs and their verification, and tiles as C2SP tlog-tiles counts them.

A tile holds 256 hashes of one tile level, and tile level L holds the roots of complete subtrees of 256**L leaves: level
0 the leaf hashes, level 1 the roots of level 0's tiles. A range of leaves is a Python range; indexes count from 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from domain.ledger.leaf import HASH_BYTES

TILE_BITS: Final = 8
TILE_HASHES: Final = 1 << TILE_BITS
TILE_BYTES: Final = TILE_HASHES * HASH_BYTES
EMPTY_ROOT: Final = sha256(b"").digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()


def root_of(subtrees: Sequence[bytes]) -> bytes:
    """The root over complete subtrees of falling size, left to right."""
    if not subtrees:
        return EMPTY_ROOT
    root = subtrees[-1]
    for left in reversed(subtrees[:-1]):
        root = node_hash(left, root)
    return root


@dataclass(frozen=True, slots=True)
class Tile:
    """A full one. `root` is its hash on the tile level above."""

    level: int
    index: int
    hashes: bytes
    root: bytes


class Frontier:
    """A tree that grows: all of it that is still needed to go on."""

    def __init__(self, open_hashes: Sequence[bytes] = ()) -> None:
        """`open_hashes`: by tile level, what stands in the tile that is not full yet; see `open_counts`."""
        self._open = [bytearray(hashes) for hashes in open_hashes] or [bytearray()]
        self.size = sum(len(hashes) // HASH_BYTES << TILE_BITS * level for level, hashes in enumerate(self._open))
        self._subtrees = [node for hashes in reversed(self._open) for node in _complete_subtrees(bytes(hashes))]

    def extend(self, leaf_hashes: bytes) -> list[Tile]:
        """Add leaves. Returns the tiles that they fill, of all levels, in the order in which they become full."""
        full: list[Tile] = []
        at = 0
        while at < len(leaf_hashes):
            if self._open[0] or len(leaf_hashes) < at + TILE_BYTES:
                self._open[0] += leaf_hashes[at : at + HASH_BYTES]
                self._add(leaf_hashes[at : at + HASH_BYTES], 0, full)
                at += HASH_BYTES
            else:  # A whole tile at once takes a third of the time.
                hashes = leaf_hashes[at : at + TILE_BYTES]
                full.append(Tile(0, self.size >> TILE_BITS, hashes, subtree(hashes)))
                self._rise(full[-1])
                self._add(full[-1].root, 1, full)
                at += TILE_BYTES
        return full

    def root(self) -> bytes:
        return root_of(self._subtrees)

    def copy(self) -> Frontier:
        """To grow by leaves that may turn out not to be right."""
        other = Frontier()
        other._open = [bytearray(hashes) for hashes in self._open]
        other._subtrees, other.size = list(self._subtrees), self.size
        return other

    def _add(self, node: bytes, tile_level: int, full: list[Tile]) -> None:
        subtrees, level = self._subtrees, TILE_BITS * tile_level
        complete = self.size >> level
        while complete & 1:
            node = sha256(b"\x01" + subtrees.pop() + node).digest()
            complete >>= 1
            level += 1
            if level % TILE_BITS == 0:
                below = level // TILE_BITS - 1
                full.append(Tile(below, complete, bytes(self._open[below]), node))
                self._open[below].clear()
                self._rise(full[-1])
        subtrees.append(node)
        self.size += 1 << TILE_BITS * tile_level

    def _rise(self, tile: Tile) -> None:
        """A tile's root is a hash of the level above."""
        if tile.level + 1 == len(self._open):
            self._open.append(bytearray())
        self._open[tile.level + 1] += tile.root


def open_counts(size: int) -> list[int]:
    """How many hashes stand in each level's tile that is not full, in a tree of that size."""
    counts = [size % TILE_HASHES]
    while size := size >> TILE_BITS:
        counts.append(size % TILE_HASHES)
    return counts


def _complete_subtrees(hashes: bytes) -> list[bytes]:
    """The roots of the complete subtrees over some hashes, left to right."""
    number = len(hashes) // HASH_BYTES
    return [subtree(hashes[HASH_BYTES * n.start : HASH_BYTES * n.stop]) for n in _complete(range(number))]


def subtree(hashes: bytes) -> bytes:
    """The root over neighbouring hashes, a power of two of them."""
    pair = 2 * HASH_BYTES
    while len(hashes) > HASH_BYTES:
        hashes = b"".join([sha256(b"\x01" + hashes[n : n + pair]).digest() for n in range(0, len(hashes), pair)])
    return hashes


# --- proofs --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Node:
    """The root of the complete subtree over the 2**level leaves from index * 2**level on."""

    level: int
    index: int


def inclusion(index: int, size: int) -> list[range]:
    """Those ranges of leaves whose roots prove that the leaf at `index` is in the tree, from the leaf up."""
    leaves, proof = range(size), []
    while len(leaves) > 1:
        left, right = _halves(leaves)
        mine, other = (left, right) if index in left else (right, left)
        proof.append(other)
        leaves = mine
    return proof[::-1]


def consistency(old: int, new: int) -> list[range]:
    """Those ranges whose roots prove that the tree of `new` leaves goes on from that of `old`; 0 < old <= new."""
    leaves, proof = range(new), []
    while leaves.stop != old:
        left, right = _halves(leaves)
        mine, other = (left, right) if old <= left.stop else (right, left)
        proof.append(other)
        leaves = mine
    if leaves.start:  # else it is the old tree itself, whose root the asker has
        proof.append(leaves)
    return proof[::-1]


def nodes(leaves: range) -> list[Node]:
    """The complete subtrees that make up a range that a proof names, left to right."""
    return [Node(len(part).bit_length() - 1, part.start // len(part)) for part in _complete(leaves)]


def _halves(leaves: range) -> tuple[range, range]:
    """As RFC 6962 parts a tree: to the left the largest power of two that leaves something to the right."""
    middle = leaves.start + (1 << (len(leaves) - 1).bit_length() - 1)
    return range(leaves.start, middle), range(middle, leaves.stop)


def _complete(leaves: range) -> Iterator[range]:
    first = leaves.start
    while first < leaves.stop:
        following = first + (1 << (leaves.stop - first).bit_length() - 1)
        yield range(first, following)
        first = following


def includes(leaf_hash: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Whether a proof shows that a leaf is in the tree of that root (RFC 9162, 2.1.3.2)."""
    if not 0 <= index < size:
        return False
    node, here, last = leaf_hash, index, size - 1
    for sibling in proof:
        if last == 0:
            return False
        if here & 1 or here == last:
            node = node_hash(sibling, node)
            while not here & 1 and here:
                here, last = here >> 1, last >> 1
        else:
            node = node_hash(node, sibling)
        here, last = here >> 1, last >> 1
    return last == 0 and node == root


def goes_on(old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether a proof shows that the newer tree begins with all of the older one (RFC 9162, 2.1.4.2)."""
    if not 0 < old <= new:
        return False
    if old == new:
        return not proof and old_root == new_root
    path = list(proof) if old & (old - 1) else [old_root, *proof]
    if not path:
        return False
    here, last = old - 1, new - 1
    while here & 1:
        here, last = here >> 1, last >> 1
    ours = theirs = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if here & 1 or here == last:
            ours, theirs = node_hash(sibling, ours), node_hash(sibling, theirs)
            while not here & 1 and here:
                here, last = here >> 1, last >> 1
        else:
            theirs = node_hash(theirs, sibling)
        here, last = here >> 1, last >> 1
    return last == 0 and ours == old_root and theirs == new_root
