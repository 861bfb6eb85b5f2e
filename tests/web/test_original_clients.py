"""The clients of the original document, word for word, against a server.

`original/` holds its code blocks as they stand there, taken out of their list item where they were in one. They name
localhost:8000, a port that no test can be sure to get: `pointed_at` puts another one in its place, and nothing else.
They watch 2025-11-17, a day that is over: it is filled by late entry. The React hook is in test_react_hook.py.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pytest_asyncio
from websockets.asyncio.client import connect

from tests.server import Server
from tests.web.conftest import Visit, program

ORIGINAL: Final = Path(__file__).parent / "original"
DAY: Final = "2025-11-17"
SAYS_SECONDS: Final = 10.0

# What the JavaScript client prints of the day: at first, and when Priya has arrived.
JAVASCRIPT_AT_FIRST: Final = """
2 doctors, 3 appointments

Dr. Dr. Smith:
  - 2 appointments
  - 1 checked in
    Slot 1: John Doe
    Slot 2: Priya Raman

Dr. Dr. Johnson:
  - 1 appointments
  - 0 checked in
    Slot 4: Zoë Ångström
"""
JAVASCRIPT_THEN: Final = JAVASCRIPT_AT_FIRST.replace("1 checked in", "2 checked in")

PYTHON_AT_FIRST: Final = """\
Received: snapshot

Date: 2025-11-17
Total: 2 doctors, 3 appointments

Dr. Dr. Smith (Cardiology):
  2 appointments, 1 checked in
    Slot 1: John Doe [checked_in]
    Slot 2: Priya Raman 

Dr. Dr. Johnson (Neurology):
  1 appointments, 0 checked in
    Slot 4: Zoë Ångström 

"""  # noqa: W291 - its blanks are the client's
PYTHON_THEN: Final = (
    PYTHON_AT_FIRST.replace("snapshot", "update")
    .replace("1 checked in", "2 checked in")
    .replace("Raman ", "Raman [checked_in]")
)


def original(file: str) -> str:
    return (ORIGINAL / file).read_text(encoding="utf-8")


def pointed_at(server: Server, text: str) -> str:
    """The only change to the original's words: where the server listens."""
    assert text.count("localhost:8000") == 1
    return text.replace("localhost:8000", f"localhost:{urlsplit(server.url).port}")


@dataclass(frozen=True, slots=True)
class Day:
    """The 17th of November 2025, recorded afterwards: Priya is about to arrive."""

    server: Server
    priyas_appointment: str

    async def priya_arrives(self) -> None:
        late = {"appointment_id": self.priyas_appointment, "effective_at": at("09:20")}
        assert (await self.server.post("/checkins", late)).status == 201


def at(time: str) -> str:
    return f"{DAY}T{time}:00+05:30"


@pytest_asyncio.fixture
async def day(server: Server) -> Day:
    smith = await server.a_doctor(name="Dr. Smith", code="DOC001", specialty="Cardiology")
    johnson = await server.a_doctor(name="Dr. Johnson", code="DOC002", specialty="Neurology")
    john = await server.a_patient(name="John Doe", phone="+1234567890", age=45, gender="male")
    priya = await server.a_patient(name="Priya Raman")
    zoe = await server.a_patient(name="Zoë Ångström")
    booked = {"date": DAY, "effective_at": at("08:00")}
    johns = await server.an_appointment(smith, john, **booked)
    priyas = await server.an_appointment(smith, priya, **booked)
    await server.an_appointment(johnson, zoe, slot=4, **booked)
    here = await server.post("/checkins", {"appointment_id": johns, "effective_at": at("09:15")})
    assert here.status == 201
    return Day(server, priyas)


@dataclass(slots=True)
class Client:
    """A client at work in a process of its own."""

    process: asyncio.subprocess.Process
    printed: str = ""

    async def prints(self, text: str) -> None:
        """Waits until it has printed this."""
        assert self.process.stdout is not None
        try:
            async with asyncio.timeout(SAYS_SECONDS):
                while text not in self.printed:
                    more = await self.process.stdout.read(65536)
                    assert more, f"it ended, having printed {self.printed!r}"
                    self.printed += more.decode()
        except TimeoutError:
            raise AssertionError(f"it printed only {self.printed!r}") from None


