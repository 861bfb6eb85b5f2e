"""Does the database server keep what it acknowledges, notice what a disk changes, and let in only whom it should?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import asyncpg

from domain.postgres.connect import APP_ROLE
from domain.postgres.finding import Finding, failure, ok, warning

if TYPE_CHECKING:
    from domain.postgres.connect import Connection

OLDEST: Final = 150_000
"""Of the releases that Daysheet is tested on: 15."""

_DURABILITY: Final = ("fsync", "full_page_writes", "synchronous_commit")
_SETTINGS: Final = "SELECT name, setting FROM pg_settings WHERE name = ANY($1)"
# What a database, or the app's role, is told at login; this session may be another's.
_OVERRIDES: Final = """
SELECT split_part(setting, '=', 1) AS name, split_part(setting, '=', 2) AS setting
FROM pg_db_role_setting s, unnest(setconfig) setting
WHERE setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
  AND setrole IN (0, (SELECT oid FROM pg_roles WHERE rolname = $1)) AND split_part(setting, '=', 1) = ANY($2)
"""
_ROOM: Final = """
SELECT sum(CASE name WHEN 'max_connections' THEN setting::int ELSE -setting::int END) FROM pg_settings
WHERE name IN ('max_connections', 'superuser_reserved_connections', 'reserved_connections')
"""
_ADMISSIONS: Final = """
SELECT type, address, auth_method FROM pg_hba_file_rules WHERE error IS NULL AND auth_method <> 'reject'
"""
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost", "samehost"})


async def version(connection: Connection) -> Finding:
    number, name = int(await connection.fetchval("SHOW server_version_num")), connection.get_server_version()
    said = f"PostgreSQL {name.major}.{name.minor}"
    if number < OLDEST:
        return failure("version", said, f"upgrade it: Daysheet is tested on {OLDEST // 10_000} and newer")
    return ok("version", said)


async def durability(connection: Connection) -> Finding:
    settings = [*await connection.fetch(_SETTINGS, _DURABILITY)]
    settings += await connection.fetch(_OVERRIDES, APP_ROLE, _DURABILITY)
    off = sorted({name for name, setting in settings if setting in ("off", "false", "0", "no")})
    if off:
        return failure("durability", ", ".join(f"{name}=off" for name in off), "turn it on: a crash would lose events")
    return ok("durability", ", ".join(f"{name}={setting}" for name, setting in sorted(map(tuple, settings))))


async def checksums(connection: Connection) -> Finding:
    if await connection.fetchval("SHOW data_checksums") != "on":
        advice = "stop PostgreSQL and run pg_checksums --enable, so that a page a disk has changed is noticed"
        return warning("checksums", "off", advice)
    return ok("checksums", "on")


async def room(connection: Connection) -> int:
    """How many connections it grants to ordinary users."""
    return int(await connection.fetchval(_ROOM))


async def connections(connection: Connection, needed: int) -> Finding:
    """`needed` by all workers together."""
    granted = await room(connection)
    said = f"{granted} for ordinary users, {needed} needed at most"
    if granted < needed:
        return failure("connections", said, "raise max_connections, or serve with fewer workers")
    return ok("connections", said)


async def reach(connection: Connection) -> Finding:
    """Who can get as far as the server, and what it asks of them; as much as this session may see."""
    listens = await connection.fetchval("SHOW listen_addresses")
    said = f"listens on {listens}" if listens else "listens on no network"
    try:
        admissions = await connection.fetch(_ADMISSIONS)
    except asyncpg.InsufficientPrivilegeError:
        advice = "check once with a superuser's URL, or look at pg_hba.conf: no line may say trust"
        return warning("reachable", f"{said}; whom it lets in, this user may not see", advice)
    remote = [(kind, method) for kind, address, method in admissions if kind != "local" and address not in _LOOPBACK]
    if any(method == "trust" for _, method in remote):
        return failure(
            "reachable", f"{said}; pg_hba.conf trusts whoever comes by network", "demand scram-sha-256 there"
        )
    if listens and any(kind != "hostssl" for kind, _ in remote):
        advice = "make these lines of pg_hba.conf hostssl, and set ssl=on, unless the network is the server's own"
        return warning("reachable", f"{said}; other machines may come without TLS", advice)
    if any(method == "trust" for _, _, method in admissions):
        advice = "demand peer or scram-sha-256 of local connections"
        return warning("reachable", f"{said}; pg_hba.conf trusts every user of its machine", advice)
    return ok("reachable", f"{said}; whoever comes has to prove who they are")
