"""The client that others build on: states that fit one another, whatever happens to the connection."""

from __future__ import annotations

import asyncio
import random
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from datetime import date
from typing import Any
from uuid import UUID, uuid5

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import given
from hypothesis import strategies as st

from gateway.client import Connection, Monitor, NotAdmitted, NotUnderstood, Rejected, Shown, Unaskable, watch
from gateway.client.board import Board
from gateway.client.hearing import reader
from gateway.client.link import FIRST_DELAY_SECONDS, LONGEST_DELAY_SECONDS, delay_seconds
from gateway.client.shown import Following, Gap, conflated
from projections import shapes
from tests.conftest import ServerFactory
from tests.gateway.contract import UNKNOWN, at
from tests.server import Server

in_hospital = pytest.mark.asyncio(loop_scope="module")

SECONDS = 30.0
"""Longer than anything here takes."""

Json = dict[str, Any]

# --- deltas, without a server --------------------------------------------------------------------

DOCTORS = [str(uuid5(UUID(UNKNOWN), f"doctor {number}")) for number in range(3)]
APPOINTMENTS = [str(uuid5(UUID(UNKNOWN), f"appointment {number}")) for number in range(4)]
CLINIC = {
    "status": "open", "capacity": 40, "booked": 0, "free": 40, "waiting": 0, "starts_at": "09:00", "slot_minutes": 10,
    "room": None, "delay_minutes": 0, "note": None,
}  # fmt: skip
TOTALS = ("total_appointments", "total_doctors", "timestamp")
FIELDS = ("doctor", "total_appointments", "checked_in_count", "clinic")


@st.composite
def days(draw: st.DrawFn) -> Json:
    """Some of the doctors, with some of the appointments, however these may stand."""
    codes = draw(st.permutations("ABC"))
    blocks = [draw(blocks_of(doctor, code)) for doctor, code in zip(DOCTORS, codes, strict=True) if draw(st.booleans())]
    blocks.sort(key=lambda block: block["doctor"]["code"])
    return {
        "date": "2025-11-17",
        "total_appointments": sum(block["total_appointments"] for block in blocks),
        "total_doctors": len(blocks),
        "doctors": blocks,
        "timestamp": f"2025-11-17T10:00:{draw(st.integers(10, 59))}+05:30",
    }


@st.composite
def blocks_of(draw: st.DrawFn, doctor: str, code: str) -> Json:
    slots = draw(st.permutations(range(1, len(APPOINTMENTS) + 1)))
    listed: list[Json] = [
        {
            "appointment_id": str(uuid5(UUID(doctor), appointment)),
            "slot": slot,
            "status": "confirmed",
            "priority": draw(st.sampled_from(["routine", "urgent"])),
            "patient": {"id": UNKNOWN, "name": "Priya Raman", "phone": None, "age": 40, "gender": "female"},
            "queue": draw(st.none() | st.integers(0, 3).map(_entry)),
        }
        for appointment, slot in zip(APPOINTMENTS, slots, strict=True)
        if draw(st.booleans())
    ]
    listed.sort(key=lambda appointment: appointment["slot"])
    return {
        "doctor": {"id": doctor, "name": "Dr. Smith", "code": code, "specialty": "Cardiology"},
        "total_appointments": len(listed),
        "checked_in_count": sum(appointment["queue"] is not None for appointment in listed),
        "clinic": CLINIC | {"booked": len(listed), "delay_minutes": draw(st.integers(0, 2))},
        "appointments": listed,
    }  # fmt: skip


def _entry(position: int) -> Json:
    return {
        "position": position, "checked_in_at": "2025-11-17T09:00:00+05:30", "called_at": None, "completed_at": None,
        "status": "checked_in" if position else "called", "ticket": "A-1",
    }  # fmt: skip


def _but_position(appointment: Json) -> Json:
    return appointment | {"queue": appointment["queue"] and appointment["queue"] | {"position": 0}}


