"""`daysheet watch`: what a night nurse sees."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from rich.cells import cell_len
from rich.console import Console

from gateway.client import Connection
from gateway.terminal.picture import PAGE_SECONDS, PANEL_HEIGHT, Freshness, picture
from gateway.terminal.reception import Reception
from projections import shapes
from tests.conftest import ServerFactory
from tests.gateway.contract import UNKNOWN, at
from tests.gateway.terminal import CTRL_C, terminal
from tests.server import Server
from tests.system.command import daysheet

in_hospital = pytest.mark.asyncio(loop_scope="module")

SECONDS = 30.0
LIVE = Freshness(Connection.LIVE, sequence=10341, silent_seconds=2.4)

# --- the picture ---------------------------------------------------------------------------------


def a_block(code: str, *people: tuple[str, str, int, str], **clinic: Any) -> dict[str, Any]:
    """`people`: (name, stage, position, priority)."""
    return {
        "doctor": {"id": UNKNOWN, "name": "Dr. Amara Okafor", "code": code, "specialty": "Cardiology"},
        "total_appointments": len(people),
        "checked_in_count": len(people),
        "clinic": {
            "status": "open", "capacity": 40, "booked": 9, "free": 31, "waiting": 3, "starts_at": "09:00",
            "slot_minutes": 10, "room": "Room 4", "delay_minutes": 0, "note": None,
        } | clinic,
        "appointments": [
            {
                "appointment_id": UNKNOWN, "slot": number, "status": "confirmed", "priority": priority,
                "patient": {"id": UNKNOWN, "name": name, "phone": None, "age": 40, "gender": "female"},
                "queue": {
                    "position": position, "checked_in_at": at("2025-11-17", "09:00"), "called_at": None,
                    "completed_at": None, "status": stage, "ticket": f"{code}-{number}",
                },
            }
            for number, (name, stage, position, priority) in enumerate(people, 1)
        ],
    }  # fmt: skip


MORNING = a_block(
    "DOC001",
    ("Third Waiting", "checked_in", 2, "routine"),
    ("Second Called", "called", 0, "routine"),
    ("Away Forawhile", "on_hold", 0, "routine"),
    ("First Inside", "in_consultation", 0, "routine"),
    ("Urgent Waiting", "checked_in", 1, "urgent"),
    ("Gone Home", "completed", 0, "routine"),
)


def drawn(
    *blocks: dict[str, Any], freshness: Freshness = LIVE, width: int = 100, height: int = 24, seconds: float = 0.0
) -> list[str]:
    """The lines of the screen."""
    told = {
        "date": "2025-11-17",
        "total_appointments": 6,
        "total_doctors": len(blocks),
        "doctors": list(blocks),
        "timestamp": at("2025-11-17", "10:00"),
    }
    console = Console(width=width, height=height, legacy_windows=False)
    with console.capture() as captured:
        day = msgspec.convert(told, shapes.Day)
        console.print(picture(day, freshness, width=width, height=height, seconds=seconds), end="")
    return captured.get().splitlines()


def test_who_is_inside_comes_first_then_who_is_called_then_the_line_then_who_is_away() -> None:
    lines = drawn(MORNING)
    rows = [line.strip("│ ").split() for line in lines if "DOC001-" in line]
    assert rows == [
        ["now", "DOC001-4", "First", "Inside"],
        ["call", "DOC001-2", "Second", "Called"],
        ["1", "DOC001-5", "urgent", "Urgent", "Waiting"],
        ["2", "DOC001-1", "Third", "Waiting"],
        ["hold", "DOC001-3", "Away", "Forawhile"],
    ]
    assert "Gone Home" not in "".join(lines)
    assert "Mon 17 Nov 2025 · 3 waiting · 1 doctor · 6 appointments" in lines[0]
    assert "DOC001 Dr. Amara Okafor" in lines[1]
    assert lines[-1].strip() == "live · #10341 · heard 2 s ago"


def test_a_clinic_says_how_late_it_is_and_why() -> None:
    text = "\n".join(drawn(a_block("DOC001", status="closed", delay_minutes=25, note="an emergency")))
    assert "closed · 3 waiting · 25 min late · Room 4" in text
    assert "an emergency" in text


@pytest.mark.parametrize("width", [20, 40, 43, 88, 250, 500])
@pytest.mark.parametrize("height", [1, 2, 3, 6, 10, 24, 80])
def test_it_fits_the_terminal_and_the_footer_stays_in_sight(width: int, height: int) -> None:
    long = a_block(
        "A-code-of-forty-characters-is-quite-long", ("周子轩 " * 30, "checked_in", 1, "emergency"), room="R" * 90
    )
    lines = drawn(MORNING, long, *[a_block(f"D{n}") for n in range(20)], width=width, height=height)
    assert len(lines) == height
    assert max(map(cell_len, lines)) <= width
    assert lines[-1].startswith("live · #10341")


def test_for_whom_there_is_no_room_is_counted() -> None:
    line = [(f"Patient {n}", "checked_in", n, "routine") for n in range(1, 31)]
    lines = drawn(a_block("DOC001", *line), width=40, height=14)
    shown = [text for text in lines if "DOC001-" in text]
    assert [text.split()[1] for text in shown] == [str(n) for n in range(1, len(shown) + 1)]
    assert f"… {30 - len(shown)} more" in " ".join("\n".join(lines).split())


def test_pages_turn_until_every_doctor_was_seen() -> None:
    blocks = [a_block(f"DOC{n:03}") for n in range(30)]
    seen: list[str] = []
    for page in range(5):
        lines = drawn(*blocks, width=100, height=3 * PANEL_HEIGHT + 2, seconds=page * PAGE_SECONDS)
        assert f"page {page + 1} of 5" in lines[-1]
        seen += re.findall(r"DOC\d{3}", "\n".join(lines))
    assert sorted(seen) == [block["doctor"]["code"] for block in blocks]


def test_a_board_that_is_not_live_shouts() -> None:
    freshness = Freshness(Connection.RECONNECTING, 7, 31.0, "127.0.0.1:8000 cannot be reached: Connection refused")
    lines = drawn(MORNING, freshness=freshness)
    assert "RECONNECTING · #7 · heard 31 s ago · 127.0.0.1:8000 cannot be reached: Connection refused" in lines[-1]
    assert "First Inside" in "".join(lines)  # the last board stays


def test_a_name_cannot_steer_the_terminal() -> None:
    name = "\x1b[2J\x9b31mRed\u202eOl\u200fga\n[bold]\u2028Ω[/bold]"
    text = "\n".join(drawn(a_block("DOC001", (name, "called", 0, "routine"), note="\x07ring")))
    assert "[2J31mRedOlga[bold]Ω[/bold]" in text
    assert not set(text) & {"\x1b", "\x9b", "\u200f", "\u2028", "\u202e", "\x07"}


def test_a_date_without_clinics_says_so() -> None:
    assert any("no clinic on this date" in line for line in drawn())


# --- the command ---------------------------------------------------------------------------------


class Watching:
    """`daysheet watch` with its output in a pipe."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def line(self) -> str:
        assert self.process.stdout is not None
        async with asyncio.timeout(SECONDS):
            return (await self.process.stdout.readline()).decode()

    async def complaint(self) -> str:
        assert self.process.stderr is not None
        async with asyncio.timeout(SECONDS):
            return (await self.process.stderr.readline()).decode()

    async def ends(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        async with asyncio.timeout(SECONDS):
            return await self.process.wait()


@asynccontextmanager
async def watching(*arguments: str) -> AsyncIterator[Watching]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "gateway",
        "watch",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield Watching(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def a_called_patient(hospital: Server, day: str) -> tuple[str, str, str]:
    """(the doctor's code, tickets of who is called and of who waits)"""
    doctor = await hospital.a_doctor(department="Heart")
    code = str((await hospital.get(f"/doctors/{doctor}")).body["code"])
    for _ in range(2):
        booked = await hospital.an_appointment(doctor, date=day, effective_at=at(day, "08:00"))
        await hospital.post("/checkins", {"appointment_id": booked, "effective_at": at(day, "08:30")})
    await hospital.post("/queue/call-next", {"doctor_id": doctor, "date": day})
    return code, f"{code}-1", f"{code}-2"


@in_hospital
async def test_in_a_pipe_each_state_is_a_line_without_names(hospital: Server, past: str) -> None:
    code, called, waits = await a_called_patient(hospital, past)
    async with watching(past, "--url", hospital.url) as watch:
        first = await watch.line()
        assert f" 2 appointments | {code} open, 1 waiting, called {called}, next {waits}\n" in first
        other = await hospital.a_doctor()
        booked = await hospital.post(
            "/appointments",
            {
                "doctor_id": other,
                "patient_id": await hospital.a_patient(),
                "date": past,
                "effective_at": at(past, "08:00"),
            },
        )
        second = await watch.line()
        while " 3 appointments | " not in second:  # the clinic opens before there is somebody in it
            second = await watch.line()
        assert f"#{booked.body['sequence']} " in second
        assert "Priya" not in first + second
        assert await watch.ends(signal.SIGINT) == 0
        assert await watch.complaint() == ""


@in_hospital
@pytest.mark.parametrize("choice", [("--doctor", "--public"), ("--department", "Heart")])
async def test_it_shows_only_what_was_chosen(hospital: Server, past: str, choice: tuple[str, ...]) -> None:
    code, called, _ = await a_called_patient(hospital, past)
    await hospital.an_appointment(await hospital.a_doctor(department="Skin"), date=past, effective_at=at(past, "08:00"))
    chosen = [choice[0], code.lower(), *choice[1:]] if choice[0] == "--doctor" else list(choice)
    async with watching(past, "--url", hospital.url.replace("http", "ws"), *chosen) as watch:
        line = await watch.line()
        assert f" 2 appointments | {code} open" in line
        assert f"called {called}" in line
        assert line.count("|") == 1
        assert await watch.ends(signal.SIGTERM) == 0


@in_hospital
async def test_in_a_terminal_it_is_a_live_board_that_ctrl_c_ends(hospital: Server, past: str) -> None:
    _, called, waits = await a_called_patient(hospital, past)
    async with terminal("watch", past, "--url", hospital.url) as screen:
        await screen.shows(f"call {called}")
        assert "Priya Raman" in screen.text
        await screen.shows("live · #")
        doctor = (await hospital.get(f"/queue?date={past}")).body["data"]["doctors"][0]["doctor"]["id"]
        await hospital.post(
            "/queue/call-next",
            {"doctor_id": doctor, "date": past, "complete_current": True},
        )
        await screen.shows(f"call {waits}")
        os.write(screen.terminal, CTRL_C)
        await screen.ends()
        assert screen.process.returncode == 0
        assert screen.raw.endswith(b"\x1b[?25h\x1b[?1049l")  # the cursor, and what was there before


async def test_a_server_that_is_not_there_yet_is_waited_for_and_then_shows_its_today(serve: ServerFactory) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    async with watching("--url", f"http://127.0.0.1:{port}") as watch:
        refused = f"127.0.0.1:{port} cannot be reached: Connection refused"
        assert await watch.complaint() == f"daysheet: {refused}; trying again\n"
        server = await serve("--port", str(port))
        assert (await watch.line()).startswith(await server.today())
        server.kill()
        assert (await watch.complaint()).startswith("daysheet: reconnecting: ")
        assert await watch.ends(signal.SIGINT) == 0


@in_hospital
async def test_what_cannot_be_watched_is_said_in_one_line(hospital: Server) -> None:
    unknown, nowhere, wrong = await asyncio.gather(
        daysheet("watch", "2025-11-17", "--doctor", "nobody", DAYSHEET_URL=hospital.url),
        daysheet("watch", "2025-11-17", "--url", "ward-3"),
        daysheet("watch", "2025-11-17", "--url", hospital.url, "--department", "x" * 101),
    )
    assert unknown.said == "daysheet: there is no doctor 'nobody'"
    assert nowhere.said == "daysheet: 'ward-3' is no server's address, such as http://127.0.0.1:8000"
    assert wrong.said.startswith("daysheet: the server rejects the subscription: ")


@pytest.mark.parametrize(
    ("answer", "trouble"),
    [
        ((429, "text/plain", b""), "answers HTTP 429"),
        ((502, "text/html", b"<html>"), "answers HTTP 502"),
        ((200, "text/html", b"<html>"), "answers what no server of Daysheet would"),
        ((200, "application/json", b"{"), "answers what no server of Daysheet would"),
        ((200, "application/json", b'{"data":{}}'), "answers what no server of Daysheet would"),
        ((200, "application/json", b'"\xff"'), "answers what no server of Daysheet would"),
    ],
)
async def test_whoever_answers_in_place_of_the_server_is_asked_again(
    answer: tuple[int, str, bytes], trouble: str
) -> None:
    status, kind, body = answer
    answers = iter([web.Response(status=status, content_type=kind, body=body)])
    said: list[str] = []

    async def queue(request: web.Request) -> web.Response:
        today = {"date": "2025-11-17", "timestamp": at("2025-11-17", "10:00")}
        return next(answers, web.json_response({"data": today}))

    app = web.Application()
    app.router.add_get("/api/v1/queue", queue)
    async with TestServer(app, host="127.0.0.1") as server, aiohttp.ClientSession() as session:
        assert await Reception(session, str(server.make_url("")), said.append).today() == date(2025, 11, 17)
        assert said == [f"127.0.0.1:{server.port} {trouble}; trying again"]


async def test_a_terminal_that_cannot_be_drawn_on_gets_lines(serve: ServerFactory) -> None:
    server = await serve()
    async with terminal("watch", "2025-11-17", "--url", server.url, kind="dumb") as screen:
        await screen.shows("#0 0 appointments")
        os.write(screen.terminal, CTRL_C)
        await screen.ends()
    assert b"\x1b" not in screen.raw


async def test_a_board_that_was_left_on_shows_the_new_day_after_midnight() -> None:
    """The server is scripted: no clock waits for a test."""
    asked: list[str] = []

    async def queue(request: web.Request) -> web.Response:
        return web.json_response({"data": {"date": "2025-11-17", "timestamp": at("2025-11-17", "23:59")}})

    async def live(request: web.Request) -> web.WebSocketResponse:
        connection = web.WebSocketResponse()
        await connection.prepare(request)
        day = (await connection.receive_json())["date"]
        asked.append(day)
        data = {"date": day, "total_appointments": 0, "total_doctors": 0, "doctors": [], "timestamp": at(day, "00:00")}
        await connection.send_json({"type": "snapshot", "epoch": "e", "sequence": 1, "data": data})
        midnight = {"sequence": 1, "head": 1, "lag_seconds": 0.0, "timestamp": at("2025-11-18", "00:00")}
        await connection.send_json({"type": "heartbeat"} | midnight)
        await connection.receive()
        return connection

    app = web.Application()
    app.router.add_get("/api/v1/queue", queue)
    app.router.add_get("/api/v1/ws/queue", live)
    async with TestServer(app, host="127.0.0.1") as server, watching("--url", str(server.make_url(""))) as watch:
        assert (await watch.line()).startswith("2025-11-17")
        assert (await watch.line()).startswith("2025-11-18")
        assert await watch.ends(signal.SIGINT) == 0
    assert asked == ["2025-11-17", "2025-11-18"]
