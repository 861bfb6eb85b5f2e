"""A board that is not what the log says is found, told of, and replaced; and one that is gets through, also while its
day goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date
from typing import Any

import aiohttp
import msgspec
import pytest
import pytest_asyncio
from aiohttp.test_utils import TestServer
from structlog.testing import capture_logs

from domain.desk.outcome import Asker
from domain.log import read
from domain.rules import commands
from domain.rules.ids import clinic_stream
from gateway.app import application
from gateway.parts import Parts
from projections import proof
from tests.conftest import Database
from tests.gateway.contract import applied

DAY = date(2091, 5, 12)
DEVELOPER = Asker(actor="developer", role="developer")


async def do(parts: Parts, command: Any) -> Any:
    """The id of what it was about, once the read model shows it."""
    done = await parts.desk.handle(command, DEVELOPER)
    await parts.projector.reached(await read.head(parts.pool), seconds=5)
    return done.receipt.id


async def a_booking(parts: Parts, doctor: Any, name: str = "Priya Raman") -> Any:
    patient = await do(parts, commands.RegisterPatient(name=name))
    return await do(parts, commands.BookAppointment(doctor_id=doctor, patient_id=patient, date=DAY))


@pytest_asyncio.fixture
async def doctors(parts: Parts) -> list[Any]:
    """Two, with somebody on each list."""
    made = [
        await do(parts, commands.RegisterDoctor(name="Dr. Amara Okafor", code=f"DOC00{n}", specialty="Cardiology"))
        for n in range(2)
    ]
    for doctor in made:
        await a_booking(parts, doctor)
    return made


@pytest_asyncio.fixture
async def address(parts: Parts, database: Database) -> AsyncIterator[str]:
    async with TestServer(application(database.settings(), parts)) as server:
        yield str(server.make_url(""))


@asynccontextmanager
async def watching(address: str, **keys: Any) -> AsyncIterator[tuple[aiohttp.ClientWebSocketResponse, Any]]:
    """A monitor's connection, and its snapshot."""
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{address}/api/v1/ws/queue") as socket:
        await socket.send_json({"action": "subscribe", "date": DAY.isoformat(), **keys})
        yield socket, await socket.receive_json(timeout=5)


async def test_a_board_that_is_right_is_proven_also_while_its_day_goes_on(parts: Parts, doctors: list[Any]) -> None:
    await parts.boards.get(DAY)
    booking = asyncio.create_task(_book_on(parts, doctors[0]))
    with capture_logs() as log:
        proven = [await parts.prover.prove(DAY) for _ in range(20)]
        await booking
        assert all([*proven, await parts.prover.prove(DAY)])
    assert log == []
    assert (parts.prover.proofs, parts.prover.differences) == (21, 0)
    board = await parts.boards.get(DAY)
    assert len(board.clinics[clinic_stream(doctors[0], DAY)].entries) == 21


async def _book_on(parts: Parts, doctor: Any) -> None:
    for _ in range(20):
        await a_booking(parts, doctor)


@pytest.mark.parametrize("wrong", ["a state", "bytes", "a clinic too many", "an event unseen"])
async def test_a_board_that_is_wrong_is_told_of_and_replaced(
    parts: Parts, doctors: list[Any], address: str, wrong: str
) -> None:
    board = await parts.boards.get(DAY)
    clinic = board.clinics[clinic_stream(doctors[1], DAY)]
    async with watching(address) as (full, snapshot), watching(address, mode="delta") as (deltas, _):
        match wrong:
            case "a state":
                entry = next(iter(clinic.entries.values()))
                entry.state = msgspec.structs.replace(entry.state, slot=7)
                entry.encoded = clinic.encoded = clinic.listed = None
            case "bytes":
                assert clinic.encoded is not None
                clinic.encoded = clinic.encoded.replace(b"Amara", b"Anita")
            case "a clinic too many":
                board.clinics["clinic/of/nobody"] = clinic
            case "an event unseen":
                board.sequence -= 1
        with capture_logs() as log:
            assert not await parts.prover.prove(DAY)
        (said,) = log
        assert (said["event"], said["log_level"]) == ("board_differs_from_log", "error")
        assert len(said["digest_shown"]) == len(said["digest_in_log"]) == 64
        assert "Amara" not in str(said)
        assert "Raman" not in str(said)
        for monitor in (full, deltas):
            stale, right, live = [await monitor.receive_json(timeout=5) for _ in range(3)]
            assert [(one["type"], one["live"]) for one in (stale, live)] == [("status", False), ("status", True)]
            assert right["type"] == "snapshot"
            assert _timeless(right) == _timeless(snapshot)
        assert await parts.prover.prove(DAY)

        await a_booking(parts, doctors[1], name="Ada Lovelace")  # And both go on from there.
        update, delta = await full.receive_json(timeout=5), await deltas.receive_json(timeout=5)
        while update["data"]["total_appointments"] < 3:
            update = await full.receive_json(timeout=5)
        assert _timeless({"data": applied(right["data"], delta["data"])}) == _timeless({"data": update["data"]})
    async with aiohttp.ClientSession() as session, session.get(f"{address}/metrics") as response:
        text = await response.text()
    assert 'daysheet_board_differences_total{worker="0"} 1.0' in text
    assert 'daysheet_board_proofs_total{worker="0"} 2.0' in text
    assert 'daysheet_live{worker="0"} 1.0' in text


def _timeless(message: dict[str, Any]) -> dict[str, Any]:
    return message | {"data": message["data"] | {"timestamp": ""}}


async def test_it_comes_round_by_itself(parts: Parts, doctors: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proof, "PROOF_SECONDS", 0.02)
    running = asyncio.create_task(proof.Prover(parts.boards, parts.encoder).run())
    board = await parts.boards.get(DAY)
    board.sequence -= 1
    async with asyncio.timeout(5):
        while await parts.boards.get(DAY) is board:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)
    running.cancel()


async def test_a_board_that_cannot_be_encoded_is_given_up_loudly_and_the_others_go_on(
    parts: Parts, doctors: list[Any], address: str
) -> None:
    board = await parts.boards.get(DAY)
    async with watching(address) as (full, _), watching(address, mode="delta") as (deltas, _):
        somebody = next(iter(board.by_patient))
        entry = board.find(next(iter(board.by_patient[somebody])))
        assert entry is not None
        entry[1].encoded, entry[0].encoded = None, None
        parts.directory._people.pop(somebody)
        with capture_logs() as log:
            patient = await parts.desk.handle(commands.RegisterPatient(name="Ada"), DEVELOPER)
            booking = commands.BookAppointment(doctor_id=doctors[0], patient_id=patient.receipt.id, date=DAY)
            await parts.desk.handle(booking, DEVELOPER)
            for monitor in (full, deltas):
                said = await monitor.receive_json(timeout=5)
                while said["type"] != "error":
                    said = await monitor.receive_json(timeout=5)
                assert said["code"] == "unavailable"
        assert "day_unavailable" in [one["event"] for one in log]
        await full.send_json({"action": "subscribe", "date": "2091-05-13"})
        assert (await full.receive_json(timeout=5))["type"] == "snapshot"
