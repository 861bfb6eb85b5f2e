"""Do the rows still say what was sealed? And if not: what was done to them, and where.

Every row is hashed and compared with the sealed hash at its place, page by page. Only where they differ is a row looked
at by itself: its leaf, were it at another place, may be one that was sealed there. So a row that moved is told from one
that was changed; many that moved alike follow a row that went, or one that came; and who fits nowhere was altered, if
what it replaced is nowhere either, and else inserted.
"""

from __future__ import annotations

import struct
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

from domain.ledger.findings import Finding
from domain.ledger.leaf import HASH_BYTES, leaf_hash, tag
from domain.ledger.logs import Log
from domain.ledger.read import UNKNOWN

if TYPE_CHECKING:
    import asyncpg

AROUND: Final = 64
"""How many places to either side a row that moved is looked for, one by one."""
SEARCHES: Final = 1_000
"""Rows that fit nowhere and are looked for, each. What was altered beyond them is told without a closer look."""
PAIRS: Final = 250_000
"""Of rows and places that are tried on each other in the end."""

_POSITION: Final = itemgetter(0)
_RECORDED_AT: Final = itemgetter(1)

Leaves = Callable[[range], Awaitable[bytes]]
"""The sealed hashes of the leaves at these indexes."""
SealedAt = Callable[[int], Awaitable[bytes]]
"""The sealed hash of the row at a position; UNKNOWN where a seal is gone, nothing beyond the last seal."""


@dataclass(frozen=True, slots=True)
class _Stray:
    """A row that does not fit where it stands. `place`: the sealed position that it stands for."""

    row: asyncpg.Record
    place: int
    backdated: bool

    @property
    def position(self) -> int:
        return int(self.row[0])


