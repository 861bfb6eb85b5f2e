"""The hospital as the plan sees it: lists, lines, and simulated time. It keeps in step with what a server would say.

Time is in seconds after the day's midnight; before it they are negative. Whoever lives here is a generator that yields
the second at which it wants to go on.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final, Literal

from domain.rules.commands import RegisterDoctor
from domain.rules.events import NO_TIME, Priority
from domain.rules.line import Place, place
from domain.rules.settings import Settings
from scripts.simulation.roster import LAST_MINUTE, Roster, Visit

MINUTE: Final = 60
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR
OPENED_AT: Final = -15 * DAY
"""Lists are opened, and then filled during two weeks."""

Life = Iterator[int]
Stage = Literal["expected", "waiting", "called", "in_consultation", "on_hold", "gone"]
Kind = Literal[
    "set_up", "register", "correct", "book", "walk_in", "check_in", "call_next", "call", "recall", "start", "complete",
    "hold", "resume", "cancel", "no_show", "priority", "move", "undo", "delay", "close", "reopen", "reassign", "finish",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Step:
    """One command. `list` is the number of the doctor whose list it is about; `to` another one, for what moves there.

    `told`: what the request holds beside ids and dates.
    """

    at: int
    kind: Kind
    list: int
    visit: int | None = None
    to: int | None = None
    told: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class Case:
    """A visit as it goes. `slot` is None until it is booked; `arrived`: when, and as the how-manieth step."""

    number: int
    visit: Visit
    list: int
    priority: Priority
    slot: int | None = None
    stage: Stage = "expected"
    arrived: tuple[int, int] = (0, 0)
    was_called: bool = False

    def is_at(self, *stages: Stage) -> bool:
        """A question of its own, since while one life sleeps another changes the answer."""
        return self.stage in stages


@dataclass(slots=True, eq=False)
class List:
    """One doctor's list. `in_the_room`: the last who was called, and not completed yet."""

    number: int
    doctor: RegisterDoctor
    settings: Settings
    taken: dict[int, Case] = field(default_factory=dict)
    waiting: set[Case] = field(default_factory=set)
    in_the_room: Case | None = None
    is_open: bool = True
    is_over: bool = False
    last_due: int = 0

    def due(self, slot: int) -> int:
        """When the clock says it is this slot's turn."""
        return self.settings.span(slot).starts * MINUTE

    def free(self) -> list[int]:
        return [slot for slot in range(1, self.settings.capacity + 1) if slot not in self.taken]

    def place(self, case: Case) -> Place:
        arrived_at, arrival = case.arrived
        return place(
            self.settings.order,
            priority=case.priority,
            arrived_at=NO_TIME + timedelta(seconds=arrived_at),
            arrival=arrival,
            slot=case.slot or 0,
        )

    def line(self) -> list[Case]:
        return sorted(self.waiting, key=self.place)


class Hospital:
    def __init__(self, rng: random.Random, roster: Roster) -> None:
        self.rng, self.now = rng, OPENED_AT
        self.lists = [
            List(n, doctor, settings)
            for n, (doctor, settings) in enumerate(zip(roster.staff, roster.lists, strict=True))
        ]
        self.cases = [Case(n, visit, visit.doctor, visit.priority) for n, visit in enumerate(roster.visits)]
        self.registered: set[int] = set()
        self.steps: list[Step] = []
        self._due: list[tuple[int, int, Life]] = []
        self._lives = 0

    # --- time ------------------------------------------------------------------------------------

    def begin(self, life: Life) -> None:
        self._lives += 1
        self._go_on(self._lives, life)

    def run(self) -> None:
        """Until nobody has anything left to do."""
        while self._due:
            self.now, number, life = heapq.heappop(self._due)
            self._go_on(number, life)

    def _go_on(self, number: int, life: Life) -> None:
        at = next(life, None)
        if at is not None:
            heapq.heappush(self._due, (max(at, self.now), number, life))

    def after(self, shortest_minutes: float, longest_minutes: float) -> int:
        """A moment so many minutes from now."""
        return self.now + round(self.rng.uniform(shortest_minutes, longest_minutes) * MINUTE)

    def chance(self, share: float) -> bool:
        return self.rng.random() < share

    # --- what happens ----------------------------------------------------------------------------

    def tell(self, kind: Kind, about: Case | List, *, to: int | None = None, **told: Any) -> None:
        on, visit = (about.list, about.number) if isinstance(about, Case) else (about.number, None)
        self.steps.append(Step(self.now, kind, on, visit, to, told))

    def list_of(self, case: Case) -> List:
        return self.lists[case.list]

    def becomes(self, case: Case, stage: Stage) -> None:
        case.stage = stage
        waiting = self.lists[case.list].waiting
        (waiting.add if stage == "waiting" else waiting.discard)(case)

    def arrives(self, case: Case) -> None:
        case.arrived = self.now, len(self.steps)
        self.becomes(case, "waiting")

    def takes(self, case: Case, slot: int) -> None:
        """Another slot than before, on the list it is on."""
        self.leaves_slot(case)
        on = self.list_of(case)
        on.taken[slot], case.slot = case, slot
        on.last_due = max(on.last_due, on.due(slot))

    def leaves_slot(self, case: Case) -> None:
        taken = self.list_of(case).taken
        if case.slot is not None and taken.get(case.slot) is case:
            del taken[case.slot]

    def goes_to(self, case: Case, there: List, slot: int) -> None:
        """To another doctor, as whoever the patient is by now. Who was called is waiting again."""
        self.leaves_slot(case)
        self.list_of(case).waiting.discard(case)
        case.list, case.slot = there.number, None
        self.takes(case, slot)
        if case.stage not in ("expected", "on_hold"):
            case.arrived = case.arrived[0], len(self.steps)
            self.becomes(case, "waiting")

    def is_over(self, on: List) -> None:
        """The doctor has gone home."""
        on.is_over, on.is_open = True, False
        for case in self.cases_on(on):
            self.becomes(case, "gone")

    def cases_on(self, on: List) -> list[Case]:
        """Whoever has a slot and is still to be seen, by slot."""
        return [case for _, case in sorted(on.taken.items()) if case.stage != "gone"]

    def colleagues(self, on: List) -> list[List]:
        """Who is at work, and takes patients. Of the same specialty, if there is anybody."""
        at_work = [other for other in self.lists if other is not on and other.is_open]
        return [other for other in at_work if other.doctor.specialty == on.doctor.specialty] or at_work


def fits(settings: Settings, capacity: int) -> bool:
    starts = settings.span(1).starts
    return starts + capacity * settings.slot_minutes <= LAST_MINUTE
