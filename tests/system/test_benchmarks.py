"""The benchmarks run from start to end, at sizes that say nothing about speed."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.live.frames import text_frame
from scripts.benchmarks import plot
from scripts.benchmarks.monitors import Monitor
from scripts.benchmarks.report import Row

ROOT = Path(__file__).parents[2]
SVG = "{http://www.w3.org/2000/svg}"
PING = b"\x89\x04ping"
MASKED_PONG = b"\x8a\x84mask" + bytes(a ^ b for a, b in zip(b"ping", b"mask", strict=True))
CASES = {
    "append": 6,
    "rebuild": 2,
    "encode": 6,
    "startup": 9,
    "memory": 12,
    "fanout": 6,
    "latency": 16,
    "growth": 4,
    "replay": 5,
    "verify": 2,
}
"""Rows, where all peers are installed."""


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
    if "left out: " in output.decode():
        assert len(page["rows"]) < CASES[name]
    else:
        assert len(page["rows"]) == CASES[name]
    for row in page["rows"]:
        assert set(row) == {"case", "unit", "ours", "peer", "peer_name", "ratio"}
        assert row["ours"] > 0
        assert row["peer"] > 0
        assert row["ratio"] > 0
        assert row["case"] in output.decode()


@given(
    messages=st.lists(st.sampled_from((1, 125, 126, 600, 65_535, 65_536)), min_size=1, max_size=4),
    cuts=st.lists(st.integers(0, 140_000), max_size=12),
)
def test_monitors_count_messages_and_answer_pings_however_the_bytes_are_cut(
    messages: list[int], cuts: list[int]
) -> None:
    stream = b"".join(b"".join(text_frame([b"x" * size]).pieces) + PING for size in messages)
    ends = sorted({min(cut, len(stream)) for cut in (0, *cuts, len(stream))})
    ours, theirs = socket.socketpair()
    with ours, theirs:
        monitor = Monitor(ours)
        whole = sum(monitor.take(memoryview(stream[a:b])) for a, b in pairwise(ends))
        assert whole == len(messages)
        assert theirs.recv(1_000) == MASKED_PONG * len(messages)


def test_growth_is_drawn_as_a_panel_for_each_figure() -> None:
    rows = [
        Row(f"encode a check-in, {number:,} appointments", "µs", ours, 100 * ours, "<peer>", 100.0)
        for number, ours in ((15, 12.5), (400, 20.0), (6_000, 41.0))
    ]
    rows.append(Row("publish a delta, 3,000 monitors", "ms", 20.0, 30.0, "another", 1.5))
    drawing = ElementTree.fromstring(plot.draw(rows))
    texts = [text.text for text in drawing.iter(f"{SVG}text")]
    assert {"encode a check-in, µs", "publish a delta, ms", "ours", "<peer>", "another"} <= set(texts)
    assert len(list(drawing.iter(f"{SVG}g"))) == 2
    rising = [float(dot.attrib["cy"]) for dot in drawing.iter(f"{SVG}circle") if dot.attrib["fill"] == plot.OURS]
    assert rising[2:5] == sorted(rising[2:5], reverse=True)
