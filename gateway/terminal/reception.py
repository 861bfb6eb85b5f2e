"""What is asked before there is anything to show."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Callable
from typing import Any, Final
from uuid import UUID

import aiohttp

from gateway.client import NotAdmitted, WatchEnded
from gateway.client.link import delay_seconds, server_address, unreachable

ANSWER_SECONDS: Final = 10.0


class UnknownDoctor(WatchEnded):
    def __init__(self, doctor: str) -> None:
        super().__init__(f"there is no doctor {doctor!r}")


class Reception:
    """What is asked before there is anything to watch. A server that does not answer is asked again."""

    def __init__(self, session: aiohttp.ClientSession, url: str, say: Callable[[str], None]) -> None:
        self._session, self._say = session, say
        self._api = server_address(url) / "api/v1"

    async def today(self) -> datetime.date:
        return datetime.date.fromisoformat((await self._get("queue"))["data"]["date"])

    async def doctor_id(self, doctor: str) -> UUID:
        """By code, or by id."""
        for card in (await self._get("doctors"))["doctors"]:
            if doctor.casefold() in (card["code"].casefold(), card["id"]):
                return UUID(card["id"])
        raise UnknownDoctor(doctor)

    async def time_on(self, date: datetime.date, clock: datetime.time) -> datetime.datetime:
        """What the hospital's clock says, with the offset that it has there and then."""
        told = await self._get("queue", date=date.isoformat(), at=f"{date}T{clock:%H:%M:%S}Z")
        offset = datetime.datetime.fromisoformat(told["data"]["timestamp"]).tzinfo
        return datetime.datetime.combine(date, clock, offset)

    async def _get(self, path: str, **query: str) -> Any:
        failures = 0
        while True:
            try:
                async with self._session.get((self._api / path).with_query(query)) as response:
                    if response.ok:
                        return await response.json()
                    if response.status < 500:
                        raise NotAdmitted(response.status, f"HTTP {response.status}")
                    trouble = f"{self._api.authority} answers HTTP {response.status}"
            except (aiohttp.ClientError, OSError) as error:
                trouble = unreachable(self._api, error)
            self._say(f"{trouble}; trying again")
            await asyncio.sleep(delay_seconds(failures))
            failures += 1
