"""A date's past over HTTP and over the WebSocket: event by event, at a pace, and anywhere at once."""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
import websockets

from tests.gateway.contract import (
    HAPPENED,
    SNAPSHOT,
    TIME,
    UNKNOWN,
    UPDATE,
    at,
    is_day,
    is_problem,
)
from tests.gateway.raw import connected
from tests.server import Server

pytestmark = pytest.mark.asyncio(loop_scope="module")

Socket = aiohttp.ClientWebSocketResponse
Json = dict[str, Any]
REPLAYED = {"sequence", "at", "event"}
HOURS = {"begins", "ends"}
REPLAYS_AT_ONCE = 32
ERASED = "[erased]"


class Past:
    """A date that is over, written down now: its effective times are its own, its recorded times are today's."""

    def __init__(self, hospital: Server, date: str) -> None:
        self.hospital, self.date = hospital, date

    async def doctor(self, clock: str = "07:00", capacity: int = 9) -> str:
        doctor = await self.hospital.a_doctor()
        body = {"capacity": capacity, "effective_at": at(self.date, clock)}
        assert (await self.hospital.call("PUT", f"/clinics/{doctor}/{self.date}", body)).status == 200
        return doctor

    async def booked(self, doctor: str, clock: str = "07:30", patient: str | None = None) -> str:
        return await self.hospital.an_appointment(
            doctor, patient, date=self.date, effective_at=at(self.date, clock), allow_overlap=True
        )

    async def does(self, what: str, clock: str, **body: Any) -> int:
        answer = await self.hospital.post(f"/{what}", body | {"effective_at": at(self.date, clock)})
        assert answer.status < 300, answer
        return int(answer.body["sequence"])

    async def arrived(self, doctor: str, clock: str, **patient: Any) -> str:
        appointment = await self.booked(doctor, patient=await self.hospital.a_patient(**patient))
        await self.does("checkins", clock, appointment_id=appointment)
        return appointment

    async def morning(self) -> str:
        """Two come, the later one is written down first; the one who was first is cancelled. Returns the doctor."""
        doctor = await self.doctor()
        first, second = await self.booked(doctor), await self.booked(doctor)
        await self.does("checkins", "10:00", appointment_id=second)
        await self.does("checkins", "09:00", appointment_id=first)
        await self.does(f"appointments/{first}/cancel", "11:00")
        return doctor

    async def events(self) -> list[Json]:
        events: list[Json] = (await self.hospital.get(f"/queue/{self.date}/events")).body["events"]
        return events

    async def state(self, **asked: Any) -> Json:
        """The data of GET /queue, without its time."""
        query = "".join(f"&{key}={quote(str(value))}" for key, value in asked.items())
        answer = await self.hospital.get(f"/queue?date={self.date}{query}")
        assert answer.status == 200, answer
        return _data(answer.body)


@pytest.fixture
def day(hospital: Server, past: str) -> Past:
    return Past(hospital, past)


def _data(message: Json) -> Json:
    return {key: value for key, value in message["data"].items() if key != "timestamp"}


async def _hear(monitor: Socket) -> Json:
    message: Json = await monitor.receive_json(timeout=10)
    return message


async def _replay(monitor: Socket, date: str, **keys: Any) -> Json:
    """The first answer."""
    await monitor.send_json({"action": "replay", "date": date, "speed": 0} | keys)
    return await _hear(monitor)


async def _to_the_end(monitor: Socket) -> list[Json]:
    """The updates until there are no more."""
    updates: list[Json] = []
    while (message := await _hear(monitor))["type"] != "replay_end":
        assert message["type"] == "update", message
        updates.append(message)
    return updates


async def _says_nothing(monitor: Socket) -> None:
    await asyncio.sleep(0.1)
    await monitor.send_json({"action": "ping"})
    assert (await _hear(monitor))["type"] == "pong"


def _raw(text: str) -> str:
    """The data's own bytes, without the time."""
    data = text[text.index('"data":') :].partition(',"replay":')[0]
    return re.sub(r',"timestamp":"[^"]+"\}+$', "", data)


