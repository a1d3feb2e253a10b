"""`python -m bench.trade.render FILE`: puts the study's table and figure into docs/performance.md."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.machine import ROOT
from bench.render import grid, provenance, put
from bench.results import Results
from bench.trade.figure import svg
from bench.trade.summary import rows, sentences

MARKERS = ("<!-- trade:begin -->", "<!-- trade:end -->")
FIGURE = "prefix-trade.svg"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.trade.render", description=__doc__)
    parser.add_argument("file", type=Path, help="what python -m bench.trade --json wrote")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="the folder of performance.md")
    options = parser.parse_args(arguments)
    results = Results.read(options.file)
    put(options.docs, MARKERS, markdown(results), FIGURE, svg(results.cells))
    return 0


def markdown(results: Results) -> str:
    figure = f"![Macro validation nats per token against seconds, four kinds of adapters](figures/{FIGURE})"
    return "\n\n".join([provenance(results.header), " ".join(sentences(results.cells)), figure,
                        grid(rows(results.cells))]) + "\n"  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
