"""Frames that go to sockets past their transports: every byte, in order, and nobody is waited for."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import struct
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from gateway.live import direct
from gateway.live.direct import SHARED_FROM_BYTES, Handing
from gateway.live.frames import Frame, text_frame
from gateway.live.wire import Gone, Wire

pytestmark = pytest.mark.skipif(not direct.AVAILABLE, reason="files in memory are Linux's")

SMALL = text_frame([b"s" * 300])
LARGE = text_frame([b"head", *[bytes((n,)) * 40_000 for n in range(5)]])


@contextmanager
def sockets(count: int) -> Iterator[list[tuple[socket.socket, socket.socket]]]:
    """[(the server's end, which never waits, the client's)]"""
    pairs = []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        for _ in range(count):
            client = socket.create_connection(listening.getsockname())
            server, _ = listening.accept()
            server.setblocking(False)
            client.settimeout(5)
            pairs.append((server, client))
        try:
            yield pairs
        finally:
            for pair in pairs:
                for end in pair:
                    end.close()


def fill(server: socket.socket) -> int:
    """Until not a byte more is taken. Returns how many were."""
    server.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    sent = 0
    for size in (65536, 1):
        try:
            while True:
                sent += server.send(b"f" * size)
        except BlockingIOError:
            pass
    return sent


def read(client: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = client.recv(size - len(data))
        assert more, "the connection has ended"
        data += more
    return data


def whole(frame: Frame) -> bytes:
    return b"".join(frame.pieces)


def hand(frame: Frame, *numbers: int) -> list[tuple[int, int]]:
    handing = Handing(frame)
    try:
        return handing.to(numbers)
    finally:
        handing.close()


def test_the_two_frames_here_go_by_different_ways() -> None:
    assert SMALL.size < SHARED_FROM_BYTES < LARGE.size
    assert len(LARGE.pieces) > 1


@pytest.mark.parametrize("frame", [SMALL, LARGE], ids=["copied", "shared"])
def test_everybody_gets_every_byte_also_when_the_pages_are_let_go_first(frame: Frame) -> None:
    with sockets(20) as pairs:
        assert hand(frame, *[server.fileno() for server, _ in pairs]) == []
        assert hand(frame, *[server.fileno() for server, _ in pairs]) == []
        for _, client in pairs:
            assert read(client, 2 * frame.size) == 2 * whole(frame)


@pytest.mark.parametrize("frame", [SMALL, LARGE], ids=["copied", "shared"])
def test_who_is_full_or_gone_is_named_and_the_others_have_it_all(frame: Frame) -> None:
    with sockets(4) as ((full, _), (before, a), (gone, its_client), (after, b)):
        fill(full)
        its_client.close()
        gone.shutdown(socket.SHUT_WR)
        numbers = [before.fileno(), full.fileno(), gone.fileno(), after.fileno()]
        assert hand(frame, *numbers) == [(full.fileno(), 0), (gone.fileno(), 0)]
        assert read(a, frame.size) == read(b, frame.size) == whole(frame)


def test_a_socket_that_takes_a_part_is_sent_exactly_the_rest() -> None:
    frame = text_frame([os.urandom(3_000_000), os.urandom(70_000), b"tail"])
    with sockets(1) as ((server, client),):
        server.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        ((number, sent),) = hand(frame, server.fileno())
        assert (number, 0 < sent < frame.size) == (server.fileno(), True)
        rest = b"".join(frame.after(sent))
        assert read(client, sent) + rest == whole(frame)


@given(st.lists(st.binary(max_size=50), max_size=6), st.integers(0, 400))
def test_what_is_left_of_a_frame_is_its_end(pieces: list[bytes], sent: int) -> None:
    data = b"".join(pieces)
    assert b"".join(Frame(tuple(pieces), len(data)).after(sent)) == data[sent:]


def test_without_room_for_another_file_nobody_is_handed_a_large_frame() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with sockets(1) as ((server, client),):
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        try:
            assert hand(LARGE, server.fileno()) == [(server.fileno(), 0)]
            assert hand(SMALL, server.fileno()) == []
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert read(client, SMALL.size) == whole(SMALL)


def test_files_in_memory_are_closed() -> None:
    before = set(os.listdir("/proc/self/fd"))
    with sockets(1) as ((server, _),):
        hand(LARGE, server.fileno())
    assert set(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("frame", [SMALL, LARGE], ids=["copied", "shared"])
def test_another_thread_gets_no_turn_in_between(frame: Frame) -> None:
    """Letting go of the interpreter's lock for each socket, one would wait for a computing thread each time."""
    turns, over = 0, threading.Event()

    def compute() -> None:
        nonlocal turns
        while not over.is_set():
            turns += 1

    interval = sys.getswitchinterval()
    thread = threading.Thread(target=compute)
    with sockets(5) as pairs:
        numbers = [server.fileno() for server, _ in pairs]
        handing = Handing(frame)
        handing.to(numbers[:1])  # Making the file may wait; that is once for all.
        thread.start()
        try:
            sys.setswitchinterval(1)
            before = turns
            handing.to(numbers)
            after = turns
        finally:
            over.set()
            sys.setswitchinterval(interval)
            thread.join()
            handing.close()
    assert turns > 0
    assert after == before


