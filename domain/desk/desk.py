"""Carries commands out: decide, append, and where another process was faster, decide again."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import msgspec

from domain.desk import appointments, clinics, moves, registry
from domain.desk.equipment import Equipment
from domain.desk.outcome import Asker, Contended, Done, KeyReused, Receipt
from domain.desk.streams import LockTimeout
from domain.desk.work import Work
from domain.log import read
from domain.log.append import Claimed, Conflict, KeyUsed, MasterKeyRetired, Request, StoreUnavailable
from domain.postgres.connect import FAULTS
from domain.rules import commands
from domain.rules.refusals import Refusal

DECIDE_AGAIN_SECONDS: Final = 2.0

_DECIDE: Final[Mapping[type, Callable[[Work, Any], Awaitable[Receipt]]]] = {
    commands.RegisterDoctor: registry.register_doctor,
    commands.ChangeDoctor: registry.change_doctor,
    commands.RegisterPatient: registry.register_patient,
    commands.ChangePatient: registry.change_patient,
    commands.ErasePatient: registry.erase_patient,
    commands.SetUpClinic: clinics.set_up,
    commands.CloseClinic: clinics.close,
    commands.ReopenClinic: clinics.reopen,
    commands.DelayClinic: clinics.delay,
    commands.FinishClinic: clinics.finish,
    commands.CallNext: clinics.call_next,
    commands.ReassignClinic: moves.reassign,
    commands.BookAppointment: appointments.book,
    commands.WalkIn: appointments.walk_in,
    commands.CheckIn: appointments.check_in,
    commands.CallPatient: appointments.call,
    commands.RecallPatient: appointments.recall,
    commands.StartConsultation: appointments.start,
    commands.CompleteConsultation: appointments.complete,
    commands.PutOnHold: appointments.hold,
    commands.Resume: appointments.resume,
    commands.MarkNoShow: appointments.mark_no_show,
    commands.ChangePriority: appointments.change_priority,
    commands.MoveAppointment: moves.move,
    commands.UndoStep: moves.undo,
    commands.CancelAppointment: appointments.cancel,
}

_encode: Final = msgspec.json.Encoder().encode
_decode_receipt: Final = msgspec.json.Decoder(Receipt).decode


class Desk:
    def __init__(self, equipment: Equipment) -> None:
        self.equipment = equipment

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
        async with Work(self.equipment, asker, command, fresh) as work:
            if key is not None:
                await work.lock(f"#{key.hex()}")  # "#" comes before every stream's name
                # At first a key is taken for a new one. If it is not, the append says KeyUsed, before all else.
                if fresh and (past := await self._past(key, fingerprint)):
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
            if not appends:
                receipt = msgspec.structs.replace(receipt, rests_on=work.position)
            if appends or key is not None:
                request = Request(key, fingerprint, _encode(receipt)) if key is not None else None
                try:
                    position = await work.commit(request)
                except Claimed:
                    raise work.claims[0] from None
                except MasterKeyRetired:
                    await self.equipment.vault.learn_newest_master()
                    raise Conflict from None  # The store has moved on: decide again, with a key that it takes.
            return Done(receipt, position or receipt.rests_on, appended=appends)

    def _key(self, command: Any, asker: Asker) -> tuple[bytes | None, bytes]:
        """Keyed digests of the idempotency key, within its actor, and of the request."""
        if asker.idempotency_key is None:
            return None, b""
        request = _encode([type(command).__name__, command])
        return self.equipment.digests.request_key(
            asker.actor, asker.idempotency_key
        ), self.equipment.digests.fingerprint(request)

    async def _past(self, key: bytes, fingerprint: bytes) -> Done | None:
        past = await read.past_request(self.equipment.pool, key)
        if past is None:
            return None
        if past.fingerprint != fingerprint:
            raise KeyReused
        receipt = _decode_receipt(past.outcome)
        return Done(receipt, past.position or receipt.rests_on, appended=False, replayed=True)
