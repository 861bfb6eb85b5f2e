"""The made-up hospital: a believable morning at whatever hour, and a day that goes on."""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
import unicodedata
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import aiohttp
import asyncpg
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from domain.desk.outcome import Asker
from domain.log import read
from domain.rules.commands import BookAppointment, CancelAppointment, RegisterDoctor
from domain.rules.ids import DoctorId, PatientId
from domain.rules.refusals import Refusal
from domain.rules.settings import MINUTES_A_DAY
from gateway.demo import morning
from gateway.demo.hospital import Hospital, living
from gateway.demo.morning import Morning, plan
from gateway.demo.names import CULTURES
from gateway.demo.people import OBSTETRICS, PAEDIATRICS, SPECIALTIES, STAFF, someone
from gateway.parts import Parts
from gateway.settings import SettingsError
from projections.board import DayBoard
from projections.views import EVERYBODY
from tests.conftest import Database
from tests.server import start_server

BERLIN = ZoneInfo("Europe/Berlin")
ZONES = ("UTC", "Asia/Kolkata", "Asia/Kathmandu", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe")
# Where the clock changes at midnight, or by more than an hour.
ODD_ZONES = ("America/Havana", "Africa/Cairo", "Asia/Beirut", "America/Nuuk", "Antarctica/Troll", "Pacific/Apia")
LIVELY = 2_000.0
"""Steps follow each other without a pause to speak of."""


# --- the plan ------------------------------------------------------------------------------------


def wall(text: str, zone: ZoneInfo = BERLIN, fold: int = 0) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold).astimezone(UTC)


def minute(clock: str) -> int:
    hours, minutes = clock.split(":")
    return int(hours) * 60 + int(minutes)


def check(a: Morning, now: datetime, zone: ZoneInfo) -> None:
    """What every morning keeps to, at whatever hour."""
    today = now.astimezone(zone).date()
    assert minute(a.starts_at) + a.capacity * a.slot_minutes <= MINUTES_A_DAY
    assert len({visit.slot for visit in a.visits}) == len(a.visits) >= 10
    assert max(visit.slot for visit in a.visits) <= a.capacity
    assert a.entered_at <= now
    assert [step.at for step in a.steps] == sorted(step.at for step in a.steps)
    assert all(a.entered_at <= step.at <= now for step in a.steps)
    assert all(step.at.astimezone(zone).date() == today for step in a.steps)
    assert a.waiting <= morning.LINE[-1] or now - wall_midnight(now, zone) < timedelta(hours=2)
    for number in range(len(a.visits)):
        kinds = [step.kind for step in a.steps if step.visit == number]
        assert kinds == ["check_in", "call", "complete"][: len(kinds)]
    in_the_room = 0
    for step in a.steps:
        in_the_room += {"check_in": 0, "call": 1, "complete": -1}[step.kind]
        assert in_the_room in (0, 1)


def wall_midnight(now: datetime, zone: ZoneInfo) -> datetime:
    return now.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0).astimezone(UTC)


@given(
    now=st.datetimes(datetime(2024, 1, 1), datetime(2027, 12, 31)).map(lambda at: at.replace(tzinfo=UTC)),  # noqa: DTZ001
    zone=st.sampled_from(ZONES + ODD_ZONES).map(ZoneInfo),
    seed=st.integers(0, 1000),
)
def test_at_whatever_hour_a_morning_keeps_to_its_day(now: datetime, zone: ZoneInfo, seed: int) -> None:
    check(plan(now, zone, random.Random(seed)), now, zone)


