"""The workers of a server, and what it logged."""

from __future__ import annotations

import json
from typing import Any

import psutil

from tests.server import Server


def workers_of(supervisor: int) -> dict[int, psutil.Process]:
    """By number. One that has just been forked is none yet."""
    return {
        int(process.info["cmdline"][-1]): process
        for process in psutil.process_iter(["ppid", "cmdline"])
        if process.info["ppid"] == supervisor and "worker" in (process.info["cmdline"] or ())
    }


def workers(server: Server) -> dict[int, psutil.Process]:
    return workers_of(server.process.pid)


def logged(server: Server, event: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in server.log.decode().splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == event]
