"""Random days, command by command, at two servers on one database: they answer and show what the contract says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import count
from random import Random
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.conftest import Database
from tests.server import Answer, Server, started
from tests.system.clinic_day_model import Appointment, Doctor, Hospital, Refused

DAYS = 90
COMMANDS = 80
PATIENTS = 8
DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)
CLOCKS_DIFFER = timedelta(milliseconds=100)
"""Servers go by the database's clock, as well as they can measure it."""
ZONES = ("Pacific/Honolulu", "America/Bogota", "Africa/Abidjan", "Asia/Kolkata", "Australia/Brisbane")
"""Zones without summer time, so far apart that in one of them it is always afternoon."""

Servers = tuple[Server, Server]


def zone_in_the_afternoon() -> str:
    """Enough of the day is over for late entries, and midnight is far."""

    def from_four(name: str) -> float:
        there = datetime.now(ZoneInfo(name))
        return abs(there.hour + there.minute / 60 - 16)

    zone = min(ZONES, key=from_four)
    assert from_four(zone) < 4
    return zone


# --- what may be asked ---------------------------------------------------------------------------

Choices = Sequence[Any]

LATE: Choices = (0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 5, 20, "now", "early", "future", "yesterday")
"""So many minutes after the step before; or no time named; or one that is seldom right."""
IN_TIME: Choices = (0, 0, 0, 0, 0, 0, 0, 1, 1, 5, 20, "now")
"""Most at the same moment: then it shows what a tie is broken by."""
SOMEBODY: Choices = range(12)
AIMED: Choices = (True, True, True, True, False)
"""At an appointment that is ready for the step."""
DOCTOR: Choices = range(3)
TODAY_MOSTLY: Choices = (0, 0, 0, 0, 0, 0, 1, 1, -1)
PATIENT: Choices = range(PATIENTS)
PRIORITY: Choices = ("routine", "routine", "urgent", "emergency")
SLOT: Choices = (None, None, None, None, None, 1, 2, 3, 4, 5, 0, 41)
SELDOM: Choices = (False, False, False, True)
STEP: dict[str, Choices] = {"somebody": SOMEBODY, "aimed": AIMED, "late": LATE}
CLINIC: dict[str, Choices] = {"doctor": DOCTOR, "day": TODAY_MOSTLY, "late": LATE}
SETTINGS: dict[str, Choices] = {
    "capacity": (2, 3, 4, 4, 5, 5, 6, 96, 97),
    "starts_at": (None, None, None, None, "09:00", "09:10"),
    "slot_minutes": (None, None, None, 10, 15),
    "room": (None, "3", "Léopold"),
    "order": (None, "arrival", "slot"),
}

USUAL: dict[str | None, tuple[str, ...]] = {
    None: (*["check_in"] * 6, "prioritize", "no_show", "cancel", "move"),
    "checked_in": ("call_next", "call_next", "call", "hold", "prioritize", "no_show", "move", "undo"),
    "called": ("start", "start", "recall", "complete", "hold", "move", "no_show", "undo"),
    "in_consultation": ("complete", "complete", "call_next", "undo"),
    "on_hold": ("resume", "resume", "move", "no_show", "undo"),
    "no_show": ("check_in", "check_in", "undo"),
}
"""What usually comes next, by the queue entry's status. Whoever is seen, or gone, can only come back."""

