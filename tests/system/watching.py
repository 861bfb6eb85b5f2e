"""Monitors that watch one date through whatever happens to its servers, and a witness whom they all tell what they see.

Of one view at one sequence there is one state, whoever shows it: any server, any worker, whole or as what changed.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from tests.described import is_described
from tests.gateway.contract import applied

SECONDS: Final = 40.0
"""For what takes a moment, on a machine with much else to do."""
RETRY_SECONDS: Final = 0.02
NARROW_BYTES: Final = 4096
"""What the kernel takes in for a monitor that reads slowly."""
LAST_MESSAGES: Final = 12

Data = dict[str, Any]
Whim = Literal["leave", "switch off and on", "look elsewhere", "stop reading"]


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """What a monitor asks to see. `asked`: keys of its `subscribe`. `doctor`: the one it connects for."""

    name: str
    asked: Mapping[str, Any] = field(default_factory=dict)
    doctor: str | None = None

    @property
    def path(self) -> str:
        return f"/{self.doctor}" if self.doctor else ""


@dataclass(frozen=True, slots=True)
class Envelope:
    """What an update or a delta told beside its data. `resumed`: it was the answer to a `resume`."""

    who: str
    view: View
    after: int
    sequence: int
    events: list[dict[str, Any]] | None
    resumed: bool


class Witness:
    """Remembers what was shown at which sequence of which view, and raises AssertionError for a second truth."""

    def __init__(self) -> None:
        self.envelopes: list[Envelope] = []
        self.compared: Counter[str] = Counter()
        """By view: how many states that came as deltas were found equal to one that came whole, or the other way."""
        self._states: dict[tuple[str, int], tuple[Data, str, bool]] = {}
        self.epoch: str | None = None

    def sees(self, view: View, envelope: Data, data: Data, who: str, *, whole: bool) -> None:
        self.epoch = self.epoch or envelope["epoch"]
        _require(envelope["epoch"] == self.epoch, f"{who} is told of another epoch: {envelope['epoch']}")
        sequence, state = envelope["sequence"], {key: data[key] for key in data if key != "timestamp"}
        known, first, was_whole = self._states.setdefault((view.name, sequence), (state, who, whole))
        if known != state and (where := difference(*_after_erasures(known, state))):
            raise AssertionError(f"{view.name} at {sequence} differs from what {first} was shown to {who}: {where}")
        self.compared[view.name] += was_whole != whole


def _after_erasures(one: Data, other: Data) -> tuple[Data, Data]:
    """Whoever is erased in one state, in both of them: who has forgotten cannot show who it was before."""
    blocks = [block for state in (one, other) for block in state.get("doctors", [state])]
    erased = {
        one["appointment_id"]
        for block in blocks
        for one in block["appointments"]
        if one["patient"]["name"] == "[erased]"
    }

    def block(shown: Data) -> Data:
        listed = [{**one, "patient": None} if one["appointment_id"] in erased else one for one in shown["appointments"]]
        return {**shown, "appointments": listed}

    def whole(state: Data) -> Data:
        return {**state, "doctors": [block(each) for each in state["doctors"]]} if "doctors" in state else block(state)

    return whole(one), whole(other)


def difference(one: Any, other: Any, where: str = "") -> str:
    """The first place where two states differ; empty where they do not."""
    if one == other:
        return ""
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        return next(found for key in one if (found := difference(one[key], other[key], f"{where}.{key}")))
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = enumerate(zip(one, other, strict=True))
        return next(found for index, (a, b) in pairs if (found := difference(a, b, f"{where}[{index}]")))
    return f"{where}: {_short(one)} and {_short(other)}"


def _short(shown: Any) -> str:
    text = json.dumps(shown, ensure_ascii=False)
    return text if len(text) < 600 else f"{text[:300]} … {text[-300:]}"


@dataclass(slots=True)
class Scene:
    """Where monitors find a server (`somewhere`: a base URL), and what they watch there."""

    somewhere: Callable[[], str]
    date: str
    another_date: str
    chance: Random
    witness: Witness = field(default_factory=Witness)
    commands: int = 0
    """So many were acknowledged so far."""
    busy: bool = False
    """More of them are on their way."""


class Monitor:
    """Never gives up: who loses the connection comes back wherever it lands, with what it had, unless `forgetful`.

    `whims`: what it does after a message, and how likely. `stops_for`: the number of commands that it does not read.
    """

    def __init__(
        self,
        scene: Scene,
        view: View,
        *,
        deltas: bool = False,
        compressed: bool = False,
        narrow: bool = False,
        forgetful: bool = False,
        heartbeat: bool = False,
        whims: Mapping[Whim, float] | None = None,
        stops_for: int = 60,
    ) -> None:
        self.scene, self.view = scene, view
        self._deltas, self._compressed, self._narrow, self._forgetful = deltas, compressed, narrow, forgetful
        self._whims, self._stops_for = whims or {}, stops_for
        self._keys = {**view.asked, **({"mode": "delta"} if deltas else {}), **({"heartbeat": 5} if heartbeat else {})}
        words = {"delta" if deltas else "full": True, "deflated": compressed, "narrow": narrow, "forgetful": forgetful}
        self.name = (
            f"{view.name} ({', '.join([word for word, is_so in words.items() if is_so])}; {', '.join(self._whims)})"
        )
        self.epoch, self.sequence, self.data = "", -1, Data()
        self._awaits: Literal["snapshot", "resumption"] | None = None
        """What the first answer to its subscription is to be, until it has come."""
        self._last: deque[str] = deque(maxlen=LAST_MESSAGES)

    def __str__(self) -> str:
        return self.name

    async def watch(self) -> None:
        """For ever. Raises AssertionError, with what it heard last."""
        try:
            while True:
                try:
                    async with self._connected() as line:
                        await self._listen(line)
                        continue  # It left, and is back before another server may know what it has seen.
                except InvalidStatus as refused:
                    _require(refused.response.status_code == 503, f"{refused.response.status_code} at the door")
                except ConnectionClosed as closed:
                    lost = closed.rcvd is None and closed.sent is None
                    _require(lost or (closed.rcvd is not None and closed.rcvd.code == 1012), f"closed: {closed}")
                except (InvalidHandshake, OSError, EOFError):
                    pass
                await asyncio.sleep(RETRY_SECONDS)
        except AssertionError as wrong:
            wrong.add_note(f"seen by {self.name}, whose last messages were\n" + "\n".join(self._last))
            raise

    async def look_once(self, reached: int) -> None:
        """Afresh, where a server has come as far in the log as `reached`."""
        async with self._connected() as line:
            # Whoever is behind waits before it answers to this.
            resume = {"epoch": self.scene.witness.epoch, "sequence": reached}
            kind = ""
            while kind not in ("snapshot", "delta"):
                if kind in ("", "error"):
                    await line.send(json.dumps({"action": "subscribe", "date": self.scene.date, "resume": resume}))
                kind = (await self._hear(line))["type"]
            await self._subscribe(line)
            while not self._takes(await self._hear(line)):
                pass

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[ClientConnection]:
        base = self.scene.somewhere()
        where = urlsplit(base)
        plain = socket.socket()
        try:
            if self._narrow:
                plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, NARROW_BYTES)
            plain.setblocking(False)
            await asyncio.get_running_loop().sock_connect(plain, (where.hostname, where.port))
            line = await connect(
                f"{base.replace('http', 'ws', 1)}/api/v1/ws/queue{self.view.path}",
                sock=plain,
                compression="deflate" if self._compressed else None,
                proxy=None,
                max_size=None,
                max_queue=1,
                open_timeout=SECONDS,
            )
        except BaseException:
            plain.close()
            raise
        try:
            yield line
        finally:
            line.transport.abort()  # Monitors are unplugged; they do not say good-bye.
            await line.wait_closed()

    # --- what it says ----------------------------------------------------------------------------

    async def _subscribe(self, line: ClientConnection, *, again: bool = False) -> None:
        """`again`: over a connection where it was shown something before."""
        message: Data = {"action": "subscribe", "date": self.scene.date, **self._keys}
        self._awaits = "snapshot"
        if self._forgetful and not again:
            self.sequence = -1
        elif self.sequence >= 0 and not self._forgetful:
            message["resume"] = {"epoch": self.epoch, "sequence": self.sequence}
            self._awaits = "resumption"
        await line.send(json.dumps(message))

    async def _listen(self, line: ClientConnection) -> None:
        await self._subscribe(line)
        while True:
            message = await self._hear(line)
            if not self._takes(message):
                if message["type"] == "error":
                    await asyncio.sleep(RETRY_SECONDS)
                    await self._subscribe(line, again=True)
                continue
            match self._whim():
                case "leave":
                    return
                case "switch off and on":
                    await self._switch_off_and_on(line)
                case "look elsewhere":
                    await self._look_elsewhere(line)
                case "stop reading":
                    await self._stop_reading()

    def _whim(self) -> Whim | None:
        for whim, likely in self._whims.items():
            if self.scene.chance.random() < likely:
                return whim
        return None

    async def _switch_off_and_on(self, line: ClientConnection) -> None:
        await line.send('{"action":"unsubscribe"}')
        while (message := await self._hear(line))["type"] != "unsubscribed":
            self._takes(message)
        await self._subscribe(line, again=True)

    async def _look_elsewhere(self, line: ClientConnection) -> None:
        elsewhere = self.scene.another_date
        await line.send(json.dumps({"action": "subscribe", "date": elsewhere}))
        while (message := await self._hear(line)).get("data", {}).get("date") != elsewhere:
            self._takes(message)
            if message["type"] == "error":
                break
        await self._subscribe(line, again=True)

    async def _stop_reading(self) -> None:
        enough = self.scene.commands + self._stops_for
        await until(lambda: not self.scene.busy or self.scene.commands >= enough)

    # --- what it gets ----------------------------------------------------------------------------

    async def _hear(self, line: ClientConnection) -> Data:
        text = await line.recv(decode=False)
        is_described(text, f"/api/v1/ws/queue{self.view.path}")
        message: Data = json.loads(text)
        kept = {key: message[key] for key in ("type", "from", "sequence", "events", "code") if key in message}
        self._last.append(json.dumps(kept)[:1000])
        return message

    def _takes(self, message: Data) -> bool:
        """Whether it was a state of what is watched."""
        match message["type"]:
            case "snapshot" | "update" if message["data"]["date"] != self.scene.date:
                return False
            case "snapshot":
                _require(self._awaits == "snapshot", "a snapshot, though no more than what changed is missing")
                _require(message["sequence"] >= self.sequence, f"back from {self.sequence}")
                self._shows(message, message["data"], whole=True)
            case "update":
                _require(self._awaits is None and not self._deltas, "an update was not asked for")
                self._goes_on(message)
                self._shows(message, message["data"], whole=True)
            case "delta":
                _require(
                    self._awaits == "resumption" or (self._awaits is None and self._deltas), "no delta was asked for"
                )
                if self._awaits == "resumption":
                    _require(message["from"] == self.sequence <= message["sequence"], f"not from {self.sequence} on")
                else:
                    _require(message["from"] <= self.sequence, f"a state after {self.sequence} is left out")
                    self._goes_on(message)
                self._shows(message, _changed(self.view, self.data, message["data"]), whole=False)
            case "heartbeat":
                _require(message["sequence"] <= min(self.sequence, message["head"]), f"{self.sequence} is not all")
                return False
            case "error":
                _require(message["code"] == "unavailable", f"an error: {message}")
                return False
            case kind:
                _require(kind == "status", f"said without being asked: {kind}")
                return False
        self._awaits = None
        return True

    def _goes_on(self, message: Data) -> None:
        _require(message["from"] < message["sequence"], "an update of nothing")
        _require(message["sequence"] > self.sequence, f"back from {self.sequence}")

    def _shows(self, message: Data, data: Data, *, whole: bool) -> None:
        self.epoch, self.sequence, self.data = message["epoch"], message["sequence"], data
        witness = self.scene.witness
        witness.sees(self.view, message, data, self.name, whole=whole)
        if message["type"] != "snapshot":
            told = message["from"], message["sequence"], message["events"]
            witness.envelopes.append(Envelope(self.name, self.view, *told, resumed=self._awaits == "resumption"))


def _changed(view: View, state: Data, change: Data) -> Data:
    """A view's data after a delta's data."""
    if view.doctor is None:
        return applied(state, change)
    block = [state] if state["clinic"] is not None else []
    after = applied({"doctors": block}, change)["doctors"]
    return {**state, **(after[0] if after else {}), "timestamp": change["timestamp"]}


async def until(true: Callable[[], object], otherwise: Callable[[], str] = lambda: "") -> None:
    """Raises AssertionError, with what `otherwise` says, when it takes longer than anything may."""
    try:
        async with asyncio.timeout(SECONDS):
            while not true():  # noqa: ASYNC110 - many monitors come as far, each in its own time
                await asyncio.sleep(RETRY_SECONDS)
    except TimeoutError:
        raise AssertionError(otherwise()) from None


def _require(true: bool, otherwise: str) -> None:
    if not true:
        raise AssertionError(otherwise)
