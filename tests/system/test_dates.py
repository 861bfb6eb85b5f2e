"""Midnight, both clock changes, half-hour zones, and a machine that keeps another time than the hospital.

Nobody turns a clock here: what happened then is entered late, and what is asked of a date is asked of that date.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, cast
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
import pytest_asyncio

from domain.desk.equipment import Equipment
from domain.rules.ids import PatientId
from domain.vault.sealing import PatientDetails
from projections.directory import Directory, Person
from projections.encoding import Encoder
from tests.conftest import Database, new_database
from tests.gateway.contract import is_problem, listed
from tests.server import Server, started

BERLIN, NEW_YORK, KOLKATA = "Europe/Berlin", "America/New_York", "Asia/Kolkata"
KIRITIMATI, PAGO_PAGO = "Pacific/Kiritimati", "Pacific/Pago_Pago"  # 25 hours apart: never the same date
HOSPITALS = [(BERLIN, KIRITIMATI), (NEW_YORK, KIRITIMATI), (KOLKATA, PAGO_PAGO), (KIRITIMATI, PAGO_PAGO)]
"""The hospital's zone, and that of the machine its server runs on."""
CHANGES = {
    BERLIN: (date(2025, 3, 30), date(2025, 10, 26)),
    NEW_YORK: (date(2025, 3, 9), date(2025, 11, 2)),
}
"""When the clock goes forward, and when back."""


def _equipment(zone: str) -> Equipment:
    none = cast(Any, None)
    return Equipment(
        pool=none, writer=none, vault=none, digests=none, zone=ZoneInfo(zone), now=none, new_id=none, streams=none
    )


def _encoder(zone: str) -> Encoder:
    return Encoder(cast(Directory, None), ZoneInfo(zone))


