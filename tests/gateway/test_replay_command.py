"""`daysheet replay`, and the client that it stands on."""

from __future__ import annotations

import asyncio
import datetime
import os
from typing import Any

import msgspec
import pytest
from rich.cells import cell_len
from rich.console import Console

from gateway.client import Moment, Rejected, Replay
from gateway.terminal.picture import picture
from gateway.terminal.replaying import Progress
from projections import shapes
from tests.gateway.contract import at
from tests.gateway.terminal import CTRL_C, terminal
from tests.server import Server
from tests.system.command import daysheet

in_hospital = pytest.mark.asyncio(loop_scope="module")

DAY = {"date": "2025-11-17", "total_appointments": 0, "total_doctors": 0, "doctors": [], "timestamp": "t"}


def moment(clock: str, **facts: Any) -> Moment[shapes.Day]:
    """Of a day from eight to noon."""
    told: dict[str, Any] = {
        "day": msgspec.convert(DAY, shapes.Day),
        "sequence": 10341,
        "at": _time(clock),
        "event": "PatientCheckedIn",
        "begins": _time("08:00"),
        "ends": _time("12:00"),
    }
    return Moment(**(told | facts))


def _time(clock: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(at("2025-11-17", clock))


def drawn(progress: Progress, width: int = 100) -> list[str]:
    console = Console(width=width, height=12, legacy_windows=False)
    with console.capture() as captured:
        console.print(picture(progress.moment.day, progress, width=width, height=12, seconds=0.0), end="")
    return captured.get().splitlines()


@pytest.mark.parametrize(("clock", "fraction"), [("07:00", 0.0), ("08:00", 0.0), ("09:00", 0.25), ("12:00", 1.0)])
def test_the_bar_goes_from_the_first_event_to_the_last(clock: str, fraction: float) -> None:
    progress = Progress(moment(clock), _time(clock), 60.0, ended=False)
    assert progress.fraction == fraction
    last = drawn(progress)[-1]
    assert last.startswith(f"{clock}:00")
    assert last.rstrip().endswith("×60 · #10341 · PatientCheckedIn")
    assert ("━" in last) == (fraction > 0)  # where there are no colours, what is to come is left blank


def test_a_day_without_hours_of_its_own_has_a_bar_that_is_empty_until_the_end() -> None:
    nothing = moment("09:00", sequence=0, event=None, begins=None, ends=None)
    assert Progress(nothing, nothing.at, 0, ended=False).fraction == 0
    assert Progress(nothing, nothing.at, 0, ended=True).fraction == 1
    assert "as fast as can be" in drawn(Progress(nothing, nothing.at, 0, ended=False))[-1]
    assert "at its end" in drawn(Progress(nothing, nothing.at, 0, ended=True))[-1]


@pytest.mark.parametrize("width", [20, 43, 88])
def test_it_fits_the_terminal(width: int) -> None:
    lines = drawn(Progress(moment("09:00"), _time("09:00"), 60.0, ended=False), width)
    assert len(lines) == 12
    assert max(map(cell_len, lines)) <= width


# --- the command ---------------------------------------------------------------------------------


async def a_morning(hospital: Server, day: str) -> tuple[str, str]:
    """(the doctor's code, the appointment): booked at eight, here at nine, written down later than called."""
    doctor = await hospital.a_doctor()
    code = str((await hospital.get(f"/doctors/{doctor}")).body["code"])
    booked = await hospital.an_appointment(doctor, date=day, effective_at=at(day, "08:00"))
    await hospital.post("/checkins", {"appointment_id": booked, "effective_at": at(day, "09:00")})
    called = {"reason": "out of turn", "effective_at": at(day, "10:00")}
    assert (await hospital.post(f"/appointments/{booked}/call", called)).status == 200
    return code, booked


@in_hospital
async def test_in_a_pipe_each_state_is_a_line_without_names(hospital: Server, past: str) -> None:
    code, _ = await a_morning(hospital, past)
    ended = await daysheet("replay", past, "--speed", 0, "--by", "effective", "--url", hospital.url)
    assert (ended.code, ended.errors) == (0, "")
    lines = ended.out.splitlines()
    assert [line.split(",")[0].partition(" #")[2].split(" ", 1)[-1] for line in lines] == [
        "nothing",
        "ClinicOpened",
        "AppointmentBooked",
        "PatientCheckedIn",
        "PatientCalled",
    ]
    assert lines[-1].startswith(at(past, "10:00"))
    assert lines[-1].endswith(f" 1 appointments | {code} open, 0 waiting, called {code}-1")
    assert "Priya" not in ended.out


@in_hospital
@pytest.mark.parametrize("begin", ["09:00", "9:00", "09:00:00", "{date}T09:00:00+05:30"])
async def test_it_begins_at_a_time_of_the_hospitals_clock(hospital: Server, past: str, begin: str) -> None:
    code, _ = await a_morning(hospital, past)
    await a_morning(hospital, past)
    ended = await daysheet(
        *("replay", past, "--at", begin.format(date=past), "--speed", 3600, "--by", "effective"),
        *("--doctor", code.lower(), "--url", hospital.url),
    )
    first, last = ended.out.splitlines()
    assert first.startswith(at(past, "09:00"))
    assert " PatientCheckedIn, " in first
    assert " PatientCalled, " in last


@in_hospital
async def test_it_begins_at_a_sequence(hospital: Server, past: str) -> None:
    await a_morning(hospital, past)
    sequence = (await hospital.get(f"/queue/{past}/events")).body["events"][2]["sequence"]
    ended = await daysheet("replay", past, "--at", sequence, "--speed", 0, "--url", hospital.url)
    assert [f"#{sequence} " in line for line in ended.out.splitlines()] == [True, False]


@in_hospital
async def test_what_cannot_be_replayed_is_said_in_one_line(hospital: Server) -> None:
    url = ("--url", hospital.url)
    fast, nowhen, nobody = await asyncio.gather(
        daysheet("replay", "2025-11-17", "--speed", 9999, *url),
        daysheet("replay", "2025-11-17", "--at", "noon", *url),
        daysheet("replay", "2025-11-17", "--doctor", "nobody", *url),
    )
    assert fast.said.startswith("daysheet: the server rejects")
    assert "3600" in fast.said
    assert nowhen.said.startswith("daysheet: 'noon' is no time, such as 09:15")
    assert nobody.said == "daysheet: there is no doctor 'nobody'"


@in_hospital
async def test_in_a_terminal_it_is_a_board_with_a_bar_that_ctrl_c_ends(hospital: Server, past: str) -> None:
    code, _ = await a_morning(hospital, past)
    options = ("--speed", "0", "--by", "effective", "--url", hospital.url)
    async with terminal("replay", past, *options) as screen:
        await screen.shows(f"call {code}-1")
        await screen.shows("at its end")
        assert "Priya Raman" in screen.text
        assert "10:00:00" in screen.text
        assert "━" in screen.text
        os.write(screen.terminal, CTRL_C)
        await screen.ends()
        assert screen.process.returncode == 0
        assert screen.raw.endswith(b"\x1b[?25h\x1b[?1049l")  # the cursor, and what was there before


# --- the client ----------------------------------------------------------------------------------


@in_hospital
async def test_the_client_plays_stands_still_and_goes_elsewhere(hospital: Server, past: str) -> None:
    await a_morning(hospital, past)
    begins, ends = (datetime.datetime.fromisoformat(at(past, clock)) for clock in ("08:00", "10:00"))
    async with Replay(hospital.url, datetime.date.fromisoformat(past), by="effective", speed=1) as replay:
        first = await anext(replay)
        assert (first.sequence, first.event, first.begins, first.ends) == (0, None, begins, ends)
        assert (await anext(replay)).event == "ClinicOpened"
        await replay.play(0)
        rest = [moment async for moment in replay]
        assert [moment.event for moment in rest] == ["AppointmentBooked", "PatientCheckedIn", "PatientCalled"]
        assert rest[-1].day.doctors[0].clinic.waiting == 0
        await replay.pause()
        await replay.seek(begins)
        sought = await anext(replay)
        assert (sought.at, sought.event) == (begins, "AppointmentBooked")
        await replay.play()
        assert [moment.event async for moment in replay] == ["PatientCheckedIn", "PatientCalled"]
        await replay.seek(2**62)
        with pytest.raises(Rejected):
            await anext(replay)
