"""The grid: which sizes are measured, and which are left out and why.

Symbols: D tasks, K values of tau, G = K * D adapter rows, T tokens a row and step, R rank.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from bench.shapes import SHAPES, Shape

MOST_TOKENS = 32_768  # G x T of a cell
_TAUS = (0.0, 1e2, 1e3, 1e4, 1e5, float("inf"))


@dataclass(frozen=True, slots=True)
class Cell:
    """One size. A row of T = 128 tokens is two documents of 64, every other row one document."""

    shape: Shape
    tasks: int
    fits: int
    tokens: int
    rank: int

    @property
    def rows(self) -> int:
        return self.tasks * self.fits

    @property
    def documents(self) -> int:
        """Documents of a row."""
        return 2 if self.tokens == 128 else 1

    @property
    def taus(self) -> tuple[float, ...]:
        """A lone tau lies between the ends, where the update costs most."""
        return (self.middle_tau,) if self.fits == 1 else _TAUS[: self.fits]

    @property
    def middle_tau(self) -> float:
        return 1e3

    @property
    def tokens_per_step(self) -> int:
        return self.rows * self.tokens

    @property
    def name(self) -> str:
        return f"{self.shape.name} D{self.tasks} K{self.fits} T{self.tokens} r{self.rank}"

    @property
    def skipped(self) -> str:
        """Why the cell is not measured, or nothing."""
        if self.tokens_per_step > MOST_TOKENS:
            return f"{self.tokens_per_step} tokens a step, more than {MOST_TOKENS}"
        return ""


def small_cells() -> Iterator[Cell]:
    shapes = [shape for shape in SHAPES.values() if shape.small]
    for shape, tasks, fits, tokens, rank in product(shapes, (1, 5, 25, 100), (1, 6), (32, 64, 128, 328), (4, 16, 64)):
        yield Cell(shape, tasks, fits, tokens, rank)


def large_cells() -> Iterator[Cell]:
    for tasks, fits, tokens in ((1, 1, 328), (5, 1, 64), (25, 1, 128), (5, 6, 64)):
        yield Cell(SHAPES["smollm2-135m"], tasks, fits, tokens, 16)


def gpu_cells() -> Iterator[Cell]:
    """The shape of OPT-350m, 25 tasks, 8,200 tokens a step: where a graphics card is at work."""
    yield Cell(SHAPES["opt-350m"], 25, 1, 328, 16)


def quick_cells() -> Iterator[Cell]:
    """One cell of each regime: what --quick measures."""
    tiny = SHAPES["hidden-128"]
    for tasks, fits, tokens, rank in ((1, 1, 328, 16), (25, 1, 128, 16), (100, 1, 32, 16), (5, 6, 64, 64)):
        yield Cell(tiny, tasks, fits, tokens, rank)
