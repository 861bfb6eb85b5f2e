"""Monitors of a real server, whatever happens to the connection."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from datetime import date
from typing import Any
from uuid import UUID

import msgspec
import pytest

from gateway.client import Connection, Monitor, NotAdmitted, Rejected, Shown, Unaskable, watch
from projections import shapes
from tests.conftest import ServerFactory
from tests.gateway.client.told import (
    SECONDS,
    Json,
    becomes,
    sequences,
    until,
)
from tests.gateway.contract import UNKNOWN, at
from tests.server import Server

in_hospital = pytest.mark.asyncio(loop_scope="module")


async def shown_by_http(server: Server, day: str, doctor: str | None = None) -> tuple[int, Any]:
    """(sequence, day)"""
    which = f"&doctor_id={doctor}" if doctor else ""
    answer = (await server.get(f"/queue?date={day}{which}")).body
    return answer["sequence"], msgspec.convert(answer["data"], shapes.DoctorDay if doctor else shapes.Day)


def timeless(day: Any) -> Any:
    """But for the time it was asked for."""
    return msgspec.structs.replace(day, timestamp="")


@in_hospital
async def test_watching_a_day_is_a_loop(hospital: Server, past: str) -> None:
    doctor = await hospital.a_doctor(name="Dr. Smith")
    seen = []
    async for day in watch(hospital.url, date.fromisoformat(past)):
        seen.append(day)
        if len(seen) == 1:
            await hospital.an_appointment(doctor, date=past, effective_at=at(past, "08:00"))
        elif day.total_appointments == 1:
            break
    assert (seen[0].doctors, seen[0].total_appointments) == ([], 0)
    (block,) = seen[-1].doctors
    assert (block.doctor.name, block.appointments[0].patient.name) == ("Dr. Smith", "Priya Raman")


@in_hospital
@pytest.mark.parametrize("scheme", ["http", "ws"])
async def test_leaving_the_loop_closes_the_connection_and_leaves_no_task(
    hospital: Server, past: str, scheme: str
) -> None:
    tasks = asyncio.all_tasks()
    async with between(hospital) as proxy:
        with_proxy = asyncio.all_tasks()
        url = proxy.url.replace("http", scheme)
        async with aclosing(watch(url, date.fromisoformat(past))) as seen:
            async for _ in seen:
                assert proxy.connections == 1
                break
        await becomes(lambda: proxy.connections == 0)  # the proxy's own word for it comes a moment later
        async for _ in watch(url, date.fromisoformat(past)):
            break
        await becomes(lambda: proxy.connections == 0)
        async with Monitor(url, date.fromisoformat(past)) as monitor:
            await anext(monitor)
        assert monitor.connection is Connection.CLOSED
        assert [state async for state in monitor] == []
        await becomes(lambda: proxy.connections == 0)
        await becomes(lambda: asyncio.all_tasks() <= with_proxy)
    assert asyncio.all_tasks() <= tasks


@in_hospital
async def test_whoever_cancels_the_consumer_ends_the_connection(hospital: Server, past: str) -> None:
    begun = asyncio.Event()

    async def consume(url: str) -> None:
        async for _ in watch(url, date.fromisoformat(past)):
            begun.set()

    async with between(hospital) as proxy:
        consumer = asyncio.create_task(consume(proxy.url))
        async with asyncio.timeout(SECONDS):
            await begun.wait()
        consumer.cancel()
        with suppress(asyncio.CancelledError):
            await consumer
        await becomes(lambda: proxy.connections == 0)


USUAL = {"AppointmentBooked", "PatientCheckedIn", "PatientCalled", "StepUndone", "DoctorDetailsChanged"}
STEPS = ("start", "complete", "hold", "resume", "cancel", "no-show")


class Morning:
    """Doctors, patients, and steps that nobody has thought about; a good part of them is refused."""

    def __init__(self, hospital: Server, day: str, chance: random.Random) -> None:
        self.hospital, self.day, self.chance = hospital, day, chance
        self.minute = 0
        self.appointments: list[str] = []

    async def begin(self) -> None:
        self.doctors = [await self.hospital.a_doctor(department=each) for each in ("Heart", "Heart", "Skin")]
        self.patients = [await self.hospital.a_patient(name=f"Priya Raman{'a' * n}") for n in range(8)]

    def _a_step(self) -> tuple[str, str, Json]:
        choose = self.chance.choice
        doctor, patient, priority = choose(self.doctors), choose(self.patients), choose(["routine", "urgent"])
        one = f"/appointments/{choose(self.appointments)}" if self.appointments else "/appointments/" + UNKNOWN
        booking = {"doctor_id": doctor, "patient_id": patient, "date": self.day, "allow_overlap": True}
        clinic = f"/clinics/{doctor}/{self.day}"
        steps: list[tuple[str, str, Json]] = [
            *[("POST", "/appointments", booking)] * 6,
            *[("POST", "/checkins", {"appointment_id": one.split("/")[-1]})] * 6,
            ("POST", "/queue/call-next", {"doctor_id": doctor, "date": self.day}),
            *[("POST", f"{one}/call", {"reason": "next"})] * 4,
            *[("POST", f"{one}/{step}", {}) for step in STEPS],
            *[("POST", f"{one}/undo", {"reason": "a mistake"})] * 3,
            ("POST", f"{one}/priority", {"priority": priority, "reason": "worse"}),
            *[("POST", f"{one}/move", {"slot": self.chance.randint(1, 12), "reason": "asked"})] * 3,
            *[("POST", f"{one}/move", {"doctor_id": doctor, "allow_overlap": True, "reason": "asked"})] * 3,
            ("POST", f"{clinic}/delay", {"minutes": self.chance.randint(0, 30)}),
            ("PUT", clinic, {"capacity": self.chance.randint(10, 14), "order": choose(["arrival", "slot"])}),
            ("PATCH", f"/doctors/{doctor}", {"code": f"D{self.chance.randint(0, 999_999)}"}),
            ("PATCH", f"/doctors/{doctor}", {"department": choose(["Heart", "Skin"])}),
            ("PATCH", f"/patients/{patient}", {"name": f"Ünal {self.chance.randint(0, 99)}"}),
        ]
        return choose(steps)

    async def go_on(self, steps: int) -> None:
        """All at once, as in a hospital."""
        self.minute += 1
        when = {"effective_at": at(self.day, f"{8 + self.minute // 60:02}:{self.minute % 60:02}")}
        asked = []
        for _ in range(steps):
            method, path, body = self._a_step()
            now_only = path.startswith(("/doctors", "/patients", "/queue"))
            asked.append(self.hospital.call(method, path, body if now_only else body | when))
        for answer in await asyncio.gather(*asked):
            assert answer.status < 500, answer
            if answer.status == 201:
                self.appointments.append(answer.body["appointment_id"])


@in_hospital
@pytest.mark.parametrize("seed", [7, 11])
async def test_every_way_of_watching_shows_the_servers_day_whatever_is_done(
    hospital: Server, past: str, seed: int
) -> None:
    day = date.fromisoformat(past)
    morning = Morning(hospital, past, random.Random(seed))
    await morning.begin()
    alone, some = UUID(morning.doctors[0]), [UUID(each) for each in morning.doctors[1:]]
    async with (
        Monitor(hospital.url, day) as deltas,
        Monitor(hospital.url, day, mode="full", compression=False) as full,
        Monitor(hospital.url, day, view="public") as public,
        Monitor(hospital.url, day, department="Heart") as department,
        Monitor(hospital.url, day, doctors=some) as doctors,
        Monitor(hospital.url, day, doctor_id=alone) as one,
        Monitor(hospital.url, day, doctor_id=alone, view="public") as one_public,
    ):
        watched: list[tuple[Monitor[Any], type, str | None, Json]] = [
            (deltas, shapes.Day, None, {}),
            (full, shapes.Day, None, {}),
            (public, shapes.PublicDay, None, {"view": "public"}),
            (department, shapes.Day, None, {"department": "Heart"}),
            (doctors, shapes.Day, None, {"doctors": morning.doctors[1:]}),
            (one, shapes.DoctorDay, morning.doctors[0], {}),
            (one_public, shapes.PublicDoctorDay, morning.doctors[0], {"view": "public"}),
        ]
        taken = {id(monitor): [await anext(monitor)] for monitor, *_ in watched}
        for _ in range(40):
            await morning.go_on(6)
            for monitor, shape, doctor, keys in watched:
                async with hospital.monitor(doctor) as fresh:
                    await fresh.send_json({"action": "subscribe", "date": past} | keys)
                    snapshot = await fresh.receive_json()
                states = taken[id(monitor)]
                if states[-1].sequence < snapshot["sequence"]:
                    states += await until(monitor, snapshot["sequence"])
                assert states[-1].sequence == snapshot["sequence"]
                assert timeless(states[-1].day) == timeless(msgspec.convert(snapshot["data"], shape)), keys
        kinds = {event.type for state in taken[id(deltas)][1:] for event in state.events or ()}
        assert kinds >= USUAL, "most of it was refused"
        told = taken[id(deltas)]
        sequence, expected = await shown_by_http(hospital, past)
        assert (told[-1].sequence, timeless(told[-1].day)) == (sequence, timeless(expected))
        await tells_every_event_once(hospital, past, told)
        await tells_every_event_once(hospital, past, taken[id(full)])


async def tells_every_event_once(hospital: Server, day: str, states: list[Shown[Any]]) -> None:
    """After the first state; beside the changes of people, which are in no day's events."""
    told = [event for state in states[1:] for event in state.events or ()]
    assert all(state.events is not None for state in states[1:])
    assert [event.sequence for event in told] == sorted({event.sequence for event in told})
    page = (await hospital.get(f"/queue/{day}/events?after={states[0].sequence}")).body
    assert page["next"] is None
    recorded = [(event["sequence"], event["type"]) for event in page["events"]]
    assert [(event.sequence, event.type) for event in told if event.doctor_id is not None] == recorded


