"""The original system's way with a queue, decently made: FastAPI and asyncpg, a connection pool, indexed tables.

A command is one UPDATE. After the answer the date is read again, with one query, and sent whole to one monitor after
another. `sequence` is added to what the original sends, so that a client can tell which commands a message shows.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from datetime import date, datetime
from itertools import groupby
from typing import Any, Final
from uuid import UUID

import asyncpg
import uvicorn
import uvloop
from fastapi import BackgroundTasks, FastAPI, WebSocket, WebSocketDisconnect

from scripts.benchmarks import cue

POOL: Final = 10
STATUS: Final = {"hold": "on_hold", "resume": "checked_in"}

_STEP: Final = """
UPDATE queue SET status = $2 FROM appointment WHERE appointment_id = $1 AND id = $1
RETURNING date, nextval('change') AS sequence
"""
_DAY: Final = """
SELECT d.id AS doctor_id, d.name AS doctor, d.code, d.specialty,
       a.id, a.slot, a.status, p.id AS patient_id, p.name, p.phone, p.age, p.gender,
       q.status AS stage, q.checked_in_at, q.called_at, q.completed_at,
       CASE q.status WHEN 'checked_in'
            THEN row_number() OVER (PARTITION BY a.doctor_id, q.status ORDER BY q.checked_in_at, a.slot) ELSE 0
       END AS position
FROM appointment a JOIN doctor d ON d.id = a.doctor_id JOIN patient p ON p.id = a.patient_id
     LEFT JOIN queue q ON q.appointment_id = a.id
WHERE a.date = $1 ORDER BY d.code, a.slot
"""


class Monitors:
    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._of: dict[date, list[WebSocket]] = {}

    async def watch(self, socket: WebSocket) -> None:
        await socket.accept()
        day = date.fromisoformat((await socket.receive_json())["date"])
        await socket.send_json({"type": "snapshot", "sequence": 0, "data": await self._read(day)})
        monitors = self._of.setdefault(day, [])
        monitors.append(socket)
        with suppress(WebSocketDisconnect):
            while True:
                await socket.receive_json()
        monitors.remove(socket)

    async def publish(self, day: date, sequence: int) -> None:
        message = {"type": "update", "sequence": sequence, "data": await self._read(day)}
        for monitor in list(self._of.get(day, [])):
            with suppress(WebSocketDisconnect, RuntimeError):  # one that has just gone
                await monitor.send_json(message)

    async def _read(self, day: date) -> dict[str, Any]:
        rows = await self._pool.fetch(_DAY, day)
        doctors = [_doctor(list(own)) for _, own in groupby(rows, key=lambda row: row["doctor_id"])]
        return {
            "date": day.isoformat(),
            "total_appointments": len(rows),
            "total_doctors": len(doctors),
            "doctors": doctors,
            "timestamp": datetime.now().astimezone().isoformat(timespec="seconds"),
        }


def _doctor(rows: list[asyncpg.Record]) -> dict[str, Any]:
    first = rows[0]
    return {
        "doctor": {
            "id": str(first["doctor_id"]),
            "name": first["doctor"],
            "code": first["code"],
            "specialty": first["specialty"],
        },
        "total_appointments": len(rows),
        "checked_in_count": sum(row["stage"] is not None for row in rows),
        "appointments": [_appointment(row) for row in rows],
    }


def _appointment(row: asyncpg.Record) -> dict[str, Any]:
    queue = None
    if row["stage"] is not None:
        queue = {
            "position": row["position"],
            "checked_in_at": _time(row["checked_in_at"]),
            "called_at": _time(row["called_at"]),
            "completed_at": _time(row["completed_at"]),
            "status": row["stage"],
        }
    return {
        "appointment_id": str(row["id"]),
        "slot": row["slot"],
        "status": row["status"],
        "patient": {
            "id": str(row["patient_id"]),
            "name": row["name"],
            "phone": row["phone"],
            "age": row["age"],
            "gender": row["gender"],
        },
        "queue": queue,
    }


def _time(at: datetime | None) -> str | None:
    return at.isoformat(timespec="seconds") if at else None


def application(pool: asyncpg.Pool) -> FastAPI:
    app, monitors = FastAPI(), Monitors(pool)

    @app.post("/api/v1/appointments/{appointment_id}/{step}")
    async def command(appointment_id: UUID, step: str, afterwards: BackgroundTasks) -> dict[str, int]:
        stepped = await pool.fetchrow(_STEP, appointment_id, STATUS[step])
        assert stepped is not None
        day, sequence = stepped
        afterwards.add_task(monitors.publish, day, sequence)
        return {"sequence": sequence}

    app.add_api_websocket_route(cue.PATH, monitors.watch)
    return app


async def main() -> None:
    database_url, _ = await cue.told(str)
    async with asyncpg.create_pool(database_url, min_size=POOL, max_size=POOL) as pool:
        server = uvicorn.Server(uvicorn.Config(application(pool), log_level="warning", timeout_graceful_shutdown=1))
        with socket.create_server(("127.0.0.1", 0), backlog=2048) as listener:
            cue.listening_at(listener.getsockname()[1])
            await server.serve([listener])


if __name__ == "__main__":
    uvloop.run(main())
