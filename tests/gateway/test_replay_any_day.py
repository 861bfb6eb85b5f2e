"""Any day, replayed to its end by any client, is the live day byte for byte; and each state on the way was there."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from aiohttp.test_utils import TestServer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.app import application
from gateway.parts import Parts
from tests.conftest import Database
from tests.projections.late_days import STEPS, Day

END = '{"type":"replay_end"}'
_ENVELOPE = re.compile(r'.*?"data":(.*),"timestamp":"[^"]+"\}(?:,"replay":(.*))?\}')


@asynccontextmanager
async def _served(parts: Parts, database: Database) -> AsyncIterator[aiohttp.ClientSession]:
    async with (
        TestServer(application(database.settings(), parts), host="127.0.0.1") as server,
        aiohttp.ClientSession(server.make_url("/")) as session,
    ):
        yield session


async def _heard(session: aiohttp.ClientSession, path: str, asked: dict[str, object], *, last: str = "") -> list[str]:
    """All that is said until `last`, or the first answer."""
    heard: list[str] = []
    async with session.ws_connect(path, max_msg_size=0) as socket:
        await socket.send_json(asked)
        while (said := await socket.receive_str(timeout=10)) != last:
            heard.append(said)
            if not last:
                break
    return heard


def _data(message: str) -> str:
    """Its data's own bytes, but for the time."""
    found = _ENVELOPE.fullmatch(message)
    assert found is not None
    return found[1]


@settings(
    max_examples=4,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(seed=st.integers(0, 2**32), people_change=st.booleans())
async def test_a_day_replayed_to_its_end_is_the_live_day(
    parts: Parts, database: Database, seed: int, people_change: bool
) -> None:
    """And where everybody stays as registered, GET /queue tells at every sequence what it told then."""
    day = Day(parts, seed, people_change=people_change)
    await day.begin()
    async with _served(parts, database) as session:
        live: dict[int, str] = {}
        for _ in range(STEPS // 2):
            await day.step()
            await day.up_to_date()
            async with session.get(f"/api/v1/queue?date={day.date}") as answer:
                live[parts.projector.position] = _data(await answer.text())
        for path in ("/api/v1/ws/queue", *(f"/api/v1/ws/queue/{doctor}" for doctor in day.doctors)):
            replay = {"action": "replay", "date": str(day.date), "speed": 0}
            replayed = await _heard(session, path, replay, last=END)
            now = await _heard(session, path, {"action": "subscribe", "date": str(day.date)})
            if len(replayed) > 1:
                assert _data(replayed[-1]) == _data(now[0])
        for sequence, data in [] if people_change else live.items():
            async with session.get(f"/api/v1/queue?date={day.date}&sequence={sequence}") as answer:
                assert _data(await answer.text()) == data
