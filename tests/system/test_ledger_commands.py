"""`daysheet verify`, `checkpoint` and `proof`, and checkpoints kept in a folder, as somebody would use them."""

from __future__ import annotations

import base64
import json
import os
import stat
from pathlib import Path
from typing import Any

import asyncpg

from domain.ledger import tree
from domain.ledger.checkpoint import Checkpoint, VerifierKey
from tests.conftest import Database, ServerFactory
from tests.log.writing import until
from tests.server import Server
from tests.system.command import daysheet
from tests.system.conftest import Start
from tests.system.crew import workers

INNER_ONLY = "this proves inner consistency only"


async def _sealed(server: Server, sequence: int) -> str:
    """The note of a checkpoint that covers an event."""
    found: list[str] = []

    async def so() -> bool:
        answer = await server.get("/ledger/checkpoint")
        found[:] = [str(answer.body)]
        return answer.status == 200 and Checkpoint.of(answer.body).size >= sequence

    await until(so)
    return found[0]


async def _record(server: Server, number: int) -> str:
    """So many events more, and a checkpoint of them."""
    made = [await server.post("/patients", {"name": "Priya Raman"}) for _ in range(number)]
    return await _sealed(server, made[-1].body["sequence"])


async def _attack(database: Database, statement: str) -> None:
    connection = await asyncpg.connect(database.admin_url)
    try:
        for table in ("event", "seal"):
            await connection.execute(f"ALTER TABLE daysheet.{table} DISABLE TRIGGER ALL")
        await connection.execute(statement)
    finally:
        await connection.close()


async def test_verify_tells_whole_tampered_and_what_it_cannot_check(
    serve: ServerFactory, database: Database, tmp_path: Path
) -> None:
    server = await serve()
    of = ("--database-url", database.url)
    kept = tmp_path / "kept.txt"
    kept.write_text(await _record(server, 3), encoding="utf-8")
    await _record(server, 2)
    key = str((await server.get("/ledger/key")).body)

    alone = await daysheet("verify", *of)
    assert (alone.code, alone.errors) == (0, "")
    assert "event: 5 rows, the first 5 sealed by" in alone.out
    assert INNER_ONLY in alone.out
    assert alone.out.endswith("whole\n")

    against = await daysheet("verify", *of, "--checkpoint", kept, "--key", key.strip(), "--json")
    page = json.loads(against.out)
    assert (against.code, page["verdict"], page["findings"]) == (0, "whole", [])
    log = page["logs"][0]
    assert {name: log[name] for name in ("log", "rows", "sealed", "unsealed", "covered", "not_covered", "outside")} == {
        "log": "event", "rows": 5, "sealed": 5, "unsealed": 0, "covered": 3, "not_covered": 2, "outside": 1,
    }  # fmt: skip
    assert (
        "event: checkpoints kept outside vouch for the first 3 rows, and for none of the 2 after them: rows cut off "
        "there, with their seals, would not show"
    ) in page["says"]

    await _attack(database, "UPDATE daysheet.event SET data = '{}' WHERE position = 2")
    tampered = await daysheet("verify", *of, "--checkpoint", kept)
    assert tampered.code == 1
    assert tampered.out.splitlines()[0] == "altered: event 2: not what was sealed"
    assert tampered.out.splitlines()[-1] == "TAMPERED WITH: 1 findings"
    told = json.loads((await daysheet("verify", *of, "--json")).out)
    assert told["verdict"] == "tampered"
    assert told["findings"] == [
        {
            "word": "altered",
            "log": "event",
            "first": 2,
            "last": 2,
            "by": 0,
            "source": None,
            "says": "altered: event 2: not what was sealed",
        }
    ]


