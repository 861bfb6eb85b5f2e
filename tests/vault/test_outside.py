"""Erasures kept outside the store: what happens to the list, and what happens because of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from aiohttp import web

from domain.desk.outcome import Asker
from domain.postgres.connect import Connection
from domain.rules import commands
from domain.rules.ids import PatientId
from domain.vault.erased import Erasure, ErasureFile, line_of, read_lines
from gateway import erasures
from gateway.app import running
from gateway.erasures import ErasuresUnknown
from gateway.parts import Parts
from gateway.settings import Settings, SettingsError
from tests.conftest import Database, in_own_task
from tests.log.writing import until

CLERK = Asker(actor="desk-1", role="reception")
A_TIME = datetime(2025, 11, 17, 3, 45, tzinfo=UTC)


@dataclass
class Said:
    """What was logged since the test began."""

    _capsys: pytest.CaptureFixture[str]
    _text: str = ""

    def __call__(self, word: str) -> bool:
        self._text += "".join(self._capsys.readouterr())
        return word in self._text


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Said:
    return Said(capsys)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "erasures.ndjson"


async def _register(parts: Parts, name: str = "Asha Rao") -> PatientId:
    done = await parts.desk.handle(commands.RegisterPatient(name=name, phone="+911234567890"), CLERK)
    return PatientId(done.receipt.id)


async def _erase(parts: Parts, patient: PatientId) -> int:
    return (await parts.desk.handle(commands.ErasePatient(patient_id=patient, reason="asked for it"), CLERK)).sequence


def _with(database: Database, place: Path | str) -> Settings:
    return replace(database.settings(), erasures=str(place))


async def _store_id(admin: Connection) -> UUID:
    store_id: UUID = await admin.fetchval("SELECT store_id FROM daysheet.store")
    return store_id


def _listed(place: Path) -> list[PatientId]:
    return [erasure.patient for erasure in ErasureFile(place).read()]


def _text(place: Path) -> str:
    return place.read_text(encoding="utf-8")


def _keep(place: Path, text: bytes) -> None:
    place.write_bytes(text)


async def _refused(settings: Settings, database: Database) -> str:
    with pytest.raises(ErasuresUnknown) as caught:
        async with running(settings, database.url):
            pytest.fail("it ran")
    return str(caught.value)


# --- a file --------------------------------------------------------------------------------------


async def test_an_erasure_is_kept_outside_without_name_or_reason(
    database: Database, admin: Connection, place: Path
) -> None:
    async with in_own_task(_with(database, place)) as parts:
        patient, _ = await _register(parts), await _register(parts)
        assert _listed(place) == []
        sequence = await _erase(parts, patient)
        await until(lambda: _listed(place))
        (line,) = _text(place).splitlines()
    at = await admin.fetchval("SELECT recorded_at FROM daysheet.event WHERE position = $1", sequence)
    told = json.loads(line)
    assert datetime.fromisoformat(told.pop("erased_at")) == at
    assert told == {"store": str(await _store_id(admin)), "patient": str(patient), "sequence": sequence}


async def test_erasures_from_before_there_was_a_list_are_added_and_none_twice(database: Database, place: Path) -> None:
    async with in_own_task(database.settings()) as parts:
        before = [await _register(parts) for _ in range(3)]
        for patient in before:
            await _erase(parts, patient)
    _keep(place, b"")
    for _ in range(2):
        async with in_own_task(_with(database, place)) as parts:
            await until(lambda: len(_listed(place)) >= 3)
            assert parts.erasures is not None
            assert _listed(place) == before
    async with in_own_task(_with(database, place)) as here, in_own_task(_with(database, place)):
        last = await _register(here)
        await _erase(here, last)
        await until(lambda: len(_listed(place)) >= 4)
        await asyncio.sleep(2 * erasures.POLL_SECONDS)
    assert set(_listed(place)) == {*before, last}
    assert len(_listed(place)) <= 5  # two servers may both have written it, at the same moment


async def test_who_came_back_is_erased_again_before_anybody_is_served(
    database: Database, admin: Connection, place: Path
) -> None:
    async with in_own_task(database.settings()) as parts:
        back, gone, neighbour = await _register(parts), await _register(parts), await _register(parts, "Ida Berg")
        await _erase(parts, gone)
    store, unknown = await _store_id(admin), PatientId(uuid4())
    _keep(place, b"".join(line_of(_an_erasure(store, patient)) for patient in (back, gone, unknown, back)))

    async with in_own_task(_with(database, place)) as parts:
        rows = await admin.fetch("SELECT subject, data, meta FROM daysheet.event WHERE type LIKE 'patient-erased@%'")
        assert [row["subject"] for row in rows] == [gone, back]
        assert json.loads(rows[1]["data"])["reason"] == erasures.AGAIN
        assert json.loads(rows[1]["meta"])["actor"] == "restore"
        keys = await admin.fetch("SELECT patient FROM daysheet.patient_key")
        assert [row["patient"] for row in keys] == [neighbour]
        assert not parts.desk.equipment.vault.has_key(back)
        await parts.directory.have([back, neighbour])
        names = [parts.directory.person(patient) for patient in (back, neighbour)]
        assert [person.details.name for person in names if person] == ["[erased]", "Ida Berg"]
    async with in_own_task(_with(database, place)):
        assert await admin.fetchval("SELECT count(*) FROM daysheet.event") == 5  # once is enough


async def test_more_come_back_than_are_erased_at_once(database: Database, admin: Connection, place: Path) -> None:
    async with in_own_task(database.settings()) as parts:
        patients = await asyncio.gather(*[_register(parts) for _ in range(2 * erasures.AGAIN_AT_ONCE + 1)])
    store = await _store_id(admin)
    _keep(place, b"".join(line_of(_an_erasure(store, patient)) for patient in patients))
    async with in_own_task(_with(database, place)):
        assert await admin.fetchval("SELECT count(*) FROM daysheet.patient_key") == 0


# --- a list that cannot be believed --------------------------------------------------------------


async def test_a_store_with_nobody_in_it_makes_its_list(database: Database, place: Path) -> None:
    async with in_own_task(_with(database, place)):
        assert _text(place) == ""


async def test_a_store_with_somebody_in_it_does_not_start_without_its_list(database: Database, place: Path) -> None:
    """A disk that is not mounted looks just like a list that never was."""
    async with in_own_task(database.settings()) as parts:
        await _register(parts)
    said = await _refused(_with(database, place), database)
    assert said.startswith(f"--erasures {place}: the list of erasures is not there. Bring it back;")
    assert not list(database.folder.glob("*.ndjson"))


async def test_a_list_with_a_broken_line_is_none(database: Database, place: Path) -> None:
    _keep(place, line_of(_an_erasure(uuid4(), PatientId(uuid4()))) + b"{}\n")
    assert "line 2 of the list of erasures is none" in await _refused(_with(database, place), database)


async def test_another_stores_list_is_refused(database: Database, place: Path) -> None:
    _keep(place, line_of(_an_erasure(uuid4(), PatientId(uuid4()))))
    assert "the list of erasures is another store's" in await _refused(_with(database, place), database)


async def test_a_list_that_may_not_be_read_is_refused(database: Database, tmp_path: Path) -> None:
    assert "cannot be read: Is a directory" in await _refused(_with(database, tmp_path), database)


def test_a_last_line_cut_short_costs_nothing_of_the_others(place: Path) -> None:
    """Nobody was told that it is there; whoever wrote it finds it missing, and writes it again."""
    one, other, third = (_an_erasure(UUID(int=1), PatientId(uuid4())) for _ in range(3))
    _keep(place, line_of(one) + line_of(other)[:40])
    assert ErasureFile(place).read() == [one]
    ErasureFile(place).add([third, other])
    assert ErasureFile(place).read() == [one, third, other]
    assert _text(place).count("\n") == 4


def test_lines_are_read_whatever_the_blanks(place: Path) -> None:
    one, other = (_an_erasure(UUID(int=1), PatientId(uuid4())) for _ in range(2))
    assert read_lines(b"\n" + line_of(one) + b"\r\n\n" + line_of(other).strip()) == [one, other]
    assert read_lines(b"") == []


@pytest.mark.parametrize("text", ["", "ftp://host/list", "https://", "https://host:port/x", "http://[::1/x", "a\0b"])
def test_what_is_no_place_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="--erasures is neither a file nor an address"):
        Settings(erasures=text)


def test_the_demo_has_no_list() -> None:
    with pytest.raises(SettingsError, match="not for --demo"):
        Settings(erasures="list", demo=True)


# --- a URL ---------------------------------------------------------------------------------------


@dataclass
class ListServer:
    """Somebody's web server that keeps a list."""

    url: str = ""
    lines: list[bytes] = field(default_factory=list)
    status: int = 200
    asked: int = 0
    refused: int = 0
    authorization: set[str | None] = field(default_factory=set)

    async def handle(self, request: web.Request) -> web.Response:
        self.asked += 1
        self.authorization.add(request.headers.get("Authorization"))
        if self.status != 200:
            self.refused += 1
            return web.Response(status=self.status, headers={"Location": "/elsewhere"})
        if request.method == "POST":
            self.lines.append(await request.read())
            return web.Response(status=201)
        return web.Response(body=b"".join(self.lines))

    def patients(self) -> list[str]:
        return [json.loads(line)["patient"] for line in self.lines]


