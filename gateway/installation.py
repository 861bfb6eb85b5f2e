"""Is this installation safe to run? What can be seen from this machine: keys, disk, clock, zone, what is kept outside.

What concerns the database is looked at in domain/postgres/server.py and domain/log/schema.py; `examine` looks at all.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

import asyncpg
import tzlocal

from domain.log import identity, schema
from domain.postgres import server
from domain.postgres.connect import COMMAND_SECONDS, CONNECT_SECONDS, Connection, connect
from domain.postgres.finding import Finding, failure, ok, warning
from domain.vault.known import known_masters, take_newest
from domain.vault.master import WrongMasterKey, read_master_keys
from gateway.downtime import folder
from gateway.downtime.writing import EVERY_SECONDS
from gateway.settings import Settings, SettingsError
from gateway.workers import CONNECTIONS

if TYPE_CHECKING:
    from domain.log.identity import Identity

KEY_FILES: Final = ("master.key", "master.key.retired", "ledger.key")
"""Also what was retired: it opens every backup from before."""
DISK_LOW_BYTES: Final = 5 * 2**30
DISK_FULL_BYTES: Final = 2**30
"""A year of a busy hospital is a few gigabytes; PostgreSQL stops on a full disk, and needs some to start again."""
CLOCK_OFF_SECONDS: Final = 2.0
"""Servers correct themselves to the database's clock; people who compare two logs do not."""
CLOCK_WRONG_SECONDS: Final = 60.0
TRIPS: Final = 5
CHECKPOINT_AGE: Final = timedelta(days=1)
SHEETS_AGE: Final = timedelta(seconds=2 * EVERY_SECONDS)

_NOW: Final = "SELECT clock_timestamp()"
_LAST_RECORDED: Final = "SELECT recorded_at FROM daysheet.event ORDER BY position DESC LIMIT 1"
_DATA_DIRECTORY: Final = "SELECT setting FROM pg_settings WHERE name = 'data_directory'"  # a superuser alone sees it


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """Where to look beside the settings. `superuser_url`: of the embedded database, which lets us be anybody."""

    url: str
    superuser_url: str | None = None
    checkpoint_dir: Path | None = None


async def examine(settings: Settings, where: Where) -> AsyncIterator[Finding]:
    """Everything, in an order to read it in. Raises one of FAULTS when the database cannot be asked."""
    app = await connect(where.url)
    try:
        curious = await asyncpg.connect(
            where.superuser_url or where.url, timeout=CONNECT_SECONDS, command_timeout=COMMAND_SECONDS
        )
        try:
            async for finding in _database(app, curious, settings, embedded=where.superuser_url is not None):
                yield finding
        finally:
            await curious.close()
    finally:
        await app.close()
    for finding in _key_files(settings.folder):
        yield finding
    yield _on_disk("disk", settings.folder)
    yield _checkpoint(where.checkpoint_dir)
    if settings.downtime_dir is not None:
        yield _sheets(settings.downtime_dir)


async def _database(
    app: Connection, curious: Connection, settings: Settings, *, embedded: bool
) -> AsyncIterator[Finding]:
    release = await schema.release(app)
    yield release
    if release.verdict == "ok":
        actual, wanted = await schema.found(app), schema.expected()
        yield await schema.owner(app)
        yield await schema.app_role(app)
        yield schema.rights(actual, wanted)
        yield await schema.others(app)
        yield schema.triggers(actual, wanted)
        yield schema.functions(actual, wanted)
        yield schema.constraints(actual, wanted)
        yield await schema.row_security(app)
        who = await identity.identity(app)
        yield _zone(who, settings)
        yield await _master_key(app, who, settings)
    yield await _clock(app, has_log=release.verdict == "ok")
    yield await server.version(app)
    yield await server.durability(app)
    yield await server.checksums(app)
    yield await server.connections(app, settings.workers * CONNECTIONS)
    if embedded:
        yield _embedded()
    else:
        yield await schema.session(curious)
        yield await server.reach(curious)
        for finding in _database_disk(await curious.fetchval(_DATA_DIRECTORY)):
            yield finding


# --- this machine --------------------------------------------------------------------------------


def _zone(who: Identity | None, settings: Settings) -> Finding:
    here = tzlocal.get_localzone_name() or "UTC"
    if who is None:
        return warning(
            "time zone", f"not chosen yet; this machine is in {here}", "start the first time with --timezone"
        )
    kept = f"dates are kept in {who.timezone}"
    if settings.timezone is not None:
        try:
            wanted = settings.zone_name()
        except SettingsError as error:
            return failure("time zone", f"{kept}; {error}", "name the zone that the store is kept in")
        if wanted != who.timezone:
            return failure("time zone", f"{kept}, not in {wanted}", f"serve with --timezone {who.timezone}")
    if who.timezone in ("UTC", "Etc/UTC") and who.timezone == here:
        advice = (
            "if the hospital is elsewhere, move to a new store, started with --timezone, before there is a day in it"
        )
        return warning("time zone", f"{kept}, as this machine's clock is set", advice)
    return ok("time zone", f"{kept}; this machine is in {here}")


