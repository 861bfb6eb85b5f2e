"""The days alone, for who needs to know no more."""

from __future__ import annotations

import datetime
from collections.abc import AsyncGenerator
from typing import Any, Unpack, overload
from uuid import UUID

from gateway.client.board import Data
from gateway.client.monitor import Monitor
from gateway.client.options import Full, Options, Public
from projections.shapes import Day, DoctorDay, PublicDay, PublicDoctorDay


@overload
def watch(
    url: str, date: datetime.date, *,
    view: Full = ..., doctor_id: None = ..., **options: Unpack[Options],
) -> AsyncGenerator[Day, None]: ...  # fmt: skip


@overload
def watch(
    url: str, date: datetime.date, *,
    view: Full = ..., doctor_id: UUID, **options: Unpack[Options],
) -> AsyncGenerator[DoctorDay, None]: ...  # fmt: skip


@overload
def watch(
    url: str, date: datetime.date, *,
    view: Public, doctor_id: None = ..., **options: Unpack[Options],
) -> AsyncGenerator[PublicDay, None]: ...  # fmt: skip


@overload
def watch(
    url: str, date: datetime.date, *,
    view: Public, doctor_id: UUID, **options: Unpack[Options],
) -> AsyncGenerator[PublicDoctorDay, None]: ...  # fmt: skip


def watch(url: str, date: datetime.date, **options: Any) -> AsyncGenerator[Any, None]:
    """The days that a Monitor with these arguments shows, one after another. Raises WatchEnded, Unaskable."""
    return _days(Monitor(url, date, **options))


async def _days(monitor: Monitor[Data]) -> AsyncGenerator[Data, None]:
    async with monitor:
        async for shown in monitor:
            yield shown.day
