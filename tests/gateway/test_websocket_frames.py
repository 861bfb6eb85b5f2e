"""RFC 6455 frame by frame, as the Autobahn suite goes through it: what it demands of a server, and what ours does.

Where aiohttp lets something pass that the RFC forbids, the test says what happens and why it does no harm. That no
case leaves a traceback in the server's log is looked at when the module's server stops.
"""

from __future__ import annotations

import asyncio
import json
import struct
from contextlib import suppress

import pytest

from tests.conftest import ServerFactory
from tests.gateway.contract import at, is_problem
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
    close,
    ended,
    still_talks,
    talking,
    wire,
)
from tests.gateway.raw import connected, request
from tests.server import Server

pytestmark = pytest.mark.asyncio(loop_scope="module")

HANDSHAKE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


# --- 5.4: fragments ------------------------------------------------------------------------------


async def test_a_text_in_any_number_of_fragments_is_one_message(hospital: Server) -> None:
    async with talking(hospital) as raw:
        pieces = [ASK[at : at + 1] for at in range(len(ASK))]
        pieces += [b" "] * 1_000
        await raw.send(
            wire(TEXT) + b"".join(wire(MORE, piece) + wire(MORE) for piece in pieces) + wire(FIN | MORE, b"\n")
        )
        assert (await raw.hear_json())["type"] == "pong"
        await raw.send(wire(TEXT) + wire(MORE, ASK) + wire(FIN | MORE))
        assert (await raw.hear_json())["type"] == "pong"
        await still_talks(raw)


async def test_a_message_of_nothing_but_empty_fragments_is_an_empty_message(hospital: Server) -> None:
    async with talking(hospital) as raw:
        await raw.send(wire(TEXT) + wire(MORE) + wire(FIN | MORE))
        assert (await raw.hear_json())["code"] == "invalid_json"


async def test_a_character_may_be_cut_between_fragments(hospital: Server) -> None:
    message = json.dumps({"action": "καλημέρα 🏥"}, ensure_ascii=False).encode()
    async with talking(hospital) as raw:
        await raw.send(wire(TEXT))
        for byte in message:
            await raw.send(wire(MORE, bytes((byte,))))
        await raw.send(wire(FIN | MORE))
        assert (await raw.hear_json())["code"] == "unknown_action"


async def test_control_frames_between_fragments_are_answered_before_the_message_is_whole(hospital: Server) -> None:
    async with talking(hospital) as raw:
        await raw.send(wire(TEXT, ASK[:5]) + wire(FIN | PING, b"one") + wire(FIN | PONG, b"unasked"))
        assert await raw.hear() == (PONG, b"one")
        await raw.send(wire(MORE, ASK[5:9]) + wire(FIN | PING, b"two") + wire(FIN | PING))
        assert [await raw.hear(), await raw.hear()] == [(PONG, b"two"), (PONG, b"")]
        await raw.send(wire(FIN | MORE, ASK[9:]))
        assert (await raw.hear_json())["type"] == "pong"


async def test_a_good_bye_between_fragments_is_answered(hospital: Server) -> None:
    async with talking(hospital) as raw:
        await raw.send(wire(TEXT, ASK[:5]) + close(1000))
        assert await ended(raw) == 1000


async def test_updates_come_between_a_clients_fragments(hospital: Server, past: str) -> None:
    async with talking(hospital) as raw:
        await raw.say({"action": "subscribe", "date": past})
        assert (await raw.hear_json())["type"] == "snapshot"
        await raw.send(wire(TEXT, ASK[:5]))
        await hospital.an_appointment(await hospital.a_doctor(), date=past, effective_at=at(past, "08:00"))
        assert (await raw.hear_json())["type"] == "update"
        await raw.send(wire(FIN | MORE, ASK[5:]))
        assert (await raw.hear_json())["type"] == "pong"


