"""Carries commands out: decide, append, and where another process was faster, decide again."""

from __future__ import annotations

import asyncio
import random
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec

from domain.desk import appointments, clinics, registry
from domain.desk.outcome import Asker, Contended, Done, KeyReused, Receipt
from domain.desk.streams import Locks, LockTimeout, Streams
from domain.desk.work import Work
from domain.log import read
from domain.log.append import Claimed, Conflict, KeyUsed, Request, StoreUnavailable, Writer
from domain.log.codec import EventMapper
from domain.postgres.connect import FAULTS, Pool
from domain.rules import commands
from domain.rules.ids import AppointmentId
from domain.rules.refusals import Refusal

if TYPE_CHECKING:
    from domain.vault.digests import Digests
    from domain.vault.sealing import Vault

DECIDE_AGAIN_SECONDS: Final = 2.0
WHEREABOUTS_KEPT: Final = 100_000

_DECIDE: Final[Mapping[type, Callable[[Work, Any], Awaitable[Receipt]]]] = {
    commands.RegisterDoctor: registry.register_doctor,
    commands.RegisterPatient: registry.register_patient,
    commands.ErasePatient: registry.erase_patient,
    commands.SetUpClinic: clinics.set_up,
    commands.CallNext: clinics.call_next,
    commands.BookAppointment: appointments.book,
    commands.CheckIn: appointments.check_in,
    commands.CompleteConsultation: appointments.complete,
    commands.CancelAppointment: appointments.cancel,
}

_encode: Final = msgspec.json.Encoder().encode
_decode_receipt: Final = msgspec.json.Decoder(Receipt).decode


class Whereabouts(OrderedDict[AppointmentId, str]):
    """The stream each appointment was last seen in."""

    def __setitem__(self, appointment_id: AppointmentId, stream: str) -> None:
        super().__setitem__(appointment_id, stream)
        if len(self) > WHEREABOUTS_KEPT:
            self.popitem(last=False)


class Desk:
    """`now` and `new_id` come from outside: there is no clock and no chance in here."""

    def __init__(
        self,
        *,
        pool: Pool,
        writer: Writer,
        vault: Vault,
        digests: Digests,
        zone: ZoneInfo,
        now: Callable[[], datetime],
        new_id: Callable[[], UUID],
    ) -> None:
        self.pool, self.writer, self.vault, self.digests = pool, writer, vault, digests
        self.now, self.new_id, self._zone = now, new_id, zone
        self.streams, self.locks, self.whereabouts = Streams(pool), Locks(), Whereabouts()
        self.mapper = EventMapper()

    def date_of(self, at: datetime) -> date:
        """The date at that moment in the hospital."""
        return at.astimezone(self._zone).date()

    async def handle(self, command: Any, asker: Asker) -> Done:
        """Raises a Refusal, KeyReused, Contended, StoreUnavailable, OutcomeUnknown."""
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + DECIDE_AGAIN_SECONDS
        fresh = False
        while True:
            try:
                done = await self._try(command, asker, fresh=fresh)
            except (Conflict, KeyUsed):
                if loop.time() > give_up_at:
                    raise Contended from None
                await asyncio.sleep(random.uniform(0, 0.005))
            except LockTimeout:
                raise Contended from None
            except FAULTS as fault:
                raise StoreUnavailable from fault
            else:
                if done is not None:
                    return done
            fresh = True

    async def _try(self, command: Any, asker: Asker, *, fresh: bool) -> Done | None:
        """Decide once. None where the answer rests on something that may be behind: then decide on what is fresh."""
        key, fingerprint = self._key(command, asker)
        async with Work(self, asker, command, fresh) as work:
            if key is not None:
                await work.lock(f"#{key.hex()}")  # "#" comes before every stream's name
                if past := await self._past(key, fingerprint):
                    return past
            try:
                receipt = await _DECIDE[type(command)](work, command)
            except Refusal:
                if work.from_memory:
                    return None
                if key is not None and (past := await self._past(key, fingerprint)):
                    return past  # Another server carried it out just now: the refusal is its own shadow.
                raise
            appends = work.changed
            if not appends and work.from_memory:
                return None
            position: int | None = None
            if appends or key is not None:
                request = Request(key, fingerprint, _encode(receipt)) if key is not None else None
                try:
                    position = await work.commit(request)
                except Claimed:
                    raise work.claims[0] from None
            return Done(receipt, position or work.position, appended=appends)

    def _key(self, command: Any, asker: Asker) -> tuple[bytes | None, bytes]:
        """Keyed digests of the idempotency key, within its actor, and of the request."""
        if asker.idempotency_key is None:
            return None, b""
        request = _encode([type(command).__name__, command])
        return self.digests.request_key(asker.actor, asker.idempotency_key), self.digests.fingerprint(request)

    async def _past(self, key: bytes, fingerprint: bytes) -> Done | None:
        past = await read.past_request(self.pool, key)
        if past is None:
            return None
        if past.fingerprint != fingerprint:
            raise KeyReused
        return Done(_decode_receipt(past.outcome), past.position, appended=False, replayed=True)