async def _clock(connection: Connection, *, has_log: bool) -> Finding:
    """By the shortest of some trips, as gateway/clock.py does it."""
    trips = []
    for _ in range(TRIPS):
        asked = datetime.now(UTC)
        theirs: datetime = await connection.fetchval(_NOW)
        took = datetime.now(UTC) - asked
        trips.append((took, theirs - (asked + took / 2)))
    ahead = min(trips)[1].total_seconds()
    said = f"the database's is {abs(ahead):.3f} s {'ahead of' if ahead >= 0 else 'behind'} this machine's"
    newest = await connection.fetchval(_LAST_RECORDED) if has_log else None
    database_now = datetime.now(UTC) + min(trips)[1]
    if newest is not None and newest > database_now + timedelta(seconds=CLOCK_OFF_SECONDS):
        said = f"the newest event was recorded at {newest:%Y-%m-%d %H:%M:%S} UTC, and the database says it is earlier"
        return failure("clock", said, "set the database's clock by NTP: until it has caught up, all gets that one time")
    if abs(ahead) > CLOCK_WRONG_SECONDS:
        return failure("clock", said, "set both by NTP: what is recorded gets the database's time")
    if abs(ahead) > CLOCK_OFF_SECONDS:
        return warning("clock", said, "set both by NTP; the server goes by the database's meanwhile")
    return ok("clock", said)


async def _master_key(connection: Connection, who: Identity | None, settings: Settings) -> Finding:
    if who is None:
        return ok("master key", "the first start makes it")
    try:
        keys = read_master_keys(settings.master_key, settings.key_file, may_make=False)
        take_newest(keys, await known_masters(connection))
    except (WrongMasterKey, OSError) as error:
        return failure("master key", str(error), "nobody's details can be read without it: bring it back from its copy")
    given = "given as DAYSHEET_MASTER_KEY" if settings.master_key is not None else "in its file"
    return ok("master key", f"{given}, and opens this store")


def _key_files(place: Path) -> Iterator[Finding]:
    yield from (_key_file(place / name) for name in KEY_FILES if (place / name).exists())


def _key_file(file: Path) -> Finding:
    status = file.stat()
    mode = stat.S_IMODE(status.st_mode)
    if mode & 0o077:
        return failure(file.name, f"mode {mode:04o}: others can read it", f"chmod 600 {file}")
    if status.st_uid not in (os.geteuid(), file.parent.stat().st_uid):
        return failure(file.name, f"belongs to user {status.st_uid}, and its folder does not", f"chown it: {file}")
    if stat.S_IMODE(file.parent.stat().st_mode) & 0o022:
        return failure(file.name, "others can put another one in its place", f"chmod go-w {file.parent}")
    return ok(file.name, f"mode {mode:04o}")


def _on_disk(check: str, place: Path) -> Finding:
    there = next(folder for folder in (place, *place.parents) if folder.exists())  # it may still have to be made
    free = shutil.disk_usage(there).free
    said = f"{free / 2**30:.1f} GiB free for {place}"
    if free < DISK_FULL_BYTES:
        return failure(check, said, "make room now: a database without room stops")
    if free < DISK_LOW_BYTES:
        return warning(check, said, "make room before it is full")
    return ok(check, said)


def _database_disk(data: str | None) -> Iterator[Finding]:
    """Where this session may know where the data are, and they are on this machine."""
    if data is not None and Path(data).is_dir():
        yield _on_disk("database disk", Path(data))


def _embedded() -> Finding:
    """Its folder is closed to others whenever it is started (see EmbeddedPostgres.start)."""
    return warning(
        "reachable",
        "by this machine's own user alone, against whom the embedded PostgreSQL is not tamper-proof",
        "where the record has to stand against whoever runs this machine: a PostgreSQL elsewhere, and checkpoints",
    )


def _checkpoint(place: Path | None) -> Finding:
    """Whether one is there, and new. Whether it fits the record is for `daysheet verify` to say."""
    advice = "have `daysheet checkpoint` write one there every day: only against it a cut-off end of the log shows"
    if place is None:
        return warning("checkpoint", "nobody said where they are kept (--checkpoint-dir)", advice)
    try:
        with closing(os.scandir(place)) as entries:
            files = [(entry.stat().st_mtime, entry.stat().st_size, entry.name) for entry in entries if entry.is_file()]
    except OSError as error:
        return failure("checkpoint", f"{place}: {error.strerror}", advice)
    if not files:
        return warning("checkpoint", f"none in {place}", advice)
    written_at, size, name = max(files)
    age = datetime.now(UTC) - datetime.fromtimestamp(written_at, UTC)
    said = f"{name}, {size} bytes, {_ago(age)}"
    if size == 0:
        return failure("checkpoint", said, "it is empty: is that disk full?")
    return ok("checkpoint", said) if age <= CHECKPOINT_AGE else warning("checkpoint", f"the newest is {said}", advice)


def _sheets(place: Path) -> Finding:
    try:
        newest = folder.newest(place)
        mode = stat.S_IMODE(place.stat().st_mode)
    except OSError as error:
        return failure("downtime sheets", f"{place}: {error.strerror}", "let the server write there")
    if mode & 0o077:
        return failure("downtime sheets", f"mode {mode:04o}: others can read names in {place}", f"chmod 700 {place}")
    if newest is None:
        return warning("downtime sheets", f"none in {place}", "is a server running with this --downtime-dir?")
    file, written_at = newest
    age = datetime.now(UTC) - datetime.fromtimestamp(written_at, UTC)
    said = f"{file.name}, written {_ago(age)}"
    if age > SHEETS_AGE:
        return warning(
            "downtime sheets", said, "is a server running? Its log says downtime_sheet_not_written if it cannot"
        )
    return ok("downtime sheets", said)


def _ago(age: timedelta) -> str:
    minutes = max(0, round(age.total_seconds() / 60))
    return f"{minutes} min ago" if minutes < 120 else f"{minutes // 60} h ago"
