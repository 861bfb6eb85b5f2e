"""A date whose record cannot be read is shown to nobody, whenever that comes out."""

from __future__ import annotations

import asyncio

import pytest

from gateway.parts import Parts
from projections.boards import Unavailable
from tests.projections.test_boards_equal import Morning, afresh


@pytest.mark.parametrize("when", ["while it is loaded", "as soon as it is loaded"])
async def test_a_date_that_is_given_up_is_shown_to_nobody_who_waited_for_it(parts: Parts, when: str) -> None:
    """It would not change any more, and look alive."""
    morning = Morning(parts)
    await morning.begin(doctors=1, patients=1)
    await morning.book(0, 0)
    await morning.up_to_date()
    boards, _ = afresh(parts)
    await boards._directory.load_doctors()
    waiting = asyncio.create_task(boards.get(morning.day))
    for _ in range(2):
        await asyncio.sleep(0)
    if when == "as soon as it is loaded":
        loading = boards._loading[morning.day]
        while not loading.done():  # noqa: ASYNC110 - before whoever waits hears of it
            await asyncio.sleep(0)
    boards.give_up(morning.day, LookupError())
    with pytest.raises(Unavailable):
        await waiting
    assert boards.at_hand(morning.day) is None
