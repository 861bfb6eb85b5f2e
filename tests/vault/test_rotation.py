"""A new master key: everything opens as before, nothing opens with the old one, wherever it was cut short."""

from __future__ import annotations

import base64
import os
import shutil
import stat
from collections.abc import AsyncIterator
from importlib.resources import files
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio

from domain.desk.outcome import Asker
from domain.log import read
from domain.log.append import StoreUnavailable
from domain.log.migrate import migrate
from domain.postgres.connect import Connection, connect
from domain.rules import commands
from domain.rules.ids import DoctorId, PatientId
from domain.vault.keyfile import KeyFile
from domain.vault.known import known_masters
from domain.vault.master import ID_BYTES, MasterKey, WrongMasterKey, at_hand
from domain.vault.rotate import CannotRotate, Rotated, prepare, rotate
from domain.vault.search import having_all
from gateway.app import running
from gateway.parts import Parts
from gateway.settings import Settings
from tests.conftest import TIMEZONE, Database, in_own_task

CLERK = Asker(actor="desk-1", role="reception")


def text(file: Path) -> str:
    return file.read_text(encoding="ascii")


def write(file: Path, keys: str) -> None:
    file.write_text(keys, encoding="ascii")


def mode(file: Path) -> int:
    return stat.S_IMODE(file.stat().st_mode)


@pytest.fixture
def file(database: Database) -> Path:
    return database.folder / "master.key"


@pytest_asyncio.fixture
async def store(database: Database) -> AsyncIterator[Connection]:
    """A session such as the rotation has: the app's."""
    connection = await connect(database.url)
    yield connection
    await connection.close()


async def _register(parts: Parts, name: str = "Asha Rao") -> PatientId:
    return PatientId((await parts.desk.handle(commands.RegisterPatient(name=name), CLERK)).receipt.id)


async def _name(parts: Parts, patient: PatientId) -> str:
    """As the store has it, whatever this process has at hand."""
    vault = parts.desk.equipment.vault
    vault._keys.clear()
    stream = await parts.desk.equipment.streams.catch_up([f"patient/{patient}"])
    await vault.fetch_keys([patient])
    details = vault.open_details(patient, stream[f"patient/{patient}"].aggregate.details)  # type: ignore[attr-defined]
    assert details is not None
    return details.name


async def _rotate(database: Database, given: str | None = None) -> Rotated:
    """In a session of its own, as each call of the command has one."""
    connection = await connect(database.url)
    try:
        return await rotate(connection, given, database.folder / "master.key")
    finally:
        await connection.close()


async def _prepare(database: Database) -> bytes:
    connection = await connect(database.url)
    try:
        return await prepare(connection, None, database.folder / "master.key")
    finally:
        await connection.close()


async def _wrapped(admin: Connection) -> list[bytes]:
    rows = await admin.fetch("SELECT wrapped FROM daysheet.patient_key UNION ALL SELECT wrapped FROM daysheet.secret")
    return [row["wrapped"] for row in rows]


def _only(file: Path) -> MasterKey:
    (key,) = at_hand(None, file)
    return key


async def test_after_a_rotation_everything_opens_as_before_and_nothing_with_the_old_key(
    parts: Parts, database: Database, admin: Connection, file: Path
) -> None:
    patients = [await _register(parts, f"Asha {number}") for number in range(5)]
    old = _only(file)
    done = await _rotate(database)
    new = _only(file)
    assert (done.newest, done.patients, done.secrets, done.retired) == (new.id, 5, 3, 1)
    assert new.check != old.check

    for wrapped in await _wrapped(admin):
        assert new.unwrap(wrapped)
        with pytest.raises(WrongMasterKey):
            old.unwrap(wrapped)
        with pytest.raises(WrongMasterKey):  # also by somebody who writes the old key's id before it
            old.unwrap(old.id + wrapped[ID_BYTES:])
    assert [await _name(parts, patient) for patient in patients] == [f"Asha {number}" for number in range(5)]
    later = await _register(parts, "Ida")
    assert await _name(parts, later) == "Ida"
    (tokens,) = parts.digests.question_tokens("asha")
    assert set(await having_all(parts.pool, tokens, limit=50)) == set(patients)


async def test_a_server_started_after_a_rotation_opens_what_was_there_before(database: Database) -> None:
    async with in_own_task(database.settings()) as parts:
        patient = await _register(parts)
        await _rotate(database)
        await _rotate(database)
    async with in_own_task(database.settings()) as parts:
        assert await _name(parts, patient) == "Asha Rao"


async def test_the_keys_of_patients_are_the_same_ones_wrapped_anew(
    parts: Parts, database: Database, admin: Connection, file: Path
) -> None:
    await _register(parts)
    old = _only(file)
    before = {old.unwrap(wrapped) for wrapped in await _wrapped(admin)}
    await _rotate(database)
    assert {_only(file).unwrap(wrapped) for wrapped in await _wrapped(admin)} == before