# --- from the first event to the last ------------------------------------------------------------


async def test_a_replay_is_a_snapshot_then_each_event_then_its_end(hospital: Server, day: Past) -> None:
    await day.morning()
    events = await day.events()
    async with hospital.monitor() as monitor:
        snapshot = await _replay(monitor, day.date)
        assert snapshot["type"] == "snapshot"
        assert snapshot.keys() == SNAPSHOT | {"replay"}
        assert snapshot["replay"].keys() == REPLAYED | HOURS
        assert (snapshot["sequence"], snapshot["replay"]["sequence"], snapshot["replay"]["event"]) == (0, 0, None)
        assert (snapshot["data"]["doctors"], snapshot["data"]["date"]) == ([], day.date)
        updates = await _to_the_end(monitor)
    assert [update["replay"]["sequence"] for update in updates] == [event["sequence"] for event in events]
    before = 0
    for update, event in zip(updates, events, strict=True):
        assert update.keys() == UPDATE | {"replay"}
        assert update["replay"] == {
            "sequence": event["sequence"],
            "at": event["recorded_at"],
            "event": event["type"],
        }
        assert (update["from"], update["sequence"]) == (before, event["sequence"])
        assert update["events"] == [{key: event[key] for key in HAPPENED}]
        assert update["epoch"] == snapshot["epoch"]
        assert update["data"]["timestamp"] == event["recorded_at"]
        is_day(update["data"])
        assert _data(update) == await day.state(sequence=event["sequence"])
        before = event["sequence"]


async def test_its_end_is_the_live_day_byte_for_byte(hospital: Server, day: Past) -> None:
    await day.morning()
    await day.arrived(await day.doctor(), "12:00", name='Élise "O\'Neill" \\ \u2028')
    async with hospital.monitor() as monitor:
        await _replay(monitor, day.date)
        text = ""
        while (message := await monitor.receive_str(timeout=10)) != '{"type":"replay_end"}':
            text = message
        await monitor.send_json({"action": "subscribe", "date": day.date})
        live = await monitor.receive_str(timeout=10)
    assert _raw(text) == _raw(live)
    assert "Élise" in text


async def test_by_effective_time_late_entries_come_in_their_place(hospital: Server, day: Past) -> None:
    await day.morning()
    events = await day.events()
    placed = sorted(events, key=lambda event: (event["effective_at"], event["sequence"]))
    assert placed != events
    async with hospital.monitor() as monitor:
        await _replay(monitor, day.date, by="effective")
        updates = await _to_the_end(monitor)
    assert [update["replay"] for update in updates] == [
        {"sequence": event["sequence"], "at": event["effective_at"], "event": event["type"]} for event in placed
    ]
    newest = [max(event["sequence"] for event in placed[: number + 1]) for number in range(len(placed))]
    assert [update["sequence"] for update in updates] == newest
    assert [update["from"] for update in updates] == [0, *newest[:-1]]
    assert _data(updates[-1]) == await day.state() == await day.state(by="effective")
    for update, event in zip(updates, placed, strict=True):
        assert _data(update) == await day.state(by="effective", sequence=event["sequence"])


async def test_on_one_doctors_connection_only_that_doctors_events_come(hospital: Server, day: Past) -> None:
    doctor = await day.morning()
    await day.morning()
    own = [event for event in await day.events() if event["doctor_id"] == doctor]
    async with hospital.monitor(doctor) as monitor:
        for by in ("recorded", "effective"):
            snapshot = await _replay(monitor, day.date, by=by)
            assert (snapshot["data"]["clinic"], snapshot["data"]["doctor"]["id"]) == (None, doctor)
            assert snapshot["sequence"] == 0
            updates = await _to_the_end(monitor)
            assert sorted(update["replay"]["sequence"] for update in updates) == [event["sequence"] for event in own]
            assert _data(updates[-1]) == await day.state(doctor_id=doctor)
            assert updates[-1]["sequence"] == own[-1]["sequence"]
        for event in own:
            await monitor.send_json({"action": "seek", "to": event["sequence"]})
            sought = await _hear(monitor)
            assert _data(sought) == await day.state(by="effective", sequence=event["sequence"], doctor_id=doctor)
            await _to_the_end(monitor)


