"""Days of different sizes, on which everybody has come and nobody has been called yet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date

from domain.rules.commands import SetUpClinic
from domain.rules.ids import AppointmentId, DoctorId
from gateway.parts import Parts
from scripts.benchmarks import hospital


@dataclass(frozen=True, slots=True)
class Size:
    clinics: int
    each: int
    """Patients of each clinic."""

    @property
    def appointments(self) -> int:
        return self.clinics * self.each


@dataclass(frozen=True, slots=True)
class Morning:
    date: date
    clinics: dict[DoctorId, list[AppointmentId]]

    @property
    def appointments(self) -> Iterator[AppointmentId]:
        for clinic in self.clinics.values():
            yield from clinic


async def dawn(parts: Parts, days: Mapping[date, Size]) -> list[Morning]:
    """Each with the same doctors and patients from the first on. It is nine o'clock, today whatever it is."""
    doctors = await hospital.hire(parts, max(size.clinics for size in days.values()))
    patients = await hospital.register(parts, max(size.appointments for size in days.values()))
    mornings: list[Morning] = []
    for day, size in days.items():
        if day != parts.today():
            hospital.turn_clock_to(parts, day)
        if size.each:
            booked = await hospital.book(parts, day, doctors[: size.clinics], patients[: size.appointments])
        else:
            booked = {doctor: await _open(parts, day, doctor) for doctor in doctors[: size.clinics]}
        mornings.append(Morning(day, booked))
        await hospital.check_in(parts, mornings[-1].appointments)
    return mornings


async def _open(parts: Parts, day: date, doctor: DoctorId) -> list[AppointmentId]:
    """With nobody on the list."""
    await hospital.do(parts, SetUpClinic(doctor_id=doctor, date=day, capacity=30))
    return []