@given(minutes=st.integers(-240, 240), second=st.integers(0, 59), seed=st.integers(0, 1000))
@example(minutes=0, second=0, seed=0)
@pytest.mark.parametrize(
    ("zone", "change"),
    [
        ("Europe/Berlin", "2026-03-29T01:00"),  # 02:00 is left out
        ("Europe/Berlin", "2026-10-25T01:00"),  # 02:00 comes twice
        ("Africa/Cairo", "2026-04-23T22:00"),  # midnight is left out
        ("Africa/Cairo", "2026-10-29T21:00"),  # the last hour of a day comes twice
        ("America/Havana", "2026-11-01T05:00"),  # the first hour of a day comes twice
        ("Australia/Lord_Howe", "2026-04-04T15:00"),  # half an hour comes twice
    ],
)
def test_on_a_day_when_the_clock_changes_it_does_too(
    zone: str, change: str, minutes: int, second: int, seed: int
) -> None:
    now = datetime.fromisoformat(change).replace(tzinfo=UTC) + timedelta(minutes=minutes, seconds=second)
    check(plan(now, ZoneInfo(zone), random.Random(seed)), now, ZoneInfo(zone))


@pytest.mark.parametrize("clock", ["01:36", "08:12", "12:00", "18:47", "23:10", "23:58"])
@pytest.mark.parametrize("seed", range(20))
def test_a_morning_is_under_way(clock: str, seed: int) -> None:
    now = wall(f"2026-06-10T{clock}")
    a = plan(now, BERLIN, random.Random(seed))
    assert 90 <= minute(clock) - minute(a.starts_at) < 95
    assert a.waiting in morning.LINE
    kinds = Counter(step.kind for step in a.steps)
    assert 6 <= kinds["complete"] <= 11
    assert kinds["call"] - kinds["complete"] in (0, 1)
    begun = {step.visit: step.at for step in a.steps if step.kind == "call"}
    took = [step.at - begun[step.visit] for step in a.steps if step.kind == "complete"]
    assert all(timedelta(minutes=8) <= each <= timedelta(minutes=12) for each in took)


@pytest.mark.parametrize(("clock", "seen"), [("00:00:00", 0), ("00:05:00", 0), ("00:40:00", 5)])
def test_a_day_that_has_just_begun_begins_at_midnight(clock: str, seen: int) -> None:
    for seed in range(20):
        a = plan(wall(f"2026-06-10T{clock}"), BERLIN, random.Random(seed))
        assert a.starts_at == "00:00"
        assert [step.kind for step in a.steps].count("complete") <= seen


def test_the_same_seed_makes_the_same_morning() -> None:
    now = wall("2026-06-10T10:00")
    assert plan(now, BERLIN, random.Random("x")) == plan(now, BERLIN, random.Random("x"))
    assert plan(now, BERLIN, random.Random("x")) != plan(now, BERLIN, random.Random("y"))


# --- the people ----------------------------------------------------------------------------------


def test_names_come_from_many_cultures_and_scripts() -> None:
    names = [culture.name(random.Random(n), woman=n % 2 == 0) for culture in CULTURES for n in range(30)]
    scripts = {unicodedata.name(letter).split()[0] for name in names for letter in name if letter.isalpha()}
    wanted = "LATIN ARABIC DEVANAGARI TAMIL BENGALI CJK HANGUL HIRAGANA CYRILLIC HEBREW THAI ETHIOPIC ARMENIAN GEORGIAN"
    assert scripts >= {*wanted.split(), "GREEK"}
    assert all(name == name.strip() and "  " not in name and 1 < len(name) <= 200 for name in names)
    assert any(" " not in name for name in names)
    assert any(len(name) > 30 for name in names)


def test_people_are_as_old_as_their_doctor_expects_and_their_phones_are_nobodys() -> None:
    rng, today = random.Random(1), date(2026, 6, 10)
    for specialty in SPECIALTIES.values():
        people = [someone(rng, specialty, today) for _ in range(300)]
        ages = [(today - person.birth_date).days / 365.25 for person in people if person.birth_date]
        assert specialty.ages[0] - 0.01 <= min(ages) <= max(ages) <= specialty.ages[1] + 1
        assert len(ages) == len(people)
        phones = [person.phone for person in people]
        assert 10 < phones.count(None) < 100
        assert all(phone is None or phone.startswith("+999 555 ") for phone in phones)
        assert len({person.gender for person in people}) == (3 if specialty.women_only else 4)
    assert "male" not in {someone(rng, OBSTETRICS, today).gender for _ in range(300)}
    assert PAEDIATRICS.ages[1] < OBSTETRICS.ages[0]