async def test_who_registers_at_a_server_that_has_not_heard_of_it_is_wrapped_by_the_new_key(
    parts: Parts, database: Database, admin: Connection, file: Path
) -> None:
    await _rotate(database)
    assert parts.desk.equipment.vault._master.current.check != _only(file).check  # it has not heard
    asker = Asker(actor="desk-1", role="reception", idempotency_key="k")
    done = await parts.desk.handle(commands.RegisterPatient(name="Ida", mrn="M-1"), asker)
    again = await parts.desk.handle(commands.RegisterPatient(name="Ida", mrn="M-1"), asker)
    assert (done.appended, again.replayed, again.receipt) == (True, True, done.receipt)
    assert await admin.fetchval("SELECT count(*) FROM daysheet.patient_key") == 1
    assert all(wrapped.startswith(_only(file).id) for wrapped in await _wrapped(admin))
    assert await _name(parts, PatientId(done.receipt.id)) == "Ida"


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO daysheet.patient_key VALUES (gen_random_uuid(), $1)",
        "UPDATE daysheet.patient_key SET wrapped = $1",
        "UPDATE daysheet.secret SET wrapped = $1",
    ],
)
async def test_the_store_takes_nothing_that_a_retired_master_key_wrapped(
    parts: Parts, database: Database, admin: Connection, file: Path, statement: str
) -> None:
    await _register(parts)
    old = _only(file)
    await _rotate(database)
    with pytest.raises(asyncpg.PostgresError, match="retired") as caught:
        await admin.execute(statement, old.wrap(b"k" * 32))
    assert caught.value.sqlstate == "23R01"


async def test_who_is_erased_meanwhile_stays_erased(
    parts: Parts, database: Database, admin: Connection, store: Connection, file: Path
) -> None:
    patient, neighbour = await _register(parts), await _register(parts)
    old, new = _only(file), MasterKey.of(b"n" * 32)
    was = await admin.fetch("SELECT * FROM daysheet.patient_key ORDER BY patient")
    await store.execute("SELECT daysheet.add_master_key($1)", new.check)
    await parts.desk.handle(commands.ErasePatient(patient_id=patient, reason="asked for it"), CLERK)
    patients, keys = zip(*was, strict=True)
    anew = [new.wrap(old.unwrap(wrapped)) for wrapped in keys]
    assert await store.fetchval("SELECT daysheet.rewrap($1, $2, $3)", patients, keys, anew) == 1
    assert [row["patient"] for row in await admin.fetch("SELECT patient FROM daysheet.patient_key")] == [neighbour]


# --- the file ------------------------------------------------------------------------------------


async def test_the_retired_key_leaves_the_file_and_is_kept_beside_it_for_nobody_else_to_read(
    parts: Parts, database: Database, file: Path
) -> None:
    first = text(file)
    await _rotate(database)
    second = text(file)
    write(database.folder / ".master.key-0a1b2c", first)  # whoever wrote it was killed
    await _rotate(database)
    beside = KeyFile(file).retired.path
    assert text(beside) == second + first
    assert mode(beside) == mode(file) == 0o600
    assert sorted(os.listdir(database.folder)) == ["ledger.key", "master.key", "master.key.retired"]


async def test_whoever_could_read_the_file_still_can(parts: Parts, database: Database, file: Path) -> None:
    """A link to where secrets are mounted stays one, and a group that may read may read on."""
    elsewhere = database.folder / "secrets"
    elsewhere.mkdir()
    mounted = shutil.move(file, elsewhere / "key")
    os.chmod(mounted, 0o640)
    os.symlink(mounted, file)
    before = text(file)
    await _rotate(database)
    assert os.readlink(file) == str(mounted)
    assert text(file) != before
    assert mode(file) == 0o640


async def test_a_key_is_on_disk_before_anything_is_wrapped_by_it(
    parts: Parts, database: Database, admin: Connection, file: Path
) -> None:
    """The store goes on only when the file, without the retired key, would open all there is."""
    await _register(parts)
    await _prepare(database)
    new, old = at_hand(None, file)
    assert [master.check for master in await known_masters(admin)] == [old.check]
    assert all(wrapped.startswith(old.id) for wrapped in await _wrapped(admin))
    assert new.check != old.check


# --- cut short -----------------------------------------------------------------------------------


async def test_a_key_prepared_is_the_one_that_is_used(parts: Parts, database: Database, file: Path) -> None:
    prepared = await _prepare(database)
    assert await _prepare(database) == prepared
    assert len(at_hand(None, file)) == 2
    assert (await _rotate(database)).newest == prepared
    assert _only(file).id == prepared


