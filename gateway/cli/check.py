"""`daysheet check`."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Annotated, Final

import msgspec
from cyclopts import Parameter
from rich.console import Console
from rich.table import Table
from rich.text import Text

from domain.postgres.finding import Finding
from gateway import app as composition
from gateway.cli.failing import EXPECTED, fail
from gateway.installation import Where, examine
from gateway.settings import Settings, SettingsError, default_data_dir

NOT_CHECKED: Final = 2
_STYLES: Final = {"ok": "green", "warning": "yellow", "failure": "bold red"}


def check(
    *,
    database_url: str | None = None,
    data_dir: Path | None = None,
    timezone: str | None = None,
    workers: int = 1,
    checkpoint_dir: Path | None = None,
    downtime_dir: Path | None = None,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Is this installation safe to run? Say what `serve` is told, and see what would be better otherwise.

    Ends with 0 when nothing has failed, 1 when something has, 2 when it could not be checked.

    Parameters
    ----------
    database_url
        As for `serve`; a superuser's shows more. Without it, the embedded database.
    data_dir
        Where the keys are, and the embedded database.
    timezone
        The hospital's, to be held against the store's.
    workers
        As for `serve`: whether there are connections for so many.
    checkpoint_dir
        Where checkpoints are kept, away from the database: how old is the newest?
    downtime_dir
        As for `serve`: are its sheets being written?
    json
        For programs: {"checks": [{"check", "verdict", "found", "advice"}]}.
    """
    try:
        settings = Settings(
            database_url=database_url,
            data_dir=(data_dir or default_data_dir()).absolute(),
            timezone=timezone,
            workers=workers,
            downtime_dir=downtime_dir,
            master_key=os.environ.get("DAYSHEET_MASTER_KEY"),
        )
        findings = asyncio.run(_findings(settings, checkpoint_dir))
    except EXPECTED as error:
        fail(error, code=NOT_CHECKED)
    if json:
        sys.stdout.write(msgspec.json.encode({"checks": findings}).decode() + "\n")
    elif sys.stdout.isatty():
        Console().print(_table(findings))
    else:
        sys.stdout.writelines(map(_lines, findings))
    sys.exit(int(any(finding.verdict == "failure" for finding in findings)))


async def _findings(settings: Settings, checkpoint_dir: Path | None) -> list[Finding]:
    if settings.database_url is not None:
        where = Where(url=settings.database_url, checkpoint_dir=checkpoint_dir)
        return [finding async for finding in examine(settings, where)]
    if not (settings.folder / "postgres" / "cluster" / "PG_VERSION").is_file():
        raise SettingsError(f"there is no store in {settings.folder}: the first `daysheet serve` makes it")
    async with composition.embedded(settings) as postgres:
        where = Where(url=postgres.url(), superuser_url=postgres.url(user="postgres"), checkpoint_dir=checkpoint_dir)
        return [finding async for finding in examine(settings, where)]


def _table(findings: list[Finding]) -> Table:
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for finding in findings:
        said = Text(finding.found)
        if finding.advice is not None:
            said.append(f"\n→ {finding.advice}", "dim")
        table.add_row(Text(finding.verdict, _STYLES[finding.verdict]), Text(finding.check, no_wrap=True), said)
    return table


def _lines(finding: Finding) -> str:
    advice = f"\n{'':9}→ {finding.advice}" if finding.advice is not None else ""
    return f"{finding.verdict:8} {finding.check}: {finding.found}{advice}\n"
