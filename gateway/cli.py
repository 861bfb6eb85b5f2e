"""The command `daysheet`. Errors are one line on stderr, and a non-zero exit."""

from __future__ import annotations

import asyncio
import datetime
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Annotated, NoReturn, TextIO

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
from gateway.client import Unaskable, WatchEnded
from gateway.settings import Settings, SettingsError, default_data_dir
from gateway.terminal import watching
from gateway.workers import FAILS, SERVES, WorkerFailed, settings_of_worker

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
    workers: int = 1,
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
            master_key=os.environ.get("DAYSHEET_MASTER_KEY"),
        )
    except _EXPECTED as error:
        _fail(error)
    _serve(settings, errors=sys.stderr)


@app.command(show=False)
def worker(number: int, /) -> None:
    """Be one of several workers. `daysheet serve` starts them, and says the rest in their environment."""
    structlog.contextvars.bind_contextvars(worker=number)
    try:
        settings = settings_of_worker(number)
    except SettingsError as error:
        _fail(error)
    _serve(settings, errors=sys.stdout)  # Its supervisor reads there, and says it once for all of them.


def _serve(settings: Settings, errors: TextIO) -> None:
    try:
        uvloop.run(composition.serve(settings, lambda address: print(SERVES + address, flush=True)))
    except _EXPECTED as error:
        _fail(error, errors)
    except BaseExceptionGroup as group:
        _died(group, errors)


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


@app.command
def watch(
    date: datetime.date | None = None,
    /,
    *,
    url: str = "http://127.0.0.1:8000",
    doctor: str | None = None,
    department: str | None = None,
    public: bool = False,
) -> None:
    """Watch a date in this terminal, live. Where the output is no terminal: a line for each state.

    Parameters
    ----------
    date
        Such as 2025-11-17. Without it the hospital's today, and from midnight on the next.
    url
        The server's.
    doctor
        Only this one: a code, or an id.
    department
        Only the doctors of this one.
    public
        As the waiting room may see it.
    """
    # Whoever ends it, the terminal is given back as it was.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        asyncio.run(watching.watch(watching.Wanted(url, date, doctor, department, public)))
    except KeyboardInterrupt:
        pass
    except BrokenPipeError:  # such as `| head`, which has seen enough; what is left to flush goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (WatchEnded, Unaskable) as error:
        _fail(error)


def _fail(error: BaseException, errors: TextIO | None = None) -> NoReturn:
    print(f"{FAILS}{error or type(error).__name__}", file=errors or sys.stderr)
    sys.exit(1)


def _died(group: BaseExceptionGroup[BaseException], errors: TextIO) -> NoReturn:
    """A loop that the server cannot do without has died, and took the process with it."""
    cause: BaseException = group
    while isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    # A port in use shows when the loops run already; a worker has told its own story.
    if not isinstance(cause, (SettingsError, WorkerFailed)):
        structlog.get_logger().critical("server_died", cause=type(cause).__name__, detail=str(cause), exc_info=cause)
    _fail(cause, errors)


def _log_to_stderr() -> None:
    """One JSON object a line. Tracebacks are plain: the pretty ones print local variables, and so patients."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(name)s %(message)s")
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
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
