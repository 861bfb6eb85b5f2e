"""Erasures as they are kept outside the store, where no backup of the store reaches them: one JSON line for each.

    {"store":"5f0c…","patient":"91b2…","sequence":4711,"erased_at":"2025-11-17T03:45:00.120000Z"}

No name, no reason. A store brought back from a backup learns from the list whom it has to forget again.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final
from uuid import UUID

import msgspec
import structlog

from domain.rules.ids import PatientId

if TYPE_CHECKING:
    from domain.postgres.connect import Connection, Pool

LIST_BYTES: Final = 64 * 2**20
"""Of a whole list: 400,000 erasures. What is longer is not one."""
PAGE_ERASURES: Final = 1_000
CUT_SHORT: Final = b" # cut short"
"""Ends a line that a crash left half-written, before the next one is added. Nobody was ever told that it is there."""

_AFTER: Final = """
SELECT position, subject, recorded_at, count(*) OVER () FROM daysheet.event
WHERE type LIKE 'patient-erased@%' AND position > $1 ORDER BY position LIMIT $2
"""
_STILL_THERE: Final = """
SELECT patient FROM unnest($1::uuid[]) u(patient)
WHERE EXISTS (SELECT FROM daysheet.event e WHERE e.stream = 'patient/' || patient AND e.version = 1)
  AND NOT EXISTS (
    SELECT FROM daysheet.event e WHERE e.stream = 'patient/' || patient AND e.type LIKE 'patient-erased@%')
"""

log = structlog.get_logger()


class Erasure(msgspec.Struct, frozen=True, kw_only=True):
    """`sequence` and `erased_at` are its event's, in the store as it was then."""

    store: UUID
    patient: PatientId
    sequence: int
    erased_at: Annotated[datetime, msgspec.Meta(tz=True)]


class UnreadableList(Exception):
    """The list of erasures cannot be read, or is another store's. Never tells where it is: that may hold a password."""


class NoList(UnreadableList):
    """There is no list where one should be."""


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Erasure).decode


def line_of(erasure: Erasure) -> bytes:
    return _encode(erasure) + b"\n"


def read_lines(text: bytes) -> list[Erasure]:
    """A last line that does not end is passed over if it is none: it was cut short. Raises UnreadableList with the
    number of any other line that is none."""
    lines = text.split(b"\n")
    erasures = []
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.endswith(CUT_SHORT):
            continue
        try:
            erasures.append(_decode(line))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            if number < len(lines):
                raise UnreadableList(f"line {number} of the list of erasures is none") from None
            log.warning("erasures_cut_short", line=number)
    return erasures


class ErasureFile:
    """A list in a file, which may be shared. Blocks: to be called in a thread."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> list[Erasure]:
        """Raises NoList, UnreadableList."""
        try:
            with self._path.open("rb") as file:
                text = file.read(LIST_BYTES + 1)
        except FileNotFoundError:
            raise NoList("the list of erasures is not there") from None
        except OSError as error:
            raise UnreadableList(f"the list of erasures cannot be read: {error.strerror}") from None
        if len(text) > LIST_BYTES:
            raise UnreadableList(f"the list of erasures is longer than {LIST_BYTES} bytes")
        return read_lines(text)

    def add(self, erasures: Sequence[Erasure]) -> None:
        """On disk when this returns. Raises OSError."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            lines = b"".join(map(line_of, erasures))
            size = os.fstat(descriptor).st_size
            if size and os.pread(descriptor, 1, size - 1) != b"\n":
                lines = CUT_SHORT + b"\n" + lines
            while lines:
                lines = lines[os.write(descriptor, lines) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if not size:
            folder = os.open(self._path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)  # It may have been made just now.
            finally:
                os.close(folder)


@dataclass(frozen=True, slots=True)
class Page:
    """Some of the log's erasures. `pending`: how many there are beyond where it begins, those of the page included."""

    erasures: Sequence[Erasure]
    pending: int


async def erasures_after(store: Pool, store_id: UUID, position: int) -> Page:
    """The log's, in order."""
    rows = await store.fetch(_AFTER, position, PAGE_ERASURES)
    erasures = [
        Erasure(store=store_id, patient=patient, sequence=sequence, erased_at=recorded_at)
        for sequence, patient, recorded_at, _ in rows
    ]
    return Page(erasures, rows[0][-1] if rows else 0)


async def still_there(store: Pool | Connection, patients: Iterable[PatientId]) -> list[PatientId]:
    """Those whom this store knows, and has not erased."""
    return [row["patient"] for row in await store.fetch(_STILL_THERE, list(patients))]
