"""RFC 7692, permessage-deflate: what is agreed on, what clients may send deflated, and what the server sends.

As in test_websocket_frames.py, what aiohttp lets pass against the RFC is told with the reason why it does no harm.
"""

from __future__ import annotations

import asyncio
import json
import os
import struct
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psutil
import pytest

from tests.described import is_described
from tests.gateway.contract import at
from tests.gateway.frames import (
    ASK,
    BINARY,
    CLOSE,
    FIN,
    MESSAGE_BYTES,
    MORE,
    PING,
    PONG,
    RSV1,
    RSV2,
    RSV3,
    TEXT,
    WS,
    ended,
    still_talks,
    talking,
    wire,
)
from tests.gateway.raw import Raw, connected
from tests.server import Server

pytestmark = pytest.mark.asyncio(loop_scope="module")

OFFER = "permessage-deflate"
AGREED = OFFER + "; client_no_context_takeover"
FLUSH_ENDS = b"\0\0\xff\xff"
MEGABYTE = 1024 * 1024


class Deflating:
    """A client that deflates each message by itself, as agreed, and inflates with a context that lasts."""

    def __init__(self, raw: Raw, agreed: str, window_bits: int = 15) -> None:
        self.raw, self.agreed = raw, agreed
        self._inflate = zlib.decompressobj(wbits=-window_bits)

    def deflated(self, text: bytes) -> bytes:
        deflate = zlib.compressobj(wbits=-15)
        return (deflate.compress(text) + deflate.flush(zlib.Z_SYNC_FLUSH)).removesuffix(FLUSH_ENDS)

    async def say(self, message: Any) -> None:
        await self.raw.send(wire(FIN | RSV1 | TEXT, self.deflated(json.dumps(message).encode())))

    async def hear(self) -> tuple[bool, Any]:
        """(whether it was deflated, the message)."""
        first, size = await self.raw.reader.readexactly(2)
        if size == 126:
            (size,) = struct.unpack("!H", await self.raw.reader.readexactly(2))
        elif size == 127:
            (size,) = struct.unpack("!Q", await self.raw.reader.readexactly(8))
        text = await self.raw.reader.readexactly(size)
        assert first in (FIN | TEXT, FIN | RSV1 | TEXT), (first, text)
        if first & RSV1:
            text = self._inflate.decompress(text + FLUSH_ENDS)
        is_described(text, WS)
        return bool(first & RSV1), json.loads(text)

    async def hears_a(self, kind: str) -> None:
        _, message = await self.hear()
        assert message.get("code", message["type"]) == kind

    async def still_talks(self) -> None:
        for _ in range(2):
            await self.say({"action": "ping"})
            await self.hears_a("pong")


@asynccontextmanager
async def deflating(server: Server, offer: str = OFFER, window_bits: int = 15) -> AsyncIterator[Deflating]:
    async with connected(server) as raw:
        answer = await raw.upgrade(WS, {"Sec-WebSocket-Extensions": offer})
        assert answer.status == 101
        agreed = answer.headers.get("Sec-Websocket-Extensions", "")
        assert agreed.startswith(OFFER), agreed
        yield Deflating(raw, agreed, window_bits)


# --- 7.1: what is agreed on ----------------------------------------------------------------------


async def test_compression_is_agreed_on_only_where_it_is_offered(hospital: Server) -> None:
    async with connected(hospital) as raw:
        assert "Sec-Websocket-Extensions" not in (await raw.upgrade(WS)).headers
    async with deflating(hospital) as client:
        assert client.agreed == AGREED
        await client.still_talks()


@pytest.mark.parametrize(
    ("offer", "agreed"),
    [
        ("permessage-deflate; client_max_window_bits", OFFER),  # as browsers offer it
        ("permessage-deflate; client_max_window_bits=10", OFFER),
        ("permessage-deflate; client_no_context_takeover", OFFER),
        ("permessage-deflate; server_no_context_takeover", OFFER + "; server_no_context_takeover"),
        (
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=12",
            OFFER + "; server_max_window_bits=12; server_no_context_takeover",
        ),
        ("x-webkit-deflate-frame, permessage-deflate; client_max_window_bits", OFFER),
        ("permessage-deflate; server_max_window_bits=8, permessage-deflate", OFFER),  # zlib has no window of 8 bits
        (
            "permessage-deflate; colour=blue, permessage-deflate; server_max_window_bits=11",
            OFFER + "; server_max_window_bits=11",
        ),
    ],
)
async def test_of_several_offers_the_first_that_can_be_kept_is_taken(hospital: Server, offer: str, agreed: str) -> None:
    async with deflating(hospital, offer) as client:
        assert client.agreed == agreed + "; client_no_context_takeover"
        await client.still_talks()