# --- the day so far, at a real desk --------------------------------------------------------------


def turn_clock(parts: Parts, clock: str) -> None:
    """It is that time in the hospital, today."""
    now = parts.now().astimezone(parts.zone)
    hours, minutes, seconds = map(int, clock.split(":"))
    parts.clock._ahead += now.replace(hour=hours, minute=minutes, second=seconds) - now


@asynccontextmanager
async def at_work(parts: Parts, *, pace: float = 1.0) -> AsyncIterator[Hospital]:
    hospital = Hospital(parts, pace=pace)
    life = asyncio.create_task(hospital.run())
    try:
        yield hospital
    finally:
        assert not life.done(), life.exception()
        asked = time.monotonic()
        life.cancel()
        with pytest.raises(asyncio.CancelledError):
            await life
        assert time.monotonic() - asked < 1


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while True:
            if condition():
                return
            await asyncio.sleep(0.01)


async def filled(parts: Parts, *, clock: str = "11:00:00") -> DayBoard:
    """Today's board once the day so far is on it."""
    turn_clock(parts, clock)
    return await full(parts)


async def full(parts: Parts) -> DayBoard:
    board = await parts.boards.get(parts.today())
    hospital = Hospital(parts)
    await hospital._hire()
    await hospital._begin(parts.today())
    return board


async def test_twelve_doctors_of_six_specialties_see_about_180_patients(parts: Parts) -> None:
    began = time.monotonic()
    board = await filled(parts)
    assert time.monotonic() - began < 10  # a busy machine; a second or less on a quiet one
    assert len(parts.directory.doctors) == len(board.clinics) == 12
    assert len({card.specialty for card in parts.directory.doctors.values()}) == 6
    assert 160 <= len(board.clinic_of) <= 200
    assert len(board.by_patient) == len(board.clinic_of)
    for clinic in board.clinics.values():
        clinic.line_up()
        entries = list(clinic.entries.values())
        assert len({entry.state.slot for entry in entries}) == len(entries)
        assert clinic.waiting in morning.LINE
        stages = Counter(entry.state.stage for entry in entries)
        assert stages["completed"] >= 5
        assert stages["called"] <= 1
        for entry in entries:
            state = entry.state
            times = [t for t in (state.arrived_at, state.called_at, state.completed_at) if t]
            assert times == sorted(times)
            assert all(parts.now() - timedelta(minutes=140) <= at <= parts.now() for at in times)
            assert (state.stage is None) == (state.ticket is None)
    everyone = [entry for clinic in board.clinics.values() for entry in clinic.entries.values()]
    assert {entry.state.priority for entry in everyone} == {"routine", "urgent", "emergency"}
    assert sum(entry.state.stage is None for entry in everyone) > 12
    assert sum(entry.state.stage == "called" for entry in everyone) > 6


@pytest.mark.parametrize("clock", ["00:05:00", "23:58:00"])
async def test_an_odd_hour_is_no_hindrance(parts: Parts, clock: str) -> None:
    board = await filled(parts, clock=clock)
    assert 150 <= len(board.clinic_of) <= 210
    assert len({entry.state.stage for clinic in board.clinics.values() for entry in clinic.entries.values()}) >= 3


async def test_a_day_begins_once(parts: Parts) -> None:
    board = await filled(parts)
    head = await read.head(parts.pool)
    assert await full(parts) is board
    assert await read.head(parts.pool) == head


