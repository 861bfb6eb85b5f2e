"""The made-up hospital at work: it asks the desk, like any client, and is refused like any client."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any, Final

import structlog

from domain.desk.desk import Desk
from domain.desk.outcome import Asker, Contended, Done
from domain.log.append import OutcomeUnknown, StoreUnavailable
from domain.postgres.connect import FAULTS
from domain.rules.commands import BookAppointment, CallNext, CheckIn, CompleteConsultation, RegisterDoctor, SetUpClinic
from domain.rules.ids import AppointmentId, DoctorId, PatientId, clinic_stream
from domain.rules.refusals import Refusal
from gateway.demo import beat, morning
from gateway.demo.beat import Booking
from gateway.demo.morning import Morning, Visit
from gateway.demo.people import SPECIALTIES, STAFF, a_priority, someone
from gateway.parts import Parts
from gateway.settings import SettingsError
from projections.board import DayBoard
from projections.boards import Unavailable
from projections.projector import Behind

ASKER: Final = Asker(actor="demo", role="developer")
WAIT_SECONDS: Final = 1.0
"""Before asking again a store that could not be reached."""
SEEN_SECONDS: Final = 5.0
RETURNING: Final = 0.6
"""The share of patients who have been here before, on a day that has one before it."""
LOOK_BACK_DAYS: Final = 14

log = structlog.get_logger()


@asynccontextmanager
async def living(parts: Parts) -> AsyncIterator[None]:
    """The hospital lives for as long as the body runs. Raises SettingsError where there is a real one.

    It is all that such a server is for: when it dies, so does the body.
    """
    hospital = Hospital(parts)
    there = {(card.code, card.name) for card in parts.directory.doctors.values()}
    if there and there.isdisjoint((doctor.code, doctor.name) for doctor in STAFF):
        raise SettingsError("--demo fills a store with made-up people, and this one holds somebody else's hospital")
    async with asyncio.TaskGroup() as tasks:
        life = tasks.create_task(hospital.run())
        try:
            yield
        finally:
            life.cancel()


class Hospital:
    """`pace`: how many times faster than usual life goes on."""

    def __init__(self, parts: Parts, *, pace: float = 1.0) -> None:
        self._parts, self._pace = parts, pace
        self._staff: dict[DoctorId, RegisterDoctor] = {}
        self._known: dict[DoctorId, list[PatientId]] = {}
        self._newest = 0
        self._waiting = False

    async def run(self) -> None:
        """For ever: one day after another."""
        log.info("demo", hospital="made-up: nobody on its lists exists")
        await self._hire()
        while True:
            day = self._parts.today()
            try:
                await self._live(day, await self._begin(day))
            except (*FAULTS, Unavailable) as fault:
                await self._wait(fault)

    async def _hire(self) -> None:
        """Known again by their codes, for ever after by their ids. A visitor's own doctors are left to the visitor."""
        there = {card.code for card in self._parts.directory.doctors.values()}
        async with asyncio.TaskGroup() as tasks:
            for doctor in STAFF:
                if doctor.code not in there:
                    tasks.create_task(self._ask(doctor))
        await self._see()
        ids = {card.code: card.id for card in self._parts.directory.doctors.values()}
        self._staff = {ids[doctor.code]: doctor for doctor in STAFF if doctor.code in ids}

    # --- the day so far --------------------------------------------------------------------------

    async def _begin(self, day: date) -> random.Random:
        """Every doctor has a clinic that is under way. Returns what chance the rest of the day is left to."""
        board = await self._parts.boards.get(day)
        rng = random.Random(f"{day} from {board.sequence}")  # not the same people again when started again
        self._known = await self._patients_of_before(day, board)
        now = self._parts.now()
        async with asyncio.TaskGroup() as tasks:
            for doctor_id, doctor in self._staff.items():
                if clinic_stream(doctor_id, day) not in board.clinics:
                    chance = random.Random(f"{day} {doctor.code}")
                    plan = morning.plan(now, self._parts.zone, chance)
                    tasks.create_task(self._catch_up(day, doctor_id, plan, chance))
        await self._see()
        log.info("demo_day", date=str(day), clinics=len(board.clinics), appointments=len(board.clinic_of))
        return rng

    async def _patients_of_before(self, day: date, today: DayBoard) -> dict[DoctorId, list[PatientId]]:
        """Whoever was on a doctor's list on the last day that had one, and is not on today's."""
        for days in range(1, LOOK_BACK_DAYS + 1):
            board = await self._parts.boards.get(day - timedelta(days=days))
            if board.clinics:
                return {
                    clinic.doctor_id: [
                        entry.patient_id for entry in clinic.list_up() if entry.patient_id not in today.by_patient
                    ]
                    for clinic in board.clinics.values()
                }
        return {}

    async def _catch_up(self, day: date, doctor_id: DoctorId, plan: Morning, chance: random.Random) -> None:
        """One clinic's day so far, entered late."""
        await self._ask(
            SetUpClinic(
                doctor_id=doctor_id,
                date=day,
                capacity=plan.capacity,
                starts_at=plan.starts_at,
                slot_minutes=plan.slot_minutes,
                effective_at=plan.entered_at,
            )
        )
        patients = await asyncio.gather(*[self._patient(doctor_id, day, chance, plan.entered_at) for _ in plan.visits])
        booked = {
            number: await self._book(doctor_id, day, visit, patient, plan.entered_at)
            for number, (visit, patient) in enumerate(zip(plan.visits, patients, strict=True))
        }
        await self._repeat(day, doctor_id, plan, booked)

    async def _repeat(
        self, day: date, doctor_id: DoctorId, plan: Morning, booked: Mapping[int, AppointmentId | None]
    ) -> None:
        called: AppointmentId | None = None
        for step in plan.steps:
            appointment_id = booked[step.visit]
            match step.kind:
                case "check_in" if appointment_id is not None:
                    await self._ask(CheckIn(appointment_id=appointment_id, effective_at=step.at))
                case "call":
                    done = await self._ask(CallNext(doctor_id=doctor_id, date=day), at=step.at)
                    called = AppointmentId(done.receipt.id) if done else None
                case "complete" if called is not None:
                    await self._ask(CompleteConsultation(appointment_id=called, effective_at=step.at))
                case _:
                    pass  # Refused somewhere before: it did not happen.

    async def _patient(
        self, doctor_id: DoctorId, today: date, chance: random.Random, at: datetime | None = None
    ) -> PatientId | None:
        """Somebody who was here before, or somebody new."""
        known = self._known.get(doctor_id)
        if known and chance.random() < RETURNING:
            return known.pop(chance.randrange(len(known)))
        done = await self._ask(someone(chance, SPECIALTIES[self._staff[doctor_id].specialty], today, at))
        return PatientId(done.receipt.id) if done else None

    async def _book(
        self, doctor_id: DoctorId, day: date, visit: Visit, patient: PatientId | None, at: datetime | None = None
    ) -> AppointmentId | None:
        if patient is None:
            return None
        done = await self._ask(
            BookAppointment(
                doctor_id=doctor_id,
                patient_id=patient,
                date=day,
                slot=visit.slot,
                priority=visit.priority,
                effective_at=at,
            )
        )
        return AppointmentId(done.receipt.id) if done else None

    # --- from now on -----------------------------------------------------------------------------

    async def _live(self, day: date, rng: random.Random) -> None:
        """Until midnight."""
        while self._parts.today() == day:
            board = await self._parts.boards.get(day)
            now = self._parts.now().astimezone(self._parts.zone)
            await self._take(beat.next_step(board, self._staff, now, rng), board, rng)
            await asyncio.sleep(beat.pause_seconds(board, self._staff, now, rng) / self._pace)

    async def _take(self, step: beat.Next | None, board: DayBoard, rng: random.Random) -> None:
        """One step, and see it on the board."""
        if isinstance(step, Booking):
            patient = await self._patient(step.doctor_id, board.date, rng)
            await self._book(step.doctor_id, board.date, Visit(step.slot, a_priority(rng), None), patient)
        elif step is not None:
            await self._ask(step)
        await self._see()

    # --- at the desk -----------------------------------------------------------------------------

    async def _ask(self, command: Any, *, at: datetime | None = None) -> Done | None:
        """None when it is refused: somebody else was faster, and the board has the rest. Waits for the store."""
        desk = self._parts.desk
        if at is not None:
            # Calling whoever stands first cannot be entered late. But here everything happens in its order, so
            # that with the clock put back the right one stands first.
            desk = Desk(replace(desk.equipment, now=lambda: at))
        while True:
            try:
                done = await desk.handle(command, ASKER)
            except (Refusal, OutcomeUnknown):
                self._waiting = False
                return None
            except (StoreUnavailable, Contended) as fault:
                await self._wait(fault)
            else:
                self._waiting = False
                self._newest = max(self._newest, done.sequence)
                return done

    async def _see(self) -> None:
        """All that was done, on the board."""
        with suppress(Behind):
            await self._parts.projector.reached(self._newest, seconds=SEEN_SECONDS)

    async def _wait(self, fault: Exception) -> None:
        if not self._waiting:
            log.warning("demo_waits", fault=type(fault).__name__)
        self._waiting = True
        await asyncio.sleep(WAIT_SECONDS)