@in_hospital
async def test_a_consumer_that_is_slow_gets_the_newest_state_and_all_that_happened(hospital: Server, past: str) -> None:
    doctor = await hospital.a_doctor()
    await hospital.call(
        "PUT", f"/clinics/{doctor}/{past}", {"capacity": 80, "slot_minutes": 5, "effective_at": at(past, "07:00")}
    )
    patients = await asyncio.gather(*[hospital.a_patient() for _ in range(60)])
    booking = {"doctor_id": doctor, "date": past, "effective_at": at(past, "08:00")}
    async with Monitor(hospital.url, date.fromisoformat(past)) as monitor:
        first = await anext(monitor)
        booked = [(await hospital.post("/appointments", booking | {"patient_id": each})).body for each in patients]
        await becomes(lambda: monitor.newest is not None and monitor.newest.sequence == booked[-1]["sequence"])
        shown = await anext(monitor)
        assert (first.day.total_appointments, shown.day.total_appointments) == (0, 60)
        assert shown.events is not None
        assert [str(event.appointment_id) for event in shown.events] == [each["appointment_id"] for each in booked]

        steps = [("/checkins", {"appointment_id": each["appointment_id"]}) for each in booked]
        steps += [(f"/appointments/{each['appointment_id']}/hold", {}) for each in booked]
        for path, body in steps:
            await hospital.post(path, body | {"effective_at": at(past, "09:00")})
        last, _ = await shown_by_http(hospital, past)
        await becomes(lambda: monitor.newest is not None and monitor.newest.sequence == last)
        shown = await anext(monitor)
        assert (shown.sequence, shown.events) == (last, None)


