"""How often and in which order contestants take their steps. The host's clock; a GPU is waited for.

Samples of all contestants are interleaved and the order rotates from round to round, so that a slow minute of the
machine falls on all alike.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from bench.contestants import Contestant


@dataclass(frozen=True, slots=True)
class Rule:
    """`rounds` samples a repeat after `warmups` steps; `slow_rounds` where a step takes more than `slow_seconds`."""

    repeats: int
    rounds: int
    slow_rounds: int
    slow_seconds: float
    warmups: int

    def samples(self, seconds: float) -> int:
        """Of a repeat, for a contestant whose step takes `seconds`."""
        return self.slow_rounds if seconds > self.slow_seconds else self.rounds

    def __str__(self) -> str:
        words = f"{self.repeats} x {self.rounds} steps after {self.warmups}"
        if self.slow_rounds == self.rounds:
            return words
        return f"{words}, {self.repeats} x {self.slow_rounds} of what takes over {self.slow_seconds:g} s a step"


SMALL = Rule(repeats=3, rounds=10, slow_rounds=4, slow_seconds=0.1, warmups=1)
LARGE = Rule(repeats=1, rounds=5, slow_rounds=5, slow_seconds=0.0, warmups=1)
CARD = Rule(repeats=3, rounds=10, slow_rounds=10, slow_seconds=0.0, warmups=10)
QUICK = Rule(repeats=1, rounds=10, slow_rounds=3, slow_seconds=0.2, warmups=1)


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds of one optimiser step of all G rows: median, tenth and ninetieth percentile, and each repeat's median."""

    median: float
    p10: float
    p90: float
    samples: int
    repeats: tuple[float, ...]

    @classmethod
    def of(cls, repeats: Sequence[Sequence[float]]) -> Timing:
        every = sorted(seconds for repeat in repeats for seconds in repeat)
        tenths = statistics.quantiles(every, n=10, method="inclusive") if len(every) > 1 else every * 9
        medians = tuple(statistics.median(repeat) for repeat in repeats)
        return cls(statistics.median(every), tenths[0], tenths[8], len(every), medians)

    def to_json(self) -> dict[str, Any]:
        return {"median": self.median, "p10": self.p10, "p90": self.p90, "samples": self.samples,
                "repeats": list(self.repeats)}  # fmt: skip


def measure(contestants: Sequence[Contestant], rule: Rule, device: str) -> dict[str, Timing]:
    """By name. A call of `step` that does a share of the step counts as the whole: seconds / share."""
    found: dict[str, list[list[float]]] = {one.name: [] for one in contestants}
    for repeat in range(rule.repeats):
        gc.collect()
        due = {}
        for one in contestants:
            warm = min(_seconds(one.step, device) for _ in range(rule.warmups))
            due[one.name] = rule.samples(warm)
            found[one.name].append([])
        for number in range(max(due.values())):
            for one in rotated(contestants, number + repeat):
                if number < due[one.name]:
                    found[one.name][-1].append(_seconds(one.step, device) / one.share)
    return {name: Timing.of(repeats) for name, repeats in found.items()}


def rotated(contestants: Sequence[Contestant], number: int) -> list[Contestant]:
    """Another one begins each time."""
    first = number % len(contestants)
    return [*contestants[first:], *contestants[:first]]


def _seconds(step: Callable[[], None], device: str) -> float:
    began = time.perf_counter()
    step()
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter() - began
