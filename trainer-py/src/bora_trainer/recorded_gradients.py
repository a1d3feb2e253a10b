"""One micro-batch, forward and backward, as a recorded graph: hundreds of launches become one.

The update is not recorded: its learning rate, step count and branches by tau are numbers of Python, and it is few
kernels. Shapes: G rows, P weights a row, N rows of a micro-batch.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from bora_trainer.data.batches import PackedBatch
from bora_trainer.device_batch import DeviceBatch, pinned
from bora_trainer.engine import Engine
from bora_trainer.recorded_graphs import RecordedGraphs


class RecordedGradients:
    """`Engine.accumulate` for rows in any order, recorded by shape. All numbers of a micro-batch are one copy.

    A micro-batch of all rows reads them where they are; others are gathered, so that one graph serves any of them.
    """

    def __init__(self, engine: Engine, graphs: RecordedGraphs) -> None:
        assert engine.buckets, "without buckets every micro-batch has a shape of its own"
        self._engine, self._graphs = engine, graphs
        self._rows: tuple[object, ...] = ()

    def accumulate(
        self, rows_GP: Tensor, gradient_GP: Tensor, batch: PackedBatch, index: Sequence[int], weights: Sequence[float]
    ) -> Tensor:
        """Adds to `gradient_GP[index[n]]`, and returns the nats of each packed row, as `Engine.accumulate`."""
        rows = (rows_GP.data_ptr(), gradient_GP.data_ptr(), rows_GP.shape)
        if rows != self._rows:  # fits have left: the graphs know the old tensors
            self._graphs.forget()
            self._rows = rows
        inputs, states = self._engine.prepared(batch)
        shape, count, every = inputs.shape, len(index), list(index) == list(range(len(rows_GP)))
        numbers = (inputs.buffer, torch.tensor(index), torch.tensor(weights, dtype=torch.float64).view(torch.int64))
        sizes = [len(part) for part in numbers]

        def work(given: Sequence[Tensor]) -> Tensor:
            buffer, index_N, bits_N = given[0].split(sizes)
            weights_N = bits_N.view(torch.float64).to(rows_GP.dtype)
            sent = DeviceBatch.read(shape, buffer)
            below = given[1] if len(given) > 1 else None
            if every:
                return self._engine.accumulate_sent(rows_GP, gradient_GP, sent, below, range(count), weights_N)
            rows_NP = rows_GP.index_select(0, index_N)
            gradient_NP = torch.zeros_like(rows_NP)
            nats_N = self._engine.accumulate_sent(rows_NP, gradient_NP, sent, below, range(count), weights_N)
            gradient_GP.index_add_(0, index_N, gradient_NP)
            return nats_N

        together = pinned(torch.cat(numbers), rows_GP.device)
        given = [together] if states is None else [together, states]
        return self._graphs((shape, states is None, every), given, work)
