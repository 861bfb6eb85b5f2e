"""Walks a plan against a server. What that answers decides how it really goes: ids, who is called, what is refused.

A list's steps are carried out one after another, in the plan's order; lists go on side by side. A step that concerns
two lists, or a patient who is on two, waits for both.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from typing import Any, Final

import msgspec

from scripts.simulation.client import Answer, Client
from scripts.simulation.hospital import Step
from scripts.simulation.plan import Plan
from scripts.simulation.statistics import Statistics

AT_ONCE: Final = 32
AHEAD: Final = 1_000
"""So many steps may be begun that wait for others."""
LATE: Final = timedelta(minutes=1)
"""What happened longer ago is entered late, with its own time. A server's clock may differ a little."""


class NotOurs(Exception):
    """That store, or that date, belongs to somebody else."""


@dataclass(frozen=True, slots=True)
class Today:
    """What the server's clock says, in its own zone."""

    now: datetime

    def midnight(self, day: date) -> datetime:
        """By the offset of today: a clock change shifts a simulated day by its hour."""
        return datetime.combine(day, time(), self.now.tzinfo)


async def ask_today(client: Client) -> Today:
    return Today(datetime.fromisoformat((await client.read("/queue"))["data"]["timestamp"]))


@dataclass(slots=True)
class Runner:
    """`speed`: simulated seconds per second, 0 for as fast as the server answers."""

    client: Client
    plan: Plan
    today: Today
    speed: float
    statistics: Statistics
    doctors: list[str] = field(default_factory=list)
    patients: dict[int, str] = field(default_factory=dict)
    appointments: dict[int, dict[str, Any]] = field(default_factory=dict)
    """By visit: as last heard of."""
    _visits: dict[str, int] = field(default_factory=dict)
    _stands_in: dict[int, int] = field(default_factory=dict)
    """Who was really called, by whom the plan had meant."""
    _by_the_clock: set[int] = field(default_factory=set)
    """Visits whose last step has the time at which it was recorded: nothing earlier can be said of them."""
    _arrived: dict[int, int] = field(default_factory=dict)
    _newest: int = 0
    _room: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))

    async def run(self) -> None:
        """Raises NotOurs, Unreachable."""
        await self._hire()
        begun = asyncio.get_running_loop().time()
        try:
            await self._walk()
        except ExceptionGroup as group:
            raise group.exceptions[0] from None  # They all found the same server gone.
        self.statistics.seconds = asyncio.get_running_loop().time() - begun
        await self._compare()

    async def _hire(self) -> None:
        """Doctors who are there from another day are there."""
        staff = self.plan.roster.staff
        there = {doctor["code"]: doctor for doctor in (await self.client.read("/doctors"))["doctors"]}
        ours = {(doctor.code, doctor.name) for doctor in staff}
        if there and ours.isdisjoint((code, doctor["name"]) for code, doctor in there.items()):
            raise NotOurs("this server holds somebody else's hospital, and a simulation would stay in it for ever")
        listed = (await self.client.read(f"/queue?date={self.plan.day}"))["data"]["doctors"]
        codes = {doctor.code for doctor in staff}
        if any(there_code in codes for there_code in (block["doctor"]["code"] for block in listed)):
            raise NotOurs(f"{self.plan.day} has lists of these doctors already: take another --date")
        for doctor in staff:
            if doctor.code in there:
                self.doctors.append(there[doctor.code]["id"])
            else:
                answer = await self.client.command("hire", "POST", "/doctors", _said(doctor))
                if answer.status != 201:
                    raise NotOurs(f"{doctor.code} cannot be registered: {answer.body}")
                self.doctors.append(answer.body["id"])

    # --- the plan, step by step ------------------------------------------------------------------

    async def _walk(self) -> None:
        """A step begins when its time has come, and ends after those before it that concern the same."""
        loop = asyncio.get_running_loop()
        began, last = loop.time(), dict[Hashable, asyncio.Task[None]]()
        opening = next((step.at for step in self.plan.steps if step.at >= 0), 0)
        ahead = asyncio.Semaphore(AHEAD)
        async with asyncio.TaskGroup() as tasks:
            for step in self.plan.steps:
                if self.speed and step.at > opening:
                    await asyncio.sleep(began + (step.at - opening) / self.speed - loop.time())
                await ahead.acquire()
                concerns = self._concerns(step)
                before = {last[one] for one in concerns if one in last}
                task = tasks.create_task(self._after(before, step))
                task.add_done_callback(lambda _: ahead.release())
                last.update(dict.fromkeys(concerns, task))

    def _concerns(self, step: Step) -> list[Hashable]:
        concerns: list[Hashable] = [("list", step.list)]
        if step.to is not None:
            concerns.append(("list", step.to))
        if step.visit is not None:
            concerns.append(("patient", self.plan.roster.visits[step.visit].patient))
        return concerns

    async def _after(self, before: set[asyncio.Task[None]], step: Step) -> None:
        if before:
            await asyncio.wait(before)
        async with self._room:
            await self._take(step)

    async def _take(self, step: Step) -> None:
        visit = None if step.visit is None else self._stands_in.get(step.visit, step.visit)
        asked = self._request(step, visit)
        if asked is None:
            self.statistics.skipped += 1
            return
        method, path, body = asked
        at = self._effective_at(step, visit)
        if at is not None:
            body["effective_at"] = at.isoformat()
        answer = await self.client.command(step.kind, method, path, body)
        if answer.code == "patient_busy" and step.kind in ("book", "walk_in"):
            answer = await self.client.command(step.kind, method, path, body | {"allow_overlap": True})  # Wants both.
        if answer.status < 300:
            self._newest = max(self._newest, answer.body["sequence"])
            self._heard(step, visit, answer, by_the_clock=at is None)

    def _request(self, step: Step, visit: int | None) -> tuple[str, str, dict[str, Any]] | None:
        """Method, path and body, or None where there is nobody whom it could be about."""
        doctor, day, told = self.doctors[step.list], self.plan.day.isoformat(), dict(step.told)
        patient = self.plan.roster.visits[visit].patient if visit is not None else -1
        match step.kind:
            case "register":
                return "POST", "/patients", told | _said(self.plan.roster.people[patient])
            case "call_next":
                return "POST", "/queue/call-next", told | {"doctor_id": doctor, "date": day}
            case "set_up":
                return "PUT", f"/clinics/{doctor}/{day}", told
            case "delay" | "close" | "reopen" | "finish":
                return "POST", f"/clinics/{doctor}/{day}/{step.kind}", told
            case "reassign":
                assert step.to is not None
                return "POST", f"/clinics/{doctor}/{day}/reassign", told | {"to_doctor_id": self.doctors[step.to]}
            case "correct" | "book" | "walk_in":
                return self._about_patient(step, doctor, self.patients.get(patient), told)
            case _:
                return self._about_appointment(step, self.appointments.get(visit) if visit is not None else None, told)

    def _about_patient(
        self, step: Step, doctor: str, patient: str | None, told: dict[str, Any]
    ) -> tuple[str, str, dict[str, Any]] | None:
        if patient is None:
            return None
        if step.kind == "correct":
            return "PATCH", f"/patients/{patient}", told
        told |= {"doctor_id": doctor, "patient_id": patient}
        if step.kind == "walk_in":
            return "POST", "/walkins", told
        return "POST", "/appointments", told | {"date": self.plan.day.isoformat()}

    def _about_appointment(
        self, step: Step, appointment: dict[str, Any] | None, told: dict[str, Any]
    ) -> tuple[str, str, dict[str, Any]] | None:
        if appointment is None:
            return None
        appointment_id = appointment["appointment_id"]
        if step.kind == "check_in":
            return "POST", "/checkins", told | {"appointment_id": appointment_id}
        if step.to is not None:
            told["doctor_id"] = self.doctors[step.to]
        return "POST", f"/appointments/{appointment_id}/{step.kind.replace('_', '-')}", told

    def _effective_at(self, step: Step, visit: int | None) -> datetime | None:
        """None where it happens as it is recorded: see the contract on call-next, and on what is too early."""
        at = self.today.midnight(self.plan.day) + timedelta(seconds=step.at)
        is_live = self.speed and step.at >= 0 and self.plan.day == self.today.now.date()
        concerned = self._still_to_be_seen(step.list) if step.kind in ("finish", "reassign") else {visit}
        if step.kind == "call_next" or is_live or concerned & self._by_the_clock:
            return None
        return at if at < datetime.now(at.tzinfo) - LATE else None

    # --- what the server answers -----------------------------------------------------------------

    def _heard(self, step: Step, visit: int | None, answer: Answer, *, by_the_clock: bool) -> None:
        body = answer.body
        match step.kind:
            case "register":
                assert visit is not None
                self.patients[self.plan.roster.visits[visit].patient] = body["id"]
            case "call_next":
                self._heard_of_call(step, body)
            case "finish":
                for left in self._still_to_be_seen(step.list):
                    self._left(self.appointments[left])
            case "reassign":
                for appointment in body["moved"]:
                    self.appointments[self._visits[appointment["appointment_id"]]] = appointment
            case "correct" | "set_up" | "delay" | "close" | "reopen":
                pass
            case _:
                assert visit is not None
                self.appointments[visit] = body
                self._visits[body["appointment_id"]] = visit
                if by_the_clock:
                    self._by_the_clock.add(visit)
                if step.kind == "call":
                    self._called(visit, step.at)
                elif step.kind in ("check_in", "walk_in") and answer.status == 201:
                    self._arrived[visit] = step.at

    def _heard_of_call(self, step: Step, body: dict[str, Any]) -> None:
        if step.told.get("complete_current"):
            for visit in self._on_list(step.list):
                appointment = self.appointments[visit]
                if _stage(appointment) in ("called", "in_consultation"):
                    appointment["status"] = appointment["queue"]["status"] = "completed"
                    self._by_the_clock.add(visit)
        if body["appointment_id"] is not None:
            called = self._visits[body["appointment_id"]]
            self.appointments[called] = body
            self._by_the_clock.add(called)
            self._called(called, step.at)
            if step.visit is not None:
                self._stands_in.pop(step.visit, None)
                if called != step.visit:
                    self._stands_in[step.visit] = called
                    self.statistics.called_instead += 1

    def _called(self, visit: int, at: int) -> None:
        if visit in self._arrived:
            priority = self.appointments[visit]["priority"]
            self.statistics.waits[priority].append((at - self._arrived.pop(visit)) / 60)

    def _on_list(self, number: int) -> list[int]:
        doctor = self.doctors[number]
        return [visit for visit, appointment in self.appointments.items() if appointment["doctor_id"] == doctor]

    def _still_to_be_seen(self, number: int) -> set[int]:
        return {visit for visit in self._on_list(number) if self.appointments[visit]["status"] == "confirmed"}

    def _left(self, appointment: dict[str, Any]) -> None:
        """As finishing a list leaves whoever was still on it."""
        came = appointment["queue"] is not None
        appointment["status"] = "unseen" if came else "no_show"
        if came:
            appointment["queue"]["status"] = "unseen"

    # --- the board at the end --------------------------------------------------------------------

    async def _compare(self) -> None:
        """Everything that was heard of is on the board, and nothing else is."""
        path = f"/queue?date={self.plan.day}&min_sequence={self._newest}"
        data = (await self.client.read(path))["data"]
        shown = {block["doctor"]["id"]: block for block in data["doctors"]}
        for number, doctor in enumerate(self.doctors):
            block, code = shown.get(doctor), self.plan.roster.staff[number].code
            if block is None:
                self.statistics.differences.append(f"{code} is missing")
                continue
            expected = _counted([self.appointments[visit] for visit in self._on_list(number)])
            found = _counted(block["appointments"])
            if expected != found:
                self.statistics.differences.append(f"{code} shows {dict(found)}, and not {dict(expected)}")
        everybody = _counted(list(self.appointments.values()))
        listed = sum(everybody.values())
        arrived = sum(number for (_, queue), number in everybody.items() if queue is not None)
        for what, number in (("total_appointments", listed), ("checked_in_count", arrived)):
            if sum(shown[doctor][what] for doctor in self.doctors if doctor in shown) != number:
                self.statistics.differences.append(f"{what} is not {number}")
        statuses = Counter(status for status, _ in everybody.elements())
        self.statistics.board = {"listed": listed, "checked in": arrived, **dict(sorted(statuses.items()))}


def _said(command: msgspec.Struct) -> dict[str, Any]:
    """A command as JSON has it, without what is absent."""
    said: dict[str, Any] = msgspec.to_builtins(command)
    return {name: value for name, value in said.items() if value is not None}


def _stage(appointment: dict[str, Any]) -> str | None:
    queue = appointment["queue"]
    return queue["status"] if queue is not None else None


def _counted(appointments: list[dict[str, Any]]) -> Counter[tuple[str, str | None]]:
    """How many there are of each status, of those that a board lists."""
    return Counter((one["status"], _stage(one)) for one in appointments if one["status"] != "cancelled")
