"""The composition root: the only place where the parts are put together."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final
from uuid import uuid4
from zoneinfo import ZoneInfo

import asyncpg
import structlog
from aiohttp import web

from domain.audit.recorder import Recorder
from domain.audit.writer import Writer as AuditWriter
from domain.desk.desk import Desk
from domain.desk.equipment import Equipment
from domain.desk.streams import Streams
from domain.ledger.keys import SigningKey, agreed_key
from domain.ledger.sealer import Sealer
from domain.log import codec, read
from domain.log.append import Writer
from domain.log.follow import Follower
from domain.log.identity import Identity, identity, introduce
from domain.log.migrate import migrate, require_latest
from domain.postgres.connect import FAULTS, Connection, Pool, connect, pool, require_durable
from domain.postgres.embedded import EmbeddedPostgres
from domain.vault.digests import Digests
from domain.vault.known import known_masters, take_newest
from domain.vault.master import MasterKeys, read_master_keys
from domain.vault.sealing import Vault
from gateway import access, checkpoints, health, metrics, starting, workers
from gateway import web as pages
from gateway.clock import Clock
from gateway.connection import HttpConnection
from gateway.demo import hospital
from gateway.downtime.writing import Downtime
from gateway.erasures import KeptErasures
from gateway.live import asyncapi, inflating
from gateway.live import routes as live_routes
from gateway.live.fanout import Fanout
from gateway.live.replay import Replays
from gateway.parts import PARTS, Parts
from gateway.rest import openapi, problem
from gateway.rest import routes as rest_routes
from gateway.rest.decode import BODY_BYTES
from gateway.settings import CannotListen, Settings, SettingsError
from projections.boards import Boards
from projections.deltas import Deltas
from projections.directory import Directory
from projections.encoding import BOARD_FORMAT, Encoder
from projections.export import Export
from projections.freshness import Freshness
from projections.history import History
from projections.onlookers import Onlookers
from projections.projector import Behind, Projector
from projections.proof import Prover
from projections.timeline import Timelines

KEEPALIVE_SECONDS: Final = 15.0
LAST_REQUESTS_SECONDS: Final = 3.0
POOL_CLOSES_SECONDS: Final = 1.0
LAST_LOOK_SECONDS: Final = 0.5
LAST_SEAL_SECONDS: Final = 1.0
LEDGER_KEY: Final = "ledger.key"
_FINISH_ERASURES: Final = "SELECT daysheet.finish_erasures()"

log = structlog.get_logger()


async def serve(settings: Settings, ready: Callable[[str], None]) -> None:
    """Until SIGTERM or SIGINT. `ready` is told the address once requests are answered, by all workers there are.

    Raises, after a log line, when a loop dies that the server cannot do without; and StoppedMeanwhile.
    """
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with database(settings, stop) as url:
        if settings.workers > 1:
            await workers.supervise(settings, url, ready, stop)
            return
        if settings.worker:
            workers.stop_when_orphaned(stop)
            workers.beat()
        inflating.keep_no_context()
        async with (
            running(settings, url) as parts,
            _listening(settings, parts) as address,
            # Of several workers one moves the made-up patients. Two would call everybody twice as fast.
            hospital.living(parts) if settings.demo and settings.is_first else nullcontext(),
        ):
            ready(address)
            await stop.wait()
            log.info("stopping")


@asynccontextmanager
async def database(settings: Settings, stop: asyncio.Event | None = None) -> AsyncIterator[str]:
    """The URL of the database given, or of the embedded one, with the right schema. Raises StoppedMeanwhile."""
    if settings.database_url is not None:
        yield settings.database_url
        return
    async with embedded(settings, stop) as postgres:
        for name in await migrated(postgres.url(user="postgres")):
            log.info("migrated", migration=name)
        yield postgres.url()


@asynccontextmanager
async def embedded(settings: Settings, stop: asyncio.Event | None = None) -> AsyncIterator[EmbeddedPostgres]:
    """Raises StoppedMeanwhile."""
    settings.folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # the key is kept here, too
    folder = settings.folder / "postgres"
    postgres = await (starting.start(folder, stop) if stop else asyncio.to_thread(EmbeddedPostgres.start, folder))
    try:
        yield postgres
    finally:
        await asyncio.to_thread(postgres.stop)


async def migrated(administrators_url: str) -> list[str]:
    """Bring a database to this release's schema; returns the migrations applied."""
    connection = await asyncpg.connect(administrators_url)
    try:
        return await migrate(connection)
    finally:
        await connection.close()


