"""The HTTP client: kept connections, JSON in and out, and commands that are repeated until their outcome is known."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import uuid4

import msgspec

from scripts.benchmarks.load import Connection, header

ANSWER_SECONDS: Final = 60.0
RETRY_SECONDS: Final = 60.0
"""How long a command is repeated before the server is given up."""
PAUSE_SECONDS: Final = 0.5
"""Before a connection is tried again."""

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder().decode


class Unreachable(Exception):
    """There is no server there, or there is none any more."""


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: Any
    retry_after_seconds: float = 0.0

    @property
    def code(self) -> str | None:
        """Why not, where it says so."""
        return self.body.get("code") if self.status >= 400 and isinstance(self.body, dict) else None


class _Line(Connection):
    """One connection of the client's."""

    _waiting: asyncio.Future[Answer]

    async def ask(self, request: bytes) -> Answer:
        """Raises ConnectionError, TimeoutError."""
        if self.transport.is_closing():
            raise ConnectionResetError
        self._waiting = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        async with asyncio.timeout(ANSWER_SECONDS):
            return await self._waiting

    def answered(self, status: int, head: bytes, body: bytes) -> None:
        self._waiting.set_result(
            Answer(status, _decode(body) if body else None, float(header(head, b"retry-after") or 0))
        )

    def connection_lost(self, error: Exception | None) -> None:
        if hasattr(self, "_waiting") and not self._waiting.done():
            self._waiting.set_exception(error or ConnectionResetError())


class Client:
    """`told` is called with (kind, answer, seconds) after every answer to a command."""

    def __init__(self, url: str, told: Callable[[str, Answer, float], None]) -> None:
        parts = urlsplit(url)
        self._host, self._netloc = parts.hostname or "127.0.0.1", parts.netloc
        self._ssl = ssl.create_default_context() if parts.scheme == "https" else None
        self._port = parts.port or (443 if self._ssl else 80)
        self._prefix = parts.path.rstrip("/") + "/api/v1"
        self._told = told
        self._idle: list[_Line] = []
        self._run, self._keys = uuid4().hex, 0

    async def read(self, path: str) -> Any:
        """Raises Unreachable."""
        try:
            answer = await self._ask(self._request("GET", path, b""))
        except (OSError, TimeoutError) as fault:
            raise Unreachable(f"{self._netloc} does not answer: {fault}") from fault
        if answer.status != 200:
            raise Unreachable(f"{self._netloc} answers {answer.status} to GET {self._prefix}{path}")
        return answer.body

    async def command(self, kind: str, method: str, path: str, body: dict[str, Any]) -> Answer:
        """Its outcome: 2xx, or a refusal. Raises Unreachable."""
        self._keys += 1
        request = self._request(method, path, _encode(body), key=f"{self._run}-{self._keys}")
        give_up_at = time.perf_counter() + RETRY_SECONDS
        while True:
            asked_at = time.perf_counter()
            try:
                answer = await self._ask(request)
            except (OSError, TimeoutError) as fault:
                if time.perf_counter() > give_up_at:
                    raise Unreachable(f"{self._netloc} does not answer: {fault}") from fault
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            self._told(kind, answer, time.perf_counter() - asked_at)
            if answer.status not in (429, 503) or time.perf_counter() > give_up_at:
                return answer
            await asyncio.sleep(answer.retry_after_seconds)

    def close(self) -> None:
        for line in self._idle:
            line.transport.close()

    def _request(self, method: str, path: str, body: bytes, *, key: str | None = None) -> bytes:
        lines = [f"{method} {self._prefix}{path} HTTP/1.1", f"Host: {self._netloc}", f"Content-Length: {len(body)}"]
        if body:
            lines.append("Content-Type: application/json")
        if key is not None:
            lines.append(f"Idempotency-Key: {key}")
        return "\r\n".join([*lines, "", ""]).encode() + body

    async def _ask(self, request: bytes) -> Answer:
        """Over an idle connection, or a new one. One that failed is not used again."""
        line = next((idle for idle in iter(self._next_idle, None) if not idle.transport.is_closing()), None)
        if line is None:
            loop = asyncio.get_running_loop()
            _, line = await loop.create_connection(_Line, self._host, self._port, ssl=self._ssl)
        try:
            answer = await line.ask(request)
        except BaseException:
            line.transport.abort()
            raise
        self._idle.append(line)
        return answer

    def _next_idle(self) -> _Line | None:
        return self._idle.pop() if self._idle else None
