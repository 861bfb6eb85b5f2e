"""The WebSocket, message by message, as the original protocol and the contract have it."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
import websockets

from tests.gateway.contract import (
    DOCTOR_DAY,
    HAPPENED,
    SHOWN_DOCTOR,
    SNAPSHOT,
    TIME,
    UNKNOWN,
    UPDATE,
    at,
    is_block,
    is_day,
)
from tests.gateway.raw import connected
from tests.server import Server

pytestmark = pytest.mark.asyncio(loop_scope="module")

Socket = aiohttp.ClientWebSocketResponse
WS = "/api/v1/ws/queue"
MESSAGE_BYTES = 64 * 1024
GAP_SECONDS = 0.020


async def _subscribed(monitor: Socket, day: str) -> dict[str, Any]:
    """The snapshot."""
    await monitor.send_json({"action": "subscribe", "date": day})
    answer: dict[str, Any] = await monitor.receive_json(timeout=5)
    assert answer["type"] == "snapshot"
    return answer


async def _until(monitor: Socket, sequence: int) -> list[dict[str, Any]]:
    """The updates up to the state of that sequence."""
    updates: list[dict[str, Any]] = []
    while not updates or updates[-1]["sequence"] < sequence:
        updates.append(await monitor.receive_json(timeout=5))
    return updates


async def _says_nothing(monitor: Socket) -> None:
    """Everything sent before has been answered by the time a pong comes."""
    await asyncio.sleep(0.1)
    await monitor.send_json({"action": "ping"})
    assert (await monitor.receive_json(timeout=5))["type"] == "pong"


async def _newest(hospital: Server, day: str, doctor: str | None = None) -> int:
    which = f"&doctor_id={doctor}" if doctor else ""
    return int((await hospital.get(f"/queue?date={day}{which}")).body["sequence"])


# --- subscribing ---------------------------------------------------------------------------------


async def test_a_snapshot_comes_at_once_and_equals_what_http_answers(hospital: Server, past: str) -> None:
    entered = {"date": past, "effective_at": at(past, "08:00")}
    doctors = [await hospital.a_doctor() for _ in range(2)]
    booked = [await hospital.an_appointment(doctor, **entered) for doctor in doctors * 2]
    await hospital.post("/checkins", {"appointment_id": booked[0], "effective_at": at(past, "09:00")})
    async with hospital.monitor() as monitor:
        snapshot = await _subscribed(monitor, past)
        assert snapshot.keys() == SNAPSHOT
        is_day(snapshot["data"])
        assert (snapshot["data"]["date"], snapshot["data"]["total_appointments"]) == (past, 4)
        asked = (await hospital.get(f"/queue?date={past}")).body
        for answer in (asked, snapshot):
            assert TIME.fullmatch(answer["data"].pop("timestamp"))
        assert snapshot == asked


async def test_the_original_python_client_works_unchanged(hospital: Server, past: str) -> None:
    async with websockets.connect(hospital.ws) as websocket:
        await websocket.send(json.dumps({"action": "subscribe", "date": past}))
        assert json.loads(await websocket.recv())["type"] == "snapshot"
        await hospital.an_appointment(await hospital.a_doctor(), date=past, effective_at=at(past, "08:00"))
        update = json.loads(await websocket.recv())
        queue = update["data"]
        assert (update["type"], queue["total_doctors"], queue["total_appointments"]) == ("update", 1, 1)
        for doctor_data in queue["doctors"]:
            assert doctor_data["doctor"]["name"]
            assert doctor_data["doctor"]["specialty"]
            for appt in doctor_data["appointments"]:
                assert (appt["slot"], appt["patient"]["name"], appt["queue"]) == (1, "Priya Raman", None)


async def test_subscribing_again_replaces_what_was_watched(hospital: Server, past: str, future: str) -> None:
    doctor = await hospital.a_doctor()
    async with hospital.monitor() as monitor:
        await _subscribed(monitor, past)
        assert (await _subscribed(monitor, future))["data"]["date"] == future
        await hospital.an_appointment(doctor, date=past, effective_at=at(past, "08:00"))
        await _says_nothing(monitor)
        await hospital.an_appointment(doctor, date=future)
        (update,) = await _until(monitor, await _newest(hospital, future))
        assert update["data"]["date"] == future
        assert (await _subscribed(monitor, past))["data"]["total_appointments"] == 1
        assert (await _subscribed(monitor, past))["data"]["total_appointments"] == 1  # the same once more


async def test_unsubscribe_is_answered_and_ends_the_updates(hospital: Server, future: str) -> None:
    doctor = await hospital.a_doctor()
    async with hospital.monitor() as monitor:
        await monitor.send_json({"action": "unsubscribe"})
        assert await monitor.receive_json(timeout=5) == {"type": "unsubscribed"}
        await _subscribed(monitor, future)
        await monitor.send_json({"action": "unsubscribe"})
        assert await monitor.receive_json(timeout=5) == {"type": "unsubscribed"}
        await hospital.an_appointment(doctor, date=future)
        await _says_nothing(monitor)
        assert (await _subscribed(monitor, future))["data"]["total_appointments"] == 1


async def test_a_ping_is_answered_with_the_hospitals_time(hospital: Server) -> None:
    async with hospital.monitor() as monitor:
        await monitor.send_json({"action": "ping"})
        pong = await monitor.receive_json(timeout=5)
        assert pong.keys() == {"type", "timestamp"}
        assert pong["type"] == "pong"
        assert TIME.fullmatch(pong["timestamp"])


async def test_another_dates_events_bring_nothing(hospital: Server, past: str, future: str) -> None:
    doctor = await hospital.a_doctor()
    async with hospital.monitor() as monitor:
        await _subscribed(monitor, past)
        await hospital.an_appointment(doctor, date=future)
        await hospital.a_patient()
        await _says_nothing(monitor)


# --- updates -------------------------------------------------------------------------------------


async def test_updates_follow_each_other_and_name_every_event_once(hospital: Server, past: str) -> None:
    doctors = [await hospital.a_doctor() for _ in range(3)]
    entered = {"date": past, "effective_at": at(past, "08:00")}
    async with hospital.monitor() as monitor:
        snapshot = await _subscribed(monitor, past)
        booked = await asyncio.gather(*[hospital.an_appointment(doctor, **entered) for doctor in doctors * 5])
        arrived = {"effective_at": at(past, "09:00")}
        await asyncio.gather(*[hospital.post("/checkins", {"appointment_id": one} | arrived) for one in booked])
        await hospital.post(f"/appointments/{booked[-1]}/cancel", {"effective_at": at(past, "09:30")})
        for doctor in doctors:
            await hospital.post("/queue/call-next", {"doctor_id": doctor, "date": past})
        updates = await _until(monitor, await _newest(hospital, past))

    before = snapshot["sequence"]
    happened = []
    for update in updates:
        assert update.keys() == UPDATE
        assert (update["type"], update["epoch"]) == ("update", snapshot["epoch"])
        assert update["from"] == before
        assert update["sequence"] > before
        is_day(update["data"])
        for event in update["events"]:
            assert event.keys() == HAPPENED
            assert before < event["sequence"] <= update["sequence"]
        assert update["events"][-1]["sequence"] == update["sequence"]
        happened += update["events"]
        before = update["sequence"]
    assert [event["sequence"] for event in happened] == sorted({event["sequence"] for event in happened})
    of_type = {
        kind: [e["appointment_id"] for e in happened if e["type"] == kind] for kind in {e["type"] for e in happened}
    }
    assert {kind: len(ids) for kind, ids in of_type.items()} == {
        "ClinicOpened": 3,
        "AppointmentBooked": 15,
        "PatientCheckedIn": 15,
        "PatientCalled": 3,
        "AppointmentCancelled": 1,
    }
    assert of_type["ClinicOpened"] == [None] * 3
    assert sorted(of_type["AppointmentBooked"]) == sorted(of_type["PatientCheckedIn"]) == sorted(booked)
    assert {event["doctor_id"] for event in happened} == set(doctors)


async def test_an_event_that_changes_nothing_to_see_comes_too(hospital: Server, future: str) -> None:
    doctor = await hospital.a_doctor()
    opened = await hospital.call("PUT", f"/clinics/{doctor}/{future}", {"capacity": 3})
    async with hospital.monitor() as monitor:
        await _subscribed(monitor, future)
        changed = await hospital.call("PUT", f"/clinics/{doctor}/{future}", {"capacity": 3, "order": "slot"})
        (update,) = await _until(monitor, changed.body["sequence"])
        assert update["from"] == opened.body["sequence"]
        assert update["events"] == [
            {
                "sequence": changed.body["sequence"],
                "type": "ClinicChanged",
                "doctor_id": doctor,
                "appointment_id": None,
            }
        ]


async def test_an_answered_command_is_never_newer_than_what_monitors_come_to_show(hospital: Server) -> None:
    today, doctor = await hospital.today(), await hospital.a_doctor()
    appointment = await hospital.an_appointment(doctor, date=today)
    async with hospital.monitor(doctor) as monitor:
        await _subscribed(monitor, today)
        for path, body in (
            ("/checkins", {"appointment_id": appointment}),
            ("/queue/call-next", {"doctor_id": doctor}),
            (f"/appointments/{appointment}/complete", {}),
        ):
            answer = await hospital.post(path, body)
            (update,) = await _until(monitor, answer.body["sequence"])
            assert update["sequence"] == answer.body["sequence"]
            (shown,) = update["data"]["appointments"]
            assert shown["queue"] == answer.body["queue"]


async def test_an_erasure_is_a_change_without_doctor_and_appointment(hospital: Server, future: str) -> None:
    doctor, patient = await hospital.a_doctor(), await hospital.a_patient(name="Wanda Weg")
    await hospital.an_appointment(doctor, patient, date=future)
    other = await hospital.a_doctor()
    await hospital.an_appointment(other, date=future)
    async with hospital.monitor() as central, hospital.monitor(doctor) as one, hospital.monitor(other) as another:
        before = await _subscribed(central, future)
        await _subscribed(one, future)
        await _subscribed(another, future)
        erased = (await hospital.post(f"/patients/{patient}/erase", {"reason": "asked"})).body["sequence"]
        (update,) = await _until(central, erased)
        assert (update["from"], update["sequence"]) == (before["sequence"], erased)
        assert update["events"] == [
            {"sequence": erased, "type": "PatientErased", "doctor_id": None, "appointment_id": None}
        ]
        assert "Wanda" not in json.dumps(update)
        assert "[erased]" in json.dumps(update)
        (own,) = await _until(one, erased)
        assert own["events"] == update["events"]
        await _says_nothing(another)
        stranger = await hospital.a_patient()
        await hospital.post(f"/patients/{stranger}/erase", {"reason": "asked"})
        await _says_nothing(central)


async def test_full_updates_keep_their_distance_and_end_at_the_newest_state(hospital: Server, past: str) -> None:
    doctor = await hospital.a_doctor()
    await hospital.call("PUT", f"/clinics/{doctor}/{past}", {"capacity": 80})
    patients = await asyncio.gather(*[hospital.a_patient() for _ in range(80)])
    clock = asyncio.get_running_loop().time
    async with hospital.monitor() as monitor:
        await _subscribed(monitor, past)
        began = clock()
        await asyncio.gather(
            *[
                hospital.an_appointment(doctor, patient, date=past, effective_at=at(past, "08:00"))
                for patient in patients
            ]
        )
        updates = await _until(monitor, await _newest(hospital, past))
        assert len(updates) <= (clock() - began) / GAP_SECONDS + 2
        assert updates[-1]["data"]["total_appointments"] == 80


# --- one doctor ----------------------------------------------------------------------------------


async def test_one_doctors_monitor_shows_that_doctor_and_nobody_elses_events(hospital: Server, past: str) -> None:
    doctor, other = await hospital.a_doctor(name="Dr. Smith"), await hospital.a_doctor()
    entered = {"date": past, "effective_at": at(past, "08:00")}
    async with hospital.monitor(doctor) as monitor:
        snapshot = await _subscribed(monitor, past)
        assert snapshot.keys() == SNAPSHOT
        assert snapshot["data"].keys() == DOCTOR_DAY
        assert snapshot["data"]["doctor"].keys() == SHOWN_DOCTOR
        assert (snapshot["data"]["clinic"], snapshot["data"]["appointments"]) == (None, [])

        await hospital.an_appointment(other, **entered)
        await _says_nothing(monitor)
        booked = await hospital.an_appointment(doctor, **entered)
        (update,) = await _until(monitor, await _newest(hospital, past, doctor))
        assert update.keys() == UPDATE
        assert update["from"] == snapshot["sequence"]
        assert [event["type"] for event in update["events"]] == ["ClinicOpened", "AppointmentBooked"]
        assert {event["doctor_id"] for event in update["events"]} == {doctor}
        assert update["data"].keys() == DOCTOR_DAY
        is_block({key: update["data"][key] for key in update["data"].keys() - {"date", "timestamp"}})
        (shown,) = update["data"]["appointments"]
        assert shown["appointment_id"] == booked


async def test_a_doctor_who_is_registered_later_can_be_watched_at_once(hospital: Server, future: str) -> None:
    async with hospital.monitor(await hospital.a_doctor()) as monitor:
        assert (await _subscribed(monitor, future))["data"]["clinic"] is None


# --- what is wrong -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("", "invalid_json"),
        ("hello", "invalid_json"),
        ("{", "invalid_json"),
        ('{"action":"ping"} {}', "invalid_json"),
        ('{"action":NaN}', "invalid_json"),
        ('{"action":"\\ud800"}', "invalid_json"),
        ("[" * 60_000, "invalid_json"),
        ('{"action":' * 6_000, "invalid_json"),
        (b"\xff\xfe", "invalid_json"),
        ("null", "invalid_message"),
        ("1", "invalid_message"),
        ('"subscribe"', "invalid_message"),
        ("[]", "invalid_message"),
        ('[{"action":"ping"}]', "invalid_message"),
        ("{}", "invalid_message"),
        ('{"date":"2025-11-17"}', "invalid_message"),
        ('{"action":null}', "invalid_message"),
        ('{"action":1}', "invalid_message"),
        ('{"action":["ping"]}', "invalid_message"),
        ('{"action":"ping","colour":"blue"}', "invalid_message"),
        ('{"action":"unsubscribe","date":"2025-11-17"}', "invalid_message"),
        ('{"action":"subscribe","date":"2025-11-17","colour":"blue"}', "invalid_message"),
        ('{"action":""}', "unknown_action"),
        ('{"action":"Subscribe"}', "unknown_action"),
        ('{"action":"dance"}', "unknown_action"),
        ('{"action":"subscribe"}', "invalid_date"),
        ('{"action":"subscribe","date":null}', "invalid_date"),
        ('{"action":"subscribe","date":""}', "invalid_date"),
        ('{"action":"subscribe","date":"today"}', "invalid_date"),
        ('{"action":"subscribe","date":"2025-1-1"}', "invalid_date"),
        ('{"action":"subscribe","date":"2025-02-30"}', "invalid_date"),
        ('{"action":"subscribe","date":"2025-11-17T00:00:00"}', "invalid_date"),
        ('{"action":"subscribe","date":20251117}', "invalid_date"),
    ],
    ids=lambda value: f"{value[:50]!r} of {len(value)}",
)
async def test_what_is_wrong_in_a_message_is_told_and_the_subscription_stays(
    hospital: Server, future: str, message: str | bytes, code: str
) -> None:
    async with hospital.monitor() as monitor:
        await _subscribed(monitor, future)
        await (monitor.send_str(message) if isinstance(message, str) else monitor.send_bytes(message))
        error = await monitor.receive_json(timeout=5)
        assert error.keys() == {"type", "code", "message"}
        assert (error["type"], error["code"]) == ("error", code)
        assert error["message"]
        await hospital.call("PUT", f"/clinics/{await hospital.a_doctor()}/{future}", {"capacity": 3})
        assert (await monitor.receive_json(timeout=5))["type"] == "update"


@pytest.mark.parametrize("day", ["0001-01-01", "9999-12-31", "2024-02-29"])
async def test_every_date_of_the_calendar_can_be_watched(hospital: Server, day: str) -> None:
    async with hospital.monitor() as monitor:
        assert (await _subscribed(monitor, day))["data"]["date"] == day


async def test_a_message_in_a_binary_frame_is_understood(hospital: Server) -> None:
    async with hospital.monitor() as monitor:
        await monitor.send_bytes(b'{"action":"ping"}')
        answer = await monitor.receive(timeout=5)
        assert answer.type is aiohttp.WSMsgType.TEXT
        assert json.loads(answer.data)["type"] == "pong"


@pytest.mark.parametrize("size", [MESSAGE_BYTES + 1, 10 * MESSAGE_BYTES, 200 * MESSAGE_BYTES])
async def test_a_message_over_64_kib_ends_the_connection_with_1009(hospital: Server, size: int) -> None:
    async with websockets.connect(hospital.ws) as websocket:
        with suppress(websockets.ConnectionClosed):  # perhaps before all of it was sent
            await websocket.send(" " * size)
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await websocket.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009


async def test_a_message_of_64_kib_is_heard(hospital: Server) -> None:
    async with hospital.monitor() as monitor:
        await monitor.send_str('{"action":"ping"}'.ljust(MESSAGE_BYTES))
        assert (await monitor.receive_json(timeout=5))["type"] == "pong"


async def test_an_unknown_doctor_is_refused_before_the_upgrade(hospital: Server) -> None:
    for doctor, status in (("x", 400), (UNKNOWN, 404)):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            async with hospital.monitor(doctor):
                pass
        assert refused.value.status == status


# --- frames --------------------------------------------------------------------------------------


async def test_a_message_in_pieces_with_a_ping_between_them_is_put_together(hospital: Server) -> None:
    async with connected(hospital) as raw:
        assert (await raw.upgrade(WS)).status == 101
        await raw.frame(0x1, b'{"act', fin=False)
        await raw.frame(0x9, b"still there?")
        assert await raw.hear() == (0xA, b"still there?")
        await raw.frame(0x0, b'ion":"p', fin=False)
        await raw.frame(0xA, b"a pong that nobody asked for")
        await raw.frame(0x0, b"", fin=False)
        await raw.frame(0x0, b'ing"}')
        assert (await raw.hear_json())["type"] == "pong"


async def test_messages_sent_in_one_piece_are_answered_in_order(hospital: Server, future: str) -> None:
    async with connected(hospital) as raw:
        await raw.upgrade(WS)
        for message in (
            {"action": "ping"},
            {"action": "subscribe", "date": future},
            {"action": "x"},
            {"action": "ping"},
        ):
            await raw.say(message)
        assert [(await raw.hear_json())["type"] for _ in range(4)] == ["pong", "snapshot", "error", "pong"]


async def test_a_good_bye_is_answered_and_the_connection_ends(hospital: Server, future: str) -> None:
    async with connected(hospital) as raw:
        await raw.upgrade(WS)
        await raw.say({"action": "subscribe", "date": future})
        await raw.hear_json()
        await raw.frame(0x8, b"\x03\xe8")
        assert (await raw.hear())[0] == 0x8
        assert await raw.is_closed()


@pytest.mark.parametrize(
    "data",
    [
        b"\xf1\x80\0\0\0\0",  # reserved bits
        b"\x83\x80\0\0\0\0",  # a kind of frame that there is none of
        b"\x89\xfe\x00\x80\0\0\0\0" + b"x" * 128,  # a ping too large
        b"\x80\x80\0\0\0\0",  # goes on with what never began
        b"\x81\x82\0\0\0\0\xff\xfe",  # a text that is no UTF-8
        b"\x88\x81\0\0\0\0\x03",  # a close code cut in two
        b"\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0",  # 16 exabytes
    ],
)
async def test_what_breaks_the_websocket_protocol_ends_that_connection_alone(hospital: Server, data: bytes) -> None:
    async with hospital.monitor() as monitor, connected(hospital) as raw:
        await raw.upgrade(WS)
        await raw.send(data)
        async with asyncio.timeout(5):
            ended = await raw.reader.read()
        assert ended[:1] in (b"\x88", b"")
        await _says_nothing(monitor)


async def test_connections_that_break_off_leave_the_others_alone(hospital: Server, future: str) -> None:
    doctor = await hospital.a_doctor()
    async with hospital.monitor() as monitor:
        await _subscribed(monitor, future)
        for _ in range(20):
            async with connected(hospital) as raw:
                await raw.upgrade(WS)
                await raw.say({"action": "subscribe", "date": future})
        await hospital.an_appointment(doctor, date=future)
        await _until(monitor, await _newest(hospital, future))


async def test_a_query_on_the_address_does_no_harm(hospital: Server, future: str) -> None:
    """The original sketches `?token=`; without tokens configured it says nothing."""
    assert urlsplit(hospital.ws).query == ""
    async with websockets.connect(hospital.ws + "?token=whatever") as websocket:
        await websocket.send(json.dumps({"action": "subscribe", "date": future}))
        assert json.loads(await websocket.recv())["type"] == "snapshot"