@pytest.mark.parametrize("first", [FIN | MORE, MORE], ids=["the last", "one more"])
async def test_a_continuation_of_nothing_fails_the_connection(hospital: Server, first: int) -> None:
    async with talking(hospital) as raw:
        await raw.send(wire(first, ASK))
        assert await ended(raw) == 1002
    async with talking(hospital) as raw:
        await raw.send(wire(TEXT, ASK[:5]) + wire(FIN | MORE, ASK[5:]) + wire(first, ASK))
        assert (await raw.hear_json())["type"] == "pong"
        assert await ended(raw) == 1002


@pytest.mark.parametrize("first", [FIN | TEXT, TEXT, FIN | BINARY, BINARY], ids=hex)
async def test_another_message_inside_a_fragmented_one_fails_the_connection(hospital: Server, first: int) -> None:
    async with talking(hospital) as raw:
        await raw.send(wire(TEXT, ASK[:5]) + wire(first, ASK))
        assert await ended(raw) == 1002


async def test_another_message_after_an_empty_first_fragment_is_heard_though_it_must_fail(hospital: Server) -> None:
    """aiohttp knows by the bytes held that a message has begun. No byte is lost, or put where it does not belong."""
    async with talking(hospital) as raw:
        await raw.send(wire(TEXT) + wire(FIN | TEXT, ASK))
        assert (await raw.hear_json())["type"] == "pong"
        await still_talks(raw)


# --- 5.2: reserved bits, opcodes, masks, lengths -------------------------------------------------


@pytest.mark.parametrize("bits", [RSV1, RSV2, RSV3, RSV1 | RSV2, RSV2 | RSV3, RSV1 | RSV2 | RSV3], ids=hex)
@pytest.mark.parametrize("opcode", [TEXT, BINARY, CLOSE, PING, PONG], ids=hex)
async def test_a_reserved_bit_that_nothing_gave_a_meaning_fails_the_connection(
    hospital: Server, bits: int, opcode: int
) -> None:
    async with talking(hospital) as raw:
        await raw.send(wire(FIN | TEXT, ASK) + wire(FIN | bits | opcode))
        assert (await raw.hear_json())["type"] == "pong"
        assert await ended(raw) == 1002


@pytest.mark.parametrize("opcode", [0x3, 0x4, 0x5, 0x6, 0x7, 0xB, 0xC, 0xD, 0xE, 0xF], ids=hex)
async def test_a_reserved_opcode_fails_the_connection(hospital: Server, opcode: int) -> None:
    async with talking(hospital) as raw:
        await raw.send(wire(FIN | opcode, ASK) + wire(FIN | PING))
        assert await ended(raw) == 1002
    async with talking(hospital) as raw:
        await raw.send(wire(TEXT, ASK[:5]) + wire(FIN | opcode))
        assert await ended(raw) == 1002


async def test_an_unmasked_frame_is_heard_though_it_must_fail(hospital: Server) -> None:
    """Masks keep a page's script from writing another protocol's bytes past a proxy: browsers always mask, and who is
    no browser can write what it likes anyway. Nothing here depends on it, and aiohttp does not look."""
    async with talking(hospital) as raw:
        await raw.send(wire(FIN | TEXT, ASK, mask=None) + wire(FIN | PING, b"x", mask=None))
        assert (await raw.hear_json())["type"] == "pong"
        assert await raw.hear() == (PONG, b"x")
        await raw.send(wire(TEXT, ASK[:5], mask=None) + wire(FIN | MORE, ASK[5:]))
        assert (await raw.hear_json())["type"] == "pong"


