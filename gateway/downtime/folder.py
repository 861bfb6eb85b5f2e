"""The folder that the sheets lie in: theirs alone, and closed to everybody else, since they hold names."""

from __future__ import annotations

import re
import stat
from datetime import date
from pathlib import Path
from typing import Final

from gateway.wholefile import UNFINISHED, written_whole

_SHEET: Final = re.compile(r"daysheet-(\d{4}-\d\d-\d\d)\.html")


class NotPrivate(Exception):
    """Others can enter the folder, and it holds other things than sheets: it is not ours to close."""


def sheet_file(folder: Path, day: date) -> Path:
    return folder / f"daysheet-{day.isoformat()}.html"


def prepare(folder: Path) -> None:
    """Make it where there is none, and close it to others. Blocks. Raises NotPrivate, OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if stat.S_IMODE(folder.stat().st_mode) & 0o077:
        if not all(_is_ours(entry.name) for entry in folder.iterdir()):
            raise NotPrivate(
                f"{folder} can be entered by others, and holds other things than sheets: choose a folder of its own, "
                "or take it from them with chmod 700"
            )
        folder.chmod(0o700)


def put(folder: Path, day: date, page: str) -> None:
    """A date's sheet, in the place of an earlier one. Blocks. Raises OSError."""
    with written_whole(sheet_file(folder, day)) as out:
        out.write(page.encode())


def clear(folder: Path, *, before: date) -> None:
    """Away with past dates' sheets, and with what was being written when the power went. Blocks. Raises OSError."""
    for entry in folder.iterdir():
        named = _SHEET.fullmatch(entry.name)
        is_past = named is not None and date.fromisoformat(named[1]) < before
        if is_past or _is_unfinished(entry.name):
            entry.unlink(missing_ok=True)


def newest(folder: Path) -> tuple[Path, float] | None:
    """The sheet written last, and when, as the file system has it. Blocks. Raises OSError."""
    written = [(entry.stat().st_mtime, entry) for entry in folder.iterdir() if _SHEET.fullmatch(entry.name)]
    if not written:
        return None
    at, sheet = max(written)
    return sheet, at


def _is_ours(name: str) -> bool:
    return _SHEET.fullmatch(name) is not None or _is_unfinished(name)


def _is_unfinished(name: str) -> bool:
    return name.startswith(".daysheet-") and name.endswith(UNFINISHED)
