"""The frozen-prefix cache beside the floor of the whole model. `python -m bench.prefix`; docs/performance.md.

SmolLM2-135M's shape with random weights, 25 tasks of 2 x 64 tokens, rank 16 on the query and value projections of the
last 8 of 30 layers. All contestants live in one process and take turns, so that what else the machine does meets all.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from bench.cells import Cell
from bench.contestants import Setting
from bench.contestants.floor import Floor
from bench.contestants.ours import Ours
from bench.shapes import SHAPES
from bench.workload import Workload
from bora_trainer.data.documents import Dataset, TaskData, data_hash
from bora_trainer.heap import restart_with_kept_memory
from bora_trainer.prefix_cache import open_cache
from bora_trainer.state_files import StateFolder

_ADAPTED = 8  # layers
_ROWS = 5  # of a micro-batch: what device.choose_execution takes for this shape


class Cached(Ours):
    """Ours, from hidden states that are in the file."""

    name = "ours, last 8 layers, cache"

    def __init__(self, setting: Setting, folder: Path) -> None:
        super().__init__(setting)
        workload = setting.workload
        tasks = tuple(
            TaskData(f"task {d}", f"task-{d}", workload.documents(d), (), (), 0, 0) for d in range(workload.cell.tasks)
        )
        cache, words = open_cache(self.engine, Dataset(tasks, data_hash(tasks), (), ()), StateFolder(folder, None))
        assert cache is not None, words
        began = time.perf_counter()
        list(cache.fill(lambda: False))
        self.fill_rate = cache.tokens / (time.perf_counter() - began)


def top_layers(cell: Cell) -> tuple[int, ...]:
    return tuple(range(cell.shape.layers - _ADAPTED, cell.shape.layers))


def measure(steps: dict[str, Callable[[], None]], repeats: int) -> dict[str, list[float]]:
    """Seconds of each step; whoever began last time ends this time."""
    found: dict[str, list[float]] = {name: [] for name in steps}
    for step in steps.values():
        step()
    names = list(steps)
    for _ in range(repeats):
        names = [*names[1:], names[0]]
        for name in names:
            began = time.perf_counter()
            steps[name]()
            found[name].append(time.perf_counter() - began)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.prefix", description=__doc__)
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    dtype, cell = getattr(torch, options.dtype), Cell(SHAPES["smollm2-135m"], 25, 1, 128, 16)
    setting = Setting(Workload.of(cell), dtype, _ROWS, layers=top_layers(cell))
    with tempfile.TemporaryDirectory() as folder:
        cached = Cached(setting, Path(folder))
        contestants = [
            ("floor, all layers", Floor(setting)),
            ("ours, last 8 layers", Ours(setting)),
            (cached.name, cached),
        ]
        found = measure({name: contestant.step for name, contestant in contestants}, options.repeats)
    floors = found["floor, all layers"]
    print(f"{cell.name}, {options.dtype}, {options.threads} threads; filling: {cached.fill_rate:.0f} tokens/s")
    for name, seconds in found.items():
        ratio = statistics.median(floor / one for floor, one in zip(floors, seconds, strict=True))  # of one round
        each = ", ".join(f"{one:.2f}" for one in seconds)
        rate = cell.tokens_per_step / statistics.median(seconds)
        print(f"{name:28} {rate:7.0f} tokens/s {ratio:5.2f} x floor   ({each} s)")


if __name__ == "__main__":
    restart_with_kept_memory()
    main()
