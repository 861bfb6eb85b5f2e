"""`daysheet replay`."""

from __future__ import annotations

import asyncio
import datetime
import os
import signal
import sys
from typing import Literal

from gateway.cli.failing import fail
from gateway.client import Unaskable, WatchEnded
from gateway.terminal import replaying
from gateway.terminal.picture import plain


def replay(
    date: datetime.date,
    /,
    *,
    speed: float = 1,
    at: str | None = None,
    by: Literal["recorded", "effective"] = "recorded",
    url: str = "http://127.0.0.1:8000",
    doctor: str | None = None,
) -> None:
    """Show a date's past in this terminal, event by event. Where the output is no terminal: a line for each state.

    Parameters
    ----------
    date
        Such as 2025-11-17. Today may be replayed while it goes on.
    speed
        So many times as fast as it was, 1 to 3600; 0 for as fast as can be.
    at
        Where to begin: a time of that date by the hospital's clock (09:15), one with its offset, or a sequence.
    by
        `recorded`: as the log got to know of it. `effective`: as it was, with late entries in their place.
    url
        The server's.
    doctor
        Only this one: a code, or an id.
    """
    # Whoever ends it, the terminal is given back as it was.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        asyncio.run(replaying.replay(replaying.Wanted(url, date, speed, at, by, doctor)))
    except KeyboardInterrupt:
        pass
    except BrokenPipeError:  # such as `| head`, which has seen enough; what is left to flush goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (WatchEnded, Unaskable) as error:
        fail(plain(str(error)))  # Some of it are the server's words.
