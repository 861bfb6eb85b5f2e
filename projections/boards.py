"""Which dates are in memory: loaded on demand by the day's index, let go when nobody watches and room is short."""

from __future__ import annotations

import asyncio
import gc
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Final

import structlog

from domain.log import read
from domain.log.codec import EventMapper, UnreadableEvent
from domain.rules.events import Event
from domain.rules.ids import DoctorId, PatientId
from domain.vault.master import WrongMasterKey
from domain.vault.sealing import Tampered
from projections.board import DayBoard, brings
from projections.directory import Directory

if TYPE_CHECKING:
    from domain.postgres.connect import Pool

BUDGET_BYTES: Final = 512 * 2**20
"""How much the boards that nobody watches may take, together with the watched ones."""
APPOINTMENT_BYTES: Final = 3_900
"""What one appointment takes, its patient and its cached bytes included: `scripts/bench memory` measures it."""
BOARD_BYTES: Final = 8_000
"""What a date with nobody on it takes: whoever asks for every date of a century must not fill the memory."""
PROOF_ROWS: Final = 500
"""Folding them takes a millisecond or two: nobody has asked for it, so nobody should feel it."""

log = structlog.get_logger()


POISON: Final = (UnreadableEvent, LookupError, Tampered, WrongMasterKey)
"""Bytes that are no event, an event of something that is not there, a patient whose details cannot be opened."""


class Unavailable(Exception):
    """This date cannot be shown: its record cannot be read. Others can."""


@dataclass(frozen=True, slots=True)
class _Arrival:
    """An event on its way to a board that is being loaded. `fold_into` says whether it changed what is shown."""

    event: Event
    fold_into: Callable[[DayBoard], bool]


class Beside:
    """A board folded anew from the log, beside the one that is shown."""

    def __init__(self, board: DayBoard, arrived: list[_Arrival]) -> None:
        self.board = board
        self._arrived = arrived

    def catch_up(self) -> None:
        """Fold what the projector has folded meanwhile."""
        for arrival in self._arrived:
            arrival.fold_into(self.board)
        self._arrived.clear()


