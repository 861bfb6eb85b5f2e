"""`daysheet watch`."""

from __future__ import annotations

import asyncio
import datetime
import os
import signal
import sys

from gateway.cli.failing import fail
from gateway.client import Unaskable, WatchEnded
from gateway.terminal import watching
from gateway.terminal.picture import plain


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
        fail(plain(str(error)))  # Some of it are the server's words.
