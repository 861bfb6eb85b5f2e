"""What a subscription may ask for: deltas, to go on from where it was, heartbeats, some doctors, the public view."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any
from uuid import uuid4

import aiohttp
import pytest
import pytest_asyncio

from tests.gateway.contract import (
    BLOCK_CHANGE,
    DAY_CHANGE,
    DELTA,
    HAPPENED,
    HEARTBEAT,
    SHOWN_APPOINTMENT,
    SNAPSHOT,
    TIME,
    UNKNOWN,
    applied,
    at,
)
from tests.gateway.raw import Raw, connected
from tests.server import Server

pytestmark = pytest.mark.asyncio(loop_scope="module")

Socket = aiohttp.ClientWebSocketResponse
FILTERS_PER_DAY = 256


async def _subscribed(monitor: Socket, day: str, **keys: Any) -> dict[str, Any]:
    """The first answer."""
    await monitor.send_json({"action": "subscribe", "date": day, **keys})
    answer: dict[str, Any] = await monitor.receive_json(timeout=5)
    return answer


async def _says_nothing(monitor: Socket) -> None:
    await asyncio.sleep(0.1)
    await monitor.send_json({"action": "ping"})
    assert (await monitor.receive_json(timeout=5))["type"] == "pong"


class Clinic:
    """Somebody's list on a past date, and people on it."""

    def __init__(self, hospital: Server, day: str) -> None:
        self.hospital, self.day, self.minute = hospital, day, 0

    def _at(self) -> str:
        self.minute += 1
        return at(self.day, f"08:{self.minute:02}")

    async def doctor(self, **keys: Any) -> str:
        doctor = await self.hospital.a_doctor(**keys)
        await self.hospital.call("PUT", f"/clinics/{doctor}/{self.day}", {"capacity": 10})
        return doctor

    async def booked(self, doctor: str, **patient: Any) -> str:
        who = await self.hospital.a_patient(**patient)
        return await self.hospital.an_appointment(doctor, who, date=self.day, effective_at=self._at())

    async def arrived(self, doctor: str, **patient: Any) -> str:
        appointment = await self.booked(doctor, **patient)
        await self.does("checkins", appointment_id=appointment)
        return appointment

    async def does(self, path: str, **body: Any) -> int:
        """The sequence it led to."""
        answer = await self.hospital.post(f"/{path}", body | {"effective_at": self._at()})
        assert answer.status < 300, answer
        return int(answer.body["sequence"])

    async def state(self) -> dict[str, Any]:
        answer = (await self.hospital.get(f"/queue?date={self.day}")).body
        answer["data"].pop("timestamp")
        return dict(answer)


@pytest.fixture
def clinic(hospital: Server, past: str) -> Clinic:
    return Clinic(hospital, past)


@pytest_asyncio.fixture(loop_scope="module")
async def monitor(hospital: Server) -> AsyncIterator[Socket]:
    async with hospital.monitor() as socket:
        yield socket


def _without_time(data: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in data.items() if key != "timestamp"}


# --- deltas --------------------------------------------------------------------------------------


async def test_a_delta_brings_what_changed_and_nothing_else(clinic: Clinic, monitor: Socket) -> None:
    one, other = await clinic.doctor(), await clinic.doctor()
    appointment = await clinic.booked(one)
    await clinic.booked(other)
    snapshot = await _subscribed(monitor, clinic.day, mode="delta")
    assert (snapshot["type"], snapshot.keys()) == ("snapshot", SNAPSHOT)

    sequence = await clinic.does("checkins", appointment_id=appointment)
    delta = await monitor.receive_json(timeout=5)
    assert (delta["type"], delta.keys()) == ("delta", DELTA)
    assert (delta["epoch"], delta["from"], delta["sequence"]) == (snapshot["epoch"], snapshot["sequence"], sequence)
    [event] = delta["events"]
    assert event.keys() == HAPPENED
    assert (event["type"], event["sequence"]) == ("PatientCheckedIn", sequence)
    assert delta["data"].keys() == DAY_CHANGE
    assert TIME.fullmatch(delta["data"]["timestamp"])
    [block] = delta["data"]["doctors"]
    assert block.keys() == BLOCK_CHANGE | {"checked_in_count", "clinic"}
    assert (block["doctor_id"], block["positions"], block["removed"]) == (one, {}, [])
    assert [(a["appointment_id"], a["queue"]["position"]) for a in block["appointments"]] == [(appointment, 1)]
    assert _without_time(applied(snapshot["data"], delta["data"])) == (await clinic.state())["data"]