async def test_a_date_without_events_is_over_at_once(hospital: Server, day: Past) -> None:
    async with hospital.monitor() as monitor:
        snapshot = await _replay(monitor, day.date)
        assert (snapshot["data"]["doctors"], snapshot["replay"]["begins"], snapshot["replay"]["ends"]) == (
            [],
            None,
            None,
        )
        assert await _to_the_end(monitor) == []


async def test_compressed_it_says_the_same(hospital: Server, day: Past) -> None:
    doctor = await day.doctor()
    for number in range(6):
        await day.arrived(doctor, f"09:{number:02}")
    async with hospital.monitor() as monitor, websockets.connect(hospital.ws) as deflating:
        plain = [await _replay(monitor, day.date), *await _to_the_end(monitor)]
        await deflating.send(json.dumps({"action": "replay", "date": day.date, "speed": 0}))
        heard = []
        while (message := json.loads(await deflating.recv()))["type"] != "replay_end":
            heard.append(message)
    assert deflating.protocol.extensions
    plain[0]["data"].pop("timestamp"), heard[0]["data"].pop("timestamp")
    assert heard == plain


# --- steering ------------------------------------------------------------------------------------


async def test_between_two_events_of_the_day_it_waits_and_before_the_first_it_does_not(
    hospital: Server, day: Past
) -> None:
    """At the day's own pace: an hour is an hour, so nothing comes until it is played faster."""
    await day.morning()
    async with hospital.monitor() as monitor:
        snapshot = await _replay(monitor, day.date, by="effective", speed=1)
        assert (snapshot["replay"]["begins"], snapshot["replay"]["ends"]) == (
            at(day.date, "07:00"),
            at(day.date, "11:00"),
        )
        assert (await _hear(monitor))["replay"]["event"] == "ClinicOpened"
        await _says_nothing(monitor)
        await monitor.send_json({"action": "play", "speed": 0})
        assert len(await _to_the_end(monitor)) == 5


async def test_at_any_speed_all_of_it_comes(hospital: Server, day: Past) -> None:
    doctor = await day.doctor()
    for number in range(5):
        await day.arrived(doctor, f"09:0{number}")
    events = await day.events()
    async with hospital.monitor() as monitor:
        for speed in (3600, 3599.5):
            await _replay(monitor, day.date, by="effective", speed=speed, **{"from": at(day.date, "07:30")})
            assert [update["replay"]["event"] for update in await _to_the_end(monitor)] == ["PatientCheckedIn"] * 5
        await _replay(monitor, day.date, speed=1)  # recorded on another date, so there is nothing to wait for
        assert len(await _to_the_end(monitor)) == len(events)


async def test_only_the_dates_own_hours_are_waited_for(hospital: Server, day: Past) -> None:
    """Booked on two evenings before, and something written down for the day after: all of it comes at once."""
    doctor = await hospital.a_doctor()
    before = {"effective_at": at("2020-12-30", "18:00")}
    await hospital.call("PUT", f"/clinics/{doctor}/{day.date}", {"capacity": 5} | before)
    await day.hospital.an_appointment(doctor, date=day.date, effective_at=at("2020-12-31", "18:00"))
    await day.does(f"clinics/{doctor}/{day.date}/delay", "09:00", minutes=10)
    body = {"minutes": 20, "effective_at": at("2025-01-01", "09:00")}
    assert (await hospital.post(f"/clinics/{doctor}/{day.date}/delay", body)).status == 200
    async with hospital.monitor() as monitor:
        await _replay(monitor, day.date, by="effective", speed=1)
        assert len(await _to_the_end(monitor)) == 4