def _utc(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


# --- pure ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("zone", [BERLIN, NEW_YORK, KOLKATA, KIRITIMATI, PAGO_PAGO, "Asia/Kathmandu"])
@pytest.mark.parametrize("day", [date(2024, 2, 29), date(2024, 12, 31), *CHANGES[BERLIN], *CHANGES[NEW_YORK]])
def test_a_date_begins_and_ends_at_the_hospitals_midnight(zone: str, day: date) -> None:
    equipment = _equipment(zone)
    begins, ends = (
        datetime.combine(at, time(), ZoneInfo(zone)).astimezone(UTC) for at in (day, day + timedelta(days=1))
    )
    assert equipment.date_of(begins) == equipment.date_of(ends - timedelta(microseconds=1)) == day
    assert equipment.date_of(begins - timedelta(microseconds=1)) == day - timedelta(days=1)
    assert equipment.date_of(ends) == day + timedelta(days=1)


@pytest.mark.parametrize(
    ("zone", "utc", "shown"),
    [
        (KOLKATA, "2025-11-17T03:45:59.999999Z", "2025-11-17T09:15:59+05:30"),
        (BERLIN, "2025-03-30T00:59:59Z", "2025-03-30T01:59:59+01:00"),
        (BERLIN, "2025-03-30T01:00:00Z", "2025-03-30T03:00:00+02:00"),
        (BERLIN, "2025-10-26T00:30:00Z", "2025-10-26T02:30:00+02:00"),
        (BERLIN, "2025-10-26T01:30:00Z", "2025-10-26T02:30:00+01:00"),
        (NEW_YORK, "2025-03-09T06:59:59Z", "2025-03-09T01:59:59-05:00"),
        (NEW_YORK, "2025-03-09T07:00:00Z", "2025-03-09T03:00:00-04:00"),
        (NEW_YORK, "2025-11-02T05:30:00Z", "2025-11-02T01:30:00-04:00"),
        (NEW_YORK, "2025-11-02T06:30:00Z", "2025-11-02T01:30:00-05:00"),
        (KIRITIMATI, "2025-01-01T09:59:59Z", "2025-01-01T23:59:59+14:00"),
    ],
)
def test_a_time_is_shown_with_the_offset_it_had(zone: str, utc: str, shown: str) -> None:
    assert _encoder(zone).time(_utc(utc)) == shown


@pytest.mark.parametrize(
    ("zone", "at", "minute"),
    [
        (BERLIN, "2025-03-30T03:00:00+02:00", 180),  # the minute after 01:59
        (BERLIN, "2025-10-26T02:30:00+02:00", 150),
        (BERLIN, "2025-10-26T02:30:00+01:00", 150),  # an hour later, and the same on the wall
        (KOLKATA, "2025-11-17T09:15:00+05:30", 555),
        (KOLKATA, "2025-11-17T09:15:00.000001+05:30", 556),
        (KOLKATA, "2025-11-17T09:15:59+05:30", 556),
        (KOLKATA, "2025-11-17T23:59:30+05:30", 1440),
        (KOLKATA, "2025-11-17T00:00:00+05:30", 0),
    ],
)
def test_a_minute_that_has_not_begun_is_one_on_the_clock_on_the_wall(zone: str, at: str, minute: int) -> None:
    assert _equipment(zone).next_minute_of_day(_utc(at)) == minute


@pytest.mark.parametrize(
    ("born", "shown_on", "age"),
    [
        ("2000-02-29", "2024-02-28", 23),
        ("2000-02-29", "2024-02-29", 24),
        ("2000-02-29", "2025-02-28", 24),
        ("2000-02-29", "2025-03-01", 25),
        ("2000-12-31", "2001-01-01", 0),
        ("2000-01-01", "2000-12-31", 0),
        ("2000-01-01", "2001-01-01", 1),
        ("2026-06-01", "2025-06-01", 0),  # shown on a day before the birth
        ("1900-01-01", "2025-01-01", 125),
    ],
)
def test_age_is_whole_years_on_the_date_shown(born: str, shown_on: str, age: int) -> None:
    details = PatientDetails(name="A", birth_date=date.fromisoformat(born), age=77)
    assert Person(PatientId(uuid4()), details, 1, "PatientRegistered").on_board(date.fromisoformat(shown_on)).age == age


# --- a server whose machine keeps another time ---------------------------------------------------


class Hospital:
    """A server, and the zone its hospital is in."""

    def __init__(self, server: Server, zone: str) -> None:
        self.server, self.zone = server, ZoneInfo(zone)

    def at(self, day: date, clock: str, fold: int = 0) -> str:
        """A moment that the clock on the wall shows; `fold=1` for the second time it does so."""
        local = datetime.combine(day, time.fromisoformat(clock), self.zone).replace(fold=fold)
        return local.astimezone(UTC).isoformat()

    def shown(self, day: date, clock: str, fold: int = 0) -> str:
        return datetime.combine(day, time.fromisoformat(clock), self.zone).replace(fold=fold).isoformat("T", "seconds")

    async def doctor(self, day: date, **keys: Any) -> str:
        doctor = await self.server.a_doctor()
        body = {"capacity": 40, "starts_at": "00:00", "slot_minutes": 30, "effective_at": self.before(day)} | keys
        assert (await self.server.call("PUT", f"/clinics/{doctor}/{day}", body)).status == 200
        return doctor

    def before(self, day: date) -> str:
        return self.at(day - timedelta(days=1), "12:00")

    async def booked(self, doctor: str, day: date, **keys: Any) -> str:
        return await self.server.an_appointment(doctor, date=str(day), effective_at=self.before(day), **keys)

    async def check_in(self, appointment: str, at: str) -> Any:
        return await self.server.post("/checkins", {"appointment_id": appointment, "effective_at": at})


@pytest.fixture(scope="module", params=HOSPITALS, ids=lambda zones: f"{zones[0]} on {zones[1]}")
def where(
    request: pytest.FixtureRequest, postgres: str, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Database, str, str]]:
    with new_database(postgres, template, tmp_path_factory.mktemp("hospital")) as database:
        yield (database, *request.param)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hospital(where: tuple[Database, str, str]) -> AsyncIterator[Hospital]:
    database, zone, machine = where
    options = ("--database-url", database.url, "--data-dir", str(database.folder), "--timezone", zone)
    async with started(*options, environment={"TZ": machine}) as server:
        yield Hospital(server, zone)
        assert await server.stop() == 0
        assert "Traceback" not in server.log.decode()


pytestmark_server = pytest.mark.asyncio(loop_scope="module")


