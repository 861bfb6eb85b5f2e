"""What servers tell in these tests, made up, and how monitors are waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid5

from gateway.client import Monitor, Shown
from tests.gateway.contract import UNKNOWN

Json = dict[str, Any]

SECONDS = 30.0
"""Longer than anything here takes."""

DOCTORS = [str(uuid5(UUID(UNKNOWN), f"doctor {number}")) for number in range(3)]
CLINIC = {
    "status": "open", "capacity": 40, "booked": 0, "free": 40, "waiting": 0, "starts_at": "09:00", "slot_minutes": 10,
    "room": None, "delay_minutes": 0, "note": None,
}  # fmt: skip
EMPTY: Json = {
    "date": "2025-11-17",
    "total_appointments": 0,
    "total_doctors": 0,
    "doctors": [],
    "timestamp": "2025-11-17T10:00:00+05:30",
}


def happened(*sequences: int) -> list[Json]:
    return [
        {"sequence": sequence, "type": "ClinicClosed", "doctor_id": DOCTORS[0], "appointment_id": None}
        for sequence in sequences
    ]


def snapshot(sequence: int) -> Json:
    return {"type": "snapshot", "epoch": "e", "sequence": sequence, "data": EMPTY | {"total_appointments": sequence}}


def delta(sequence: int, after: int) -> Json:
    return snapshot(sequence) | {"type": "delta", "from": after, "events": happened(*range(after + 1, sequence + 1))}


def heartbeat(sequence: int) -> Json:
    return {"type": "heartbeat", "sequence": sequence, "head": 9, "lag_seconds": 0.0, "timestamp": EMPTY["timestamp"]}


def sequences(shown: Shown[Any] | None) -> list[int] | None:
    assert shown is not None
    return None if shown.events is None else [event.sequence for event in shown.events]


async def until(monitor: Monitor[Any], sequence: int) -> list[Shown[Any]]:
    """The states up to that one."""
    states: list[Shown[Any]] = []
    async with asyncio.timeout(SECONDS):
        while not states or states[-1].sequence < sequence:
            states.append(await anext(monitor))
    return states


async def becomes(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(SECONDS):
        while not condition():  # noqa: ASYNC110 - what is waited for tells nobody
            await asyncio.sleep(0.01)