async def test_it_stands_still_and_goes_on_as_it_is_told(hospital: Server, day: Past) -> None:
    await day.morning()
    events = await day.events()
    async with hospital.monitor() as monitor:
        await _replay(monitor, day.date, by="effective", speed=1)
        await _hear(monitor)
        await monitor.send_json({"action": "pause"})
        await monitor.send_json({"action": "play"})  # as fast as before: an hour is an hour
        await _says_nothing(monitor)
        await monitor.send_json({"action": "pause"})
        await monitor.send_json({"action": "seek", "to": at(day.date, "09:30")})
        sought = await _hear(monitor)
        assert (sought["type"], sought["replay"]["at"]) == ("snapshot", at(day.date, "09:30"))
        assert sought["data"]["timestamp"] == at(day.date, "09:30")
        await _says_nothing(monitor)  # still paused
        await monitor.send_json({"action": "play", "speed": 3600})
        updates = await _to_the_end(monitor)
        assert [update["replay"]["at"] for update in updates] == [at(day.date, "10:00"), at(day.date, "11:00")]
        assert updates[0]["from"] == sought["sequence"]

        await monitor.send_json({"action": "seek", "to": 0})
        assert (await _hear(monitor))["sequence"] == 0
        await monitor.send_json({"action": "play", "speed": 0})
        assert len(await _to_the_end(monitor)) == len(events)
        await monitor.send_json({"action": "play", "speed": 0})
        assert await _to_the_end(monitor) == []


async def test_back_and_forth_each_place_is_as_it_was(hospital: Server, day: Past) -> None:
    await day.morning()
    events = await day.events()
    places = [event["sequence"] for event in events]
    async with hospital.monitor() as monitor:
        await _replay(monitor, day.date)
        await _to_the_end(monitor)
        await monitor.send_json({"action": "pause"})
        for place in (places[0] - 1, places[-1], places[2], places[1], places[4], places[4]):
            await monitor.send_json({"action": "seek", "to": place})
            sought = await _hear(monitor)
            assert sought["sequence"] == (place if place in places else 0)
            assert _data(sought) == await day.state(sequence=place)
        for _ in range(3):  # without reading in between
            await monitor.send_json({"action": "seek", "to": places[0]})
            await monitor.send_json({"action": "seek", "to": places[5]})
        assert [(await _hear(monitor))["sequence"] for _ in range(6)] == [places[0], places[5]] * 3
        await _says_nothing(monitor)


async def test_it_begins_where_it_is_told_to(hospital: Server, day: Past) -> None:
    await day.morning()
    events = await day.events()
    async with hospital.monitor() as monitor:
        begun = await _replay(monitor, day.date, **{"from": events[3]["sequence"]})
        assert (begun["sequence"], begun["replay"]["event"]) == (events[3]["sequence"], "PatientCheckedIn")
        assert [update["replay"]["sequence"] for update in await _to_the_end(monitor)] == [
            event["sequence"] for event in events[4:]
        ]
        begun = await _replay(monitor, day.date, by="effective", **{"from": at(day.date, "09:00")})
        assert begun["replay"]["event"] == "PatientCheckedIn"
        assert [update["replay"]["at"][11:16] for update in await _to_the_end(monitor)] == ["10:00", "11:00"]
        begun = await _replay(monitor, day.date, **{"from": "2999-01-01T00:00:00Z"})
        assert _data(begun) == await day.state()
        assert await _to_the_end(monitor) == []


# --- one thing at a time -------------------------------------------------------------------------


