"""`daysheet export`."""

from __future__ import annotations

import asyncio
import datetime
import os
import signal
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import IO, Annotated, Final

import aiohttp
import msgspec
from cyclopts import Parameter

from gateway.cli.failing import fail
from gateway.client import Unaskable
from gateway.client.link import server_address, unreachable
from gateway.rest.export import Format
from gateway.wholefile import written_whole

CONNECT_SECONDS: Final = 10.0
SILENT_SECONDS: Final = 60.0
"""So long the server may take to say something more."""
PIECE_BYTES: Final = 64 * 1024
INTERRUPTED: Final = 130
"""As shells say it."""


class ExportFailed(Exception):
    """There is no export, or not all of it; the message says why."""


def export(
    date: datetime.date,
    /,
    *,
    format_: Annotated[Format, Parameter(name="--format")] = "ndjson",
    to: Path | None = None,
    names: Annotated[bool, Parameter(negative=())] = False,
    url: str = "http://127.0.0.1:8000",
) -> None:
    """Take a date away: its events with all that is known of them, or its appointments with their times.

    The server hands it out, so that it is known who took what. What did not come whole is an error.

    Parameters
    ----------
    date
        Such as 2025-11-17.
    format_
        Events as lines of JSON (ndjson), or appointments as a table (csv).
    to
        A file, mode 0600, that appears when all of it is there. Without it, the standard output.
    names
        In a table also who the patients are, as they are registered now.
    url
        The server's.
    """
    if to is not None and to.is_dir():
        fail(f"{to} is a folder: say which file")
    asked = {"format": format_} | ({"names": "true"} if names else {})
    # Whoever ends it, nothing half-written is left.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with written_whole(to.absolute()) if to is not None else nullcontext(sys.stdout.buffer) as out:
            asyncio.run(_fetch(url, date, asked, out))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except BrokenPipeError:  # such as `| head`, which has seen enough; what is left to flush goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        fail(f"{to or 'the export'} cannot be written: {error.strerror or error}")
    except (ExportFailed, Unaskable) as error:
        fail(error)


async def _fetch(url: str, date: datetime.date, asked: dict[str, str], out: IO[bytes]) -> None:
    """Raises ExportFailed, Unaskable, OSError where it cannot be written."""
    address = server_address(url) / "api/v1/queue" / date.isoformat() / "export"
    timeout = aiohttp.ClientTimeout(total=None, connect=CONNECT_SECONDS, sock_read=SILENT_SECONDS)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(address, params=asked) as answer:
            if answer.status != 200:
                raise ExportFailed(f"the server says {answer.status}: {_detail(await answer.read())}")
            async for piece in answer.content.iter_chunked(PIECE_BYTES):
                out.write(piece)
            out.flush()
    except aiohttp.ClientPayloadError:
        raise ExportFailed("the server cut it off: what has come is not whole") from None
    except (aiohttp.ClientError, TimeoutError) as error:
        raise ExportFailed(unreachable(address, error)) from None


def _detail(body: bytes) -> str:
    try:
        return str(msgspec.json.decode(body)["detail"])
    except (msgspec.DecodeError, LookupError, TypeError):
        return "no more than that"
