"""A real server in a process of its own, and someone to talk to it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import psutil

from tests.described import DescribedSocket

START_SECONDS = 60.0
STOP_SECONDS = 10.0  # what the contract grants


@dataclass(slots=True)
class Answer:
    status: int
    body: Any
    headers: Mapping[str, str]

    @property
    def code(self) -> str | None:
        return self.body.get("code") if isinstance(self.body, dict) else None


@dataclass(slots=True)
class Server:
    """`log` grows with what the process writes on stderr."""

    process: asyncio.subprocess.Process
    url: str
    log: bytearray
    _session: aiohttp.ClientSession
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    @property
    def api(self) -> str:
        return self.url + "/api/v1"

    @property
    def ws(self) -> str:
        return self.url.replace("http", "ws", 1) + "/api/v1/ws/queue"

    async def call(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """`body` as JSON; header names with `_` for `-`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self._session.request(method, self.api + path, json=body, headers=named) as response:
            text = await response.text()
            body = text if response.content_type == "text/plain" else json.loads(text) if text else None
            return Answer(response.status, body, response.headers)

    async def post(self, path: str, body: Any = None, **headers: str) -> Answer:
        return await self.call("POST", path, body, **headers)

    async def get(self, path: str) -> Answer:
        return await self.call("GET", path)

    async def today(self) -> str:
        """In the hospital."""
        return str((await self.get("/queue")).body["data"]["date"])

    async def a_doctor(self, **keys: Any) -> str:
        """Register one; returns the id."""
        made_up = {"name": "Dr. Amara Okafor", "code": f"D{uuid.uuid4().hex[:6]}", "specialty": "Cardiology"}
        answer = await self.post("/doctors", made_up | keys)
        assert answer.status == 201, answer
        return str(answer.body["id"])

    async def a_patient(self, **keys: Any) -> str:
        """Register one; returns the id."""
        answer = await self.post("/patients", {"name": "Priya Raman"} | keys)
        assert answer.status == 201, answer
        return str(answer.body["id"])

    async def an_appointment(self, doctor_id: str, patient_id: str | None = None, **keys: Any) -> str:
        """Book one, for today unless said otherwise; returns the id."""
        body = {
            "doctor_id": doctor_id,
            "patient_id": patient_id or await self.a_patient(),
            "date": await self.today() if "date" not in keys else keys["date"],
        }
        answer = await self.post("/appointments", body | keys)
        assert answer.status == 201, answer
        return str(answer.body["appointment_id"])

    @asynccontextmanager
    async def monitor(self, doctor_id: str | None = None) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        """A WebSocket connection: of all doctors, or of one."""
        url = self.ws if doctor_id is None else f"{self.ws}/{doctor_id}"
        async with self._session.ws_connect(url, max_msg_size=0) as socket:
            yield socket

    def kill(self) -> None:
        """As a power cut would."""
        self.process.send_signal(signal.SIGKILL)

    async def stop(self) -> int:
        """SIGTERM. Returns the exit code. Raises TimeoutError where it does not stop in time; then it is killed."""
        await self._session.close()
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_SECONDS):
                return await self.process.wait()
        finally:  # Whatever is left, of processes or of transports, would fail somebody else's test.
            if self.process.returncode is None:
                for each in (*psutil.Process(self.process.pid).children(recursive=True), self.process):
                    each.kill()
                await self.process.wait()
            await asyncio.gather(*self._tasks)


async def start_server(
    *options: str,
    environment: Mapping[str, str] | None = None,
    python: str = sys.executable,
    user: str | None = None,
) -> Server:
    """`daysheet serve`, on a free port unless told, once it answers; as another user if this is root.

    Raises AssertionError with its log if it does not.
    """
    process = await asyncio.create_subprocess_exec(
        python,
        "-m",
        "gateway",
        "serve",
        *(() if "--port" in options else ("--port", "0")),
        *options,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **(environment or {})},
        start_new_session=True,
        user=user,
        group=user,
        extra_groups=[] if user else None,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    log = bytearray()
    reading = asyncio.create_task(_gather(process.stderr, log))
    try:
        async with asyncio.timeout(START_SECONDS):
            line = (await process.stdout.readline()).decode()
    except BaseException:  # Nobody else could end it.
        process.kill()
        await asyncio.gather(process.wait(), reading, _gather(process.stdout, bytearray()))
        raise
    if not line.startswith("Daysheet serves "):
        await process.wait()
        await reading
        raise AssertionError(f"the server did not start: {log.decode(errors='replace')}")
    draining = asyncio.create_task(_gather(process.stdout, bytearray()))
    session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60), ws_response_class=DescribedSocket)
    return Server(process, line.removeprefix("Daysheet serves ").strip(), log, session, [reading, draining])


@asynccontextmanager
async def started(*options: str, environment: Mapping[str, str] | None = None) -> AsyncIterator[Server]:
    """One that is stopped afterwards, whatever happens; whoever asks how it stops may stop it before."""
    server = await start_server(*options, environment=environment)
    try:
        yield server
    finally:
        await server.stop()


async def _gather(stream: asyncio.StreamReader, into: bytearray) -> None:
    while chunk := await stream.read(65536):
        into += chunk