async def test_one_doctors_monitor_gets_deltas_of_the_same_shape(hospital: Server, clinic: Clinic) -> None:
    doctor, other = await clinic.doctor(), await clinic.doctor()
    async with hospital.monitor(doctor) as monitor:
        snapshot = await _subscribed(monitor, clinic.day, mode="delta")
        assert snapshot["data"]["appointments"] == []
        await clinic.booked(other)
        await _says_nothing(monitor)
        appointment = await clinic.booked(doctor)
        delta = await monitor.receive_json(timeout=5)
        assert delta["data"].keys() == DAY_CHANGE
        [block] = delta["data"]["doctors"]
        assert [a["appointment_id"] for a in block["appointments"]] == [appointment]


@pytest.mark.parametrize("mode", ["full", "delta"])
async def test_a_doctor_without_a_clinic_is_renamed_before_their_monitors_eyes(
    hospital: Server, past: str, mode: str
) -> None:
    doctor = await hospital.a_doctor()
    async with hospital.monitor(doctor) as early, hospital.monitor(doctor) as late:
        before = await _subscribed(early, past, mode=mode)
        renamed = (await hospital.call("PATCH", f"/doctors/{doctor}", {"name": "Dr. Ada Okafor"})).body["sequence"]
        told = await early.receive_json(timeout=5)
        assert (told["from"], told["sequence"]) == (before["sequence"], renamed)
        shown = told["data"] if mode == "full" else told["data"]["doctors"][0]
        assert shown["doctor"]["name"] == "Dr. Ada Okafor"
        assert (await _subscribed(late, past))["data"]["doctor"]["name"] == "Dr. Ada Okafor"
        resume = {"epoch": before["epoch"], "sequence": before["sequence"]}
        [block] = (await _subscribed(late, past, mode="delta", resume=resume))["data"]["doctors"]
        assert block.keys() == BLOCK_CHANGE | {"doctor"}

        await hospital.call("PUT", f"/clinics/{doctor}/{past}", {"capacity": 3})
        opened = await early.receive_json(timeout=5)
        assert opened["from"] == renamed
        assert [event["type"] for event in opened["events"]] == ["ClinicOpened"]


async def test_an_event_that_changes_nothing_to_see_comes_with_no_block(clinic: Clinic, monitor: Socket) -> None:
    doctor = await clinic.doctor()
    appointment = await clinic.booked(doctor)
    await _subscribed(monitor, clinic.day, mode="delta")
    sequence = await clinic.does(f"appointments/{appointment}/cancel")
    first = await monitor.receive_json(timeout=5)
    assert first["data"]["doctors"][0]["removed"] == [appointment]
    answer = await clinic.hospital.call("PUT", f"/clinics/{doctor}/{clinic.day}", {"capacity": 10, "order": "slot"})
    second = await monitor.receive_json(timeout=5)
    assert (second["from"], second["sequence"]) == (sequence, answer.body["sequence"])
    assert [event["type"] for event in second["events"]] == ["ClinicChanged"]


async def test_a_slow_reader_of_deltas_gets_all_it_missed_in_one(hospital: Server, clinic: Clinic) -> None:
    doctor = await clinic.doctor()
    appointments = [await clinic.arrived(doctor) for _ in range(3)]
    async with connected(hospital, receive_bytes=2048) as slow:
        await slow.upgrade("/api/v1/ws/queue")
        await slow.say({"action": "subscribe", "date": clinic.day, "mode": "delta"})
        state = await slow.hear_json()
        slow.writer.transport.pause_reading()  # type: ignore[attr-defined]
        for number in range(300):  # as many as no buffer on the way holds
            body = {"capacity": 10, "room": f"{number:03}" + "x" * 90}
            answer = await hospital.call("PUT", f"/clinics/{doctor}/{clinic.day}", body)
        await clinic.does(f"appointments/{appointments[0]}/cancel")
        newest = await clinic.state()
        slow.writer.transport.resume_reading()  # type: ignore[attr-defined]
        heard = 0
        while state["sequence"] < newest["sequence"]:
            delta = await slow.hear_json()
            assert delta["from"] <= state["sequence"] < delta["sequence"]
            state = delta | {"data": applied(state["data"], delta["data"])}
            heard += 1
        assert _without_time(state["data"]) == newest["data"]
        assert answer.body["sequence"] < newest["sequence"]
        assert heard <= 300


