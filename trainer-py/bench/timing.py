"""How often and in which order contestants take their steps. The host's clock; a GPU is waited for after each sample.

There a sample is several steps of what is fast: training prepares a step while the card still computes the last.

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

_MOST_STEPS = 10


@dataclass(frozen=True, slots=True)
class Rule:
    """`rounds` samples a repeat, after `warmups` steps before the first; `slow_rounds`, after two, where a step takes
    more than `slow_seconds`. A sample is one step, or as many as take `sample_seconds`, ten at most.
    """

    repeats: int
    rounds: int
    slow_rounds: int
    slow_seconds: float
    warmups: int
    sample_seconds: float = 0.0

    def samples(self, seconds: float) -> int:
        """Of a repeat, for a contestant whose step takes `seconds`."""
        return self.slow_rounds if seconds > self.slow_seconds else self.rounds

    def steps(self, seconds: float) -> int:
        """Of a sample, likewise."""
        return max(1, min(_MOST_STEPS, round(self.sample_seconds / seconds))) if self.sample_seconds else 1

    def __str__(self) -> str:
        words = f"{self.repeats} x {self.rounds} steps after {self.warmups}"
        if self.sample_seconds:
            words = f"{self.repeats} x {self.rounds} samples of {self.sample_seconds:g} s after {self.warmups} steps"
        if self.slow_rounds == self.rounds:
            return words
        return f"{words}, {self.repeats} x {self.slow_rounds} of what takes over {self.slow_seconds:g} s a step"


SMALL = Rule(repeats=3, rounds=10, slow_rounds=4, slow_seconds=0.1, warmups=1)
LARGE = Rule(repeats=1, rounds=5, slow_rounds=5, slow_seconds=0.0, warmups=1)
CARD = Rule(repeats=3, rounds=5, slow_rounds=1, slow_seconds=0.3, warmups=5, sample_seconds=0.35)
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
    warm = {one.name: _warmed(one, rule, device) for one in contestants}
    due = {name: rule.samples(seconds) for name, seconds in warm.items()}
    for repeat in range(rule.repeats):
        gc.collect()
        for one in contestants:
            if repeat > 0:
                one.step()  # the last repeat's garbage is gone, and caches with it
            found[one.name].append([])
        for number in range(max(due.values())):
            for one in rotated(contestants, number + repeat):
                if number < due[one.name]:
                    found[one.name][-1].append(_seconds(one.step, device, rule.steps(warm[one.name])) / one.share)
    return {name: Timing.of(repeats) for name, repeats in found.items()}


def rotated(contestants: Sequence[Contestant], number: int) -> list[Contestant]:
    """Another one begins each time."""
    first = number % len(contestants)
    return [*contestants[first:], *contestants[:first]]


def _warmed(one: Contestant, rule: Rule, device: str) -> float:
    """Seconds of the fastest of the first steps. Of what is slow two are enough."""
    taken: list[float] = []
    while len(taken) < rule.warmups:
        taken.append(_seconds(one.step, device))
        if rule.slow_seconds and len(taken) >= 2 and min(taken) > rule.slow_seconds:
            break
    return min(taken)


def _seconds(step: Callable[[], None], device: str, steps: int = 1) -> float:
    """Of one of so many steps; a GPU is waited for after the last."""
    began = time.perf_counter()
    for _ in range(steps):
        step()
    if device != "cpu":
        torch.cuda.synchronize()
    return (time.perf_counter() - began) / steps
