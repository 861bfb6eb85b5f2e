"""Clients of four makes watch one day, with and without compression, and see the same.

Commands run, and meanwhile each client pings, subscribes again in full or for deltas, resumes, or leaves for a moment,
as it likes. Each may skip other states; but of a state that several saw, each saw the same, be it told whole or put
together from deltas, and all of them end at what HTTP says of the day.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp
import websockets
from playwright.async_api import Browser

from tests.described import ALL_DOCTORS, is_described
from tests.server import Server
from tests.web.conftest import program

COMMANDS: Final = 150
DOCTORS: Final = 3
PATIENTS: Final = 12
PATIENCE_SECONDS: Final = 15.0
AT_EASE_SECONDS: Final = 0.03
DOCTOR_BLOCK: Final = ("doctor", "total_appointments", "checked_in_count", "clinic")

NODE: Final = """
const socket = new (require('ws'))(process.argv[1], {perMessageDeflate: process.argv[2] === 'true'});
socket.on('open', () => {
  console.log(JSON.stringify({extensions: socket.extensions}));
  require('readline').createInterface({input: process.stdin}).on('line', line => socket.send(line));
});
socket.on('message', data => console.log(data.toString()));
"""
PAGE: Final = """
url => new Promise((resolve, reject) => {
  window.socket = new WebSocket(url);
  socket.onmessage = event => heard(event.data);
  socket.onopen = () => resolve(socket.extensions);
  socket.onerror = reject;
})
"""


@dataclass  # without slots: Playwright leaves something of its own on whoever listens to it
class Client:
    """`say` sends one message; whatever comes is given to `hear`."""

    make: str
    say: Callable[[str], Awaitable[Any]]
    compressed: bool
    heard: list[dict[str, Any]] = field(default_factory=list)
    said: Counter[str] = field(default_factory=Counter)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def hear(self, text: str | bytes) -> None:
        self.heard.append(json.loads(text))
        self._news.set()

    async def ask(self, action: str, **keys: Any) -> None:
        self.said["resume" if "resume" in keys else action] += 1
        await self.say(json.dumps({"action": action} | keys))

    @property
    def answers(self) -> Counter[str]:
        """By what they answer. Of a resumption the answer is a delta, like others."""
        heard = Counter(message["type"] for message in self.heard)
        return Counter(subscribe=heard["snapshot"], unsubscribe=heard["unsubscribed"], ping=heard["pong"])

    @property
    def everything_is_answered(self) -> bool:
        return all(number == self.said[action] for action, number in self.answers.items())

    @property
    def told(self) -> list[dict[str, Any]]:
        """The messages that tell of the day."""
        return [message for message in self.heard if message["type"] in ("snapshot", "update", "delta")]

    def states(self) -> list[tuple[int, dict[str, Any]]]:
        """(sequence, day) as it was shown, one message after the other; without the time of its sending."""
        shown: list[tuple[int, dict[str, Any]]] = []
        for message in self.told:
            data = {key: value for key, value in message["data"].items() if key != "timestamp"}
            if message["type"] == "delta":
                sequence, before = shown[-1]
                assert message["from"] <= sequence, (self.make, message)
                data = applied(before, data)
            shown.append((message["sequence"], data))
        return shown

    async def has_heard(self, sequence: int) -> None:
        """Waits for an answer to everything said, and for that state."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not self.everything_is_answered or self.told[-1]["sequence"] < sequence:
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"{self.make} said {self.said} and heard {self.answers}") from None