# --- the transport beside ------------------------------------------------------------------------


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    """As servers run."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        yield runner


class Heard(asyncio.Protocol):
    """A connection's own protocol, and all that it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.data = b""

    def data_received(self, data: bytes) -> None:
        self.data += data

    def pause_writing(self) -> None:
        self.told.append("pause")

    def resume_writing(self) -> None:
        self.told.append("resume")

    def eof_received(self) -> bool:
        self.told.append("end of data")
        return True

    def connection_lost(self, error: Exception | None) -> None:
        self.told.append("lost")


class Wired:
    """A wire on a real connection, and what it and the protocol behind it heard, in order."""

    def __init__(self, transport: asyncio.Transport, protocol: Heard, client: socket.socket) -> None:
        self.transport, self.protocol, self.client = transport, protocol, client
        self.wire = Wire(transport, 0)
        self.wire.blocked = lambda: protocol.told.append(f"blocked, socket {'open' if self.is_open() else 'closed'}")

    def is_open(self) -> bool:
        try:
            os.fstat(self.wire.socket)
        except OSError:
            return False
        return True


async def until(happened: Callable[[], bool]) -> None:
    for _ in iter(happened, True):
        await asyncio.sleep(0)


@asynccontextmanager
async def wired(server: socket.socket, client: socket.socket) -> AsyncIterator[Wired]:
    transport, protocol = await asyncio.get_running_loop().connect_accepted_socket(Heard, server)
    try:
        yield Wired(transport, protocol, client)
    finally:
        transport.abort()


def test_who_writes_past_a_transport_hears_at_once_that_it_keeps_something(runner: asyncio.Runner) -> None:
    async def story() -> None:
        fill(server)
        async with wired(server, client) as here, asyncio.timeout(5):
            assert here.wire.clear
            here.transport.write(b"a pong, say")
            assert here.protocol.told == ["blocked, socket open", "pause"]  # no turn of the loop was needed
            assert not here.wire.clear
            client.setblocking(False)
            while not here.wire.clear:
                with suppress(BlockingIOError):
                    client.recv(2**20)
                await asyncio.sleep(0)
            assert here.protocol.told[-1] == "resume"

    with sockets(1) as ((server, client),):
        runner.run(story())


@pytest.mark.parametrize("how", ["abort", "close", "reset"])
def test_who_writes_past_a_transport_hears_that_it_is_no_more_while_the_socket_is_still_its_own(
    runner: asyncio.Runner, how: str
) -> None:
    async def story() -> None:
        async with wired(server, client) as here, asyncio.timeout(5):
            if how == "reset":
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                client.close()
            else:
                getattr(here.transport, how)()
            await until(lambda: not here.is_open())
            assert here.protocol.told == ["blocked, socket open", "lost"]
            assert not here.wire.clear

    with sockets(1) as ((server, client),):
        runner.run(story())


def test_the_protocol_of_the_connection_goes_on_hearing_all_the_rest(runner: asyncio.Runner) -> None:
    async def story() -> None:
        async with wired(server, client) as here, asyncio.timeout(5):
            client.sendall(b"hello")
            client.shutdown(socket.SHUT_WR)
            await until(lambda: here.protocol.told == ["end of data"])
            assert here.protocol.data == b"hello"
            assert here.wire.clear

    with sockets(1) as ((server, client),):
        runner.run(story())


def test_who_writes_past_a_transport_hears_it_also_when_several_pieces_are_kept(runner: asyncio.Runner) -> None:
    async def story() -> None:
        fill(server)
        async with wired(server, client) as here:
            here.wire.send(LARGE)
            assert not here.wire.clear
            assert here.protocol.told == ["blocked, socket open", "pause"]

    with sockets(1) as ((server, client),):
        runner.run(story())


def test_waiting_for_all_to_leave_ends_with_the_last_byte_or_with_the_connection(runner: asyncio.Runner) -> None:
    async def story() -> None:
        fill(server)
        async with wired(server, client) as here, asyncio.timeout(5):
            await here.wire.drained()  # There is nothing to wait for.
            here.wire.send(LARGE)
            cut_short = asyncio.create_task(here.wire.drained())
            first, second = asyncio.create_task(here.wire.drained()), asyncio.create_task(here.wire.drained())
            await asyncio.sleep(0)
            cut_short.cancel()
            client.setblocking(False)
            while not here.wire.clear:
                assert not first.done()
                with suppress(BlockingIOError):
                    client.recv(2**20)
                await asyncio.sleep(0)
            await asyncio.gather(first, second)

            fill(server)
            here.wire.send(LARGE)
            waiting = asyncio.create_task(here.wire.drained())
            await asyncio.sleep(0)
            assert not waiting.done()
            here.wire.abort()
            for _ in range(2):
                with pytest.raises(Gone):
                    await waiting
                waiting = asyncio.create_task(here.wire.drained())
            with pytest.raises(Gone):
                await waiting

    with sockets(1) as ((server, client),):
        runner.run(story())