@in_hospital
async def test_what_trying_again_would_not_change_ends_the_watch_by_name(hospital: Server, past: str) -> None:
    day = date.fromisoformat(past)
    states: list[Connection] = []
    with pytest.raises(NotAdmitted, match="404") as refused:
        await anext(watch(hospital.url, day, doctor_id=UUID(UNKNOWN), on_connection=states.append))
    assert refused.value.status == 404
    assert states == [Connection.CONNECTING, Connection.CLOSED]
    with pytest.raises(Rejected, match="heartbeat") as rejected:
        await anext(watch(hospital.url, day, heartbeat_seconds=1))
    assert rejected.value.code == "invalid_message"
    for address in ("localhost:8000", "ftp://localhost", "http://", "", "http://[::1"):
        with pytest.raises(Unaskable, match="no server's address"):
            watch(address, day)
    with pytest.raises(Unaskable):
        watch(hospital.url, day, doctor_id=UUID(UNKNOWN), department="Heart")
    with pytest.raises(RuntimeError, match="async with"):
        await anext(Monitor(hospital.url, day))


async def test_a_killed_server_that_comes_back_is_followed_from_where_it_was(serve: ServerFactory) -> None:
    server = await serve()
    day, doctor = await server.today(), await server.a_doctor()
    first, second, third = [await server.an_appointment(doctor) for _ in range(3)]
    states: list[Connection] = []
    async with Monitor(server.url, date.fromisoformat(day), on_connection=states.append) as monitor:
        taken = [await anext(monitor)]
        arrived = await server.post("/checkins", {"appointment_id": first})
        taken += await until(monitor, arrived.body["sequence"])
        server.kill()
        await server.process.wait()
        other = await serve()
        await other.post("/checkins", {"appointment_id": second})
        await becomes(lambda: monitor.connection is Connection.RECONNECTING)
        assert monitor.trouble is not None
        again = await serve("--port", server.url.rsplit(":")[-1])
        await becomes(lambda: monitor.connection is Connection.LIVE)
        last = await again.post("/checkins", {"appointment_id": third})
        taken += await until(monitor, last.body["sequence"])
        assert monitor.silent_seconds is not None
        sequence, expected = await shown_by_http(again, day)
    assert states == [
        Connection.CONNECTING,
        Connection.LIVE,
        Connection.RECONNECTING,
        Connection.LIVE,
        Connection.CLOSED,
    ]
    assert (taken[-1].sequence, timeless(taken[-1].day)) == (sequence, timeless(expected))
    assert [state.sequence for state in taken] == sorted({state.sequence for state in taken})
    told = [event.sequence for state in taken[1:] for event in state.events or ()]
    assert told == sorted(set(told))
    here = [
        each["sequence"] for each in (await again.get(f"/queue/{day}/events?after={taken[0].sequence}")).body["events"]
    ]
    assert len(here) == 3
    assert told == here


