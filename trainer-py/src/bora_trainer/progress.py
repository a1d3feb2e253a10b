"""Progress of training as windows of steps, at most ten a second, read from the device only when a window closes."""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch
from torch import Tensor

from bora.trainer.v1 import event_pb2
from bora_trainer.objective import macro_nats_per_token

SECONDS_A_WINDOW = 0.1


class Progress:
    """Sums of the steps since the last window. Shapes: K fits, D tasks, G = K * D rows."""

    def __init__(self) -> None:
        self._closed = time.monotonic()
        self._clear()

    def add(self, nats_G: Tensor, tokens: Sequence[int], seconds: float, *, real: int, padded: int) -> None:
        """One step's unweighted nats and scored tokens of each row, how long it took, and what it computed in all."""
        self._nats_G = nats_G.clone() if self._nats_G is None else self._nats_G.add_(nats_G)
        self._tokens = [a + b for a, b in zip(self._tokens or [0] * len(tokens), tokens, strict=True)]
        self._steps += 1
        self._seconds += seconds
        self._real += real
        self._padded += padded

    def leave(self, places: Sequence[int], tasks: int) -> None:
        """Forgets the nats and tokens of fits that are no longer there."""
        if self._nats_G is None:
            return
        fits = range(len(self._tokens) // tasks)
        rows = [fit * tasks + task for fit in fits if fit not in places for task in range(tasks)]
        self._nats_G = self._nats_G[torch.tensor(rows, dtype=torch.int64, device=self._nats_G.device)]
        self._tokens = [self._tokens[row] for row in rows]

    @property
    def due(self) -> bool:
        return time.monotonic() - self._closed >= SECONDS_A_WINDOW

    def close(self, step: int, trial_ids: Sequence[str]) -> list[event_pb2.Event]:
        """The window as an event, none when it is empty; `trial_ids` are the fits, in row order."""
        if self._nats_G is None or not trial_ids:
            self._clear()
            return []
        nats_KD = self._nats_G.view(len(trial_ids), -1).tolist()
        tasks = len(nats_KD[0])
        fits = [
            event_pb2.FitProgress(
                trial_id=trial_id,
                nats_per_token=macro_nats_per_token(
                    zip(nats_D, self._tokens[place * tasks : (place + 1) * tasks], strict=True)
                ),
            )
            for place, (trial_id, nats_D) in enumerate(zip(trial_ids, nats_KD, strict=True))
        ]
        window = event_pb2.StepsDone(
            step=step, steps=self._steps, tokens=sum(self._tokens), seconds=self._seconds, fits=fits,
            real=self._real, padded=self._padded,
        )  # fmt: skip
        self._closed = time.monotonic()
        self._clear()
        return [event_pb2.Event(steps_done=window)]

    def _clear(self) -> None:
        self._nats_G: Tensor | None = None
        self._tokens: list[int] = []
        self._steps, self._seconds = 0, 0.0
        self._real, self._padded = 0, 0
