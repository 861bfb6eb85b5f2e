"""RFC 6455's frames, right and wrong ones, and what a server answers to them."""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.gateway.raw import Raw, connected
from tests.server import Server

WS = "/api/v1/ws/queue"
MESSAGE_BYTES = 64 * 1024
MASK = b"\x12\xf7\x00\xa5"

MORE, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
FIN, RSV1, RSV2, RSV3 = 0x80, 0x40, 0x20, 0x10
ASK = b'{"action":"ping"}'


def wire(first: int, payload: bytes = b"", *, mask: bytes | None = MASK, length: bytes | None = None) -> bytes:
    """A frame's bytes. `first`: FIN, reserved bits and opcode; `length` replaces the shortest form of the length."""
    size = len(payload)
    if length is None and size < 126:
        length = bytes((size,))
    elif length is None:
        length = struct.pack("!BH", 126, size) if size < 65536 else struct.pack("!BQ", 127, size)
    if mask is None:
        return bytes((first,)) + length + payload
    masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
    return bytes((first, length[0] | 0x80)) + length[1:] + mask + masked


def close(code: int, reason: bytes = b"") -> bytes:
    return wire(FIN | CLOSE, struct.pack("!H", code) + reason)


@asynccontextmanager
async def talking(server: Server) -> AsyncIterator[Raw]:
    """A monitor of all doctors."""
    async with connected(server) as raw:
        assert (await raw.upgrade(WS)).status == 101
        yield raw


async def still_talks(raw: Raw) -> None:
    await raw.send(wire(FIN | TEXT, ASK))
    assert (await raw.hear_json())["type"] == "pong"


async def ended(raw: Raw) -> int:
    """Waits for the server to say good-bye as the next thing, and to hang up. Returns its close code."""
    opcode, payload = await raw.hear()
    assert opcode == CLOSE, (opcode, payload)
    assert await raw.is_closed()
    return int(struct.unpack("!H", payload[:2])[0])