# --- going on from where one was -----------------------------------------------------------------


async def test_who_comes_back_gets_one_delta_of_all_that_was_missed(hospital: Server, clinic: Clinic) -> None:
    one, other = await clinic.doctor(), await clinic.doctor()
    stays, goes, waits = [await clinic.arrived(one) for _ in range(3)]
    async with hospital.monitor() as monitor:
        before = await _subscribed(monitor, clinic.day)
    await clinic.does(f"appointments/{goes}/cancel")
    await clinic.does(f"appointments/{stays}/priority", priority="urgent", reason="chest pain")
    await clinic.does(f"appointments/{waits}/move", doctor_id=other, reason="asked")
    resume = {"epoch": before["epoch"], "sequence": before["sequence"]}
    newest = await clinic.state()
    async with hospital.monitor() as monitor:
        delta = await _subscribed(monitor, clinic.day, mode="delta", resume=resume)
        assert (delta["type"], delta["from"], delta["sequence"]) == ("delta", before["sequence"], newest["sequence"])
        assert [event["type"] for event in delta["events"]] == [
            "AppointmentCancelled",
            "PriorityChanged",
            "AppointmentMovedOut",
            "AppointmentMovedIn",
        ]
        assert _without_time(applied(before["data"], delta["data"])) == newest["data"]
        await clinic.booked(one)
        assert (await monitor.receive_json(timeout=5))["from"] == newest["sequence"]


async def test_who_missed_nothing_gets_a_delta_of_nothing(clinic: Clinic, monitor: Socket) -> None:
    await clinic.arrived(await clinic.doctor())
    before = await _subscribed(monitor, clinic.day)
    resume = {"epoch": before["epoch"], "sequence": before["sequence"]}
    delta = await _subscribed(monitor, clinic.day, mode="delta", resume=resume)
    assert (delta["type"], delta["from"], delta["sequence"]) == ("delta", before["sequence"], before["sequence"])
    assert (delta["events"], delta["data"]["doctors"]) == ([], [])


async def test_who_has_heard_of_more_than_this_day_has_missed_nothing_of_it(
    hospital: Server, clinic: Clinic, monitor: Socket
) -> None:
    doctor = await clinic.doctor()
    before = await _subscribed(monitor, clinic.day)
    elsewhere = (await hospital.post("/patients", {"name": "Somebody else"})).body["sequence"]
    resume = {"epoch": before["epoch"], "sequence": elsewhere}
    choices: list[dict[str, Any]] = [{}, {"doctors": [doctor]}, {"view": "public"}]
    for choice in choices:
        delta = await _subscribed(monitor, clinic.day, mode="delta", resume=resume, **choice)
        assert (delta["type"], delta["from"], delta["sequence"]) == ("delta", before["sequence"], before["sequence"])
        assert (delta["events"], delta["data"]["doctors"]) == ([], [])
    await clinic.booked(doctor)
    assert (await monitor.receive_json(timeout=5))["from"] == before["sequence"]


@pytest.mark.parametrize("impossible", ["another epoch", "below zero", "beyond the log", "beyond any"])
async def test_a_state_that_never_was_gets_a_snapshot(
    hospital: Server, clinic: Clinic, monitor: Socket, impossible: str
) -> None:
    await clinic.booked(await clinic.doctor())
    before = await _subscribed(monitor, clinic.day)
    newer = (await hospital.post("/patients", {"name": "Somebody else"})).body["sequence"]
    resume = {"epoch": before["epoch"], "sequence": before["sequence"]} | {
        "another epoch": {"epoch": "0" * 16},
        "below zero": {"sequence": -1},
        "beyond the log": {"sequence": newer + 1000},
        "beyond any": {"sequence": 2**63},
    }[impossible]
    answer = await _subscribed(monitor, clinic.day, mode="delta", resume=resume)
    assert (answer["type"], answer["sequence"]) == ("snapshot", before["sequence"])


# --- heartbeats ----------------------------------------------------------------------------------


