"""What saving takes from training: `python -m bench.saving`; docs/performance.md, Saving.

SmolLM2-135M's shape with random weights, 6 tasks x 5 taus, rank 16 on the query and value projections, a checkpoint
after each epoch of 17 steps; then adapters of 100 tasks as one trial leaves them.
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from bench.shapes import SHAPES, adapter
from bora.trainer.v1 import event_pb2
from bora_trainer import checkpoint
from bora_trainer import train as loop
from bora_trainer.adapters.peft_files import write_adapter, write_adapters
from bora_trainer.data import Dataset, Document, TaskData
from bora_trainer.engine import Engine
from bora_trainer.heap import restart_with_kept_memory
from bora_trainer.host_copy import HostCopy
from bora_trainer.models import LoadedModel
from bora_trainer.spec import (
    Columns,
    DataSpec,
    Dtype,
    Execution,
    Fit,
    ModelSource,
    PriorSpec,
    RunSpec,
    SplitSpec,
    TableSource,
    TaskSelection,
    TrainSpec,
)

TASKS, EPOCH, TOKENS, RANK, ROWS = 6, 17, 64, 16, 5
EXPORTED = 100  # adapters
_TAUS = (0.0, 1e2, 1e3, 1e4, math.inf)
_MIB = 2**20


class Clock:
    """Seconds of what it is put around."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def around(self, function: Callable) -> Callable:
        def timed(*arguments):
            began = time.perf_counter()
            try:
                return function(*arguments)
            finally:
                self.seconds.append(time.perf_counter() - began)

        return timed

    def around_generator(self, function: Callable[..., Iterator]) -> Callable[..., Iterator]:
        """Without the time that whoever reads it takes."""

        def timed(*arguments):
            events = function(*arguments)
            following = self.around(lambda: next(events, None))
            while (event := following()) is not None:
                yield event

        return timed


def dataset() -> Dataset:
    """17 documents of 64 tokens to train on, so that an epoch has 17 steps; one to validate, one to test."""
    generator = torch.Generator().manual_seed(1)
    tasks = []
    for task in range(TASKS):
        drawn = torch.randint(3, SHAPES["smollm2-135m"].vocabulary, (EPOCH + 2, TOKENS), generator=generator).tolist()
        each = [Document(task, f"{task}-{i}", "", tuple(tokens), 1, TOKENS) for i, tokens in enumerate(drawn)]
        train, validation, test = tuple(each[:EPOCH]), (each[EPOCH],), (each[EPOCH + 1],)
        tasks.append(TaskData(f"task {task}", f"task-{task}", train, validation, test, 0, 0))
    return Dataset(tuple(tasks), "0" * 64, (), ())


def spec(steps: int, dtype: Dtype, threads: int) -> RunSpec:
    train = TrainSpec(
        max_steps=steps, patience=100, evaluate_every=EPOCH, checkpoint_every=EPOCH, sampler="groups",
        tokens_per_task=TOKENS, documents_per_task=0, validation_documents=0, learning_rate=1e-4, warmup_steps=0,
        decay="constant", beta1=0.9, beta2=0.999, epsilon=1e-8,
    )  # fmt: skip
    columns = Columns("task", "text", "", "", "", "")
    data = DataSpec(
        TableSource("csv", "", columns), TaskSelection("all", 0, (), 0, ()), SplitSpec("seed", 0, 0.8, 0.1, 0.1), TOKENS
    )
    return RunSpec(
        run_id="", model=ModelSource("path", "", False, dtype), data=data,
        adapter=adapter(RANK), prior=PriorSpec("gaussian", 0.0), train=train,
        fits=tuple(Fit(f"tau{tau:g}", tau, 0) for tau in _TAUS), evaluate_base=False,
        execution=Execution(dtype, "asked for", threads, ROWS, "cpu", prefix_cache=False),
    )  # fmt: skip


def checkpoints(loaded: LoadedModel, run: RunSpec) -> None:
    """Trains, and prints what the loop did besides."""
    held, writing = Clock(), Clock()
    loop._save = held.around_generator(loop._save)
    checkpoint.save = writing.around(checkpoint.save)
    beside, alone, saved, total = [], [], 0, 0.0
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        for event in loop.train(run, loaded, dataset(), Path(folder)):
            if event.HasField("steps_done"):
                (beside if len(held.seconds) > saved else alone).append(
                    event.steps_done.seconds / event.steps_done.steps
                )
            if event.HasField("checkpoint_saved"):
                saved = len(held.seconds)
            if event.evaluated.split == event_pb2.SPLIT_TEST:  # the last step is done
                break
            total = time.perf_counter() - began
        size = sum(file.stat().st_size for file in Path(folder).glob("checkpoints/*/state.safetensors"))
    usual, epochs = statistics.median(alone), len(writing.seconds)
    stopped, behind = sum(held.seconds), sum(writing.seconds)
    of_epochs = f"of {EPOCH} steps a checkpoint"
    print(f"{run.train.max_steps} steps, {total:.1f} s; a step: median {usual:.2f} s; {epochs} checkpoints")
    print(f"{size / _MIB:.0f} MiB, written in the background in {', '.join(f'{one:.2f}' for one in writing.seconds)} s")
    print(f"the loop is held up {stopped:.3f} s, {stopped / (epochs * EPOCH * usual):.2%} {of_epochs}")
    print(f"steps while one is written: {', '.join(f'{one:.2f}' for one in beside)} s")
    print(f"were all of the writing lost to training: {(stopped + behind) / (epochs * EPOCH * usual):.2%} {of_epochs}")


def export(engine: Engine) -> None:
    generator = torch.Generator().manual_seed(2)
    rows_GP = torch.randn(EXPORTED, engine.layout.weights, generator=generator)
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        copy = HostCopy({"rows": rows_GP})
        copied = time.perf_counter()
        rows = {f"task-{d}": row_P for d, row_P in enumerate(copy.tensors()["rows"])}
        write_adapters(Path(folder, "together"), rows, engine.lora, "base")
        written = time.perf_counter()
        for name, row_P in rows.items():
            write_adapter(Path(folder, "one by one", name), row_P, engine.lora, "base")
        print(
            f"{EXPORTED} adapters, {copy.nbytes / _MIB:.0f} MiB: the loop is held up {copied - began:.3f} s, "
            f"written and hashed in {written - copied:.2f} s; one by one {time.perf_counter() - written:.2f} s"
        )


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.saving", description=__doc__)
    parser.add_argument("--dtype", default="bfloat16", choices=("float32", "bfloat16"))
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    loaded = SHAPES["smollm2-135m"].loaded(getattr(torch, options.dtype))
    engine = Engine(loaded, adapter(RANK))
    export(engine)
    engine.close()
    steps = options.epochs * EPOCH + 4  # the last checkpoint has steps beside it too
    checkpoints(loaded, spec(steps, options.dtype, options.threads))


if __name__ == "__main__":
    restart_with_kept_memory()
    main()
