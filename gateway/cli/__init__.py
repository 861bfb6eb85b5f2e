"""The command `daysheet`: a module for each thing it can be told. Errors are one line on stderr, exits non-zero."""

from __future__ import annotations

import logging
import sys

import cyclopts
import structlog
from cyclopts import App

from gateway.cli import check, checkpoint, export, key, migrate, privacy, proof, replay, serve, verify, watch
from gateway.cli.failing import fail

app = App(
    name="daysheet",
    help="An event-sourced hospital queue engine.",
    config=cyclopts.config.Env("DAYSHEET_", command=False),
)
app.command(serve.serve)
app.command(serve.worker, show=False)
app.command(migrate.migrate)
app.command(watch.watch)
app.command(replay.replay)
app.command(export.export)
app.command(verify.verify)
app.command(checkpoint.checkpoint)
app.command(proof.proof)
app.command(check.check)
app.command(key.key)
app.command(privacy.privacy)


def _log_to_stderr() -> None:
    """One JSON object a line, in one write: workers share the file. Tracebacks are plain: the pretty ones print local
    variables, and so patients."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(name)s %(message)s")
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        cache_logger_on_first_use=True,
    )


def main() -> None:
    _log_to_stderr()
    try:
        app(exit_on_error=False, print_error=False)
    except cyclopts.CycloptsError as error:
        fail(" ".join(str(error).split()), code=2)
