"""What can be wrong with a record: a stable word for each, its place, and a sentence. docs/ledger.md says more."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final, Literal, get_args

Word = Literal[
    "altered",
    "backdated",
    "deleted",
    "inserted",
    "swapped",
    "renumbered",
    "unplaced",
    "cut",
    "leaves_rewritten",
    "tile_rewritten",
    "tile_left_over",
    "seal_rewritten",
    "seal_deleted",
    "seals_cut",
    "other_key",
    "forged",
    "history_rewritten",
    "not_checked",
    "key_gone",
    "store_rewritten",
]
WORDS: Final[tuple[Word, ...]] = get_args(Word)

_SENTENCES: Final[dict[Word, str]] = {
    "altered": "{rows}: not what was sealed",
    "backdated": "{rows}: says it was recorded before what stands in front of it",
    "deleted": "{rows}: gone",
    "inserted": "{rows}: stands where it was never appended",
    "swapped": "{log} {first} and {last}: stand in each other's place",
    "renumbered": "{rows}: moved here from {by:+} places away",
    "unplaced": "{log}: rows without a position, {last} of them",
    "cut": "{rows}: the end of the record was cut off",
    "leaves_rewritten": "{sizes}: the stored leaves do not lead to the signed root",
    "tile_rewritten": "a tile over {rows}: not what the leaves make it",
    "tile_left_over": "a tile over {rows}: no seal goes so far: the end was cut off, with its seals",
    "seal_rewritten": "{sizes}: the seal does not say what its own checkpoint says",
    "seal_deleted": "{sizes}: a seal is gone",
    "seals_cut": "{sizes}: seals were cut off, though the rows are there",
    "other_key": "{sizes}: signed with another key than the pinned one",
    "forged": "{sizes}: a signature that is none",
    "history_rewritten": "{sizes}: the record holds together, and is not the one that was signed then",
    "not_checked": "{sizes}: no root can be computed there, as what it is made of is gone or rewritten",
    "key_gone": "{log}: the pinned key is gone, though the log was sealed with it",
    "store_rewritten": "the store's own row is gone, or names another store than the one that was sealed",
}
_IN_PAIRS: Final = frozenset({"swapped", "leaves_rewritten", "history_rewritten"})


@dataclass(frozen=True, slots=True)
class Finding:
    """`first` and `last`: positions of rows, or sizes of checkpoints between which it is. `by`: how far rows moved.

    `source`: the checkpoint file, or the key, that it is about.
    """

    word: Word
    log: str
    first: int
    last: int
    by: int = 0
    source: str | None = None

    def __str__(self) -> str:
        first, last = self.first, self.last
        rows = f"{self.log} {first}" if first == last else f"{self.log} {first} to {last}"
        sizes = f"checkpoint of {last}" if first == last else f"between the checkpoints of {first} and {last}"
        sizes = f"{self.log}, {self.source or sizes}"
        said = _SENTENCES[self.word].format(rows=rows, sizes=sizes, log=self.log, first=first, last=last, by=self.by)
        return f"{self.word}: {said}"


def runs(found: Iterable[Finding]) -> list[Finding]:
    """The same, in order of place, and neighbours of one word as one."""
    of_one_kind: dict[Finding, list[Finding]] = {}
    for one in sorted(found, key=_place):
        runs = of_one_kind.setdefault(replace(one, first=0, last=0), [])
        if runs and one.first <= runs[-1].last + 1 and one.word not in _IN_PAIRS:
            runs[-1] = replace(runs[-1], last=max(runs[-1].last, one.last))
        else:
            runs.append(one)
    return sorted((run for runs in of_one_kind.values() for run in runs), key=_place)


def _place(one: Finding) -> tuple[str, int, int, str]:
    return one.log, one.first, one.last, one.word
