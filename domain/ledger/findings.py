"""What can be wrong with a record: a stable word for each, its place, and a sentence. docs/ledger.md says more."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final, Literal, get_args

Word = Literal[
    "altered",
    "backdated",
    "deleted",
    "inserted",
    "swapped",
    "renumbered",
    "cut",
    "leaves_rewritten",
    "tile_rewritten",
    "seal_rewritten",
    "seal_deleted",
    "seals_cut",
    "other_key",
    "forged",
    "history_rewritten",
]
WORDS: Final[tuple[Word, ...]] = get_args(Word)

_SENTENCES: Final[dict[Word, str]] = {
    "altered": "{rows}: not what was sealed",
    "backdated": "{rows}: says it was recorded before what stands in front of it",
    "deleted": "{rows}: gone",
    "inserted": "{rows}: stands where it was never appended",
    "swapped": "{log} {first} and {last}: stand in each other's place",
    "renumbered": "{rows}: moved here from {by:+} places away",
    "cut": "{rows}: the end of the record was cut off",
    "leaves_rewritten": "{sizes}: the stored leaves do not lead to the signed root",
    "tile_rewritten": "a tile over {rows}: not what the leaves make it",
    "seal_rewritten": "{sizes}: the seal does not say what its own checkpoint says",
    "seal_deleted": "{sizes}: a seal is gone",
    "seals_cut": "{sizes}: seals were cut off, though the rows are there",
    "other_key": "{sizes}: signed with another key than the pinned one",
    "forged": "{sizes}: a signature that is none",
    "history_rewritten": "{sizes}: the record holds together, and is not the one that was signed then",
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


def runs(found: Iterable[Finding]) -> Iterator[Finding]:
    """The same, in order of place, and neighbours of one word as one."""
    waiting: Finding | None = None
    for one in sorted(found, key=lambda it: (it.log, it.first, it.last, it.word)):
        if waiting is not None and _same_but_place(waiting, one) and one.first <= waiting.last + 1:
            waiting = replace(waiting, last=max(waiting.last, one.last))
            continue
        if waiting is not None:
            yield waiting
        waiting = one
    if waiting is not None:
        yield waiting


def _same_but_place(one: Finding, other: Finding) -> bool:
    same = replace(one, first=0, last=0) == replace(other, first=0, last=0)
    return same and one.word not in _IN_PAIRS
