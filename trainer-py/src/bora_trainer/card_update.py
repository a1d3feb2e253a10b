"""The Gaussian prior's update of hierarchical_adam.py as one kernel a fit, for graphics cards.

In torch's operations a step reads and writes every row some twenty times, 2.9 ms for 25 adapters of OPT-350m on an H100
(docs/performance.md); here once, but for the offsets, which are read twice. The arithmetic is that of
fused_update.py, the same for CPUs. Rounding is not: a card fuses products and sums.

Shapes: D tasks, P weights a row. Columns of P never meet: each program has some, for all tasks.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from bora_trainer.card_kernels import launch
from bora_trainer.fused_update import Fit, Step, numbers_of, rule_of

_COLUMNS, _WARPS = 1024, 4
_RULES = {"independent": 0, "around": 1, "tied": 2, "between": 3}
_INDEPENDENT, _AROUND, _TIED, _BETWEEN = (tl.constexpr(number) for number in _RULES.values())


def advance(fit: Fit, step: Step, failed_1: Tensor) -> None:
    """As `fused_update.advance`, for float32, without waiting: where a gradient is not finite, and `failed_1`, int64,
    is 0, it becomes the number of the step.

    Raises ValueError for tensors that do not fit each other.
    """
    tasks, weights = fit.checked(fit.offset_DP.device)
    assert fit.offset_DP.dtype == torch.float32
    assert failed_1.dtype == torch.int64 and failed_1.device == fit.offset_DP.device
    scale, beta1, rest1, beta2, rest2, correction1, correction2, epsilon, rate, strength, pull = numbers_of(step)
    launch(
        _advance, (triton.cdiv(weights, _COLUMNS),),
        fit.offset_DP, fit.first_DP, fit.second_DP, fit.gradient_DP, fit.rows_DP,
        fit.mean_P, fit.mean_first_P, fit.mean_second_P, fit.rates_P, failed_1,
        tasks, weights, step.number,
        scale, beta1, rest1, beta2, rest2, correction1, correction2, epsilon, rate, strength, pull,
        _RULES[rule_of(step)], len(fit.rates_P) > 0, _COLUMNS, num_warps=_WARPS,
    )  # fmt: skip
    # Not in the kernel: there a thread may empty what another has yet to read, as nothing ties the two.
    fit.gradient_DP.zero_()


@triton.jit
def _direction(gradient, first, second, beta1, rest1, beta2, rest2, correction1, correction2, epsilon):
    """Both moments after `gradient`, Adam's direction mhat / curvature, and the curvature sqrt(vhat) + epsilon."""
    first = first * beta1 + gradient * rest1
    second = second * beta2 + gradient * gradient * rest2
    curvature = tl.sqrt(second / correction2) + epsilon
    return first, second, (first / correction1) / curvature, curvature


@triton.jit(do_not_specialize=["tasks", "number"])
def _advance(
    offset, first, second, gradient, rows, mean, mean_first, mean_second, rates, failed,
    tasks, weights, number,
    scale, beta1, rest1, beta2, rest2, correction1, correction2, epsilon, rate, strength, pull_to_mean,
    RULE: tl.constexpr, RATED: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    columns = tl.program_id(0).to(tl.int64) * COLUMNS + tl.arange(0, COLUMNS)
    inside = columns < weights
    if RATED:
        rate = rate * tl.load(rates + columns, mask=inside, other=0.0)
        strength = rate * pull_to_mean
    about = tl.load(mean + columns, mask=inside, other=0.0)
    pull = tl.zeros((COLUMNS,), tl.float32)
    taken = tl.zeros((COLUMNS,), tl.float32)
    shift = tl.zeros((COLUMNS,), tl.float32)
    at = columns
    for _ in range(tasks):
        slope = tl.load(gradient + at, mask=inside, other=0.0) * scale
        pull += slope
        if RULE != _TIED:
            m, v = tl.load(first + at, mask=inside, other=0.0), tl.load(second + at, mask=inside, other=0.0)
            m, v, direction, curvature = _direction(
                slope, m, v, beta1, rest1, beta2, rest2, correction1, correction2, epsilon
            )
            tl.store(first + at, m, mask=inside)
            tl.store(second + at, v, mask=inside)
            own = tl.load(offset + at, mask=inside, other=0.0) - direction * rate
            if RULE != _INDEPENDENT:
                shrink = curvature / (curvature + strength)
                own = own * shrink
                taken += shrink
                shift += own
            tl.store(offset + at, own, mask=inside)
            if RULE != _BETWEEN:
                tl.store(rows + at, own + about, mask=inside)
        at += weights
    if tl.sum(tl.where(pull - pull == 0.0, 0, 1), 0) > 0:  # infinite or NaN; the programs that see it write alike
        if tl.load(failed) == 0:
            tl.store(failed, number)
    if RULE == _TIED or RULE == _BETWEEN:
        m, v = (
            tl.load(mean_first + columns, mask=inside, other=0.0),
            tl.load(mean_second + columns, mask=inside, other=0.0),
        )
        m, v, direction, _ = _direction(pull, m, v, beta1, rest1, beta2, rest2, correction1, correction2, epsilon)
        tl.store(mean_first + columns, m, mask=inside)
        tl.store(mean_second + columns, v, mask=inside)
        if RULE == _BETWEEN:
            shift = shift / tasks
            about = about - direction * rate * (1.0 - taken / tasks) + shift
        else:
            about = about - direction * rate
        tl.store(mean + columns, about, mask=inside)
        tl.debug_barrier()  # other threads of the program may read what these wrote
        at = columns
        for _ in range(tasks):
            own = tl.load(offset + at, mask=inside, other=0.0)
            if RULE == _BETWEEN:
                own = own - shift
                tl.store(offset + at, own, mask=inside)
            tl.store(rows + at, own + about, mask=inside)
            at += weights
