"""The gradients of one step: every row's documents, forward and backward, in micro-batches of rows.

Shapes: K fits, D tasks, G = K * D rows, P weights a row, N rows of a micro-batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bora_trainer.data import TaskData, pack
from bora_trainer.data.batches import end_to_end_pads
from bora_trainer.data.micro_batches import PRICES, Rows, cells, micro_batches, neighbours
from bora_trainer.data.samplers import BatchSampler, TaskBatch, make_sampler
from bora_trainer.device_batch import bucket, sent
from bora_trainer.engine import Engine
from bora_trainer.errors import TrainerError, is_out_of_memory
from bora_trainer.hierarchical_adam import HierarchicalAdam
from bora_trainer.micro_batch_size import MicroBatchSize
from bora_trainer.recorded_gradients import RecordedGradients
from bora_trainer.recorded_graphs import RecordedGraphs
from bora_trainer.spec import TrainSpec


@dataclass(frozen=True, slots=True)
class Read:
    """What a step read: unweighted nats [G] on the device, scored tokens of each row, and what was computed in all.

    `real` counts the documents' tokens, scored or not; `padded` the cells beside them.
    """

    nats_G: Tensor
    tokens: list[int]
    real: int
    padded: int


class Gradients:
    """Draws each step's documents and adds their weighted gradients to the optimiser.

    Fits of one seed read the same documents at the same step, whatever their tau.
    """

    def __init__(
        self,
        engine: Engine,
        tasks: Sequence[TaskData],
        train: TrainSpec,
        size: MicroBatchSize,
        stop: Callable[[], bool],
        graphs: RecordedGraphs | None = None,
    ) -> None:
        """`graphs`: micro-batches are recorded in it, for an engine with buckets."""
        self._recorded = RecordedGradients(engine, graphs) if graphs is not None else None
        self._engine, self._tasks, self._train, self._stop = engine, tasks, train, stop
        self._size = size
        self._prices = PRICES[engine.loaded.model.device.type]
        self._samplers: dict[int, BatchSampler] = {}

    def steps_per_epoch(self, seed: int) -> int:
        return self._sampler(seed).steps_per_epoch

    def __call__(self, optimiser: HierarchicalAdam, seeds: Sequence[int], step: int) -> Read:
        """Fills the gradients of step `step`, from 1, for fits of these seeds.

        A step for which the memory does not suffice begins again with smaller micro-batches, on the same documents.
        Raises `TrainerError("drained")` when asked to stop, the gradients are then incomplete, and
        `TrainerError("out_of_memory")` when one row is too much.
        """
        drawn = {seed: self._sampler(seed)(step - 1) for seed in dict.fromkeys(seeds)}
        batches = [batch for seed in seeds for batch in drawn[seed]]
        widths = [sum(len(document.tokens) for document in batch.documents) for batch in batches]
        tokens = [sum(document.scored for document in batch.documents) for batch in batches]
        while True:
            parts = self._parts(widths)
            nats_G = self._fill(optimiser, batches, parts, step)
            if nats_G is not None:
                return Read(nats_G, tokens, sum(widths), self._pads(widths, parts))
            optimiser.discard_gradient()

    def _parts(self, widths_G: Sequence[int]) -> Sequence[Rows]:
        if self._engine.end_to_end:
            return neighbours(len(widths_G), self._size.rows)
        return micro_batches(widths_G, self._size.rows, self._prices)

    def _pads(self, widths_G: Sequence[int], parts: Sequence[Rows]) -> int:
        if not self._engine.end_to_end:
            return cells(widths_G, parts) - sum(widths_G)
        return sum(end_to_end_pads([widths_G[row] for row in rows]) for rows in parts)

    def _fill(
        self, optimiser: HierarchicalAdam, batches: Sequence[TaskBatch], parts: Sequence[Rows], step: int
    ) -> Tensor | None:
        """The nats [G], or None when the memory did not suffice; the size is then halved."""
        nats_G = torch.zeros(len(batches), dtype=torch.float64, device=optimiser.gradient_GP.device)
        for rows in parts:
            if self._stop():
                raise TrainerError("drained", f"asked to stop in step {step}", domain="controller")
            try:
                self._add(optimiser, nats_G, [batches[row] for row in rows], rows)
                continue
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                reason = str(error)
            self._size.halve_rows(len(rows), reason)  # out of the handler, whose traceback holds the activations
            return None
        return nats_G

    def _add(self, optimiser: HierarchicalAdam, nats_G: Tensor, part: Sequence[TaskBatch], rows: Rows) -> None:
        """Adds one micro-batch. The engine gathers rows that are no neighbours."""
        rows_GP, gradient_GP = optimiser.rows_GP, optimiser.gradient_GP
        # Micro-batches of neighbours are of one size or two; others are filled with rows that read nothing.
        absent = bucket(len(rows)) - len(rows) if self._engine.buckets and not isinstance(rows, range) else 0
        packed = pack([*(batch.documents for batch in part), *[()] * absent])
        weights = [*(batch.weight for batch in part), *[0.0] * absent]
        index = [*rows, *[rows[0]] * absent]
        index_N = sent(torch.tensor(index), gradient_GP.device)
        if self._recorded is not None:
            nats_N = self._recorded.accumulate(rows_GP, gradient_GP, packed, index, weights)
        else:
            weights_N = sent(torch.tensor(weights), gradient_GP.device)
            nats_N = self._engine.accumulate(rows_GP, gradient_GP, packed, index, weights_N)
        nats_G.index_copy_(0, index_N[: len(rows)], nats_N[: len(rows)])

    def _sampler(self, seed: int) -> BatchSampler:
        if seed not in self._samplers:
            self._samplers[seed] = make_sampler(self._tasks, self._train, seed)
        return self._samplers[seed]
