"""What rounding does to a trial's test nats: the same adapters on the base in float32, beside what the run scored.

Shapes: D tasks, P weights a row.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable

import torch
from torch import Tensor

from bora.trainer.v1 import event_pb2
from bora_trainer.data import Dataset
from bora_trainer.engine import Engine
from bora_trainer.errors import TrainerError, is_out_of_memory
from bora_trainer.evaluate import evaluate
from bora_trainer.micro_batch_size import MicroBatchSize
from bora_trainer.models import load_model
from bora_trainer.objective import macro_nats_per_token
from bora_trainer.spec import RunSpec
from bora_trainer.trial_results import DocumentNats, Scored, by_task

_logger = logging.getLogger(__name__)


class Float32Check:
    """The base in float32: loaded for the first trial that ends, kept until the run ends.

    Micro-batches are of its own size, so that whatever they need changes nothing for the run.
    """

    def __init__(self, spec: RunSpec, dataset: Dataset, stop: Callable[[], bool]) -> None:
        self._spec, self._dataset, self._stop = spec, dataset, stop
        self._engine: Engine | None = None

    def of(self, rows_DP: Tensor, results: list[Scored]) -> event_pb2.Float32Check | None:
        """Compares test under each task's adapter; None when it is not asked for, or the base runs in float32 already.

        None too, with a line in the log, when the memory does not suffice or nats in float32 are not finite: a check
        never costs a trial. Raises `TrainerError("drained")` on `stop`.
        """
        assert self._spec.execution is not None
        if not self._spec.float32_check or self._spec.execution.dtype == "float32":
            return None
        [ours] = [scored.documents for scored in results if (scored.model, scored.split) == ("task", "test")]
        try:
            exact = self._exact(rows_DP)
        except Exception as error:
            if not (is_out_of_memory(error) or isinstance(error, TrainerError) and error.code == "out_of_memory"):
                raise
            _logger.error("no check in float32: %s", error)
            return None
        if not all(math.isfinite(nats) for _, nats in exact):
            _logger.error("no check in float32: test nats are not finite there")
            return None
        return event_pb2.Float32Check(
            nats_per_token=self._macro(ours),
            float32_nats_per_token=self._macro(exact),
            largest_relative_difference=max(
                abs(nats - reference) / reference for (_, nats), (_, reference) in zip(ours, exact, strict=True)
            ),
        )

    def close(self) -> None:
        if self._engine is not None:
            self._engine.close()
            self._engine = None

    def _exact(self, rows_DP: Tensor) -> DocumentNats:
        engine = self._loaded()
        size = MicroBatchSize.usual(engine.loaded.model.device)
        documents = [task.test for task in self._dataset.tasks]
        return evaluate(engine, rows_DP, documents, size=size, stop=self._stop)

    def _loaded(self) -> Engine:
        if self._engine is None:
            assert self._spec.execution is not None
            loaded = load_model(self._spec.model, torch.float32, self._spec.execution.device)
            self._engine = Engine(loaded, self._spec.adapter)
        return self._engine

    def _macro(self, documents: DocumentNats) -> float:
        return macro_nats_per_token((task.nats, task.tokens) for task in by_task(documents, len(self._dataset.tasks)))
