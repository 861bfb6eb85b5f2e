"""`daysheet verify`: recomputes the ledger from the rows. Exit 0: whole, 1: tampered with, 2: cannot be checked."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Final

from cyclopts import Parameter
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from domain.ledger.checkpoint import Checkpoint, NoCheckpoint, VerifierKey
from domain.ledger.verify import CannotCheck, LogReport, Outside, Report
from domain.ledger.verify import verify as check
from gateway.cli.failing import EXPECTED, fail
from gateway.cli.store import readable, settings_for

CANNOT_CHECK: Final = 2
_EXIT: Final = {"whole": 0, "tampered": 1, "cannot_check": CANNOT_CHECK}
_FILE_BYTES: Final = 65_536

_INNER_ONLY: Final = (
    "no checkpoint kept outside the store was given: this proves inner consistency only. Whoever can write to the "
    "database and has its ledger's key could have written another history, and anybody who can write to it could have "
    "cut off the end together with its seals"
)


def verify(
    *,
    checkpoint: Annotated[tuple[Path, ...], Parameter(consume_multiple=True, negative=())] = (),
    key: str | None = None,
    json: bool = False,
    database_url: str | None = None,
    data_dir: Path | None = None,
) -> None:
    """Recompute the ledger from the stored rows: is the record the one that was sealed?

    Exit 0: whole, 1: tampered with, 2: cannot be checked.

    Parameters
    ----------
    checkpoint
        Checkpoints that were kept outside the store: files, or folders of them.
    key
        The verifier key that was kept outside, as `GET /ledger/key` gives it; else the one pinned in the store.
    json
        Print one JSON object.
    database_url
        postgresql://user:password@host/database. Without it, the embedded database.
    data_dir
        Where the embedded database is.
    """
    outside, unusable = _read(checkpoint)
    try:
        trusted = VerifierKey.of(key) if key is not None else None
        report = asyncio.run(_run(database_url, data_dir, outside, trusted))
    except (CannotCheck, NoCheckpoint, *EXPECTED) as error:
        if json:
            _print_json({"verdict": "cannot_check", "logs": [], "findings": [], "says": [*unusable, str(error)]})
            sys.exit(CANNOT_CHECK)
        fail("; ".join([*unusable, str(error) or type(error).__name__]), code=CANNOT_CHECK)
    report.unusable[:0] = unusable
    says = list(_says(report))
    if json:
        findings = [asdict(finding) | {"says": str(finding)} for finding in report.findings]
        logs = [_figures(log) for log in report.logs]
        _print_json({"verdict": report.verdict, "logs": logs, "findings": findings, "says": says})
    else:
        print("\n".join([*map(str, report.findings), *says, _last_word(report)]))
    sys.exit(_EXIT[report.verdict])


async def _run(
    database_url: str | None, data_dir: Path | None, outside: list[Outside], key: VerifierKey | None
) -> Report:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        tasks: dict[str, Any] = {}

        def advance(log: str, done: int, of: int) -> None:
            if log not in tasks:
                tasks[log] = progress.add_task(log, total=of)
            progress.update(tasks[log], completed=done)

        async with readable(settings_for(database_url, data_dir)) as url:
            return await check(url, outside=outside, key=key, advance=advance)


def _read(paths: Iterable[Path]) -> tuple[list[Outside], list[str]]:
    """The checkpoints in these files and folders, and what is none, and why: it keeps nobody from checking the rest."""
    outside: list[Outside] = []
    unusable: list[str] = []
    for path in paths:
        files = sorted(path.glob("*.txt")) if path.is_dir() else [path]
        if not files:
            unusable.append(f"{path} holds no checkpoints: no file ends in .txt")
        for file in files:
            try:
                outside.append(Outside(str(file), Checkpoint.of(_note(file))))
            except NoCheckpoint as error:
                unusable.append(f"{file}: {error}")
            except OSError as error:
                unusable.append(f"{file}: cannot be read: {error.strerror}")
    return outside, unusable


def _note(file: Path) -> str:
    """With the line ends, and without the mark in front, that mail and Windows shares may have given it.

    Raises NoCheckpoint, for what is no file: a pipe would never end. OSError.
    """
    if file.exists() and not file.is_file():
        raise NoCheckpoint("not a file")
    with file.open(encoding="utf-8-sig", errors="replace", newline="") as opened:
        return opened.read(_FILE_BYTES).replace("\r\n", "\n")


def _says(report: Report) -> Iterator[str]:
    yield from report.unusable
    for log in report.logs:
        unsealed = max(0, log.rows - log.sealed)
        yield f"{log.log}: {log.rows:,} rows, the first {log.sealed:,} sealed by {log.seals:,} checkpoints" + (
            f", {unsealed:,} not sealed yet" if unsealed else ""
        )
    if not any(log.outside for log in report.logs):
        yield _INNER_ONLY
        return
    for log in report.logs:
        if not log.outside:
            yield f"{log.log}: no checkpoint kept outside was given: inner consistency only"
            continue
        yield (
            f"{log.log}: checkpoints kept outside vouch for the first {log.covered:,} rows, and for none of the "
            f"{max(0, log.rows - log.covered):,} after them: rows cut off there, with their seals, would not show"
        )


def _last_word(report: Report) -> str:
    match report.verdict:
        case "whole":
            return "whole"
        case "tampered":
            return f"TAMPERED WITH: {len(report.findings):,} findings"
        case "cannot_check":
            return "cannot be checked" + "".join(f": nothing of {log} is sealed yet" for log in report.not_sealed)


def _figures(log: LogReport) -> dict[str, Any]:
    return {
        **asdict(log),
        "unsealed": max(0, log.rows - log.sealed),
        "not_covered": max(0, log.rows - log.covered),
    }


def _print_json(page: dict[str, Any]) -> None:
    print(json.dumps(page, ensure_ascii=False))
