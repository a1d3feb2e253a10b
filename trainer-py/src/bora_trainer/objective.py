"""The objective in nats: what training minimises, and the numbers it is judged by. docs/method.md section 1.

    J(theta, Theta) = sum_d NLL_d(theta_d) + prior(theta - Theta) + tau_0/2 |Theta - Theta_init|^2

NLL_d is a sum over scored tokens, never a mean: with sums the prior weakens by itself as a task's data grow. The
weights that make a mini-batch's sum an unbiased estimate of it come with the batch (data/batches.py).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from torch import Tensor

from bora_trainer.prior import Prior


def loss_scale(tasks: int, training_tokens: int) -> float:
    """c = D / T: c * J has gradients of the size of a mean token's. The optimum does not depend on it."""
    return tasks / training_tokens


def negative_log_joint(
    nats_D: Tensor, prior: Prior, offset_DP: Tensor, tau: float, mean_shift_P: Tensor, tau0: float = 0.0
) -> float:
    """J of one fit, nats. `mean_shift_P` is Theta - Theta_init; tau in [0, infinity].

    Infinity when tau is infinite and the tasks differ.
    """
    if tau == 0:
        tied = 0.0
    elif math.isinf(tau):
        tied = math.inf if bool(offset_DP.any()) else 0.0
    else:
        tied = float(prior.nats(offset_DP, tau))
    anchored = tau0 / 2 * float(mean_shift_P.double().square().sum()) if tau0 > 0 else 0.0
    return float(nats_D.double().sum()) + tied + anchored


def macro_nats_per_token(nats_tokens: Iterable[tuple[float, int]]) -> float:
    """mean_d(nats_d / tokens_d) over the tasks that have scored tokens; NaN when none has."""
    rates: Sequence[float] = [nats / tokens for nats, tokens in nats_tokens if tokens > 0]
    return math.fsum(rates) / len(rates) if rates else math.nan