def change(before: Json, after: Json) -> Json:
    """From one day to the other, by the contract's words, the long way."""
    known = {block["doctor"]["id"]: block for block in before["doctors"]}
    changed = [_block_change(known.get(block["doctor"]["id"]), block) for block in after["doctors"]]
    gone = known.keys() - {block["doctor"]["id"] for block in after["doctors"]}
    return {
        **{key: after[key] for key in TOTALS},
        "doctors": [block for block in changed if block is not None],
        **({"removed_doctors": sorted(gone)} if gone else {}),
    }


def _block_change(before: Json | None, after: Json) -> Json | None:
    was = {each["appointment_id"]: each for each in before["appointments"]} if before else {}
    now = {each["appointment_id"]: each for each in after["appointments"]}
    other = [each for each in now.values() if was.get(each["appointment_id"]) != each]
    moved = [
        each
        for each in other
        if each["appointment_id"] in was and _but_position(was[each["appointment_id"]]) == _but_position(each)
    ]
    told = {key: after[key] for key in FIELDS if before is None or before[key] != after[key]}
    if not (told or other or was.keys() - now.keys()):
        return None
    return {
        "doctor_id": after["doctor"]["id"],
        **told,
        "appointments": [each for each in other if each not in moved],
        "positions": {each["appointment_id"]: each["queue"]["position"] for each in moved},
        "removed": sorted(was.keys() - now.keys()),
    }


def a_day(told: Json) -> shapes.Day:
    return msgspec.convert(told, shapes.Day)


def a_change(told: Json) -> shapes.DayChange:
    return msgspec.convert(told, shapes.DayChange)


@given(days(), days())
def test_a_delta_leads_from_any_day_to_any_other(before: Json, after: Json) -> None:
    board = Board(a_day(before))
    board.apply(a_change(change(before, after)))
    assert board.day == a_day(after)
    board.apply(a_change(change(before, after)))  # all of it is absolute
    assert board.day == a_day(after)


@given(days(), days(), days())
def test_a_day_that_was_kept_stays_as_it_was(first: Json, second: Json, third: Json) -> None:
    board = Board(a_day(first))
    kept = board.day
    board.apply(a_change(change(first, second)))
    kept_too = board.day
    board.apply(a_change(change(second, third)))
    assert (kept, kept_too) == (a_day(first), a_day(second))


@given(days(), days())
def test_what_a_delta_does_not_name_is_shared_and_not_made_again(before: Json, after: Json) -> None:
    board = Board(a_day(before))
    kept = {block.doctor.id: block for block in board.day.doctors}
    told = a_change(change(before, after))
    board.apply(told)
    named = {block.doctor_id: block for block in told.doctors}
    for block in board.day.doctors:
        if block.doctor.id not in named:
            assert block is kept[block.doctor.id]
        elif block.doctor.id in kept:
            told_of = named[block.doctor.id]
            anew = {each.appointment_id for each in told_of.appointments} | {UUID(each) for each in told_of.positions}
            was = {each.appointment_id: each for each in kept[block.doctor.id].appointments}
            for each in block.appointments:
                assert (each is was.get(each.appointment_id)) == (each.appointment_id not in anew)


@given(days(), days())
def test_one_doctors_day_follows_as_well(before: Json, after: Json) -> None:
    nothing: Json = {"total_appointments": 0, "checked_in_count": 0, "clinic": None, "appointments": []}
    doctor = {"id": DOCTORS[0], "name": "Dr. Smith", "code": "?", "specialty": "Cardiology"}

    def alone(day: Json) -> Json:
        blocks = [block for block in day["doctors"] if block["doctor"]["id"] == DOCTORS[0]]
        block = blocks[0] if blocks else nothing | {"doctor": doctor}
        return block | {"date": day["date"], "timestamp": day["timestamp"]}

    if not any(block["doctor"]["id"] == DOCTORS[0] for block in after["doctors"]):
        return  # A clinic that was there does not go away.
    told = change(before, after)
    told["doctors"] = [block for block in told["doctors"] if block["doctor_id"] == DOCTORS[0]]
    board = Board(msgspec.convert(alone(before), shapes.DoctorDay))
    board.apply(a_change(told))
    assert board.day == msgspec.convert(alone(after), shapes.DoctorDay)


