"""Monitors that read slowly, never, or too much is said to: they harm nobody, and end at the newest state."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import psutil
import pytest
import pytest_asyncio

from domain.postgres.connect import Connection
from tests.conftest import ServerFactory
from tests.gateway.contract import at, is_day
from tests.gateway.raw import Raw, connected, frame
from tests.server import Server

pytestmark = pytest.mark.asyncio(loop_scope="module")

WS = "/api/v1/ws/queue"
DAY = "2022-03-07"
DOCTORS, PATIENTS = 40, 40
AT_ONCE = 24
MEGABYTE = 2**20
SECONDS = 20.0
"""Less than the 30 s after which whoever does not read is cut off."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def large_day(hospital: Server) -> AsyncIterator[list[str]]:
    """The doctors of a date with 1,600 appointments: half a megabyte in every full update."""
    doctors = [await hospital.a_doctor() for _ in range(DOCTORS)]
    patients = [await hospital.a_patient() for _ in range(PATIENTS)]
    turn = asyncio.Semaphore(AT_ONCE)

    async def book(doctor: str, patient: str) -> None:
        async with turn:
            await hospital.an_appointment(doctor, patient, date=DAY, effective_at=at(DAY, "07:00"), allow_overlap=True)

    # Each doctor's and each patient's bookings wait for each other: so take them across.
    await asyncio.gather(
        *[book(doctors[(n + m) % DOCTORS], patients[n]) for m in range(DOCTORS) for n in range(PATIENTS)]
    )
    yield doctors


def _resident_bytes(server: Server) -> int:
    return int(psutil.Process(server.process.pid).memory_info().rss)


async def _change(hospital: Server, doctor: str, room: int) -> int:
    """Returns the sequence."""
    answer = await hospital.call("PUT", f"/clinics/{doctor}/{DAY}", {"capacity": 40, "room": f"R {room}"})
    assert answer.status == 200
    return int(answer.body["sequence"])


async def test_a_slow_reader_is_skipped_never_goes_back_and_ends_at_the_newest_state(
    hospital: Server, large_day: list[str]
) -> None:
    changes = 40
    async with connected(hospital, receive_bytes=4096, limit=64 * MEGABYTE) as slow, hospital.monitor() as brisk:
        await slow.upgrade(WS)
        await slow.say({"action": "subscribe", "date": DAY})
        await brisk.send_json({"action": "subscribe", "date": DAY})
        assert (await brisk.receive_json(timeout=SECONDS))["data"]["total_appointments"] == DOCTORS * PATIENTS

        slow.writer.transport.pause_reading()  # type: ignore[attr-defined]
        before = _resident_bytes(hospital)
        for number in range(changes):
            sequence = await _change(hospital, large_day[number % DOCTORS], number)
            update = await brisk.receive_json(timeout=SECONDS)  # the others wait for nobody
            assert update["sequence"] == sequence
        assert _resident_bytes(hospital) - before < 16 * MEGABYTE
        slow.writer.transport.resume_reading()  # type: ignore[attr-defined]

        heard: list[dict[str, Any]] = [await slow.hear_json()]
        while heard[-1]["sequence"] < sequence:
            heard.append(await slow.hear_json())
        assert heard[0]["type"] == "snapshot"
        assert len(heard) < changes / 2
        sequences = [message["sequence"] for message in heard]
        assert sequences == sorted(set(sequences))
        newest = heard[-1]["data"]
        is_day(newest)
        assert newest | {"timestamp": ""} == update["data"] | {"timestamp": ""}
        # Whoever was skipped can tell: the last update goes on from a state that never came.
        assert heard[-1]["from"] > heard[-2]["sequence"]