async def test_a_subscription_ends_a_replay_and_a_replay_a_subscription(hospital: Server, day: Past) -> None:
    doctor = await day.morning()
    async with hospital.monitor() as monitor:
        await _replay(monitor, day.date, by="effective", speed=1)
        await _hear(monitor)
        await monitor.send_json({"action": "subscribe", "date": day.date})
        live = await _hear(monitor)
        assert live["type"] == "snapshot"
        assert live.keys() == SNAPSHOT
        await monitor.send_json({"action": "pause"})
        assert (await _hear(monitor))["code"] == "invalid_message"
        await day.booked(doctor)
        assert (await _hear(monitor))["from"] == live["sequence"]

        await _replay(monitor, day.date, by="effective", speed=1)
        await _hear(monitor)
        await day.booked(doctor)
        await _says_nothing(monitor)
        await monitor.send_json({"action": "unsubscribe"})
        assert await _hear(monitor) == {"type": "unsubscribed"}
        await monitor.send_json({"action": "play", "speed": 0})
        assert (await _hear(monitor))["code"] == "invalid_message"


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ({"action": "pause"}, "invalid_message"),
        ({"action": "play", "speed": 1}, "invalid_message"),
        ({"action": "seek", "to": 1}, "invalid_message"),
        ({"action": "replay"}, "invalid_date"),
        ({"action": "replay", "date": "17-11-2025", "speed": 1}, "invalid_date"),
        ({"action": "replay", "date": None, "speed": 1}, "invalid_date"),
        *[
            ({"action": "replay", "date": "2020-01-01"} | wrong, "invalid_message")
            for wrong in (
                {"speed": -1},
                {"speed": 0.5},
                {"speed": 3601},
                {"speed": "1"},
                {"speed": True},
                {"by": "heart"},
                {"from": "09:15"},
                {"from": "2020-01-01T09:15:00"},
                {"from": -1},
                {"from": 1.5},
                {"from": True},
                {"from": 2**62},
                {"to": 1},
                {"mode": "delta"},
            )
        ],
        ({"action": "rewind"}, "unknown_action"),
    ],
    ids=repr,
)
async def test_what_is_wrong_is_said_and_the_connection_stays(hospital: Server, message: Json, code: str) -> None:
    async with hospital.monitor() as monitor:
        await monitor.send_json(message)
        answer = await _hear(monitor)
        assert (answer["type"], answer["code"]) == ("error", code), answer
        await _says_nothing(monitor)


@pytest.mark.parametrize(
    "message",
    [
        {"action": "seek"},
        {"action": "seek", "to": None},
        {"action": "seek", "to": "noon"},
        {"action": "seek", "to": 2**62},
        {"action": "play", "speed": 0.1},
        {"action": "pause", "speed": 1},
    ],
    ids=repr,
)
async def test_what_is_wrong_leaves_a_replay_as_it_is(hospital: Server, day: Past, message: Json) -> None:
    await day.morning()
    async with hospital.monitor() as monitor:
        await _replay(monitor, day.date, by="effective", speed=1)
        await _hear(monitor)
        await monitor.send_json(message)
        assert (await _hear(monitor))["code"] == "invalid_message"
        await monitor.send_json({"action": "play", "speed": 0})
        assert len(await _to_the_end(monitor)) == 5


async def _under_way(hospital: Server) -> int:
    async with hospital._session.get(hospital.url + "/metrics") as metrics:
        found = re.search(r'daysheet_replays\{worker="0"\} (\d+)', await metrics.text())
    assert found is not None
    return int(found[1])


async def test_by_effective_time_a_seek_knows_what_was_entered_a_moment_ago(hospital: Server, day: Past) -> None:
    doctor = await day.morning()
    async with hospital.monitor() as monitor:
        await _replay(monitor, day.date, by="effective", speed=1, **{"from": at(day.date, "09:30")})
        late = await day.booked(doctor, "08:30")
        await monitor.send_json({"action": "pause"})
        await monitor.send_json({"action": "seek", "to": at(day.date, "08:45")})
        while (told := await _hear(monitor))["replay"]["at"] != at(day.date, "08:45"):
            assert told["type"] == "snapshot"  # of the place that it stood at, with what belongs before it
        assert late in json.dumps(told)


async def test_by_effective_time_a_late_entry_is_played_in_its_place(hospital: Server, day: Past) -> None:
    doctor = await day.morning()
    async with hospital.monitor() as monitor:
        await _replay(monitor, day.date, by="effective", speed=1, **{"from": at(day.date, "09:30")})
        late = await day.booked(doctor, "09:40")  # before what was known to come next, at 10:00
        await monitor.send_json({"action": "play", "speed": 3600})
        told = await _hear(monitor)
        while told["type"] == "snapshot":
            told = await _hear(monitor)
        assert (told["replay"]["event"], told["replay"]["at"]) == ("AppointmentBooked", at(day.date, "09:40"))
        assert late in json.dumps(told)