@asynccontextmanager
async def running(settings: Settings, url: str) -> AsyncIterator[Parts]:
    """Desk and read model at work on a database. When one of their loops dies, so does the body of the `async with`."""
    store = await _introduced(url, settings)
    async with _readers(url) as readers:
        clock = Clock()
        await clock.measure(readers)
        parts, writer = _together(settings, url, store, readers, clock)
        if parts.erasures is not None:
            await parts.erasures.load()
        await parts.projector.start()
        async with _at_work(settings, parts, writer):
            yield parts


@dataclass(frozen=True, slots=True)
class _Store:
    """Who it is, the keys to its vault, and the one that seals its ledger, if this server has that."""

    who: Identity
    master: MasterKeys
    ledger_key: SigningKey | None


async def _introduced(url: str, settings: Settings) -> _Store:
    """At first start all of it is made here. What a restored vault should have forgotten, it forgets now."""
    connection = await connect(url)
    try:
        await require_latest(connection)
        await require_durable(connection)
        who, master = await _identified(connection, settings)
        ledger_key = await agreed_key(connection, settings.ledger_key, settings.folder / LEDGER_KEY)
        finished = await connection.fetchval(_FINISH_ERASURES)
        if finished:
            log.warning("erasures_finished", patients=finished)
        return _Store(who, master, ledger_key)
    finally:
        await connection.close()


async def _identified(connection: Connection, settings: Settings) -> tuple[Identity, MasterKeys]:
    known = await identity(connection)
    master = read_master_keys(settings.master_key, settings.key_file, may_make=known is None)
    if known is None:
        zone = settings.zone_name()
        known = await introduce(connection, uuid4(), zone, master.current.check, master.current.fresh_secrets())
        log.info("store_introduced", store=str(known.store_id), timezone=known.timezone)
    take_newest(master, await known_masters(connection))
    if settings.timezone is not None and settings.zone_name() != known.timezone:
        raise SettingsError(f"this store keeps its dates in {known.timezone}, not in {settings.timezone}")
    return known, master


def _together(settings: Settings, url: str, store: _Store, readers: Pool, clock: Clock) -> tuple[Parts, Writer]:
    """All the parts, each with those it needs. Nothing runs yet."""
    who, zone, facts = store.who, ZoneInfo(store.who.timezone), codec.facts()
    follower = Follower(url)
    writer = Writer(url, on_commit=follower.wake)
    vault = Vault(readers, store.master)
    directory = Directory(readers, vault, facts)
    boards = Boards(readers, directory, facts)
    timelines = Timelines(readers, boards, directory, facts)
    projector = Projector(readers, follower, boards, timelines, directory, facts)
    digests = Digests(store.master.unwrap_all(who.wrapped_secrets))
    desk = Desk(
        Equipment(
            pool=readers,
            writer=writer,
            vault=vault,
            digests=digests,
            zone=zone,
            now=clock.now,
            new_id=uuid4,
            streams=Streams(readers),
        )
    )
    encoder = Encoder(directory, zone)
    history = History(readers, vault, facts, encoder)
    erasures = downtime = None
    if settings.is_first and settings.erasures is not None:
        erasures = KeptErasures(settings.erasures, readers, who.store_id)
    if settings.is_first and settings.downtime_dir is not None:
        downtime = Downtime(settings.downtime_dir, boards, encoder, now=clock.now, zone=zone)
        directory.erased = downtime.erased
    parts = Parts(
        pool=readers,
        desk=desk,
        digests=digests,
        directory=directory,
        boards=boards,
        timelines=timelines,
        encoder=encoder,
        deltas=Deltas(encoder, directory),
        freshness=Freshness(readers, projector, clock.now),
        prover=Prover(boards, encoder),
        history=history,
        export=Export(readers, history, directory, facts, encoder, store_id=who.store_id, zone=zone),
        audit=Recorder(AuditWriter(url, clock.now), clock.now, uuid4),
        onlookers=Onlookers(readers, facts, encoder),
        projector=projector,
        erasures=erasures,
        clock=clock,
        zone=zone,
        epoch=who.epoch(BOARD_FORMAT),
        downtime=downtime,
        sealer=Sealer(url, who.store_id, store.ledger_key) if store.ledger_key is not None else None,
    )
    return parts, writer


