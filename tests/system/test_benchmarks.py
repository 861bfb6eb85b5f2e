"""The benchmarks run from start to end, at sizes that say nothing about speed."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CASES = {"append": 4, "rebuild": 2, "encode": 6, "startup": 6, "memory": 3}


@pytest.mark.parametrize("name", CASES)
async def test_a_benchmark_compares_ours_with_its_peer_in_one_run(name: str, tmp_path: Path) -> None:
    file = tmp_path / "rows.json"
    bench = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "scripts.benchmarks", name, "--quick", "--json", str(file)),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await bench.communicate()
    assert bench.returncode == 0, output.decode()
    page = json.loads(file.read_text(encoding="utf-8"))
    assert set(page) == {"bench", "machine", "rows"}
    assert page["bench"] == name
    assert {"cpu", "cores", "python", "postgresql"} <= set(page["machine"])
    assert len(page["rows"]) == CASES[name]
    for row in page["rows"]:
        assert set(row) == {"case", "unit", "ours", "peer", "peer_name", "ratio"}
        assert row["ours"] > 0
        assert row["peer"] > 0
        assert row["ratio"] > 0
        assert row["case"] in output.decode()
