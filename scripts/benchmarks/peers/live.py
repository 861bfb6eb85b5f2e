"""The peers that publish when told, each in a process of its own, and whether they can run here."""

from __future__ import annotations

import os
import shutil
import sys
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import msgspec

from scripts.benchmarks import stage
from scripts.benchmarks.cue import Script
from scripts.benchmarks.stage import Server

ROOT: Final = Path(__file__).parents[3]


@dataclass(frozen=True, slots=True)
class Peer:
    """`missing`: what is not here, of what it takes to run it."""

    name: str
    command: tuple[str, ...]
    deflate: bool = False
    missing: str | None = None

    def serving(self, message: bytes) -> AbstractAsyncContextManager[Server]:
        return stage.serving(*self.command, job=Script(msgspec.Raw(message)))


def _python(module: str) -> tuple[str, ...]:
    return sys.executable, "-m", f"scripts.benchmarks.peers.{module}"


def _not_installed(*packages: str) -> str | None:
    missing = [package for package in packages if find_spec(package) is None]
    return f"not installed: {', '.join(missing)}" if missing else None


def _node() -> Peer:
    """With the package where scripts/test puts it, or in the folder that the tests are told."""
    folder = Path(os.environ.get("DAYSHEET_TEST_NODE_MODULES") or ROOT / ".venv" / "node" / "node_modules")
    program = shutil.which("node")
    if program is None or not (folder / "ws").is_dir():
        return Peer("Node's ws", (), missing="there is no node on PATH, or no package ws where scripts/test puts it")
    return Peer("Node's ws", (program, str(Path(__file__).with_name("node_ws.js")), str(folder.absolute())))


BARE_WRITE: Final = Peer("transport.write of a ready frame", _python("bare_write"))
WEBSOCKETS: Final = Peer("websockets.broadcast", _python("websockets_broadcast"), missing=_not_installed("websockets"))
AIOHTTP: Final = Peer("aiohttp's send_str in a loop", _python("aiohttp_loop"))
AIOHTTP_DEFLATED: Final = Peer("aiohttp's compress=True", _python("aiohttp_loop"), deflate=True)
FASTAPI: Final = Peer(
    "FastAPI, send_json in a loop", _python("fastapi_json"), missing=_not_installed("fastapi", "uvicorn")
)
NODE: Final = _node()
POSTGRES: Final = Peer("FastAPI and asyncpg", (), missing=_not_installed("fastapi", "uvicorn"))


def here(*peers: Peer) -> list[Peer]:
    """Those that can run. Says of the others why not."""
    for peer in peers:
        if peer.missing:
            print(f"left out: {peer.name} ({peer.missing})", flush=True)
    return [peer for peer in peers if not peer.missing]
