"""Ours as a process that publishes when told: the real application on a real store, and one date of which changes.

On each cue an event is folded into that date's board, as the projector folds it, and the projector's word is passed
on. From there on all is as ever: encoding, frame, and every monitor's transport. What comes before is left out:
command, commit, log and follower.

The event is a check-in of who stands last in a line, one clinic after another; where nobody has booked, a delay.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import UTC, date, datetime
from itertools import cycle
from pathlib import Path

import aiohttp
import msgspec
import structlog
import uvloop
from aiohttp import web

from domain.rules.events import ClinicDelayed, Event, PatientCheckedIn
from gateway.app import application
from gateway.settings import Settings
from projections.board import Clinic, DayBoard
from scripts.benchmarks import cue, stage
from scripts.benchmarks.hospital import TIMEZONE, Postgres, opened_with
from scripts.benchmarks.stage import Server


class Job(msgspec.Struct, frozen=True):
    database_url: str
    folder: str
    date: date


# --- where the bench is --------------------------------------------------------------------------


def publishing(postgres: Postgres, database: str, day: date) -> AbstractAsyncContextManager[Server]:
    job = Job(postgres.url(database, user="daysheet_app"), str(postgres.folder), day)
    return stage.serving(sys.executable, "-m", "scripts.benchmarks.publisher", job=job)


async def messages(postgres: Postgres, database: str, day: date, *subscriptions: Mapping[str, str]) -> list[bytes]:
    """What it publishes to whoever subscribes like that, as JSON."""
    async with publishing(postgres, database, day) as server, aiohttp.ClientSession(server.address) as session:
        sockets: list[aiohttp.ClientWebSocketResponse] = []
        for subscription in subscriptions:
            sockets.append(await session.ws_connect(cue.PATH, max_msg_size=0))
            await sockets[-1].send_json({"action": "subscribe", "date": day.isoformat(), **subscription})
            await sockets[-1].receive_str()
        server.cue()
        return [(await socket.receive_str()).encode() for socket in sockets]


# --- in the process of its own -------------------------------------------------------------------


async def main() -> None:
    job, cues = await cue.told(Job)
    settings = Settings(database_url=job.database_url, data_dir=Path(job.folder), timezone=TIMEZONE)
    async with opened_with(settings) as parts:
        board = await parts.boards.get(job.date)
        runner = web.AppRunner(application(settings, parts))
        await runner.setup()
        await web.TCPSite(runner, settings.host, 0).start()
        cue.listening_at(runner.addresses[0][1])
        happens = events(board)
        async for _ in cues:
            board.fold(board.sequence + 1, next(happens))
            parts.projector.tell(board)
        await runner.cleanup()


def events(board: DayBoard) -> Iterator[Event]:
    """What happens on this date, for ever. Made ahead: making it is not what is measured."""
    return cycle([_event(stream, clinic, minutes) for minutes in (10, 20) for stream, clinic in board.clinics.items()])


def _event(stream: str, clinic: Clinic, minutes: int) -> Event:
    return _check_in(stream, clinic) or ClinicDelayed(
        originator_id=stream, timestamp=datetime.now(UTC), minutes=minutes, note=None
    )


def _check_in(stream: str, clinic: Clinic) -> PatientCheckedIn | None:
    """Of who stands last, at the time when they came: so they stay there, and nobody else moves."""
    last = max(clinic.entries.values(), key=lambda entry: entry.state.arrival, default=None)
    if last is None:
        return None
    at, ticket = last.state.arrived_at, last.state.ticket
    assert at is not None
    assert ticket is not None, "in the mornings that are published, everybody has come"
    return PatientCheckedIn(
        originator_id=stream,
        originator_version=last.state.arrival,
        timestamp=at,
        appointment_id=last.appointment_id,
        ticket=ticket,
    )


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    uvloop.run(main())
