"""A date's past, step by step: the board as the log had it at any moment, or as it really was.

A timeline holds a date's events, decoded once, in one of two orders, and keyframes: boards as they were every so many
steps, made when somebody first comes by. To go anywhere is to copy the keyframe before it and to fold the few steps
that are left. All these boards share the appointments that are alike on them, and what is encoded of those: so they
take little memory, and what was encoded for one place need not be for the next.

People are shown as they are registered now, in the past as well: a change of theirs is no step, and takes what was
encoded of them out of every keyframe, and out of every board that was copied from one and is still in use.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Final
from weakref import WeakSet

import msgspec
import structlog

from domain.log import read
from domain.log.codec import EventMapper
from domain.rules.events import AppointmentEvent, ClinicOpened, Event
from domain.rules.ids import AppointmentId, DoctorId, PatientId, clinic_stream
from projections.board import DayBoard, brings
from projections.boards import POISON, Boards, Unavailable, fold_people, no_garbage_collection
from projections.directory import Directory
from projections.shapes import By

if TYPE_CHECKING:
    from domain.postgres.connect import Pool

KEYFRAME_STEPS: Final = 2_000
"""Fewer cost memory, more cost time: half of them are folded, on average, when somebody goes somewhere."""
STEPS_AT_ONCE: Final = 250
"""After so many, others get their turn."""
BUDGET_BYTES: Final = 256 * 2**20
"""How much the timelines that nobody uses may take, together with those in use."""
STEP_BYTES: Final = 900
"""What an event takes in memory, with the state that it carries."""
KEYFRAME_APPOINTMENT_BYTES: Final = 200
"""What an appointment takes in a keyframe. `scripts/bench replay` measures both."""
TIMELINE_BYTES: Final = 8_000
"""What a date takes on which nothing happened."""

START: Final = 0
"""The place before everything."""
END: Final = datetime.max.replace(tzinfo=UTC)
"""The place after everything there is."""

Place = int | datetime
"""Up to and including an event, by its sequence, or all that was recorded, or effective, at a time."""

log = structlog.get_logger()


class Fact(msgspec.Struct, frozen=True):
    """An event, and when the log got to know of it."""

    sequence: int
    recorded_at: datetime
    event: Event


class Step(msgspec.Struct, frozen=True):
    """An event in its place. `at`: when, by the order of the timeline.

    `newest`: the newest sequence among this step and those before it; `newest_of_clinic`: among its clinic's.
    """

    sequence: int
    at: datetime
    event: Event
    newest: int
    newest_of_clinic: int


class Timeline:
    """`steps` in order. `version` is another one when steps came in between those that were there."""

    def __init__(self, day: date, by: By) -> None:
        self.date, self.by = day, by
        self.steps: list[Step] = []
        self.version = 0
        self.patients: set[PatientId] = set()
        self.read_up_to = 0
        """All that the log has of the date up to here is in it."""
        self.reading = asyncio.Lock()
        self.users = 0
        self._facts: list[Fact] = []  # by sequence; by recorded time, `steps` are that already
        self._newest_of: dict[str, int] = {}
        self._keyframes: dict[int, DayBoard] = {0: DayBoard(day)}
        self._lent: WeakSet[DayBoard] = WeakSet()
        self.person_changed: set[Callable[[], None]] = set()
        """Called when somebody looks different: what was shown of it last is not to stay."""
        self._going = asyncio.Lock()

    @property
    def size_bytes(self) -> int:
        """About so much memory."""
        kept = sum(len(board.clinic_of) for board in self._keyframes.values())
        return TIMELINE_BYTES + STEP_BYTES * len(self.steps) + KEYFRAME_APPOINTMENT_BYTES * kept

    # --- growing ---------------------------------------------------------------------------------

    def extend(self, facts: Sequence[Fact], read_up_to: int) -> None:
        """With what the log has after `read_up_to` so far, by sequence."""
        self.read_up_to = read_up_to
        if not facts:
            return
        if self.by == "recorded":
            self._append((fact, fact.recorded_at) for fact in facts)
            return
        self._facts.extend(facts)
        placed = as_it_was(self._facts)
        pairs = zip(self.steps, placed, strict=False)
        if any((step.sequence, step.at) != (fact.sequence, at) for step, (fact, at) in pairs):
            # A late entry belongs to before what is known: what was made of that never was.
            self.steps, self._newest_of, self._keyframes = [], {}, {0: DayBoard(self.date)}
            self.version += 1
        self._append(placed[len(self.steps) :])

    def _append(self, placed: Iterable[tuple[Fact, datetime]]) -> None:
        newest, newest_of = self.steps[-1].newest if self.steps else 0, self._newest_of
        for fact, at in placed:
            stream = fact.event.originator_id
            newest = max(newest, fact.sequence)
            newest_of[stream] = max(newest_of.get(stream, 0), fact.sequence)
            self.steps.append(Step(fact.sequence, at, fact.event, newest, newest_of[stream]))

    # --- going somewhere -------------------------------------------------------------------------

    def number_at(self, place: Place) -> int:
        """How many steps lead there. By effective time, a sequence stands for where its event has its place, and one
        of another date for the event recorded last before it."""
        if isinstance(place, datetime):
            return bisect_right(self.steps, place, key=lambda step: step.at)
        if self.by == "recorded":
            return bisect_right(self.steps, place, key=lambda step: step.sequence)
        known = bisect_right(self._facts, place, key=lambda fact: fact.sequence)
        if not known:
            return 0
        sequence = self._facts[known - 1].sequence
        return next(number for number, step in enumerate(self.steps, 1) if step.sequence == sequence)

    async def board_at(self, place: Place) -> tuple[int, DayBoard]:
        """How many steps lead there, and a board of the asker's own as it was then. Others get their turn meanwhile.

        What is encoded of the board must be encoded while this timeline is kept (see Timelines.opened), and before
        anything else is waited for. Raises Unavailable.
        """
        try:
            async with self._going:
                while (found := await self._gone_to(place)) is None:
                    pass
                return found
        except POISON as error:
            log.error("timeline_unavailable", date=str(self.date), by=self.by, error=repr(error))
            raise Unavailable(self.date) from error

    async def _gone_to(self, place: Place) -> tuple[int, DayBoard] | None:
        """None where steps came in between meanwhile: look again."""
        version, number = self.version, self.number_at(place)
        known = max(kept for kept in self._keyframes if kept <= number)
        board = self._keyframes[known].copy()
        self._lent.add(board)
        for done in range(known, number):
            if done % STEPS_AT_ONCE == 0:
                await asyncio.sleep(0)
            if self.version != version:
                return None
            self.fold(board, done)
        return (number, board) if self.version == version else None

    def fold(self, board: DayBoard, number: int) -> None:
        """The step after so many, onto a board of this timeline that has just those. By effective time sequences do
        not grow, and boards want something that does: there, their positions are numbers of steps."""
        step = self.steps[number]
        board.fold(step.sequence if self.by == "recorded" else number + 1, step.event)
        done = number + 1
        if done % KEYFRAME_STEPS == 0 and done not in self._keyframes:
            self._keyframes[done] = board.copy()

    def sequence(self, board: DayBoard, doctor_id: DoctorId | None) -> int:
        """The newest event that is on a board of this timeline, of all or of one doctor's; 0 where there is none."""
        position = board.sequence
        if doctor_id is not None:
            clinic = board.clinics.get(clinic_stream(doctor_id, self.date))
            position = clinic.changed if clinic is not None else 0
        if self.by == "recorded" or position == 0:
            return position
        step = self.steps[position - 1]
        return step.newest if doctor_id is None else step.newest_of_clinic

    # --- people ----------------------------------------------------------------------------------

    def person_looks_different(self, patient_id: PatientId) -> None:
        if patient_id in self.patients:
            for board in (*self._keyframes.values(), *self._lent):
                board.person_looks_different(patient_id)
            for tell in self.person_changed:
                tell()

    def doctor_looks_different(self, doctor_id: DoctorId) -> None:
        for board in (*self._keyframes.values(), *self._lent):
            board.doctor_looks_different(doctor_id)


