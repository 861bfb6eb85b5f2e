"""What is asked before there is anything to show."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Callable
from typing import Final, TypeVar
from uuid import UUID

import aiohttp
import msgspec

from gateway.client import NotAdmitted, WatchEnded
from gateway.client.hearing import UNREADABLE
from gateway.client.link import UNREACHED, delay_seconds, is_final, server, server_address, unreachable

ANSWER_SECONDS: Final = 10.0


class _Day(msgspec.Struct, frozen=True):
    date: datetime.date
    timestamp: datetime.datetime


class _Queue(msgspec.Struct, frozen=True):
    data: _Day


class _Card(msgspec.Struct, frozen=True):
    id: UUID
    code: str


class _Doctors(msgspec.Struct, frozen=True):
    doctors: list[_Card]


Answer = TypeVar("Answer", _Queue, _Doctors)


class UnknownDoctor(WatchEnded):
    def __init__(self, doctor: str) -> None:
        super().__init__(f"there is no doctor {doctor!r}")


class Reception:
    """What is asked before there is anything to watch. A server that does not answer is asked again."""

    def __init__(self, session: aiohttp.ClientSession, url: str, say: Callable[[str], None]) -> None:
        self._session, self._say = session, say
        self._api = server_address(url) / "api/v1"

    async def today(self) -> datetime.date:
        return (await self._get(_Queue, "queue")).data.date

    async def doctor_id(self, doctor: str) -> UUID:
        """By code, or by id."""
        for card in (await self._get(_Doctors, "doctors")).doctors:
            if doctor.casefold() in (card.code.casefold(), str(card.id)):
                return card.id
        raise UnknownDoctor(doctor)

    async def time_on(self, date: datetime.date, clock: datetime.time) -> datetime.datetime:
        """What the hospital's clock says, with the offset that it has there and then."""
        told = await self._get(_Queue, "queue", date=date.isoformat(), at=f"{date}T{clock:%H:%M:%S}Z")
        return datetime.datetime.combine(date, clock, told.data.timestamp.tzinfo)

    async def _get(self, kind: type[Answer], path: str, **query: str) -> Answer:
        failures = 0
        while True:
            try:
                async with self._session.get((self._api / path).with_query(query)) as response:
                    if response.ok:
                        return msgspec.json.decode(await response.read(), type=kind)
                    if is_final(response.status):
                        raise NotAdmitted(response.status, f"HTTP {response.status}")
                    trouble = f"{server(self._api)} answers HTTP {response.status}"
            except UNREADABLE:  # such as a proxy's page, said to be fine
                trouble = f"{server(self._api)} answers what no server of Daysheet would"
            except UNREACHED as error:
                trouble = unreachable(self._api, error)
            self._say(f"{trouble}; trying again")
            await asyncio.sleep(delay_seconds(failures))
            failures += 1
