"""The one loop of the read side: follow → fold → tell.

If it cannot go on it raises, and the process ends: a board that looks alive and is not is the worst of all.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Sequence
from datetime import date
from typing import TYPE_CHECKING, Final

import structlog

from domain.log import read
from domain.log.codec import EventMapper, Recorded, UnreadableEvent
from domain.postgres.connect import FAULTS
from domain.rules.events import Event, PatientDetailsChanged
from domain.rules.ids import DOCTOR, PATIENT, DoctorId, PatientId
from projections.board import DayBoard, brings
from projections.boards import POISON, Boards
from projections.directory import Directory
from projections.timeline import Timelines

if TYPE_CHECKING:
    from domain.log.follow import Follower
    from domain.postgres.connect import Pool

PEOPLE_RETRY_SECONDS: Final = 0.5

log = structlog.get_logger()


class Behind(Exception):
    """The read model did not reach the position in time."""


class Projector:
    def __init__(
        self,
        pool: Pool,
        follower: Follower,
        boards: Boards,
        timelines: Timelines,
        directory: Directory,
        mapper: EventMapper,
    ) -> None:
        self._pool, self._follower = pool, follower
        self._boards, self._timelines, self._directory, self._mapper = boards, timelines, directory, mapper
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._asked = 0
        self.position = 0
        self.at_end_of_log = 0.0
        """When all that the log held was folded, by the event loop's clock."""
        self.tell: Callable[[DayBoard], None] = lambda board: None
        """Called with each board that changed, once per batch."""

    async def start(self) -> None:
        """Stand at the head of the log. Boards and patients are read when somebody asks for them."""
        self.at_end_of_log = asyncio.get_running_loop().time()
        self._applied(await read.head(self._pool))
        await self._directory.load_doctors()

    async def run(self) -> None:
        """For ever. Raises NewerEvent, HoleInLog, UnreadableEvent."""
        async for batch in self._follower.batches(self.position):
            read_at = asyncio.get_running_loop().time()
            if batch:
                await self._apply(batch)
            if len(batch) < read.PAGE_ROWS:
                self.at_end_of_log = read_at

    async def reached(self, sequence: int, *, seconds: float) -> None:
        """Wait until everything up to `sequence` is folded. Raises Behind."""
        if sequence <= self.position:
            return
        future = asyncio.get_running_loop().create_future()
        self._asked += 1
        heapq.heappush(self._waiting, (sequence, self._asked, future))
        try:
            async with asyncio.timeout(seconds):
                await future
        except TimeoutError:
            raise Behind(sequence) from None

    async def is_in_log(self, sequence: int, *, seconds: float) -> bool:
        """Wait as `reached` does. False where the log itself has not come so far by then. Raises Behind."""
        try:
            await self.reached(sequence, seconds=seconds)
        except Behind:
            if sequence <= await read.head(self._pool):
                raise
            return False
        return True

    async def _apply(self, batch: Sequence[Recorded]) -> None:
        facts = [(row, fact) for row in batch if (fact := self._read(row)) is not None]
        await self._have_people(facts)
        changed: dict[date, DayBoard] = {}
        for row, fact in facts:
            for board in self._fold(row, fact):
                changed[board.date] = board
        self._applied(batch[-1].id)
        for board in changed.values():
            self.tell(board)
        while self._waiting and self._waiting[0][0] <= self.position:
            future = heapq.heappop(self._waiting)[2]
            if not future.done():
                future.set_result(None)

    def _applied(self, position: int) -> None:
        self.position = self._boards.applied = self._directory.applied = position

    def _read(self, row: Recorded) -> Event | None:
        try:
            return self._mapper.to_domain_event(row)
        except UnreadableEvent as error:
            if row.day is None:
                raise
            self._boards.give_up(row.day, error)
            return None

    async def _have_people(self, facts: Sequence[tuple[Recorded, Event]]) -> None:
        """A board that folds a booking must know the patient, and who changes is read with their key. Without the
        store there is nothing to do but wait."""
        tried: set[PatientId] = set()
        while wanted := (self._booked(facts) | self._unreadable(facts)) - tried:  # again: more may have been loaded
            try:
                await self._directory.have(wanted)
                await self._directory.have_keys(wanted)
                tried |= wanted
            except POISON as error:
                for row, fact in facts:
                    if row.day is not None and brings(fact) in wanted:
                        self._boards.give_up(row.day, error)
                tried |= wanted
            except FAULTS as fault:
                log.warning("people_not_readable", fault=type(fault).__name__)
                await asyncio.sleep(PEOPLE_RETRY_SECONDS)

    def _booked(self, facts: Sequence[tuple[Recorded, Event]]) -> set[PatientId]:
        """Patients whom these bookings bring onto a board in memory, and who are not at hand."""
        return {
            patient_id
            for row, fact in facts
            if row.day is not None
            and self._boards.shows(row.day)
            and (patient_id := brings(fact)) is not None
            and self._directory.person(patient_id) is None
        }

    def _unreadable(self, facts: Sequence[tuple[Recorded, Event]]) -> set[PatientId]:
        """Patients at hand whose changes cannot be read yet."""
        changed = (PatientId(row.subject) for row, fact in facts if isinstance(fact, PatientDetailsChanged))
        return {patient_id for patient_id in changed if self._directory.lacks_key(patient_id)}

    def _fold(self, row: Recorded, fact: Event) -> list[DayBoard]:
        """Returns the loaded boards on which somebody may see another state."""
        if row.day is not None:
            board = self._boards.fold(row.day, row.id, fact)
            return [board] if board is not None else []
        kind = fact.originator_id.partition("/")[0]
        if kind == DOCTOR:
            self._directory.fold_doctor(row, fact)
            self._timelines.doctor_changed(DoctorId(row.subject))
            return self._boards.doctor_changed(DoctorId(row.subject), row.id, fact)
        if kind == PATIENT:
            self._directory.fold_patient(row, fact)
            self._timelines.person_changed(PatientId(row.subject))
            return self._boards.person_changed(PatientId(row.subject), row.id, fact)
        return []
