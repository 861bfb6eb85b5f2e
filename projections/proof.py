"""The board proves itself: every minute one that is loaded is folded anew from the log, and compared byte for byte.

There should never be a difference. Where there is one, something in this process is broken, and hospital staff are
looking at it: monitors are told, the difference is logged by digests that show no patient, and the board is replaced.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import date
from hashlib import sha256
from typing import TYPE_CHECKING, Final

import structlog

from domain.postgres.connect import FAULTS
from projections.board import DayBoard
from projections.boards import POISON

if TYPE_CHECKING:
    from projections.boards import Boards
    from projections.encoding import Encoder

PROOF_SECONDS: Final = 60.0

log = structlog.get_logger()


class Prover:
    def __init__(self, boards: Boards, encoder: Encoder) -> None:
        self._boards, self._encoder = boards, encoder
        self._turn = 0
        self.proven: Callable[[bool], None] = lambda held: None
        """Called after each comparison with whether the board was right."""

    async def run(self) -> None:
        """For ever, one date after another. What cannot be read now is proven another time."""
        while True:
            await asyncio.sleep(PROOF_SECONDS)
            days = sorted(board.date for board in self._boards.loaded())
            if days:
                self._turn += 1
                try:
                    await self.prove(days[self._turn % len(days)])
                except (*FAULTS, *POISON) as fault:
                    log.warning("board_not_proven", fault=type(fault).__name__)

    async def prove(self, day: date) -> bool:
        """Whether the loaded board of a date is what the log says. If not, it is replaced by what the log says."""
        async with self._boards.beside(day) as beside:
            shown = next((board for board in self._boards.loaded() if board.date == day), None)
            if shown is None:
                return True
            right = beside.board
            beside.catch_up()
            for stream in list(right.clinics):
                beside.catch_up()  # No await from here to the comparison: both stand at the same event.
                if not self._equal(shown, right, stream):
                    self._boards.replace(right)
                    self.proven(False)
                    return False
                await asyncio.sleep(0)
            beside.catch_up()
            if shown.clinics.keys() != right.clinics.keys() or shown.sequence != right.sequence:
                self._differs(shown, right, "", b"", b"")
                self._boards.replace(right)
                self.proven(False)
                return False
        self.proven(True)
        return True

    def _equal(self, shown: DayBoard, right: DayBoard, stream: str) -> bool:
        clinic = shown.clinics.get(stream)
        ours = self._encoder.block(shown, clinic) if clinic is not None else b""
        theirs = self._encoder.block(right, right.clinics[stream])
        if ours != theirs:
            self._differs(shown, right, stream, ours, theirs)
        return ours == theirs

    def _differs(self, shown: DayBoard, right: DayBoard, stream: str, ours: bytes, theirs: bytes) -> None:
        log.error(
            "board_differs_from_log",
            date=str(shown.date),
            sequence=shown.sequence,
            sequence_in_log=right.sequence,
            clinic=stream,
            shown=sha256(ours).hexdigest(),
            in_log=sha256(theirs).hexdigest(),
        )
