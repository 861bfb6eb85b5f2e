"""The simulated hospital: a believable plan, and a real server that ends where the plan does."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import sys
from collections import Counter
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.rules.settings import MINUTES_A_DAY
from scripts.simulation.hospital import DAY, MINUTE, OPENED_AT, Kind, Step
from scripts.simulation.plan import Plan, plan
from scripts.simulation.roster import DoesNotFit, staff
from tests.conftest import ServerFactory
from tests.server import Server

A_DAY = date(2026, 3, 2)
SECONDS = 60.0

_TIMESTAMP = re.compile(r',"timestamp":"[^"]*"')


# --- the plan ------------------------------------------------------------------------------------


@given(seed=st.integers(), doctors=st.integers(1, 12), patients=st.integers(1, 150))
@settings(max_examples=30, deadline=None)
def test_a_plan_is_the_same_every_time(seed: int, doctors: int, patients: int) -> None:
    planned = plan(seed, doctors, patients, A_DAY)
    assert planned == plan(seed, doctors, patients, A_DAY)
    check(planned)


@given(seed=st.integers())
@settings(max_examples=15, deadline=None)
def test_a_day_is_believable(seed: int) -> None:
    planned = plan(seed, 20, 600, A_DAY)
    check(planned)
    visits = planned.roster.visits
    booked = [number for number, visit in enumerate(visits) if visit.booked]
    assert 0.04 < 1 - len(booked) / len(visits) < 0.13
    came = first(planned, "check_in", "walk_in")
    cancelled = first(planned, "cancel")
    stayed_away = [number for number in booked if number not in came and number not in cancelled]
    assert 0.02 < len(stayed_away) / len(booked) < 0.13
    assert 0.01 < len(cancelled) / len(booked) < 0.1
    offsets = [came[number] - due for number, due in dues(planned).items() if number in came]
    assert 0.6 < sum(offset <= 0 for offset in offsets) / len(offsets) < 0.9
    assert sum(abs(offset) < 45 * MINUTE for offset in offsets) / len(offsets) > 0.9
    priorities = Counter(visit.priority for visit in visits)
    assert 0 < priorities["emergency"] < priorities["urgent"] < priorities["routine"]
    assert len(first(planned, "call_next", "call")) / len(came) > 0.85


def test_everything_that_can_happen_happens_in_a_large_hospital() -> None:
    planned = plan(1, 200, 6000, A_DAY)
    check(planned)
    assert {step.kind for step in planned.steps} == set(get_args(Kind))
    in_a_row = [
        one.kind for one, other in zip(planned.steps, planned.steps[1:], strict=False) if one.visit == other.visit
    ]
    assert in_a_row.count("undo") > 0  # chains


def test_hospitals_of_every_size_fit_before_midnight() -> None:
    for doctors, patients in ((1, 1), (1, 300), (1, 1000), (300, 20), (2, 2000)):
        check(plan(5, doctors, patients, A_DAY))
    with pytest.raises(DoesNotFit):
        plan(5, 1, 1500, A_DAY)


def test_doctors_are_the_same_whatever_the_seed() -> None:
    assert plan(1, 40, 10, A_DAY).roster.staff == plan(2, 40, 500, A_DAY).roster.staff == staff(40)
    assert len({doctor.code for doctor in staff(300)}) == 300


def check(planned: Plan) -> None:
    """What every plan keeps to."""
    times = [step.at for step in planned.steps]
    assert times == sorted(times)
    assert times[0] == OPENED_AT
    assert times[-1] < DAY
    for cut in planned.roster.lists:
        assert cut.span(cut.capacity).ends <= MINUTES_A_DAY
    for number in range(len(planned.roster.visits)):
        check_visit([step for step in planned.steps if step.visit == number])
    for number in range(len(planned.roster.staff)):
        kinds = [step.kind for step in planned.steps if step.list == number]
        assert kinds[0] == "set_up"
        assert set(kinds[kinds.index("finish") :]) <= {"finish", "register", "correct", "walk_in", "complete"}


def check_visit(steps: list[Step]) -> None:
    """Nobody is called before they are here, nor while they are not to be called."""
    stages = ["away"]
    for step in steps:
        match step.kind:
            case "check_in" if stages[-1] in ("away", "gone"):
                assert step.at > 0
                stages.append("waiting")
            case "walk_in":
                stages.append("waiting")
            case "call_next" | "call":
                assert stages[-1] == "waiting", steps
                stages.append("called")
            case "start" | "recall":
                assert stages[-1] == "called", steps
                stages.append("in the room" if step.kind == "start" else "called")
            case "complete":
                assert stages[-1] in ("called", "in the room"), steps
                stages.append("done")
            case "hold":
                assert stages[-1] in ("waiting", "called"), steps
                stages.append("on hold")
            case "resume" if stages[-1] == "on hold":
                stages.append("waiting")
            case "no_show" | "cancel":
                assert stages[-1] in ("away", "waiting", "called"), steps
                stages.append("gone")
            case "priority" | "move":
                stages.append(stages[-1])
            case "reassign" | "undo" if len(stages) > 1:
                stages.pop()


def first(planned: Plan, *kinds: Kind) -> dict[int, int]:
    """When, by visit."""
    found: dict[int, int] = {}
    for step in planned.steps:
        if step.kind in kinds and step.visit is not None:
            found.setdefault(step.visit, step.at)
    return found


def dues(planned: Plan) -> dict[int, int]:
    """When the clock says it is their turn, of those who asked for a slot and never moved."""
    moved = first(planned, "move", "undo", "no_show")
    last: dict[int, int] = {}
    for step in planned.steps:
        if step.kind == "book" and step.visit is not None and "slot" in step.told:
            last[step.visit] = planned.roster.lists[step.list].span(step.told["slot"]).starts * MINUTE
    booked_twice = Counter(step.visit for step in planned.steps if step.kind == "book")
    return {number: due for number, due in last.items() if number not in moved and booked_twice[number] == 1}


# --- against a server ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Simulated:
    code: int
    out: str
    errors: str
    summary: dict[str, Any]


async def simulate(server: Server, file: Path, *options: str) -> Simulated:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "scripts.simulation", "--url", server.url, "--json", str(file), *options),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=dict(os.environ),
    )
    try:
        async with asyncio.timeout(SECONDS):
            out, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
    assert process.returncode is not None
    return Simulated(process.returncode, out.decode(), errors.decode(), _summary(file))


def _summary(file: Path) -> dict[str, Any]:
    return json.loads(file.read_text()) if file.exists() else {}


async def board(server: Server, day: str) -> str:
    """Byte for byte, but for the time it was made at."""
    async with server._session.get(f"{server.api}/queue?date={day}") as response:
        text, stamps = _TIMESTAMP.subn("", await response.text())
        assert stamps == 1
        return text


async def test_a_small_hospital_ends_where_its_plan_does(serve: ServerFactory, tmp_path: Path) -> None:
    server = await serve()
    await board(server, str(A_DAY))  # This one follows from here on; the next reads the day when all is over.
    day = ("--date", str(A_DAY), "--doctors", "10", "--patients", "200", "--seed", "3")
    simulated = await simulate(server, tmp_path / "measured.json", *day)
    assert simulated.code == 0, simulated
    assert "The board says what it must." in simulated.out
    summary = simulated.summary
    assert summary["server_errors"] == 0
    assert summary["differences"] == []
    assert summary["called_instead"] == 0  # The plan keeps the line by itself, and so does the server.
    assert summary["commands"] > 1000
    assert summary["commands_per_second"] > 0
    assert summary["latency_ms"]["p50"] <= summary["latency_ms"]["p99"] <= summary["latency_ms"]["max"]
    assert summary["board"]["completed"] > 150
    assert sum(row["patients"] for row in summary["waiting_minutes"].values()) > 150
    grown = await board(server, str(A_DAY))
    assert grown == await board(await serve(), str(A_DAY))
    assert grown.count('"ticket":"') == summary["board"]["checked in"]

    again = await simulate(server, tmp_path / "again.json", *day)
    assert (again.code, again.errors.count("\n")) == (1, 1)
    assert "take another --date" in again.errors
    other_day = await simulate(server, tmp_path / "other.json", *day[2:], "--date", "2026-03-03")
    assert other_day.code == 0, other_day
    assert "hire" not in other_day.summary["kinds"]
    assert await board(server, str(A_DAY)) == grown


async def test_a_day_lived_as_it_is_recorded_ends_there_too(serve: ServerFactory, tmp_path: Path) -> None:
    server = await serve()
    today = await server.today()
    simulated = await simulate(
        server, tmp_path / "measured.json", "--speed", "20000", "--doctors", "4", "--patients", "40"
    )
    assert simulated.code == 0, simulated
    assert simulated.summary["seconds"] > 1.0
    assert await board(server, today) == await board(await serve(), today)


async def test_a_server_that_dies_in_between_is_waited_for(serve: ServerFactory, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    server = await serve("--port", port)
    simulation = asyncio.create_task(
        simulate(server, tmp_path / "measured.json", "--date", str(A_DAY), "--doctors", "10", "--patients", "300")
    )
    while (await server.get("/queue?min_sequence=300")).status != 200:
        pass
    server.kill()
    await server.process.wait()
    reborn = await serve("--port", port)
    simulated = await simulation
    assert simulated.code == 0, simulated
    assert simulated.summary["differences"] == []
    assert await board(reborn, str(A_DAY)) == await board(await serve(), str(A_DAY))


async def test_somebody_elses_hospital_is_left_alone(server: Server, tmp_path: Path) -> None:
    await server.a_doctor(code="ANNA", name="Dr. Anna Real")
    simulated = await simulate(server, tmp_path / "measured.json")
    assert (simulated.code, simulated.out) == (1, "")
    assert simulated.errors.startswith("simulate: this server holds somebody else's hospital")
    assert len((await server.get("/doctors")).body["doctors"]) == 1


async def test_without_a_server_it_says_so_in_one_line(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        nowhere = Server(None, f"http://127.0.0.1:{unused.getsockname()[1]}", bytearray(), None)  # type: ignore[arg-type]
        simulated = await simulate(nowhere, tmp_path / "measured.json")
    assert simulated.code == 1
    assert re.fullmatch(r"simulate: 127\.0\.0\.1:\d+ does not answer: .+\n", simulated.errors)
