"""The tree is RFC 6962's: by its published vectors, by its own example, and beside pymerkle, which is not ours."""

from __future__ import annotations

import hashlib
from functools import cache
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymerkle import InmemoryTree  # type: ignore[import-untyped]
from pymerkle import verify_inclusion as theirs_includes

from domain.ledger import tree
from domain.ledger.leaf import HASH_BYTES
from domain.ledger.tree import TILE_BYTES, TILE_HASHES, Frontier, Tile

# Those of the Certificate Transparency project, which RFC 6962's authors published with it.
INPUTS = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
LEAVES = [hashlib.sha256(b"\0" + bytes.fromhex(given)).digest() for given in INPUTS]
INCLUSIONS = {
    (0, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (5, 8): [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 3): ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
    (1, 5): [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}
CONSISTENCIES = {
    (1, 8): INCLUSIONS[0, 8],
    (6, 8): [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 5): INCLUSIONS[1, 5][1:],
    (8, 8): [],
}
MOST = 700
"""Beyond two tiles of level 0."""


def _hash(leaves: range, all_leaves: list[bytes]) -> bytes:
    """As RFC 6962, 2.1 defines it: nothing kept, nothing clever."""
    if len(leaves) == 1:
        return all_leaves[leaves.start]
    half = 1
    while half * 2 < len(leaves):
        half *= 2
    middle = leaves.start + half
    left, right = range(leaves.start, middle), range(middle, leaves.stop)
    return hashlib.sha256(b"\x01" + _hash(left, all_leaves) + _hash(right, all_leaves)).digest()


def _grown(leaves: list[bytes]) -> Frontier:
    frontier = Frontier()
    frontier.extend(b"".join(leaves))
    return frontier


def _proof(ranges: list[range], leaves: list[bytes]) -> list[bytes]:
    return [_hash(one, leaves) for one in ranges]


@pytest.mark.parametrize("size", range(len(ROOTS)))
def test_roots_are_the_published_ones(size: int) -> None:
    assert _grown(LEAVES[:size]).root().hex() == ROOTS[size]


@pytest.mark.parametrize(("index", "size"), INCLUSIONS)
def test_inclusion_proofs_are_the_published_ones(index: int, size: int) -> None:
    proof = _proof(tree.inclusion(index, size), LEAVES)
    assert [hash_.hex() for hash_ in proof] == INCLUSIONS[index, size]
    assert tree.includes(LEAVES[index], index, size, proof, bytes.fromhex(ROOTS[size]))


@pytest.mark.parametrize(("old", "new"), CONSISTENCIES)
def test_consistency_proofs_are_the_published_ones(old: int, new: int) -> None:
    proof = _proof(tree.consistency(old, new), LEAVES)
    assert [hash_.hex() for hash_ in proof] == CONSISTENCIES[old, new]
    assert tree.goes_on(old, new, bytes.fromhex(ROOTS[old]), bytes.fromhex(ROOTS[new]), proof)


def test_the_rfcs_own_example_of_seven_leaves() -> None:
    """Its letters: a..f and j are leaves, g to i and k, l what is over them."""
    over = {"g": range(2), "h": range(2, 4), "i": range(4, 6), "k": range(4), "l": range(4, 7)}
    leaf = {letter: range(n, n + 1) for n, letter in enumerate("abcdefj")}
    named = leaf | over
    assert tree.inclusion(0, 7) == [named[letter] for letter in "bhl"]
    assert tree.inclusion(3, 7) == [named[letter] for letter in "cgl"]
    assert tree.inclusion(4, 7) == [named[letter] for letter in "fjk"]
    assert tree.inclusion(6, 7) == [named[letter] for letter in "ik"]
    assert tree.consistency(3, 7) == [named[letter] for letter in "cdgl"]
    assert tree.consistency(4, 7) == [named["l"]]
    assert tree.consistency(6, 7) == [named[letter] for letter in "ijk"]


# --- beside an implementation that is not ours ---------------------------------------------------


@cache
def _theirs() -> InmemoryTree:
    return InmemoryTree.init_from_entries([b"%d" % n for n in range(MOST)], algorithm="sha256")


ALL_LEAVES = [hashlib.sha256(b"\0%d" % n).digest() for n in range(MOST)]
sizes = st.integers(1, MOST)


@settings(deadline=None, max_examples=50)
@given(size=sizes, data=st.data())
def test_inclusion_is_proven_as_pymerkle_proves_it(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    root = _theirs().get_root(size)
    assert _grown(ALL_LEAVES[:size]).root() == root
    proof = _proof(tree.inclusion(index, size), ALL_LEAVES)
    theirs = _theirs().prove_inclusion(index + 1, size)
    theirs_includes(ALL_LEAVES[index], root, theirs)
    assert sorted([ALL_LEAVES[index], *proof]) == sorted(map(bytes.fromhex, theirs.serialize()["path"]))
    assert tree.includes(ALL_LEAVES[index], index, size, proof, root)


@settings(deadline=None, max_examples=50)
@given(new=sizes, data=st.data())
def test_consistency_is_proven_between_pymerkles_roots(new: int, data: st.DataObject) -> None:
    """Its own consistency proofs have another form than RFC 6962's; the trees are the same."""
    old = data.draw(st.integers(1, new))
    proof = _proof(tree.consistency(old, new), ALL_LEAVES)
    assert tree.goes_on(old, new, _theirs().get_root(old), _theirs().get_root(new), proof)


@settings(deadline=None, max_examples=100)
@given(new=st.integers(2, 40), data=st.data())
def test_no_proof_holds_with_a_bit_changed_or_a_hash_more_or_less(new: int, data: st.DataObject) -> None:
    old, index = data.draw(st.integers(1, new - 1)), data.draw(st.integers(0, new - 1))
    roots = {size: _grown(ALL_LEAVES[:size]).root() for size in (old, new)}

    def spoilt(hashes: list[bytes]) -> list[bytes]:
        how = data.draw(st.sampled_from(("bit", "more", "less") if hashes else ("more",)))
        nth = data.draw(st.integers(0, max(0, len(hashes) - 1)))
        if how == "more":
            return [*hashes[:nth], bytes(HASH_BYTES), *hashes[nth:]]
        if how == "less":
            return hashes[:nth] + hashes[nth + 1 :]
        return [*hashes[:nth], bytes([hashes[nth][0] ^ 1]) + hashes[nth][1:], *hashes[nth + 1 :]]

    inclusion = _proof(tree.inclusion(index, new), ALL_LEAVES)
    assert not tree.includes(ALL_LEAVES[index], index, new, spoilt(inclusion), roots[new])
    assert not tree.includes(ALL_LEAVES[index - 1], index, new, inclusion, roots[new])
    consistency = _proof(tree.consistency(old, new), ALL_LEAVES)
    assert not tree.goes_on(old, new, roots[old], roots[new], spoilt(consistency))
    assert not tree.goes_on(old, new, roots[new], roots[new], consistency)
    assert not tree.goes_on(old, new, roots[old], roots[old], consistency)


@pytest.mark.parametrize(("index", "size"), [(-1, 1), (1, 1), (0, 0)])
def test_what_is_not_in_a_tree_is_not_proven_to_be(index: int, size: int) -> None:
    assert not tree.includes(LEAVES[0], index, size, [], LEAVES[0])


@pytest.mark.parametrize(("old", "new"), [(0, 1), (2, 1), (0, 0), (-1, 2)])
def test_trees_that_cannot_follow_each_other_are_not_proven_to(old: int, new: int) -> None:
    assert not tree.goes_on(old, new, LEAVES[0], LEAVES[0], [])


# --- growing -------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=40)
@given(cuts=st.lists(st.integers(0, MOST), max_size=6))
def test_a_tree_grows_alike_however_its_leaves_come_in(cuts: list[int]) -> None:
    ends = sorted({0, *cuts})
    frontier, tiles = Frontier(), list[Tile]()
    for start, end in pairwise(ends):
        tiles += frontier.extend(b"".join(ALL_LEAVES[start:end]))
    size = ends[-1]
    assert frontier.size == size
    assert frontier.root() == _grown(ALL_LEAVES[:size]).root()
    assert [(tile.level, tile.index) for tile in tiles] == [(0, n) for n in range(size // TILE_HASHES)]
    for tile in tiles:
        covered = range(tile.index * TILE_HASHES, (tile.index + 1) * TILE_HASHES)
        assert tile.hashes == b"".join(ALL_LEAVES[covered.start : covered.stop])
        assert tile.root == _hash(covered, ALL_LEAVES)


def test_a_tile_of_each_level_holds_the_roots_of_the_level_below() -> None:
    leaf = hashlib.sha256(b"\0").digest()
    tiles = Frontier().extend(leaf * TILE_HASHES**2)
    assert [(tile.level, tile.index) for tile in tiles] == [*((0, n) for n in range(TILE_HASHES)), (1, 0)]
    assert tiles[-1].hashes == b"".join(tile.root for tile in tiles[:-1])
    assert {len(tile.hashes) for tile in tiles} == {TILE_BYTES}


@settings(deadline=None, max_examples=30)
@given(size=st.one_of(st.integers(0, MOST), st.sampled_from((65_535, 65_536, 65_537, 65_536 + 257))))
def test_a_tree_goes_on_from_its_open_tiles_alone(size: int) -> None:
    kept: dict[int, bytes] = {0: b""}
    grown = Frontier()
    leaves = b"".join(ALL_LEAVES) * (size // MOST + 1)
    for tile in grown.extend(leaves[: size * HASH_BYTES]):
        kept[tile.level + 1] = kept.get(tile.level + 1, b"") + tile.root
    kept[0] = leaves[: size * HASH_BYTES]
    counts = tree.open_counts(size)
    resumed = Frontier([kept[level][len(kept[level]) - HASH_BYTES * n :] for level, n in enumerate(counts)])
    assert (resumed.size, resumed.root()) == (size, grown.root())
    more = b"".join(ALL_LEAVES[:300])
    assert resumed.extend(more) == grown.extend(more)
    assert resumed.root() == grown.root()