@pytestmark_server
async def test_today_is_the_hospitals_and_not_the_machines(hospital: Hospital) -> None:
    server = hospital.server
    before = datetime.now(hospital.zone).date()
    appointment = await server.an_appointment(await server.a_doctor())
    came = await server.post("/checkins", {"appointment_id": appointment})
    walked_in = await server.post(
        "/walkins", {"doctor_id": await server.a_doctor(), "patient_id": await server.a_patient()}
    )
    today = await server.today()
    assert date.fromisoformat(today) in (before, datetime.now(hospital.zone).date())
    assert (came.status, walked_in.body["date"]) == (201, today)
    arrived = datetime.fromisoformat(came.body["queue"]["checked_in_at"])
    assert arrived.utcoffset() == datetime.now(hospital.zone).utcoffset()
    assert abs(datetime.now(UTC) - arrived) < timedelta(minutes=1)
    yesterday = str(date.fromisoformat(today) - timedelta(days=1))
    body = {"doctor_id": await server.a_doctor(), "patient_id": await server.a_patient(), "date": yesterday}
    is_problem(await server.post("/appointments", body), 409, "date_in_past")
    async with server.monitor() as monitor:
        await monitor.send_json({"action": "subscribe", "date": today})
        assert (await monitor.receive_json(timeout=10))["data"]["timestamp"].startswith(today)


def _days(zone: ZoneInfo) -> list[date]:
    return [date(2025, 6, 15), date(2024, 12, 31), *CHANGES.get(zone.key, ())]


@pytestmark_server
async def test_what_happened_before_midnight_is_of_the_day_before(hospital: Hospital) -> None:
    for day in _days(hospital.zone):
        doctor = await hospital.doctor(day)
        first, last, late = [await hospital.booked(doctor, day) for _ in range(3)]
        midnight = hospital.at(day, "00:00:00")
        just_before = (datetime.fromisoformat(midnight) - timedelta(microseconds=1)).isoformat()
        is_problem(await hospital.check_in(first, just_before), 409, "not_today")
        came = await hospital.check_in(first, midnight)
        assert came.body["queue"]["checked_in_at"] == hospital.shown(day, "00:00:00")
        came = await hospital.check_in(last, hospital.at(day, "23:59:59.999999"))
        assert came.body["queue"]["checked_in_at"] == hospital.shown(day, "23:59:59")
        is_problem(await hospital.check_in(late, hospital.at(day + timedelta(days=1), "00:00")), 409, "not_today")
        done = await hospital.server.post(
            f"/appointments/{last}/call",
            {"reason": "at night", "effective_at": hospital.at(day + timedelta(days=1), "00:01")},
        )
        assert done.body["queue"]["called_at"] == hospital.shown(day + timedelta(days=1), "00:01:00")
        assert (await listed(hospital.server, str(day), last))["queue"]["status"] == "called"


@pytestmark_server
async def test_a_walk_in_just_before_midnight_belongs_to_the_day_that_ends(hospital: Hospital) -> None:
    for day in _days(hospital.zone):
        doctor = await hospital.doctor(day, capacity=48)
        for clock, expected, slot in (("23:29:59", day, 48), ("00:00:00", day + timedelta(days=1), 1)):
            body = {"doctor_id": doctor, "patient_id": await hospital.server.a_patient()}
            walked_in = await hospital.server.post("/walkins", body | {"effective_at": hospital.at(expected, clock)})
            assert (walked_in.body["date"], walked_in.body["slot"]) == (str(expected), slot)