async def test_answers_to_a_slow_reader_stand_between_its_states_and_never_within_one(
    hospital: Server, large_day: list[str]
) -> None:
    """States go past the transport, and answers through it: where one of them waits, the other must not overtake."""
    async with connected(hospital, receive_bytes=4096, limit=64 * MEGABYTE) as slow:
        await slow.upgrade(WS)
        await slow.say({"action": "subscribe", "date": DAY})
        heard: list[dict[str, Any]] = [await slow.hear_json()]
        pinged, ponged = 0, 0
        for number in range(60):
            transport: Any = slow.writer.transport
            (transport.pause_reading, transport.resume_reading)[number // 7 % 2]()
            sequence = await _change(hospital, large_day[number % DOCTORS], 100 + number)
            for _ in range(number % 4):
                await slow.frame(0x9, b"%d" % pinged)
                pinged += 1
        transport.resume_reading()
        while heard[-1]["sequence"] < sequence or ponged < pinged:
            opcode, payload = await slow.hear()
            if opcode == 0xA:
                assert payload == b"%d" % ponged
                ponged += 1
            else:
                assert opcode == 0x1
                heard.append(json.loads(payload))
        sequences = [message["sequence"] for message in heard]
        assert sequences == sorted(set(sequences))
        is_day(heard[-1]["data"])


async def test_a_newcomer_never_hears_what_was_meant_for_who_had_its_socket_before(
    hospital: Server, large_day: list[str]
) -> None:
    """The kernel gives a new connection the number of the one that ended last; here the server is in the middle of
    handing out whenever that happens."""
    over = asyncio.Event()

    async def come_and_go() -> int:
        times = 0
        while not over.is_set():
            async with connected(hospital, limit=64 * MEGABYTE) as raw:
                assert (await raw.upgrade(WS)).status == 101
                await raw.say({"action": "ping"})
                assert (await raw.hear_json())["type"] == "pong"
                await raw.say({"action": "subscribe", "date": DAY})
                opcode, first = await raw.hear()
                assert (opcode, first[:18]) == (0x1, b'{"type":"snapshot"')
                if times % 2:
                    await raw.hear()  # in a crowd by now
            times += 1  # `connected` leaves without a word
        return times

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        visitors = [group.create_task(come_and_go()) for _ in range(12)]
        for number in range(150):
            await _change(hospital, large_day[number % DOCTORS], 300 + number)
        over.set()
        for number in range(12):  # for whoever still waits for one state more
            await _change(hospital, large_day[number % DOCTORS], 500 + number)
    assert sum(visitor.result() for visitor in visitors) > 100


async def test_who_subscribes_again_before_reading_gets_the_last_snapshot_asked_for(
    hospital: Server, large_day: list[str], future: str
) -> None:
    async with connected(hospital, receive_bytes=4096, limit=64 * MEGABYTE) as slow:
        await slow.upgrade(WS)
        slow.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await slow.say({"action": "subscribe", "date": DAY})
        await asyncio.sleep(0.2)
        await slow.say({"action": "subscribe", "date": future})
        await asyncio.sleep(0.2)
        slow.writer.transport.resume_reading()  # type: ignore[attr-defined]
        assert (await slow.hear_json())["data"]["date"] == DAY
        last = await slow.hear_json()
        assert (last["type"], last["data"]["date"]) == ("snapshot", future)


@pytest.mark.parametrize(
    ("said", "opcode"),
    [(b'{"action":"ping"}', 0x1), (b"{", 0x1), (b"x" * 125, 0x9)],
    ids=["pings", "nonsense", "protocol pings"],
)
async def test_a_client_that_asks_and_never_reads_takes_no_memory(hospital: Server, said: bytes, opcode: int) -> None:
    before = _resident_bytes(hospital)
    burst = frame(opcode, said) * 1000
    async with connected(hospital, receive_bytes=4096) as flood, hospital.monitor() as monitor:
        await flood.upgrade(WS)
        flood.writer.transport.pause_reading()  # type: ignore[attr-defined]
        try:
            async with asyncio.timeout(3):
                for _ in range(1000):
                    await flood.send(burst)
        except (ConnectionError, TimeoutError):
            pass  # Cut off, or no longer listened to.
        else:
            pytest.fail("a million messages were heard, and none of the answers was read")
        assert _resident_bytes(hospital) - before < 16 * MEGABYTE
        await monitor.send_json({"action": "ping"})
        assert (await monitor.receive_json(timeout=SECONDS))["type"] == "pong"


async def test_a_client_whose_answers_pile_up_is_cut_off(hospital: Server) -> None:
    async def ask_on(flood: Raw) -> None:
        async with asyncio.timeout(SECONDS):
            while True:
                await flood.send(frame(0x1, b'{"action":"ping"}') * 1000)

    async with connected(hospital, receive_bytes=4096) as flood:
        await flood.upgrade(WS)
        flood.writer.transport.pause_reading()  # type: ignore[attr-defined]
        with pytest.raises(ConnectionError):
            await ask_on(flood)


@pytest.mark.asyncio(loop_scope="function")
async def test_more_than_a_hundred_events_are_not_named_but_few_among_many_are(serve: ServerFactory) -> None:
    """One server sleeps while another takes a hundred bookings: it wakes to all of them at once."""
    asleep, awake = await serve(), await serve()
    quiet, busy = await awake.a_doctor(), await awake.a_doctor()
    await awake.call("PUT", f"/clinics/{busy}/{DAY}", {"capacity": 90})
    await awake.call("PUT", f"/clinics/{quiet}/{DAY}", {"capacity": 90})
    sequence = await _change(awake, quiet, 0)
    assert (await asleep.get(f"/queue?date={DAY}&min_sequence={sequence}")).status == 200
    patients = await asyncio.gather(*[awake.a_patient() for _ in range(51)])

    async with asleep.monitor() as central, asleep.monitor(quiet) as one, asleep.monitor(busy) as other:
        for monitor in (central, one, other):
            await monitor.send_json({"action": "subscribe", "date": DAY})
            assert (await monitor.receive_json(timeout=SECONDS))["type"] == "snapshot"
        asleep.process.send_signal(signal.SIGSTOP)
        try:
            late = {"date": DAY, "effective_at": at(DAY, "07:00")}
            booked = [await awake.an_appointment(busy, patient, **late) for patient in patients]
            for appointment in booked[1:]:
                await awake.post(f"/appointments/{appointment}/cancel", {"effective_at": at(DAY, "07:00")})
            newest = await _change(awake, quiet, 1)
        finally:
            asleep.process.send_signal(signal.SIGCONT)
        assert (await awake.get(f"/queue?date={DAY}")).body["sequence"] == newest

        update = await central.receive_json(timeout=SECONDS)
        assert (update["from"], update["sequence"], update["events"]) == (sequence, newest, None)  # 102 of them
        assert (await other.receive_json(timeout=SECONDS))["events"] is None  # 101
        update = await one.receive_json(timeout=SECONDS)
        assert (update["from"], update["sequence"]) == (sequence, newest)
        assert [event["type"] for event in update["events"]] == ["ClinicChanged"]


@pytest.mark.asyncio(loop_scope="function")
async def test_nothing_comes_after_the_close_frame_of_a_server_that_stops(serve: ServerFactory) -> None:
    """Not even the newest state, for who was behind when it said good-bye."""
    server = await serve()
    doctor = await server.a_doctor()
    patients = await asyncio.gather(*[server.a_patient() for _ in range(40)])
    for patient in patients:
        await server.an_appointment(doctor, patient, date=DAY, effective_at=at(DAY, "07:00"))

    async with AsyncExitStack() as stack:
        monitors = [await stack.enter_async_context(connected(server, receive_bytes=4096)) for _ in range(10)]
        for monitor in monitors:
            await monitor.upgrade(WS)
            await monitor.say({"action": "subscribe", "date": DAY})
            await monitor.hear_json()
            monitor.writer.transport.pause_reading()  # type: ignore[attr-defined]
        async with server.monitor() as brisk:
            await brisk.send_json({"action": "subscribe", "date": DAY})
            await brisk.receive_json(timeout=SECONDS)
            for room in range(60):
                await _change(server, doctor, room)
                await brisk.receive_json(timeout=SECONDS)
        server.process.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.5)
        for monitor in monitors:
            monitor.writer.transport.resume_reading()  # type: ignore[attr-defined]
            while (heard := await monitor.hear())[0] != 0x8:
                assert heard[0] == 0x1
            assert await monitor.is_closed()


@pytest.mark.asyncio(loop_scope="function")
async def test_nothing_comes_after_the_close_frame_for_whose_date_was_still_being_read(
    serve: ServerFactory, admin: Connection
) -> None:
    """And nothing is on record as looked at."""
    stays, server = await serve(), await serve()
    async with connected(server) as monitor:
        await monitor.upgrade(WS)
        async with admin.transaction():
            await admin.execute("LOCK TABLE daysheet.event IN ACCESS EXCLUSIVE MODE")
            await monitor.say({"action": "subscribe", "date": "2022-03-08"})
            await monitor.say({"action": "ping"})
            await asyncio.sleep(0.3)
            server.process.send_signal(signal.SIGTERM)
            await asyncio.sleep(0.5)
        assert (await monitor.hear())[0] == 0x8
        assert await monitor.is_closed()
    assert await server.stop() == 0
    assert (await stays.get("/audit?date=2022-03-08")).body["records"] == []
