"""Why somebody stands where they stand: what a patient may ask at the counter, in words and in data."""

from __future__ import annotations

from domain.rules.line import RANK
from projections.board import Clinic, Entry
from projections.shapes import Why


def why(clinic: Clinic, entry: Entry) -> Why | None:
    """Of an entry that waits, with the line up to date (see DayBoard.find); None for one that does not."""
    if not entry.position:
        return None
    ahead = [other for other in clinic.entries.values() if 0 < other.position < entry.position]
    rank = RANK[entry.state.priority]
    more_urgent = sum(RANK[other.state.priority] < rank for other in ahead)
    sooner = len(ahead) - more_urgent
    return Why(
        text=_text(clinic, entry, more_urgent, sooner),
        order=clinic.order,
        priority=entry.state.priority,
        ahead_by_priority=more_urgent,
        ahead_by_order=sooner,
        place_kept=entry.state.place_kept,
    )


def _text(clinic: Clinic, entry: Entry, more_urgent: int, sooner: int) -> str:
    reasons = []
    if more_urgent:
        reasons.append(f"{more_urgent} more urgent")
    if sooner:
        reasons.append(f"{sooner} {'who arrived earlier' if clinic.order == 'arrival' else 'with an earlier slot'}")
    ahead = f"Ahead: {' and '.join(reasons)}." if reasons else "Nobody is ahead."
    urgency = "" if entry.state.priority == "routine" else f" Seen as {entry.state.priority}."
    kept = " The place was kept while out of the line." if entry.state.place_kept else ""
    return f"Number {entry.position} in the line. {ahead}{urgency}{kept}"
