"""`daysheet check` sees what would let the record be changed, lost or read by others: each is done here for real."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio

from domain.postgres import server
from domain.postgres.connect import Connection
from domain.postgres.finding import Finding
from gateway import installation
from gateway.installation import Where, examine
from gateway.settings import Settings
from tests.conftest import TIMEZONE, Database, in_own_task
from tests.system.command import daysheet
from tests.system.own_postgres import OwnPostgres

PRIVATE, OPEN_TO_READ, OPEN_TO_WRITE = 0o700, 0o644, 0o777


@pytest_asyncio.fixture
async def introduced(database: Database) -> Database:
    """A store that has been started once, with its key."""
    async with in_own_task(database.settings()):
        pass
    return database


async def _looked(
    database: Database, *, url: str | None = None, checkpoint_dir: Path | None = None, **options: object
) -> dict[str, Finding]:
    settings = Settings(database_url=database.url, data_dir=database.folder, **options)  # type: ignore[arg-type]
    where = Where(url=url or database.url, checkpoint_dir=checkpoint_dir)
    return {finding.check: finding async for finding in examine(settings, where)}


def _failed(findings: dict[str, Finding]) -> set[str]:
    return {finding.check for finding in findings.values() if finding.verdict == "failure"}


async def test_what_was_just_installed_has_nothing_wrong_with_it(introduced: Database) -> None:
    findings = await _looked(introduced, timezone=TIMEZONE)
    assert _failed(findings) == set()
    assert all((finding.verdict == "ok") == (finding.advice is None) for finding in findings.values())
    assert {check for check, finding in findings.items() if finding.verdict == "warning"} <= {
        "checkpoint", "reachable", "database user", "checksums",
    }  # fmt: skip
    assert findings["time zone"].found.startswith(f"dates are kept in {TIMEZONE}; ")
    assert findings["master key"].verdict == findings["master.key"].verdict == "ok"


# --- the database --------------------------------------------------------------------------------

NEW_BODY = (
    "CREATE OR REPLACE FUNCTION daysheet.refuse_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN OLD; END'"
)


@pytest.mark.parametrize(
    ("done", "check", "found"),
    [
        (
            "ALTER TABLE daysheet.event DISABLE TRIGGER never_changed",
            "triggers",
            "event.never_changed is another (disa",
        ),
        ("ALTER TABLE daysheet.store ENABLE TRIGGER never_changed", "triggers", "another (unless replicating: CREATE"),
        ("DROP TRIGGER never_changed ON daysheet.request", "triggers", "request.never_changed is missing"),
        ("CREATE RULE r AS ON INSERT TO daysheet.event DO INSTEAD NOTHING", "triggers", "event.r is none of ours"),
        (NEW_BODY, "functions", "refuse_change() is another ("),
        ("ALTER FUNCTION daysheet.finish_erasures STRICT", "functions", "finish_erasures() is another ("),
        ("ALTER FUNCTION daysheet.append RESET ALL", "functions", "append(…) is another ("),
        ("DROP FUNCTION daysheet.finish_erasures", "functions", "finish_erasures() is missing"),
        ("CREATE FUNCTION daysheet.f() RETURNS int RETURN 1", "functions", "f() is none of ours"),
        ("CREATE FUNCTION daysheet.f() RETURNS int RETURN 1", "rights", "EXECUTE on function f()"),
        (
            "ALTER TABLE daysheet.event DROP CONSTRAINT event_stream_version_key",
            "constraints",
            "event: UNIQUE (stream, version) is missing",
        ),
        ("ALTER TABLE daysheet.event DROP CONSTRAINT event_pkey", "constraints", 'event: PRIMARY KEY ("position") is'),
        (
            "ALTER TABLE daysheet.tile DROP CONSTRAINT tile_level_check",
            "constraints",
            "tile: CHECK ((level >= 0)) is mi",
        ),
        ("ALTER TABLE daysheet.event ALTER data DROP NOT NULL", "constraints", "event.data: NOT NULL is missing"),
        ("DROP INDEX daysheet.event_by_day", "constraints", "event.event_by_day: CREATE INDEX event_by_day ON "),
        ("CREATE INDEX mine ON daysheet.event (type)", "constraints", "USING btree (type) is none of ours"),
        (
            "ALTER TABLE daysheet.event ADD CHECK (version < 9) NOT VALID",
            "constraints",
            "event: CHECK ((version < 9)) NOT VALID is none of ours",
        ),
        (
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'daysheet.event_by_day'::regclass",
            "constraints",
            "is another (not valid)",
        ),
        ("ALTER TABLE daysheet.event ENABLE ROW LEVEL SECURITY", "row security", "event: row security is enabled"),
        ("ALTER TABLE daysheet.tile FORCE ROW LEVEL SECURITY", "row security", "tile: row security is forced"),
        ("CREATE POLICY hides ON daysheet.event USING (version > 1)", "row security", "event: policy hides"),
        ("GRANT UPDATE ON daysheet.event TO daysheet_app", "rights", "may too much: UPDATE on table event"),
        ("GRANT UPDATE (data) ON daysheet.event TO daysheet_app", "rights", "may too much: UPDATE on table event"),
        ("GRANT DELETE ON daysheet.patient_key TO PUBLIC", "rights", "may too much: DELETE on table patient_key"),
        ("GRANT CREATE ON SCHEMA daysheet TO daysheet_app", "rights", "CREATE on schema daysheet"),
        ("REVOKE SELECT ON daysheet.claim FROM daysheet_app", "rights", "may not: SELECT on table claim"),
        ("GRANT INSERT ON daysheet.event TO pg_monitor", "others' rights", "pg_monitor: INSERT on event"),
        ("GRANT EXECUTE ON FUNCTION daysheet.append TO PUBLIC", "others' rights", "everybody: EXECUTE on append"),
        ("ALTER TABLE daysheet.event OWNER TO CURRENT_USER", "owner", "table event is "),
        ("ALTER FUNCTION daysheet.append OWNER TO CURRENT_USER", "owner", "function append is "),
        ("ALTER SCHEMA daysheet OWNER TO CURRENT_USER", "owner", "schema daysheet is "),
        ("DELETE FROM daysheet.migration", "schema", "the database has schema 0, this release needs "),
        ("INSERT INTO daysheet.migration VALUES (999, 'x')", "schema", "the database has schema 999, newer than"),
    ],
)
async def test_what_a_superuser_did_is_found_and_named(
    database: Database, admin: Connection, done: str, check: str, found: str
) -> None:
    await admin.execute(done)
    finding = (await _looked(database))[check]
    assert finding.verdict == "failure", finding
    assert found in finding.found
    assert finding.advice


@pytest.mark.parametrize(
    ("done", "undone", "check", "found"),
    [
        ("ALTER ROLE daysheet_owner LOGIN", "ALTER ROLE daysheet_owner NOLOGIN", "owner", "daysheet_owner can log in"),
        ("GRANT daysheet_owner TO daysheet_app", "REVOKE daysheet_owner FROM daysheet_app", "owner", "can become"),
        (
            "GRANT pg_write_all_data TO daysheet_app",
            "REVOKE pg_write_all_data FROM daysheet_app",
            "app role",
            "daysheet_app is a member of pg_write_all_data",
        ),
        ("ALTER ROLE daysheet_app CREATEROLE", "ALTER ROLE daysheet_app NOCREATEROLE", "app role", "has CREATEROLE"),
        (
            "ALTER ROLE daysheet_app SET synchronous_commit = off",
            "ALTER ROLE daysheet_app RESET synchronous_commit",
            "durability",
            "synchronous_commit=off",
        ),
    ],
)
async def test_what_was_done_to_a_role_is_found_and_named(
    database: Database, admin: Connection, done: str, undone: str, check: str, found: str
) -> None:
    await admin.execute(done)
    try:
        finding = (await _looked(database))[check]
    finally:
        await admin.execute(undone)  # roles belong to the whole server
    assert finding.verdict == "failure", finding
    assert found in finding.found


async def test_a_database_that_does_not_wait_for_its_disk_is_found(database: Database, admin: Connection) -> None:
    await admin.execute(
        f"ALTER DATABASE {await admin.fetchval('SELECT current_database()')} SET synchronous_commit=off"
    )
    assert (await _looked(database))["durability"].found == "synchronous_commit=off"


async def test_a_server_that_trusts_the_network_or_may_lose_what_it_acknowledged_is_found(
    own_postgres: OwnPostgres,
) -> None:
    connection = await asyncpg.connect(own_postgres.admin_url)
    try:
        assert (await server.reach(connection)).verdict == "warning"
        rules = own_postgres.folder / "cluster" / "pg_hba.conf"
        rules.write_text(f"{rules.read_text()}\nhost all all 10.0.0.0/8 trust\n")
        finding = await server.reach(connection)
        assert finding.verdict == "failure"
        assert finding.found.endswith("pg_hba.conf trusts whoever comes by network")

        assert (await server.durability(connection)).verdict == "ok"
        await connection.execute("ALTER SYSTEM SET fsync = off")
        await connection.execute("SELECT pg_reload_conf()")
        while (await server.durability(connection)).verdict == "ok":
            pass
        assert (await server.durability(connection)).found == "fsync=off"
    finally:
        await connection.close()


async def test_who_may_read_the_record_beside_the_server_is_a_warning(database: Database, admin: Connection) -> None:
    await admin.execute("GRANT SELECT ON daysheet.event TO pg_monitor")
    finding = (await _looked(database))["others' rights"]
    assert (finding.verdict, finding.found) == ("warning", "pg_monitor: SELECT on event")


async def test_a_url_that_could_change_the_record_is_a_warning_and_shows_more(database: Database) -> None:
    findings = await _looked(database, url=database.admin_url)
    assert findings["database user"].verdict == "warning"
    assert "can change the schema" in findings["database user"].found
    assert findings["reachable"].found.endswith("pg_hba.conf trusts every user of its machine")
    if database.url != database.admin_url:
        findings = await _looked(database)
        assert findings["database user"].verdict == "ok"
        assert findings["reachable"].found.endswith("whom it lets in, this user may not see")


async def test_workers_that_would_find_no_connection_are_a_failure(database: Database) -> None:
    assert (await _looked(database, workers=1))["connections"].verdict == "ok"
    assert (await _looked(database, workers=64))["connections"].verdict == "failure"


async def test_a_log_from_the_future_is_a_failure(introduced: Database, admin: Connection) -> None:
    assert (await _looked(introduced))["clock"].verdict == "ok"
    await admin.execute(
        "INSERT INTO daysheet.event "
        "VALUES (1, 's', 1, 't@1', NULL, gen_random_uuid(), '', '', now() + interval '1 hour')"
    )
    finding = (await _looked(introduced))["clock"]
    assert (finding.verdict, finding.found[:29]) == ("failure", "the newest event was recorded")


# --- this machine --------------------------------------------------------------------------------


async def test_a_zone_that_is_not_the_stores_is_a_failure(introduced: Database) -> None:
    finding = (await _looked(introduced, timezone="Europe/Berlin"))["time zone"]
    assert (finding.verdict, finding.found) == ("failure", f"dates are kept in {TIMEZONE}, not in Europe/Berlin")
    assert (await _looked(introduced, timezone="Atlantis/Capital"))["time zone"].verdict == "failure"


@contextmanager
def _mode(path: Path, mode: int) -> Iterator[None]:
    before = path.stat().st_mode
    path.chmod(mode)
    yield
    path.chmod(before)


async def test_a_key_that_others_can_read_or_replace_is_a_failure(introduced: Database) -> None:
    key = introduced.folder / "master.key"
    with _mode(key, OPEN_TO_READ):
        finding = (await _looked(introduced))["master.key"]
    assert (finding.verdict, finding.found) == ("failure", "mode 0644: others can read it")
    with _mode(introduced.folder, OPEN_TO_WRITE):
        assert (await _looked(introduced))["master.key"].found == "others can put another one in its place"
    (introduced.folder / "ledger.key").write_text("of the ledger")
    with _mode(introduced.folder / "ledger.key", OPEN_TO_READ):
        assert _failed(await _looked(introduced)) == {"ledger.key"}
    (introduced.folder / "master.key.retired").write_text("opens what was backed up before")
    with _mode(introduced.folder / "master.key.retired", OPEN_TO_READ):
        assert _failed(await _looked(introduced)) == {"master.key.retired"}


async def test_a_key_that_is_gone_or_another_is_a_failure(introduced: Database) -> None:
    key = introduced.folder / "master.key"
    right = key.read_text()
    key.write_text(f"{'A' * 43}=\n")
    assert (await _looked(introduced))["master key"].found.endswith("than the one at hand")
    key.unlink()
    finding = (await _looked(introduced))["master key"]
    assert (finding.verdict, "is not there" in finding.found) == ("failure", True)
    assert (await _looked(introduced, master_key=right))["master key"].found.startswith("given as DAYSHEET_MASTER_KEY")


async def test_a_disk_is_full_before_there_is_nothing_left(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (await _looked(database))["disk"].verdict == "ok"
    new = Settings(database_url=database.url, data_dir=database.folder / "still" / "to be made")
    found = {finding.check: finding async for finding in examine(new, Where(url=database.url))}
    assert (found["disk"].verdict, "master.key" in found) == ("ok", False)
    monkeypatch.setattr(installation, "DISK_LOW_BYTES", 2**60)
    assert (await _looked(database))["disk"].verdict == "warning"
    monkeypatch.setattr(installation, "DISK_FULL_BYTES", 2**60)
    assert (await _looked(database))["disk"].verdict == "failure"


async def test_the_newest_checkpoint_kept_outside_is_there_and_of_today(database: Database, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    assert (await _looked(database))["checkpoint"].verdict == "warning"
    assert (await _looked(database, checkpoint_dir=outside))["checkpoint"].verdict == "failure"
    outside.mkdir()
    assert (await _looked(database, checkpoint_dir=outside))["checkpoint"].found == f"none in {outside}"
    (outside / "1").write_text("checkpoint")
    two_days_ago = time.time() - 2 * 86_400
    os.utime(outside / "1", (two_days_ago, two_days_ago))
    finding = (await _looked(database, checkpoint_dir=outside))["checkpoint"]
    assert (finding.verdict, finding.found) == ("warning", "the newest is 1, 10 bytes, 48 h ago")
    (outside / "2").write_text("checkpoint")
    finding = (await _looked(database, checkpoint_dir=outside))["checkpoint"]
    assert (finding.verdict, finding.found) == ("ok", "2, 10 bytes, 0 min ago")
    (outside / "2").write_text("")
    assert (await _looked(database, checkpoint_dir=outside))["checkpoint"].verdict == "failure"


async def test_downtime_sheets_are_there_new_and_private(database: Database, tmp_path: Path) -> None:
    sheets = tmp_path / "sheets"
    assert (await _looked(database, downtime_dir=sheets))["downtime sheets"].verdict == "failure"
    sheets.mkdir(mode=PRIVATE)
    assert (await _looked(database, downtime_dir=sheets))["downtime sheets"].verdict == "warning"
    sheet = sheets / "daysheet-2025-11-17.html"
    sheet.touch()
    assert (await _looked(database, downtime_dir=sheets))["downtime sheets"].verdict == "ok"
    with _mode(sheets, OPEN_TO_WRITE):
        assert (await _looked(database, downtime_dir=sheets))["downtime sheets"].verdict == "failure"
    os.utime(sheet, (time.time() - 3_600, time.time() - 3_600))
    finding = (await _looked(database, downtime_dir=sheets))["downtime sheets"]
    assert (finding.verdict, finding.found) == ("warning", "daysheet-2025-11-17.html, written 60 min ago")


# --- the command ---------------------------------------------------------------------------------


async def test_the_embedded_database_is_not_tamper_proof_against_its_own_user_and_says_so(data_dir: Path) -> None:
    ended = await daysheet("check", "--data-dir", data_dir)
    assert ended.code == 0, ended
    assert "against whom the embedded PostgreSQL is not tamper-proof\n         → " in ended.out
    assert "ok       triggers: " in ended.out


async def test_the_command_ends_with_1_when_something_has_failed(database: Database, admin: Connection) -> None:
    await admin.execute("ALTER TABLE daysheet.event DISABLE TRIGGER never_changed")
    ended = await daysheet("check", "--database-url", database.url, "--data-dir", database.folder, "--json")
    checks = json.loads(ended.out)["checks"]
    assert (ended.code, [one["check"] for one in checks if one["verdict"] == "failure"]) == (1, ["triggers"])
    assert all(one.keys() == {"check", "verdict", "found", "advice"} for one in checks)


async def test_the_command_ends_with_2_when_it_could_not_check(tmp_path: Path) -> None:
    ended = await daysheet("check", "--data-dir", tmp_path)
    assert (ended.code, ended.out) == (2, "")
    assert "there is no store in" in ended.errors
    assert not (tmp_path / "postgres").exists()  # looking makes nothing
    ended = await daysheet("check", "--database-url", "postgresql://nobody@127.0.0.1:1/none", "--data-dir", tmp_path)
    assert (ended.code, ended.out, len(ended.errors.splitlines())) == (2, "", 1)
