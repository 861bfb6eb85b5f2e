"""The order people are seen in. One pure function, used by the rule that calls and the board that shows."""

from datetime import datetime
from typing import Final

from domain.rules.events import Order, Priority

RANK: Final[dict[Priority, int]] = {"emergency": 0, "urgent": 1, "routine": 2}

Place = tuple[int, datetime, int] | tuple[int, int]


def place(order: Order, *, priority: Priority, arrived_at: datetime, arrival: int, slot: int) -> Place:
    """Where a waiting patient stands: the smaller, the sooner.

    `arrived_at` is the effective check-in time; `arrival` breaks its ties and grows with the log.
    All places of one clinic compare, since they share its `order`.
    """
    if order == "slot":
        return RANK[priority], slot
    return RANK[priority], arrived_at, arrival
