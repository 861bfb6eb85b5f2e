"""What has happened in a clinic since it began, for whatever hour it is. Pure: the clock and chance come in."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Final, Literal
from zoneinfo import ZoneInfo

from domain.rules.events import Priority
from domain.rules.line import Place, place
from domain.rules.settings import MINUTES_A_DAY
from gateway.demo.people import a_priority

UNDER_WAY: Final = timedelta(minutes=90)
PATIENTS: Final = (13, 17)
APART_MINUTES: Final = 9
"""From one on the list to the next. Slots are shorter: those between are left for whoever calls during the day."""
SLOTS_APART: Final = 3
CONSULTATION_SECONDS: Final = (8 * 60, 12 * 60)
LINE: Final = range(2, 7)
"""How many should be waiting now. Only a day that has just begun has fewer."""
_TRIES: Final = 100
_STARTS_ON: Final = 5
_ENTERED_BEFORE: Final = timedelta(minutes=60)
"""Before the first of the list may come: nothing happens to an appointment that is not there yet."""
_RANK: Final = {"check_in": 0, "call": 1, "complete": 2}


@dataclass(frozen=True, slots=True)
class Visit:
    """Somebody on the list. `arrives_at` may lie in the future, and is None for one who is not going to come."""

    slot: int
    priority: Priority
    arrives_at: datetime | None


@dataclass(frozen=True, slots=True)
class Step:
    """`visit` is its index in the morning's visits."""

    at: datetime
    kind: Literal["check_in", "call", "complete"]
    visit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Morning:
    """One clinic: how it was set up and booked at `entered_at`, and what happened since, in order."""

    starts_at: str
    slot_minutes: int
    capacity: int
    entered_at: datetime
    visits: tuple[Visit, ...]
    steps: tuple[Step, ...]

    @property
    def waiting(self) -> int:
        kinds = [step.kind for step in self.steps]
        return kinds.count("check_in") - kinds.count("call")


def plan(now: datetime, zone: ZoneInfo, rng: random.Random) -> Morning:
    """A clinic that began about 90 minutes ago, or at midnight where that is later."""
    # Mornings differ, and some end with nobody waiting: take one that a newcomer would like to look at.
    tries = (_a_try(now, zone, rng) for _ in range(_TRIES))
    return next((one for one in tries if one.waiting in LINE), None) or _a_try(now, zone, rng)


def _a_try(now: datetime, zone: ZoneInfo, rng: random.Random) -> Morning:
    began, midnight = _began(now, zone)
    wall = began.astimezone(zone)
    room = MINUTES_A_DAY - wall.hour * 60 - wall.minute
    apart_minutes = min(APART_MINUTES, max(1, room // PATIENTS[1]))
    slot_minutes = max(1, apart_minutes // SLOTS_APART)
    slots = range(1, room // slot_minutes + 1, apart_minutes // slot_minutes)[: rng.randint(*PATIENTS)]
    due = [began + timedelta(minutes=(slot - 1) * slot_minutes) for slot in slots]
    visits = [Visit(slot, a_priority(rng), _arrival(at, midnight, rng)) for slot, at in zip(slots, due, strict=True)]
    steps = sorted(_steps(visits, began, now, rng), key=lambda step: (step.at, _RANK[step.kind]))
    return Morning(
        starts_at=f"{wall:%H:%M}",
        slot_minutes=slot_minutes,
        capacity=slots[-1],
        entered_at=began - _ENTERED_BEFORE,
        visits=tuple(visits),
        steps=tuple(steps),
    )


def _began(now: datetime, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """When clinics began, on a round time of the clock on the wall; and today's first moment."""
    # Where the clock leaves midnight out, this is the moment at which it does.
    midnight = datetime.combine(now.astimezone(zone), time(), zone).astimezone(UTC)
    wall = max(now - UNDER_WAY, midnight).astimezone(zone)
    wall = wall.replace(minute=wall.minute - wall.minute % _STARTS_ON, second=0, microsecond=0)
    return wall.astimezone(UTC), midnight


def _arrival(due: datetime, midnight: datetime, rng: random.Random) -> datetime | None:
    """Most come a good while before their time. Nobody can check in before the day has begun."""
    if rng.random() < 0.04:
        return None
    at = due - timedelta(seconds=rng.randint(3 * 60, 32 * 60))
    return at if at > midnight else midnight + timedelta(seconds=rng.randint(0, 12 * 60))


def _steps(visits: Sequence[Visit], began: datetime, now: datetime, rng: random.Random) -> Iterator[Step]:
    """The doctor sees them one by one, in the order of the line, until now."""
    arrivals = sorted((v.arrives_at, n) for n, v in enumerate(visits) if v.arrives_at is not None)
    unseen = [(at, n) for at, n in arrivals if at <= now]
    yield from (Step(at, "check_in", n) for at, n in unseen)
    free = began + timedelta(seconds=rng.randint(0, 240))
    while unseen:
        # With nobody here, the doctor waits for the next to come.
        free = max(free, unseen[0][0] + timedelta(seconds=rng.randint(5, 30)))
        if free > now:
            return
        first = min((here for here in unseen if here[0] <= free), key=lambda here: _place(visits[here[1]], *here))
        unseen.remove(first)
        yield Step(free, "call", first[1])
        done = free + timedelta(seconds=rng.randint(*CONSULTATION_SECONDS))
        if done > now:
            return
        yield Step(done, "complete", first[1])
        free = done + timedelta(seconds=rng.randint(10, 50))


def _place(visit: Visit, arrived_at: datetime, arrival: int) -> Place:
    return place("arrival", priority=visit.priority, arrived_at=arrived_at, arrival=arrival, slot=visit.slot)