async def test_a_tail_cut_after_the_newest_outside_checkpoint_passes_and_the_output_says_that_it_would(
    serve: ServerFactory, database: Database, tmp_path: Path
) -> None:
    server = await serve()
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "one.txt").write_text(await _record(server, 3), encoding="utf-8")
    (tmp_path / "late.txt").write_text(await _record(server, 2), encoding="utf-8")
    await server.stop()
    await _attack(database, "DELETE FROM daysheet.event WHERE position > 3; DELETE FROM daysheet.seal WHERE size > 3")
    of = ("--database-url", database.url)
    early = await daysheet("verify", *of, "--checkpoint", tmp_path / "kept")
    assert early.code == 0
    assert "vouch for the first 3 rows" in early.out
    assert "rows cut off there, with their seals, would not show" in early.out
    both = await daysheet("verify", *of, "--checkpoint", tmp_path / "kept", tmp_path / "late.txt")
    assert both.code == 1
    assert both.out.splitlines()[0] == "cut: event 4 to 5: the end of the record was cut off"


async def test_a_file_that_is_no_checkpoint_is_named_and_stops_nothing(
    serve: ServerFactory, database: Database, tmp_path: Path
) -> None:
    server = await serve()
    folder = tmp_path / "kept"
    folder.mkdir()
    note = await _record(server, 3)
    (folder / "windows.txt").write_bytes(b"\xef\xbb\xbf" + note.replace("\n", "\r\n").encode())
    of = ("--database-url", database.url, "--checkpoint", folder, "--json")
    whole = await daysheet("verify", *of)
    assert (whole.code, json.loads(whole.out)["logs"][0]["covered"]) == (0, 3)
    (folder / "empty.txt").write_bytes(b"")
    (folder / "binary.txt").write_bytes(bytes(range(256)))
    (folder / "huge.txt").write_bytes(b"x" * 1_000_000)
    (folder / "folder.txt").mkdir()
    os.mkfifo(folder / "pipe.txt")
    named = await daysheet("verify", *of)
    page = json.loads(named.out)
    assert (named.code, page["verdict"], page["logs"][0]["covered"]) == (2, "cannot_check", 3)
    for name in ("empty", "binary", "huge", "folder", "pipe"):
        assert any(said.startswith(f"{folder}/{name}.txt: ") for said in page["says"]), name
    await _attack(database, "UPDATE daysheet.event SET data = '{}' WHERE position = 2")
    tampered = await daysheet("verify", *of)
    assert (tampered.code, json.loads(tampered.out)["verdict"]) == (1, "tampered")


async def test_verify_says_what_is_missing_and_exits_2(database: Database, tmp_path: Path) -> None:
    of = ("--database-url", database.url)
    (tmp_path / "no.txt").write_text("whole\n")
    nowhere = tmp_path / "nowhere"
    for arguments, said in (
        (of, "no server has ever run on this store: there is nothing to check"),
        ((*of, "--checkpoint", tmp_path / "no.txt"), f"{tmp_path}/no.txt: a checkpoint is a line of origin"),
        ((*of, "--key", "x"), "a verifier key is NAME+KEYID+BASE64"),
        (("--data-dir", nowhere), f"there is no store under {nowhere}: say --data-dir, or --database-url"),
        (("--database-url", "postgresql://nobody@127.0.0.1:1/none"), "Connect call failed"),
    ):
        ended = await daysheet("verify", *arguments)
        assert (ended.code, ended.out) == (2, ""), ended
        (line,) = ended.errors.splitlines()
        assert line.startswith("daysheet: ")
        assert said in line
    told = await daysheet("verify", *of, "--json")
    assert told.code == 2
    assert json.loads(told.out)["verdict"] == "cannot_check"
    assert not nowhere.exists()


async def test_checkpoints_are_printed_and_written_for_keeping(
    serve: ServerFactory, database: Database, tmp_path: Path
) -> None:
    of = ("--database-url", database.url)
    server = await serve()
    assert (await daysheet("checkpoint", *of)).said == "daysheet: nothing is sealed yet"
    note = await _record(server, 2)
    printed = await daysheet("checkpoint", *of)
    assert (printed.code, printed.out) == (0, note)
    file, folder = tmp_path / "outside" / "mine.txt", tmp_path / "folder"
    folder.mkdir()
    assert (await daysheet("checkpoint", *of, "--to", file)).out == f"{file}\n"
    assert file.read_text(encoding="utf-8") == note
    named = folder / "event-000000000002.txt"
    assert (await daysheet("checkpoint", *of, "--to", folder)).out == f"{named}\n"
    assert named.read_text(encoding="utf-8") == note
    assert (await daysheet("checkpoint", *of, "--to", folder)).out == "the newest checkpoints are there already\n"
    assert os.listdir(folder) == [named.name]
    assert (await daysheet("checkpoint", *of, "--log", "no")).said.startswith(
        "daysheet: there is no log `no`, only event"
    )


