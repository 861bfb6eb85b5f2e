"""Who was refused, counted: per actor, address and minute. Whoever knocks a million times makes no million records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from typing import Final

from domain.audit.codec import Viewer
from domain.audit.looks import AccessDenied

COUNTED_BY_NAME: Final = 1_000
"""So many different actors and addresses in one minute; whoever comes after them is counted together."""
TOGETHER: Final = Viewer(actor="others", role="unknown")


class Denials:
    """Times come in as data."""

    def __init__(self) -> None:
        self._minute: datetime | None = None
        self._counts: Counter[Viewer] = Counter()

    def count(self, viewer: Viewer, at: datetime) -> list[tuple[Viewer, AccessDenied]]:
        """Returns what is to be recorded of the minute before, if this is the first refusal of another."""
        over = list(self.over(at))
        self._minute = _minute_of(at)
        known = Viewer(actor=viewer.actor, role=viewer.role, address=viewer.address)
        self._counts[known if known in self._counts or len(self._counts) < COUNTED_BY_NAME else TOGETHER] += 1
        return over

    def over(self, now: datetime) -> Iterator[tuple[Viewer, AccessDenied]]:
        """What is to be recorded of a minute that is over."""
        if self._minute is not None and self._minute != _minute_of(now):
            yield from self.all()

    def all(self) -> Iterator[tuple[Viewer, AccessDenied]]:
        """What is to be recorded now, whether or not the minute is over."""
        minute, counts = self._minute, self._counts
        self._minute, self._counts = None, Counter()
        if minute is not None:
            for viewer, count in counts.items():
                yield viewer, AccessDenied(minute=minute, count=count, together=viewer is TOGETHER)


def _minute_of(at: datetime) -> datetime:
    return at.replace(second=0, microsecond=0)