async def test_only_so_many_replays_play_at_once_and_who_stands_still_takes_no_place(
    hospital: Server, day: Past
) -> None:
    await day.morning()
    waiting: Json = {"by": "effective", "speed": 1, "from": at(day.date, "08:00")}  # an hour before what comes next
    while await _under_way(hospital):  # noqa: ASYNC110 - of tests before this one; nobody tells
        await asyncio.sleep(0.01)
    async with AsyncExitStack() as stack:
        first, *others = [await stack.enter_async_context(hospital.monitor()) for _ in range(REPLAYS_AT_ONCE + 1)]
        for monitor in others:
            assert (await _replay(monitor, day.date, **waiting))["type"] == "snapshot"
            assert (await _replay(monitor, day.date, **waiting))["type"] == "snapshot"  # in place of its own
        assert await _under_way(hospital) == REPLAYS_AT_ONCE
        assert (await _replay(first, day.date))["code"] == "too_many_subscriptions"
        await first.send_json({"action": "subscribe", "date": day.date})
        assert (await _hear(first))["type"] == "snapshot"
        for leaves in ({"action": "pause"}, {"action": "unsubscribe"}, {"action": "play", "speed": 0}):
            leaving = others.pop()
            await leaving.send_json(leaves)
            while (answer := await _replay(first, day.date, **waiting))["type"] == "error":  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            assert answer["type"] == "snapshot"
            if leaves["action"] == "pause":
                await leaving.send_json({"action": "play"})
                assert (await _hear(leaving))["code"] == "too_many_subscriptions"
                await leaving.send_json({"action": "seek", "to": at(day.date, "12:00")})
                assert (await _hear(leaving))["type"] == "snapshot"  # which is a single state
            await first.send_json({"action": "unsubscribe"})
            assert (await _hear(first))["type"] == "unsubscribed"
            assert (await _replay(others[0], day.date, **waiting))["type"] == "snapshot"
            refill = await stack.enter_async_context(hospital.monitor())
            assert (await _replay(refill, day.date, **waiting))["type"] == "snapshot"


# --- while the hospital goes on ------------------------------------------------------------------


async def test_today_is_replayed_while_it_goes_on(hospital: Server) -> None:
    doctor, today = await hospital.a_doctor(), await hospital.today()
    first = await hospital.an_appointment(doctor)
    async with hospital.monitor(doctor) as monitor:
        for by in ("recorded", "effective"):
            await _replay(monitor, today, by=by)
            before = await _to_the_end(monitor)
            second = await hospital.an_appointment(doctor)
            await monitor.send_json({"action": "play", "speed": 0})
            (update,) = await _to_the_end(monitor)
            assert update["events"][0]["appointment_id"] == second
            assert update["from"] == before[-1]["sequence"]
            third = await hospital.an_appointment(doctor)
            await monitor.send_json({"action": "seek", "to": "2999-01-01T00:00:00Z"})
            sought = await _hear(monitor)
            assert third in {one["appointment_id"] for one in sought["data"]["appointments"]}
            assert first in {one["appointment_id"] for one in sought["data"]["appointments"]}
            assert await _to_the_end(monitor) == []


@pytest.mark.parametrize("by", ["recorded", "effective"])
async def test_what_was_only_just_recorded_can_be_sought(hospital: Server, day: Past, by: str) -> None:
    doctor = await day.morning()
    await day.booked(doctor, "08:30")  # recorded last, and not at the end
    async with hospital.monitor() as monitor:
        await _replay(monitor, day.date, by=by)
        await _to_the_end(monitor)
        await day.booked(doctor, "12:00")
        newest = (await day.events())[-1]
        await monitor.send_json({"action": "seek", "to": newest["sequence"]})
        sought = await _hear(monitor)
        assert sought["replay"]["sequence"] == newest["sequence"]
        assert _data(sought) == await day.state()