async def test_proofs_are_printed_that_anybody_can_check(serve: ServerFactory, database: Database) -> None:
    of = ("--database-url", database.url)
    server = await serve()
    old = Checkpoint.of(await _record(server, 2))
    new = Checkpoint.of(await _record(server, 3))
    key = VerifierKey.of((await server.get("/ledger/key")).body)

    one: Any = json.loads((await daysheet("proof", "event", 2, *of)).out)
    signed = Checkpoint.of(one["checkpoint"])
    assert signed.signed_by(key)
    leaf_hash, *hashes = map(base64.b64decode, [one["leaf_hash"], *one["hashes"]])
    assert tree.includes(leaf_hash, one["index"], signed.size, hashes, signed.root)

    between: Any = json.loads((await daysheet("proof", "between", old.size, new.size, *of)).out)
    assert Checkpoint.of(between["old_checkpoint"]) == old
    hashes = list(map(base64.b64decode, between["hashes"]))
    assert tree.goes_on(old.size, new.size, old.root, new.root, hashes)

    for arguments, said in (
        (("event", 99), "there is no checkpoint of that size, or none yet that covers it"),
        (("event", 3, "--size", 2), "an event is in checkpoints of its own sequence, from 1, and later ones"),
        (("between", 5, 2), "OLD is at least 1, and at most NEW"),
    ):
        assert (await daysheet("proof", *arguments, *of)).said == f"daysheet: {said}"

    await _attack(database, "UPDATE daysheet.seal SET leaves = sha256('x') || substr(leaves, 33)")
    assert (await daysheet("proof", "event", 1, *of)).said == (
        "daysheet: the proof does not hold: run `daysheet verify` (event 1)"
    )


async def test_a_server_with_workers_keeps_checkpoints_in_a_folder_and_one_of_them_seals(
    serve: ServerFactory, tmp_path: Path
) -> None:
    folder = tmp_path / "outside" / "kept"
    server = await serve("--workers", "2")
    await _record(server, 3)
    await server.stop()
    server = await serve("--workers", "2", "--checkpoint-dir", str(folder))
    assert len(workers(server)) == 2
    await until(lambda: folder.exists() and os.listdir(folder) == ["event-000000000003.txt"])
    kept = folder / "event-000000000003.txt"
    key = VerifierKey.of((await server.get("/ledger/key")).body)
    assert Checkpoint.of(kept.read_text(encoding="utf-8")).signed_by(key)
    assert stat.S_IMODE(kept.stat().st_mode) == 0o644
    assert server.log.decode().count("sealer_elected") == 1


async def test_a_folder_that_cannot_be_written_to_stops_nothing(serve: ServerFactory, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    server = await serve("--checkpoint-dir", str(tmp_path / "file"))
    await _record(server, 1)
    await server.stop()
    server = await serve("--checkpoint-dir", str(tmp_path / "file"))
    await until(lambda: b'"event": "checkpoints_not_kept"' in server.log)
    await _record(server, 1)


async def test_the_embedded_database_is_verified_while_a_server_runs_on_it_and_when_none_does(
    start: Start, data_dir: Path
) -> None:
    server = await start()
    await _record(server, 2)
    assert stat.S_IMODE((data_dir / "ledger.key").stat().st_mode) == 0o600
    for _ in range(2):
        ended = await daysheet("verify", "--data-dir", data_dir)
        assert (ended.code, ended.out.splitlines()[-1]) == (0, "whole")
        await server.stop()
