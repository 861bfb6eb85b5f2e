"""Random days on which much is written down late, some of it out of order."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from itertools import count
from random import Random
from typing import Any
from uuid import uuid4

from domain.desk.outcome import Asker
from domain.log import codec, read
from domain.rules import commands
from domain.rules.ids import AppointmentId, DoctorId, PatientId
from domain.rules.refusals import Refusal
from gateway.parts import Parts
from projections.timeline import Fact

DOCTORS, PATIENTS, CAPACITY, STEPS = 3, 6, 4, 70
DEVELOPER = Asker(actor="developer", role="developer")

_dates = count()


class Day:
    """A date of its own, on which much is written down late, and some of it out of order."""

    def __init__(self, parts: Parts, seed: int, *, people_change: bool = True) -> None:
        self.parts, self.chance, self.people_change = parts, Random(seed), people_change
        self.date = date(2023, 1, 1) + timedelta(days=next(_dates))
        self.now = datetime.combine(self.date, time(8), parts.zone)
        parts.desk.equipment.now = lambda: self.now
        self.doctors: list[DoctorId] = []
        self.patients: list[PatientId] = []
        self.appointments: list[AppointmentId] = []

    async def begin(self) -> None:
        for number in range(DOCTORS):
            registered = commands.RegisterDoctor(
                name=f"Dr. {number}", code=f"{number}-{uuid4().hex[:8]}", specialty="Any"
            )
            self.doctors.append(await self.do(registered))
        for number in range(PATIENTS):
            self.patients.append(await self.do(commands.RegisterPatient(name=f"Ünal {number}", phone=f"+49 {number}")))
        await self.do(commands.SetUpClinic(doctor_id=self.doctors[0], date=self.date, capacity=CAPACITY))

    async def do(self, command: Any) -> Any:
        """The id of what it was about; None where it was refused."""
        try:
            return (await self.parts.desk.handle(command, DEVELOPER)).receipt.id
        except Refusal:
            return None

    def late(self) -> datetime | None:
        """When it happened, for what is written down late: minutes ago, or in the very second before."""
        if self.chance.random() < 0.6:
            return None
        ago = timedelta(minutes=self.chance.randrange(40)) if self.chance.random() < 0.7 else timedelta()
        return (self.now - ago).replace(microsecond=0)

    async def live(self, steps: int) -> None:
        for _ in range(steps):
            await self.step()

    async def step(self) -> None:
        chance = self.chance
        self.now += timedelta(seconds=chance.choice((0, 1, 60, 300)), microseconds=chance.randrange(999_999))
        doctor, to = chance.choice(self.doctors), chance.choice(self.doctors)
        patient = chance.choice(self.patients)
        booked = chance.choice(self.appointments) if self.appointments else AppointmentId(uuid4())
        at: dict[str, Any] = {"effective_at": self.late()}
        clinic: dict[str, Any] = {"doctor_id": doctor, "date": self.date}
        one: dict[str, Any] = {"appointment_id": booked}
        people = [
            lambda: commands.ChangePatient(patient_id=patient, name=f"Renamed {chance.randrange(99)}"),
            lambda: commands.ChangeDoctor(doctor_id=doctor, code=f"{chance.randrange(9)}-{uuid4().hex[:8]}"),
        ]
        what: Any = chance.choice(
            [
                *[lambda: commands.BookAppointment(**clinic, patient_id=patient, allow_overlap=True, **at)] * 5,
                *[lambda: commands.CheckIn(**one, **at)] * 5,
                *[lambda: commands.CallNext(**clinic, complete_current=bool(chance.randrange(2)))] * 4,
                lambda: commands.StartConsultation(**one, **at),
                lambda: commands.CompleteConsultation(**one, **at),
                lambda: commands.PutOnHold(**one, **at),
                lambda: commands.Resume(**one, **at),
                lambda: commands.MarkNoShow(**one, **at),
                *[lambda: commands.CancelAppointment(**one, **at)] * 2,
                *[lambda: commands.UndoStep(**one, reason="r", **at)] * 3,
                *[lambda: commands.MoveAppointment(**one, doctor_id=to, allow_overlap=True, reason="r", **at)] * 3,
                lambda: commands.MoveAppointment(**one, slot=1 + chance.randrange(CAPACITY), reason="r", **at),
                lambda: commands.MoveAppointment(
                    **one, date=self.date + timedelta(days=3000), allow_overlap=True, reason="r", **at
                ),
                lambda: commands.ReassignClinic(**clinic, to_doctor_id=to, allow_overlap=True, reason="r", **at),
                lambda: commands.ChangePriority(
                    **one, priority=chance.choice(("routine", "urgent", "emergency")), reason="r", **at
                ),
                lambda: commands.SetUpClinic(
                    **clinic, capacity=CAPACITY + chance.randrange(3), order=chance.choice(("arrival", "slot")), **at
                ),
                lambda: commands.DelayClinic(**clinic, minutes=chance.randrange(3) * 10, **at),
                lambda: commands.CloseClinic(**clinic, **at),
                *[lambda: commands.ReopenClinic(**clinic, **at)] * 2,
                lambda: commands.FinishClinic(**clinic, **at),
                *(people if self.people_change else []),
            ]
        )
        command = what()
        made = await self.do(command)
        if made is not None and isinstance(command, commands.BookAppointment):
            self.appointments.append(AppointmentId(made))

    async def up_to_date(self) -> int:
        head = await read.head(self.parts.pool)
        await self.parts.projector.reached(head, seconds=10)
        return head

    async def facts(self) -> list[Fact]:
        """What the log has of the date."""
        rows = await read.day_after(self.parts.pool, self.date, after=0, limit=10_000)
        return [Fact(row.id, row.recorded_at, codec.facts().to_domain_event(row)) for row in rows]