KINDS: dict[str, tuple[int, dict[str, Choices]]] = {
    "book": (8, {**CLINIC, "patient": PATIENT, "slot": SLOT, "priority": PRIORITY, "overlap": SELDOM}),
    "walk_in": (2, {"doctor": DOCTOR, "patient": PATIENT, "priority": PRIORITY, "overlap": SELDOM, "late": LATE}),
    "check_in": (8, {**STEP, "patient": (None, None, None, "own", "other", "nobody")}),
    "call_next": (4, {"doctor": DOCTOR, "day": (None, None, 0, 1), "complete": (False, True)}),
    "go_on": (24, {"somebody": SOMEBODY, "which": range(40), "late": IN_TIME, "there": SELDOM}),
    "undo": (9, STEP),
    "move": (
        6,
        {
            **STEP,
            "doctor": (None, 0, 1, 2),
            "day": (None, None, 0, 1, -1),
            "slot": SLOT,
            "overlap": SELDOM,
        },
    ),
    "prioritize": (2, {**STEP, "priority": PRIORITY}),
    **{step: (weight, STEP) for step, weight in (("call", 2), ("recall", 1), ("start", 3), ("complete", 2))},
    **{step: (weight, STEP) for step, weight in (("hold", 2), ("resume", 2), ("cancel", 1), ("no_show", 2))},
    "set_up": (4, {**CLINIC, **SETTINGS}),
    "reorder": (3, {"doctor": DOCTOR, "order": ("arrival", "slot")}),
    "close": (1, CLINIC),
    "reopen": (3, CLINIC),
    "delay": (1, {**CLINIC, "minutes": range(3), "note": (None, "ward round")}),
    "finish": (1, CLINIC),
    "reassign": (2, {**CLINIC, "to": DOCTOR, "overlap": SELDOM}),
    "ask_for_nobody": (1, {"what": range(6)}),
}


@dataclass(frozen=True)
class Ask:
    """`there`: at the second server; `twice`: with an Idempotency-Key, and once more at the other server."""

    kind: str
    told: dict[str, Any]
    there: bool
    twice: bool


def asks(number: int) -> list[Ask]:
    """A day's commands, by the day's number. Everybody is booked first, as far as there is room."""
    chance = Random(number)
    kinds = [kind for kind, (weight, _) in KINDS.items() for _ in range(weight)]

    def ask(kind: str, **known: Any) -> Ask:
        told = {name: chance.choice(choices) for name, choices in KINDS[kind][1].items()} | known
        return Ask(kind, told, there=chance.choice((False, True)), twice=chance.choice(SELDOM))

    booked = [ask("book", patient=patient, doctor=patient % 2, day=0, late=0) for patient in PATIENT]
    return booked + [ask(chance.choice(kinds)) for _ in range(COMMANDS)]


# --- asking the servers and the model the same ---------------------------------------------------


@dataclass(frozen=True)
class Wish:
    """A request, and how the model decides on it: what is to be in the answer, and whether anything is recorded."""

    method: str
    path: str
    body: dict[str, Any]
    decide: Callable[[datetime], tuple[Callable[[], Any], bool]]
    status: int = 200


READY: dict[str, Callable[[Appointment], bool]] = {
    "check_in": lambda a: (a.confirmed and a.now.queue is None) or a.now.status == "no_show",
    "call": lambda a: a.now.queue == "checked_in",
    "recall": lambda a: a.now.queue == "called",
    "start": lambda a: a.now.queue == "called",
    "complete": lambda a: a.now.queue == "in_consultation",
    "hold": lambda a: a.now.queue in ("checked_in", "called"),
    "resume": lambda a: a.now.queue == "on_hold",
    "undo": lambda a: bool(a.before),
    "move": lambda a: a.confirmed and a.now.queue != "in_consultation",
}