@pytest.mark.parametrize(
    "offer",
    [
        "permessage-deflate; colour",
        "permessage-deflate; server_max_window_bits=7",
        "permessage-deflate; server_max_window_bits=8",
        "permessage-deflate; server_max_window_bits=16",
        "permessage-deflate; server_max_window_bits=-9",
        "permessage-deflate; server_max_window_bits=x",
        "permessage-deflate; server_no_context_takeover=1",
        "permessage-deflate-frame",
        "permessage-bzip2",
        ";;;,,,",
        "permessage-deflate; " + "server_max_window_bits=99; " * 100,
    ],
    ids=lambda offer: offer[:60],
)
async def test_an_offer_that_cannot_be_kept_is_declined_and_the_connection_is_plain(
    hospital: Server, offer: str
) -> None:
    async with connected(hospital) as raw:
        answer = await raw.upgrade(WS, {"Sec-WebSocket-Extensions": offer})
        assert (answer.status, answer.headers.get("Sec-Websocket-Extensions")) == (101, None)
        await raw.send(wire(FIN | TEXT, ASK))
        assert (await raw.hear_json())["type"] == "pong"
        await raw.send(wire(FIN | RSV1 | TEXT, b"\0"))
        assert await ended(raw) == 1002


@pytest.mark.parametrize(
    "offer",
    [
        "permessage-deflate; server_max_window_bits",
        "permessage-deflate; client_max_window_bits=7",
        "permessage-deflate; client_max_window_bits=16",
        "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
    ],
)
async def test_some_offers_that_must_be_declined_are_taken_without_what_is_wrong_in_them(
    hospital: Server, offer: str
) -> None:
    """A window that aiohttp does not understand is one it does not promise; it inflates with the largest always."""
    async with deflating(hospital, offer) as client:
        assert "window" not in client.agreed
        await client.still_talks()


# --- 6, 7.2: what clients send -------------------------------------------------------------------


async def test_deflated_and_plain_messages_may_follow_each_other(hospital: Server) -> None:
    async with deflating(hospital) as client:
        for _ in range(3):
            await client.raw.send(wire(FIN | TEXT, ASK))
            await client.hears_a("pong")
            await client.say({"action": "ping"})
            await client.hears_a("pong")
            await client.raw.send(wire(FIN | RSV1 | BINARY, client.deflated(ASK)))
            await client.hears_a("pong")
            await client.raw.send(wire(FIN | RSV1 | TEXT, client.deflated(b"")))
            await client.hears_a("invalid_json")


async def test_a_deflated_message_that_points_back_into_the_one_before_is_not_understood(hospital: Server) -> None:
    """The client agreed to deflate each by itself: the server keeps nothing that it could point to."""
    keeps = zlib.compressobj(wbits=-15)
    async with deflating(hospital) as client:
        sent = [keeps.compress(ASK) + keeps.flush(zlib.Z_SYNC_FLUSH) for _ in range(2)]
        await client.raw.send(wire(FIN | RSV1 | TEXT, sent[0].removesuffix(FLUSH_ENDS)))
        await client.hears_a("pong")
        await client.raw.send(wire(FIN | RSV1 | TEXT, sent[1].removesuffix(FLUSH_ENDS)))
        assert await ended(client.raw) == 1000  # as whatever cannot be inflated


def _stored(text: bytes) -> bytes:
    return b"\0" + struct.pack("<HH", len(text), len(text) ^ 0xFFFF) + text + b"\0"


def _of_two_blocks(text: bytes) -> bytes:
    deflate = zlib.compressobj(wbits=-15)
    first = deflate.compress(text[:5]) + deflate.flush(zlib.Z_SYNC_FLUSH)
    return (first + deflate.compress(text[5:]) + deflate.flush(zlib.Z_SYNC_FLUSH)).removesuffix(FLUSH_ENDS)


@pytest.mark.parametrize("deflated", [_stored, _of_two_blocks], ids=["not deflated at all", "two blocks"])
async def test_a_message_may_be_deflated_in_any_way(hospital: Server, deflated: Any) -> None:
    async with deflating(hospital) as client:
        for _ in range(3):
            await client.raw.send(wire(FIN | RSV1 | TEXT, deflated(ASK)))
            await client.hears_a("pong")


async def test_a_message_may_end_with_a_final_block(hospital: Server) -> None:
    deflate = zlib.compressobj(wbits=-15)
    final = deflate.compress(ASK) + deflate.flush(zlib.Z_FINISH) + b"\0"
    async with deflating(hospital) as client:
        for _ in range(3):
            await client.raw.send(wire(FIN | RSV1 | TEXT, final))
            await client.hears_a("pong")