async def test_a_late_entry_for_what_was_played_already_comes_with_a_snapshot(hospital: Server, day: Past) -> None:
    doctor = await day.morning()
    async with hospital.monitor() as monitor:
        await _replay(monitor, day.date, by="effective")
        await _to_the_end(monitor)
        await day.booked(doctor, "08:00")
        await monitor.send_json({"action": "play", "speed": 0})
        again = await _hear(monitor)
        assert again["type"] == "snapshot"
        assert _data(again) == await day.state()
        assert await _to_the_end(monitor) == []


async def test_who_is_erased_is_gone_from_a_replay_at_once_also_from_one_that_stands_still(
    hospital: Server, day: Past
) -> None:
    doctor = await day.doctor()
    patient = await hospital.a_patient(name="Ottoline Featherstonehaugh", phone="+44 7700 900123")
    booked = await day.booked(doctor, patient=patient)
    await day.does("checkins", "09:00", appointment_id=booked)
    await day.arrived(doctor, "10:00")  # What comes next is somebody else's.
    order = [event["sequence"] for event in await day.events()]
    async with hospital.monitor() as monitor, hospital.monitor(doctor) as other:
        await _replay(monitor, day.date, by="effective", speed=1, **{"from": at(day.date, "09:00")})
        shown = await _replay(other, day.date)
        assert "Ottoline" in json.dumps(await _to_the_end(other))
        erased = await hospital.post(f"/patients/{patient}/erase", {"reason": "asked for it"})
        assert erased.status == 200
        for replaying in (monitor, other):
            again = await _hear(replaying)
            assert again["type"] == "snapshot"
            await replaying.send_json({"action": "play", "speed": 0})
            rest = [again, *await _to_the_end(replaying)]
            await replaying.send_json({"action": "seek", "to": 0})
            rest += [await _hear(replaying), *await _to_the_end(replaying)]
            told = json.dumps(rest)
            assert "Ottoline" not in told
            assert "900123" not in told
            assert ERASED in told
        assert shown["type"] == "snapshot"
        await _replay(monitor, day.date)
        assert [update["replay"]["sequence"] for update in await _to_the_end(monitor)] == order


async def test_who_reads_slowly_gets_every_state_and_live_monitors_do_not_wait_for_it(
    hospital: Server, day: Past, future: str
) -> None:
    doctor = await day.doctor()
    for number in range(5):
        await day.arrived(doctor, f"09:0{number}", name="x" * 200)
    for number in range(150):
        body = {"capacity": 9, "room": f"{number:03}" + "x" * 90}
        await hospital.call("PUT", f"/clinics/{doctor}/{day.date}", body)
    events = [event["sequence"] for event in await day.events()]
    async with connected(hospital, receive_bytes=2048) as slow, hospital.monitor() as live:
        await slow.upgrade("/api/v1/ws/queue")
        await slow.say({"action": "replay", "date": day.date, "speed": 0})
        slow.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await live.send_json({"action": "subscribe", "date": future})
        await _hear(live)
        await hospital.an_appointment(await hospital.a_doctor(), date=future)
        assert (await _hear(live))["type"] == "update"
        slow.writer.transport.resume_reading()  # type: ignore[attr-defined]
        heard = []
        while (message := await slow.hear_json())["type"] != "replay_end":
            heard.append(message["sequence"])
        assert heard == [0, *events]


# --- GET /queue ----------------------------------------------------------------------------------


async def test_the_queue_is_told_as_it_was_at_a_sequence_or_a_time(hospital: Server, day: Past) -> None:
    doctor = await day.morning()
    events = await day.events()
    whole = (await hospital.get(f"/queue?date={day.date}")).body
    for event in events:
        answer = await hospital.get(f"/queue?date={day.date}&sequence={event['sequence']}")
        assert (answer.status, answer.body.keys()) == (200, SNAPSHOT)
        assert answer.body["sequence"] == event["sequence"]
        assert answer.body["epoch"] == whole["epoch"]
        assert TIME.fullmatch(answer.body["data"]["timestamp"])
        is_day(answer.body["data"])
        one = await day.state(sequence=event["sequence"], doctor_id=doctor)
        (block,) = answer.body["data"]["doctors"]
        assert one["appointments"] == block["appointments"]
        # Times are told to the second: one of them stands for all that was recorded in it.
        same_second = [each for each in events if each["recorded_at"] <= event["recorded_at"]]
        assert await day.state(at=event["recorded_at"]) == await day.state(sequence=same_second[-1]["sequence"])
    assert await day.state(sequence=events[0]["sequence"] - 1) == {
        "date": day.date,
        "total_appointments": 0,
        "total_doctors": 0,
        "doctors": [],
    }
    nobody = await day.state(sequence=0, doctor_id=doctor)
    assert (nobody["clinic"], nobody["appointments"]) == (None, [])


