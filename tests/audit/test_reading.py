"""What an auditor asks is found by an index, in a log of any age: planned for every auditor alike, and for none."""

from __future__ import annotations

import pytest

from domain.audit import read
from domain.postgres.connect import Connection

_FILL = """
INSERT INTO daysheet.access
SELECT n, 'reader/' || n, 1, CASE n % 3 WHEN 0 THEN 'patients-searched@1' WHEN 1 THEN 'patient-viewed@1'
                                        ELSE 'board-viewed@1' END,
       CASE WHEN n % 3 = 2 THEN date '2025-01-01' + n / 500 END, CASE WHEN n % 3 = 1 THEN gen_random_uuid() END,
       CASE WHEN n % 3 = 0 THEN '{"patients":["' || gen_random_uuid() || '"]}' ELSE '{}' END::bytea,
       ('{"at":"2025-11-17T03:45:00Z","actor":"desk-' || n % 20 || '","role":"r"}')::bytea, now()
FROM generate_series(1, 20000) n
"""
_FILL_EVENTS = """
INSERT INTO daysheet.event
SELECT n, 'clinic/' || n, 1, 'patient-called@1', date '2025-01-01', gen_random_uuid(), '{}',
       ('{"command":"CallNext","actor":"desk-' || n % 20 || '","role":"r"}')::bytea, now()
FROM generate_series(1, 20000) n
"""
QUESTIONS = {
    "about": (read._ABOUT, "bigint, bigint, uuid[], date[], bigint[]", "0, 100, '{}', '{2025-01-05}', '{7}'"),
    "found": (read._FOUND, "bigint, bigint, text", "0, 100, 'x'"),
    "by": (read._BY, "bigint, bigint, bytea", "0, 100, 'desk-7'"),
    "of streams": (read._OF_STREAMS, "text[]", "'{reader/7}'"),
    "events about": (read._EVENTS_ABOUT, "bigint, bigint, uuid[]", "0, 100, '{}'"),
    "events by": (read._EVENTS_BY, "bigint, bigint, bytea", "0, 100, 'desk-7'"),
}
PLANS = pytest.mark.parametrize("plans", ["force_generic_plan", "force_custom_plan"])


@PLANS
async def test_no_question_reads_a_whole_log(admin: Connection, plans: str) -> None:
    await admin.execute(_FILL)
    await admin.execute(_FILL_EVENTS)
    await admin.execute("ANALYZE daysheet.access; ANALYZE daysheet.event")
    await admin.execute(f"SET enable_bitmapscan = off; SET plan_cache_mode = {plans}")  # as connect.py has it
    for number, (name, (sql, types, arguments)) in enumerate(QUESTIONS.items()):
        await admin.execute("BEGIN")
        if name == "found":
            await admin.execute(read._BY_BITMAP)
        await admin.execute(f"PREPARE question_{number} ({types}) AS {sql}")
        plan = "\n".join(row[0] for row in await admin.fetch(f"EXPLAIN EXECUTE question_{number} ({arguments})"))
        await admin.execute("ROLLBACK")
        assert "Seq Scan on" not in plan, (name, plan)
        by_position = [line for line in plan.splitlines() if "_pkey on" in line]
        alone = 'Index Cond: ("position" = '  # one row by its number is no reading through
        assert all(alone in plan.split(line)[1].splitlines()[1] for line in by_position), (name, plan)