@pytest.mark.parametrize("mask", [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\0\x01\0\0"])
async def test_any_mask_is_taken_off(hospital: Server, mask: bytes) -> None:
    message = b" " * 1_001 + ASK
    async with talking(hospital) as raw:
        await raw.send(wire(FIN | TEXT, message, mask=mask))
        assert (await raw.hear_json())["type"] == "pong"


@pytest.mark.parametrize(
    "length", [struct.pack("!BH", 126, len(ASK)), struct.pack("!BQ", 127, len(ASK))], ids=["16 bits", "64 bits"]
)
async def test_a_length_written_longer_than_needed_is_heard_though_it_must_not_be(
    hospital: Server, length: bytes
) -> None:
    """It says the same number. Of control frames it is refused, since there a longer form is none at all."""
    async with talking(hospital) as raw:
        await raw.send(wire(FIN | TEXT, ASK, length=length))
        assert (await raw.hear_json())["type"] == "pong"
        await raw.send(wire(FIN | PING, ASK, length=length))
        assert await ended(raw) == 1002


@pytest.mark.parametrize("size", [125, 126, 127, 128, 65_535, 65_536])
async def test_a_length_is_read_in_each_of_its_forms(hospital: Server, size: int) -> None:
    async with talking(hospital) as raw:
        await raw.send(wire(FIN | TEXT, ASK.ljust(size)))
        assert (await raw.hear_json())["type"] == "pong"


@pytest.mark.parametrize("size", [MESSAGE_BYTES + 1, 2**31, 2**32, 2**63 - 1, 2**63, 2**64 - 1])
async def test_a_length_over_the_limit_ends_the_connection_before_its_payload_comes(
    hospital: Server, size: int
) -> None:
    """The highest bit must be 0: such a length is too large in any case."""
    async with talking(hospital) as raw:
        await raw.send(wire(FIN | TEXT, length=struct.pack("!BQ", 127, size)))
        assert await ended(raw) == 1009


async def test_fragments_over_the_limit_together_end_the_connection(hospital: Server) -> None:
    async with talking(hospital) as raw:
        await raw.send(wire(TEXT, b" " * (MESSAGE_BYTES - len(ASK))) + wire(FIN | MORE, ASK))
        assert (await raw.hear_json())["type"] == "pong"
        await raw.send(wire(TEXT, b" " * MESSAGE_BYTES) + wire(MORE) + wire(MORE, b" "))
        assert await ended(raw) == 1009


async def test_frames_that_come_byte_by_byte_are_heard(hospital: Server) -> None:
    async with talking(hospital) as raw:
        for byte in wire(FIN | TEXT, ASK.ljust(200)) + wire(FIN | PING, b"x"):
            await raw.send(bytes((byte,)))
        assert (await raw.hear_json())["type"] == "pong"
        assert await raw.hear() == (PONG, b"x")


@pytest.mark.parametrize("cut", [1, 2, 5, 6, 12], ids=lambda cut: f"after {cut} bytes")
async def test_half_a_frame_keeps_nobody_waiting_but_its_sender(hospital: Server, past: str, cut: int) -> None:
    async with talking(hospital) as raw, talking(hospital) as other:
        await raw.say({"action": "subscribe", "date": past})
        assert (await raw.hear_json())["type"] == "snapshot"
        await raw.send(wire(FIN | TEXT, ASK)[:cut])
        await still_talks(other)
        changed = await hospital.call("PUT", f"/clinics/{await hospital.a_doctor()}/{past}", {"capacity": 3})
        assert (changed.status, (await raw.hear_json())["type"]) == (200, "update")
        await raw.send(wire(FIN | TEXT, ASK)[cut:])
        assert (await raw.hear_json())["type"] == "pong"


async def test_the_server_sends_whole_unmasked_frames_of_the_shortest_form(hospital: Server, past: str) -> None:
    async with talking(hospital) as raw:
        await raw.say({"action": "ping"})
        first, length = await raw.reader.readexactly(2)
        assert first == FIN | TEXT
        assert len(await raw.reader.readexactly(length)) == length < 126
        await raw.say({"action": "subscribe", "date": past})
        first, length, size = struct.unpack("!BBH", await raw.reader.readexactly(4))
        assert (first, length) == (FIN | TEXT, 126)
        assert len(await raw.reader.readexactly(size)) == size >= 126
        await still_talks(raw)


# --- 5.5: control frames -------------------------------------------------------------------------


@pytest.mark.parametrize("payload", [b"", b"x", b"\0\xff\xfe not a text", b"x" * 125], ids=len)
async def test_a_ping_is_answered_with_its_payload(hospital: Server, payload: bytes) -> None:
    async with talking(hospital) as raw:
        await raw.send(wire(FIN | PING, payload))
        assert await raw.hear() == (PONG, payload)


async def test_pings_and_messages_sent_together_are_answered_in_order(hospital: Server) -> None:
    async with talking(hospital) as raw:
        await raw.send(b"".join(wire(FIN | PING, b"%d" % number) + wire(FIN | TEXT, ASK) for number in range(20)))
        for number in range(20):
            assert await raw.hear() == (PONG, b"%d" % number)
            assert (await raw.hear_json())["type"] == "pong"


async def test_a_pong_that_nobody_asked_for_is_not_answered(hospital: Server) -> None:
    async with talking(hospital) as raw:
        await raw.send(wire(FIN | PONG) + wire(FIN | PONG, b"x" * 125))
        await still_talks(raw)


@pytest.mark.parametrize("opcode", [CLOSE, PING, PONG], ids=hex)
@pytest.mark.parametrize("size", [126, 200, 65_536])
async def test_a_control_frame_over_125_bytes_fails_the_connection(hospital: Server, opcode: int, size: int) -> None:
    async with talking(hospital) as raw:
        await raw.send(wire(FIN | opcode, b"\x03\xe8".ljust(size, b"x")))
        assert await ended(raw) == 1002


@pytest.mark.parametrize("opcode", [CLOSE, PING, PONG], ids=hex)
async def test_a_fragmented_control_frame_fails_the_connection(hospital: Server, opcode: int) -> None:
    async with talking(hospital) as raw:
        await raw.send(wire(opcode, b"\x03\xe8") + wire(FIN | MORE))
        assert await ended(raw) == 1002


# --- 5.6, 8.1: texts -----------------------------------------------------------------------------

NO_UTF_8 = {
    "a lone continuation": b"\x80",
    "a character that ends early": b"\xe2\x82",
    "a slash in two bytes": b"\xc0\xaf",
    "a surrogate": b"\xed\xa0\x80",
    "beyond Unicode": b"\xf4\x90\x80\x80",
    "no byte of UTF-8": b"\xff",
}


@pytest.mark.parametrize("bad", NO_UTF_8.values(), ids=NO_UTF_8.keys())
async def test_a_text_that_is_no_utf_8_fails_the_connection(hospital: Server, bad: bytes) -> None:
    message = b'{"action":"' + bad + b'"}'
    async with talking(hospital) as raw:
        await raw.send(wire(FIN | TEXT, message))
        assert await ended(raw) == 1007
    async with talking(hospital) as raw:  # found when it is whole, not before: a message is small
        await raw.send(wire(TEXT, message[:12]) + wire(FIN | PING))
        assert await raw.hear() == (PONG, b"")
        await raw.send(wire(FIN | MORE, message[12:]))
        assert await ended(raw) == 1007


async def test_json_in_a_binary_message_is_understood_and_answered_in_a_text(hospital: Server) -> None:
    """The RFC leaves binary messages to the application. Ours takes them for what they hold, and never sends one."""
    async with talking(hospital) as raw:
        await raw.send(wire(FIN | BINARY, ASK))
        assert (await raw.hear_json())["type"] == "pong"
        await raw.send(wire(BINARY, ASK[:5]) + wire(FIN | MORE, ASK[5:]))
        assert (await raw.hear_json())["type"] == "pong"
        await raw.send(wire(FIN | BINARY, b'{"action":"\xff"}'))
        assert (await raw.hear_json())["code"] == "invalid_json"
        await still_talks(raw)


# --- 7: good-bye ---------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999])
async def test_a_good_bye_with_a_code_that_may_be_sent_is_answered(hospital: Server, code: int) -> None:
    async with talking(hospital) as raw:
        await raw.send(close(code, "bis später".encode()))
        assert await ended(raw) == 1000


async def test_a_good_bye_without_a_code_is_answered(hospital: Server) -> None:
    async with talking(hospital) as raw:
        await raw.send(wire(FIN | CLOSE))
        assert await ended(raw) == 1000


async def test_the_longest_reason_is_heard(hospital: Server) -> None:
    async with talking(hospital) as raw:
        await raw.send(close(4000, b"x" * 123))
        assert await ended(raw) == 1000


@pytest.mark.parametrize("code", [0, 1, 999, 1004, 1005, 1015, 1016, 1100, 2000, 2999])
async def test_a_good_bye_with_a_code_that_nobody_may_send_is_a_protocol_error(hospital: Server, code: int) -> None:
    async with talking(hospital) as raw:
        await raw.send(close(code))
        assert await ended(raw) == 1002


@pytest.mark.parametrize("code", [1006, 5000, 65_535])
async def test_some_codes_that_nobody_may_send_are_answered_like_any_good_bye(hospital: Server, code: int) -> None:
    """aiohttp does not know them from others. The connection ends all the same, and nobody reads the code."""
    async with talking(hospital) as raw:
        await raw.send(close(code))
        assert await ended(raw) == 1000


async def test_half_a_close_code_is_a_protocol_error(hospital: Server) -> None:
    async with talking(hospital) as raw:
        await raw.send(wire(FIN | CLOSE, b"\x03"))
        assert await ended(raw) == 1002


@pytest.mark.parametrize("bad", NO_UTF_8.values(), ids=NO_UTF_8.keys())
async def test_a_reason_that_is_no_utf_8_fails_the_connection(hospital: Server, bad: bytes) -> None:
    async with talking(hospital) as raw:
        await raw.send(close(1000, b"because " + bad))
        assert await ended(raw) == 1007


async def test_what_comes_after_a_good_bye_is_not_heard(hospital: Server) -> None:
    async with talking(hospital) as raw:
        await raw.send(close(1000) + wire(FIN | PING, b"x") + wire(FIN | TEXT, ASK) + close(1001))
        assert await ended(raw) == 1000


async def test_a_subscriber_that_said_good_bye_is_told_nothing_more(hospital: Server, past: str) -> None:
    async with talking(hospital) as raw:
        await raw.say({"action": "subscribe", "date": past})
        assert (await raw.hear_json())["type"] == "snapshot"
        await raw.send(close(1000))
        await hospital.call("PUT", f"/clinics/{await hospital.a_doctor()}/{past}", {"capacity": 3})
        heard = await raw.hear()
        if heard[0] == TEXT:  # it was on its way already
            heard = await raw.hear()
        assert heard[0] == CLOSE
        assert await raw.is_closed()


async def test_a_connection_that_ends_without_a_good_bye_is_let_go(hospital: Server) -> None:
    for begun in (b"", wire(TEXT, ASK[:5]), wire(FIN | TEXT, ASK)[:5]):
        async with talking(hospital) as raw:
            await raw.send(begun)
            raw.writer.write_eof()
            assert (await raw.reader.read())[:1] in (b"", bytes((FIN | CLOSE,)))


@pytest.mark.asyncio(loop_scope="function")
async def test_a_server_that_goes_says_so_to_everyone_and_hangs_up_whatever_they_answer(serve: ServerFactory) -> None:
    server = await serve()
    async with talking(server) as polite, talking(server) as talkative, talking(server) as silent:
        await talkative.send(wire(TEXT, ASK[:5]))
        stopping = asyncio.create_task(server.stop())
        for raw in (polite, talkative, silent):
            opcode, payload = await raw.hear()
            assert (opcode, payload[:2]) == (CLOSE, struct.pack("!H", 1012))
        with suppress(ConnectionError):  # it need not wait for an answer
            await polite.send(wire(FIN | CLOSE, struct.pack("!H", 1012)))
            await talkative.send(wire(FIN | MORE, ASK[5:]) + wire(FIN | PING, b"x"))
        for raw in (polite, talkative, silent):
            assert await raw.is_closed()
        assert await stopping == 0
    assert b"Traceback" not in server.log


# --- 4: the handshake ----------------------------------------------------------------------------


async def test_the_accepted_key_is_the_rfcs_own_example(hospital: Server) -> None:
    async with connected(hospital) as raw:
        answer = await raw.upgrade(WS, {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="})
        assert answer.status == 101
        assert answer.headers["Sec-Websocket-Accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        assert answer.headers["Upgrade"].lower() == "websocket"
        assert answer.headers["Connection"].lower() == "upgrade"
        await still_talks(raw)


@pytest.mark.parametrize(
    "headers",
    [
        {"Upgrade": "WebSocket", "Connection": "keep-alive, Upgrade"},
        {"Upgrade": "WEBSOCKET", "Connection": "UPGRADE"},
        {"Sec-WebSocket-Extensions": "x-webkit-deflate-frame, bbf-usp-protocol; a=1"},
    ],
    ids=str,
)
async def test_what_may_be_written_in_several_ways_is_accepted(hospital: Server, headers: dict[str, str]) -> None:
    async with connected(hospital) as raw:
        answer = await raw.upgrade(WS, headers)
        assert answer.status == 101
        assert "Sec-Websocket-Extensions" not in answer.headers
        await still_talks(raw)


async def test_a_subprotocol_that_the_server_does_not_speak_is_not_promised(hospital: Server) -> None:
    async with connected(hospital) as raw:
        answer = await raw.upgrade(WS, {"Sec-WebSocket-Protocol": "mqtt, graphql-ws"})
        assert answer.status == 101
        assert "Sec-Websocket-Protocol" not in answer.headers


async def test_what_is_sent_right_behind_the_handshake_is_heard(hospital: Server) -> None:
    async with connected(hospital) as raw:
        raw.path = WS
        await raw.send(request("GET", WS, {"Host": raw.host} | HANDSHAKE) + wire(FIN | TEXT, ASK))
        assert (await raw.answer()).status == 101
        assert (await raw.hear_json())["type"] == "pong"


@pytest.mark.parametrize(
    "wrong",
    [
        {"Sec-WebSocket-Key": None},
        {"Sec-WebSocket-Key": ""},
        {"Sec-WebSocket-Key": "not base64 at all!"},
        {"Sec-WebSocket-Key": "c2hvcnQ="},
        {"Sec-WebSocket-Version": None},
        {"Sec-WebSocket-Version": "12"},
        {"Sec-WebSocket-Version": "14"},
        {"Sec-WebSocket-Version": "thirteen"},
        {"Upgrade": None},
        {"Upgrade": "h2c"},
        {"Connection": None},
        {"Connection": "keep-alive"},
    ],
    ids=str,
)
async def test_a_handshake_that_is_none_is_400(hospital: Server, wrong: dict[str, str | None]) -> None:
    """Of another version the RFC wants the answer to name those spoken, too. Nobody speaks another any more."""
    async with connected(hospital) as raw:
        headers = {name: value for name, value in (HANDSHAKE | wrong).items() if value is not None}
        await raw.send(request("GET", WS, {"Host": raw.host} | headers))
        is_problem(await raw.answer(), 400, "invalid_request")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
async def test_a_handshake_is_a_get(hospital: Server, method: str) -> None:
    async with connected(hospital) as raw:
        await raw.send(request(method, WS, {"Host": raw.host} | HANDSHAKE))
        is_problem(await raw.answer(), 405, "method_not_allowed")


@pytest.mark.parametrize("version", ["7", "8"])
async def test_the_drafts_that_became_the_rfc_are_still_spoken(hospital: Server, version: str) -> None:
    """Their frames are the same."""
    async with connected(hospital) as raw:
        assert (await raw.upgrade(WS, {"Sec-WebSocket-Version": version})).status == 101
        await still_talks(raw)


async def test_a_handshake_in_http_1_0_is_accepted_though_it_must_not_be(hospital: Server) -> None:
    """Nothing that speaks it sends such headers. From the answer on, no HTTP is spoken."""
    async with connected(hospital) as raw:
        raw.path = WS
        await raw.send(request("GET", WS, {"Host": raw.host} | HANDSHAKE).replace(b"HTTP/1.1", b"HTTP/1.0"))
        assert (await raw.answer()).status == 101
        await still_talks(raw)