@dataclass
class Day:
    """One example: doctors and patients of its own, the same asked of both servers and of the model."""

    two: Servers
    hospital: Hospital
    doctors: list[str]
    patients: list[str]
    today: date
    began: datetime
    head: int = 0
    names: dict[str, str] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)
    latest: dict[datetime, datetime] = field(default_factory=dict)
    """For times that nobody named: they lie between when it was asked and when it was answered."""

    # --- one command -----------------------------------------------------------------------------

    async def play(self, ask: Ask) -> None:
        wish: Wish | None = getattr(self, ask.kind)(**ask.told)
        if wish is None:
            return
        here, there = self.two if not ask.there else reversed(self.two)
        key = {"Idempotency_Key": str(uuid4())} if ask.twice else {}
        asked_at = datetime.now(UTC)
        answer = await here.call(wish.method, wish.path, wish.body, **key)
        self.latest[asked_at] = datetime.now(UTC)
        self._tell(wish, answer)
        await self._judge(wish, asked_at, answer, there)
        if ask.twice:
            await self._ask_again(wish, answer, there, key)
        await asyncio.gather(*[self.compare_doctor(there, doctor, self.today) for doctor in self.doctors])

    async def _judge(self, wish: Wish, asked_at: datetime, answer: Answer, other: Server) -> None:
        try:
            shown, changed = wish.decide(asked_at)
        except Refused as refused:
            self._judge_refusal(refused, answer)
            return
        status = wish.status if changed else 200
        assert answer.status == status, f"{answer.status} {answer.code} instead of {status}"
        created = answer.body.get("appointment_id")
        if status == 201 and created not in self.hospital.appointments:
            created_now = self.hospital.appointments.pop("")
            self.hospital.remember(created_now, created)
            self.names[created] = f"a{len(self.hospital.appointments)}"
        self._compare(shown(), answer.body, "answer")
        sequence = answer.body["sequence"]
        if changed:
            assert sequence > self.head, "what is recorded has a sequence of its own"
            self.head = sequence
        else:
            assert sequence <= self.head, "nothing new was to be recorded"
            if created:
                latest = (await other.get(f"/appointments/{created}?min_sequence={self.head}")).body["sequence"]
                assert sequence == latest

    def _judge_refusal(self, refused: Refused, answer: Answer) -> None:
        status = 404 if refused.code.startswith("unknown_") else 409
        assert (answer.status, answer.code) == (status, refused.code)
        if refused.code != "does_not_fit":
            self._compare(refused.facts, answer.body, "refusal")
            return

        def named(appointments: Iterable[dict[str, Any]], *, full: bool) -> set[tuple[str, str]]:
            found = {(each["appointment_id"], each["code"]) for each in appointments}
            return {each for each in found if full or each[1] != "clinic_full"}

        # Whom there is no slot left for is told for certain where nothing else stands in the way.
        wanted = refused.facts["appointments"]
        full = all(each["code"] == "clinic_full" for each in wanted)
        assert named(answer.body["appointments"], full=full) == named(wanted, full=full)

    async def _ask_again(self, wish: Wish, answer: Answer, other: Server, key: dict[str, str]) -> None:
        again = await other.call(wish.method, wish.path, wish.body, **key)
        assert (again.status, again.body) == (answer.status, answer.body)
        assert ("Idempotency-Replayed" in again.headers) == (answer.status < 400)

    def _tell(self, wish: Wish, answer: Answer) -> None:
        line = f"{wish.method} {wish.path} {json.dumps(wish.body)} → {answer.status} {answer.code or ''}"
        self.told.append(self.named(line))

    def named(self, text: str) -> str:
        for id_, name in self.names.items():
            text = text.replace(id_, name)
        return text

    # --- what is shown ---------------------------------------------------------------------------

    async def compare_board(self, server: Server, day: date) -> None:
        data = (await server.get(f"/queue?date={day}&min_sequence={self.head}")).body["data"]
        blocks = data["doctors"]
        assert data["date"] == str(day)
        assert data["total_doctors"] == len(blocks)
        assert data["total_appointments"] == sum(block["total_appointments"] for block in blocks)
        assert [block["doctor"]["code"] for block in blocks] == sorted(block["doctor"]["code"] for block in blocks)
        own = [block for block in blocks if block["doctor"]["id"] in self.doctors]
        self._compare(self.hospital.board(day), own, f"board {day}")

    async def compare_doctor(self, server: Server, doctor: str, day: date) -> None:
        path = f"/queue?date={day}&doctor_id={doctor}&min_sequence={self.head}"
        data = (await server.get(path)).body["data"]
        if (doctor, day) in self.hospital.clinics:
            self._compare(self.hospital.doctor_block(doctor, day), data, "board")
        else:
            assert (data["clinic"], data["appointments"], data["total_appointments"]) == (None, [], 0)

    async def compare_all(self) -> None:
        for server in self.two:
            for day in (self.today - DAY, self.today, self.today + DAY):
                await self.compare_board(server, day)
        for appointment in self.hospital.appointments.values():
            shown = (await self.two[0].get(f"/appointments/{appointment.id}")).body
            self._compare(self.hospital.card(appointment), shown, "appointment")
            history = (await self.two[1].get(f"/appointments/{appointment.id}/history")).body["events"]
            assert [event["type"] for event in history] == appointment.happened
            times = [datetime.fromisoformat(event["effective_at"]) for event in history]
            assert times == sorted(times)

    def _compare(self, wanted: Any, shown: Any, where: str) -> None:
        """All that is wanted is shown; more may be."""
        if isinstance(wanted, dict):
            assert isinstance(shown, dict), f"{where}: {wanted} wanted, {shown} shown"
            for name, value in wanted.items():
                self._compare(value, shown[name], f"{where}.{name}")
        elif isinstance(wanted, list):
            assert len(wanted) == len(shown), f"{where}: {wanted} wanted, {shown} shown"
            for number, value in enumerate(wanted):
                self._compare(value, shown[number], f"{where}[{number}]")
        elif isinstance(wanted, datetime):
            self._compare_time(wanted, shown, where)
        else:
            assert wanted == shown, f"{where}: {wanted} wanted, {shown} shown"

    def _compare_time(self, wanted: datetime, shown: str, where: str) -> None:
        earliest = wanted.replace(microsecond=0).astimezone(self.hospital.zone)
        at, latest = datetime.fromisoformat(shown), wanted
        if wanted in self.latest:
            earliest = (wanted - CLOCKS_DIFFER).replace(microsecond=0).astimezone(self.hospital.zone)
            latest = self.latest[wanted] + CLOCKS_DIFFER
        assert earliest <= at <= latest, f"{where}: {earliest} wanted, {shown} shown"
        assert at.utcoffset() == earliest.utcoffset()

    # --- which appointment, and when -------------------------------------------------------------

    def day(self, number: int | None) -> date | None:
        return None if number is None else self.today + number * DAY

    def somebody(self, kind: str, number: int, aimed: bool) -> Appointment | None:
        everybody = list(self.hospital.appointments.values())
        ready = [each for each in everybody if READY.get(kind, READY["move"])(each)] if aimed else []
        among = ready or everybody
        return among[number % len(among)] if among else None

    def when(self, late: int | str, after: Iterable[Appointment] = (), minutes: int = 1) -> datetime | None:
        """What `effective_at` says. In the morning, unless it comes after something later."""
        morning = datetime.combine(self.today, datetime.min.time(), self.hospital.zone) + 6 * 60 * MINUTE
        base = max((appointment.last_at for appointment in after), default=morning.astimezone(UTC))
        if late == "now":
            return None
        if late == "future":
            return datetime.now(UTC).replace(microsecond=0) + 60 * MINUTE
        if late == "early":
            return base - MINUTE
        if late == "yesterday":
            return base - DAY
        assert isinstance(late, int)
        at = base + late * minutes * MINUTE
        return at if at < self.began else None

    def go_on(self, somebody: int, which: int, late: int | str, there: bool) -> Wish | None:
        """A usual next step of somebody's."""
        everybody = list(self.hospital.appointments.values())
        if not everybody:
            return None
        place = everybody[somebody % len(everybody)].now
        queue = "no_show" if place.status == "no_show" else place.queue
        steps = ("undo",) if place.status in ("cancelled", "completed", "unseen") else USUAL[queue]
        step = steps[which % len(steps)]
        if step == "check_in" and place.day != self.today:
            step = "undo"
        if step == "call_next":
            return self.call_next(self.doctors.index(place.doctor), (place.day - self.today).days, which % 2 == 0)
        told: dict[str, Any] = {"somebody": somebody, "aimed": False, "late": late}
        if step == "check_in":
            told |= {"patient": None}
        elif step == "prioritize":
            told |= {"priority": ("urgent", "emergency")[which % 2]}
        elif step == "move":
            told |= {"doctor": which % 3, "day": None, "slot": None, "overlap": there}
        return getattr(self, step)(**told)  # type: ignore[no-any-return]

    # --- the commands ----------------------------------------------------------------------------

    def wish(
        self,
        path: str,
        body: dict[str, Any],
        at: datetime | None,
        decide: Callable[[datetime], tuple[Callable[[], Any], bool]],
        method: str = "POST",
        status: int = 200,
    ) -> Wish:
        """None is left out: absent."""
        late = at.astimezone(self.hospital.zone).isoformat() if at else None
        given = {name: value for name, value in {**body, "effective_at": late}.items() if value is not None}
        return Wish(method, path, given, decide, status)

    def book(
        self,
        doctor: int,
        day: int,
        late: int | str,
        patient: int,
        slot: int | None,
        priority: str,
        overlap: bool,
    ) -> Wish:
        at, on = self.when(late), self.today + day * DAY
        who, whom = self.doctors[doctor], self.patients[patient]

        def decide(now: datetime) -> tuple[Callable[[], Any], bool]:
            booked = self.hospital.book(who, whom, on, slot, priority, overlap, now, at)
            return self._made(booked), True

        body = {"doctor_id": who, "patient_id": whom, "date": str(on), "slot": slot, "priority": priority}
        return self.wish("/appointments", {**body, "allow_overlap": overlap or None}, at, decide, status=201)

    def walk_in(self, doctor: int, patient: int, priority: str, overlap: bool, late: int | str) -> Wish:
        at, who, whom = self.when(late, minutes=10), self.doctors[doctor], self.patients[patient]

        def decide(now: datetime) -> tuple[Callable[[], Any], bool]:
            return self._made(self.hospital.walk_in(who, whom, priority, overlap, now, at)), True

        body = {"doctor_id": who, "patient_id": whom, "priority": priority, "allow_overlap": overlap}
        return self.wish("/walkins", body, at, decide, status=201)

    def _made(self, appointment: Appointment) -> Callable[[], Any]:
        self.hospital.remember(appointment, "")  # until the answer tells its id
        return lambda: self.hospital.card(appointment)

    def check_in(self, somebody: int, aimed: bool, late: int | str, patient: str | None) -> Wish | None:
        appointment = self.somebody("check_in", somebody, aimed)
        if appointment is None:
            return None
        at = self.when(late, [appointment])
        others = [each for each in self.patients if each != appointment.patient]
        told = {None: None, "own": appointment.patient, "other": others[0], "nobody": str(uuid4())}[patient]

        def decide(now: datetime) -> tuple[Callable[[], Any], bool]:
            news = self.hospital.check_in(appointment.id, told, now, at)
            return lambda: self.hospital.card(appointment), news

        return self.wish("/checkins", {"appointment_id": appointment.id, "patient_id": told}, at, decide, status=201)

    def call_next(self, doctor: int, day: int | None, complete: bool) -> Wish:
        who, on = self.doctors[doctor], self.day(day)

        def decide(now: datetime) -> tuple[Callable[[], Any], bool]:
            called = self.hospital.call_next(who, on, complete, now)
            return lambda: self.hospital.card(called) if called else {"appointment_id": None}, True

        body = {"doctor_id": who, "date": str(on) if on else None, "complete_current": complete or None}
        return self.wish("/queue/call-next", body, None, decide)

    def _step(self, name: str, somebody: int, aimed: bool, late: int | str, **told: Any) -> Wish | None:
        appointment = self.somebody(name, somebody, aimed)
        if appointment is None:
            return None
        at = self.when(late, [appointment])

        def decide(now: datetime) -> tuple[Callable[[], Any], bool]:
            changed = getattr(self.hospital, name)(appointment.id, **told, now=now, at=at)
            return lambda: self.hospital.card(appointment), changed

        path = f"/appointments/{appointment.id}/{PATHS.get(name, name)}"
        body = {BODY.get(key, key): str(value) if isinstance(value, date) else value for key, value in told.items()}
        reason = "so it was" if name in ("call", "prioritize", "move", "undo") else None
        return self.wish(path, {**body, "reason": reason}, at, decide)

    def __getattr__(self, name: str) -> Callable[..., Wish | None]:
        if name not in KINDS:
            raise AttributeError(name)
        return lambda **told: self._step(name, **told)

    def move(self, doctor: int | None, day: int | None, **told: Any) -> Wish | None:
        step = {"somebody": told.pop("somebody"), "aimed": told.pop("aimed"), "late": told.pop("late")}
        return self._step(
            "move", **step, doctor=None if doctor is None else self.doctors[doctor], day=self.day(day), **told
        )

    def _of_clinic(self, name: str, doctor: int, day: int, late: int | str, **told: Any) -> Wish:
        who, on = self.doctors[doctor], self.today + day * DAY
        left = [each for each in self.hospital.listed(who, on) if each.confirmed] if name == "finish" else []
        at = self.when(late, left)

        def decide(now: datetime) -> tuple[Callable[[], Any], bool]:
            changed = getattr(self.hospital, name)(who, on, **told, now=now, at=at)
            return lambda: self.hospital.clinic_card(who, on), changed

        return self.wish(f"/clinics/{who}/{on}/{name}", told, at, decide)

    def close(self, **told: Any) -> Wish:
        return self._of_clinic("close", **told)

    def reopen(self, **told: Any) -> Wish:
        return self._of_clinic("reopen", **told)

    def finish(self, **told: Any) -> Wish:
        return self._of_clinic("finish", **told)

    def delay(self, **told: Any) -> Wish:
        return self._of_clinic("delay", **told)

    def set_up(self, doctor: int, day: int, late: int | str, **told: Any) -> Wish:
        who, on, at = self.doctors[doctor], self.today + day * DAY, self.when(late)
        told = {name: value for name, value in told.items() if value is not None}

        def decide(now: datetime) -> tuple[Callable[[], Any], bool]:
            changed = self.hospital.set_up(who, on, now, at, **told)
            return lambda: self.hospital.clinic_card(who, on), changed

        return self.wish(f"/clinics/{who}/{on}", told, at, decide, method="PUT")

    def reorder(self, doctor: int, order: str) -> Wish:
        """The one setting that can always be another."""
        clinic = self.hospital.clinic_or_default(self.doctors[doctor], self.today)
        return self.set_up(doctor, 0, "now", capacity=clinic.capacity, order=order)

    def reassign(self, doctor: int, day: int, late: int | str, to: int, overlap: bool) -> Wish:
        who, on, whom = self.doctors[doctor], self.today + day * DAY, self.doctors[to]
        at = self.when(late, [each for each in self.hospital.listed(who, on) if each.confirmed])

        def decide(now: datetime) -> tuple[Callable[[], Any], bool]:
            moved, changed = self.hospital.reassign(who, on, whom, overlap, now, at)
            return lambda: {"moved": [self.hospital.card(each) for each in moved]}, changed

        body = {"to_doctor_id": whom, "allow_overlap": overlap, "reason": "ill"}
        return self.wish(f"/clinics/{who}/{on}/reassign", body, at, decide)

    def ask_for_nobody(self, what: int) -> Wish:
        """Unknown ids come before every other refusal."""
        nobody, (known, *_) = str(uuid4()), self.doctors
        future = datetime.now(UTC) + 60 * MINUTE

        def refuse(code: str) -> Callable[[datetime], Any]:
            def decide(_: datetime) -> Any:
                raise Refused(code)

            return decide

        path, body, code = (
            ("/appointments", {"doctor_id": nobody, "patient_id": nobody}, "unknown_doctor"),
            ("/appointments", {"doctor_id": known, "patient_id": nobody}, "unknown_patient"),
            ("/checkins", {"appointment_id": nobody}, "unknown_appointment"),
            (f"/appointments/{nobody}/undo", {"reason": "so it was"}, "unknown_appointment"),
            (f"/clinics/{nobody}/{self.today}/finish", {}, "unknown_doctor"),
            (f"/clinics/{known}/{self.today - 9 * DAY}/finish", {}, "unknown_clinic"),
        )[what]
        body = {**body, "date": str(self.today - DAY)} if path == "/appointments" else body
        return self.wish(path, body, future, refuse(code))