async def test_the_next_day_has_the_same_doctors_and_some_of_the_same_patients(parts: Parts) -> None:
    yesterday = await filled(parts)
    parts.clock._ahead += timedelta(days=1)
    board = await full(parts)
    assert board is not yesterday
    assert len(parts.directory.doctors) == len(board.clinics) == 12
    again = yesterday.by_patient.keys() & board.by_patient.keys()
    assert 60 <= len(again) < len(board.by_patient)
    assert {pair for pair in seen_by(board) if pair[0] in again} <= seen_by(yesterday)


def seen_by(board: DayBoard) -> set[tuple[PatientId, DoctorId]]:
    return {
        (entry.patient_id, clinic.doctor_id) for clinic in board.clinics.values() for entry in clinic.entries.values()
    }


# --- from now on ---------------------------------------------------------------------------------


async def test_it_goes_on(parts: Parts) -> None:
    turn_clock(parts, "11:00:00")
    board = await parts.boards.get(parts.today())
    async with at_work(parts, pace=LIVELY):
        await until(lambda: len(board.clinics) == 12 and board.sequence > 900)
        seen: Counter[str] = Counter()
        last = board.sequence
        async with asyncio.timeout(60):
            while sum(seen.values()) < 400:
                await asyncio.sleep(0.01)
                news = EVERYBODY.news_after(board, parts.directory.doctors, last) or []
                seen.update(one.type for one in news)
                last = board.sequence
                turn_on(parts, len(news))
    wanted = "AppointmentBooked AppointmentCancelled PatientCheckedIn PatientCalled ConsultationCompleted ClinicChanged"
    assert seen.keys() >= {*wanted.split()}
    for clinic in board.clinics.values():
        clinic.line_up()
        held = [entry.state.slot for entry in clinic.entries.values() if entry.listed]
        assert len(set(held)) == len(held)
        assert max(held) <= clinic.capacity
        assert clinic.waiting <= 7
        assert sum(entry.state.stage == "called" for entry in clinic.entries.values()) <= 1


def turn_on(parts: Parts, steps: int) -> None:
    """As much time as so many steps would have taken."""
    parts.clock._ahead += timedelta(seconds=2 * steps)


async def test_a_new_day_begins_at_midnight(parts: Parts) -> None:
    turn_clock(parts, "23:59:58")
    day = parts.today()
    async with at_work(parts, pace=LIVELY):
        tomorrow = await parts.boards.get(day + timedelta(days=1))
        await until(lambda: len(tomorrow.clinics) == 12 and len(tomorrow.clinic_of) > 150)
        today = await parts.boards.get(day)
        assert len(today.clinics) == 12
        await until(lambda: any(e.state.stage for clinic in tomorrow.clinics.values() for e in clinic.entries.values()))
    assert {clinic.starts_at for clinic in tomorrow.clinics.values()} == {"00:00"}


async def test_started_again_it_goes_on_where_it_stood(parts: Parts) -> None:
    board = await filled(parts)
    patients = len(board.by_patient)
    async with at_work(parts, pace=LIVELY):
        sequence = board.sequence
        await until(lambda: board.sequence > sequence + 30)
    assert len(parts.directory.doctors) == 12
    assert len(board.by_patient) < patients + 31


async def test_somebody_who_clicks_around_does_not_stop_it(parts: Parts) -> None:
    board = await filled(parts)
    somebody = Asker(actor="developer", role="developer")
    patients = list(board.by_patient)
    rng = random.Random(7)
    async with at_work(parts, pace=LIVELY):
        for _ in range(150):
            clinic = rng.choice(list(board.clinics.values()))
            free = max(entry.state.slot for entry in clinic.entries.values()) + rng.randint(-3, 1)
            try:
                if rng.random() < 0.5:
                    entry = rng.choice(list(clinic.entries.values()))
                    await parts.desk.handle(CancelAppointment(appointment_id=entry.appointment_id), somebody)
                else:
                    await parts.desk.handle(
                        BookAppointment(
                            doctor_id=clinic.doctor_id, patient_id=rng.choice(patients), date=board.date, slot=free
                        ),
                        somebody,
                    )
            except Refusal:
                pass
        sequence = board.sequence
        turn_on(parts, 60)  # somebody's doctor may have nobody left to see
        await until(lambda: board.sequence > sequence + 20)