@pytestmark_server
async def test_in_the_repeated_hour_the_line_is_by_what_really_came_first(hospital: Hospital) -> None:
    if hospital.zone.key not in CHANGES:
        return  # The clock is never changed there.
    day = CHANGES[hospital.zone.key][1]
    hour = "01" if hospital.zone.key == NEW_YORK else "02"
    doctor = await hospital.doctor(day)
    later, sooner = await hospital.booked(doctor, day), await hospital.booked(doctor, day)
    came = await hospital.check_in(later, hospital.at(day, f"{hour}:15", fold=1))
    assert came.body["queue"]["checked_in_at"] == hospital.shown(day, f"{hour}:15:00", fold=1)
    came = await hospital.check_in(sooner, hospital.at(day, f"{hour}:45"))
    assert came.body["queue"]["checked_in_at"] == hospital.shown(day, f"{hour}:45:00")
    assert came.body["queue"]["position"] == 1
    assert (await listed(hospital.server, str(day), later))["queue"]["position"] == 2

    async def call(appointment: str, at: str) -> Any:
        body = {"reason": "at night", "effective_at": at}
        return await hospital.server.post(f"/appointments/{appointment}/call", body)

    is_problem(await call(later, hospital.at(day, f"{hour}:45")), 409, "effective_too_early")  # on the wall it is later
    assert (await call(sooner, hospital.at(day, f"{hour}:15", fold=1))).status == 200  # and this one earlier


@pytestmark_server
async def test_an_hour_that_never_was_is_the_moment_it_names(hospital: Hospital) -> None:
    if hospital.zone.key not in CHANGES:
        return  # The clock is never changed there.
    day = CHANGES[hospital.zone.key][0]
    doctor = await hospital.doctor(day)
    appointment = await hospital.booked(doctor, day)
    offset = "-05:00" if hospital.zone.key == NEW_YORK else "+01:00"
    came = await hospital.check_in(appointment, f"{day}T02:30:00{offset}")
    assert came.body["queue"]["checked_in_at"] == hospital.shown(day, "03:30:00")


@pytestmark_server
async def test_slots_are_on_the_clock_on_the_wall_also_on_the_day_it_is_changed(hospital: Hospital) -> None:
    for day in _days(hospital.zone):
        patient = await hospital.server.a_patient()
        one, other = await hospital.doctor(day, capacity=48), await hospital.doctor(day, starts_at="09:00", capacity=1)
        full = await hospital.server.call("PUT", f"/clinics/{one}/{day}", {"capacity": 49})
        is_problem(full, 409, "runs_past_midnight")
        await hospital.booked(other, day, patient_id=patient)
        body = {"doctor_id": one, "patient_id": patient, "date": str(day), "effective_at": hospital.before(day)}
        is_problem(await hospital.server.post("/appointments", body | {"slot": 19}), 409, "patient_busy")  # 09:00
        assert (await hospital.server.post("/appointments", body | {"slot": 20})).status == 201  # 09:30


@pytestmark_server
async def test_a_moment_is_the_same_whatever_offset_it_is_written_with(hospital: Hospital) -> None:
    day = date(2025, 6, 15)
    doctor = await hospital.doctor(day)
    noon = datetime.combine(day, time(12), hospital.zone)
    for zone in ("UTC", KIRITIMATI, PAGO_PAGO, KOLKATA):
        appointment = await hospital.booked(doctor, day)
        came = await hospital.check_in(appointment, noon.astimezone(ZoneInfo(zone)).isoformat())
        assert (came.status, came.body["queue"]["checked_in_at"]) == (201, hospital.shown(day, "12:00:00"))


@pytestmark_server
async def test_the_record_tells_both_times_in_the_hospitals_zone(hospital: Hospital) -> None:
    day = date(2025, 6, 15)
    doctor = await hospital.doctor(day)
    appointment = await hospital.booked(doctor, day)
    (booked,) = (await hospital.server.get(f"/appointments/{appointment}/history")).body["events"]
    assert booked["effective_at"] == hospital.shown(day - timedelta(days=1), "12:00:00")
    recorded = datetime.fromisoformat(booked["recorded_at"])
    assert recorded.utcoffset() == recorded.astimezone(hospital.zone).utcoffset()
    assert abs(datetime.now(UTC) - recorded) < timedelta(minutes=1)


@pytestmark_server
async def test_an_age_is_that_on_the_date_shown(hospital: Hospital) -> None:
    patient = await hospital.server.a_patient(birth_date="1980-06-15")
    for day, age in ((date(2025, 6, 14), 44), (date(2025, 6, 15), 45)):
        doctor = await hospital.doctor(day)
        appointment = await hospital.booked(doctor, day, patient_id=patient)
        assert (await listed(hospital.server, str(day), appointment))["patient"]["age"] == age