PATHS = {"no_show": "no-show", "prioritize": "priority"}
BODY = {"doctor": "doctor_id", "day": "date", "overlap": "allow_overlap"}


# --- the day itself ------------------------------------------------------------------------------


@pytest_asyncio.fixture
async def two_in_the_afternoon(database: Database) -> AsyncIterator[tuple[Servers, ZoneInfo]]:
    """Two servers that share one database, of a hospital where it is afternoon."""
    zone = zone_in_the_afternoon()
    options = "--database-url", database.url, "--data-dir", str(database.folder), "--timezone", zone
    async with started(*options) as one, started(*options) as other:
        yield (one, other), ZoneInfo(zone)
        for server in (one, other):
            assert b"Traceback" not in server.log, server.log.decode()


_numbers = count(1)


async def a_day(two: Servers, zone: ZoneInfo) -> Day:
    """Three doctors, two of whom have small clinics today, and their patients."""
    number = next(_numbers)
    today = date.fromisoformat(await two[0].today())
    began = datetime.now(UTC)
    hospital = Hospital(zone)
    for letter, room in (("A", None), ("B", "12"), ("C", "Aquarium")):
        doctor = await two[0].a_doctor(code=f"D{number}{letter}", room=room)
        hospital.doctors[doctor] = Doctor(doctor, f"D{number}{letter}", room)
    patients = await asyncio.gather(*[two[1].a_patient() for _ in PATIENT])
    hospital.patients = set(patients)
    day = Day(two, hospital, list(hospital.doctors), patients, today, began)
    day.head = (await two[1].get("/queue")).body["sequence"]
    for server in two:  # nobody's registration is to be behind
        for doctor in day.doctors:
            assert (await server.get(f"/doctors/{doctor}")).status == 200
    day.names |= dict(zip(day.doctors, "ABC", strict=True))
    day.names |= {patient: f"P{n}" for n, patient in enumerate(patients, 1)}
    return day


