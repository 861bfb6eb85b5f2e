"""`daysheet serve`, and the workers it starts."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, TextIO

import structlog
import uvloop
from cyclopts import Parameter

from gateway import app as composition
from gateway.cli.failing import EXPECTED, died, fail
from gateway.settings import Settings, SettingsError, default_data_dir
from gateway.starting import StoppedMeanwhile
from gateway.workers import SERVES, settings_of_worker


def serve(
    *,
    demo: bool = False,
    host: str = "127.0.0.1",
    port: int = 8000,
    database_url: str | None = None,
    data_dir: Path | None = None,
    timezone: str | None = None,
    allow_origin: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    workers: int = 1,
    erasures: str | None = None,
    downtime_dir: Path | None = None,
    checkpoint_dir: Path | None = None,
) -> None:
    """Serve queues.

    Parameters
    ----------
    demo
        Serve a made-up hospital in the middle of its morning, out of a data folder of its own.
    host
        Where to listen: loopback only, as long as there are no tokens.
    port
        0 takes any free one.
    database_url
        postgresql://user:password@host/database. Without it a PostgreSQL comes along, under the data folder.
    data_dir
        Keys, and the embedded database.
    timezone
        The hospital's, as an IANA name. Kept in the store at first start.
    allow_origin
        A further web origin whose pages may connect, such as https://board.example.
    workers
        Processes that share the port, 1 to 64: for more monitors than one core can serve.
    erasures
        Where erasures are kept outside the store, so that a restored backup is erased again: a file, or a URL.
    downtime_dir
        A folder of its own for sheets to go on with by paper: today's and tomorrow's, anew every ten minutes.
    checkpoint_dir
        Where the ledger's newest checkpoints are written every minute: a folder that is kept elsewhere.
    """
    try:
        settings = Settings(
            host=host,
            port=port,
            database_url=database_url,
            data_dir=(data_dir or default_data_dir()).absolute(),
            timezone=timezone,
            allow_origin=allow_origin,
            demo=demo,
            workers=workers,
            downtime_dir=downtime_dir.absolute() if downtime_dir is not None else None,
            master_key=os.environ.get("DAYSHEET_MASTER_KEY"),
            erasures=erasures,
            ledger_key=os.environ.get("DAYSHEET_LEDGER_KEY"),
            checkpoint_dir=checkpoint_dir and checkpoint_dir.absolute(),
        )
        settings.zone_name()  # One that does not exist is refused before a store is made.
    except EXPECTED as error:
        fail(error)
    _serve(settings, errors=sys.stderr)


def worker(number: int, /) -> None:
    """Be one of several workers. `daysheet serve` starts them, and says the rest in their environment."""
    structlog.contextvars.bind_contextvars(worker=number)
    try:
        settings = settings_of_worker(number)
    except SettingsError as error:
        fail(error)
    _serve(settings, errors=sys.stdout)  # Its supervisor reads there, and says it once for all of them.


def _serve(settings: Settings, errors: TextIO) -> None:
    try:
        uvloop.run(composition.serve(settings, lambda address: print(SERVES + address, flush=True)))
    except StoppedMeanwhile:
        pass
    except EXPECTED as error:
        fail(error, errors)
    except BaseExceptionGroup as group:
        died(group, errors)
