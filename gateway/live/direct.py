"""A frame to many sockets, past their transports.

Handing out is what a server of many monitors spends its time on. Most of it is the kernel's; the rest is waiting for
memory. A transport is an object in many places, and 1,000 of them are in no processor's cache when their turn comes; a
socket's number is all that it takes. And a large frame need not be copied for each: it is put into a file in memory,
and every socket is given the same pages.

Whoever is handed a frame like this must have nothing waiting in a transport: it would come out behind, or in between.

The interpreter's lock is kept all the while, as uvloop keeps it: each call takes microseconds, and waits for nothing.
os.write and os.sendfile let go of it each time, and where another thread computes, get it back 5 ms later: 1,000
monitors would wait for seconds.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable
from typing import Final

from gateway.live.frames import Frame

SHARED_FROM_BYTES: Final = 4096
"""Below a page, copying is cheaper than sharing."""

_libc: Final = ctypes.PyDLL(None)

AVAILABLE: Final = hasattr(_libc, "memfd_create")
"""On Linux. Elsewhere there are no files in memory, and each monitor is sent its frames through its transport."""

_write: Final = _libc["write"]
_sendfile: Final = _libc["sendfile"]
_CLOSED_ON_EXEC: Final = 1


class Handing:
    """One frame, on its way to many sockets. To be closed."""

    __slots__ = ("_pages", "frame")

    def __init__(self, frame: Frame) -> None:
        self.frame = frame
        self._pages: int | None = None

    def to(self, sockets: Iterable[int]) -> list[tuple[int, int]]:
        """[(socket, bytes that it took)] of those that did not take all: they are full, or no more. Never blocks."""
        if self.frame.size < SHARED_FROM_BYTES:
            return self._copied(sockets)
        try:
            return self._shared(sockets)
        except OSError:
            return [(socket, 0) for socket in sockets]

    def close(self) -> None:
        """What sockets still have to send of the pages stays until they have."""
        if self._pages is not None:
            os.close(self._pages)
            self._pages = None

    def _copied(self, sockets: Iterable[int]) -> list[tuple[int, int]]:
        (data,), whole = self.frame.pieces, self.frame.size
        size = ctypes.c_size_t(whole)
        unfinished = []
        for socket in sockets:
            sent = _write(socket, data, size)
            if sent != whole:
                unfinished.append((socket, max(sent, 0)))
        return unfinished

    def _shared(self, sockets: Iterable[int]) -> list[tuple[int, int]]:
        if self._pages is None:
            self._pages = _in_memory(self.frame)
        pages, whole = self._pages, self.frame.size
        size, begins = ctypes.c_size_t(whole), ctypes.c_int64()
        at = ctypes.byref(begins)
        unfinished = []
        for socket in sockets:
            begins.value = 0
            sent = _sendfile(socket, pages, at, size)
            if sent != whole:
                unfinished.append((socket, max(sent, 0)))
        return unfinished


def _in_memory(frame: Frame) -> int:
    """A file with the frame in it, by its number. Not by `os`: Pythons built for older systems lack it there."""
    file: int = _libc.memfd_create(b"frame", _CLOSED_ON_EXEC)
    if file < 0:
        raise OSError("too many files are open")
    try:
        if sum([os.write(file, piece) for piece in frame.pieces]) != frame.size:
            raise OSError("memory is short")
    except OSError:
        os.close(file)
        raise
    return file
