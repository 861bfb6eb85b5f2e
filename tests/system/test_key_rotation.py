"""`daysheet key rotate` while servers serve: nobody notices, and wherever it is killed, the next one finishes it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import secrets
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg

from domain.postgres.connect import Connection
from domain.vault.master import MasterKey, at_hand
from domain.vault.rotate import BATCH_KEYS
from tests.conftest import Database, ServerFactory
from tests.log.writing import APPEND_LOCK, until
from tests.server import Answer, Server
from tests.system.command import daysheet
from tests.system.record import ask, whole_record

MANY = 5 * BATCH_KEYS


def _keys(database: Database) -> list[MasterKey]:
    return at_hand(None, database.folder / "master.key")


def _text(file: Path) -> str:
    return file.read_text(encoding="ascii")


def _write(file: Path, text: str) -> None:
    file.write_text(text, encoding="ascii")


def _rotate(database: Database) -> tuple[str, ...]:
    return ("key", "rotate", f"--database-url={database.url}", f"--data-dir={database.folder}")


async def _wrapped_by(database: Database, key: MasterKey) -> int:
    """How many patients' keys this one opens, of all that name it."""
    rows = await ask(database.admin_url, "SELECT wrapped FROM daysheet.patient_key")
    return len([key.unwrap(row["wrapped"]) for row in rows if row["wrapped"].startswith(key.id)])


async def _all_wrapped_by(database: Database, key: MasterKey) -> bool:
    rows = await ask(
        database.admin_url,
        "SELECT FROM daysheet.patient_key WHERE substr(wrapped, 1, 8) <> $1"
        " UNION ALL SELECT FROM daysheet.secret WHERE substr(wrapped, 1, 8) <> $1",
        key.id,
    )
    return not rows


async def _add_patients(database: Database, number: int) -> None:
    """Keys of patients who never come, so that there is something to do."""
    (master,) = _keys(database)
    connection = await asyncpg.connect(database.admin_url)
    try:
        rows = [(uuid4(), master.wrap(secrets.token_bytes(32))) for _ in range(number)]
        await connection.copy_records_to_table("patient_key", schema_name="daysheet", records=rows)
    finally:
        await connection.close()


class Reception:
    """Clerks at several servers, who register, rename, look up and erase for as long as they are left to."""

    def __init__(self, servers: tuple[Server, ...]) -> None:
        self.names: dict[str, str] = {}
        self.erased: set[str] = set()
        self.answers: list[Answer] = []
        self._servers = servers
        self._open = True

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as clerks:
            for server in self._servers:
                clerks.create_task(self._clerk(server))
                clerks.create_task(self._clerk(server))
            yield
            self._open = False

    async def _clerk(self, server: Server) -> None:
        number = 0
        while self._open:
            number += 1
            name = f"Asha {secrets.token_hex(4)}"
            patient = str((await self._give(server.post("/patients", {"name": name}))).body["id"])
            self.names[patient] = name
            if number % 3 == 0:
                told = await self._give(server.call("PATCH", f"/patients/{patient}", {"name": f"Ida {name}"}))
                self.names[patient] = told.body["name"]
            if number % 5 == 0:
                await self._give(server.post(f"/patients/{patient}/erase", {"reason": "asked for it"}))
                self.erased.add(patient)
                del self.names[patient]
            someone = next(iter(self.names), patient)
            await self._give(server.get(f"/patients/{someone}"))

    async def _give(self, answer: Any) -> Answer:
        told: Answer = await answer
        self.answers.append(told)
        return told


async def test_two_servers_go_on_while_the_key_changes_under_them(
    two: tuple[Server, Server], database: Database
) -> None:
    early = {await two[0].a_patient(name=f"Early {number}"): f"Early {number}" for number in range(5)}
    await _add_patients(database, 2_000)
    (old,) = _keys(database)
    reception = Reception(two)
    async with reception.at_work():
        await until(lambda: len(reception.answers) > 20)
        ended = await daysheet(*_rotate(database))
        assert ended.code == 0, ended
        there = len(reception.answers)
        await until(lambda: len(reception.answers) > there + 50)

    assert {answer.status for answer in reception.answers} <= {200, 201}
    (new,) = _keys(database)
    assert f"master key {new.id.hex()} wraps " in ended.out
    assert "master.key.retired" in ended.out
    assert await _all_wrapped_by(database, new)
    assert await _wrapped_by(database, old) == 0
    assert await _wrapped_by(database, new) == 2_000 + len(early) + len(reception.names)
    everyone = early | reception.names
    for server in two:
        for patient, name in list(everyone.items())[:20] + list(everyone.items())[-20:]:
            assert (await server.get(f"/patients/{patient}")).body["name"] == name
        for patient in reception.erased:
            assert (await server.get(f"/patients/{patient}")).body["name"] == "[erased]"
    await whole_record(database.admin_url)
    for server in two:
        assert "Traceback" not in server.log.decode()
        assert '"level": "error"' not in server.log.decode()


@asynccontextmanager
async def _rotating(database: Database) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "gateway",
        *_rotate(database),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ},
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGKILL)
        await process.communicate()


