"""A load client that costs little: POSTs over kept connections, a new one as soon as the last is answered.

Reads a job from stdin, one JSON object, `{url, path, connections, seconds}`, then a body a line. Writes one JSON
object, `{statuses, seconds, p50_ms, p99_ms}`. Ends after `seconds`, or when there are no more bodies.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from urllib.parse import urlsplit

import uvloop


class Connection(asyncio.Protocol):
    """A kept connection with one request at a time on its way."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # uvloop's transports subclass none of asyncio's

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, blank, body = self._received.partition(b"\r\n\r\n")
        if not blank or len(body) < int(header(head, b"content-length") or 0):
            return
        self._received = b""
        self.answered(int(head[9:12]), head, body)

    def answered(self, status: int, head: bytes, body: bytes) -> None:
        """Called with each answer."""
        raise NotImplementedError


def header(head: bytes, name: bytes) -> bytes:
    """A header's value, empty where there is none. `name` in small letters."""
    return head.lower().partition(b"\r\n" + name + b":")[2].split(b"\r\n", 1)[0].strip()


class Caller(Connection):
    """Asks, and asks again as soon as it is answered."""

    def __init__(self, requests: Iterator[bytes], ends: float, statuses: Counter[str], waits: list[float]) -> None:
        super().__init__()
        self._requests, self._ends, self._statuses, self._waits = requests, ends, statuses, waits
        self.done = asyncio.get_running_loop().create_future()
        self._asked = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._ask()

    def _ask(self) -> None:
        self._asked = time.perf_counter()
        request = next(self._requests, None) if self._asked < self._ends else None
        if request is None:
            self.transport.close()
        else:
            self.transport.write(request)

    def answered(self, status: int, head: bytes, body: bytes) -> None:
        if status != 201 and str(status) not in self._statuses:
            sys.stderr.buffer.write(body + b"\n")
        self._statuses[str(status)] += 1
        self._waits.append(time.perf_counter() - self._asked)
        self._ask()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(None)


async def load() -> dict[str, object]:
    job, *bodies = sys.stdin.buffer.read().split(b"\n")
    asked = json.loads(job)
    at = urlsplit(asked["url"])
    head = f"POST {asked['path']} HTTP/1.1\r\nHost: {at.netloc}\r\nContent-Type: application/json\r\nContent-Length: "
    requests = iter([f"{head}{len(body)}\r\n\r\n".encode() + body for body in bodies])
    statuses: Counter[str] = Counter()
    waits: list[float] = []
    loop, begins = asyncio.get_running_loop(), time.perf_counter()
    ends = begins + asked["seconds"]
    callers = [
        (await loop.create_connection(lambda: Caller(requests, ends, statuses, waits), at.hostname, at.port))[1]
        for _ in range(asked["connections"])
    ]
    await asyncio.gather(*(caller.done for caller in callers))
    seconds = time.perf_counter() - begins
    waits.sort()
    p50, p99 = (1000 * waits[int(len(waits) * part)] for part in (0.5, 0.99))
    return {"statuses": statuses, "seconds": seconds, "p50_ms": p50, "p99_ms": p99}


if __name__ == "__main__":
    json.dump(uvloop.run(load()), sys.stdout)
