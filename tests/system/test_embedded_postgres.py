"""The PostgreSQL that comes along, through every way in which its owner, or the machine, can end."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg
import psutil
import pytest

import domain
from domain.postgres.embedded import EmbeddedPostgres, EmbeddedPostgresError

OWNER = """
import signal
import sys
from pathlib import Path
from domain.postgres.embedded import EmbeddedPostgres
signal.signal(signal.SIGTERM, lambda *_: sys.exit())
server = EmbeddedPostgres.start(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.read()
"""
"""A process that uses a server until its input ends or SIGTERM comes, and then exits without a word about it."""

Owner = subprocess.Popen[str]


@pytest.fixture
def new_folder() -> Iterator[Path]:
    """A place no server has been. Not pytest's own: root's is closed to the account that runs PostgreSQL."""
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "data" / "postgres"
        yield folder
        for process in serving(folder):
            process.kill()


@pytest.fixture(scope="module")
def made_once() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as parent:
        EmbeddedPostgres.start(Path(parent) / "postgres").stop()
        yield Path(parent) / "postgres"


@pytest.fixture
def folder(new_folder: Path, made_once: Path) -> Path:
    """The folder of a server that was stopped in good order."""
    new_folder.parent.mkdir()
    subprocess.run(["cp", "-a", made_once, new_folder], check=True)
    return new_folder


@pytest.fixture
def new_owner(new_folder: Path) -> Iterator[Callable[[], Owner]]:
    """Starts processes that use the server of the folder; they need not have attached yet."""
    owners: list[Owner] = []

    def start() -> Owner:
        command = [sys.executable, "-c", OWNER, str(new_folder)]
        home = Path(domain.__file__).parents[1]
        owners.append(subprocess.Popen(command, cwd=home, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        return owners[-1]

    yield start
    for owner in owners:
        owner.kill()
        owner.communicate()


def attached(owner: Owner) -> Owner:
    assert owner.stdout is not None
    assert owner.stdout.readline() == "ready\n"
    return owner


def finish(owner: Owner) -> int:
    owner.communicate()
    return owner.returncode


def kill_hard(owner: Owner) -> None:
    owner.kill()
    owner.wait()


def serving(folder: Path) -> list[psutil.Process]:
    data = str(folder.resolve() / "cluster")
    return [
        process
        for process in psutil.process_iter(["name", "cmdline"])
        if process.info["name"] == "postgres" and data in (process.info["cmdline"] or ())
    ]


def cut_power(folder: Path) -> None:
    """What is left of a server when the machine stops: its files, and nothing that runs."""
    (postmaster,) = serving(folder)
    for process in [postmaster, *postmaster.children(recursive=True)]:
        process.kill()
    until(lambda: not serving(folder))


def ask(server: EmbeddedPostgres, sql: str, user: str = "postgres") -> object:
    async def fetch() -> object:
        connection = await asyncpg.connect(server.url(user))
        try:
            return await connection.fetchval(sql)
        finally:
            await connection.close()

    return asyncio.run(fetch())


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_new_folder_gets_a_server_with_an_empty_database_that_outlives_it(new_folder: Path) -> None:
    server = EmbeddedPostgres.start(new_folder)
    assert ask(server, "SELECT current_database()") == "daysheet"
    ask(server, "CREATE TABLE kept AS SELECT 7 AS seven")
    server.stop()
    server.stop()
    assert serving(new_folder) == []

    server = EmbeddedPostgres.start(new_folder)
    assert ask(server, "SELECT seven FROM kept") == 7
    server.stop()


def test_it_keeps_what_it_acknowledges_and_is_open_to_no_network_and_no_other_account(folder: Path) -> None:
    server = EmbeddedPostgres.start(folder)
    for setting in ("fsync", "full_page_writes", "synchronous_commit", "data_checksums"):
        assert ask(server, f"SHOW {setting}") == "on"
    assert ask(server, "SHOW listen_addresses") == ""
    assert folder.stat().st_mode & 0o077 == 0
    server.stop()


def test_it_never_runs_as_root_and_lets_go_of_roots_groups(folder: Path) -> None:
    server = EmbeddedPostgres.start(folder)
    (postmaster,) = serving(folder)
    assert 0 not in postmaster.uids()
    assert os.geteuid() != 0 or 0 not in postmaster.gids()
    server.stop()


def test_a_ctrl_c_in_our_terminal_does_not_reach_it(folder: Path) -> None:
    server = EmbeddedPostgres.start(folder)
    (postmaster,) = serving(folder)
    assert os.getsid(postmaster.pid) != os.getsid(0)
    server.stop()


@pytest.mark.parametrize("name", ["a space", "one, two", "$(quoted) 'and' \"so\"", "long" * 40])
def test_any_path_will_do(new_folder: Path, name: str) -> None:
    server = EmbeddedPostgres.start(new_folder / name)
    assert ask(server, "SELECT 1") == 1
    server.stop()
    assert serving(new_folder / name) == []


def test_several_uses_share_one_server_and_the_last_to_stop_stops_it(
    folder: Path, new_owner: Callable[[], Owner]
) -> None:
    first = EmbeddedPostgres.start(folder)
    second = EmbeddedPostgres.start(folder)
    third = attached(new_owner())
    first.stop()
    second.stop()
    assert len(serving(folder)) == 1
    assert finish(third) == 0
    assert serving(folder) == []


def test_two_that_start_at_once_on_a_new_folder_end_with_one_server(
    new_folder: Path, new_owner: Callable[[], Owner]
) -> None:
    owners = [new_owner(), new_owner()]
    for owner in owners:
        attached(owner)
    assert len(serving(new_folder)) == 1
    assert [finish(owner) for owner in owners] == [0, 0]
    assert serving(new_folder) == []


def test_a_process_that_exits_without_a_stop_leaves_no_server_behind(
    folder: Path, new_owner: Callable[[], Owner]
) -> None:
    assert finish(attached(new_owner())) == 0
    assert serving(folder) == []

    owner = attached(new_owner())
    owner.terminate()
    assert finish(owner) == 0
    assert serving(folder) == []


def test_a_forked_child_that_exits_leaves_its_parent_the_server(folder: Path) -> None:
    server = EmbeddedPostgres.start(folder)
    child = os.fork()
    if child == 0:
        server.stop()
        os._exit(0)
    os.waitpid(child, 0)
    assert ask(server, "SELECT 1") == 1
    server.stop()
    assert serving(folder) == []


def test_after_a_killed_owner_the_next_finds_its_server_and_stops_it(
    folder: Path, new_owner: Callable[[], Owner]
) -> None:
    kill_hard(attached(new_owner()))
    left_behind = serving(folder)
    assert len(left_behind) == 1

    server = EmbeddedPostgres.start(folder)
    assert serving(folder) == left_behind
    server.stop()
    assert serving(folder) == []


def test_a_server_that_died_under_its_owner_is_started_again_by_the_next_start(folder: Path) -> None:
    server = EmbeddedPostgres.start(folder)
    cut_power(folder)
    again = EmbeddedPostgres.start(folder)
    assert ask(server, "SELECT 1") == 1
    again.stop()
    assert len(serving(folder)) == 1
    server.stop()
    assert serving(folder) == []


@pytest.mark.parametrize(
    "left_over", ["{pid}\n{rest}", "{pid}\n", "", "not a number\n"], ids=["whole", "cut short", "empty", "garbage"]
)
def test_after_a_power_cut_left_over_process_ids_mean_nothing(folder: Path, left_over: str) -> None:
    server = EmbeddedPostgres.start(folder)
    ask(server, "CREATE TABLE kept AS SELECT 7 AS seven")
    pid_file = folder / "cluster" / "postmaster.pid"
    rest = pid_file.read_text().partition("\n")[2]
    cut_power(folder)
    same_account = pid_file.stat().st_uid
    with subprocess.Popen(["sleep", "60"], user=same_account if os.geteuid() == 0 else None) as unrelated:
        text = left_over.format(pid=unrelated.pid, rest=rest)
        pid_file.write_text(text)
        (folder / ".s.PGSQL.5432.lock").write_text(text)
        again = EmbeddedPostgres.start(folder)
        assert ask(again, "SELECT seven FROM kept") == 7
        assert unrelated.poll() is None
        unrelated.terminate()
    again.stop()
    server.stop()
    assert serving(folder) == []


def slow_recovery(folder: Path) -> None:
    """Have the next start recover from an archive that takes its time to say that it has nothing."""
    with (folder / "cluster" / "postgresql.auto.conf").open("a") as settings:
        settings.write("restore_command = 'sleep 1; false'\n")
    (folder / "cluster" / "recovery.signal").touch()


def says(folder: Path, state: str) -> bool:
    pid_file = folder / "cluster" / "postmaster.pid"
    return pid_file.exists() and state in pid_file.read_text()


def test_a_server_found_recovering_is_waited_for(folder: Path, new_owner: Callable[[], Owner]) -> None:
    slow_recovery(folder)
    owner = new_owner()
    until(lambda: says(folder, "starting"))
    kill_hard(owner)
    found = serving(folder)
    server = EmbeddedPostgres.start(folder)
    assert serving(folder) == found
    assert ask(server, "SELECT 1") == 1
    server.stop()


def test_one_that_recovers_past_the_deadline_is_left_to_go_on(folder: Path) -> None:
    slow_recovery(folder)
    with pytest.raises(EmbeddedPostgresError, match="did not get ready in time"):
        EmbeddedPostgres.start(folder, within_seconds=0.1)
    server = EmbeddedPostgres.start(folder)
    assert ask(server, "SELECT 1") == 1
    server.stop()
    assert serving(folder) == []


def test_what_keeps_it_from_starting_is_said(folder: Path) -> None:
    with (folder / "cluster" / "postgresql.auto.conf").open("a") as settings:
        settings.write("shared_buffers = 'lots'\n")
    with pytest.raises(EmbeddedPostgresError, match=r"postgresql\.auto\.conf.* contains errors"):
        EmbeddedPostgres.start(folder, within_seconds=0.5)


def test_a_server_that_was_cut_off_while_being_made_is_made_again(
    new_folder: Path, new_owner: Callable[[], Owner]
) -> None:
    owner = new_owner()
    until(lambda: any(new_folder.glob("cluster.new-*/PG_VERSION")))
    kill_hard(owner)
    assert not (new_folder / "cluster").exists()
    server = EmbeddedPostgres.start(new_folder)
    assert ask(server, "SELECT 1") == 1
    server.stop()
    assert list(new_folder.glob("cluster.new-*")) == []


def test_a_data_directory_of_something_else_is_refused_and_left_alone(new_folder: Path) -> None:
    precious = new_folder / "cluster" / "precious"
    precious.parent.mkdir(parents=True)
    precious.touch()
    with pytest.raises(EmbeddedPostgresError, match="not a PostgreSQL data directory"):
        EmbeddedPostgres.start(new_folder)
    assert precious.exists()


def test_a_data_directory_of_a_release_that_is_not_here_is_refused(new_folder: Path) -> None:
    (new_folder / "cluster").mkdir(parents=True)
    (new_folder / "cluster" / "PG_VERSION").write_text("9.6\n")
    with pytest.raises(EmbeddedPostgresError, match=r"made by PostgreSQL 9\.6"):
        EmbeddedPostgres.start(new_folder)


def test_one_that_waits_for_another_to_start_it_says_so_in_the_end(
    folder: Path, new_owner: Callable[[], Owner]
) -> None:
    slow_recovery(folder)
    new_owner()
    until(lambda: says(folder, "starting"))
    with pytest.raises(EmbeddedPostgresError, match="another process"):
        EmbeddedPostgres.start(folder, within_seconds=0.1)


def test_a_server_that_will_not_stop_in_good_order_is_cut_off(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("domain.postgres.embedded.STOP_SECONDS", 1.0)
    server = EmbeddedPostgres.start(folder)
    (postmaster,) = serving(folder)
    checkpointer = next(child for child in postmaster.children() if "checkpointer" in " ".join(child.cmdline()))
    checkpointer.send_signal(signal.SIGSTOP)
    server.stop()
    assert "cut off" in caplog.text
    until(lambda: not serving(folder))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may use any folder")
def test_a_folder_of_another_account_is_refused() -> None:
    with pytest.raises(EmbeddedPostgresError, match="not for this account to use"):
        EmbeddedPostgres.start(Path("/daysheet-of-root"))
