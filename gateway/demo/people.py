"""Who works in the made-up hospital, and who comes to it."""

from __future__ import annotations

import random
from datetime import date, datetime, timedelta
from typing import Final, Literal

import msgspec

from domain.rules.commands import Gender, RegisterDoctor, RegisterPatient
from domain.rules.events import Priority
from gateway.demo.names import a_name

Sex = Literal["female", "male"]

_DAYS_A_YEAR: Final = 365.25


class Specialty(msgspec.Struct, frozen=True):
    """How old its patients are, and whether only women come."""

    name: str
    department: str
    ages: tuple[int, int]
    women_only: bool = False


CARDIOLOGY: Final = Specialty("Cardiology", "Internal medicine", (38, 91))
PAEDIATRICS: Final = Specialty("Paediatrics", "Mother and child", (0, 16))
ORTHOPAEDICS: Final = Specialty("Orthopaedics", "Surgery", (9, 88))
DERMATOLOGY: Final = Specialty("Dermatology", "Outpatients", (3, 85))
OBSTETRICS: Final = Specialty("Obstetrics", "Mother and child", (18, 46), women_only=True)
GENERAL_MEDICINE: Final = Specialty("General medicine", "Outpatients", (16, 99))

_STAFF: Final = (
    ("Dr. Amara Okafor", CARDIOLOGY),
    ("Dr. Rajeshwari Venkatesan", CARDIOLOGY),
    ("Dr. Åsa Lindqvist", PAEDIATRICS),
    ("د. سلمى البغدادي", PAEDIATRICS),
    ("Dr. Tomáš Novotník", ORTHOPAEDICS),
    ("Dr. Kaimana Kealoha", ORTHOPAEDICS),
    ("小野寺 由美子", DERMATOLOGY),
    ("Dr. Joaquín Belmonte Ibáñez", DERMATOLOGY),
    ("Dr. Ngozi Adeyemi-Clarke", OBSTETRICS),
    ("डॉ. मीनाक्षी त्रिपाठी", OBSTETRICS),
    ("Dr. Cillian Ashdown", GENERAL_MEDICINE),
    ("Воробьёва Дарья Олеговна", GENERAL_MEDICINE),
)

STAFF: Final = tuple(
    RegisterDoctor(
        name=name,
        code=f"DOC{number:03}",
        specialty=specialty.name,
        department=specialty.department,
        room=f"Room {100 * (1 + number // 7) + number}",
    )
    for number, (name, specialty) in enumerate(_STAFF, 1)
)
SPECIALTIES: Final = {specialty.name: specialty for _, specialty in _STAFF}


def someone(rng: random.Random, specialty: Specialty, today: date, at: datetime | None = None) -> RegisterPatient:
    """A patient for that specialty, registered `at`, or now."""
    sex: Sex = "female" if specialty.women_only or rng.random() < 0.52 else "male"
    gender: Gender = rng.choices((sex, "other", "unknown"), (96, 2, 2))[0]
    youngest, oldest = specialty.ages
    return RegisterPatient(
        name=a_name(rng, woman=sex == "female"),
        # No country has the code 999, and in films everybody's number begins with 555.
        phone=f"+999 555 {rng.randrange(10_000):04}" if rng.random() < 0.85 else None,
        birth_date=today - timedelta(days=int(rng.uniform(youngest, oldest + 1) * _DAYS_A_YEAR)),
        gender=gender,
        private=True if rng.random() < 0.03 else None,
        effective_at=at,
    )


def a_priority(rng: random.Random) -> Priority:
    return rng.choices(_PRIORITIES, (86, 11, 3))[0]


_PRIORITIES: Final[tuple[Priority, ...]] = ("routine", "urgent", "emergency")