async def test_a_deflated_message_in_fragments_says_so_in_the_first_only(hospital: Server) -> None:
    async with deflating(hospital) as client:
        for _ in range(2):
            payload = client.deflated(ASK)
            await client.raw.send(wire(RSV1 | TEXT, payload[:3]) + wire(FIN | PING, b"x"))
            assert await client.raw.hear() == (PONG, b"x")
            await client.raw.send(wire(MORE) + wire(MORE, payload[3:-1]) + wire(FIN | MORE, payload[-1:]))
            await client.hears_a("pong")
        await client.raw.send(wire(TEXT, ASK[:5]) + wire(FIN | MORE, ASK[5:]))  # and a plain one
        await client.hears_a("pong")


@pytest.mark.parametrize("last", [FIN | RSV1 | MORE, RSV1 | MORE], ids=hex)
@pytest.mark.parametrize("first", [TEXT, RSV1 | TEXT], ids=hex)
async def test_a_continuation_that_calls_itself_deflated_fails_the_connection(
    hospital: Server, first: int, last: int
) -> None:
    async with deflating(hospital) as client:
        await client.raw.send(wire(first, b"\0") + wire(last, b"\0"))
        assert await ended(client.raw) == 1002


@pytest.mark.parametrize("bits", [RSV2, RSV3, RSV1 | RSV2, RSV1 | RSV3], ids=hex)
async def test_the_other_reserved_bits_still_fail_the_connection(hospital: Server, bits: int) -> None:
    async with deflating(hospital) as client:
        await client.raw.send(wire(FIN | bits | TEXT, client.deflated(ASK)))
        assert await ended(client.raw) == 1002


async def test_a_control_frame_that_calls_itself_deflated_is_taken_as_it_is_though_it_must_fail(
    hospital: Server,
) -> None:
    """Some clients set the bit, aiohttp says. A control frame is never inflated, so nothing can be made of it."""
    async with deflating(hospital) as client:
        await client.raw.send(wire(FIN | RSV1 | PING, b"x"))
        assert await client.raw.hear() == (PONG, b"x")
        await client.still_talks()


# --- what is wrong in them -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "garbage",
    [b"\xff" * 100, b"\x07", b"\x06", b"no deflate, only words", _stored(ASK)[:3] + b"\0\0" + ASK],
    ids=["ones", "no such block", "no such block either", "words", "a length that contradicts itself"],
)
async def test_what_cannot_be_inflated_ends_the_connection(hospital: Server, garbage: bytes) -> None:
    """It should be a protocol error, 1002. aiohttp knows no code for what its zlib raises, and says an ordinary
    good-bye; who sends garbage will not look."""
    async with deflating(hospital) as client:
        await client.raw.send(wire(FIN | RSV1 | TEXT, garbage) + wire(FIN | TEXT, ASK))
        assert await ended(client.raw) == 1000


async def test_half_a_deflated_message_is_half_a_message(hospital: Server) -> None:
    """A flush is appended to what came: what was cut off is missing, and no harm is done."""
    async with deflating(hospital) as client:
        await client.raw.send(wire(FIN | RSV1 | TEXT, zlib.compress(ASK * 50, wbits=-15)[:12]))
        opcode, payload = await client.raw.hear()
        assert (opcode == TEXT and json.loads(payload)["type"] == "error") or opcode == 0x8


async def test_a_deflated_text_that_is_no_utf_8_fails_the_connection(hospital: Server) -> None:
    async with deflating(hospital) as client:
        await client.raw.send(wire(FIN | RSV1 | TEXT, client.deflated(b'{"action":"\xff"}')))
        assert await ended(client.raw) == 1007


async def test_the_limit_is_on_what_a_message_inflates_to(hospital: Server) -> None:
    async with deflating(hospital) as client:
        await client.raw.send(wire(FIN | RSV1 | TEXT, client.deflated(ASK.ljust(MESSAGE_BYTES))))
        await client.hears_a("pong")
        await client.raw.send(wire(FIN | RSV1 | TEXT, client.deflated(ASK.ljust(MESSAGE_BYTES + 1))))
        assert await ended(client.raw) == 1009


async def test_nothing_comes_after_the_good_bye_to_who_said_too_much(hospital: Server, past: str) -> None:
    """The server waits a while for the answer to it, and the day goes on."""
    clinic = f"/clinics/{await hospital.a_doctor()}/{past}"
    async with deflating(hospital) as client:
        await client.say({"action": "subscribe", "date": past})
        await client.hears_a("snapshot")
        await client.raw.send(wire(FIN | RSV1 | TEXT, client.deflated(ASK.ljust(MESSAGE_BYTES + 1))))
        assert (await client.raw.hear())[0] == CLOSE
        for capacity in (3, 4, 5):
            await hospital.call("PUT", clinic, {"capacity": capacity})
        assert await client.raw.is_closed()


