"""Who has these search tokens. The table holds tokens only, and forgets with the patient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from domain.rules.ids import PatientId

if TYPE_CHECKING:
    from domain.postgres.connect import Pool

_HAVING_ALL: Final = """
SELECT patient FROM daysheet.search_token WHERE token = ANY($1)
GROUP BY patient HAVING count(*) = cardinality($1::bytea[]) ORDER BY patient LIMIT $2
"""


async def having_all(pool: Pool, tokens: Sequence[bytes], *, limit: int) -> list[PatientId]:
    """Patients who have every one of these tokens."""
    return [row["patient"] for row in await pool.fetch(_HAVING_ALL, list(set(tokens)), limit)]
