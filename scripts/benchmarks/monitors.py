"""Monitors that cost little: a process of many WebSocket connections that take every message and count it.

They read what the kernel has, step from one frame's header to the next, and answer pings. Nothing is parsed, inflated
or kept. Reads a Job from stdin; writes a line of JSON, an Arrival, when everyone is connected and has had a first
message, and another one each time that everyone has had one more. Ends with its stdin, or when a connection is lost.
"""

from __future__ import annotations

import os
import selectors
import socket
import struct
import sys
import time
from collections.abc import Callable
from typing import Final

import msgspec

CONNECTING_AT_ONCE: Final = 64
RECEIVED_AT_ONCE: Final = 2**20
STUCK_RECEIVE_BYTES: Final = 4096
DEFLATE: Final = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
MASK: Final = b"mask"
PING: Final = 0x9
CLOSE: Final = 0x8
PONG: Final = 0xA


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """`message`: what everyone says first. Monitors that do not read count as arrived when they have said it."""

    host: str
    port: int
    path: str
    monitors: int
    message: str
    deflate: bool = False
    reads: bool = True


class Arrival(msgspec.Struct, frozen=True):
    """At this `time.perf_counter()`, which all processes of a machine share, the last one had the message.

    `seconds`: since the line before, or since the first connection. `received`: bytes of frames, of all monitors.
    """

    at: float
    seconds: float
    received: int


class Lost(Exception):
    """A connection ended that was to stay."""


class Monitor:
    """One connection, and how far into the stream of frames it is."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.upgraded = False
        self._begun = b""
        """What came of something that must be whole: the answer to the upgrade, a header, a control frame."""
        self._missing = 0
        """Bytes of a message that are still to come."""

    def upgrade(self, data: memoryview, *, deflate: bool) -> memoryview:
        """Returns what came behind the answer to the upgrade."""
        head, blank, rest = (self._begun + data).partition(b"\r\n\r\n")
        if not blank:
            self._begun = head
            return memoryview(b"")
        if not head.startswith(b"HTTP/1.1 101") or (b"permessage-deflate" in head.lower()) != deflate:
            raise Lost(f"not the connection asked for: {head.decode(errors='replace')}")
        self._begun, self.upgraded = b"", True
        return memoryview(rest)

    def take(self, data: memoryview) -> int:
        """Returns how many messages are whole now. No server here sends one in fragments."""
        if self._begun:
            data, self._begun = memoryview(self._begun + data), b""
        at, end, whole = self._missing, len(data), 0
        if at > end:
            self._missing = at - end
            return 0
        if at:
            self._missing, whole = 0, 1
        while at < end:
            head = header(data[at : at + 10])
            if head is None or (data[at] & 0x08 and at + sum(head) > end):
                self._begun = bytes(data[at:])
                break
            begins = at + head[0]
            if data[at] & 0x08:
                self._answer(data[at] & 0x0F, bytes(data[begins : begins + head[1]]))
                at = begins + head[1]
                continue
            at = begins + head[1]
            if at > end:
                self._missing = at - end
            else:
                whole += 1
        return whole

    def _answer(self, opcode: int, payload: bytes) -> None:
        if opcode == CLOSE:
            raise Lost("the server closed a connection")
        if opcode == PING:
            self.connection.send(frame(PONG, payload))


def header(data: memoryview) -> tuple[int, int] | None:
    """(its own length, the payload's) of an unmasked frame; None where it is not whole."""
    if len(data) < 2:
        return None
    size = data[1]
    if size < 126:
        return 2, size
    if size == 126:
        return (4, struct.unpack_from("!H", data, 2)[0]) if len(data) >= 4 else None
    return (10, struct.unpack_from("!Q", data, 2)[0]) if len(data) >= 10 else None


def frame(opcode: int, payload: bytes) -> bytes:
    """As a client sends it: masked."""
    size = len(payload)
    length = bytes((0x80 | size,)) if size < 126 else struct.pack("!BH", 0x80 | 126, size)
    mask = (MASK * (size // 4 + 1))[:size]
    masked = int.from_bytes(payload, "big") ^ int.from_bytes(mask, "big")
    return bytes((0x80 | opcode,)) + length + MASK + masked.to_bytes(size, "big")


class Audience:
    def __init__(self, job: Job, arrived: Callable[[Arrival], None]) -> None:
        self._job, self._arrived = job, arrived
        self._selector = selectors.DefaultSelector()
        self._buffer = memoryview(bytearray(RECEIVED_AT_ONCE))
        self._monitors: list[Monitor] = []
        self._joined = self._messages = self._received = 0
        self._since = 0.0

    def run(self) -> None:
        """Until stdin ends."""
        self._selector.register(sys.stdin.buffer, selectors.EVENT_READ)
        self._since = time.perf_counter()
        while True:
            while len(self._monitors) < min(self._job.monitors, self._joined + CONNECTING_AT_ONCE):
                self._connect()
            for key, _ in self._selector.select():
                if key.data is None:
                    return
                self._hear(key.data)

    def _connect(self) -> None:
        connection = socket.socket()
        if not self._job.reads:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, STUCK_RECEIVE_BYTES)
        connection.connect((self._job.host, self._job.port))
        connection.sendall(
            f"GET {self._job.path} HTTP/1.1\r\nHost: {self._job.host}:{self._job.port}\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
            f"{DEFLATE if self._job.deflate else ''}\r\n".encode()
        )
        connection.setblocking(False)
        monitor = Monitor(connection)
        self._monitors.append(monitor)
        self._selector.register(connection, selectors.EVENT_READ, monitor)

    def _hear(self, monitor: Monitor) -> None:
        size = monitor.connection.recv_into(self._buffer)
        if not size:
            raise Lost("the server ended a connection")
        data = self._buffer[:size]
        if not monitor.upgraded:
            data = monitor.upgrade(data, deflate=self._job.deflate)
            if not monitor.upgraded:
                return
            monitor.connection.sendall(frame(0x1, self._job.message.encode()))
            if not self._job.reads:
                self._selector.unregister(monitor.connection)
                self._count(1)
                return
        self._received += len(data)
        whole = monitor.take(data)
        if whole:
            self._count(whole)

    def _count(self, messages: int) -> None:
        self._joined += self._joined < self._job.monitors
        self._messages += messages
        if self._messages >= self._job.monitors:
            now = time.perf_counter()
            self._arrived(Arrival(now, now - self._since, self._received))
            self._messages -= self._job.monitors
            self._received, self._since = 0, now


def main() -> None:
    job = msgspec.json.decode(sys.stdin.buffer.readline(), type=Job)
    Audience(job, lambda arrival: print(msgspec.json.encode(arrival).decode(), flush=True)).run()


if __name__ == "__main__":
    try:
        main()
    except Lost as lost:
        sys.exit(f"monitors: {lost}")
    except BrokenPipeError:
        os._exit(1)
