"""A connection to the server: made, listened to, lost. And how long to wait before the next."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from typing import Final

import aiohttp
import msgspec
from aiohttp import ClientWebSocketResponse, ClientWSTimeout, WSCloseCode, WSMsgType, WSServerHandshakeError
from aiohttp.http import WSMessage, WSMessageTextBytes
from yarl import URL

from gateway.client.endings import NotAdmitted, Unaskable

CONNECT_SECONDS: Final = 10.0
CLOSE_SECONDS: Final = 1.0
"""So long a server may take to answer a close; a dead one never does."""
MESSAGE_BYTES: Final = 256 * 1024 * 1024
"""A day of 6,000 appointments is 2 MB."""
WINDOW_BITS: Final = 15
LOOK_SECONDS: Final = 1.0
"""So often it is looked whether a silence was long: a timer of the event loop stands still while the machine sleeps."""

FIRST_DELAY_SECONDS: Final = 0.25
LONGEST_DELAY_SECONDS: Final = 20.0
_DOUBLINGS: Final = 7  # until the longest is reached

_PASSING: Final = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}
"""A proxy says the first to a machine that fell asleep while it asked."""

UNREACHED: Final = (aiohttp.ClientError, OSError, UnicodeError)
"""TimeoutError is one of these. The last is a resolver's word for a name that cannot be one, such as `a..b`."""

_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # the latter stands still on Linux alone
_encode: Final = msgspec.json.Encoder().encode


class Lost(Exception):
    """There is no connection, or there is none any more. A new one may do better."""


class Silent(Lost):
    """The connection looks open, and nothing comes."""


def delay_seconds(failures: int, draw: Callable[[], float] = random.random) -> float:
    """Before the next attempt, after so many that failed in a row.

    Anything up to a bound that doubles: a hospital's monitors all lose their server at once, and must not all come
    back at once.
    """
    return draw() * min(LONGEST_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2.0 ** min(failures, _DOUBLINGS))


def seconds_awake_and_asleep() -> float:
    """Of a clock that goes on while the machine sleeps, and that nobody sets."""
    return time.clock_gettime(_CLOCK)


def server_address(url: str) -> URL:
    """Raises Unaskable."""
    try:
        address = URL(url)
    except ValueError:
        address = URL()
    if address.scheme not in ("http", "https", "ws", "wss") or not address.host:
        raise Unaskable(f"{url!r} is no server's address, such as http://127.0.0.1:8000")
    return address


def unreachable(url: URL, error: Exception) -> str:
    """In the words of the operating system, where it has any."""
    if isinstance(error, TimeoutError):
        return f"{server(url)} does not answer"
    number = error.errno if isinstance(error, OSError) else None
    return f"{server(url)} cannot be reached: {os.strerror(number) if number and number > 0 else error}"


def server(url: URL) -> str:
    """As it may be shown: a password that stands before the host is nobody's business."""
    return url.with_user(None).authority


def is_final(status: int) -> bool:
    """Whether HTTP's status says that asking again would change nothing."""
    return 400 <= status < 500 and status not in _PASSING


class Link:
    """`silent_after_seconds`: a server that says nothing for so long is not there."""

    def __init__(self, socket: ClientWebSocketResponse[bool], silent_after_seconds: float) -> None:
        self._socket, self._silent_after_seconds = socket, silent_after_seconds

    async def say(self, message: msgspec.Struct) -> None:
        """Raises Lost."""
        try:
            await self._socket.send_str(_encode(message).decode())
        except OSError as error:
            raise Lost(str(error)) from error

    async def hear(self) -> bytes:
        """The next message. Raises Silent, Lost, NotAdmitted."""
        message = await self._receive()
        if message.type is WSMsgType.TEXT:
            data: bytes = message.data
            return data
        if self._socket.close_code == WSCloseCode.POLICY_VIOLATION:
            raise NotAdmitted(WSCloseCode.POLICY_VIOLATION, message.extra or "it gives no reason")
        raise Lost(f"the connection was closed ({self._socket.close_code})")

    async def _receive(self) -> WSMessage | WSMessageTextBytes:
        given_up_at = seconds_awake_and_asleep() + self._silent_after_seconds
        while (left := given_up_at - seconds_awake_and_asleep()) > 0:
            with suppress(TimeoutError):
                # Not receive's own time-out, which begins anew with every ping: a proxy's says nothing of the server.
                async with asyncio.timeout(min(left, LOOK_SECONDS)):
                    return await self._socket.receive()
        raise Silent(f"nothing heard for {self._silent_after_seconds:.0f} s")


@asynccontextmanager
async def linked(
    session: aiohttp.ClientSession, url: URL, *, compression: bool, silent_after_seconds: float
) -> AsyncIterator[Link]:
    """Raises Lost, NotAdmitted."""
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            socket = await session.ws_connect(
                url,
                compress=WINDOW_BITS if compression else 0,
                max_msg_size=MESSAGE_BYTES,
                timeout=ClientWSTimeout(ws_close=CLOSE_SECONDS),
                decode_text=False,
            )
    except WSServerHandshakeError as error:
        if is_final(error.status):
            raise NotAdmitted(error.status, f"HTTP {error.status}") from error
        raise Lost(f"{server(url)} answers HTTP {error.status}") from error
    except UNREACHED as error:
        raise Lost(unreachable(url, error)) from error
    try:
        yield Link(socket, silent_after_seconds)
    finally:
        await socket.close()
