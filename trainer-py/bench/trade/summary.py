"""What the runs say: the best of each configuration, the target that all reach, and both as a table.

The learning rate, and tau where there are several, is the one with the best validation: macro nats per token over the
documents that early stopping reads.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.trade.configurations import CONFIGURATIONS

COLUMNS = (
    "adapters", "parameters a row", "learning rate", "best nats", "perplexity", "seconds to best", "seconds to target",
    "tokens/s", "filling, s", "",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Point:
    """One evaluation of one fit."""

    tau: str
    seconds: float
    step: int
    nats: float


def best_point(run: dict[str, Any]) -> Point | None:
    """Of all fits; None when none was evaluated. The earliest where several are equal."""
    points = [Point(tau, *point) for tau, curve in run["curves"].items() for point in curve]
    return min(points, key=lambda point: (point.nats, point.seconds), default=None)


def best_nats(run: dict[str, Any]) -> float:
    """Infinity where none was evaluated, or all diverged."""
    point = best_point(run)
    return math.inf if point is None else point.nats


def best_runs(runs: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """By configuration, in its own order: the run whose best point is lowest."""
    found = {name: [run for run in runs if run["configuration"] == name and best_point(run)] for name in CONFIGURATIONS}
    return {name: min(its, key=best_nats) for name, its in found.items() if its}


def target_nats(runs: Sequence[dict[str, Any]]) -> float | None:
    """The lowest nats that every configuration reaches; None without an evaluation."""
    return max((best_nats(run) for run in best_runs(runs).values()), default=None)


def seconds_to(run: dict[str, Any], nats: float) -> float | None:
    """Until the first evaluation at or below `nats`, of any fit; None: never."""
    reached = [point[0] for curve in run["curves"].values() for point in curve if point[2] <= nats]
    return min(reached, default=None)


def at_the_edge(runs: Sequence[dict[str, Any]]) -> list[str]:
    """Configurations whose best learning rate is the lowest or highest tried: the best may lie beyond."""
    found = []
    for name, best in best_runs(runs).items():
        rates = {run["learning_rate"] for run in runs if run["configuration"] == name}
        if best["learning_rate"] in (min(rates), max(rates)):
            found.append(name)
    return found


def row(run: dict[str, Any], runs: Sequence[dict[str, Any]]) -> list[str]:
    point, target = best_point(run), target_nats(runs)
    reached = seconds_to(run, target) if target is not None else None
    training = run["training"]
    return [
        CONFIGURATIONS[run["configuration"]].words,
        f"{run['parameters_per_row']:,}",
        f"{run['learning_rate']:g}",
        f"{point.nats:.4f}" if point else "none",
        f"{math.exp(point.nats):.2f}" if point else "none",
        f"{point.seconds:.0f}" if point else "none",
        f"{reached:.0f}" if reached is not None else "never",
        f"{training['tokens'] / training['seconds']:,.0f}" if training["seconds"] else "none",
        f"{run['cache']['seconds']:.1f}" if run["cache"] else "none",
        "; ".join(_marks(run, runs, point)),
    ]


def rows(runs: Sequence[dict[str, Any]]) -> list[list[str]]:
    """The head, then each configuration's runs by learning rate."""
    order = {name: place for place, name in enumerate(CONFIGURATIONS)}
    ordered = sorted(runs, key=lambda run: (order[run["configuration"]], run["learning_rate"]))
    return [list(COLUMNS), *(row(run, runs) for run in ordered)]


def sentences(runs: Sequence[dict[str, Any]]) -> list[str]:
    """What the table leaves to words."""
    said = ["Seconds count from when model and data are loaded: attaching the adapters, filling the cache from empty, "
            "steps, evaluations and checkpoints are in them."]  # fmt: skip
    target, best = target_nats(runs), best_runs(runs)
    if target is not None:
        worst = max(best, key=lambda name: best_nats(best[name]))
        said.append(f"The target, {target:.4f} macro validation nats per token, is the best of "
                    f"“{CONFIGURATIONS[worst].words}”, which every configuration reaches.")  # fmt: skip
    edge = [f"“{CONFIGURATIONS[name].words}”" for name in at_the_edge(runs)]
    if edge:
        said.append(f"The best learning rate is the lowest or highest tried, and a better one may lie beyond it, for "
                    f"{', '.join(edge)}.")  # fmt: skip
    return said


def _marks(run: dict[str, Any], runs: Sequence[dict[str, Any]], point: Point | None) -> list[str]:
    best = best_runs(runs).get(run["configuration"])
    marks: list[str] = ["best"] if best is not None and best["name"] == run["name"] else []
    if len(run["taus"]) > 1 and point is not None:
        marks.append(f"tau {point.tau}")
    ends: list[str] = sorted({end for end in run["ended"].values() if end != "validation"})
    words = {"limit": "ended by the limit of steps", "minutes": "ended by the limit of time"}
    return [*marks, *(words.get(end, end) for end in ends)]
