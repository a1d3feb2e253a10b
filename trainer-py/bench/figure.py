"""The figure of a run: tokens a second of every contestant as a share of the floor, by the number of tasks. As SVG.

Per shape a panel; per contestant a line through the medians over its cells, and a bar from the least to the most. Where
some cells of a shape have rivals, these alone are drawn: medians are of the same cells.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from html import escape
from typing import Any

from bench.results import RIVALS, has_rivals, measured, share_of_floor

_COLOURS = {
    "ours": "#b5179e", "published": "#6c757d", "steelman": "#343a40", "peft-sequential": "#1d70b8",
    "peft-best-batch": "#5694ca", "slice-loop": "#e07a1f", "grouped-gemm": "#2a9d8f",
}  # fmt: skip
_PANEL, _HEIGHT, _LEFT, _TOP, _BOTTOM = 330, 300, 56, 40, 46
_TICKS = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


def svg(cells: Sequence[dict[str, Any]]) -> str:
    done = measured(cells)
    shapes = list(dict.fromkeys(cell["shape"] for cell in done))
    width = _LEFT + _PANEL * len(shapes) + 150
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {_HEIGHT}" font-family="sans-serif" '
        'font-size="12" role="img" aria-label="Training speed as a share of the floor, by the number of tasks">',
        f'<rect width="{width}" height="{_HEIGHT}" fill="#fff"/>',
    ]
    for place, shape in enumerate(shapes):
        own = [cell for cell in done if cell["shape"] == shape]
        parts += _panel(shape, [cell for cell in own if has_rivals(cell)] or own, _LEFT + place * _PANEL)
    for place, name in enumerate(_names(done)):
        y, x = _TOP + 10 + 20 * place, _LEFT + _PANEL * len(shapes)
        parts.append(f'<line x1="{x}" x2="{x + 20}" y1="{y}" y2="{y}" stroke="{_COLOURS[name]}" stroke-width="3"/>')
        parts.append(text(x + 26, y + 4, name, "start"))
    return "\n".join([*parts, "</svg>", ""])


def _names(cells: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    """Whom these cells have a line for."""
    return ("ours", *(RIVALS if any(map(has_rivals, cells)) else ()))


def _panel(shape: str, cells: Sequence[dict[str, Any]], left: int) -> list[str]:
    inner = _PANEL - 30
    tasks = sorted({cell["tasks"] for cell in cells})
    parts = [text(left + inner / 2, 22, f"{shape}, share of the floor", "middle")]
    for tick in _TICKS:
        y = _y(tick)
        parts.append(f'<line x1="{left}" x2="{left + inner}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        parts.append(text(left - 6, y + 4, f"{tick:.0%}", "end"))
    centres = {one: left + inner * (place + 0.5) / len(tasks) for place, one in enumerate(tasks)}
    parts += [text(x, _HEIGHT - _BOTTOM + 18, f"D = {one}", "middle") for one, x in centres.items()]
    for number, name in enumerate(_names(cells)):
        points = []
        for one, centre in centres.items():
            shares = [share_of_floor(cell, name) for cell in cells if cell["tasks"] == one]
            x = centre + 5 * (number - 3)
            points.append(f"{x:.1f},{_y(statistics.median(shares)):.1f}")
            parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{_y(min(shares)):.1f}" y2="{_y(max(shares)):.1f}" '
                         f'stroke="{_COLOURS[name]}" stroke-width="2.5" stroke-linecap="round"/>')  # fmt: skip
        parts.append(f'<polyline points="{" ".join(points)}" fill="none" stroke="{_COLOURS[name]}"/>')
    return parts


def _y(share: float) -> float:
    """Logarithmic; what is off the scale lies on its edge."""
    low, high = math.log(_TICKS[0]), math.log(1.3)
    place = (min(max(math.log(share), low), high) - low) / (high - low)
    return _HEIGHT - _BOTTOM - place * (_HEIGHT - _TOP - _BOTTOM)


def text(x: float, y: float, words: str, anchor: str) -> str:
    """Words of an SVG at a point; `anchor` is start, middle or end."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="#222">{escape(words)}</text>'
