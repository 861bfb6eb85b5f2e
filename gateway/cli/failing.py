"""How a command fails: one line on stderr, and a non-zero exit."""

from __future__ import annotations

import sys
from typing import Final, NoReturn, TextIO

import structlog

from domain.ledger.keys import WrongLedgerKey
from domain.log.codec import NewerEvent, UnreadableEvent
from domain.log.migrate import SchemaMismatch
from domain.postgres.connect import FAULTS, NotDurable
from domain.postgres.embedded import EmbeddedPostgresError
from domain.vault.master import WrongMasterKey
from domain.vault.rotate import CannotRotate
from gateway.settings import SettingsError
from gateway.workers import FAILS, WorkerFailed

EXPECTED: Final = (
    SettingsError,
    SchemaMismatch,
    NotDurable,
    WrongMasterKey,
    CannotRotate,
    WrongLedgerKey,
    NewerEvent,
    UnreadableEvent,
    EmbeddedPostgresError,
    *FAULTS,
)
"""What may stand in the way of any command that needs the store. Its text says what to do."""


def fail(error: BaseException | str, errors: TextIO | None = None, *, code: int = 1) -> NoReturn:
    print(f"{FAILS}{error or type(error).__name__}", file=errors or sys.stderr)
    sys.exit(code)


def died(group: BaseExceptionGroup[BaseException], errors: TextIO) -> NoReturn:
    """A loop that the server cannot do without has died, and took the process with it."""
    cause: BaseException = group
    while isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    # A port in use shows when the loops run already; a worker has told its own story.
    if not isinstance(cause, (SettingsError, WorkerFailed)):
        structlog.get_logger().critical("server_died", cause=type(cause).__name__, detail=str(cause), exc_info=cause)
    fail(cause, errors)
