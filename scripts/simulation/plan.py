"""The whole day of a hospital as timed steps. Pure: the same seed, size and date always give the same plan."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import date

from scripts.simulation import consulting, reception
from scripts.simulation.hospital import Hospital, Step
from scripts.simulation.roster import Roster, roster


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """`steps` are in order of time. What they say of a list has to be carried out in their order."""

    day: date
    roster: Roster
    steps: tuple[Step, ...]


def plan(seed: int, doctors: int, patients: int, day: date) -> Plan:
    """Raises DoesNotFit."""
    rng = random.Random(f"{seed} {doctors} {patients} {day}")
    who = roster(rng, doctors, patients, day)
    hospital = Hospital(rng, who)
    for on in hospital.lists:
        hospital.begin(reception.front_desk(hospital, on))
        hospital.begin(consulting.doctor(hospital, on))
    for case in hospital.cases:
        hospital.begin(reception.patient(hospital, case) if case.visit.booked else reception.walk_in(hospital, case))
    hospital.run()
    return Plan(day=day, roster=who, steps=tuple(hospital.steps))
