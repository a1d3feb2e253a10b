"""When a fit ends: after `patience` evaluations without better validation nats per token, or at the last step.

They are the mean over tasks, with one best step for all, or, where tasks do not move each other, each task's own, with
a best step each: the fit then ends when the last task has lost its patience.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

Ended = Literal["validation", "limit"]


@dataclass(slots=True)
class EarlyStopping:
    """One fit's record. `best_nats` is macro validation nats per token at `best_step`; step 0: never evaluated."""

    trial_id: str
    best_nats: float = math.inf
    best_step: int = 0
    waited: int = 0
    ended: Ended | None = None
    by_task: list[TaskBest] = field(default_factory=list)

    def update(self, nats_per_token: float, step: int, *, patience: int, last_step: int) -> bool:
        """Takes in one evaluation, decides whether the fit has ended, and says whether it is the best so far."""
        better = nats_per_token < self.best_nats
        if better:
            self.best_nats, self.best_step, self.waited = nats_per_token, step, 0
        else:
            self.waited += 1
        self._end(self.waited, step, patience, last_step)
        return better

    def update_tasks(self, nats_per_token: Sequence[float], step: int, *, patience: int, last_step: int) -> list[int]:
        """The same for each task by itself; says which tasks are the best so far.

        `best_nats` is then the mean of the tasks' best, `best_step` the last of their steps.
        """
        self.by_task = self.by_task or [TaskBest() for _ in nats_per_token]
        better = [
            task
            for task, (own, nats) in enumerate(zip(self.by_task, nats_per_token, strict=True))
            if own.update(nats, step, patience)
        ]
        self.best_nats = math.fsum(own.nats for own in self.by_task) / len(self.by_task)
        self.best_step = max(own.step for own in self.by_task)
        self._end(min(own.waited for own in self.by_task), step, patience, last_step)
        return better

    def _end(self, waited: int, step: int, patience: int, last_step: int) -> None:
        if waited >= patience:
            self.ended = "validation"
        elif step >= last_step:
            self.ended = "limit"


@dataclass(slots=True)
class TaskBest:
    """One task's best nats per token, at `step`; once its patience has run out it stays as it is."""

    nats: float = math.inf
    step: int = 0
    waited: int = 0

    def update(self, nats_per_token: float, step: int, patience: int) -> bool:
        if self.waited >= patience:
            return False
        better = nats_per_token < self.nats
        self.nats, self.step, self.waited = (
            (nats_per_token, step, 0) if better else (self.nats, self.step, self.waited + 1)
        )
        return better
