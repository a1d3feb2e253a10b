"""The learning rate of each step, the same for every tau. docs/method.md section 3."""

import math

from bora_trainer.spec import TrainSpec


def learning_rate(train: TrainSpec, step: int) -> float:
    """For optimiser step `step`, from 1: a linear warm-up, then constant or down to 0 at the last step."""
    if step <= train.warmup_steps:
        return train.learning_rate * step / train.warmup_steps
    passed = (step - train.warmup_steps) / max(1, train.max_steps - train.warmup_steps)
    match train.decay:
        case "constant":
            return train.learning_rate
        case "linear":
            return train.learning_rate * (1 - passed)
        case "cosine":
            return train.learning_rate * (1 + math.cos(math.pi * passed)) / 2
