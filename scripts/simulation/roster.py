"""Who works in the hospital, and who is coming: all that is settled before anything happens. Pure."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import date
from typing import Final

from domain.rules.commands import RegisterDoctor, RegisterPatient
from domain.rules.events import Order, Priority
from domain.rules.settings import MINUTES_A_DAY, Settings
from gateway.demo.names import a_name
from gateway.demo.people import SPECIALTIES, STAFF, a_priority, someone

LIST_MINUTES: Final = 7 * 60
"""A list is cut so that it takes about this long, as far as whole minutes allow."""
SLOT_MINUTES: Final = (20, 15, 12, 10, 8, 6, 5, 4, 3, 2, 1)
STARTS_MINUTES: Final = (8 * 60, 8 * 60 + 30, 9 * 60, 9 * 60 + 30)
LAST_MINUTE: Final = MINUTES_A_DAY - 10
"""Lists end before this, so that all that is still to be told about a day has room in it."""
WALK_INS: Final = 0.08
SECOND_VISITS: Final = 0.03
"""The share of patients who have another appointment on the same day."""
SLOT_ORDER: Final = 0.1
"""The share of doctors who call by slot instead of by arrival."""
_URGENCIES: Final[tuple[Priority, ...]] = ("routine", "urgent", "emergency")


class DoesNotFit(ValueError):
    """So many patients cannot be seen by so few doctors in one day."""


@dataclass(frozen=True, slots=True)
class Visit:
    """`patient` and `doctor` are numbers in the roster. Who is not booked walks in."""

    patient: int
    doctor: int
    priority: Priority
    booked: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Roster:
    staff: tuple[RegisterDoctor, ...]
    lists: tuple[Settings, ...]
    people: tuple[RegisterPatient, ...]
    visits: tuple[Visit, ...]


def staff(number: int) -> tuple[RegisterDoctor, ...]:
    """The first so many doctors. They are the same for every seed, so that one store can hold many days."""
    return STAFF[:number] + tuple(_a_doctor(n) for n in range(len(STAFF) + 1, number + 1))


def _a_doctor(number: int) -> RegisterDoctor:
    rng = random.Random(f"doctor {number}")
    specialty = list(SPECIALTIES.values())[number % len(SPECIALTIES)]
    return RegisterDoctor(
        name=f"Dr. {a_name(rng, woman=rng.random() < 0.5)}",
        code=f"DOC{number:03}",
        specialty=specialty.name,
        department=specialty.department,
        room=f"Room {1000 + number}",
    )


def roster(rng: random.Random, doctors: int, patients: int, day: date) -> Roster:
    """Raises DoesNotFit."""
    hired = staff(doctors)
    busyness = [rng.uniform(0.7, 1.3) for _ in hired]
    people, visits = [], []
    for patient in range(patients):
        (doctor,) = rng.choices(range(doctors), busyness)
        people.append(someone(rng, SPECIALTIES[hired[doctor].specialty], day))
        visits.append(_visit(rng, patient, doctor))
        if doctors > 1 and rng.random() < SECOND_VISITS:
            visits.append(_visit(rng, patient, (doctor + rng.randrange(1, doctors)) % doctors))
    sizes = [0] * doctors
    for visit in visits:
        sizes[visit.doctor] += 1
    lists = tuple(_list(rng, size, doctor.room) for size, doctor in zip(sizes, hired, strict=True))
    return Roster(staff=hired, lists=lists, people=tuple(people), visits=tuple(visits))


def _visit(rng: random.Random, patient: int, doctor: int) -> Visit:
    if rng.random() < WALK_INS:
        return Visit(patient, doctor, rng.choices(_URGENCIES, (60, 28, 12))[0], booked=False)
    return Visit(patient, doctor, a_priority(rng), booked=True)


def _list(rng: random.Random, visits: int, room: str | None) -> Settings:
    """Some slots more than visits, each as long as all of them together allow."""
    capacity = visits + visits // 8 + 3
    if capacity > LAST_MINUTE:
        raise DoesNotFit(f"{visits} patients on one list cannot be seen in one day: take more doctors")
    slot_minutes = next((m for m in SLOT_MINUTES if m * capacity <= LIST_MINUTES), 1)
    starts = min(rng.choice(STARTS_MINUTES), LAST_MINUTE - slot_minutes * capacity)
    order: Order = "slot" if rng.random() < SLOT_ORDER else "arrival"
    return Settings(
        capacity=capacity,
        starts_at=f"{starts // 60:02}:{starts % 60:02}",
        slot_minutes=slot_minutes,
        room=room,
        order=order,
    )
