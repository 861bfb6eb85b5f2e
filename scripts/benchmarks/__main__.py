"""scripts/bench NAME: run one benchmark, print its table, and with --json write its rows to a file."""

from __future__ import annotations

import argparse
import asyncio
import importlib
from pathlib import Path
from typing import Final

import structlog
import uvloop

from scripts.benchmarks import plot, report
from scripts.benchmarks.hospital import Postgres, embedded_postgres
from scripts.benchmarks.report import Row

NAMES: Final = ("append", "rebuild", "encode", "startup", "memory", "fanout", "latency", "growth", "replay", "verify")


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/bench", description="Daysheet beside its peers, in one run.")
    parser.add_argument("name", choices=NAMES)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the rows to this file")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: shows that it runs, says nothing about speed")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="of growth: also draw the rows, as SVG")
    asked = parser.parse_args()
    if asked.plot and asked.name != "growth":
        parser.error("--plot draws growth only")
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    bench = importlib.import_module(f"scripts.benchmarks.{asked.name}")
    with embedded_postgres() as postgres, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        rows, version = runner.run(_run(bench.run(postgres, quick=asked.quick), postgres))
    machine = report.machine(version)
    report.show(asked.name, machine, rows)
    if asked.json:
        report.write(asked.json, asked.name, machine, rows)
    if asked.plot:
        asked.plot.write_text(plot.draw(rows), encoding="utf-8")


async def _run(bench: report.Bench, postgres: Postgres) -> tuple[list[Row], str]:
    return await bench, await postgres.version()


if __name__ == "__main__":
    main()
