"""Waiting for the read model to come as far as somebody has seen."""

from __future__ import annotations

import asyncio

import pytest

from gateway.parts import Parts
from projections.projector import Behind
from tests.log.asking import a_doctor


async def test_who_has_given_up_waiting_leaves_nothing_behind(parts: Parts) -> None:
    """The log may never come to what was asked for."""
    projector = parts.projector
    ahead = projector.position + 2
    waiting = asyncio.create_task(projector.reached(ahead, seconds=10))
    gone = asyncio.create_task(projector.reached(2**62, seconds=10))
    with pytest.raises(Behind):
        await projector.reached(2**63, seconds=0.01)
    gone.cancel()
    await asyncio.wait([gone])
    assert [sequence for sequence, *_ in projector._waiting] == [ahead]

    for _ in range(2):
        await a_doctor(parts)
    await waiting
    assert projector._waiting == []