class RowCheck:
    """Takes a log's rows in order, then says what is wrong with them. `sealed`: how many are sealed."""

    def __init__(self, log: Log, sealed: int, head: int, leaves: Leaves, beyond: Callable[[bytes], object]) -> None:
        """`beyond` is told the hashes of rows that are not sealed yet, in order."""
        self._log, self._sealed, self._leaves, self._beyond = log, sealed, leaves, beyond
        self._tag = tag(log)
        self._offsets = [offset for near in range(1, AROUND + 1) for offset in (near, -near)]
        if sealed > head and sealed - head > AROUND:
            self._offsets.append(sealed - head)  # as far as all moved up, if so many went
        self._shift, self._run_begins = 0, 0
        self._candidate: int | None = None
        self._previous = 0
        self._latest = -(2**63)
        self._due = 1  # the sealed position that comes next
        self._owed: list[range] = []
        self._strays: list[_Stray] = []
        self._moved: list[tuple[_Stray, int]] = []
        self._searches = SEARCHES
        self._found: list[Finding] = []

    async def take(self, rows: Sequence[asyncpg.Record]) -> None:
        """A page, in order of position."""
        number = len(rows)
        if rows[-1][0] + self._shift > self._sealed:
            number = sum(1 for row in rows if row[0] + self._shift <= self._sealed)
        if number and not await self._is_whole(rows[:number]):
            await self._look_closely(rows)
        else:
            for row in rows[number:]:
                self._take_unsealed(row)

    async def _is_whole(self, rows: Sequence[asyncpg.Record]) -> bool:
        """The quick way: every row where it belongs, and what was sealed."""
        first, last = rows[0][0], rows[-1][0]
        if first != self._previous + 1 or last != self._previous + len(rows):
            return False
        if first + self._shift != self._due or self._candidate is not None:
            return False
        place, tag = self._shift, self._tag
        try:
            hashes = b"".join([leaf_hash(tag, row, row[0] + place) for row in rows])
        except (TypeError, struct.error):
            return False
        if hashes != await self._leaves(range(first + place - 1, last + place)):
            return False
        times = [self._latest, *map(_RECORDED_AT, rows)]
        if sorted(times) != times:
            return False
        self._previous, self._latest, self._due = last, times[-1], last + place + 1
        return True

    async def _look_closely(self, rows: Sequence[asyncpg.Record]) -> None:
        near = range(
            max(0, rows[0][0] - 1 - AROUND + min(0, self._shift)),
            min(self._sealed, rows[0][0] + len(rows) + AROUND + max(0, self._shift)),
        )
        hashes = await self._leaves(near)

        async def sealed_at(position: int) -> bytes:
            if position - 1 in near:
                here = HASH_BYTES * (position - 1 - near.start)
                return hashes[here : here + HASH_BYTES]
            return await self._leaves(range(position - 1, position)) if 0 < position <= self._sealed else b""

        for row in rows:
            await self._place(row, sealed_at)
            self._previous = max(self._previous, row[0])

    async def _place(self, row: asyncpg.Record, sealed_at: SealedAt) -> None:
        position, candidate = row[0], self._candidate
        stray = _Stray(row, position + self._shift, self._is_backdated(row))
        sealed = await sealed_at(stray.place)
        self._candidate = None
        if stray.place >= self._due and sealed and sealed in (UNKNOWN, self._hash(row, stray.place)):
            self._claim(stray.place)
            if stray.backdated:  # It was sealed like this: it came by another way than the append.
                self._found.append(self._finding("backdated", position))
            self._see_time(row)
        elif position <= self._previous:  # Only without the primary key can two have one.
            self._found.append(self._finding("inserted", position))
        elif candidate is not None and await sealed_at(position + candidate) == self._hash(row, position + candidate):
            self._follow(position, candidate)
        elif (offset := await self._search(row, sealed_at)) is not None:
            self._moved.append((stray, position + offset))
            self._candidate = offset
        elif not sealed:
            self._take_unsealed(row)
        elif self._searches:
            self._searches -= 1
            self._strays.append(stray)
        else:
            self._claim(stray.place)
            self._found.append(self._finding("backdated" if stray.backdated else "altered", position))

    async def _search(self, row: asyncpg.Record, sealed_at: SealedAt) -> int | None:
        """How far from here this row was sealed."""
        if self._searches and self._due <= self._sealed:
            for offset in self._offsets:
                position = row[0] + offset
                if 0 < position <= self._sealed and await sealed_at(position) == self._hash(row, position):
                    return offset
        return None

    def _hash(self, row: Iterable[Any], position: int) -> bytes:
        """Nothing, for a row that holds NULL where no row of ours does."""
        try:
            return leaf_hash(self._tag, row, position)
        except (TypeError, struct.error):
            return b""

    def _follow(self, position: int, shift: int) -> None:
        """Two in a row moved alike: so did all that come, until one does not."""
        first, origin = self._moved.pop()
        self._end_run(first.position - 1)
        self._shift, self._run_begins = shift, first.position
        self._claim(origin)
        self._claim(position + shift)

    def _end_run(self, last: int) -> None:
        if self._shift:
            self._found.append(self._finding("renumbered", self._run_begins, last, by=self._shift))

    def _claim(self, place: int) -> None:
        """A sealed position is accounted for. Those passed over are owed."""
        if place > self._due:
            self._owed.append(range(self._due, place))
        self._due = max(self._due, place + 1)

    def _take_unsealed(self, row: asyncpg.Record) -> None:
        position, expected = row[0], max(self._previous, self._sealed - self._shift) + 1
        if position > expected:
            self._found.append(self._finding("deleted", expected, position - 1))
        elif position < expected:
            self._found.append(self._finding("inserted", position))
        if self._is_backdated(row):
            self._found.append(self._finding("backdated", position))
        hash_ = self._hash(row, position)
        if not hash_:
            self._found.append(self._finding("altered", position))
        self._see_time(row)
        self._previous = max(self._previous, position)
        self._beyond(hash_ or UNKNOWN)

    def _is_backdated(self, row: asyncpg.Record) -> bool:
        return row[1] is not None and row[1] < self._latest

    def _see_time(self, row: asyncpg.Record) -> None:
        if row[1] is not None:
            self._latest = max(self._latest, row[1])

    # --- what it comes to ------------------------------------------------------------------------

    async def findings(self) -> list[Finding]:
        """To be asked once, after the last row."""
        self._end_run(self._previous)
        if self._due <= self._sealed:
            self._owed.append(range(self._due, self._sealed + 1))
        origins = {stray.position: (stray, origin) for stray, origin in self._moved if self._owes(origin)}
        origins |= await self._try_on_each_other()
        settled = {origin for _, origin in origins.values()}
        for position, (_, origin) in sorted(origins.items()):
            back = origins.get(origin)
            if back is None or back[1] != position:
                self._found.append(self._finding("renumbered", position, by=origin - position))
            elif position < origin:
                self._found.append(self._finding("swapped", position, origin))
        for stray in [*self._strays, *(moved for moved, _ in self._moved)]:
            if stray.position in origins:
                continue
            if self._owes(stray.place) and stray.place not in settled:
                settled.add(stray.place)
                self._found.append(self._finding("backdated" if stray.backdated else "altered", stray.position))
            else:
                self._found.append(self._finding("inserted", stray.position))
        for gone in _without(self._owed, settled):
            at_the_end = gone.stop > self._sealed and gone.start > self._previous + self._shift
            self._found.append(self._finding("cut" if at_the_end else "deleted", gone.start, gone.stop - 1))
        return self._found

    async def _try_on_each_other(self) -> dict[int, tuple[_Stray, int]]:
        """Strays that were sealed at a place that is owed, however far off; also with the time that stands there."""
        places = sum(map(len, self._owed))
        if not self._strays or places * len(self._strays) > PAIRS:
            return {}
        there = {stray.position: stray.row for stray in self._strays}
        found: dict[int, tuple[_Stray, int]] = {}
        for owed in self._owed:
            hashes = await self._leaves(range(owed.start - 1, owed.stop - 1))
            for place in owed:
                sealed = hashes[HASH_BYTES * (place - owed.start) :][:HASH_BYTES]
                for stray in self._strays:
                    row = stray.row
                    dressed = (row[0], there[place][1], *row[2:]) if place in there else row
                    if place != stray.place and sealed in (self._hash(row, place), self._hash(dressed, place)):
                        found[stray.position] = (stray, place)
        return found

    def _owes(self, place: int) -> bool:
        return any(place in owed for owed in self._owed)

    def _finding(self, word: str, first: int, last: int | None = None, by: int = 0) -> Finding:
        return Finding(word, self._log.name, first, first if last is None else last, by)  # type: ignore[arg-type]


def _without(ranges: Iterable[range], taken: Iterable[int]) -> Iterable[range]:
    holes = sorted(taken)
    for one in ranges:
        first = one.start
        for hole in holes:
            if first <= hole < one.stop:
                if first < hole:
                    yield range(first, hole)
                first = hole + 1
        if first < one.stop:
            yield range(first, one.stop)
