"""When a fit ends: after `patience` evaluations without better macro validation nats per token, or at the last step."""

from __future__ import annotations

import math
from dataclasses import dataclass
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

    def update(self, nats_per_token: float, step: int, *, patience: int, last_step: int) -> bool:
        """Takes in one evaluation, decides whether the fit has ended, and says whether it is the best so far."""
        better = nats_per_token < self.best_nats
        if better:
            self.best_nats, self.best_step, self.waited = nats_per_token, step, 0
        else:
            self.waited += 1
        if self.waited >= patience:
            self.ended = "validation"
        elif step >= last_step:
            self.ended = "limit"
        return better
