"""How many steps' documents at once a contestant takes when it may choose."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

MULTIPLES = (1, 2, 4, 8)


def best_multiple(step_of: Callable[[int], Callable[[], None]], device: str, most: int = MULTIPLES[-1]) -> int:
    """The one of `MULTIPLES`, up to `most`, that gives most tokens a second: `step_of(m)` takes m steps' documents."""

    def steps_per_second(multiple: int) -> float:
        step, seconds = step_of(multiple), []
        for _ in range(3):  # the first is the warm-up, which never wins
            began = time.perf_counter()
            step()
            if device != "cpu":
                torch.cuda.synchronize()
            seconds.append(time.perf_counter() - began)
        return multiple / min(seconds)

    allowed = [multiple for multiple in MULTIPLES if multiple <= most]
    if len(allowed) == 1:
        return allowed[0]
    rates = {multiple: steps_per_second(multiple) for multiple in allowed}
    return max(rates, key=rates.__getitem__)