async def test_a_heartbeat_tells_what_the_client_should_have(hospital: Server, clinic: Clinic) -> None:
    await clinic.booked(await clinic.doctor())
    async with hospital.monitor() as beating, hospital.monitor() as quiet:
        snapshot = await _subscribed(beating, clinic.day, heartbeat=5)
        await _subscribed(quiet, clinic.day, heartbeat=5)
        await _subscribed(quiet, clinic.day)
        beat = await beating.receive_json(timeout=20)
        assert (beat["type"], beat.keys()) == ("heartbeat", HEARTBEAT)
        assert beat["sequence"] == snapshot["sequence"] <= beat["head"]
        assert 0 <= beat["lag_seconds"] < 2
        assert TIME.fullmatch(beat["timestamp"])
        await _says_nothing(quiet)  # The subscription that wanted heartbeats was replaced.


# --- only these ----------------------------------------------------------------------------------


async def test_only_the_doctors_asked_for_are_shown(clinic: Clinic, monitor: Socket) -> None:
    one, other, third = await clinic.doctor(), await clinic.doctor(), await clinic.doctor()
    await clinic.booked(one)
    snapshot = await _subscribed(monitor, clinic.day, doctors=[third, one, one, UNKNOWN])
    assert {block["doctor"]["id"] for block in snapshot["data"]["doctors"]} == {one, third}
    assert (snapshot["data"]["total_doctors"], snapshot["data"]["total_appointments"]) == (2, 1)
    await clinic.booked(other)
    await _says_nothing(monitor)
    await clinic.booked(third)
    update = await monitor.receive_json(timeout=5)
    assert (update["type"], update["from"], update["data"]["total_appointments"]) == ("update", snapshot["sequence"], 2)
    assert [event["doctor_id"] for event in update["events"]] == [third]
    assert (await _subscribed(monitor, clinic.day, doctors=[]))["data"]["doctors"] == []


async def test_a_doctor_who_leaves_the_department_leaves_its_monitors(clinic: Clinic, monitor: Socket) -> None:
    department = f"Ward {uuid4()}"
    stays, goes = await clinic.doctor(department=department), await clinic.doctor(department=department)
    other = await clinic.doctor(department="Elsewhere")
    appointment = await clinic.booked(goes)
    async with clinic.hospital.monitor() as full:
        whole = await _subscribed(full, clinic.day, department=department)
        snapshot = await _subscribed(monitor, clinic.day, department=department, mode="delta")
        assert {block["doctor"]["id"] for block in snapshot["data"]["doctors"]} == {stays, goes}
        await clinic.booked(other)
        await _says_nothing(monitor)

        left = (await clinic.hospital.call("PATCH", f"/doctors/{goes}", {"department": "Elsewhere"})).body["sequence"]
        delta = await monitor.receive_json(timeout=5)
        assert (delta["from"], delta["sequence"]) == (snapshot["sequence"], left)
        assert delta["data"]["removed_doctors"] == [goes]
        assert [event["type"] for event in delta["events"]] == ["DoctorDetailsChanged"]
        update = await full.receive_json(timeout=5)
        assert [block["doctor"]["id"] for block in update["data"]["doctors"]] == [stays]
        resume = {"epoch": whole["epoch"], "sequence": whole["sequence"]}
        again = await _subscribed(full, clinic.day, department=department, mode="delta", resume=resume)
        assert again["data"]["removed_doctors"] == [goes]

        await clinic.hospital.call("PATCH", f"/doctors/{goes}", {"department": department})
        back = await monitor.receive_json(timeout=5)
        [block] = back["data"]["doctors"]
        assert [one["appointment_id"] for one in block["appointments"]] == [appointment]
        state = applied(applied(snapshot["data"], delta["data"]), back["data"])
        assert _without_time(state) == _without_time(
            (await _subscribed(monitor, clinic.day, department=department))["data"]
        )


async def test_a_date_has_room_for_many_choices_of_doctors_but_not_for_any_number(
    hospital: Server, future: str
) -> None:
    async def asks(monitor: Raw, **keys: Any) -> Any:
        await monitor.say({"action": "subscribe", "date": future, **keys})
        return await monitor.hear_json()

    async with AsyncExitStack() as crowd:
        monitors = [await crowd.enter_async_context(connected(hospital)) for _ in range(FILTERS_PER_DAY + 1)]
        for number, monitor in enumerate(monitors):
            await monitor.upgrade("/api/v1/ws/queue")
            if number < FILTERS_PER_DAY:
                assert (await asks(monitor, department=f"D{number}"))["type"] == "snapshot"
        last = monitors[-1]
        refused = await asks(last, department="One more")
        assert (refused["type"], refused["code"]) == ("error", "too_many_subscriptions")
        for keys in ({"department": "D7"}, {"view": "public"}, {}):  # what somebody watches anyway, and what all may
            assert (await asks(last, **keys))["type"] == "snapshot"
        await monitors[0].say({"action": "unsubscribe"})
        assert (await monitors[0].hear_json())["type"] == "unsubscribed"
        assert (await asks(last, department="One more"))["type"] == "snapshot"