async def test_a_rotation_cut_short_is_finished_by_the_next_and_no_third_key_is_made(
    parts: Parts, database: Database, admin: Connection, store: Connection, file: Path
) -> None:
    patients = [await _register(parts, f"Asha {number}") for number in range(3)]
    await _prepare(database)
    new, old = at_hand(None, file)
    await store.execute("SELECT daysheet.add_master_key($1)", new.check)
    row = await admin.fetchrow("SELECT * FROM daysheet.patient_key")
    assert row is not None
    one = ([row["patient"]], [row["wrapped"]], [new.wrap(old.unwrap(row["wrapped"]))])
    await store.execute("SELECT daysheet.rewrap($1, $2, $3)", *one)

    assert {await _name(parts, patient) for patient in patients} == {"Asha 0", "Asha 1", "Asha 2"}  # in between
    during = await _register(parts, "Ida")
    async with in_own_task(database.settings()) as another:
        assert await _name(another, during) == "Ida"

    done = await _rotate(database)
    assert (done.newest, done.patients, done.secrets) == (new.id, 2, 3)
    assert _only(file).check == new.check
    assert len(await known_masters(admin)) == 2
    assert {await _name(parts, patient) for patient in patients} == {"Asha 0", "Asha 1", "Asha 2"}


async def test_a_rotation_cut_short_before_the_old_key_left_the_file_is_finished(
    parts: Parts, database: Database, admin: Connection, file: Path
) -> None:
    old = text(file)
    await _rotate(database)
    new = text(file)
    write(file, new + old)
    done = await _rotate(database)
    assert (done.patients, done.secrets, done.retired) == (0, 0, 1)
    assert text(file) == new
    assert text(KeyFile(file).retired.path) == old  # once
    assert len(await known_masters(admin)) == 2


async def test_two_rotations_at_once_are_one(parts: Parts, database: Database, store: Connection, file: Path) -> None:
    await prepare(store, None, file)  # and its session goes on
    with pytest.raises(CannotRotate, match="another rotation"):
        await _rotate(database)


async def test_a_store_that_nobody_started_a_server_on_has_no_key_to_rotate(database: Database, file: Path) -> None:
    with pytest.raises(CannotRotate, match="no master key yet"):
        await _rotate(database)
    assert os.listdir(database.folder) == []


# --- other machines, and the environment ---------------------------------------------------------