async def test_a_time_to_come_is_now_and_one_long_ago_is_before_everything(hospital: Server, day: Past) -> None:
    await day.morning()
    whole = (await hospital.get(f"/queue?date={day.date}")).body
    ahead = (await hospital.get(f"/queue?date={day.date}&at=2999-01-01T00:00:00Z")).body
    assert (ahead["sequence"], _data(ahead)) == (whole["sequence"], _data(whole))
    for early in ("0001-01-01T00:00:00%2B14:00", "1969-07-20T20:17:00Z"):
        answer = await hospital.get(f"/queue?date={day.date}&at={early}")
        assert (answer.status, answer.body["sequence"], answer.body["data"]["doctors"]) == (200, 0, [])
    assert (await hospital.get("/queue?date=9999-12-31&sequence=0")).status == 200


async def test_by_effective_time_a_late_entry_is_where_it_belongs(hospital: Server, day: Past) -> None:
    await day.morning()
    then = await day.state(by="effective", at=at(day.date, "09:30"))
    assert [one["queue"] is not None for one in then["doctors"][0]["appointments"]] == [True, False]
    told = await hospital.get(f"/queue?date={day.date}&by=effective&at={at(day.date, '09:30')}")  # its + not escaped
    assert _data(told.body) == then
    assert told.body["data"]["timestamp"] == at(day.date, "09:30")
    assert (await day.state(by="recorded", at=at(day.date, "09:30")))["doctors"] == []
    assert await day.state(by="recorded") == await day.state()


async def test_people_are_shown_as_they_are_registered_now(hospital: Server, day: Past) -> None:
    doctor = await day.doctor()
    patient = await hospital.a_patient(name="Before")
    booked = await hospital.an_appointment(doctor, patient, date=day.date, effective_at=at(day.date, "08:00"))
    sequence = (await day.events())[-1]["sequence"]
    await hospital.call("PATCH", f"/patients/{patient}", {"name": "After"})
    renamed = (await hospital.call("PATCH", f"/doctors/{doctor}", {"name": "Dr. After"})).body["sequence"]
    then = await day.state(sequence=sequence)
    assert then["doctors"][0]["doctor"]["name"] == "Dr. After"
    assert [(one["appointment_id"], one["patient"]["name"]) for one in then["doctors"][0]["appointments"]] == [
        (booked, "After")
    ]
    whole = (await hospital.get(f"/queue?date={day.date}")).body
    assert whole["sequence"] == renamed
    answer = (await hospital.get(f"/queue?date={day.date}&sequence={renamed}")).body
    assert (answer["sequence"], _data(answer)) == (renamed, _data(whole))


@pytest.mark.parametrize(
    ("query", "key"),
    [
        ("at=2025-11-17T09:15:00Z&sequence=1", "at"),
        ("at=2025-11-17T09:15:00", "at"),
        ("at=2025-11-17", "at"),
        ("at=1763370900", "at"),
        ("at=now", "at"),
        ("sequence=-1", "sequence"),
        ("sequence=x", "sequence"),
        ("sequence=4611686018427387904", "sequence"),
        ("by=heart", "by"),
        ("by=", "by"),
    ],
)
async def test_a_past_that_cannot_be_is_400(hospital: Server, query: str, key: str) -> None:
    is_problem(await hospital.get(f"/queue?{query}"), 400, "invalid_request", key=key)


async def test_an_unknown_doctors_past_is_404(hospital: Server) -> None:
    is_problem(await hospital.get(f"/queue?doctor_id={UNKNOWN}&sequence=0"), 404, "unknown_doctor")
