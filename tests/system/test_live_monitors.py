"""Random days, watched by every kind of monitor over servers that die: nobody goes back, or is shown what was not.

What monitors are shown is compared with what others are shown, never with what a test believes: of one view at one
sequence there is one state. What they are told happened is compared with the record.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import date
from pathlib import Path
from random import Random
from urllib.parse import parse_qs, urlsplit, urlunsplit

import asyncpg

from tests.conftest import TIMEZONE, Database
from tests.server import Server, started
from tests.system.clerks import Hospital
from tests.system.crew import logged, workers
from tests.system.happened import RECORD, Happenings
from tests.system.obstacles import until_one_ends
from tests.system.record import ask
from tests.system.watching import Monitor, Scene, View, Whim, difference, until

SEED = int(os.environ.get("DAYSHEET_TEST_SEED") or (0 if os.environ.get("CI") else secrets.randbelow(2**32)))
"""Chance decides the same again, as far as it decides: who is faster is up to the machine."""
ROUNDS, CLERKS = 3, 4
COMMANDS = 40
"""So many are acknowledged before, and again after, the disaster of a round."""
LOG_BYTES = 20_000
"""So much of each server's log is shown when something is wrong."""
FAR_SECONDS = 0.03
"""How much later the database's answers come to the server that is far from it."""

Disaster = Callable[[], Awaitable[None]]

# --- who watches ---------------------------------------------------------------------------------

COMES_AND_GOES: dict[Whim, float] = {"leave": 0.25, "switch off and on": 0.05, "look elsewhere": 0.05}
STOPS: dict[Whim, float] = {"stop reading": 0.1}


def views(hospital: Hospital) -> list[View]:
    first, second, _, without_a_clinic, *_ = hospital.doctors
    return [
        View("all"),
        View("public", {"view": "public"}),
        View("two doctors", {"doctors": [first, second]}),
        View("department A", {"department": "A"}),
        View("public department B", {"department": "B", "view": "public"}),
        View("two in A", {"department": "A", "doctors": [first, without_a_clinic]}),
        View(f"doctor {first}", doctor=first),
        View(f"doctor {without_a_clinic}", doctor=without_a_clinic),
        View("public doctor", {"view": "public"}, doctor=first),
    ]


def monitors(hospital: Hospital) -> list[Monitor]:
    scene, (every, public, *others) = hospital.scene, views(hospital)
    return [
        Monitor(scene, every, heartbeat=True),
        Monitor(scene, every, compressed=True, whims=COMES_AND_GOES),
        Monitor(scene, every, forgetful=True, whims=COMES_AND_GOES),
        Monitor(scene, every, narrow=True, whims=STOPS),
        Monitor(scene, every, deltas=True, heartbeat=True),
        Monitor(scene, every, deltas=True, whims=COMES_AND_GOES),
        Monitor(scene, every, deltas=True, narrow=True, whims=STOPS),
        Monitor(scene, every, deltas=True, narrow=True, whims=STOPS | COMES_AND_GOES),
        Monitor(scene, public, deltas=True, compressed=True, whims=STOPS),
        *[Monitor(scene, view, compressed=number % 2 == 0) for number, view in enumerate([public, *others])],
        *[
            Monitor(scene, view, deltas=True, compressed=number % 2 == 1, whims=COMES_AND_GOES)
            for number, view in enumerate([public, *others])
        ],
    ]


# --- a day of theirs -----------------------------------------------------------------------------


async def a_watched_day(hospital: Hospital, database: Database, disaster: Disaster) -> None:
    """Rounds with a disaster in the middle of each, and a look at everybody at its end; then all of it is judged."""
    await hospital.open()
    watching = monitors(hospital)
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(monitor.watch()) for monitor in watching]
            for _ in range(ROUNDS):
                await _a_round(hospital, disaster)
                await _all_see_what_is(hospital, watching)
            for task in tasks:
                task.cancel()
        for monitor in watching:
            assert hospital.scene.witness.compared[monitor.view.name], f"nothing was compared of {monitor}"
        rows = await ask(database.admin_url, RECORD)
        await _nothing_acknowledged_is_missing(hospital, rows)
        happenings = Happenings(rows, date.fromisoformat(hospital.today))
        for envelope in hospital.scene.witness.envelopes:
            happenings.are_told_by(envelope)
    except BaseException as wrong:
        wrong.add_note(f"DAYSHEET_TEST_SEED={SEED}")
        for server in hospital.servers:
            wrong.add_note(server.log[-LOG_BYTES:].decode(errors="replace"))
        raise
    for server in hospital.servers:
        assert b"Traceback" not in server.log, server.log.decode()


async def _a_round(hospital: Hospital, disaster: Disaster) -> None:
    scene = hospital.scene
    scene.busy = True
    async with asyncio.TaskGroup() as clerks:
        for _ in range(CLERKS):
            clerks.create_task(hospital.work())
        await _more_commands(scene)
        await disaster()
        await _more_commands(scene)
        scene.busy = False


async def _more_commands(scene: Scene) -> None:
    enough = scene.commands + COMMANDS
    await until(lambda: scene.commands >= enough, lambda: "no more commands are acknowledged")


