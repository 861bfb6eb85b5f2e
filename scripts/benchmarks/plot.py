"""Rows as a drawing: how a figure grows, ours beside the peer, on logarithmic axes. SVG, by hand.

A panel holds the rows that differ only in the number at the end of their case: `encode a check-in, 6,000 appointments`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Final

from scripts.benchmarks.report import Row

WIDTH: Final = 460
HEIGHT: Final = 300
COLUMNS: Final = 2
LEFT, RIGHT, TOP, BOTTOM = 76, 30, 62, 44
"""Of a panel, around the drawing."""
OURS: Final = "#0b6e4f"
PEER: Final = "#b4491f"
INK: Final = "#333333"
GRID: Final = "#dddddd"

_CASE: Final = re.compile(r"(?P<what>.*), (?P<number>[\d,]+) (?P<unit>\w+)$")


@dataclass(frozen=True, slots=True)
class Panel:
    what: str
    along: str
    unit: str
    peer_name: str
    points: list[tuple[float, float, float]] = field(default_factory=list)
    """(how many, ours, the peer's)"""


def draw(rows: Iterable[Row]) -> str:
    panels = _panels(rows)
    lines = -(-len(panels) // COLUMNS)
    width, height = COLUMNS * WIDTH, lines * HEIGHT
    drawn = [
        f'<g transform="translate({nth % COLUMNS * WIDTH} {nth // COLUMNS * HEIGHT})">{_panel(panel)}</g>'
        for nth, panel in enumerate(panels)
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'font-family="system-ui, sans-serif" font-size="12" fill="{INK}">\n'
        f'<rect width="{width}" height="{height}" fill="white"/>\n' + "\n".join(drawn) + "\n</svg>\n"
    )


def _panels(rows: Iterable[Row]) -> list[Panel]:
    panels: dict[tuple[str, str], Panel] = {}
    for it in rows:
        found = _CASE.match(it.case)
        assert found is not None, f"no number in {it.case!r}"
        key = found["what"], found["unit"]
        panel = panels.setdefault(key, Panel(*key, unit=it.unit, peer_name=it.peer_name))
        panel.points.append((float(found["number"].replace(",", "")), it.ours, it.peer))
    return list(panels.values())


@dataclass(frozen=True, slots=True)
class Axis:
    """Whole decades, from pixel to pixel."""

    first: int
    last: int
    start: float
    end: float

    @staticmethod
    def around(values: Sequence[float], start: float, end: float) -> Axis:
        first, last = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
        return Axis(first, max(last, first + 1), start, end)

    def at(self, value: float) -> float:
        part = (math.log10(value) - self.first) / (self.last - self.first)
        return round(self.start + part * (self.end - self.start), 1)

    def ticks(self) -> list[float]:
        return [10.0**power for power in range(self.first, self.last + 1)]


def _panel(panel: Panel) -> str:
    x = Axis.around([number for number, _, _ in panel.points], LEFT, WIDTH - RIGHT)
    y = Axis.around([value for _, *both in panel.points for value in both], HEIGHT - BOTTOM, TOP)
    ours = [(x.at(number), y.at(value)) for number, value, _ in panel.points]
    peer = [(x.at(number), y.at(value)) for number, _, value in panel.points]
    middle = (LEFT + WIDTH - RIGHT) / 2
    return "".join(
        (
            f'<text x="{LEFT}" y="20" font-weight="600">{escape(panel.what)}, {escape(panel.unit)}</text>',
            _key(LEFT, OURS, "ours"),
            _key(LEFT + 70, PEER, panel.peer_name, dashed=True),
            *(_across(y.at(tick), tick) for tick in y.ticks()),
            *(_along(x.at(tick), tick) for tick in x.ticks()),
            f'<text x="{middle}" y="{HEIGHT - 8}" text-anchor="middle">{escape(panel.along)}</text>',
            _line(peer, PEER, dashed=True),
            _line(ours, OURS),
        )
    )


def _key(x: float, colour: str, name: str, *, dashed: bool = False) -> str:
    return f'{_line([(x, 38), (x + 22, 38)], colour, dashed=dashed)}<text x="{x + 28}" y="42">{escape(name)}</text>'


def _across(y: float, tick: float) -> str:
    return (
        f'<path d="M{LEFT} {y}H{WIDTH - RIGHT}" stroke="{GRID}"/>'
        f'<text x="{LEFT - 6}" y="{y + 4}" text-anchor="end">{_number(tick)}</text>'
    )


def _along(x: float, tick: float) -> str:
    return (
        f'<path d="M{x} {TOP}V{HEIGHT - BOTTOM}" stroke="{GRID}"/>'
        f'<text x="{x}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{_number(tick)}</text>'
    )


def _line(points: Sequence[tuple[float, float]], colour: str, *, dashed: bool = False) -> str:
    path = "L".join(f"{x:g} {y:g}" for x, y in points)
    dash = ' stroke-dasharray="5 4"' if dashed else ""
    dots = "".join(f'<circle cx="{x:g}" cy="{y:g}" r="2.5" fill="{colour}"/>' for x, y in points)
    return f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>{dots}'


def _number(tick: float) -> str:
    return f"{tick:,.0f}" if tick >= 1 else f"{tick:g}"