def as_it_was(facts: Sequence[Fact]) -> list[tuple[Fact, datetime]]:
    """Facts by sequence become facts by (effective time, sequence), each with the time that it counts as.

    That is its effective time, but for two cases in which what came of it could be no day at all. A clinic that was
    opened late in the record was there on paper: it counts as opened when the first thing in it happened. And an
    appointment's own steps stay in the order that was decided on: their times may be against it by less than a second,
    since late entries are held against what a board shows, and by as much as two servers' clocks differ.
    """
    last: dict[AppointmentId, datetime] = {}
    first: dict[str, datetime] = {}
    placed: list[tuple[Fact, datetime]] = []
    for fact in facts:
        event = fact.event
        at = event.timestamp
        if isinstance(event, AppointmentEvent):
            at = last[event.appointment_id] = max(at, last.get(event.appointment_id, at))
        stream = event.originator_id
        first[stream] = min(at, first.get(stream, at))
        placed.append((fact, at))
    placed = [
        (fact, first[fact.event.originator_id] if isinstance(fact.event, ClinicOpened) else at) for fact, at in placed
    ]
    placed.sort(key=lambda each: (each[1], each[0].sequence))
    return placed


class Timelines:
    """The timelines in memory, each shared by all who look at its date in its order."""

    def __init__(
        self,
        pool: Pool,
        boards: Boards,
        directory: Directory,
        mapper: EventMapper,
        *,
        budget_bytes: int = BUDGET_BYTES,
    ) -> None:
        self._pool, self._boards, self._directory = pool, boards, directory
        self._mapper, self._budget_bytes = mapper, budget_bytes
        self._kept: OrderedDict[tuple[date, By], Timeline] = OrderedDict()

    @asynccontextmanager
    async def opened(self, day: date, by: By) -> AsyncIterator[Timeline]:
        """With all that the projector has folded. It is kept for as long as it is used, and its people at hand.

        Raises Unavailable, and as reading the log does.
        """
        if self._boards.is_broken(day):
            raise Unavailable(day)
        timeline = self._kept.get((day, by))
        if timeline is None:
            timeline = self._kept[day, by] = Timeline(day, by)
        self._kept.move_to_end((day, by))
        timeline.users += 1
        try:
            await self.catch_up(timeline)
            yield timeline
        finally:
            timeline.users -= 1
            self._make_room()

    async def catch_up(self, timeline: Timeline) -> None:
        """With what the projector has folded since it was read, while it is kept. Raises as `opened` does."""
        async with timeline.reading:
            up_to = self._boards.applied
            if up_to <= timeline.read_up_to:
                return
            try:
                with no_garbage_collection():
                    facts = await self._facts(timeline, up_to)
                    new = {who for fact in facts if (who := brings(fact.event)) is not None} - timeline.patients
                    await self._directory.have(new)
            except POISON as error:
                log.error("timeline_unavailable", date=str(timeline.date), by=timeline.by, error=repr(error))
                raise Unavailable(timeline.date) from error
            # No await from here on: whoever is at hand is held from now on.
            self._directory.hold(new)
            timeline.patients |= new
            timeline.extend(facts, up_to)

    async def _facts(self, timeline: Timeline, up_to: int) -> list[Fact]:
        facts: list[Fact] = []
        after = timeline.read_up_to
        while True:
            rows = await read.day_recorded(self._pool, timeline.date, after=after, up_to=up_to)
            facts.extend(Fact(position, at, self._mapper.read(*stored)) for position, at, *stored in rows)
            if len(rows) < read.PAGE_ROWS:
                return facts
            after = rows[-1]["position"]

    async def as_of(self, day: date, sequence: int) -> DayBoard:
        """A board of the asker's own, as the log had it at a position, with what was known of people changing by then.

        What is behind the projector may be encoded, before anything else is waited for.
        """
        if sequence > self._boards.applied:
            # It lags; and what is shared with those who look at people stays behind it.
            board = DayBoard(day)
            await self._boards.read_into(board, sequence)
        else:
            async with self.opened(day, "recorded") as timeline:
                _, board = await timeline.board_at(sequence)
        fold_people(board, self._directory, sequence)
        return board

    def person_changed(self, patient_id: PatientId) -> None:
        """The projector's word, when the directory knows."""
        for timeline in self._kept.values():
            timeline.person_looks_different(patient_id)

    def doctor_changed(self, doctor_id: DoctorId) -> None:
        for timeline in self._kept.values():
            timeline.doctor_looks_different(doctor_id)

    def _make_room(self) -> None:
        """Timelines grow with every keyframe, so this is looked at whenever somebody goes."""
        sizes = {key: timeline.size_bytes for key, timeline in self._kept.items()}
        excess = sum(sizes.values()) - self._budget_bytes
        for key in [key for key, timeline in self._kept.items() if not timeline.users]:
            if excess <= 0:
                return
            excess -= sizes[key]
            self._directory.let_go(self._kept.pop(key).patients)