class Boards:
    def __init__(
        self, pool: Pool, directory: Directory, mapper: EventMapper, *, budget_bytes: int = BUDGET_BYTES
    ) -> None:
        self._pool, self._directory, self._mapper = pool, directory, mapper
        self._budget_bytes = budget_bytes
        self._loaded: OrderedDict[date, DayBoard] = OrderedDict()
        self._loading: dict[date, asyncio.Task[DayBoard]] = {}
        self._arrived: dict[date, list[_Arrival]] = {}
        self._watched: dict[date, int] = {}
        self._broken: set[date] = set()
        self.given_up: Callable[[DayBoard], None] = lambda board: None
        """Called with a board that was loaded and can no longer be shown."""
        self.replaced: Callable[[DayBoard, DayBoard], None] = lambda wrong, right: None
        """Called with a board that was wrong, and the one that is shown from now on."""
        self.applied = 0
        """The projector's position: every loaded board has folded all there is up to here."""

    # --- asking ----------------------------------------------------------------------------------

    async def get(self, day: date) -> DayBoard:
        """The board of a date, up to date with `applied`. Raises Unavailable."""
        if day in self._broken:
            raise Unavailable(day)
        board = self._loaded.get(day)
        if board is None:
            task = self._loading.get(day)
            if task is None:
                task = self._loading[day] = asyncio.create_task(self._load(day))
                task.add_done_callback(lambda _: self._loading.pop(day, None))
            # Whoever asked first may go; the others still wait.
            board = await asyncio.shield(task)
            if day in self._broken:  # since it was loaded
                raise Unavailable(day)
        else:
            self._loaded.move_to_end(day)
        return board

    def at_hand(self, day: date) -> DayBoard | None:
        """The board of a date, if it is loaded."""
        return self._loaded.get(day)

    def loaded(self) -> Iterator[DayBoard]:
        return iter(self._loaded.values())

    def is_broken(self, day: date) -> bool:
        return day in self._broken

    def keep(self, day: date) -> None:
        """While somebody watches a date it stays. As often as this is said, `release` has to be."""
        self._watched[day] = self._watched.get(day, 0) + 1

    def release(self, day: date) -> None:
        self._watched[day] -= 1
        if not self._watched[day]:
            del self._watched[day]

    # --- loading ---------------------------------------------------------------------------------

    async def _load(self, day: date) -> DayBoard:
        self._arrived[day] = []  # What the projector folds meanwhile is kept for us.
        up_to = self.applied
        try:
            board = DayBoard(day)
            with no_garbage_collection():
                await self.read_into(board, up_to)
                await self._directory.have([*board.patients(), *self._booked_meanwhile(day)])
            while any(self._directory.person(late) is None for late in self._booked_meanwhile(day)):
                await self._directory.have([*board.patients(), *self._booked_meanwhile(day)])
            # From here to the end there is no await: nothing can arrive unseen.
            fold_people(board, self._directory, up_to)
            for arrival in self._arrived[day]:
                arrival.fold_into(board)
        except POISON as error:
            self.give_up(day, error)
            raise Unavailable(day) from error
        finally:
            del self._arrived[day]
        if day in self._broken:  # It was given up while it was loaded: something of it was not to be read.
            raise Unavailable(day)
        self._directory.hold(board.patients())
        self._loaded[day] = board
        self._make_room()
        return board

    async def read_into(self, board: DayBoard, up_to: int, *, rows_at_once: int = read.PAGE_ROWS) -> None:
        """Fold into an empty board what the log has of its date up to a position."""
        after = 0
        while True:
            rows = await read.day(self._pool, board.date, after=after, up_to=up_to, limit=rows_at_once)
            for position, stored_type, data, stream, version, subject, meta in rows:
                board.fold(position, self._mapper.read(stored_type, data, stream, version, subject, meta))
            if len(rows) < rows_at_once:
                return
            after = rows[-1]["position"]

    def _booked_meanwhile(self, day: date) -> list[PatientId]:
        arrived = (arrival.event for arrival in self._arrived[day])
        return [patient_id for event in arrived if (patient_id := brings(event)) is not None]

    @asynccontextmanager
    async def beside(self, day: date) -> AsyncIterator[Beside]:
        """A loaded date's board, folded anew and kept up to date by `catch_up`. Raises as reading the log does."""
        arrived = self._arrived[day] = []  # Nobody is loading what is loaded.
        up_to = self.applied
        self.keep(day)
        try:
            board = DayBoard(day)
            await self.read_into(board, up_to, rows_at_once=PROOF_ROWS)
            fold_people(board, self._directory, up_to)
            yield Beside(board, arrived)
        finally:
            self.release(day)
            del self._arrived[day]

    def replace(self, right: DayBoard) -> None:
        """Show this one from now on: what is shown of its date is wrong."""
        wrong = self._loaded[right.date]
        self._directory.hold(right.patients())
        self._directory.let_go(wrong.patients())
        self._loaded[right.date] = right
        self.replaced(wrong, right)

    # --- following -------------------------------------------------------------------------------

    def shows(self, day: date) -> bool:
        """Whether events of this date have to be folded."""
        return day in self._loaded or day in self._arrived

    def fold(self, day: date, position: int, event: Event) -> DayBoard | None:
        """One event of a date, with its patient at hand. Returns the board it changed, if that is loaded."""
        if day in self._arrived:
            self._arrived[day].append(_Arrival(event, lambda board: board.fold(position, event)))
        board = self._loaded.get(day)
        if board is not None:
            if (patient_id := brings(event)) is not None and patient_id not in board.by_patient:
                self._directory.hold([patient_id])
            try:
                board.fold(position, event)
            except POISON as error:
                self.give_up(day, error)
                return None
        return board

    def person_changed(self, patient_id: PatientId, position: int, event: Event) -> list[DayBoard]:
        """Returns the loaded boards that show this patient."""
        name = type(event).__name__
        return self._everywhere(_Arrival(event, lambda board: board.person_changed(patient_id, position, name)))

    def doctor_changed(self, doctor_id: DoctorId, position: int, event: Event) -> list[DayBoard]:
        """Returns the loaded boards: one doctor may be watched on any of them, also without a clinic there."""
        name = type(event).__name__
        self._everywhere(_Arrival(event, lambda board: board.doctor_changed(doctor_id, position, name)))
        return list(self._loaded.values())

    def _everywhere(self, change: _Arrival) -> list[DayBoard]:
        for arrived in self._arrived.values():
            arrived.append(change)
        return [board for board in self._loaded.values() if change.fold_into(board)]

    def give_up(self, day: date, error: Exception) -> None:
        """This date's record cannot be read: say so, and go on with the others."""
        log.error("day_unavailable", date=str(day), error=repr(error))
        self._broken.add(day)
        board = self._loaded.get(day)
        if board is not None:
            self._drop(day)
            self.given_up(board)

    # --- letting go ------------------------------------------------------------------------------

    def _make_room(self) -> None:
        sizes = {day: BOARD_BYTES + APPOINTMENT_BYTES * len(board.clinic_of) for day, board in self._loaded.items()}
        excess = sum(sizes.values()) - self._budget_bytes
        newest = next(reversed(self._loaded))
        for day in [day for day in self._loaded if day not in self._watched and day != newest]:
            if excess <= 0:
                return
            excess -= sizes[day]
            self._drop(day)

    def _drop(self, day: date) -> None:
        board = self._loaded.pop(day, None)
        if board is not None:
            self._directory.let_go(board.patients())


def fold_people(board: DayBoard, directory: Directory, up_to: int) -> None:
    """Everybody's last event, as far as it is not after a position. Of people, boards know no more than that.

    Of whoever changed after it nothing earlier is known any more: then the board cannot tell what happened before.
    """
    for patient_id in board.patients():
        person = directory.person(patient_id)
        if person is None or person.sequence > up_to:
            board.tells_from(up_to)
        else:
            board.person_was_changed(patient_id, person.sequence, person.last_event)
    for clinic in board.clinics.values():
        doctor = directory.doctors.get(clinic.doctor_id)
        if doctor is None or doctor.sequence > up_to:
            board.tells_from(up_to)
        else:
            board.doctor_was_changed(clinic, doctor.sequence, directory.doctors_last_event[clinic.doctor_id])


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Thousands of new objects and none of them garbage: looking for it costs a third of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
