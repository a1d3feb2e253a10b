"""What a run found, as lines and as a table of text: the same columns live, at the end, and in docs/performance.md."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.results import RIVALS, has_rivals, lost_to, measured, seconds, share_of_floor, speed_up

COLUMNS = ("cell", "tokens/s", "of floor", "at most", "MFU", *RIVALS, "")
FLOOR_SHARE = 0.85  # what small shapes with 5 tasks or more are to reach; the large one 0.9
LARGE_FLOOR_SHARE = 0.9


def line(cell: dict[str, Any]) -> str:
    """Of a cell, as soon as it is done."""
    if cell["skipped"]:
        return f"{cell['name']}: skipped, {cell['skipped']}"
    ours = cell["contestants"]["ours"]
    ratios = ", ".join(f"{rival} {speed_up(cell, rival):.2f}x" for rival in RIVALS if rival in cell["contestants"])
    ways = [f"{name} {found['tokens_per_second']:,.0f} tokens/s" for name, found in cell["contestants"].items()
            if name.startswith("ours, ")]  # fmt: skip
    ratios = ", ".join([*([ratios] if ratios else []), *ways])
    share = f"{share_of_floor(cell):.0%} of the floor, at most {cell['at_most']:.0%}"
    return (
        f"{cell['name']}: {ours['tokens_per_second']:,.0f} tokens/s, {share}; "
        + ratios
        + "".join(f"  <-- {mark}" for mark in [marks(cell)] if mark)
    )


def marks(cell: dict[str, Any]) -> str:
    """What is not as it should be."""
    lost = lost_to(cell)
    named = ", ".join(_named(cell, rival) for rival in lost)
    return "; ".join([*([f"slower than {named}"] if lost else []), *_below_floor(cell)])


def _named(cell: dict[str, Any], rival: str) -> str:
    """A rival; with it, for the one that chooses its batch size, how ours stands with the same liberty."""
    if rival != "peft-best-batch" or "ours, best batch" not in cell["contestants"]:
        return rival
    times = seconds(cell, rival) / seconds(cell, "ours, best batch")
    return f"{rival} (at its own best batch ours is {times:.2f} times as fast)"


def _below_floor(cell: dict[str, Any]) -> list[str]:
    wanted = LARGE_FLOOR_SHARE if cell["shape"] == "smollm2-135m" else FLOOR_SHARE
    return [f"below {wanted:.0%} of the floor"] if cell["tasks"] >= 5 and share_of_floor(cell) < wanted else []


def row(cell: dict[str, Any]) -> list[str]:
    ours = cell["contestants"]["ours"]
    ratios = [f"{speed_up(cell, rival):.2f}" if rival in cell["contestants"] else "-" for rival in RIVALS]
    share = f"{share_of_floor(cell):.0%}"
    return [
        cell["name"],
        f"{ours['tokens_per_second']:,.0f}",
        share,
        f"{cell['at_most']:.0%}",
        f"{ours['mfu']:.0%}",
        *ratios,
        marks(cell),
    ]


def table(cells: Sequence[dict[str, Any]]) -> str:
    """Aligned, the speed-ups of ours over each rival; then what is lost and what was skipped, counted."""
    rows = [list(COLUMNS), *(row(cell) for cell in measured(cells))]
    return "\n".join([aligned(rows), "", *summary(cells)])


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """As text; the first and last column lean left, the others right."""
    last = len(rows[0]) - 1
    widths = [max(len(each[place]) for each in rows) for place in range(last + 1)]
    return "\n".join(
        "  ".join(word.ljust(width) if place in (0, last) else word.rjust(width)
                  for place, (word, width) in enumerate(zip(each, widths, strict=True))).rstrip()
        for each in rows
    )  # fmt: skip


def summary(cells: Sequence[dict[str, Any]]) -> list[str]:
    done = measured(cells)
    many = [cell for cell in done if cell["tasks"] >= 5]
    beside = sum(map(has_rivals, done))
    counted = [f"{len(done)} cells measured, {beside} of them with rivals, {len(cells) - len(done)} skipped."]
    counted.append(_counted("Slower than a rival", [cell for cell in done if lost_to(cell)], beside))
    counted.append(_counted("Below its share of the floor, of those with 5 tasks or more",
                            [cell for cell in many if _below_floor(cell)], len(many)))  # fmt: skip
    return counted


def _counted(what: str, cells: Sequence[dict[str, Any]], of: int) -> str:
    names = f" ({', '.join(cell['name'] for cell in cells)})" if cells else ""
    return f"{what}: {len(cells)} of {of}{names}."