async def _all_see_what_is(hospital: Hospital, watching: list[Monitor]) -> None:
    """All come to the newest state of their view, which is what a fresh look shows, and GET."""
    (newest,) = {await hospital.shown(server, View("all"), at_least=hospital.last) for server in hospital.servers}
    fresh = {view.name: Monitor(hospital.scene, view) for view in views(hospital)}
    for monitor in fresh.values():
        await monitor.look_once(hospital.last)
    assert fresh["all"].sequence == newest

    def behind() -> list[str]:
        newest_of = {name: monitor.sequence for name, monitor in fresh.items()}
        pairs = [(monitor, newest_of[monitor.view.name]) for monitor in watching]
        return [
            f"{monitor} stays at {monitor.sequence}, not {last}" for monitor, last in pairs if monitor.sequence != last
        ]

    await until(lambda: not behind(), lambda: "\n".join(behind()))
    for monitor in watching:
        wrong = difference({**fresh[monitor.view.name].data, "timestamp": ""}, {**monitor.data, "timestamp": ""})
        assert not wrong, f"{monitor} is at {monitor.sequence} shown what is not: {wrong}"


async def _nothing_acknowledged_is_missing(hospital: Hospital, rows: list[asyncpg.Record]) -> None:
    """It is in the record, and on the board."""
    for path, answer in hospital.acknowledged:
        if answer.status == 201:
            made = answer.body.get("appointment_id") or answer.body["id"]
            assert str(rows[answer.body["sequence"] - 1]["subject"]) == made, (path, answer)
    server = hospital.servers[0]
    blocks = (await server.get(f"/queue?date={hospital.today}")).body["data"]["doctors"]
    shown = {one["appointment_id"]: (block["doctor"]["id"], one) for block in blocks for one in block["appointments"]}
    cards = [(await server.get(f"/appointments/{appointment}")).body for appointment in hospital.standing]
    here = {card["appointment_id"]: card for card in cards if card["date"] == hospital.today}
    assert shown.keys() == {appointment for appointment, card in here.items() if card["status"] != "cancelled"}
    for appointment, (doctor, one) in shown.items():
        assert doctor == here[appointment]["doctor_id"]
        assert {key: one[key] for key in ("slot", "status", "priority", "queue")}.items() <= here[appointment].items()


# --- over what servers ---------------------------------------------------------------------------


def _of(database: Database, url: str) -> tuple[str, ...]:
    return "--database-url", url, "--data-dir", str(database.folder), "--timezone", TIMEZONE


async def test_over_two_workers_that_are_killed(database: Database) -> None:
    async with started(*_of(database, database.url), "--workers", "2") as server:
        hospital = Hospital([server], Random(SEED))

        async def kill_a_worker() -> None:
            replaced = len(logged(server, "worker_replaced"))
            hospital.chance.choice(list(workers(server).values())).kill()
            await until(lambda: len(logged(server, "worker_replaced")) > replaced, lambda: "no worker takes its place")

        await a_watched_day(hospital, database, kill_a_worker)


async def test_over_two_servers_that_are_killed_one_of_them_far_from_the_database(database: Database) -> None:
    async with _far_from(database.url) as far_url, AsyncExitStack() as started_ones:
        urls = database.url, far_url
        servers = [await started_ones.enter_async_context(started(*_of(database, url))) for url in urls]
        hospital = Hospital(servers, Random(SEED))

        async def replace_a_server() -> None:
            which = hospital.chance.randrange(2)
            dead = hospital.servers[which]
            dead.kill()
            await dead.process.wait()
            again = started(*_of(database, urls[which]), "--port", _port(dead))
            hospital.servers[which] = await started_ones.enter_async_context(again)

        await a_watched_day(hospital, database, replace_a_server)


def _port(server: Server) -> str:
    return server.url.rpartition(":")[2]


@asynccontextmanager
async def _far_from(url: str) -> AsyncIterator[str]:
    """Another address of a database, whose answers take longer: what follows the log there lags behind."""
    parts = urlsplit(url)
    folder = parse_qs(parts.query).get("host", [""])[0]

    async def carry(asked: asyncio.StreamReader, answers: asyncio.StreamWriter) -> None:
        if folder:
            from_database, to_database = await asyncio.open_unix_connection(f"{folder}/.s.PGSQL.5432")
        else:
            from_database, to_database = await asyncio.open_connection(parts.hostname, parts.port)
        loop = asyncio.get_running_loop()

        async def there() -> None:
            while data := await asked.read(65536):
                to_database.write(data)

        async def back() -> None:
            while data := await from_database.read(65536):
                loop.call_later(FAR_SECONDS, answers.write, data)

        await until_one_ends(there(), back(), answers, to_database)

    with tempfile.TemporaryDirectory() as near:
        async with await asyncio.start_unix_server(carry, Path(near) / ".s.PGSQL.5432"):
            user = parts.netloc.rpartition("@")[0]
            yield urlunsplit(parts._replace(netloc=f"{user}@", query=f"host={near}&port=5432"))
