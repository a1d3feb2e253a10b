"""What the tests of the frozen-prefix cache share: documents, engines whose top layer is adapted, a filled cache."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from tiny_models import adapter, documents, loaded, tiny_model
from torch import nn

from bora_trainer.data import Dataset, Document, TaskData
from bora_trainer.data.documents import data_hash
from bora_trainer.engine import Engine
from bora_trainer.prefix_cache import PrefixCache, open_cache
from bora_trainer.spec import RunSpec
from bora_trainer.state_files import StateFolder

TASKS = 3
WEIGHTS = torch.tensor([2.0, 0.5, 3.0])
LENGTHS = ([9, 4, 6], [13, 5], [3, 2, 2, 7])
DOCUMENTS = [documents(lengths, task) for task, lengths in enumerate(LENGTHS)]
TOP: tuple[int, ...] = (2,)  # of three layers


def dataset(rows: Sequence[Sequence[Document]] = DOCUMENTS) -> Dataset:
    """Each task's documents, the last one for validation and test alike."""
    tasks = tuple(
        TaskData(f"task {d}", f"task-{d}", tuple(row[:-1]), (row[-1],), (row[-1],), 0, 0) for d, row in enumerate(rows)
    )
    return Dataset(tasks, data_hash(tasks), (), ())


def engine_of(family: str, layers: tuple[int, ...] = TOP, dtype: torch.dtype = torch.float32, **options) -> Engine:
    model = tiny_model(family)
    nn.Module.to(model, dtype)
    return Engine(loaded(model), adapter(family, layers=layers), **options)


def folder(path: Path, limit: int | None = None) -> StateFolder:
    return StateFolder(path / "states", limit)


def warmed(engine: Engine, path: Path, data: Dataset | None = None) -> PrefixCache:
    """The engine reads the cache from here on."""
    cache, words = open_cache(engine, data or dataset(), folder(path))
    assert cache is not None, words
    list(cache.fill(lambda: False))
    return cache


def states_file(path: Path) -> Path:
    [file] = (path / "states").glob("*/states.bin")
    return file


def counted(engine: Engine) -> Callable[[], int]:
    """How many batches are computed from here on."""
    calls, own = Counter[str](), engine.states_below

    def states_below(batch):
        calls.update(["call"])
        return own(batch)

    engine.states_below = states_below
    return lambda: calls["call"] - (1 if calls["call"] else 0)  # without the probe's


def top_layer(spec: RunSpec) -> RunSpec:
    return dataclasses.replace(spec, adapter=dataclasses.replace(spec.adapter, layers=(1,)))
