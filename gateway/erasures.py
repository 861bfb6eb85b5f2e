"""Erasures kept outside the store, at a place of the hospital's choice: a file, or a URL.

    at start      whoever the list names, and a restored backup brought back, is erased again before anybody is served
    from then on  the log is followed, also from before there was a list: what the list does not have yet is added

An erasure neither waits for the list nor fails with it: nobody's right hangs on a disk of somebody else's. What is
still to be added is counted (`daysheet_erasures_pending`), and it is in the log, where the next start finds it, too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn, Protocol
from urllib.parse import urlsplit
from uuid import UUID

import aiohttp
import structlog

from domain.desk.outcome import Asker
from domain.log import read
from domain.postgres.connect import FAULTS, back_off
from domain.rules.commands import ErasePatient
from domain.rules.ids import PatientId
from domain.vault.erased import (
    LIST_BYTES,
    Erasure,
    ErasureFile,
    NoList,
    UnreadableList,
    erasures_after,
    line_of,
    read_lines,
    still_there,
)
from gateway.settings import SettingsError

if TYPE_CHECKING:
    from domain.desk.desk import Desk
    from domain.postgres.connect import Pool
    from projections.projector import Projector

POLL_SECONDS: Final = 1.0
BACK_OFF_SECONDS: Final = (1.0, 60.0)
FILE_SECONDS: Final = 10.0
URL_SECONDS: Final = 10.0
"""For one request."""
URL_PAUSES_SECONDS: Final = (0.5, 2.0)
"""Before a list that was not reached is asked for again. After the last it is not there."""
AGAIN_AT_ONCE: Final = 100
FOLDED_SECONDS: Final = 30.0

RESTORE: Final = Asker(actor="restore", role="system")
AGAIN: Final = "erased before; a restored backup had brought it back"

log = structlog.get_logger()


class ErasuresUnknown(SettingsError):
    """Nobody can say whom this server has to forget: serving them would be worse than not serving."""


class Place(Protocol):
    name: str
    """Where it is, without a password."""

    async def read(self) -> list[Erasure]:
        """Raises UnreadableList; NoList where one has still to be made."""

    async def add(self, erasures: Sequence[Erasure]) -> None:
        """Raises one of _NOT_KEPT. Some may be there twice, or not at all, after this: only reading tells."""


class _File:
    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._file = ErasureFile(path)

    async def read(self) -> list[Erasure]:
        try:
            async with asyncio.timeout(FILE_SECONDS):  # A network's disk may hang.
                return await asyncio.to_thread(self._file.read)
        except TimeoutError:
            raise UnreadableList(f"the list of erasures cannot be read within {FILE_SECONDS:g} s") from None

    async def add(self, erasures: Sequence[Erasure]) -> None:
        async with asyncio.timeout(FILE_SECONDS):
            await asyncio.to_thread(self._file.add, erasures)


class _Url:
    """GET gives all lines; POST of one line adds it."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.name = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        self._url = url

    async def read(self) -> list[Erasure]:
        for pause in (*URL_PAUSES_SECONDS, None):
            try:
                return read_lines(await self._get())
            except (aiohttp.ClientError, TimeoutError) as fault:
                if pause is None:
                    raise UnreadableList(f"the list of erasures cannot be reached ({type(fault).__name__})") from None
                await asyncio.sleep(pause)
        raise AssertionError("unreachable")

    async def add(self, erasures: Sequence[Erasure]) -> None:
        async with _session() as session:
            for erasure in erasures:
                async with session.post(self._url, data=line_of(erasure), allow_redirects=False) as response:
                    if not 200 <= response.status < 300:
                        raise UnreadableList(f"the list of erasures takes no line: it answers {response.status}")

    async def _get(self) -> bytes:
        async with _session() as session, session.get(self._url, allow_redirects=False) as response:
            if response.status >= 500:
                response.raise_for_status()
            if response.status != 200:
                raise UnreadableList(f"the list of erasures cannot be read: its server answers {response.status}")
            text = bytearray()
            async for chunk in response.content.iter_chunked(65_536):
                text += chunk
                if len(text) > LIST_BYTES:
                    raise UnreadableList(f"the list of erasures is longer than {LIST_BYTES} bytes")
            return bytes(text)


