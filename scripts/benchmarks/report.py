"""Interleaved rounds, the rows they become, and how those are shown.

The machine's speed changes from one second to the next, so no figure stands alone: a round measures ours and then the
peer, and a row's ratio is the median of its rounds' ratios. `ours` and `peer` are medians too.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final

import msgspec
from rich.console import Console
from rich.table import Table

SMALLER_IS_BETTER: Final = frozenset({"s", "ms", "µs", "bytes"})


class Row(msgspec.Struct, frozen=True):
    """One comparison. `ratio` above 1 means that ours is better, whatever the unit."""

    case: str
    unit: str
    ours: float
    peer: float
    peer_name: str
    ratio: float


Bench = Coroutine[Any, Any, list[Row]]
Measure = Callable[[], Awaitable[float]]


async def interleaved(rounds: int, *sides: Measure) -> list[tuple[float, ...]]:
    """Every side's figure, round by round, after a round that only warms up."""
    figures = [tuple([await side() for side in sides]) for _ in range(1 + rounds)]
    return figures[1:]


def microseconds(once: Callable[[], object], seconds: float) -> Measure:
    """The mean of as many times as fit."""

    async def measure() -> float:
        begins = now = time.perf_counter()
        times = 0
        while now < begins + seconds:
            once()
            times, now = times + 1, time.perf_counter()
        return 1e6 * (now - begins) / times

    return measure


def row(case: str, unit: str, peer_name: str, rounds: Sequence[tuple[float, ...]]) -> Row:
    """`rounds`: (ours, peer) of each."""
    ratios = [peer / ours if unit in SMALLER_IS_BETTER else ours / peer for ours, peer in rounds]
    ours, peers = zip(*rounds, strict=True)
    return Row(case, unit, median(ours), median(peers), peer_name, median(ratios))


def machine(postgres_version: str) -> dict[str, str | int]:
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count() or 0,
        "system": platform.system(),
        "python": platform.python_version(),
        "postgresql": postgres_version,
    }


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def show(bench: str, on: dict[str, str | int], rows: Sequence[Row]) -> None:
    table = Table(title=bench, caption=", ".join(f"{name} {value}" for name, value in on.items()))
    table.add_column("case")
    table.add_column("unit")
    for heading in ("ours", "peer"):
        table.add_column(heading, justify="right")
    table.add_column("peer's name")
    table.add_column("ratio", justify="right")
    for it in rows:
        table.add_row(it.case, it.unit, _figure(it.ours), _figure(it.peer), it.peer_name, f"{_figure(it.ratio)}×")
    Console(width=None if os.isatty(1) else 160).print(table)


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def write(file: Path, bench: str, on: dict[str, str | int], rows: Sequence[Row]) -> None:
    page = {"bench": bench, "machine": on, "rows": msgspec.to_builtins(rows)}
    file.write_text(json.dumps(page, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
