"""People who book and arrive all the time, and who do with each answer what the contract tells them to."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import aiohttp
import asyncpg

from tests.server import Answer, Server
from tests.system.record import of_type

CLIENTS = 8
PAUSE_SECONDS = 0.02
"""Before asking again where a server or its database is away."""


@dataclass(slots=True)
class Load:
    """`server` may be replaced while it goes on."""

    server: Server
    acknowledged: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By Idempotency-Key: what a 2xx said."""
    trouble: Counter[str] = field(default_factory=Counter)
    _stop: bool = False
    _numbers: count[int] = field(default_factory=count)
    _more: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def during(self, disaster: Callable[[], Awaitable[None]]) -> None:
        """Book and check in with many clients until the disaster is over, and every outcome is known."""
        doctors = [await self.server.a_doctor() for _ in range(CLIENTS // 2)]
        today = await self.server.today()
        for doctor in doctors:
            clinic = {"capacity": 800, "starts_at": "00:00", "slot_minutes": 1}
            assert (await self.server.call("PUT", f"/clinics/{doctor}/{today}", clinic)).status == 200
        async with asyncio.TaskGroup() as group:
            for number in range(CLIENTS):
                group.create_task(self._client(doctors[number % len(doctors)], today))
            try:
                await disaster()
            finally:
                self._stop = True

    async def more(self, number: int) -> None:
        """Wait until so many further commands are acknowledged."""
        enough = len(self.acknowledged) + number
        async with asyncio.timeout(30), self._more:
            await self._more.wait_for(lambda: len(self.acknowledged) >= enough)

    async def _client(self, doctor: str, today: str) -> None:
        while not self._stop:
            patient = await self._ask("/patients", {"name": "Asha Rao"})
            booking = {"doctor_id": doctor, "patient_id": patient["id"], "date": today}
            appointment = await self._ask("/appointments", booking)
            await self._ask("/checkins", {"appointment_id": appointment["appointment_id"]})

    async def _ask(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Until it is acknowledged: with the same key where the outcome is unknown, and with another one where nothing
        was recorded. Were that a lie, the second try would be refused, or leave something behind twice."""
        key = f"{path} {next(self._numbers)}"
        while True:
            try:
                answer = await self.server.post(path, body, Idempotency_Key=key)
            except (aiohttp.ClientError, ConnectionError):
                self.trouble["connection lost"] += 1
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            if answer.status == 201:
                await self._acknowledge(key, answer)
                return answer.body  # type: ignore[no-any-return]
            assert answer.status == 503, answer
            self.trouble[str(answer.code)] += 1
            if answer.code != "outcome_unknown":
                key = f"{path} {next(self._numbers)}"
            await asyncio.sleep(PAUSE_SECONDS)

    async def _acknowledge(self, key: str, answer: Answer) -> None:
        self.trouble["repeated, and recorded before"] += "Idempotency-Replayed" in answer.headers
        self.acknowledged[key] = answer.body
        async with self._more:
            self._more.notify_all()

    def assert_recorded_once(self, rows: list[asyncpg.Record]) -> None:
        """What was acknowledged is in the record, and nothing else is."""
        at = {row["position"]: row for row in rows}
        for path, topic, name in (
            ("/patients", "patient-registered", "id"),
            ("/appointments", "appointment-booked", "appointment_id"),
            ("/checkins", "patient-checked-in", "appointment_id"),
        ):
            told = {key: body for key, body in self.acknowledged.items() if key.startswith(path)}
            assert len(told) > CLIENTS
            recorded = of_type(rows, topic)
            assert sorted(body[name] for body in told.values()) == sorted(str(row["subject"]) for row in recorded)
            for body in told.values():
                row = at[body["sequence"]]
                assert (str(row["subject"]), row["type"].partition("@")[0]) == (body[name], topic)
                if topic == "patient-checked-in":
                    assert json.loads(row["data"])["ticket"] == body["queue"]["ticket"]
