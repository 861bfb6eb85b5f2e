"""scripts/simulate: plan a day, walk it, print what was measured. Exits with 1 where something was wrong."""

from __future__ import annotations

import argparse
import sys
from datetime import date, timedelta
from pathlib import Path
from typing import Final

import uvloop

from scripts.simulation import statistics
from scripts.simulation.client import Client, Unreachable
from scripts.simulation.plan import plan
from scripts.simulation.roster import DoesNotFit
from scripts.simulation.run import NotOurs, Runner, ask_today
from scripts.simulation.statistics import Statistics

TIMES: Final = """\
On --date and time: a day that is over is entered late. Every command carries effective_at, the simulated time, but for
call-next, which the contract gives none: whoever is called that way is called, and seen from then on, by the server's
clock. So at --speed 0 the date is yesterday, the latest whose every hour has passed. At any other speed it is today:
what happens that day is recorded as it happens, by the server's clock alone, from the first arrival on; only bookings
of the days before are entered late. A server's store keeps what is simulated in it for ever: give it one of its own.
"""


def main() -> None:
    asked = _arguments()
    try:
        measured = uvloop.run(_simulate(asked))
    except (DoesNotFit, NotOurs, Unreachable) as error:
        sys.exit(f"simulate: {error}")
    summary = measured.summary()
    statistics.show(summary)
    if asked.json:
        statistics.write(asked.json, summary)
    sys.exit(0 if measured.all_is_well else 1)


async def _simulate(asked: argparse.Namespace) -> Statistics:
    """Raises DoesNotFit, NotOurs, Unreachable."""
    measured = Statistics()
    client = Client(asked.url, measured.told)
    today = await ask_today(client)
    day = asked.date or (today.now.date() if asked.speed else today.now.date() - timedelta(days=1))
    if day > today.now.date():
        raise NotOurs(f"{day} is not here yet, and nobody can check in on it")
    planned = plan(asked.seed, asked.doctors, asked.patients, day)
    try:
        await Runner(client, planned, today, asked.speed, measured).run()
    finally:
        client.close()
    return measured


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/simulate",
        description="A believable day of a hospital, through the public HTTP API of a running server.",
        epilog=TIMES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="the server (%(default)s)")
    parser.add_argument("--doctors", type=_at_least_one, default=12, metavar="N", help="how many (%(default)s)")
    parser.add_argument("--patients", type=_at_least_one, default=300, metavar="N", help="how many (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="the same seed, the same day (%(default)s)")
    parser.add_argument(
        "--speed", type=_speed, default=0.0, metavar="X",
        help="1 is real time, 60 a minute per second, 0 as fast as the server answers (%(default)g)",
    )  # fmt: skip
    parser.add_argument("--date", type=date.fromisoformat, help="yesterday at --speed 0, otherwise today")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write what was measured to this file")
    return parser.parse_args()


def _at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


def _speed(text: str) -> float:
    speed = float(text)
    if not 0 <= speed < float("inf"):
        raise argparse.ArgumentTypeError("0, or how many times as fast as life")
    return speed


if __name__ == "__main__":
    main()
