"""What clients send deflated is inflated message by message, and nothing is kept in between.

A context that is kept takes 40 kB for each connection, twice as much as all the rest of an idle monitor, so that the
few words which it says in its life may be shorter by some bytes. So clients are told to deflate each message by itself
(`client_no_context_takeover`, RFC 7692, section 7.1.1.2), and the library is given a zlib that forgets.
"""

from __future__ import annotations

import zlib
from types import SimpleNamespace
from typing import Final

import aiohttp
from aiohttp import hdrs, web

NO_CONTEXT: Final = "; client_no_context_takeover"


class _Inflater:
    """A zlib.decompressobj that is there while a message is inflated."""

    eof = False
    unused_data = b""

    def __init__(self, wbits: int = zlib.MAX_WBITS) -> None:
        self._wbits = wbits
        self._inflater: zlib._Decompress | None = None

    @property
    def unconsumed_tail(self) -> bytes:
        return self._inflater.unconsumed_tail if self._inflater is not None else b""

    def decompress(self, data: bytes, max_length: int = 0) -> bytes:
        inflater = self._inflater or zlib.decompressobj(self._wbits)
        inflated = inflater.decompress(data, max_length)
        self._inflater = inflater if inflater.unconsumed_tail else None
        return inflated


def keep_no_context() -> None:
    """For this process, which must do nothing else with the library's zlib: requests are not inflated, nor answers
    deflated."""
    forgetful = SimpleNamespace(**vars(zlib))
    forgetful.decompressobj = _Inflater
    aiohttp.set_zlib_backend(forgetful)


async def ask_for_no_context(request: web.Request, response: web.StreamResponse) -> None:
    """A signal before a response is sent: only a handshake that agrees on compression says so."""
    agreed = response.headers.get(hdrs.SEC_WEBSOCKET_EXTENSIONS)
    if agreed:
        response.headers[hdrs.SEC_WEBSOCKET_EXTENSIONS] = agreed + NO_CONTEXT
