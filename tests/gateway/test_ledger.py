"""The ledger over REST: what a third party needs to check an event, without believing the server."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import pytest

from domain.ledger import tree
from domain.ledger.checkpoint import Checkpoint, VerifierKey
from tests.gateway.contract import PROBLEM
from tests.server import Server

pytestmark = pytest.mark.asyncio(loop_scope="module")

SECONDS = 15.0


async def _sealed(server: Server, sequence: int) -> Checkpoint:
    """The first checkpoint found that covers an event."""
    async with asyncio.timeout(SECONDS):
        while True:
            answer = await server.get("/ledger/checkpoint")
            if answer.status == 200 and (known := Checkpoint.of(answer.body)).size >= sequence:
                return known
            await asyncio.sleep(0.02)


async def _recorded(server: Server) -> int:
    """An event more; its sequence."""
    made_up = {"name": "Priya Raman"}
    return int((await server.post("/patients", made_up)).body["sequence"])


def _decoded(hashes: list[str]) -> list[bytes]:
    return [base64.b64decode(hash_) for hash_ in hashes]


async def test_the_newest_checkpoint_is_signed_by_the_key_that_is_told(hospital: Server) -> None:
    known = await _sealed(hospital, await _recorded(hospital))
    key = VerifierKey.of((await hospital.get("/ledger/key")).body)
    assert known.signed_by(key)
    assert known.origin == key.name
    store = key.name.split("/")
    assert (store[0], store[2]) == ("daysheet", "event")
    assert (await hospital.get("/ledger/key?log=event&min_sequence=1")).body == f"{key}\n"


async def test_an_older_checkpoint_is_told_as_it_was(hospital: Server) -> None:
    older = await _sealed(hospital, await _recorded(hospital))
    newer = await _sealed(hospital, await _recorded(hospital))
    assert newer.size > older.size
    again = Checkpoint.of((await hospital.get(f"/ledger/checkpoint?size={older.size}")).body)
    assert again == older


async def test_every_event_is_proven_to_be_in_the_newest_checkpoint_and_in_an_older_one(hospital: Server) -> None:
    older = await _sealed(hospital, await _recorded(hospital))
    await _sealed(hospital, await _recorded(hospital))
    key = VerifierKey.of((await hospital.get("/ledger/key")).body)
    for sequence in range(1, older.size + 1):
        for query in ("", f"?size={older.size}"):
            proof: Any = (await hospital.get(f"/ledger/events/{sequence}/proof{query}")).body
            known = Checkpoint.of(proof["checkpoint"])
            assert known.signed_by(key)
            assert (proof["log"], proof["sequence"], proof["index"]) == ("event", sequence, sequence - 1)
            assert proof["size"] == known.size
            (leaf_hash,) = _decoded([proof["leaf_hash"]])
            assert tree.includes(leaf_hash, proof["index"], known.size, _decoded(proof["hashes"]), known.root)


async def test_a_checkpoint_is_proven_to_go_on_from_an_older_one(hospital: Server) -> None:
    older = await _sealed(hospital, await _recorded(hospital))
    newer = await _sealed(hospital, await _recorded(hospital))
    for query in (f"?from={older.size}&to={newer.size}", f"?from={older.size}"):
        proof: Any = (await hospital.get(f"/ledger/consistency{query}")).body
        one, other = Checkpoint.of(proof["old_checkpoint"]), Checkpoint.of(proof["new_checkpoint"])
        assert one == older
        assert (proof["log"], proof["old_size"], proof["new_size"]) == ("event", one.size, other.size)
        assert tree.goes_on(one.size, other.size, one.root, other.root, _decoded(proof["hashes"]))


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/ledger/checkpoint?size=999999999", 404, "not_sealed"),
        ("/ledger/checkpoint?size=0", 404, "not_sealed"),
        ("/ledger/checkpoint?size=x", 400, "invalid_request"),
        ("/ledger/checkpoint?log=unheard-of", 400, "invalid_request"),
        ("/ledger/key?size=1", 400, "invalid_request"),
        ("/ledger/key?log=", 400, "invalid_request"),
        ("/ledger/events/999999999/proof", 404, "not_sealed"),
        ("/ledger/events/1/proof?size=999999999", 404, "not_sealed"),
        ("/ledger/events/0/proof", 400, "invalid_request"),
        ("/ledger/events/x/proof", 400, "invalid_request"),
        ("/ledger/events/2/proof?size=1", 400, "invalid_request"),
        ("/ledger/consistency", 400, "invalid_request"),
        ("/ledger/consistency?from=0", 400, "invalid_request"),
        ("/ledger/consistency?from=2&to=1", 400, "invalid_request"),
        ("/ledger/consistency?from=1&to=999999999", 404, "not_sealed"),
        ("/ledger/consistency?from=1&to=-1", 400, "invalid_request"),
    ],
)
async def test_what_cannot_be_proven_is_a_problem_with_a_code(
    hospital: Server, path: str, status: int, code: str
) -> None:
    newest = await _sealed(hospital, await _recorded(hospital))
    answer = await hospital.get(path)
    assert (answer.status, answer.code) == (status, code), answer
    assert set(answer.body) >= PROBLEM
    if code == "not_sealed":
        assert answer.body["sealed"] >= newest.size


async def test_metrics_tell_who_seals_and_how_far(hospital: Server) -> None:
    newest = await _sealed(hospital, await _recorded(hospital))
    sealed = 'daysheet_ledger_sealed{log="event",worker="0"}'
    figures: dict[str, str] = {}
    async with asyncio.timeout(SECONDS):
        while figures.get(sealed) != f"{newest.size:.1f}":  # It is stored a moment before it is counted.
            async with hospital._session.get(f"{hospital.url}/metrics") as response:
                lines = (await response.text()).splitlines()
            told = [line for line in lines if line.startswith("daysheet_ledger") and 'log="access"' not in line]
            figures = dict(line.rsplit(" ", 1) for line in told)
    assert figures == {
        sealed: f"{newest.size:.1f}",
        'daysheet_ledger_sealing{worker="0"}': "1.0",
        'daysheet_ledger_unsealed{log="event",worker="0"}': "0.0",
        'daysheet_ledger_faults_total{worker="0"}': "0.0",
    }