def test_a_new_doctor_who_is_not_told_whole_is_not_made_up() -> None:
    board = Board(a_day(EMPTY))
    told = {key: EMPTY[key] for key in TOTALS} | {
        "doctors": [
            {"doctor_id": DOCTORS[0], "total_appointments": 1, "appointments": [], "positions": {}, "removed": []}
        ]
    }
    with pytest.raises(NotUnderstood, match="a doctor without doctor, checked_in_count, clinic"):
        board.apply(a_change(told))


# --- one state after another, without a server ---------------------------------------------------

EMPTY: Json = {
    "date": "2025-11-17",
    "total_appointments": 0,
    "total_doctors": 0,
    "doctors": [],
    "timestamp": "2025-11-17T10:00:00+05:30",
}
read = reader(one_doctor=False, public=False)


def happened(*sequences: int) -> list[Json]:
    return [
        {"sequence": sequence, "type": "ClinicClosed", "doctor_id": DOCTORS[0], "appointment_id": None}
        for sequence in sequences
    ]


def message(kind: str, sequence: int, *, after: int = 0, epoch: str = "e", **keys: Any) -> Any:
    """As it is read. `total_appointments` tells states apart."""
    data = EMPTY | {"total_appointments": keys.pop("total", sequence)}
    told = {"type": kind, "epoch": epoch, "sequence": sequence, "data": data} | keys
    if kind != "snapshot":
        told = {"events": happened(*range(after + 1, sequence + 1))} | told | {"from": after}
    return read(msgspec.json.encode(told))


def following(*told: Any) -> Following[shapes.Day]:
    states: Following[shapes.Day] = Following()
    for each in told:
        states.take(each)
    return states


def sequences(shown: Shown[Any] | None) -> list[int] | None:
    assert shown is not None
    return None if shown.events is None else [event.sequence for event in shown.events]


def test_a_delta_tells_what_happened_after_the_state_before_it_and_nothing_twice() -> None:
    states = following(message("snapshot", 5))
    assert sequences(states.take(message("delta", 7, after=5))) == [6, 7]
    assert sequences(states.take(message("delta", 9, after=5))) == [8, 9]
    assert states.newest is not None
    assert (states.newest.sequence, states.newest.day.total_appointments) == (9, 9)


@pytest.mark.parametrize("kind", ["delta", "update"])
def test_what_is_not_newer_is_not_shown(kind: str) -> None:
    states = following(message("snapshot", 5))
    assert states.take(message(kind, 5, after=3, total=1)) is None
    assert states.take(message(kind, 4, after=3, total=1)) is None
    assert states.newest is not None
    assert states.newest.day.total_appointments == 5


def test_a_delta_from_a_state_that_was_not_shown_does_not_fit() -> None:
    states = following(message("snapshot", 5))
    with pytest.raises(Gap):
        states.take(message("delta", 8, after=6))
    with pytest.raises(Gap):
        states.take(message("delta", 8, after=5, epoch="another"))
    with pytest.raises(Gap):
        following().take(message("delta", 8, after=0))


def test_a_full_state_after_one_that_was_skipped_does_not_claim_to_know_what_happened() -> None:
    states = following(message("snapshot", 5))
    assert sequences(states.take(message("update", 8, after=6))) is None
    assert sequences(states.take(message("update", 9, after=8))) == [9]


def test_a_snapshot_that_says_the_same_again_is_not_shown_again() -> None:
    states = following(message("snapshot", 5))
    assert states.take(message("snapshot", 5)) is None


def test_a_snapshot_is_believed_even_where_it_corrects_or_goes_back() -> None:
    states = following(message("snapshot", 5))
    corrected = states.take(message("snapshot", 5, total=1))
    assert corrected is not None
    assert corrected.day.total_appointments == 1
    restored = states.take(message("snapshot", 3, epoch="restored"))
    assert restored is not None
    assert (restored.sequence, restored.epoch, restored.events) == (3, "restored", None)
    assert sequences(states.take(message("delta", 4, after=3, epoch="restored"))) == [4]


