"""What was measured: commands, refusals, latencies, how long patients waited, and what is wrong with the board."""

from __future__ import annotations

import json
import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from domain.rules.line import RANK
from scripts.simulation.client import Answer

REFUSED: Final = 409


@dataclass(slots=True)
class Statistics:
    """`waits` in simulated minutes, by priority; `skipped`: steps that nobody could take any more.

    `called_instead`: how often the server called somebody else than the plan, which keeps the same line, had foreseen.
    """

    seconds: float = 0.0
    skipped: int = 0
    called_instead: int = 0
    waits: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    board: dict[str, int] = field(default_factory=dict)
    differences: list[str] = field(default_factory=list)
    _milliseconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    _statuses: dict[str, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))
    _refusals: Counter[tuple[str, str]] = field(default_factory=Counter)
    _failures: Counter[str] = field(default_factory=Counter)

    def told(self, kind: str, answer: Answer, seconds: float) -> None:
        self._milliseconds[kind].append(1000 * seconds)
        self._statuses[kind][answer.status] += 1
        if answer.status == REFUSED:
            self._refusals[kind, str(answer.code)] += 1
        elif answer.status >= 400:
            self._failures[f"{answer.status} {answer.code} to {kind}"] += 1

    @property
    def commands(self) -> int:
        return sum(statuses.total() for statuses in self._statuses.values())

    @property
    def server_errors(self) -> int:
        return sum(
            number for statuses in self._statuses.values() for status, number in statuses.items() if status >= 500
        )

    @property
    def all_is_well(self) -> bool:
        """Refusals are normal life. Other errors are not, nor is a board that says something else."""
        return not self._failures and not self.differences

    def summary(self) -> dict[str, Any]:
        every = [one for kind in self._milliseconds.values() for one in kind]
        return {
            "commands": self.commands,
            "seconds": round(self.seconds, 3),
            "commands_per_second": round(self.commands / self.seconds, 1) if self.seconds else None,
            "server_errors": self.server_errors,
            "failures": dict(self._failures),
            "latency_ms": _latencies(every),
            "kinds": {
                kind: {"statuses": {str(s): n for s, n in sorted(self._statuses[kind].items())}, **_latencies(each)}
                for kind, each in sorted(self._milliseconds.items())
            },
            "refusals": {
                code: {kind: n for (kind, its), n in sorted(self._refusals.items()) if its == code}
                for code in sorted({code for _, code in self._refusals})
            },
            "skipped_steps": self.skipped,
            "called_instead": self.called_instead,
            "waiting_minutes": {
                priority: {
                    "patients": len(waits),
                    "median": round(median(waits), 1),
                    "p90": round(_part(waits, 0.9), 1),
                }
                for priority, waits in sorted(self.waits.items(), key=lambda item: RANK[item[0]])  # type: ignore[index]
            },
            "board": self.board,
            "differences": self.differences,
        }


def _latencies(milliseconds: Sequence[float]) -> dict[str, float]:
    if not milliseconds:
        return {}
    return {
        "p50": round(_part(milliseconds, 0.5), 2),
        "p99": round(_part(milliseconds, 0.99), 2),
        "max": round(max(milliseconds), 2),
    }


def _part(values: Sequence[float], part: float) -> float:
    return sorted(values)[int(len(values) * part)]


# --- on the screen, and in a file ----------------------------------------------------------------


def show(summary: dict[str, Any]) -> None:
    console = Console(width=None if os.isatty(1) else 120, highlight=False)
    console.print(_commands(summary))
    if summary["refusals"]:
        console.print(_refusals(summary))
    if summary["waiting_minutes"]:
        console.print(_waits(summary))
    overall = summary["latency_ms"]
    rate = summary["commands_per_second"]
    console.print(
        f"{summary['commands']:,} commands in {summary['seconds']:.1f} s, {rate or 0:,.0f} per second; "
        f"p50 {overall.get('p50', 0)} ms, p99 {overall.get('p99', 0)} ms, max {overall.get('max', 0)} ms; "
        f"{summary['server_errors']} server errors; {summary['skipped_steps']} steps had nobody left to take them, "
        f"{summary['called_instead']} calls went to others than planned"
    )
    for failure, number in summary["failures"].items():
        console.print(f"[red]{number} × {failure}")
    console.print("board: " + ", ".join(f"{number:,} {what}" for what, number in summary["board"].items()))
    for difference in summary["differences"]:
        console.print(f"[red]the board differs: {difference}")
    if not summary["differences"]:
        console.print("[green]The board says what it must.")


def _commands(summary: dict[str, Any]) -> Table:
    statuses = sorted({status for kind in summary["kinds"].values() for status in kind["statuses"]})
    table = Table("command", *statuses, "p50 ms", "p99 ms", "max ms", title="commands")
    for column in table.columns[1:]:
        column.justify = "right"
    for kind, row in summary["kinds"].items():
        numbers = [f"{row['statuses'][status]:,}" if status in row["statuses"] else "" for status in statuses]
        table.add_row(kind.replace("_", " "), *numbers, *(f"{row[part]:.1f}" for part in ("p50", "p99", "max")))
    return table


def _refusals(summary: dict[str, Any]) -> Table:
    table = Table("code", "times", "asked for", title="refusals")
    for code, kinds in summary["refusals"].items():
        table.add_row(code, f"{sum(kinds.values()):,}", ", ".join(kind.replace("_", " ") for kind in kinds))
    return table


def _waits(summary: dict[str, Any]) -> Table:
    table = Table("priority", "patients", "median", "p90", title="from check-in to the first call, simulated minutes")
    for priority, row in summary["waiting_minutes"].items():
        table.add_row(priority, f"{row['patients']:,}", str(row["median"]), str(row["p90"]))
    return table


def write(file: Path, summary: dict[str, Any]) -> None:
    file.write_text(json.dumps(summary, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
