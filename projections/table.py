"""Rows as CSV (RFC 4180, UTF-8), safe to open in a spreadsheet: no cell in it is a formula."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Final

FORMULAS: Final = ("=", "+", "-", "@", "\t", "\r", "\n")
"""What a text begins with that a spreadsheet would calculate, or that hides one that does."""

Cell = str | int | float | None


def table(rows: Iterable[Sequence[Cell]]) -> bytes:
    """None is an empty cell; a text that looks like a formula gets a `'` before it."""
    text = io.StringIO(newline="")
    csv.writer(text).writerows([_cell(cell) for cell in row] for row in rows)
    return text.getvalue().encode()


def _cell(cell: Cell) -> Cell:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULAS) else cell
