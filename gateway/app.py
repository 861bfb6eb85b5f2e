"""The composition root: the only place where the parts are put together."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final
from uuid import uuid4
from zoneinfo import ZoneInfo

import asyncpg
import structlog
from aiohttp import web

from domain.desk.desk import Desk
from domain.log import codec
from domain.log.append import Writer
from domain.log.follow import Follower
from domain.log.identity import Identity, identity, introduce
from domain.log.migrate import migrate, require_latest
from domain.postgres.connect import Connection, connect, pool, require_durable
from domain.postgres.embedded import EmbeddedPostgres
from domain.vault.digests import Digests
from domain.vault.master import MasterKey, WrongMasterKey, read_master_key
from domain.vault.sealing import Vault
from gateway import access, health
from gateway import web as pages
from gateway.clock import Clock
from gateway.live import routes as live_routes
from gateway.live.fanout import Fanout
from gateway.parts import PARTS, Parts
from gateway.rest import openapi, problem
from gateway.rest import routes as rest_routes
from gateway.rest.decode import BODY_BYTES
from gateway.settings import Settings, SettingsError
from projections.boards import Boards
from projections.directory import Directory
from projections.encoding import BOARD_FORMAT, Encoder
from projections.projector import Projector

KEEPALIVE_SECONDS: Final = 15.0
LAST_REQUESTS_SECONDS: Final = 4.0
_FINISH_ERASURES: Final = "SELECT daysheet.finish_erasures()"

log = structlog.get_logger()


async def serve(settings: Settings, ready: Callable[[str], None]) -> None:
    """Until SIGTERM or SIGINT. `ready` is told the address once requests are answered.

    Raises, after a log line, when a loop dies that the server cannot do without.
    """
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with database(settings) as url, running(settings, url) as parts, _listening(settings, parts) as address:
        ready(address)
        await stop.wait()
        log.info("stopping")


@asynccontextmanager
async def database(settings: Settings) -> AsyncIterator[str]:
    """The URL of a database with the right schema: the one given, or the embedded one."""
    if settings.database_url is not None:
        yield settings.database_url
        return
    embedded = await asyncio.to_thread(EmbeddedPostgres.start, settings.folder / "postgres")
    try:
        administrator = await asyncpg.connect(embedded.url(user="postgres"))
        try:
            for name in await migrate(administrator):
                log.info("migrated", migration=name)
        finally:
            await administrator.close()
        yield embedded.url()
    finally:
        await asyncio.to_thread(embedded.stop)


@asynccontextmanager
async def running(settings: Settings, url: str) -> AsyncIterator[Parts]:
    """Desk and read model at work on a database. When one of their loops dies, so does the body of the `async with`."""
    connection = await connect(url)
    try:
        await require_latest(connection)
        await require_durable(connection)
        who, master = await _introduced(connection, settings)
        finished = await connection.fetchval(_FINISH_ERASURES)
        if finished:
            log.warning("erasures_finished", patients=finished)
    finally:
        await connection.close()
    async with await pool(url) as readers:
        follower = Follower(url)
        writer = Writer(url, on_commit=follower.wake)
        clock = Clock()
        await clock.measure(readers)
        zone = ZoneInfo(who.timezone)
        vault = Vault(readers, master)
        facts = codec.facts()
        directory = Directory(readers, vault, facts)
        boards = Boards(readers, directory, facts)
        projector = Projector(readers, follower, boards, directory, facts)
        desk = Desk(
            pool=readers,
            writer=writer,
            vault=vault,
            digests=Digests(master.unwrap_all(who.wrapped_secrets)),
            zone=zone,
            now=clock.now,
            new_id=uuid4,
        )
        await projector.start()
        parts = Parts(
            pool=readers,
            desk=desk,
            directory=directory,
            boards=boards,
            encoder=Encoder(directory, zone),
            projector=projector,
            clock=clock,
            zone=zone,
            epoch=who.epoch(BOARD_FORMAT),
        )
        async with asyncio.TaskGroup() as loops:
            following = [loops.create_task(projector.run()), loops.create_task(clock.run(readers))]
            writing = loops.create_task(writer.run())
            try:
                yield parts
            finally:
                writer.close()
                with suppress(asyncio.CancelledError):
                    await writing
                for task in following:
                    task.cancel()


async def _introduced(connection: Connection, settings: Settings) -> tuple[Identity, MasterKey]:
    """Who the store is, and the key to its vault; at first start both are made here."""
    known = await identity(connection)
    master = read_master_key(settings.master_key, settings.folder / "master.key", may_make=known is None)
    if known is None:
        zone = settings.zone_name()
        known = await introduce(connection, uuid4(), zone, master.check, master.fresh_secrets())
        log.info("store_introduced", store=str(known.store_id), timezone=known.timezone)
    if known.key_check != master.check:
        raise WrongMasterKey("this store was made with another master key than the one at hand")
    if settings.timezone is not None and settings.zone_name() != known.timezone:
        raise SettingsError(f"this store keeps its dates in {known.timezone}, not in {settings.timezone}")
    return known, master


def application(settings: Settings, parts: Parts) -> web.Application:
    app = web.Application(
        client_max_size=BODY_BYTES, middlewares=[problem.problems, access.guard(settings.allow_origin)]
    )
    app[PARTS] = parts
    app[live_routes.FANOUT] = fanout = Fanout(parts)
    app[live_routes.MONITORS] = set()
    parts.projector.tell = fanout.tell
    rest_routes.add_routes(app)
    live_routes.add_routes(app)
    health.add_routes(app)
    pages.add_routes(app)
    app.router.add_get("/openapi.json", openapi.openapi)
    app.on_response_prepare.append(access.allow_origin)
    app.on_shutdown.append(_close_monitors)
    return app


async def _close_monitors(app: web.Application) -> None:
    monitors = app[live_routes.MONITORS]
    await asyncio.gather(*[monitor.close() for monitor in monitors])


@asynccontextmanager
async def _listening(settings: Settings, parts: Parts) -> AsyncIterator[str]:
    runner = web.AppRunner(
        application(settings, parts),
        access_log=None,  # paths carry ids, and who asked for whom is the ledger's business
        keepalive_timeout=KEEPALIVE_SECONDS,
        shutdown_timeout=LAST_REQUESTS_SECONDS,
    )
    await runner.setup()
    try:
        site = web.TCPSite(runner, settings.host, settings.port, reuse_address=True)
        try:
            await site.start()
        except OSError as error:
            raise SettingsError(f"cannot listen on {settings.host}:{settings.port}: {error.strerror}") from None
        host, port = runner.addresses[0][:2]
        yield f"http://{f'[{host}]' if ':' in host else host}:{port}"
    finally:
        await runner.cleanup()