@asynccontextmanager
async def _at_work(settings: Settings, parts: Parts, writer: Writer) -> AsyncIterator[None]:
    """The loops of the parts. First to go are those that write, and what was accepted is written."""
    erasures, downtime = parts.erasures, parts.downtime
    async with asyncio.TaskGroup() as loops:
        following = [loops.create_task(loop) for loop in _endless(settings, parts)]
        sealing = loops.create_task(parts.sealer.run()) if parts.sealer is not None else None
        following += [sealing] if sealing is not None else []
        writing = [loops.create_task(loop) for loop in (writer.run(), parts.audit.run())]
        try:
            if erasures is not None:
                await erasures.erase_again(parts.desk, parts.projector)
                following.append(loops.create_task(erasures.run()))
            if downtime is not None:  # Not before everyone is erased who has to be.
                following.append(loops.create_task(downtime.run()))
            yield
        finally:
            writer.close()
            parts.audit.close()
            with suppress(asyncio.CancelledError):
                await asyncio.gather(*writing)
            if downtime is not None:
                await _last_sheets(downtime, parts.projector, parts.pool)
            if sealing is not None and parts.sealer is not None and parts.sealer.elected:
                parts.sealer.close()
                await asyncio.wait([sealing], timeout=LAST_SEAL_SECONDS)
            for task in following:
                task.cancel()


def _endless(settings: Settings, parts: Parts) -> Iterator[Coroutine[Any, Any, Any]]:
    yield parts.projector.run()
    yield parts.clock.run(parts.pool)
    yield parts.freshness.run()
    yield parts.prover.run()
    yield parts.audit.tell_denials()
    if settings.is_first and settings.checkpoint_dir is not None:
        yield checkpoints.keep(parts.pool, settings.checkpoint_dir)


async def _last_sheets(downtime: Downtime, projector: Projector, readers: Pool) -> None:
    """With all that is committed, also elsewhere; or with what is known here, if the store has gone already."""
    with suppress(Behind, *FAULTS):
        async with asyncio.timeout(LAST_LOOK_SECONDS):
            await projector.reached(await read.head(readers), seconds=LAST_LOOK_SECONDS)
    await downtime.write_last()


@asynccontextmanager
async def _readers(url: str) -> AsyncIterator[Pool]:
    readers = await pool(url)
    try:
        yield readers
    finally:
        try:
            async with asyncio.timeout(POOL_CLOSES_SECONDS):
                await readers.close()
        except TimeoutError:
            readers.terminate()  # The database does not answer, and must not keep us.


def application(settings: Settings, parts: Parts) -> web.Application:
    app = web.Application(
        client_max_size=BODY_BYTES,
        middlewares=[problem.problems, access.count_denials, access.guard(settings.allow_origin)],
    )
    app[PARTS] = parts
    app[live_routes.FANOUT] = fanout = Fanout(parts)
    app[live_routes.MONITORS] = set()
    app[live_routes.REPLAYS] = Replays()
    parts.projector.tell = fanout.tell
    parts.boards.given_up = fanout.give_up
    parts.boards.replaced = fanout.replace
    parts.freshness.turned = partial(_tell_status, app)
    rest_routes.add_routes(app)
    live_routes.add_routes(app)
    health.add_routes(app)
    metrics.add_routes(app, settings.worker)
    pages.add_routes(app)
    app.router.add_get("/openapi.json", openapi.openapi)
    app.router.add_get("/asyncapi.json", asyncapi.asyncapi)
    app.on_response_prepare.append(access.allow_origin)
    app.on_response_prepare.append(inflating.ask_for_no_context)
    app.on_shutdown.append(_close_monitors)
    return app


def _tell_status(app: web.Application) -> None:
    monitors = app[live_routes.MONITORS]
    for monitor in tuple(monitors):  # one may go when told
        monitor.tell_status()


async def _close_monitors(app: web.Application) -> None:
    monitors = app[live_routes.MONITORS]
    await asyncio.gather(*[monitor.close() for monitor in monitors])


@asynccontextmanager
async def _listening(settings: Settings, parts: Parts) -> AsyncIterator[str]:
    runner = web.AppRunner(application(settings, parts), shutdown_timeout=LAST_REQUESTS_SECONDS)
    await runner.setup()
    assert runner.server is not None
    loop = asyncio.get_running_loop()
    connection = partial(
        HttpConnection,
        runner.server,
        loop=loop,
        access_log=None,  # type: ignore[arg-type]  # paths carry ids; who asked for whom is the ledger's business
        keepalive_timeout=KEEPALIVE_SECONDS,
        auto_decompress=False,  # nobody needs to send us something that grows
    )
    listener: asyncio.Server | None = None
    try:
        try:
            listener = await loop.create_server(
                connection, settings.host, settings.port, reuse_address=True, reuse_port=settings.worker > 0
            )
        except OSError as error:
            raise CannotListen(settings.host, settings.port, error) from None
        host, port = listener.sockets[0].getsockname()[:2]
        yield f"http://{f'[{host}]' if ':' in host else host}:{port}"
    finally:
        if listener is not None:
            listener.close()
        await runner.cleanup()
