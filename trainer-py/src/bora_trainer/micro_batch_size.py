"""How much is computed at once, and what happens when the device has no memory for it.

Rows of a micro-batch do not meet, so a smaller one gives the same numbers but for rounding. A size is halved when an
allocation fails and never raised again; it goes into every checkpoint, so that a later attempt begins with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from bora.trainer.v1 import event_pb2
from bora_trainer.errors import TrainerError
from bora_trainer.spec import Execution

_HINT = "lower adapter.rank, data.maxTokens, train.tokensPerTask or the size of a pack"
# Of a micro-batch without gradients: enough to fill the processor, little memory.
_EVALUATION_TOKENS = {"cpu": 2048, "cuda": 32768}


class MicroBatchSize:
    """`rows` of a training micro-batch and `evaluation_tokens` of one without gradients, both at most."""

    def __init__(self, rows: int, evaluation_tokens: int) -> None:
        self.rows, self.evaluation_tokens = rows, evaluation_tokens
        self._untold: list[event_pb2.MicroBatchHalved] = []

    @classmethod
    def of(cls, execution: Execution) -> MicroBatchSize:
        """As the execution chose; without a choice for evaluations, what suits its device."""
        usual = cls.usual(torch.device(execution.device))
        return cls(execution.rows_per_micro_batch, execution.evaluation_tokens or usual.evaluation_tokens)

    @classmethod
    def usual(cls, device: torch.device) -> MicroBatchSize:
        """For evaluations alone."""
        return cls(1, _EVALUATION_TOKENS[device.type])

    def halve_rows(self, rows: int, reason: str) -> None:
        """After `rows` rows did not fit. Raises `TrainerError("out_of_memory")` when that was one."""
        if rows == 1:
            raise TrainerError("out_of_memory", f"not even one row a micro-batch fits: {reason}", _HINT, "oom")
        self.rows = rows // 2
        self._note(reason)

    def halve_evaluation(self, rows: int, width: int, reason: str) -> None:
        """After `rows` packed rows of `width` tokens did not fit. Raises as `halve_rows`."""
        if rows == 1:
            raise TrainerError("out_of_memory", f"not even {width} tokens are evaluated: {reason}", _HINT, "oom")
        self.evaluation_tokens = rows // 2 * width
        self._note(reason)

    def events(self, step: int) -> list[event_pb2.Event]:
        """What was halved since the last call, in `step` or in an evaluation after it."""
        told, self._untold = self._untold, []
        for halved in told:
            halved.step = step
        return [event_pb2.Event(micro_batch_halved=halved) for halved in told]

    def facts(self) -> dict[str, int]:
        """For a checkpoint; `restore` reads it."""
        return {"rows": self.rows, "evaluation_tokens": self.evaluation_tokens}

    def restore(self, facts: Mapping[str, Any]) -> None:
        """Takes over what an earlier attempt had come down to."""
        self.rows = min(self.rows, facts.get("rows", self.rows))
        self.evaluation_tokens = min(self.evaluation_tokens, facts.get("evaluation_tokens", self.evaluation_tokens))

    def _note(self, reason: str) -> None:
        if torch.cuda.is_available():
            torch.cuda.empty_cache()  # blocks of the sizes that were too large
        self._untold.append(event_pb2.MicroBatchHalved(
            rows_per_micro_batch=self.rows, evaluation_tokens=self.evaluation_tokens, message=reason[:1024]
        ))  # fmt: skip
