"""Where handing out itself has a defect: nobody goes on looking at an old state, and nothing is left behind."""

from __future__ import annotations

import asyncio
from datetime import date

from domain.desk.outcome import Asker
from domain.rules.commands import RegisterDoctor, SetUpClinic
from domain.rules.ids import DoctorId
from gateway.live.fanout import Fanout
from gateway.live.frames import Frame
from gateway.parts import Parts
from projections.views import EVERYBODY

DAY = date(2031, 5, 12)
NO_SOCKET = -1
ASKER = Asker(actor="reception-1", role="reception")


class Watching:
    """Takes what it is offered; counts."""

    window_bits = 0

    def __init__(self) -> None:
        self.lost = self.offered = 0
        self.hears_it = asyncio.Event()

    def offer(self) -> None:
        self.offered += 1

    def finish(self, frame: Frame, sent: int) -> None:
        raise RuntimeError("a defect")

    def begin_again(self) -> None: ...

    def lose(self) -> None:
        self.lost += 1
        self.hears_it.set()


async def _set_up_clinic(parts: Parts, doctor: DoctorId, capacity: int) -> None:
    await parts.desk.handle(SetUpClinic(doctor_id=doctor, date=DAY, capacity=capacity), ASKER)


async def test_all_who_watch_a_date_hear_that_it_cannot_be_shown_any_more(parts: Parts) -> None:
    fanout = Fanout(parts)
    parts.projector.tell, parts.boards.given_up = fanout.tell, fanout.give_up
    done = await parts.desk.handle(RegisterDoctor(name="Dr. A", code="A1", specialty="Eyes"), ASKER)
    doctor = DoctorId(done.receipt.id)
    await _set_up_clinic(parts, doctor, 10)
    board = await parts.boards.get(DAY)
    in_a_crowd, alone = Watching(), Watching()
    stream = fanout.join(board, EVERYBODY, in_a_crowd, deltas=False)
    fanout.join(board, EVERYBODY, alone, deltas=False)
    stream.step_in(in_a_crowd, NO_SOCKET)

    await _set_up_clinic(parts, doctor, 11)
    async with asyncio.timeout(5):
        await alone.hears_it.wait()
    assert (in_a_crowd.lost, alone.lost, alone.offered) == (1, 1, 0)
    assert board not in parts.boards.loaded()