@in_hospital
@pytest.mark.parametrize("mode", ["delta", "full"])
async def test_a_connection_that_is_open_and_dead_is_noticed_and_made_anew(
    hospital: Server, past: str, mode: str
) -> None:
    doctor = await hospital.a_doctor()
    states: list[Connection] = []
    async with between(hospital) as proxy:
        options: Any = {"mode": mode, "heartbeat_seconds": 5, "silent_heartbeats": 0.1, "on_connection": states.append}
        async with Monitor(proxy.url, date.fromisoformat(past), **options) as monitor:
            await anext(monitor)
            proxy.fall_silent()
            await hospital.an_appointment(doctor, date=past, effective_at=at(past, "08:00"))
            shown = await until(monitor, (await shown_by_http(hospital, past))[0])
            assert shown[-1].day.total_appointments == 1
            assert sequences(shown[-1]) is not None
    assert states[:5] == [
        Connection.CONNECTING,
        Connection.LIVE,
        Connection.STALE,
        Connection.RECONNECTING,
        Connection.LIVE,
    ]


class Proxy:
    """Stands between a client and a server, and can fall silent: what is open stays open, and nothing comes through."""

    def __init__(self, server: Server) -> None:
        self._port = int(server.url.rsplit(":")[-1])
        self._flowing = asyncio.Event()
        self._flowing.set()
        self.connections = 0
        self.url = ""

    def fall_silent(self) -> None:
        """For the connections that are. New ones go through."""
        self._flowing.clear()
        self._flowing = asyncio.Event()
        self._flowing.set()

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        flowing = self._flowing
        self.connections += 1
        there, further = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            with suppress(ConnectionError):
                async with asyncio.TaskGroup() as both:
                    both.create_task(_pass_on(reader, further, flowing))
                    both.create_task(_pass_on(there, writer, flowing))
        finally:
            self.connections -= 1
            for each in (writer, further):
                each.transport.abort()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, flowing: asyncio.Event) -> None:
    while data := await reader.read(65536):
        await flowing.wait()
        writer.write(data)
        await writer.drain()
    writer.close()


@asynccontextmanager
async def between(server: Server) -> AsyncIterator[Proxy]:
    proxy = Proxy(server)
    taking: set[asyncio.Task[None]] = set()
    listening = await asyncio.start_server(
        lambda *streams: taking.add(asyncio.create_task(proxy.take(*streams))), "127.0.0.1", 0
    )
    proxy.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        listening.close()
        for task in taking:
            task.cancel()
        await asyncio.gather(*taking, return_exceptions=True)
        await listening.wait_closed()


def test_the_client_brings_no_server_along() -> None:
    asked = (
        "import sys, gateway.client; print(*[name for name in sys.modules if name.startswith(('gateway', 'asyncpg'))])"
    )
    loaded = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True).stdout.split()
    own = {name for name in loaded if name == "gateway" or name.startswith("gateway.client")}
    assert set(loaded) - own == {"gateway.live", "gateway.live.messages", "gateway.live.protocol"}