@asynccontextmanager
async def running(*command: str, **environment: str) -> AsyncIterator[Client]:
    process = await asyncio.create_subprocess_exec(
        *command,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, **environment},
    )
    try:
        yield Client(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_the_python_client_prints_the_day_and_what_changes(day: Day, tmp_path: Path) -> None:
    script = tmp_path / "python_client.py"
    script.write_text(pointed_at(day.server, original("python_client.py")), encoding="utf-8")
    async with running(sys.executable, "-u", str(script), PYTHONUTF8="1") as client:
        await client.prints(PYTHON_AT_FIRST)
        await day.priya_arrives()
        await client.prints(PYTHON_THEN)
    assert client.printed == PYTHON_AT_FIRST + PYTHON_THEN


async def test_the_javascript_client_runs_in_node(day: Day, tmp_path: Path, node_modules: Path) -> None:
    script = tmp_path / "javascript_client.js"
    # Browsers have WebSocket at hand. Node, before its version 22, is told first where it is.
    needed = "const WebSocket = require('ws');\n"
    script.write_text(needed + pointed_at(day.server, original("javascript_client.js")), encoding="utf-8")
    async with running(program("node"), str(script), NODE_PATH=str(node_modules)) as client:
        await client.prints(JAVASCRIPT_AT_FIRST)
        assert client.printed.startswith("Connected to central queue!\nReceived: {\n  type: 'snapshot'")
        await day.priya_arrives()
        await client.prints(JAVASCRIPT_THEN)
        await day.server.stop()
        await client.prints("\nDisconnected\n")
    assert "error" not in client.printed


async def test_the_javascript_client_runs_in_a_browser(day: Day, tmp_path: Path, visit: Visit) -> None:
    printed: list[str] = []
    visit.page.on("console", lambda message: printed.append(message.text))
    page = tmp_path / "page.html"
    snippet = pointed_at(day.server, original("javascript_client.js"))
    page.write_text(f"<!doctype html><meta charset=utf-8><script>{snippet}</script>", encoding="utf-8")

    async def prints(text: str) -> None:
        async with asyncio.timeout(SAYS_SECONDS):
            while text not in "\n".join([*printed, ""]):
                await visit.page.wait_for_event("console")

    await visit.page.goto(page.as_uri())
    await prints(JAVASCRIPT_AT_FIRST)
    await day.priya_arrives()
    await prints(JAVASCRIPT_THEN)
    await day.server.stop()
    await prints("\nDisconnected\n")
    assert visit.complaints == []


async def test_wscats_message_is_answered_with_the_day(day: Day) -> None:
    lines = pointed_at(day.server, original("wscat.sh")).splitlines()
    url = lines[0].removeprefix("wscat -c ")
    async with connect(url) as socket, asyncio.timeout(SAYS_SECONDS):
        await socket.send(lines[-1])
        snapshot = json.loads(await socket.recv())
    assert (snapshot["type"], snapshot["data"]["date"], snapshot["data"]["total_appointments"]) == ("snapshot", DAY, 3)


async def test_the_quick_starts_check_in_by_curl_reaches_a_monitor(server: Server) -> None:
    """An appointment of today's, since that is what one can check in for without late entry."""
    patient = await server.a_patient(name="John Doe")
    appointment = await server.an_appointment(await server.a_doctor(), patient)
    command = pointed_at(server, original("quick_start_checkin.sh"))
    for placeholder, chosen in (('"appointment_id": "..."', appointment), ('"patient_id": "..."', patient)):
        assert placeholder in command
        command = command.replace(placeholder, placeholder.replace("...", chosen))
    program("curl")
    async with server.monitor() as monitor:
        await monitor.send_json({"action": "subscribe", "date": await server.today()})
        assert (await monitor.receive_json())["type"] == "snapshot"
        async with running(program("bash"), "-c", command) as curl:
            await curl.prints('"status":"checked_in"')
        update = await monitor.receive_json()
    (shown,) = update["data"]["doctors"][0]["appointments"]
    assert (update["type"], shown["appointment_id"]) == ("update", appointment)
    assert (shown["queue"]["status"], shown["queue"]["position"]) == ("checked_in", 1)


async def test_a_snapshot_has_every_key_of_the_documents_example_and_the_same_kinds_of_values(day: Day) -> None:
    text = re.sub(r"// .*", "", original("snapshot.jsonc")).replace("[...]", "[]")
    example = json.loads(re.sub(r",(\s*[\]}])", r"\1", text))
    async with day.server.monitor() as monitor:
        await monitor.send_json({"action": "subscribe", "date": DAY})
        snapshot = await monitor.receive_json()
    assert missing(example, snapshot) == []


def missing(example: Any, real: Any, where: str = "") -> list[str]:
    """What the example has, and the real thing has not, or has as something else. Of lists, the first element."""
    if isinstance(example, dict) and isinstance(real, dict):
        lost = [f"{where}.{key}" for key in example if key not in real]
        return lost + [
            each for key in example.keys() & real for each in missing(example[key], real[key], f"{where}.{key}")
        ]
    if isinstance(example, list) and isinstance(real, list):
        return missing(example[0], real[0], f"{where}[0]") if example else []
    return [] if type(example) is type(real) else [f"{where} is {real!r}"]