@asynccontextmanager
async def _serving(handle: Callable[[web.Request], Any]) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/list", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert site._server is not None
    port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
    try:
        yield f"http://warden:hush-hush@127.0.0.1:{port}/list"
    finally:
        await runner.cleanup()


@pytest_asyncio.fixture
async def at_url() -> AsyncIterator[ListServer]:
    server = ListServer()
    async with _serving(server.handle) as server.url:
        yield server


async def test_a_url_takes_each_erasure_and_gives_them_back(
    database: Database, admin: Connection, at_url: ListServer
) -> None:
    async with in_own_task(_with(database, at_url.url)) as parts:
        patient, back = await _register(parts), await _register(parts)
        await _erase(parts, patient)
        await until(lambda: at_url.lines)
    assert at_url.patients() == [str(patient)]
    assert at_url.authorization == {"Basic d2FyZGVuOmh1c2gtaHVzaA=="}
    at_url.lines.append(line_of(_an_erasure(await _store_id(admin), back)))
    async with in_own_task(_with(database, at_url.url)):
        assert await admin.fetchval("SELECT count(*) FROM daysheet.patient_key") == 0
    assert len(at_url.lines) == 2


async def test_an_erasure_waits_for_no_list_and_the_list_gets_it_when_it_is_back(
    database: Database, at_url: ListServer, said: Said
) -> None:
    async with in_own_task(_with(database, at_url.url)) as parts:
        assert parts.erasures is not None
        patient = await _register(parts)
        at_url.status = 403
        await _erase(parts, patient)
        await until(lambda: at_url.refused)
        assert parts.erasures.pending == 1
        assert not at_url.lines
        at_url.status = 200
        await until(lambda: said("erasures_kept_outside_again"))
        assert at_url.patients() == [str(patient)]
        assert parts.erasures.pending == 0
    assert said("erasures_not_kept_outside")
    assert not said("hush-hush")


