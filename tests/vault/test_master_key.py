"""The master key: made once, kept from others, and never replaced by a fresh one in silence."""

from __future__ import annotations

import base64
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from domain.vault.master import SECRET_NAMES, MasterKey, WrongMasterKey, read_master_keys
from gateway.app import running
from gateway.settings import Settings
from tests.conftest import Database, in_own_task

A_KEY = base64.b64encode(b"k" * 32).decode()
ANOTHER_KEY = base64.b64encode(b"o" * 32).decode()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "data" / "master.key"


def test_the_first_start_makes_a_key_that_only_its_owner_reads(file: Path) -> None:
    made = read_master_keys(None, file, may_make=True)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len(base64.b64decode(file.read_text())) == 32
    assert list(file.parent.iterdir()) == [file]
    assert read_master_keys(None, file, may_make=False).current == made.current
    assert read_master_keys(None, file, may_make=True).current == made.current


def test_no_two_keys_are_the_same(tmp_path: Path) -> None:
    one, other = (read_master_keys(None, tmp_path / name, may_make=True) for name in ("one", "other"))
    assert one.current.check != other.current.check


def test_many_who_start_at_once_get_one_key(file: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        keys = list(threads.map(lambda _: read_master_keys(None, file, may_make=True), range(32)))
    assert len({key.current.check for key in keys}) == 1
    assert list(file.parent.iterdir()) == [file]


def test_a_store_that_has_a_key_does_not_get_a_new_one(file: Path) -> None:
    with pytest.raises(WrongMasterKey, match=rf"{file} is not there: bring the file back, or set DAYSHEET_MASTER_KEY"):
        read_master_keys(None, file, may_make=False)
    assert not file.exists()


MALFORMED = pytest.mark.parametrize(
    "text",
    ["", "\n", "no key", A_KEY[:-4], A_KEY + A_KEY, "é" * 44, A_KEY.replace("=", "!"), "k" * 32],
    ids=["empty", "blank", "words", "short", "long", "not ascii", "not base64", "not encoded"],
)


@MALFORMED
def test_a_file_that_holds_no_key_is_named_and_left_alone(tmp_path: Path, text: str) -> None:
    file = tmp_path / "master.key"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(WrongMasterKey, match=rf"{file} does not hold a master key: 32 bytes as base64"):
        read_master_keys(None, file, may_make=True)
    assert file.read_text(encoding="utf-8") == text


@MALFORMED
def test_an_environment_that_holds_no_key_is_named_and_the_key_not_shown(file: Path, text: str) -> None:
    with pytest.raises(WrongMasterKey) as caught:
        read_master_keys(text, file, may_make=True)
    assert str(caught.value) == "DAYSHEET_MASTER_KEY does not hold a master key: 32 bytes as base64"


def test_the_environments_key_goes_before_the_files(file: Path) -> None:
    read_master_keys(None, file, may_make=True)
    assert read_master_keys(f" {A_KEY}\n", file, may_make=False).current == MasterKey.of(b"k" * 32)


def test_the_environments_key_is_written_nowhere(file: Path) -> None:
    read_master_keys(A_KEY, file, may_make=True)
    assert not file.parent.exists()


def test_a_master_key_tells_nothing_of_itself() -> None:
    key = MasterKey.of(b"k" * 32)
    assert "k" * 8 not in repr(key)
    assert b"k" * 4 not in key.check
    assert A_KEY not in repr(Settings(master_key=A_KEY))


def test_a_stores_secrets_are_its_own_and_open_with_its_key_alone() -> None:
    key = MasterKey.of(b"k" * 32)
    wrapped = key.fresh_secrets()
    assert tuple(wrapped) == SECRET_NAMES
    assert len({key.unwrap(one) for one in wrapped.values()}) == len(SECRET_NAMES)
    assert set(wrapped.values()).isdisjoint(key.fresh_secrets().values())
    with pytest.raises(WrongMasterKey):
        MasterKey.of(b"o" * 32).unwrap(wrapped["search"])


# --- a server and its store ----------------------------------------------------------------------


def _settings(database: Database, key: str | None) -> Settings:
    return Settings(database_url=database.url, data_dir=database.folder, timezone="Asia/Kolkata", master_key=key)


async def test_a_server_does_not_run_with_another_stores_key(database: Database) -> None:
    async with in_own_task(_settings(database, A_KEY)):
        pass
    with pytest.raises(WrongMasterKey, match="made with another master key"):
        async with running(_settings(database, ANOTHER_KEY), database.url):
            pytest.fail("it ran")
    async with in_own_task(_settings(database, A_KEY)):
        pass


async def test_a_server_whose_key_file_was_lost_does_not_make_a_new_one(database: Database) -> None:
    file = database.folder / "master.key"
    async with in_own_task(_settings(database, None)):
        kept = file.read_bytes()
    file.unlink()
    with pytest.raises(WrongMasterKey, match="bring the file back"):
        async with running(_settings(database, None), database.url):
            pytest.fail("it ran")
    assert not file.exists()
    file.write_bytes(kept)
    async with in_own_task(_settings(database, None)):
        pass