def applied(day: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """The day after a delta, as the contract says what is in one."""
    blocks = {block["doctor"]["id"]: block for block in day["doctors"]}
    for changed in change["doctors"]:
        fields = {key: changed[key] for key in DOCTOR_BLOCK if key in changed}
        block = blocks.get(changed["doctor_id"], {"appointments": []}) | fields
        listed = {each["appointment_id"]: each for each in block["appointments"]}
        assert not set(changed["removed"]) & {each["appointment_id"] for each in changed["appointments"]}
        for appointment_id in changed["removed"]:
            listed.pop(appointment_id, None)
        listed |= {each["appointment_id"]: each for each in changed["appointments"]}
        for appointment_id, position in changed["positions"].items():
            waiting = listed[appointment_id]
            listed[appointment_id] = waiting | {"queue": waiting["queue"] | {"position": position}}
        block["appointments"] = sorted(listed.values(), key=lambda each: each["slot"])
        blocks[changed["doctor_id"]] = block
    for doctor_id in change.get("removed_doctors", ()):
        blocks.pop(doctor_id, None)
    doctors = sorted(blocks.values(), key=lambda block: block["doctor"]["code"])
    totals = {key: change[key] for key in ("total_appointments", "total_doctors")}
    return {"date": day["date"]} | totals | {"doctors": doctors}


# --- the four makes ------------------------------------------------------------------------------


@asynccontextmanager
async def python_websockets(url: str, *, compress: bool) -> AsyncIterator[Client]:
    async with websockets.connect(url, compression="deflate" if compress else None, max_size=None) as socket:
        client = Client("websockets", socket.send, bool(socket.protocol.extensions))

        async def read() -> None:
            async for text in socket:
                client.hear(text)

        reading = asyncio.create_task(read())
        try:
            yield client
        finally:
            await socket.close()
            await reading


@asynccontextmanager
async def python_aiohttp(url: str, *, compress: bool) -> AsyncIterator[Client]:
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(url, compress=15 if compress else 0, max_msg_size=0) as socket,
    ):
        client = Client("aiohttp", socket.send_str, bool(socket.compress))

        async def read() -> None:
            async for message in socket:
                client.hear(message.data)

        reading = asyncio.create_task(read())
        try:
            yield client
        finally:
            await socket.close()
            await reading


