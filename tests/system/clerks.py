"""Clerks who do at random whatever can be done on a day, at whichever server answers, until its outcome is known."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import count
from random import Random
from typing import Any, Final

import aiohttp

from tests.server import Answer, Server
from tests.system.watching import RETRY_SECONDS, Scene, View

LONG: Final = " " + "ß" * 150
"""Patients have names so long that what a monitor does not read fills its buffers soon."""

WHAT: Final = {
    "book": 8,
    "walk in": 2,
    "check in": 9,
    "call next": 4,
    "call": 2,
    "start": 3,
    "recall": 1,
    "complete": 3,
    "hold": 2,
    "resume": 2,
    "cancel": 2,
    "no-show": 1,
    "undo": 5,
    "priority": 2,
    "move": 4,
    "move away": 2,
    "reassign": 1,
    "order": 1,
    "delay": 2,
    "close": 1,
    "reopen": 3,
    "finish": 0.3,
    "rename patient": 6,
    "erase": 2,
    "rename doctor": 2,
    "department": 3,
    "new doctor": 0.5,
    "look": 4,
}
"""What may be done, and how often."""
READY: Final = {
    "check in": (None, "no_show"),
    "call": ("checked_in",),
    "start": ("called",),
    "recall": ("called",),
    "complete": ("in_consultation", "called"),
    "hold": ("checked_in", "called"),
    "resume": ("on_hold",),
}
"""Where somebody's queue entry usually stands before a step."""


