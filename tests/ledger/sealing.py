"""Sealing by hand, and what an attacker with the database, and perhaps with the key, would do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID, uuid4

from domain.ledger import read
from domain.ledger.checkpoint import Checkpoint, VerifierKey
from domain.ledger.keys import SigningKey
from domain.ledger.logs import EVENT
from domain.ledger.sealer import SealedLog
from domain.ledger.verify import Outside, Report, verify
from domain.log.append import Writer
from domain.postgres.connect import Connection, connect
from tests.conftest import Database
from tests.log.writing import a_stream, drafts

KEY = SigningKey.of(b"k" * 32)
ANOTHER_KEY = SigningKey.of(b"o" * 32)
_RECORD = ("event", "seal", "tile", "ledger_key", "store")


@dataclass(slots=True)
class SealedStore:
    database: Database
    admin: Connection
    app: Connection
    writer: Writer
    store_id: UUID

    @property
    def verifier_key(self) -> VerifierKey:
        return VerifierKey(EVENT.origin(self.store_id), KEY.public)

    async def append(self, number: int) -> None:
        """Each by a command of its own, so that no two were recorded at one time."""
        stream = a_stream()
        for draft in drafts(stream, number):
            await self.writer.append([draft])

    async def append_together(self, number: int) -> None:
        await self.writer.append(drafts(a_stream(), number))

    async def seal(self, *, at_most: int = 10_000, key: SigningKey = KEY) -> None:
        """All that there is, so many rows a time."""
        await self.app.execute("SELECT daysheet.pin_ledger_key($1)", key.public)
        sealed = await SealedLog.resumed(self.app, EVENT, key, EVENT.origin(self.store_id))
        while await sealed.seal_next(self.app, at_most):
            pass

    async def kept(self, size: int | None = None) -> Outside:
        """A checkpoint, as somebody keeps it elsewhere."""
        note = (await read.seal(self.app, EVENT, size)).note
        return Outside(f"kept-{size}.txt", Checkpoint.of(note))

    async def attack(self, *statements: str) -> None:
        """As a superuser who knows about the triggers."""
        for table in _RECORD:
            await self.admin.execute(f"ALTER TABLE daysheet.{table} DISABLE TRIGGER ALL")
        for statement in statements:
            await self.admin.execute(statement)
        for table in _RECORD:
            await self.admin.execute(f"ALTER TABLE daysheet.{table} ENABLE ALWAYS TRIGGER never_changed")

    async def seal_anew(self, key: SigningKey, *, at_most: int, pin: bool = True) -> None:
        """All seals gone, and made again over what is there now; with `pin`, the store is pinned to that key."""
        await self.attack("DELETE FROM daysheet.seal", "DELETE FROM daysheet.tile", "DELETE FROM daysheet.ledger_key")
        await self.seal(at_most=at_most, key=key)
        if not pin:
            await self.attack(f"UPDATE daysheet.ledger_key SET public_key = '\\x{KEY.public.hex()}'")

    async def verify(self, *outside: Outside, key: VerifierKey | None = None) -> Report:
        return await verify(self.database.url, outside=outside, key=key)

    async def found(self, *outside: Outside, key: VerifierKey | None = None) -> list[tuple[str, int, int]]:
        """Words and places."""
        report = await self.verify(*outside, key=key)
        assert (report.verdict == "tampered") == bool(report.findings)
        return [(finding.word, finding.first, finding.last) for finding in report.findings]


@asynccontextmanager
async def sealed_store(database: Database, admin: Connection, writer: Writer) -> AsyncIterator[SealedStore]:
    """Introduced, and nothing in it."""
    store_id = uuid4()
    await admin.execute("SELECT daysheet.introduce($1, 'Asia/Kolkata', 'check', '{}', '{}')", store_id)
    app = await connect(database.url)
    try:
        yield SealedStore(database, admin, app, writer, store_id)
    finally:
        app.terminate()