@asynccontextmanager
async def node_ws(url: str, node_modules: Path, *, compress: bool) -> AsyncIterator[Client]:
    process = await asyncio.create_subprocess_exec(
        *(program("node"), "-e", NODE, url, str(compress).lower()),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={"NODE_PATH": str(node_modules)},
        limit=2**24,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    told, lines = process.stdin, process.stdout

    async def say(text: str) -> None:
        told.write(text.encode() + b"\n")
        await told.drain()

    try:
        opened = json.loads(await lines.readline())
        client = Client("ws", say, "permessage-deflate" in opened["extensions"])

        async def read() -> None:
            async for line in lines:
                client.hear(line)

        reading = asyncio.create_task(read())
        yield client
    finally:
        process.kill()
        await process.wait()
    await reading


@asynccontextmanager
async def chromium(url: str, browser: Browser) -> AsyncIterator[Client]:
    """It offers compression always."""
    page = await browser.new_page()
    client = Client("Chromium", lambda text: page.evaluate("text => socket.send(text)", text), compressed=False)
    await page.expose_function("heard", client.hear)
    client.compressed = "permessage-deflate" in await page.evaluate(PAGE, url)
    yield client
    await page.close()


# --- a day of theirs -----------------------------------------------------------------------------


@dataclass(slots=True)
class Hospital:
    """Random commands, one after the other. Some are refused: so it is."""

    server: Server
    chance: random.Random
    today: str = ""
    doctors: list[str] = field(default_factory=list)
    patients: list[str] = field(default_factory=list)
    appointments: list[str] = field(default_factory=list)
    outcomes: Counter[int] = field(default_factory=Counter)

    async def open(self) -> None:
        self.today = await self.server.today()
        for number in range(DOCTORS):
            self.doctors.append(await self.server.a_doctor(name=f"Dr. Ünal {number}"))
            clinic = {"capacity": 60, "starts_at": "00:00", "slot_minutes": 10}
            await self.server.call("PUT", f"/clinics/{self.doctors[-1]}/{self.today}", clinic)
        self.patients = [await self.server.a_patient(name=f"山田 {number} 🏥") for number in range(PATIENTS)]

    async def work(self) -> None:
        for _ in range(COMMANDS):
            method, path, body = self.chance.choice((self._book, self._book, self._arrive, self._call, self._step))()
            answer = await self.server.call(method, path, body)
            assert answer.status < 300 or answer.status == 409, answer
            self.outcomes[answer.status] += 1
            if path == "/appointments" and answer.status == 201:
                self.appointments.append(answer.body["appointment_id"])
            await asyncio.sleep(self.chance.choice((0, 0, AT_EASE_SECONDS)))

    def _book(self) -> tuple[str, str, dict[str, Any]]:
        who = {"doctor_id": self.chance.choice(self.doctors), "patient_id": self.chance.choice(self.patients)}
        return "POST", "/appointments", who | {"date": self.today, "allow_overlap": True}

    def _arrive(self) -> tuple[str, str, dict[str, Any]]:
        if not self.appointments:
            return self._book()
        return "POST", "/checkins", {"appointment_id": self.chance.choice(self.appointments)}

    def _call(self) -> tuple[str, str, dict[str, Any]]:
        return "POST", "/queue/call-next", {"doctor_id": self.chance.choice(self.doctors), "complete_current": True}

    def _step(self) -> tuple[str, str, dict[str, Any]]:
        if not self.appointments:
            return self._book()
        one = f"/appointments/{self.chance.choice(self.appointments)}"
        why = {"reason": "so it was"}
        steps: list[tuple[str, str, dict[str, Any]]] = [
            *(("POST", f"{one}/{name}", {}) for name in ("start", "complete", "hold", "resume", "recall")),
            *(("POST", f"{one}/{name}", why) for name in ("undo", "cancel", "move")),
            ("POST", f"{one}/priority", why | {"priority": self.chance.choice(("routine", "urgent"))}),
            ("PATCH", f"/patients/{self.chance.choice(self.patients)}", {"name": f"Zoë {self.chance.random()}"}),
            ("PATCH", f"/doctors/{self.chance.choice(self.doctors)}", {"name": f"Dr. {self.chance.random()}"}),
            (
                "POST",
                f"/clinics/{self.chance.choice(self.doctors)}/{self.today}/delay",
                {"minutes": 5, "note": "“”"},
            ),
        ]
        return self.chance.choice(steps)


async def chatter(client: Client, today: str, chance: random.Random, over: asyncio.Event) -> None:
    """What a client says while it watches. It begins and ends subscribed."""
    says = [["subscribe"]]
    while True:
        for action in chance.choice(says):
            await client.ask(**_message(client, action, today, chance.choice(("full", "delta"))))
        if over.is_set():
            return
        says = [["ping"], ["ping", "ping"], ["subscribe"], ["resume"], ["unsubscribe", "ping", "subscribe"]]
        says.append(["unsubscribe", "resume", "ping"])
        await asyncio.sleep(chance.random() * 10 * AT_EASE_SECONDS)


def _message(client: Client, action: str, today: str, mode: str) -> dict[str, Any]:
    subscribes = {"action": "subscribe", "date": today, "mode": mode}
    if action == "subscribe" or (action == "resume" and not client.told):
        return subscribes
    if action == "resume":
        last = client.told[-1]
        return subscribes | {"resume": {"epoch": last["epoch"], "sequence": last["sequence"]}}
    return {"action": action}


async def test_clients_of_four_makes_see_the_same_day(server: Server, browser: Browser, node_modules: Path) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    hospital = Hospital(server, random.Random(seed))
    await hospital.open()
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(connection)
            for connection in (
                python_websockets(server.ws, compress=False),
                python_websockets(server.ws, compress=True),
                python_aiohttp(server.ws, compress=False),
                python_aiohttp(server.ws, compress=True),
                node_ws(server.ws, node_modules, compress=False),
                node_ws(server.ws, node_modules, compress=True),
                chromium(server.ws, browser),
            )
        ]
        over = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for client in clients:
                group.create_task(
                    chatter(client, hospital.today, random.Random(f"{seed} {client.make} {client.compressed}"), over)
                )
            await hospital.work()
            over.set()
        end = (await server.get(f"/queue?date={hospital.today}")).body
        for client in clients:
            await client.has_heard(end["sequence"])

    assert [client.compressed for client in clients] == [False, True, False, True, False, True, True]
    assert {message["type"] for client in clients for message in client.told} == {"snapshot", "update", "delta"}
    assert hospital.outcomes[201] + hospital.outcomes[200] > COMMANDS / 3
    del end["data"]["timestamp"]
    seen: Counter[int] = Counter()
    day: dict[int, Any] = {}
    for client in clients:
        for message in client.heard:
            is_described(json.dumps(message), ALL_DOCTORS)
        goes_forward(client)
        states = client.states()
        assert states[-1] == (end["sequence"], end["data"]), client.make
        for sequence, state in states:
            assert day.setdefault(sequence, state) == state, (client.make, sequence)
        seen.update({sequence for sequence, _ in states})
    assert len([sequence for sequence, number in seen.items() if number > len(clients) / 2]) > COMMANDS / 10, seen
    updates_are_one_for_all(clients)


def goes_forward(client: Client) -> None:
    """No state is older than the one before it; no update is told twice."""
    sequences = [message["sequence"] for message in client.told]
    assert sequences == sorted(sequences), client.make
    updates = [message["sequence"] for message in client.told if message["type"] == "update"]
    assert len(updates) == len(set(updates)), client.make


def updates_are_one_for_all(clients: list[Client]) -> None:
    """Also in what is around the state: who got an update, got this one."""
    updates: dict[int, Any] = {}
    for client in clients:
        for message in client.told:
            if message["type"] == "update":
                around = {key: value for key, value in message.items() if key != "data"}
                assert updates.setdefault(message["sequence"], around) == around, client.make
