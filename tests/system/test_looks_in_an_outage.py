"""The record of who looked goes down with its database: nobody is kept from looking, and nothing that waits is lost."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

from tests.conftest import TIMEZONE
from tests.server import Server, start_server
from tests.system.own_postgres import OwnPostgres
from tests.system.test_outages import healed, in_time

MONITORS = 20


async def _kinds(server: Server, query: str) -> tuple[Counter[str], list[dict[str, Any]]]:
    answer = await server.get(f"/audit?{query}")
    assert answer.status == 200, answer
    return Counter(one["kind"] for one in answer.body["records"]), answer.body["records"]


async def test_looks_during_an_outage_are_recorded_after_it_and_the_gap_is_told(
    own_postgres: OwnPostgres, data_dir: Path
) -> None:
    server = await start_server("--database-url", own_postgres.url, "--data-dir", str(data_dir), "--timezone", TIMEZONE)
    try:
        today = await server.today()
        patient = await server.a_patient()
        await server.an_appointment(await server.a_doctor(), patient)
        assert (await server.get(f"/patients/{patient}")).status == 200
        await own_postgres.cut_power()

        async def watch() -> None:
            async with server.monitor() as monitor:
                await monitor.send_json({"action": "subscribe", "date": today})
                assert (await monitor.receive_json(timeout=5))["type"] == "snapshot"

        await asyncio.gather(*(watch() for _ in range(MONITORS)))
        answers = await asyncio.gather(*(in_time(server.get("/queue")) for _ in range(5)))
        assert [answer.status for answer in answers] == [200] * 5

        await own_postgres.start()
        await healed(server)
        kinds, told = await _kinds(server, f"patient_id={patient}")
        assert kinds["subscription"] == MONITORS
        assert kinds["board-viewed"] == 5
        assert all(one["detail"]["ended_at"] for one in told if one["kind"] == "subscription")
        _, ours = await _kinds(server, "actor=daysheet")
        assert [(one["kind"], one["detail"]["lost"]) for one in ours] == [("recording-interrupted", 0)]
        assert ours[0]["detail"]["late"] >= 2 * MONITORS + 5
        metrics = await (await server._session.get(server.url + "/metrics")).text()
        assert 'daysheet_looks_waiting{worker="0"} 0.0' in metrics
        assert 'daysheet_looks_lost_total{worker="0"} 0.0' in metrics
    finally:
        await server.stop()
