"""What goes into the desk beside the command, and what comes out."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

import msgspec


@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """Who asks. `actor` is an opaque id; `idempotency_key` and `correlation_id` are the asker's own."""

    actor: str
    role: str
    idempotency_key: str | None = None
    correlation_id: str | None = None


class Receipt(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a command led to, by id: enough to give the same answer again. Holds nothing personal.

    `id` is the doctor's, the patient's, the appointment's, or for a clinic its doctor's; `date` the clinic's or the
    appointment's. `nobody` was called next, in this doctor's clinic;
    of the clinic that was `reassigned` these appointments `moved`.
    """

    kind: Literal["doctor", "patient", "clinic", "appointment", "nobody", "reassigned"]
    id: UUID
    date: datetime.date | None = None
    created: bool = False
    moved: tuple[UUID, ...] = ()
    rests_on: int = 0
    """Where nothing was appended: the newest position that was looked at."""


@dataclass(frozen=True, slots=True)
class Done:
    """A command carried out. `sequence`: its last event's position; where it appended nothing, the newest position
    of the streams it looked at."""

    receipt: Receipt
    sequence: int
    appended: bool
    replayed: bool = False


class Contended(Exception):
    """Others kept changing the same streams; nothing was recorded."""


class KeyReused(Exception):
    """The idempotency key was used before, for another request."""
