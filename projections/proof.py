"""The board proves itself: every minute one that is loaded is folded anew from the log, and compared byte for byte.

There should never be a difference. Where there is one, something in this process is broken and people are looking at
it: it is counted and logged, by digests that show no patient; the board is replaced, and its monitors are told.
"""

from __future__ import annotations

import asyncio
from datetime import date
from hashlib import sha256
from typing import TYPE_CHECKING, Final

import structlog

from domain.postgres.connect import FAULTS
from projections.board import DayBoard
from projections.boards import POISON, Beside

if TYPE_CHECKING:
    from projections.boards import Boards
    from projections.encoding import Encoder

PROOF_SECONDS: Final = 60.0

log = structlog.get_logger()


class Prover:
    """`proofs` so far, and how many of them found a `differences`."""

    def __init__(self, boards: Boards, encoder: Encoder) -> None:
        self._boards, self._encoder = boards, encoder
        self.proofs = self.differences = 0

    async def run(self) -> None:
        """For ever, one date after another. What cannot be read now is proven another time."""
        turn = 0
        while True:
            await asyncio.sleep(PROOF_SECONDS)
            days = sorted(board.date for board in self._boards.loaded())
            if days:
                turn += 1
                try:
                    await self.prove(days[turn % len(days)])
                except (*FAULTS, *POISON) as fault:
                    log.warning("board_not_proven", fault=type(fault).__name__)

    async def prove(self, day: date) -> bool:
        """Whether a loaded date's board is what the log says. If not, what the log says is shown from now on."""
        async with self._boards.beside(day) as beside:
            shown = self._boards.at_hand(day)
            equal = shown is None or await self._equal(shown, beside)
            if not equal:
                beside.catch_up()
                self._boards.replace(beside.board)
        self.proofs += 1
        self.differences += not equal
        return equal

    async def _equal(self, shown: DayBoard, beside: Beside) -> bool:
        """Clinic by clinic, so that others get their turn in between. No await from each catching up to the
        comparison that follows: both boards stand at the same event."""
        for stream in list(beside.board.clinics):
            beside.catch_up()
            if self._block(shown, stream) != self._block(beside.board, stream):
                self._report(shown, beside.board, stream)
                return False
            await asyncio.sleep(0)
        beside.catch_up()
        if shown.clinics.keys() != beside.board.clinics.keys() or shown.sequence != beside.board.sequence:
            self._report(shown, beside.board, None)
            return False
        return True

    def _block(self, board: DayBoard, stream: str) -> bytes:
        clinic = board.clinics.get(stream)
        return self._encoder.block(board, clinic) if clinic is not None else b""

    def _report(self, shown: DayBoard, right: DayBoard, stream: str | None) -> None:
        digests = [
            sha256(b"".join(self._block(board, each) for each in ([stream] if stream else board.clinics))).hexdigest()
            for board in (shown, right)
        ]
        log.error(
            "board_differs_from_log",
            date=str(shown.date),
            clinic=stream,
            sequence_shown=shown.sequence,
            sequence_in_log=right.sequence,
            digest_shown=digests[0],
            digest_in_log=digests[1],
        )