def test_states_that_were_not_taken_become_one_that_tells_of_up_to_a_hundred_events() -> None:
    states = following(message("snapshot", 5))
    shown = [states.take(message("delta", n + 10, after=n)) for n in range(5, 125, 10)]
    ten = shown[0]
    for each in shown[1:10]:
        assert ten is not None
        assert each is not None
        ten = conflated(ten, each)
    assert sequences(ten) == list(range(6, 106))
    assert ten is not None
    assert shown[10] is not None
    assert shown[11] is not None
    assert sequences(conflated(ten, shown[10])) is None
    assert sequences(conflated(conflated(ten, shown[10]), shown[11])) is None


def test_a_kind_of_message_that_came_later_is_passed_over_and_a_known_one_must_be_right() -> None:
    assert read(b'{"type":"weather","sunny":true}') is None
    more = {"type": "snapshot", "epoch": "e", "sequence": 1, "data": EMPTY | {"colour": "blue"}, "weather": 1}
    assert read(msgspec.json.encode(more)) is not None
    for wrong in (b'{"type":"snapshot"}', b'{"type":"heartbeat","sequence":"5"}', b'{"sequence":1}', b"{", b"\xff"):
        with pytest.raises(NotUnderstood):
            read(wrong)


def test_delays_double_up_to_a_bound_and_are_anything_below_it() -> None:
    bounds = [delay_seconds(failures, lambda: 1.0) for failures in range(12)]
    assert bounds[:8] == [FIRST_DELAY_SECONDS * 2**failures for failures in range(7)] + [LONGEST_DELAY_SECONDS]
    assert set(bounds[7:]) == {LONGEST_DELAY_SECONDS}
    assert delay_seconds(5, lambda: 0.0) == 0.0
    assert delay_seconds(5, lambda: 0.5) == bounds[5] / 2
    assert delay_seconds(1_000_000, lambda: 1.0) == LONGEST_DELAY_SECONDS  # a server that was away for a year


# --- a real server -------------------------------------------------------------------------------


async def until(monitor: Monitor[Any], sequence: int) -> list[Shown[Any]]:
    """The states up to that one."""
    states: list[Shown[Any]] = []
    async with asyncio.timeout(SECONDS):
        while not states or states[-1].sequence < sequence:
            states.append(await anext(monitor))
    return states