def _session() -> aiohttp.ClientSession:
    headers = {"Content-Type": "application/x-ndjson"}
    return aiohttp.ClientSession(headers=headers, timeout=aiohttp.ClientTimeout(total=URL_SECONDS))


_NOT_KEPT: Final = (UnreadableList, aiohttp.ClientError, *FAULTS)
"""What may stand between an erasure and the list, and may be over in a while."""


class KeptErasures:
    """The list of one store's erasures, and the loop that keeps it."""

    def __init__(self, place: str, pool: Pool, store_id: UUID) -> None:
        self._place: Place = _Url(place) if "://" in place else _File(Path(place))
        self._pool, self._store_id = pool, store_id
        self._listed: set[PatientId] = set()
        self._after = 0
        self.pending = 0
        """Erasures of the log that the list is not known to have."""

    async def load(self) -> None:
        """At start: learn who is to be forgotten. Raises ErasuresUnknown."""
        try:
            listed = await self._place.read()
        except NoList as error:
            if await read.head(self._pool):
                raise ErasuresUnknown(
                    f"--erasures {self._place.name}: {error}. Bring it back; where there never was one, "
                    "make an empty file, and it is filled"
                ) from None
            await self._place.add([])  # A store without an event has nobody to forget.
            return
        except UnreadableList as error:
            raise ErasuresUnknown(f"--erasures {self._place.name}: {error}") from None
        if any(erasure.store != self._store_id for erasure in listed):
            raise ErasuresUnknown(f"--erasures {self._place.name}: the list of erasures is another store's")
        self._listed = {erasure.patient for erasure in listed}

    async def erase_again(self, desk: Desk, projector: Projector) -> None:
        """Whoever the list names and this store still knows. After `load`. Raises what the desk does, and Behind."""
        returned = await still_there(self._pool, self._listed)
        for first in range(0, len(returned), AGAIN_AT_ONCE):
            commands = [ErasePatient(patient_id=one, reason=AGAIN) for one in returned[first : first + AGAIN_AT_ONCE]]
            done = await asyncio.gather(*[desk.handle(command, RESTORE) for command in commands])
            # The desk has had their keys in its hands: they are out of this process when the event is folded.
            await projector.reached(max(one.sequence for one in done), seconds=FOLDED_SECONDS)
        self._listed.clear()
        if returned:
            log.warning("erased_again", patients=len(returned))

    async def run(self) -> NoReturn:
        """For ever."""
        failures = 0
        while True:
            try:
                await self._catch_up()
            except _NOT_KEPT as fault:
                failures += 1
                log.warning("erasures_not_kept_outside", pending=self.pending, fault=type(fault).__name__)
            else:
                if failures:
                    log.info("erasures_kept_outside_again")
                failures = 0
            await asyncio.sleep(back_off(failures - 1, BACK_OFF_SECONDS) if failures else POLL_SECONDS)

    async def _catch_up(self) -> None:
        """Bring to the list what it does not have yet of this store's log."""
        while (page := await erasures_after(self._pool, self._store_id, self._after)).erasures:
            self.pending = page.pending
            missing = await self._missing(page.erasures)
            if missing:
                await self._place.add(missing)
                if await self._missing(missing):
                    raise UnreadableList("the list of erasures has not kept what it was given")
            self._after = page.erasures[-1].sequence
            self.pending -= len(page.erasures)
            log.info("erasures_kept_outside", added=len(missing))

    async def _missing(self, erasures: Sequence[Erasure]) -> list[Erasure]:
        """Those whose patients the list does not name. Another server may have written them already."""
        there = {erasure.patient for erasure in await self._place.read()}
        return [erasure for erasure in erasures if erasure.patient not in there]
