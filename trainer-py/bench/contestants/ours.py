"""Ours: the trainer's own engine and optimiser, called as train.py calls them, packing included."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from bench.contestants import BETAS, EPSILON, LEARNING_RATE, Setting, rows_that_fit
from bench.contestants.best_batch import best_multiple
from bench.shapes import adapter
from bench.workload import Workload
from bora_trainer.data.batches import pack
from bora_trainer.device_batch import sent
from bora_trainer.engine import Engine
from bora_trainer.hierarchical_adam import HierarchicalAdam
from bora_trainer.recorded_gradients import RecordedGradients
from bora_trainer.recorded_graphs import CudaGraphs, RecordedGraphs
from bora_trainer.spec import EngineSpec

_MOST_AT_ONCE = 4096  # tokens of a step


class Ours:
    name = "ours"
    share = 1.0

    def __init__(self, setting: Setting, how: EngineSpec = EngineSpec()) -> None:  # noqa: B008 - frozen
        """`how`: as `engine` of an experiment says it."""
        workload, cell = setting.workload, setting.workload.cell
        self.engine = Engine(
            cell.shape.loaded(setting.dtype, setting.device), adapter(cell.rank, setting.layers),
            buckets=how.compile or how.cuda_graph, compiled=how.compile,
        )  # fmt: skip
        self._recorded = None
        if how.cuda_graph:
            device = torch.device(setting.device)
            self._recorded = RecordedGradients(self.engine, RecordedGraphs(CudaGraphs(device), device))
        precision = torch.promote_types(setting.dtype, torch.float32)
        initial_P = self.engine.initial(0).to(device=setting.device, dtype=precision)
        self.optimiser = HierarchicalAdam(
            initial_P.expand(cell.fits, -1), cell.taus, cell.tasks,
            loss_scale=workload.loss_scale, betas=BETAS, epsilon=EPSILON,
        )  # fmt: skip
        self._rows = [workload.documents(task) for _ in range(cell.fits) for task in range(cell.tasks)]
        self._size = setting.rows_per_micro_batch
        self._device = setting.device
        self.loss_scale = workload.loss_scale
        self.note = f"{self._size} rows a micro-batch"

    def step(self) -> None:
        self._backward([1.0] * len(self._rows))
        self.optimiser.step(LEARNING_RATE)

    def check(self) -> None:
        """AssertionError where a step was not one. Not asked in a step: training asks once in many, as it waits."""
        assert not any(self.optimiser.failed_at())

    def load(self, rows_GP: Tensor) -> None:
        """What the layers read; the next step overwrites it from the optimiser's own offsets."""
        self.optimiser.rows_GP.copy_(rows_GP)

    def rows(self) -> Tensor:
        return self.optimiser.rows_GP.cpu().clone()

    def gradients(self, weights: list[float] | None = None) -> Tensor:
        """`weights`: of each row's nats, by default 1."""
        self._backward(weights or [1.0] * len(self._rows))
        found = self.optimiser.gradient_GP.cpu().clone()
        self.optimiser.discard_gradient()
        return found

    def _backward(self, weights: list[float]) -> None:
        rows_GP, gradient_GP = self.optimiser.rows_GP, self.optimiser.gradient_GP
        for start in range(0, len(self._rows), self._size):
            part = self._rows[start : start + self._size]
            rows, mine = range(start, start + len(part)), weights[start : start + len(part)]
            if self._recorded is not None:
                self._recorded.accumulate(rows_GP, gradient_GP, pack(part), rows, mine)
            else:
                weights_N = sent(torch.tensor(mine), torch.device(self._device))
                self.engine.accumulate(rows_GP, gradient_GP, pack(part), rows, weights_N)


class OursBestBatch(Ours):
    """With the liberty of `peft-best-batch`: the documents of 1, 2, 4 or 8 steps in one, whichever is fastest.

    Not of more tokens than `_MOST_AT_ONCE`: from there on a longer step gains nothing and takes minutes.
    """

    name = "ours, best batch"

    def __init__(self, setting: Setting) -> None:
        most = max(1, _MOST_AT_ONCE // setting.workload.cell.tokens_per_step)
        best = best_multiple(lambda multiple: Ours(_longer(setting, multiple)).step, setting.device, most)
        super().__init__(_longer(setting, best))
        self.share = float(best)
        self.note = f"{self.note}, {best} steps at once"


def _longer(setting: Setting, steps: int) -> Setting:
    """Rows of several steps' documents, in the micro-batches that the trainer would choose for these."""
    rows = rows_that_fit(setting.workload.cell, setting.dtype, setting.device, steps)
    return replace(setting, workload=Workload.of(setting.workload.cell, steps), rows_per_micro_batch=rows)


class OursCompiled(Ours):
    name = "ours, compiled"

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting, EngineSpec(compile=True))


class OursRecorded(Ours):
    name = "ours, recorded"

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting, EngineSpec(cuda_graph=True))


class OursCompiledRecorded(Ours):
    name = "ours, compiled, recorded"

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting, EngineSpec(compile=True, cuda_graph=True))


ON_A_CARD = (OursCompiled, OursRecorded, OursCompiledRecorded)
