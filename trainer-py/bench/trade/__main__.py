"""`python -m bench.trade`: validation nats against wall time, for adapters on all layers and on the top layers only.

The default example's data and model, trained by the trainer itself, one process a run. Each configuration is trained at
each learning rate and stops by its own validation.
"""

from __future__ import annotations

import argparse
import json
import math
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from bench.machine import commit, machine, software
from bench.results import Results, ResumeRefused
from bench.table import aligned
from bench.trade.configurations import CONFIGURATIONS
from bench.trade.figure import svg
from bench.trade.run import Request
from bench.trade.summary import rows, sentences
from bora_trainer.device import available_threads, choose_dtype, default_device
from bora_trainer.errors import TrainerError
from bora_trainer.heap import restart_with_kept_memory


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(sys.argv[1:] if arguments is None else arguments)
    device = default_device()
    torch.set_num_threads(available_threads())
    try:
        dtype, reason = choose_dtype(options.dtype, device)  # once, for all runs
    except TrainerError as error:
        return _refuse(error.message, error.hint)
    results = Results.begin(
        command=shlex.join(["python", "-m", "bench.trade", *(sys.argv[1:] if arguments is None else arguments)]),
        machine=machine(device), versions=software(), git=commit(), dtype=dtype, dtype_reason=reason,
        threads=available_threads(),
        settings={"taus": list(options.taus), "steps": options.steps, "minutes": options.minutes},
    )  # fmt: skip
    if options.resume and options.json.exists():
        try:
            results.resume(options.json)
        except ResumeRefused as refused:
            return _refuse(str(refused), "measure anew without --resume, or into another --json FILE")
    for request in requests(options, dtype):
        if results.has(request.name):
            continue
        print(request.name, file=sys.stderr, flush=True)
        found = in_child(request)
        if found is None:
            print(f"error: {request.name} failed, see above; the runs before it are kept", file=sys.stderr)
            return 1
        results.cells.append(found)
        if options.json:
            results.write(options.json)
    print(aligned(rows(results.cells)), "\n".join(sentences(results.cells)), sep="\n\n")
    if options.figure:
        options.figure.write_text(svg(results.cells), "utf-8")
    return 0


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.trade", description=__doc__)
    parser.add_argument("--configurations", nargs="+", choices=CONFIGURATIONS, default=list(CONFIGURATIONS))
    parser.add_argument("--rates", nargs="+", type=_rate, default=[1e-3, 2e-3, 4e-3], help="learning rates to try")
    parser.add_argument("--taus", nargs="+", type=_tau, default=["1000"], help="trained together, as one pack")
    parser.add_argument("--steps", type=int, help="at most, of a run; the example's own limit by default")
    parser.add_argument("--minutes", type=float, help="at most, of a run")
    parser.add_argument("--dtype", choices=("auto", "float32", "bfloat16"), default="auto", help="of the frozen base")
    parser.add_argument("--json", type=Path, metavar="FILE", help="written after every run")
    parser.add_argument("--resume", action="store_true", help="go on with the --json file; rates may be added")
    parser.add_argument("--figure", type=Path, metavar="SVG")
    options = parser.parse_args(arguments)
    if options.resume and options.json is None:
        parser.error("--resume needs --json FILE")
    return options


def requests(options: argparse.Namespace, dtype: Any) -> list[Request]:
    """One rate after the other, so that a slow hour of the machine falls on every configuration."""
    return [
        Request(configuration, rate, tuple(options.taus), dtype, options.steps, options.minutes)
        for rate in options.rates
        for configuration in options.configurations
    ]


def in_child(request: Request) -> dict[str, Any] | None:
    """The run as it stands in the file, from a process of its own; None when it failed, which it has told itself."""
    command = [sys.executable, "-W", "ignore", "-m", "bench.trade.run", request.to_json()]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else None


def _tau(word: str) -> str:
    value = float(word)
    if not value >= 0:
        raise argparse.ArgumentTypeError(f"tau is {word}, expected a number in [0, inf]")
    return f"{value:.15g}"


def _rate(word: str) -> float:
    value = float(word)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"a learning rate is {word}, expected a finite number above 0")
    return value


def _refuse(message: str, hint: str) -> int:
    print(f"error: {message}\nhint: {hint}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    restart_with_kept_memory()
    sys.exit(main())