async def _finish(database: Database, server: Server, everyone: dict[str, str]) -> None:
    """After a kill: all is readable, work goes on, and the next rotation ends what was begun."""
    patient = await server.a_patient(name="In Between")
    for one, name in {**everyone, patient: "In Between"}.items():
        assert (await server.get(f"/patients/{one}")).body["name"] == name
    await until(lambda: _nobody_rotates(database))
    ended = await daysheet(*_rotate(database))
    assert ended.code == 0, ended
    (key,) = _keys(database)
    assert await _all_wrapped_by(database, key)
    assert len(await ask(database.admin_url, "SELECT FROM daysheet.master_key")) == 2


async def _nobody_rotates(database: Database) -> bool:
    """PostgreSQL notices a client's death when it next has something to say to it."""
    return not await ask(
        database.admin_url,
        "SELECT FROM pg_locks JOIN pg_database d ON d.oid = database"
        " WHERE locktype = 'advisory' AND objid = 4004131708::oid AND d.datname = current_database()",
    )


async def test_killed_when_only_the_file_knows_the_new_key(serve: ServerFactory, database: Database) -> None:
    server = await serve()
    everyone = {await server.a_patient(name="Asha Rao"): "Asha Rao"}
    admin: Connection = await asyncpg.connect(database.admin_url)
    try:
        await admin.execute("SELECT pg_advisory_lock($1)", APPEND_LOCK)  # so that the store cannot learn of it
        async with _rotating(database):
            await until(lambda: len(_keys(database)) == 2)
    finally:
        await admin.close()
    await _finish(database, server, everyone)


async def test_killed_half_way_through_the_patients(serve: ServerFactory, database: Database) -> None:
    server = await serve()
    everyone = {await server.a_patient(name=f"Asha {number}"): f"Asha {number}" for number in range(20)}
    await _add_patients(database, MANY)
    admin: Connection = await asyncpg.connect(database.admin_url)
    try:
        async with admin.transaction():
            middle = "SELECT patient FROM daysheet.patient_key ORDER BY patient OFFSET $1 LIMIT 1"
            await admin.execute(f"SELECT FROM daysheet.patient_key WHERE patient = ({middle}) FOR UPDATE", MANY // 2)
            async with _rotating(database):
                await until(lambda: _waits(database, "daysheet.rewrap"))
    finally:
        await admin.close()
    new = _keys(database)[0]
    assert await _wrapped_by(database, new)
    assert not await _all_wrapped_by(database, new)  # it was killed in time
    another = await serve()
    await _finish(database, another, everyone)
    for one, name in everyone.items():
        assert (await server.get(f"/patients/{one}")).body["name"] == name


async def _waits(database: Database, what: str) -> bool:
    sql = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND strpos(query, $1) > 0"
    return bool(await ask(database.admin_url, sql, what))


async def test_an_old_key_file_is_refused_afterwards_and_a_new_one_lets_servers_on(
    serve: ServerFactory, database: Database
) -> None:
    server = await serve()
    patient = await server.a_patient(name="Asha Rao")
    file = database.folder / "master.key"
    old = _text(file)
    assert (await daysheet(*_rotate(database))).code == 0
    new = _text(file)
    assert await server.stop() == 0

    _write(file, old)
    serving = ("serve", "--port=0", f"--database-url={database.url}", f"--data-dir={database.folder}")
    refused = await daysheet(*serving)
    assert refused.said.startswith("daysheet: the master key at hand is retired: since ")
    assert old.strip() not in refused.errors
    again = await daysheet(*_rotate(database))
    assert "is retired" in again.said
    assert _text(file) == old

    _write(file, new)
    assert (await (await serve()).get(f"/patients/{patient}")).body["name"] == "Asha Rao"


async def test_all_workers_and_the_environment(serve: ServerFactory, database: Database) -> None:
    """The variable says what the option does, also for a subcommand; every worker learns by itself."""
    server = await serve("--workers", "2")
    patients = [await server.a_patient(name=f"Asha {number}") for number in range(8)]
    ready = await daysheet(
        "key", "rotate", "--prepare", DAYSHEET_DATABASE_URL=database.url, DAYSHEET_DATA_DIR=str(database.folder)
    )
    assert ready.code == 0, ready
    assert f"master key {_keys(database)[0].id.hex()} is ready" in ready.out
    done = await daysheet("key", "rotate", DAYSHEET_DATABASE_URL=database.url, DAYSHEET_DATA_DIR=str(database.folder))
    assert done.code == 0, done
    (new,) = _keys(database)
    later = [(await server.post("/patients", {"name": "Ida"}, Connection="close")).body["id"] for _ in range(8)]
    assert await _all_wrapped_by(database, new)
    for patient in (*patients, *later):
        for _ in range(2):
            told = await server.call("GET", f"/patients/{patient}", Connection="close")
            assert told.body["name"].partition(" ")[0] in ("Asha", "Ida")

    key = base64.b64encode(b"k" * 32).decode()
    told_off = await daysheet(*_rotate(database), DAYSHEET_MASTER_KEY=key)
    assert told_off.said == "daysheet: this store was made with another master key than the one at hand"
    file = database.folder / "master.key"
    own = await daysheet(*_rotate(database), DAYSHEET_MASTER_KEY=_text(file).strip())
    assert "DAYSHEET_MASTER_KEY='NEW OLD'" in own.said
    assert len(_keys(database)) == 1