async def test_a_visitors_own_doctor_is_left_alone(parts: Parts) -> None:
    board = await filled(parts)
    developer = Asker(actor="developer", role="developer")
    command = RegisterDoctor(name="Dr. Visitor", code="MINE", specialty="Cardiology")
    mine = DoctorId((await parts.desk.handle(command, developer)).receipt.id)
    patient = next(iter(board.by_patient))
    await parts.desk.handle(
        BookAppointment(doctor_id=mine, patient_id=patient, date=board.date, allow_overlap=True), developer
    )
    async with at_work(parts, pace=LIVELY):
        sequence = board.sequence
        await until(lambda: board.sequence > sequence + 60)
    (clinic,) = (clinic for clinic in board.clinics.values() if clinic.doctor_id == mine)
    assert [entry.state.stage for entry in clinic.entries.values()] == [None]


async def test_a_store_that_goes_away_is_waited_for(parts: Parts, database: Database) -> None:
    board = await filled(parts)
    async with at_work(parts, pace=LIVELY):
        sequence = board.sequence
        await until(lambda: board.sequence > sequence + 5)
        admin = await asyncpg.connect(database.admin_url)
        try:
            await admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND application_name = 'daysheet'"
            )
        finally:
            await admin.close()
        sequence = board.sequence
        await until(lambda: board.sequence > sequence + 20)


async def test_a_real_hospital_is_not_filled_with_made_up_people(parts: Parts) -> None:
    command = RegisterDoctor(name="Dr. Somebody", code=STAFF[0].code, specialty="Cardiology")
    await parts.projector.reached(
        (await parts.desk.handle(command, Asker(actor="developer", role="developer"))).sequence, seconds=5
    )
    head = await read.head(parts.pool)
    with pytest.raises(SettingsError, match="made-up"):
        async with living(parts):
            pass
    assert await read.head(parts.pool) == head


async def test_when_it_dies_so_does_what_it_was_for(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Hospital, "_hire", _fall_over)
    with pytest.raises(ExceptionGroup) as died:
        async with living(parts):
            await asyncio.sleep(30)
    assert died.group_contains(ZeroDivisionError)


async def _fall_over(_: Hospital) -> None:
    raise ZeroDivisionError


# --- the whole server ----------------------------------------------------------------------------


async def test_a_monitor_of_the_demo_sees_a_moving_board_within_seconds() -> None:
    # Not pytest's own folder: root's is closed to the account that runs PostgreSQL.
    with tempfile.TemporaryDirectory(prefix="daysheet-demo-") as folder:
        server = await start_server("--demo", "--data-dir", folder)
        try:
            today = await server.today()
            async with server.monitor() as monitor, asyncio.timeout(20):
                await monitor.send_json({"action": "subscribe", "date": today})
                board = await envelope(monitor)
                while board["data"]["total_doctors"] < 12 or board["data"]["total_appointments"] < 150:
                    board = await envelope(monitor)
                for _ in range(3):
                    newer = await envelope(monitor)
                    assert newer["sequence"] > board["sequence"]
                    board = newer
        finally:
            assert await server.stop() == 0
        log = server.log.decode()
    assert "made-up" in log
    assert not [name for name in names_on(board) if name in log]


async def envelope(monitor: aiohttp.ClientWebSocketResponse) -> Any:
    return await monitor.receive_json()


def names_on(board: Any) -> list[str]:
    return [a["patient"]["name"] for block in board["data"]["doctors"] for a in block["appointments"]]
