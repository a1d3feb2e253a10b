"""The study as an SVG: macro validation nats against seconds, a curve for each run, the best of a configuration thick.

Configurations differ by dashes and by lightness as well as by colour, so that a print without colours tells them apart.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.figure import text
from bench.trade.configurations import CONFIGURATIONS
from bench.trade.summary import Point, best_point, best_runs

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 860, 440, 64, 190, 18, 52
_STYLES = {  # colour, dashes; from dark to light
    "all-qv": ("#111111", ""),
    "last8-qv": ("#6a1b9a", "9 4"),
    "last8-linear": ("#1f78b4", "2 3"),
    "last12-linear": ("#e08214", "12 3 2 3"),
}
_LINE = 15  # of a label


@dataclass(frozen=True, slots=True)
class Scale:
    """Linear, of seconds from 0 and of nats from `low` to `high`."""

    seconds: float
    low: float
    high: float

    def x(self, seconds: float) -> float:
        return _LEFT + seconds / self.seconds * (_WIDTH - _LEFT - _RIGHT)

    def y(self, nats: float) -> float:
        return _TOP + (self.high - nats) / (self.high - self.low) * (_HEIGHT - _TOP - _BOTTOM)


def svg(runs: Sequence[dict[str, Any]]) -> str:
    best = best_runs(runs)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" '
        'font-size="12" role="img" aria-label="Macro validation nats per token against seconds of training">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>',
    ]
    if best:
        scale = scale_of(runs, best)
        inner = f'width="{_WIDTH - _LEFT - _RIGHT + 4}" height="{_HEIGHT - _TOP - _BOTTOM}"'
        parts += [f'<clipPath id="inside"><rect x="{_LEFT}" y="{_TOP}" {inner}/></clipPath>', *_axes(scale)]
        parts.append('<g clip-path="url(#inside)" fill="none" stroke-linejoin="round">')
        thin = [run for run in runs if run not in best.values()]
        parts += [line for run in thin for line in _curves(run, scale, best=False)]
        parts += [line for run in best.values() for line in _curves(run, scale, best=True)]
        parts += ["</g>", *_labels(best, scale)]
    return "\n".join([*parts, "</svg>", ""])


def scale_of(runs: Sequence[dict[str, Any]], best: dict[str, dict[str, Any]]) -> Scale:
    """All of the best curves is inside; of the others, which may have diverged, what is below the highest of them."""
    shown = [point[2] for run in best.values() for point in run["curves"][_best(run).tau]]
    low, high = min(shown), max(shown)
    room = 0.05 * (high - low) or 0.05
    seconds = max(point[0] for run in runs for curve in run["curves"].values() for point in curve)
    return Scale(seconds * 1.02, low - room, high + room)


def ticks(low: float, high: float, most: int) -> list[float]:
    """Round numbers within the range, at most `most`: multiples of 1, 2 or 5 times a power of ten."""
    steps = (factor * 10.0**power for power in range(-6, 7) for factor in (1, 2, 5))
    step = next(step for step in steps if math.floor(high / step) - math.ceil(low / step) < most)
    return [number * step for number in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _axes(scale: Scale) -> list[str]:
    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    parts = []
    for seconds in ticks(0, scale.seconds, 8):
        x = scale.x(seconds)
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{bottom}" y2="{bottom + 4}" stroke="#222"/>')
        parts.append(text(x, bottom + 18, f"{seconds:g}", "middle"))
    for nats in ticks(scale.low, scale.high, 8):
        y = scale.y(nats)
        parts.append(f'<line x1="{_LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}" stroke="#e4e4e4"/>')
        parts.append(text(_LEFT - 6, y + 4, f"{nats:.4g}", "end"))
    parts.append(f'<line x1="{_LEFT}" x2="{right}" y1="{bottom}" y2="{bottom}" stroke="#222"/>')
    parts.append(text((_LEFT + right) / 2, _HEIGHT - 12, "seconds since the model was loaded", "middle"))
    middle = (_TOP + bottom) / 2
    upright = text(16, middle + 4, "macro validation, nats per token", "middle")
    parts.append(f'<g transform="rotate(-90 16 {middle})">{upright}</g>')
    return parts


def _curves(run: dict[str, Any], scale: Scale, *, best: bool) -> list[str]:
    """Of every tau; of a configuration's best run the best tau is thick, and a ring marks its lowest point."""
    colour, dashes = _STYLES[run["configuration"]]
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    lowest, parts = best_point(run) if best else None, []
    for tau, curve in run["curves"].items():
        thick = lowest is not None and tau == lowest.tau
        points = " ".join(f"{scale.x(seconds):.1f},{scale.y(nats):.1f}" for seconds, _, nats in curve)
        weight = "2.8" if thick else '0.9" opacity="0.5'
        parts.append(f'<polyline points="{points}" stroke="{colour}" stroke-width="{weight}"{dashed}/>')
    if lowest is not None:
        centre = f'cx="{scale.x(lowest.seconds):.1f}" cy="{scale.y(lowest.nats):.1f}"'
        parts.append(f'<circle {centre} r="4" fill="#fff" stroke="{colour}" stroke-width="2"/>')
    return parts


def _labels(best: dict[str, dict[str, Any]], scale: Scale) -> list[str]:
    """Behind the end of each thick curve, with its learning rate; moved apart where they would lie on each other."""
    ends = {name: run["curves"][_best(run).tau][-1] for name, run in best.items()}
    reached, parts = -math.inf, []
    for name in sorted(ends, key=lambda name: -ends[name][2]):  # from the top down
        seconds, _, nats = ends[name]
        y = reached = max(scale.y(nats) + 4, reached + _LINE)
        words = f"{CONFIGURATIONS[name].words}, lr {best[name]['learning_rate']:g}"
        halo = f'<g fill="{_STYLES[name][0]}" stroke="#fff" stroke-width="3" paint-order="stroke">'
        parts.append(f"{halo}{text(scale.x(seconds) + 8, y, words, 'start')}</g>")
    return parts


def _best(run: dict[str, Any]) -> Point:
    point = best_point(run)
    assert point is not None, "only a run with an evaluation is a best one"
    return point
