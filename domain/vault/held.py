"""How much the vault, and the outcomes that are remembered, hold of one patient; and whose an mrn is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from uuid import UUID

from domain.rules.ids import PatientId

if TYPE_CHECKING:
    from domain.postgres.connect import Pool

OUTCOMES_SECONDS: Final = 60.0
"""There is no index from ids to outcomes: nobody else asks. A million of them take seconds."""

_IN_VAULT: Final = """
SELECT EXISTS (SELECT FROM daysheet.patient_key WHERE patient = $1),
       (SELECT count(*) FROM daysheet.search_token WHERE patient = $1),
       (SELECT count(*) FROM daysheet.claim WHERE holder = $1)
"""
_OUTCOMES: Final = """
SELECT count(*) FROM daysheet.request WHERE convert_from(outcome, 'UTF8') LIKE ANY ($1)
"""
_HOLDER: Final = "SELECT holder FROM daysheet.claim WHERE name = $1"


@dataclass(frozen=True, slots=True)
class InVault:
    key: bool
    search_tokens: int
    claims: int


async def in_vault(pool: Pool, patient_id: PatientId) -> InVault:
    row = await pool.fetchrow(_IN_VAULT, patient_id)
    assert row is not None
    return InVault(*row)


async def outcomes_naming(pool: Pool, ids: Sequence[UUID]) -> int:
    """How many remembered outcomes (see domain/desk/outcome.py) name a patient, or one of their appointments."""
    return int(await pool.fetchval(_OUTCOMES, [f"%{one}%" for one in ids], timeout=OUTCOMES_SECONDS))


async def holder_of(pool: Pool, claim: bytes) -> UUID | None:
    """Who holds a claim (see Digests.claim)."""
    holder: UUID | None = await pool.fetchval(_HOLDER, claim)
    return holder