async def goes_wrong(two: Servers, zone: ZoneInfo, asked: Sequence[Ask]) -> AssertionError | None:
    """With all that was asked and answered."""
    day = await a_day(two, zone)
    try:
        for number, (capacity, starts_at) in enumerate(((5, "09:00"), (4, "09:05"))):
            opened = {"capacity": capacity, "starts_at": starts_at, "order": ("arrival", "slot")[number]}
            await day.play(Ask("set_up", {"doctor": number, "day": 0, "late": 0, **opened}, there=False, twice=False))
        for ask in asked:
            await day.play(ask)
        await day.compare_all()
    except AssertionError as failure:
        failure.add_note("\n".join(["", *day.told, "", day.named(str(failure))]))
        return failure
    return None


async def at_its_shortest(two: Servers, zone: ZoneInfo, asked: list[Ask], failure: AssertionError) -> AssertionError:
    """Without the commands that it goes wrong without, many left out at first and in the end one by one."""
    size = len(asked) // 2
    while size:
        for start in range(0, len(asked), size):
            fewer = asked[:start] + asked[start + size :]
            if wrong := await goes_wrong(two, zone, fewer):
                asked, failure = fewer, wrong
                break
        else:
            size //= 2
    return failure


@pytest.mark.timeout(900)  # A day that goes wrong is played over and over, until it is short.
@settings(
    max_examples=DAYS,
    deadline=None,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(number=st.integers(0, 2**64 - 1))
async def test_a_days_answers_and_boards_are_those_of_the_contract(
    two_in_the_afternoon: tuple[Servers, ZoneInfo], number: int
) -> None:
    two, zone = two_in_the_afternoon
    if failure := await goes_wrong(two, zone, asks(number)):
        raise await at_its_shortest(two, zone, asks(number), failure)