@dataclass
class Hospital:
    """Its servers, and what is known of it: all that was acknowledged."""

    servers: list[Server]
    chance: Random
    scene: Scene = field(init=False)
    doctors: list[str] = field(default_factory=list)
    patients: list[str] = field(default_factory=list)
    standing: dict[str, str | None] = field(default_factory=dict)
    """Appointments, and the status of their queue entries, as far as anybody was told."""
    acknowledged: list[tuple[str, Answer]] = field(default_factory=list)
    _numbers: count[int] = field(default_factory=count)

    async def open(self) -> None:
        """With a few people in it, whom all servers know."""
        today = await self.servers[0].today()
        tomorrow = str(date.fromisoformat(today) + timedelta(days=1))
        self.scene = Scene(lambda: self.somewhere().url, today, tomorrow, self.chance)
        self.doctors = [await self.new_doctor("AB"[number % 2]) for number in range(4)]
        self.patients = [await self.new_patient() for _ in range(10)]
        for number, patient in enumerate(self.patients):
            booking = {"doctor_id": self.doctors[number % 3], "patient_id": patient, "date": today}
            await self.give("POST", "/appointments", booking)
        for server in self.servers:
            await self.shown(server, View("all"), at_least=self.last)

    @property
    def today(self) -> str:
        return self.scene.date

    @property
    def last(self) -> int:
        """The newest sequence that was acknowledged."""
        return max(int(answer.body["sequence"]) for _, answer in self.acknowledged)

    def somewhere(self) -> Server:
        return self.chance.choice(self.servers)

    def nearby(self) -> Server:
        """Clerks ask the first one mostly."""
        return self.servers[0] if self.chance.random() < 0.8 else self.somewhere()

    async def new_doctor(self, department: str) -> str:
        code = f"{self.chance.choice('KLMN')}{next(self._numbers)}"
        told = {"name": "Dr. Amara Okafor", "code": code, "specialty": "Any", "department": department}
        return str((await self.give("POST", "/doctors", told)).body["id"])

    async def new_patient(self) -> str:
        told = {"name": f"Asha {next(self._numbers)}{LONG}", "private": self.chance.random() < 0.2}
        return str((await self.give("POST", "/patients", told)).body["id"])

    async def give(self, method: str, path: str, body: dict[str, Any]) -> Answer:
        """A command, until its outcome is known."""
        key = f"{self.today} {next(self._numbers)}"
        while True:
            try:
                answer = await self.nearby().call(method, path, body, Idempotency_Key=key, Connection="close")
            except (aiohttp.ClientError, ConnectionError):
                await asyncio.sleep(RETRY_SECONDS)
                continue
            if answer.status != 503:
                break
            await asyncio.sleep(RETRY_SECONDS)
        if answer.status not in (200, 201, 404, 409):
            raise AssertionError(f"{method} {path} {body} is answered {answer.status} {answer.body}")
        if answer.status < 300:
            self._learn(path, answer)
        return answer

    def _learn(self, path: str, answer: Answer) -> None:
        self.acknowledged.append((path, answer))
        for told in (answer.body, *answer.body.get("moved", ())):
            if told.get("appointment_id"):
                self.standing[told["appointment_id"]] = told["queue"]["status"] if told["queue"] else None
        self.scene.commands += 1

    # --- at random -------------------------------------------------------------------------------

    async def work(self) -> None:
        """One clerk's."""
        while self.scene.busy:
            (what,) = self.chance.choices(list(WHAT), list(WHAT.values()))
            await self._do(what)

    async def _do(self, what: str) -> None:
        chance, (doctor, to) = self.chance, self.chance.sample(self.doctors, 2)
        patient, appointment = chance.choice(self.patients), self._somebody(what)
        clinic, step = f"/clinics/{doctor}/{self.today}", f"/appointments/{appointment}"
        because = {"reason": "so it was"}
        match what:
            case "book":
                booking = {"doctor_id": doctor, "patient_id": patient, "date": self.today, "allow_overlap": True}
                await self.give("POST", "/appointments", booking)
            case "walk in":
                await self.give("POST", "/walkins", {"doctor_id": doctor, "patient_id": patient, "allow_overlap": True})
            case "check in":
                await self.give("POST", "/checkins", {"appointment_id": appointment})
            case "call next":
                told = {"doctor_id": doctor, "complete_current": chance.random() < 0.5}
                await self.give("POST", "/queue/call-next", told)
            case "start" | "recall" | "complete" | "hold" | "resume" | "cancel" | "no-show":
                await self.give("POST", f"{step}/{what}", {})
            case "call" | "undo":
                await self.give("POST", f"{step}/{what}", because)
            case "priority":
                priority = chance.choice(("routine", "urgent", "emergency"))
                await self.give("POST", f"{step}/priority", {"priority": priority, **because})
            case "move":
                await self.give("POST", f"{step}/move", {"doctor_id": to, "allow_overlap": True, **because})
            case "move away":
                on = chance.choice((self.today, self.scene.another_date))
                await self.give("POST", f"{step}/move", {"date": on, "allow_overlap": True, **because})
            case "reassign":
                await self.give("POST", f"{clinic}/reassign", {"to_doctor_id": to, "allow_overlap": True, **because})
            case "order":
                await self.give("PUT", clinic, {"capacity": 60, "order": chance.choice(("arrival", "slot"))})
            case "delay":
                await self.give("POST", f"{clinic}/delay", {"minutes": 10 * chance.randrange(4)})
            case "close" | "reopen" | "finish":
                await self.give("POST", f"{clinic}/{what}", {})
            case _:
                await self._do_with_people(what, doctor, patient)

    async def _do_with_people(self, what: str, doctor: str, patient: str) -> None:
        number, letter = next(self._numbers), self.chance.choice("AB")
        match what:
            case "rename patient":
                await self.give("PATCH", f"/patients/{patient}", {"name": f"Ida {number}{LONG}"})
            case "erase":
                self.patients.remove(patient)
                await self.give("POST", f"/patients/{patient}/erase", {"reason": "asked for it"})
                self.patients.append(await self.new_patient())
            case "rename doctor":
                code = f"{self.chance.choice('KLMN')}{number}"
                await self.give("PATCH", f"/doctors/{doctor}", {"code": code, "name": f"Dr. {number}"})
            case "department":
                await self.give("PATCH", f"/doctors/{doctor}", {"department": letter})
            case "new doctor":
                self.doctors.append(await self.new_doctor(letter))
            case "look":
                await self._look(doctor)

    def _somebody(self, what: str) -> str:
        ready = READY.get(what, ())
        aimed = [appointment for appointment, stage in self.standing.items() if stage in ready]
        return self.chance.choice(aimed if aimed and self.chance.random() < 0.8 else list(self.standing))

    async def _look(self, doctor: str) -> None:
        for view in (View("all"), View(f"doctor {doctor}", doctor=doctor)):
            with suppress(aiohttp.ClientError, ConnectionError):  # That server is dead, and somebody else's to replace.
                await self.shown(self.somewhere(), view)

    async def shown(self, server: Server, view: View, *, at_least: int = 0) -> int:
        """What GET answers, told to the witness. Returns its sequence."""
        which = f"&doctor_id={view.doctor}" if view.doctor else ""
        path = f"/queue?date={self.today}&min_sequence={at_least}{which}"
        while (answer := await server.call("GET", path, Connection="close")).status != 200:
            assert answer.status in (404, 503), answer  # It is behind, and may not know the doctor yet.
            await asyncio.sleep(RETRY_SECONDS)
        self.scene.witness.sees(view, answer.body, answer.body["data"], "GET /queue", whole=True)
        return int(answer.body["sequence"])
