"""Which rows of a step are computed together: few pads, few micro-batches, neighbours where that costs nothing.

Where rows are read end to end (row_layout.py) neighbours always are. Elsewhere a micro-batch is a rectangle as wide as
its longest row, so rows of like width belong together. Every cut costs as much as some tokens would (launching the
layers once more, smaller matrix products), and rows that are not neighbours in the flat [G, P] tensor cost a copy of
their weights and gradients each. The cheapest partition under these prices is taken.
"""

from collections.abc import Sequence
from dataclasses import dataclass

Rows = range | tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Prices:
    """In tokens of training: one more micro-batch, and a row that is not read in place. docs/performance.md."""

    cut: int
    gathered_row: int


PRICES = {"cpu": Prices(32, 1), "cuda": Prices(4096, 1)}


def micro_batches(widths_G: Sequence[int], most_rows: int, prices: Prices = PRICES["cpu"]) -> list[Rows]:
    """Every row of a step once, at most `most_rows` together; `widths_G[g]` tokens lie in row g.

    Ranges are neighbours; tuples are rows in the order of falling width.
    """
    count = len(widths_G)
    in_order = neighbours(count, most_rows)
    by_width = sorted(range(count), key=lambda row: -widths_G[row])
    ends = _cheapest_cuts([widths_G[row] for row in by_width], most_rows, prices.cut)
    sorted_apart = [tuple(by_width[start:end]) for start, end in zip([0, *ends], ends, strict=False)]
    cost_in_order = cells(widths_G, in_order) + prices.cut * len(in_order)
    cost_apart = cells(widths_G, sorted_apart) + prices.cut * len(sorted_apart) + prices.gathered_row * count
    return [*in_order] if cost_in_order <= cost_apart else [_as_range(rows) for rows in sorted_apart]


def neighbours(count: int, most_rows: int) -> list[range]:
    """Rows in order, in as few micro-batches as may be, all of about one size."""
    parts = -(-count // most_rows)
    bounds = [count * part // max(1, parts) for part in range(parts + 1)]
    return [range(start, stop) for start, stop in zip(bounds, bounds[1:], strict=False)]


def cells(widths_G: Sequence[int], parts: Sequence[Rows]) -> int:
    """Tokens and pads of all rectangles; a row is at least one cell wide."""
    return sum(len(rows) * max(1, max(widths_G[row] for row in rows)) for rows in parts)


def _cheapest_cuts(falling: Sequence[int], most: int, cut: int) -> list[int]:
    """Where micro-batches end: of all cuts between rows of different width, those of least cells and cuts.

    Runs of one width are what is joined; a joined run longer than `most` is cut as often as it must be.
    """
    starts = [i for i in range(len(falling)) if i == 0 or falling[i] != falling[i - 1]]
    bounds = [*starts, len(falling)]
    best: list[tuple[int, int]] = [(0, 0)]  # up to each bound: (cost, the bound before)
    for end in range(1, len(bounds)):
        options = []
        for begin in range(end):
            rows = bounds[end] - bounds[begin]
            joined = rows * max(1, falling[bounds[begin]]) + cut * -(-rows // most)
            options.append((best[begin][0] + joined, begin))
        best.append(min(options))
    ends: list[int] = []
    end = len(bounds) - 1
    while end > 0:
        begin = best[end][1]
        ends += reversed([*range(bounds[begin] + most, bounds[end], most), bounds[end]])
        end = begin
    return ends[::-1]


def _as_range(rows: tuple[int, ...]) -> Rows:
    """The rows as a range where they are neighbours, whatever their order."""
    first = min(rows)
    return range(first, first + len(rows)) if max(rows) - first + 1 == len(rows) else rows
