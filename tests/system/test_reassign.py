"""A whole clinic's patients go to another doctor: all of them or none, whatever else is asked at that moment."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from tests.conftest import Database
from tests.server import Answer, Server
from tests.system.record import of_type, whole_record
from tests.system.test_many_at_once import booked_today, everywhere, outcomes

Servers = tuple[Server, Server]

WHOLE_DAY = {"capacity": 1, "starts_at": "00:00", "slot_minutes": 1440}
CALLERS = 50


async def block(server: Server, doctor: str) -> dict[str, Any]:
    """The doctor's part of today's board, with all that was accepted anywhere."""
    data: dict[str, Any] = (await server.get(f"/queue?doctor_id={doctor}")).body["data"]
    del data["timestamp"]
    return data


async def all_accepted(two: Servers) -> None:
    """Both have read what either has recorded."""
    heads = [(await server.get("/queue")).body["sequence"] for server in two]
    for server in two:
        assert (await server.get(f"/queue?min_sequence={max(heads)}")).status == 200


def slots(board: dict[str, Any]) -> dict[str, int]:
    return {shown["appointment_id"]: shown["slot"] for shown in board["appointments"]}


async def at_once(two: Servers, requests: Iterable[tuple[str, dict[str, Any]]]) -> list[Answer]:
    return await asyncio.gather(*[two[number % 2].post(*request) for number, request in enumerate(requests)])


async def test_where_thirty_nine_of_forty_fit_nobody_moves_and_the_one_is_named(
    two: Servers, database: Database
) -> None:
    here, there = two
    today, ill, stands_in = await here.today(), await here.a_doctor(), await here.a_doctor()
    await booked_today(two, ill, 40)
    opened = await here.call("PUT", f"/clinics/{stands_in}/{today}", {"capacity": 40})
    await here.an_appointment(stands_in, slot=7)
    await all_accepted(two)
    before = await block(here, ill), await block(here, stands_in)
    (seventh,) = (appointment for appointment, slot in slots(before[0]).items() if slot == 7)

    path, body = f"/clinics/{ill}/{today}/reassign", {"to_doctor_id": stands_in, "reason": "ill"}
    recorded = len(await whole_record(database.admin_url))
    refused = await there.post(path, body)
    assert (refused.status, refused.code) == (409, "does_not_fit")
    assert refused.body["appointments"] == [{"appointment_id": seventh, "code": "clinic_full"}]
    assert (await block(here, ill), await block(there, stands_in)) == before
    assert len(await whole_record(database.admin_url)) == recorded

    assert opened.status == 200
    await here.call("PUT", f"/clinics/{stands_in}/{today}", {"capacity": 41})
    moved = await there.post(path, body)
    assert moved.status == 200
    assert {each["appointment_id"]: each["slot"] for each in moved.body["moved"]} == slots(before[0]) | {seventh: 41}
    assert {each["doctor_id"] for each in moved.body["moved"]} == {stands_in}
    left = await block(there, ill)
    assert (left["appointments"], left["clinic"]["status"]) == ([], "closed")
    assert (await block(there, stands_in))["clinic"]["booked"] == 41


async def test_the_reason_of_a_reassign_is_nowhere_open(two: Servers, database: Database) -> None:
    """It is about those who are moved, and is kept with each of them, sealed."""
    here, _ = two
    today, ill, stands_in = await here.today(), await here.a_doctor(), await here.a_doctor()
    await booked_today(two, ill, 3)
    path, reason = f"/clinics/{ill}/{today}/reassign", "Xquirella must not see this doctor"
    assert (await here.post(path, {"to_doctor_id": stands_in, "reason": reason})).status == 200
    rows = await whole_record(database.admin_url)
    (closed,) = of_type(rows, "clinic-closed")
    assert json.loads(closed["data"]).get("reason") is None
    assert all(json.loads(row["data"])["reason"] for row in of_type(rows, "appointment-moved-out"))
    assert not [row for row in rows if b"Xquirella" in row["data"] + row["meta"]]


async def test_two_reassigns_that_cross_lose_nobody_and_leave_nobody_in_two_lines(
    two: Servers, database: Database
) -> None:
    here, there = two
    today, one, other, third = await here.today(), *[await here.a_doctor() for _ in range(3)]
    booked = [*await booked_today(two, one, 10), *await booked_today(two, other, 10)]
    arrived = await everywhere(two, "/checkins", [{"appointment_id": each} for each in booked[::2]])
    tickets = {answer.body["appointment_id"]: answer.body["queue"]["ticket"] for answer in arrived}
    await all_accepted(two)

    def crossing() -> Iterator[tuple[str, dict[str, Any]]]:
        for number in range(CALLERS):
            ill, stands_in = (one, other) if number % 4 < 2 else (other, one)
            if number % 5 == 4:  # else everything would end with the first
                yield f"/clinics/{ill}/{today}/reopen", {}
            else:
                yield f"/clinics/{ill}/{today}/reassign", {"to_doctor_id": stands_in, "reason": "ill"}

    answers = await at_once(two, crossing())
    assert outcomes(answers).keys() <= {(200, None), (409, "does_not_fit")}
    for refused in answers:
        if refused.status == 409:
            assert {each["code"] for each in refused.body["appointments"]} == {"clinic_closed"}
    await all_accepted(two)
    boards = [await block(here, doctor) for doctor in (one, other)]
    assert boards == [await block(there, doctor) for doctor in (one, other)]
    shown = [each for board in boards for each in board["appointments"]]
    assert sorted(each["appointment_id"] for each in shown) == sorted(booked)
    for board in boards:
        line = [each["queue"]["position"] for each in board["appointments"] if each["queue"]]
        assert sorted(line) == list(range(1, len(line) + 1))
    assert {each["appointment_id"]: each["queue"]["ticket"] for each in shown if each["queue"]} == tickets

    rows = await whole_record(database.admin_url)
    moves = of_type(rows, "appointment-moved-out"), of_type(rows, "appointment-moved-in")
    assert Counter(row["subject"] for row in moves[0]) == Counter(row["subject"] for row in moves[1])
    assert len(moves[0]) >= 10
    await here.call("PUT", f"/clinics/{third}/{today}", WHOLE_DAY)
    for each in shown:  # wherever they are, that time is taken, and no other
        booking = {"doctor_id": third, "patient_id": each["patient"]["id"], "date": today}
        assert (await there.post("/appointments", booking)).code == "patient_busy"
        assert (await here.post(f"/appointments/{each['appointment_id']}/cancel")).status == 200
        free = await there.post("/appointments", booking)
        assert free.status == 201, free
        assert (await there.post(f"/appointments/{free.body['appointment_id']}/cancel")).status == 200


async def test_who_arrives_while_the_clinic_is_finished_is_either_left_unseen_or_waits(
    two: Servers, database: Database
) -> None:
    here, there = two
    today, doctor = await here.today(), await here.a_doctor(code="DOC001")
    booked = await booked_today(two, doctor, 40)
    finish = f"/clinics/{doctor}/{today}/finish"

    def arriving() -> Iterator[tuple[str, dict[str, Any]]]:
        arrivals = iter(booked)
        for number in range(CALLERS):
            yield (finish, {}) if number % 5 == 4 else ("/checkins", {"appointment_id": next(arrivals)})

    # Who was marked as a no-show a moment ago comes after all: nobody is turned away.
    assert outcomes(await at_once(two, arriving())) == {(201, None): 40, (200, None): 10}
    await all_accepted(two)
    board = await block(there, doctor)
    assert board == await block(here, doctor)
    assert sorted(slots(board)) == sorted(booked)
    rows = await whole_record(database.admin_url)
    last_of = {str(row["subject"]): row["type"].partition("@")[0] for row in rows}
    stands = {"patient-left-unseen": ("unseen", "unseen"), "patient-checked-in": ("confirmed", "checked_in")}
    for each in board["appointments"]:
        assert (each["status"], each["queue"]["status"]) == stands[last_of[each["appointment_id"]]]
    assert {each["queue"]["ticket"] for each in board["appointments"]} == {f"DOC001-{n}" for n in range(1, 41)}
    waiting = [each for each in board["appointments"] if each["status"] == "confirmed"]
    assert board["clinic"]["waiting"] == len(waiting)

    over = (await there.post(finish)).body
    assert (over["status"], over["waiting"]) == ("finished", 0)
    assert {each["status"] for each in (await block(there, doctor))["appointments"]} == {"unseen"}
    assert (await here.post(finish)).body["sequence"] == over["sequence"]  # nobody is left, and nothing to record
    assert len(await whole_record(database.admin_url)) == over["sequence"]