# --- what everybody may see ----------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["full", "delta"])
async def test_the_public_sees_initials_and_no_events(clinic: Clinic, monitor: Socket, mode: str) -> None:
    doctor = await clinic.doctor()
    await clinic.arrived(doctor, name="John Michael Doe", phone="+91 11111", gender="male")
    await clinic.arrived(doctor, name="Somebody Famous", private=True)
    snapshot = await _subscribed(monitor, clinic.day, view="public", mode=mode)
    [block] = snapshot["data"]["doctors"]
    assert [one["patient"] for one in block["appointments"]] == [{"name": "J. D."}, {"name": None}]
    assert all(one.keys() == SHOWN_APPOINTMENT for one in block["appointments"])
    assert [one["queue"]["position"] for one in block["appointments"]] == [1, 2]
    assert block["appointments"][0]["queue"]["ticket"].endswith("-1")

    await clinic.arrived(doctor, name="Ada")
    heard: list[dict[str, Any]] = []
    while not heard or heard[-1]["sequence"] < (await clinic.state())["sequence"]:
        heard.append(await monitor.receive_json(timeout=5))
        assert heard[-1]["events"] == []
    shown = heard[-1]["data"]["doctors"][0]["appointments"][-1]
    assert shown["patient"] == {"name": "A."}
    assert not {"John", "Famous", "11111"} & set(str([snapshot, heard]).replace("'", " ").split())


async def test_one_doctors_public_view_is_masked_too(hospital: Server, clinic: Clinic) -> None:
    doctor = await clinic.doctor()
    await clinic.arrived(doctor, name="John Doe")
    async with hospital.monitor(doctor) as monitor:
        snapshot = await _subscribed(monitor, clinic.day, view="public")
        assert [one["patient"] for one in snapshot["data"]["appointments"]] == [{"name": "J. D."}]


# --- what cannot be asked for --------------------------------------------------------------------


@pytest.mark.parametrize(
    "keys",
    [
        {"mode": "some"},
        {"mode": 1},
        {"heartbeat": 4},
        {"heartbeat": 61},
        {"heartbeat": True},
        {"heartbeat": "5"},
        {"doctors": "all"},
        {"doctors": ["x"]},
        {"doctors": [UNKNOWN] * 1001},
        {"department": ""},
        {"department": "x" * 101},
        {"view": "private"},
        {"resume": 7},
        {"resume": {"sequence": 7}},
        {"resume": {"epoch": "e", "sequence": 1.5}},
        {"resume": {"epoch": "e", "sequence": 1, "more": 1}},
    ],
    ids=lambda keys: str(keys)[:60],
)
async def test_a_wrong_key_is_named_and_changes_nothing(clinic: Clinic, monitor: Socket, keys: dict[str, Any]) -> None:
    doctor = await clinic.doctor()
    await _subscribed(monitor, clinic.day)
    error = await _subscribed(monitor, clinic.day, **keys)
    assert (error["type"], error["code"]) == ("error", "invalid_message")
    assert next(iter(keys)) in error["message"]
    await clinic.booked(doctor)
    assert (await monitor.receive_json(timeout=5))["type"] == "update"


async def test_null_is_the_same_as_left_out(clinic: Clinic, monitor: Socket) -> None:
    optional = ("mode", "resume", "heartbeat", "doctors", "department", "view")
    answer = await _subscribed(monitor, clinic.day, **dict.fromkeys(optional))
    assert answer["type"] == "snapshot"


@pytest.mark.parametrize("keys", [{"doctors": [UNKNOWN]}, {"department": "Cardiology"}], ids=str)
async def test_who_watches_one_doctor_has_chosen_already(
    hospital: Server, clinic: Clinic, keys: dict[str, Any]
) -> None:
    async with hospital.monitor(await clinic.doctor()) as monitor:
        assert (await _subscribed(monitor, clinic.day, **keys))["code"] == "invalid_message"
