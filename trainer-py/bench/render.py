"""`python -m bench.render FILE`: puts a run's table and figure into docs/performance.md, between its markers."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.figure import svg
from bench.machine import ROOT
from bench.results import Results, measured
from bench.table import COLUMNS, row, summary

SECTION = "bench"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.render", description=__doc__)
    parser.add_argument("file", type=Path, help="what python -m bench --json wrote")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="the folder of performance.md")
    parser.add_argument("--section", default=SECTION, metavar="NAME",
                        help=f"of the markers and the figure, one for each machine ({SECTION})")  # fmt: skip
    options = parser.parse_args(arguments)
    results = Results.read(options.file)
    figure = f"{options.section}-share-of-floor.svg"
    put(options.docs, markers(options.section), markdown(results, figure), figure, svg(results.cells))
    return 0


def markers(section: str) -> tuple[str, str]:
    return f"<!-- {section}:begin -->", f"<!-- {section}:end -->"


def put(docs: Path, between: tuple[str, str], section: str, figure: str, drawn: str) -> None:
    """Writes `section` into performance.md `between` markers, and the SVG `drawn` as the figure beside it."""
    page = docs / "performance.md"
    page.write_text(insert(page.read_text("utf-8"), section, between), "utf-8")
    file = docs / "figures" / figure
    file.parent.mkdir(exist_ok=True)
    file.write_text(drawn, "utf-8")


def insert(page: str, section: str, between: tuple[str, str]) -> str:
    """`page` with `section` between the markers. Raises ValueError where they are not there once and in order."""
    begin, end = between
    if page.count(begin) != 1 or page.count(end) != 1 or page.index(begin) > page.index(end):
        raise ValueError(f"the page needs {begin} and, after it, {end}, once each")
    return f"{page[: page.index(begin)]}{begin}\n\n{section}\n{page[page.index(end) :]}"


def markdown(results: Results, figure: str | None = None) -> str:
    """Formatted as prettier would; `figure` is a file in the folder of figures."""
    parts = [provenance(results.header), " ".join(summary(results.cells))]
    if figure is not None:
        parts.append(f"![Training speed of every contestant as a share of the floor](figures/{figure})")
    parts += [grid([list(COLUMNS), *(row(cell) for cell in measured(results.cells))]), _skipped(results)]
    worst = max((check["error"] for check in results.header["gate"]), default=0.0)
    parts.append(
        f"Checks passed before the first was timed: {len(results.header['gate'])}, the largest error {worst:.1e}."
    )
    return "\n\n".join(part for part in parts if part) + "\n"


def provenance(header: dict[str, Any]) -> str:
    """When, where, with which versions and which command."""
    where = header["machine"]
    flags = f", {' '.join(where['flags'])}" if where["flags"] else ""
    gpu = f", {where['gpu']}" if where["gpu"] else ""
    changed = " with changes" if header["git"]["changed"] else ""
    return (
        f"{header['date'][:10]}, {where['processor']}{flags}, {header['threads']} threads, "
        f"{where['memory_gib']} GiB{gpu}; "
        f"torch {header['versions']['torch']}, transformers {header['versions']['transformers']}, "
        f"peft {header['versions']['peft']}, commit {header['git']['commit'][:12]}{changed}, "
        f"base in {header['dtype']}. "
        f"`{header['command']}`"
    )


def _skipped(results: Results) -> str:
    reasons = Counter(
        cell["skipped"].partition(", ")[2] or cell["skipped"] for cell in results.cells if cell["skipped"]
    )
    return " ".join(f"{count} cells are skipped: {reason} tokens a step." if reason.startswith("more than") else
                    f"{count} cells are skipped: {reason}." for reason, count in reasons.items())  # fmt: skip


def grid(rows: list[list[str]]) -> str:
    """A markdown table; the first and last column lean left, the others right."""
    last = len(rows[0]) - 1
    widths = [max(3, *(len(each[place]) for each in rows)) for place in range(last + 1)]
    rule = ["-" * width if place in (0, last) else "-" * (width - 1) + ":" for place, width in enumerate(widths)]
    lines = [rows[0], rule, *rows[1:]]
    return "\n".join(
        "| " + " | ".join(word.ljust(width) if place in (0, last) else word.rjust(width)
                          for place, (word, width) in enumerate(zip(each, widths, strict=True))) + " |"
        for each in lines
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
