"""Rows as CSV (RFC 4180), safe to open in a spreadsheet: no cell in it is a formula."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Final

FORMULAS: Final = ("=", "+", "-", "@", "\t", "\r", "\n")
"""What a text begins with that a spreadsheet would calculate, or that hides one that does."""

Cell = str | int | None


def sheet(names: Sequence[str], rows: Iterable[Sequence[Cell]]) -> bytes:
    """A head line of names, then the rows. None is an empty cell; a text that looks like a formula gets a `'` before
    it."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(names)
    writer.writerows([_cell(cell) for cell in row] for row in rows)
    return text.getvalue().encode()


def _cell(cell: Cell) -> str | int:
    if cell is None:
        return ""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULAS) else cell
