"""The gradients of one step: every row's documents, forward and backward, in micro-batches of rows.

Shapes: K fits, D tasks, G = K * D rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from bora_trainer.data import TaskData, pack
from bora_trainer.data.samplers import BatchSampler, make_sampler
from bora_trainer.engine import Engine
from bora_trainer.errors import TrainerError
from bora_trainer.hierarchical_adam import HierarchicalAdam
from bora_trainer.spec import TrainSpec


class Gradients:
    """Draws each step's documents and adds their weighted gradients to the optimiser.

    Fits of one seed read the same documents at the same step, whatever their tau.
    """

    def __init__(
        self,
        engine: Engine,
        tasks: Sequence[TaskData],
        train: TrainSpec,
        rows_per_micro_batch: int,
        stop: Callable[[], bool],
    ) -> None:
        self._engine, self._tasks, self._train, self._stop = engine, tasks, train, stop
        self._rows_per_micro_batch = rows_per_micro_batch
        self._samplers: dict[int, BatchSampler] = {}

    def steps_per_epoch(self, seed: int) -> int:
        return self._sampler(seed).steps_per_epoch

    def __call__(self, optimiser: HierarchicalAdam, seeds: Sequence[int], step: int) -> tuple[Tensor, list[int]]:
        """Fills the gradients of step `step`, from 1, for fits of these seeds.

        Returns the unweighted nats [G] on the device and the scored tokens of each row. Raises
        `TrainerError("drained")` when asked to stop; the gradients are then incomplete.
        """
        drawn = {seed: self._sampler(seed)(step - 1) for seed in dict.fromkeys(seeds)}
        batches = [batch for seed in seeds for batch in drawn[seed]]
        rows_GP, gradient_GP = optimiser.rows_GP, optimiser.gradient_GP
        found = []
        for start in range(0, len(batches), self._rows_per_micro_batch):
            if self._stop():
                raise TrainerError("drained", f"asked to stop in step {step}", domain="controller")
            part = batches[start : start + self._rows_per_micro_batch]
            packed = pack([batch.documents for batch in part])
            weights = torch.tensor([batch.weight for batch in part], device=gradient_GP.device)
            row_index = range(start, start + len(part))
            found.append(self._engine.accumulate(rows_GP, gradient_GP, packed, row_index, weights))
        tokens = [sum(document.scored for document in batch.documents) for batch in batches]
        return torch.cat(found), tokens

    def _sampler(self, seed: int) -> BatchSampler:
        if seed not in self._samplers:
            self._samplers[seed] = make_sampler(self._tasks, self._train, seed)
        return self._samplers[seed]
