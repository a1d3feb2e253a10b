"""`python -m bench`: the gate, then every cell, then a table. Exit code 1 when the gate fails, 2 for bad usage."""

from __future__ import annotations

import argparse
import math
import shlex
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from fnmatch import fnmatchcase
from pathlib import Path

import torch

from bench import gate, render, table, timing
from bench.cells import Cell, gpu_cells, large_cells, quick_cells, small_cells
from bench.machine import commit, machine, software
from bench.results import Results, ResumeRefused
from bench.runner import CONTESTANTS, run_cell
from bora_trainer.device import available_threads, choose_dtype, default_device, torch_dtype
from bora_trainer.errors import TrainerError
from bora_trainer.heap import restart_with_kept_memory


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(sys.argv[1:] if arguments is None else arguments)
    warnings.filterwarnings("ignore")  # PEFT and transformers warn of what is done here on purpose
    cells = chosen_cells(options)
    if not cells:
        return _refuse(f"no cell's name has {options.only!r} in it", "names look like 'hidden-128 D25 K1 T128 r16'")
    device = default_device()
    if options.cells == "gpu" and device == "cpu":
        return _refuse("--cells gpu: no graphics card of CUDA is here", "run it where one is, or leave --cells out")
    torch.set_num_threads(available_threads())
    try:
        dtype, reason = choose_dtype(options.dtype, device)
    except TrainerError as error:
        return _refuse(error.message, error.hint)
    results = Results.begin(
        command=_command(sys.argv[1:] if arguments is None else arguments),
        machine=machine(device), versions=software(), git=commit(), dtype=dtype, dtype_reason=reason,
        threads=torch.get_num_threads(),
    )  # fmt: skip
    if options.resume and options.json.exists():
        try:
            results.resume(options.json)
        except ResumeRefused as refused:
            return _refuse(str(refused), "measure anew without --resume, or into another --json FILE")
    _say_where(results)
    results.header["gate"] = passed = _gate(torch_dtype(dtype), device)
    if not all(check["passed"] for check in passed):
        print("the gate failed: nothing is timed", file=sys.stderr)
        return 1
    _measure(cells, results, options, device)
    print("\n" + table.table(results.cells))
    if options.json:
        print(f"written to {options.json}")
    if options.markdown:
        options.markdown.write_text(render.markdown(results), "utf-8")
    return 0


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one cell of each regime and fewer samples, 3 minutes")
    parser.add_argument("--cells", choices=("small", "large", "all", "gpu"), default="all",
                        help="which shapes (default: all of small and large; gpu needs a graphics card)")  # fmt: skip
    parser.add_argument("--only", default="", metavar="NAME", help="cells whose name has this in it; * is anything")
    parser.add_argument("--dtype", choices=("auto", "float32", "bfloat16"), default="auto", help="of the frozen base")
    parser.add_argument("--rivals", type=_most_tokens, default="all", metavar="all|none|TOKENS",
                        help="all cells (default), none, or those of at most so many tokens a step; "
                             "the others have ours and the floor alone")  # fmt: skip
    parser.add_argument("--without", action="append", default=[], metavar="NAME", help="a contestant that is left out")
    parser.add_argument("--json", type=Path, metavar="FILE", help="written after every cell")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="the table as markdown")
    parser.add_argument("--resume", action="store_true", help="go on with the --json file of an earlier run")
    options = parser.parse_args(arguments)
    if options.resume and options.json is None:
        parser.error("--resume needs --json FILE")
    unknown = set(options.without) - {one.name for one in CONTESTANTS[2:]}
    if unknown:
        parser.error(f"--without {sorted(unknown)[0]!r}: no rival of that name")
    if options.quick and options.cells != "all":
        parser.error("--quick has cells of its own: leave --cells out")
    return options


def _most_tokens(words: str) -> float:
    """Of a cell whose rivals are measured."""
    named = {"all": math.inf, "none": 0.0}
    if words in named:
        return named[words]
    if words.isdecimal() and int(words) > 0:
        return int(words)
    raise argparse.ArgumentTypeError(f"{words!r} is neither all nor none nor a number of tokens")


def _command(arguments: Sequence[str]) -> str:
    """As it was typed, files by their names: a page tells how, not where."""
    before = ["", *arguments]
    words = [Path(word).name if last in ("--json", "--markdown") else word
             for last, word in zip(before, arguments, strict=False)]  # fmt: skip
    return shlex.join(["python", "-m", "bench", *words])


def chosen_cells(options: argparse.Namespace) -> list[Cell]:
    if options.quick:
        cells = list(quick_cells())
    elif options.cells == "gpu":
        cells = list(gpu_cells())
    else:
        cells = [*(small_cells() if options.cells != "large" else ()),
                 *(large_cells() if options.cells != "small" else ())]  # fmt: skip
    return [cell for cell in cells if fnmatchcase(cell.name, f"*{options.only}*")]


def rule_of(cell: Cell, quick: bool, device: str) -> timing.Rule:
    if quick:
        return timing.QUICK
    if device != "cpu":
        return timing.CARD
    return timing.SMALL if cell.shape.small else timing.LARGE


def _say_where(results: Results) -> None:
    header = results.header
    where = header["machine"]
    print(f"{where['processor']}, {where['cores']} cores, {header['threads']} threads, {where['memory_gib']} GiB, "
          f"{' '.join(where['flags'])}{', ' + where['gpu'] if where['gpu'] else ''}")  # fmt: skip
    print(f"base in {header['dtype']}: {header['dtype_reason']}; the published loop in float32 always")
    print("rivals that train one fit at a time are timed on one and counted K times\n")


def _gate(dtype: torch.dtype, device: str) -> list[dict[str, object]]:
    """Every check, printed as it is made."""
    done = []
    for check in gate.checks(dtype, device):
        word = "ok  " if check.passed else "FAIL"
        print(f"{word} {check.name}: {check.error:.1e}, at most {check.bound:.1e}", flush=True)
        done.append({**asdict(check), "passed": check.passed})
    return done


def _measure(cells: Sequence[Cell], results: Results, options: argparse.Namespace, device: str) -> None:
    for rule in dict.fromkeys(rule_of(cell, options.quick, device) for cell in cells):
        print(f"\nsteps: {rule}", flush=True)
    for cell in cells:
        rivals = cell.tokens_per_step <= options.rivals
        if results.has(cell.name, rivals=rivals):
            continue
        began = time.monotonic()
        found = run_cell(
            cell, results.header["dtype"], device, rule_of(cell, options.quick, device),
            rivals=rivals, without=options.without,
        )  # fmt: skip
        results.put(found)
        print(table.line(found), f" [{time.monotonic() - began:.0f} s]", flush=True)
        if options.json:
            results.write(options.json)


def _refuse(message: str, hint: str) -> int:
    print(f"error: {message}\nhint: {hint}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    restart_with_kept_memory()
    sys.exit(main())
