"""Bytes on a socket, for what well-behaved clients refuse to send and refuse to leave unread."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import socket
import struct
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

from tests.described import is_described
from tests.server import Answer, Server

ANSWER_SECONDS = 25.0


class Raw:
    """A connection to a server, byte by byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str) -> None:
        self.reader, self.writer, self.host = reader, writer, host
        self.path = ""

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self) -> Answer:
        """The next HTTP answer. Its body as JSON where it is."""
        async with asyncio.timeout(ANSWER_SECONDS):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            status, *lines = head.strip().split("\r\n")
            headers = {name.title(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            text = await self.reader.readexactly(int(headers.get("Content-Length", "0")))
        body = json.loads(text) if "json" in headers.get("Content-Type", "") else text
        return Answer(int(status.split()[1]), body, headers)

    async def is_closed(self) -> bool:
        """Whether the server hangs up by itself, and says nothing more."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await self.reader.read() == b""
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False

    # --- WebSocket -------------------------------------------------------------------------------

    async def upgrade(self, path: str, headers: Mapping[str, str] | None = None) -> Answer:
        self.path = path
        key = base64.b64encode(os.urandom(16)).decode()
        lines = {
            "Host": self.host,
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": key,
        } | dict(headers or {})
        await self.send(request("GET", path, lines))
        return await self.answer()

    async def frame(self, opcode: int, payload: bytes = b"", *, fin: bool = True) -> None:
        await self.send(frame(opcode, payload, fin=fin))

    async def say(self, message: Any) -> None:
        await self.frame(0x1, json.dumps(message).encode())

    async def hear(self) -> tuple[int, bytes]:
        """(opcode, payload) of the next frame."""
        async with asyncio.timeout(ANSWER_SECONDS):
            first, size = await self.reader.readexactly(2)
            if size == 126:
                (size,) = struct.unpack("!H", await self.reader.readexactly(2))
            elif size == 127:
                (size,) = struct.unpack("!Q", await self.reader.readexactly(8))
            return first & 0x0F, await self.reader.readexactly(size)

    async def hear_json(self) -> Any:
        opcode, payload = await self.hear()
        assert opcode == 0x1, (opcode, payload)
        is_described(payload, self.path)
        return json.loads(payload)


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True) -> bytes:
    """As a client sends it: masked, here with zeros."""
    head = bytes((opcode | (0x80 if fin else 0),))
    if len(payload) < 126:
        head += bytes((0x80 | len(payload),))
    elif len(payload) < 65536:
        head += struct.pack("!BH", 0x80 | 126, len(payload))
    else:
        head += struct.pack("!BQ", 0x80 | 127, len(payload))
    return head + b"\0\0\0\0" + payload


def request(method: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode("latin-1") + body


@asynccontextmanager
async def connected(server: Server, *, receive_bytes: int | None = None, limit: int = 2**16) -> AsyncIterator[Raw]:
    """`receive_bytes`: how much the kernel takes for us before it tells the server to wait."""
    where = urlsplit(server.url)
    assert where.hostname is not None
    assert where.port is not None
    plain = socket.socket()
    if receive_bytes is not None:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    plain.setblocking(False)
    await asyncio.get_running_loop().sock_connect(plain, (where.hostname, where.port))
    reader, writer = await asyncio.open_connection(sock=plain, limit=limit)
    try:
        yield Raw(reader, writer, where.netloc)
    finally:
        writer.transport.abort()


async def told(server: Server, data: bytes) -> Answer:
    """What the server says to these bytes."""
    async with connected(server) as raw:
        await raw.send(data)
        return await raw.answer()
