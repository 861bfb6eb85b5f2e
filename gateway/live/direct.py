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
import sys
from collections.abc import Iterable
from typing import Final

from gateway.live.frames import Frame

AVAILABLE: Final = sys.platform == "linux"
"""Elsewhere there are no files in memory, and each monitor is sent its frames through its transport."""
SHARED_FROM_BYTES: Final = 4096
"""Below a page, copying is cheaper than sharing."""

_libc: Final = ctypes.PyDLL(None)
_write: Final = _libc["write"]


def hand(frame: Frame, sockets: Iterable[int]) -> list[tuple[int, int]]:
    """[(socket, bytes that it took)] of those that did not take all of it: they are full, or no more. Never blocks."""
    if frame.size < SHARED_FROM_BYTES:
        return _copied(frame, sockets)
    try:
        return _shared(frame, sockets)
    except OSError:  # No more files may be open, or memory is short.
        return [(socket, 0) for socket in sockets]


def _copied(frame: Frame, sockets: Iterable[int]) -> list[tuple[int, int]]:
    (data,), whole, size = frame.pieces, frame.size, ctypes.c_size_t(frame.size)
    unfinished = []
    for socket in sockets:
        sent = _write(socket, data, size)
        if sent != whole:
            unfinished.append((socket, max(sent, 0)))
    return unfinished


def _shared(frame: Frame, sockets: Iterable[int]) -> list[tuple[int, int]]:
    sendfile, whole, size = _libc["sendfile"], frame.size, ctypes.c_size_t(frame.size)
    begins = ctypes.c_int64()
    at = ctypes.byref(begins)
    unfinished = []
    with open(os.memfd_create("frame"), "wb", buffering=0) as file:
        file.writelines(frame.pieces)
        pages = file.fileno()
        for socket in sockets:
            begins.value = 0
            sent = sendfile(socket, pages, at, size)
            if sent != whole:
                unfinished.append((socket, max(sent, 0)))
    return unfinished