def _resident_bytes(server: Server) -> int:
    return int(psutil.Process(server.process.pid).memory_info().rss)


ZEROS = bytes(64 * MEGABYTE)
"""A thousand times what may be said; deflated, just what may be sent. A gigabyte of them is too much to be sent."""


@pytest.mark.parametrize("size", [2_000, MESSAGE_BYTES], ids=lambda size: f"in fragments of {size}")
async def test_a_message_that_inflates_without_end_takes_no_memory(hospital: Server, size: int) -> None:
    bomb = zlib.compress(ZEROS, wbits=-15)[: MESSAGE_BYTES - 1]
    assert len(zlib.decompressobj(wbits=-15).decompress(bomb)) > 50 * MEGABYTE
    parts = [bomb[begin : begin + size] for begin in range(0, len(bomb), size)]

    async def throw() -> int:
        async with deflating(hospital) as client:
            await client.raw.send(wire(RSV1 | TEXT) + b"".join(wire(MORE, part) for part in parts) + wire(FIN | MORE))
            return await ended(client.raw)

    before = most = _resident_bytes(hospital)
    thrown = asyncio.gather(*[throw() for _ in range(20)])
    while not thrown.done():
        most = max(most, _resident_bytes(hospital))
        await asyncio.sleep(0.002)
    assert await thrown == [1009] * 20
    assert most - before < 16 * MEGABYTE
    async with talking(hospital) as other:
        await still_talks(other)


async def test_the_limit_is_on_the_deflated_message_too(hospital: Server) -> None:
    async with deflating(hospital) as client:
        await client.raw.send(wire(FIN | RSV1 | TEXT, length=struct.pack("!BQ", 127, MEGABYTE)))
        assert await ended(client.raw) == 1009
    async with deflating(hospital) as client:
        half = bytes(MESSAGE_BYTES // 2)
        await client.raw.send(wire(RSV1 | TEXT, half) + wire(MORE, half) + wire(MORE, b"x"))
        assert await ended(client.raw) == 1009


async def test_a_message_ends_at_its_final_block(hospital: Server) -> None:
    empty = zlib.compressobj(wbits=-15).flush(zlib.Z_FINISH)
    async with deflating(hospital) as client:
        await client.raw.send(wire(FIN | RSV1 | TEXT, empty * (MESSAGE_BYTES // len(empty) - 1)))
        await client.hears_a("invalid_json")
        await client.still_talks()


async def test_noise_in_deflated_frames_ends_connections_and_nothing_else(hospital: Server) -> None:
    async with talking(hospital) as other:
        for _ in range(50):
            async with deflating(hospital) as client:
                await client.raw.send(wire(FIN | RSV1 | TEXT, os.urandom(200)))
                opcode, _ = await client.raw.hear()
                assert opcode in (TEXT, 0x8)
        await still_talks(other)


# --- what the server sends -----------------------------------------------------------------------


@pytest.mark.parametrize("window_bits", range(9, 16))
@pytest.mark.parametrize("takeover", [True, False], ids=["context stays", "context is forgotten"])
async def test_what_is_sent_can_be_inflated_within_the_window_agreed_on(
    hospital: Server, past: str, window_bits: int, takeover: bool
) -> None:
    """A client that forgets its context after each message must understand as well as one that keeps it: the server
    promises nothing of the kind unasked, and needs none."""
    entered = {"date": past, "effective_at": at(past, "08:00")}
    doctor = await hospital.a_doctor()
    await asyncio.gather(*[hospital.an_appointment(doctor, **entered) for _ in range(8)])
    offer = f"{OFFER}; server_max_window_bits={window_bits}" + ("" if takeover else "; server_no_context_takeover")
    async with deflating(hospital, offer, window_bits) as client, hospital.monitor() as plain:
        assert ("server_no_context_takeover" in client.agreed) is not takeover
        assert (f"server_max_window_bits={window_bits}" in client.agreed) is (window_bits < 15)
        await client.say({"action": "subscribe", "date": past})
        await plain.send_json({"action": "subscribe", "date": past})
        for _ in range(3):
            if not takeover:
                client._inflate = zlib.decompressobj(wbits=-window_bits)
            was_deflated, told = await client.hear()
            assert was_deflated
            expected = await plain.receive_json(timeout=5)
            for each in (told, expected):
                del each["data"]["timestamp"]
            assert told == expected
            changed = await hospital.call("PUT", f"/clinics/{doctor}/{past}", {"capacity": 50 + told["sequence"] % 40})
            assert changed.status == 200


async def test_a_short_answer_is_sent_as_it_is(hospital: Server) -> None:
    async with deflating(hospital) as client:
        await client.say({"action": "ping"})
        was_deflated, pong = await client.hear()
        assert (was_deflated, pong["type"]) == (False, "pong")