async def becomes(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(SECONDS):
        while not condition():  # noqa: ASYNC110 - what is waited for tells nobody
            await asyncio.sleep(0.01)


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


# --- what a server of ours can hardly be brought to say -------------------------------------------

Script = Callable[[web.WebSocketResponse, list[Json]], Awaitable[None]]


@asynccontextmanager
async def server_that(*script: Script | int) -> AsyncIterator[tuple[str, list[Json]]]:
    """(url, what clients asked): does for each connection what stands next; a number is an HTTP status."""
    asked: list[Json] = []
    steps = iter(script)

    async def answer(request: web.Request) -> web.StreamResponse:
        step = next(steps)
        if isinstance(step, int):
            return web.Response(status=step)
        connection = web.WebSocketResponse()
        await connection.prepare(request)
        asked.append(await connection.receive_json())
        await step(connection, asked)
        return connection

    app = web.Application()
    app.router.add_get("/api/v1/ws/queue", answer)
    server = TestServer(app, host="127.0.0.1")
    await server.start_server()
    try:
        yield str(server.make_url("")), asked
    finally:
        await server.close()


def snapshot(sequence: int) -> Json:
    return {"type": "snapshot", "epoch": "e", "sequence": sequence, "data": EMPTY | {"total_appointments": sequence}}


def delta(sequence: int, after: int) -> Json:
    return snapshot(sequence) | {"type": "delta", "from": after, "events": happened(*range(after + 1, sequence + 1))}


def heartbeat(sequence: int) -> Json:
    return {"type": "heartbeat", "sequence": sequence, "head": 9, "lag_seconds": 0.0, "timestamp": EMPTY["timestamp"]}


async def shows_and_stays(connection: web.WebSocketResponse, asked: list[Json]) -> None:
    await connection.send_json(snapshot(5))
    await connection.receive()


async def test_a_connection_that_policy_closes_is_not_tried_again() -> None:
    async def closes(connection: web.WebSocketResponse, asked: list[Json]) -> None:
        await connection.send_json(snapshot(5))
        await connection.close(code=1008, message=b"the token was revoked")

    async with server_that(closes) as (url, _), Monitor(url, date(2025, 11, 17)) as monitor:
        assert (await anext(monitor)).sequence == 5
        with pytest.raises(NotAdmitted, match="connection: the token was revoked"):
            await anext(monitor)
        assert monitor.connection is Connection.CLOSED


def closes(code: int) -> Script:
    async def close(connection: web.WebSocketResponse, asked: list[Json]) -> None:
        await connection.close(code=code)

    return close


def says_no(code: str) -> Script:
    async def say(connection: web.WebSocketResponse, asked: list[Json]) -> None:
        await connection.send_json({"type": "error", "code": code, "message": "not now"})
        await connection.receive()

    return say


@pytest.mark.parametrize(
    ("first", "trouble"),
    [
        pytest.param(503, "answers HTTP 503", id="503"),
        pytest.param(429, "answers HTTP 429", id="429"),
        pytest.param(closes(1012), "closed (1012)", id="1012"),
        pytest.param(closes(1013), "closed (1013)", id="1013"),
        pytest.param(says_no("unavailable"), "not now", id="unavailable"),
        pytest.param(says_no("rate_limited"), "not now", id="rate_limited"),
    ],
)
async def test_whoever_is_busy_or_restarting_is_asked_again(first: Script | int, trouble: str) -> None:
    states: list[Connection] = []
    troubles: list[str | None] = []

    def note(connection: Connection) -> None:
        states.append(connection)
        troubles.append(monitor.trouble)

    async with server_that(first, shows_and_stays) as (url, _):
        monitor = Monitor(url, date(2025, 11, 17), on_connection=note)
        async with monitor:
            assert (await anext(monitor)).sequence == 5
    assert states == [Connection.CONNECTING, Connection.RECONNECTING, Connection.LIVE, Connection.CLOSED]
    assert trouble in (troubles[1] or "")
    assert troubles[2] is None


@pytest.mark.parametrize("status", [400, 401, 403, 404])
async def test_a_refused_upgrade_is_not_tried_again(status: int) -> None:
    async with server_that(status) as (url, _):
        with pytest.raises(NotAdmitted) as refused:
            await anext(watch(url, date(2025, 11, 17)))
    assert refused.value.status == status


async def test_a_day_of_many_megabytes_is_shown() -> None:
    block = {"total_appointments": 20_000, "checked_in_count": 0, "clinic": CLINIC, "appointments": []}
    patient = {"id": UNKNOWN, "name": "Priya Raman", "phone": None, "age": 40, "gender": "female"}
    block["doctor"] = {"id": DOCTORS[0], "name": "Dr. Smith", "code": "A", "specialty": "Cardiology"}
    block["appointments"] = [
        {
            "appointment_id": str(uuid5(UUID(UNKNOWN), str(slot))),
            "slot": slot,
            "status": "confirmed",
            "priority": "routine",
            "patient": patient,
            "queue": None,
        }
        for slot in range(20_000)
    ]
    told = msgspec.json.encode(snapshot(5) | {"data": EMPTY | {"doctors": [block]}})
    assert len(told) > 4 * 1024 * 1024, "aiohttp's own limit"

    async def shows(connection: web.WebSocketResponse, asked: list[Json]) -> None:
        await connection.send_str(told.decode())
        await connection.receive()

    async with server_that(shows) as (url, _), Monitor(url, date(2025, 11, 17)) as monitor:
        assert len((await anext(monitor)).day.doctors[0].appointments) == 20_000


async def test_a_server_that_cannot_be_read_ends_the_watch_and_a_newer_one_does_not() -> None:
    async def speaks_anew(connection: web.WebSocketResponse, asked: list[Json]) -> None:
        await connection.send_json({"type": "weather", "sunny": True})
        await connection.send_json(snapshot(5) | {"weather": "sunny"})
        await connection.send_json({"type": "snapshot", "epoch": "e"})
        await connection.receive()

    async with server_that(speaks_anew) as (url, _), Monitor(url, date(2025, 11, 17)) as monitor:
        assert (await anext(monitor)).sequence == 5
        with pytest.raises(NotUnderstood):
            await anext(monitor)


async def test_what_was_missed_is_asked_for_from_the_own_state_on() -> None:
    async def leaves_out(connection: web.WebSocketResponse, asked: list[Json]) -> None:
        await connection.send_json(snapshot(5))
        await connection.send_json(delta(8, after=7))
        await connection.send_json(delta(9, after=8))
        asked.append(await connection.receive_json())
        await connection.send_json(delta(9, after=5))
        await connection.send_json(heartbeat(10))
        asked.append(await connection.receive_json())
        await connection.send_json(delta(10, after=9))
        await connection.receive()

    states: list[Connection] = []
    async with (
        server_that(leaves_out) as (url, asked),
        Monitor(url, date(2025, 11, 17), on_connection=states.append) as monitor,
    ):
        taken = await until(monitor, 10)
    assert [each["resume"] for each in asked] == [None, {"epoch": "e", "sequence": 5}, {"epoch": "e", "sequence": 9}]
    assert [event.sequence for state in taken[1:] for event in state.events or ()] == [6, 7, 8, 9, 10]
    assert states == [
        Connection.CONNECTING,
        Connection.LIVE,
        Connection.STALE,
        Connection.LIVE,
        Connection.CLOSED,
    ]


async def test_a_server_that_does_not_follow_its_log_is_shown_as_stale() -> None:
    async def falls_behind(connection: web.WebSocketResponse, asked: list[Json]) -> None:
        await connection.send_json(snapshot(5))
        for live in (False, True):
            await connection.send_json({"type": "status", "live": live, "since": EMPTY["timestamp"]})
        await connection.send_json(delta(6, after=5))
        await connection.receive()

    states: list[Connection] = []
    async with (
        server_that(falls_behind) as (url, _),
        Monitor(url, date(2025, 11, 17), on_connection=states.append) as monitor,
    ):
        await until(monitor, 6)
    assert states == [
        Connection.CONNECTING,
        Connection.LIVE,
        Connection.STALE,
        Connection.LIVE,
        Connection.CLOSED,
    ]


async def test_a_monitor_can_be_left_while_nobody_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        address = f"http://127.0.0.1:{nobody.getsockname()[1]}"
    async with Monitor(address, date(2025, 11, 17)) as monitor:
        assert monitor.newest is None
        await becomes(lambda: monitor.connection is Connection.RECONNECTING)
        assert monitor.trouble == f"{address.removeprefix('http://')} cannot be reached: Connection refused"
    assert monitor.connection is Connection.CLOSED


async def test_delays_begin_anew_once_a_server_has_said_something(monkeypatch: pytest.MonkeyPatch) -> None:
    delays: list[int] = []

    def at_once(failures: int) -> float:
        delays.append(failures)
        return 0.0

    async def shows_and_goes(connection: web.WebSocketResponse, asked: list[Json]) -> None:
        await connection.send_json(snapshot(5))
        await connection.close(code=1012)

    async def goes_on(connection: web.WebSocketResponse, asked: list[Json]) -> None:
        await connection.send_json(delta(6, after=5))
        await connection.receive()

    monkeypatch.setattr("gateway.client.monitor.delay_seconds", at_once)
    script = (503, closes(1013), says_no("unavailable"), shows_and_goes, 503, goes_on)
    async with server_that(*script) as (url, asked), Monitor(url, date(2025, 11, 17)) as monitor:
        await until(monitor, 6)
    assert delays == [0, 1, 2, 0, 1]
    assert asked[-1]["resume"] == {"epoch": "e", "sequence": 5}
