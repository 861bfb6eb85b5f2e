"""The command `daysheet`. Errors are one line on stderr, and a non-zero exit."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import cyclopts
import structlog
import uvloop
from cyclopts import App, Parameter

from domain.log.codec import NewerEvent, UnreadableEvent
from domain.log.migrate import SchemaMismatch
from domain.postgres.connect import FAULTS, NotDurable
from domain.postgres.embedded import EmbeddedPostgresError
from domain.vault.master import WrongMasterKey
from gateway import app as composition
from gateway.settings import Settings, SettingsError, default_data_dir

app = App(
    name="daysheet",
    help="An event-sourced hospital queue engine.",
    config=cyclopts.config.Env("DAYSHEET_", command=False),
)

_EXPECTED = (
    SettingsError,
    SchemaMismatch,
    NotDurable,
    WrongMasterKey,
    NewerEvent,
    UnreadableEvent,
    EmbeddedPostgresError,
    *FAULTS,
)


@app.command
def serve(
    *,
    demo: bool = False,
    host: str = "127.0.0.1",
    port: int = 8000,
    database_url: str | None = None,
    data_dir: Path | None = None,
    timezone: str | None = None,
    allow_origin: Annotated[tuple[str, ...], Parameter(negative=())] = (),
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
            master_key=os.environ.get("DAYSHEET_MASTER_KEY"),
        )
        uvloop.run(composition.serve(settings, lambda address: print(f"Daysheet serves {address}", flush=True)))
    except _EXPECTED as error:
        _fail(error)
    except BaseExceptionGroup as group:
        _died(group)


@app.command
def migrate(*, database_url: str | None = None, data_dir: Path | None = None) -> None:
    """Bring a database to this release's schema. Needs an administrator of that database.

    Parameters
    ----------
    database_url
        postgresql://administrator:password@host/database. Without it, the embedded database.
    data_dir
        Where the embedded database is.
    """

    async def run() -> list[str]:
        settings = Settings(database_url=database_url, data_dir=(data_dir or default_data_dir()).absolute())
        if database_url is not None:
            return await composition.migrated(database_url)
        async with composition.embedded(settings) as postgres:
            return await composition.migrated(postgres.url(user="postgres"))

    try:
        applied = asyncio.run(run())
    except _EXPECTED as error:
        _fail(error)
    print("\n".join(f"applied {name}" for name in applied) or "the schema is up to date")


def _fail(error: BaseException) -> NoReturn:
    print(f"daysheet: {error or type(error).__name__}", file=sys.stderr)
    sys.exit(1)


def _died(group: BaseExceptionGroup[BaseException]) -> NoReturn:
    """A loop that the server cannot do without has died, and took the process with it."""
    cause: BaseException = group
    while isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    if not isinstance(cause, SettingsError):  # such as a port in use, which shows when the loops run already
        structlog.get_logger().critical("server_died", cause=type(cause).__name__, detail=str(cause), exc_info=cause)
    _fail(cause)


def _log_to_stderr() -> None:
    """One JSON object a line. Tracebacks are plain: the pretty ones print local variables, and so patients."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(name)s %(message)s")
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        cache_logger_on_first_use=True,
    )


def main() -> None:
    _log_to_stderr()
    app()