async def test_a_server_whose_copy_of_the_file_is_behind_records_nothing_until_it_is_brought(
    database: Database, admin: Connection, tmp_path: Path, file: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    os.mkdir(elsewhere)
    async with in_own_task(database.settings()) as here:
        patient = await _register(here)
        doctor = commands.RegisterDoctor(name="Dr. Li", code="D1", specialty="ENT")
        doctor_id = DoctorId((await here.desk.handle(doctor, CLERK)).receipt.id)
        booking = commands.BookAppointment(doctor_id=doctor_id, patient_id=patient, date=here.today())
        booked = (await here.desk.handle(booking, CLERK)).sequence
        shutil.copy(file, elsewhere)
        settings = Settings(database_url=database.url, data_dir=elsewhere, timezone=TIMEZONE)
        async with in_own_task(settings) as there:
            await _rotate(database)
            with pytest.raises(StoreUnavailable):
                await _register(there)
            with pytest.raises(OSError, match="bring the newest key file"):
                await _name(there, patient)
            with pytest.raises(OSError, match="bring the newest key file"):
                await there.boards.get(there.today())
            assert await read.head(there.pool) == booked

            half = text(file)[:20]
            write(elsewhere / "master.key", half)  # on its way
            with pytest.raises(StoreUnavailable):
                await _register(there)

            shutil.copy(file, elsewhere)
            assert await _name(there, patient) == "Asha Rao"
            assert list((await there.boards.get(there.today())).patients()) == [patient]
            assert await _name(here, await _register(there, "Ida")) == "Ida"


async def test_a_server_with_the_retired_key_alone_does_not_start(database: Database, file: Path) -> None:
    async with in_own_task(database.settings()):
        old = text(file)
        await _rotate(database)
    write(file, old)
    with pytest.raises(WrongMasterKey, match=r"retired: since .* UTC this store has a newer one. Bring the newest"):
        async with running(database.settings(), database.url):
            pytest.fail("it ran")


async def test_a_key_in_the_environment_is_rotated_by_giving_both(
    database: Database, admin: Connection, file: Path
) -> None:
    old, new = (base64.b64encode(letter * 32).decode() for letter in (b"o", b"n"))
    settings = Settings(database_url=database.url, data_dir=database.folder, timezone=TIMEZONE, master_key=old)
    async with in_own_task(settings) as parts:
        patient = await _register(parts)
        with pytest.raises(CannotRotate, match="DAYSHEET_MASTER_KEY='NEW OLD'"):
            await _rotate(database, old)
    both = Settings(database_url=database.url, data_dir=database.folder, master_key=f"{new} {old}")
    async with in_own_task(both) as parts:
        during = await _register(parts)  # the old one wraps, as long as the store knows no other
        assert (await _rotate(database, f"{new} {old}")).patients == 2
        assert await _name(parts, patient) == await _name(parts, during) == "Asha Rao"
        assert (await _rotate(database, f"{new} {old}")).retired == 1  # nothing but to take it out
    alone = Settings(database_url=database.url, data_dir=database.folder, master_key=new)
    async with in_own_task(alone) as parts:
        assert await _name(parts, patient) == "Asha Rao"
    assert os.listdir(database.folder) == ["ledger.key"]


async def test_a_backup_from_before_a_rotation_opens_with_the_retired_key_put_back(
    parts: Parts, database: Database, admin: Connection, file: Path
) -> None:
    """And the next rotation leads to the newer key again."""
    patient = await _register(parts)
    before = {table: await admin.fetch(f"SELECT * FROM daysheet.{table}") for table in ("secret", "patient_key")}
    await _rotate(database)
    new = _only(file)
    await admin.execute("SET session_replication_role = replica")  # the backup is put back beneath the triggers
    await admin.execute("ALTER TABLE daysheet.master_key DISABLE TRIGGER never_changed")
    await admin.execute("DELETE FROM daysheet.master_key WHERE number = 2")
    for table, rows in before.items():
        await admin.execute(f"DELETE FROM daysheet.{table}")
        await admin.copy_records_to_table(table, schema_name="daysheet", records=[tuple(row) for row in rows])

    with pytest.raises(WrongMasterKey, match="another master key"):
        async with running(database.settings(), database.url):
            pytest.fail("it ran")
    write(file, text(file) + text(KeyFile(file).retired.path))
    async with in_own_task(database.settings()) as restored:
        assert await _name(restored, patient) == "Asha Rao"
        assert (await _rotate(database)).newest == new.id
        assert await _name(restored, patient) == "Asha Rao"


# --- from the schema before ----------------------------------------------------------------------


async def test_a_store_from_before_keys_named_their_master_key_is_brought_along(
    postgres: str, admin: Connection, database: Database, file: Path
) -> None:
    async with in_own_task(database.settings()) as parts:
        patient = await _register(parts)
    key = _only(file)
    events = await admin.fetch("SELECT * FROM daysheet.event ORDER BY position")
    secrets = await admin.fetch("SELECT name, wrapped FROM daysheet.secret")
    (wrapped,) = [row["wrapped"] for row in await admin.fetch("SELECT wrapped FROM daysheet.patient_key")]
    store = await admin.fetchrow("SELECT store_id, timezone FROM daysheet.store")
    assert store is not None
    await admin.execute("DROP SCHEMA daysheet CASCADE; CREATE SCHEMA daysheet AUTHORIZATION daysheet_owner")
    await admin.execute("SET ROLE daysheet_owner")
    await admin.execute((files("domain.log") / "migrations" / "0001_log.sql").read_text(encoding="utf-8"))
    names, values = [row["name"] for row in secrets], [row["wrapped"][ID_BYTES:] for row in secrets]
    await admin.execute("SELECT daysheet.introduce($1, $2, $3, $4, $5)", *store, key.check, names, values)
    await admin.execute("INSERT INTO daysheet.patient_key VALUES ($1, $2)", patient, wrapped[ID_BYTES:])
    await admin.copy_records_to_table("event", schema_name="daysheet", records=[tuple(row) for row in events])
    await admin.execute(
        "CREATE TABLE daysheet.migration (number integer PRIMARY KEY, name text NOT NULL,"
        " applied_at timestamptz NOT NULL DEFAULT clock_timestamp())"
    )
    await admin.execute("INSERT INTO daysheet.migration (number, name) VALUES (1, '0001_log.sql')")
    await admin.execute("RESET ROLE")

    assert "0004_keys.sql" in await migrate(admin)
    assert await _wrapped(admin) == [wrapped, *(row["wrapped"] for row in secrets)]
    async with in_own_task(database.settings()) as parts:
        assert await _name(parts, patient) == "Asha Rao"
        await _rotate(database)
        assert await _name(parts, patient) == "Asha Rao"


async def test_a_key_that_names_no_master_key_of_the_store_is_broken_and_not_late(
    parts: Parts, admin: Connection
) -> None:
    """So that somebody who spoils one row stops the days of one patient, and not a server that waits for a file."""
    patient = await _register(parts)
    await admin.execute("UPDATE daysheet.patient_key SET wrapped = decode('00', 'hex') || wrapped")
    with pytest.raises(WrongMasterKey, match="never had"):
        await _name(parts, patient)