async def test_a_list_that_keeps_nothing_is_found_out(database: Database, said: Said) -> None:
    async def takes_all_and_keeps_nothing(request: web.Request) -> web.Response:
        return web.Response()

    async with _serving(takes_all_and_keeps_nothing) as url, in_own_task(_with(database, url)) as parts:
        assert parts.erasures is not None
        await _erase(parts, await _register(parts))
        await until(lambda: said("erasures_not_kept_outside"))
        assert parts.erasures.pending == 1


@pytest.mark.parametrize("status", [302, 403, 404, 500])
async def test_a_url_that_answers_anything_else_is_refused_at_start(
    database: Database, at_url: ListServer, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasures, "URL_PAUSES_SECONDS", (0.01, 0.02))
    at_url.status = status
    said = await _refused(_with(database, at_url.url), database)
    assert "hush-hush" not in said
    assert said.startswith(f"--erasures {at_url.url.replace('warden:hush-hush@', '')}: the list of erasures cannot be")
    assert at_url.asked == (3 if status == 500 else 1)  # What is broken for a moment is asked again.


async def test_a_url_where_nobody_answers_is_refused_at_start(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasures, "URL_PAUSES_SECONDS", (0.01,))
    said = await _refused(_with(database, "http://127.0.0.1:1/list"), database)
    assert said == "--erasures http://127.0.0.1:1/list: the list of erasures cannot be reached (ClientConnectorError)"


def _an_erasure(store: UUID, patient: PatientId) -> Erasure:
    return Erasure(store=store, patient=patient, sequence=7, erased_at=A_TIME)
