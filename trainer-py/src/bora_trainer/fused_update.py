"""The Gaussian prior's update of hierarchical_adam.py in one pass over the rows, compiled for CPUs.

In torch's own operations a step reads and writes every row some twenty times; here once, as fast as the memory is
(docs/performance.md). Numba is the compiler because it comes as a wheel: torch's own needs a C++ compiler at hand. It
may neither reorder nor fuse, so every operation rounds once, as torch's does: `HierarchicalAdam` gives the same bits
with and without this file, whatever the number of threads.

Shapes: D tasks, P weights a row. Columns of P never meet, so threads share them out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bora_trainer.compiled_passes import Pass, compiled, ended, number_at, part_of, tensor_at

_BLOCK = 1024  # columns that pass through all tasks before the next: near, and long enough to be fetched ahead
_COUNT = 14  # of `numbers_of`, and three more


@dataclass(frozen=True, slots=True)
class Fit:
    """The tensors of one fit, all [D, P] or [P], in one floating-point type; `advance` writes all but `rates_P`.

    `rates_P`: what the learning rate is multiplied with, weight by weight; empty: 1.
    """

    offset_DP: Tensor
    first_DP: Tensor
    second_DP: Tensor
    gradient_DP: Tensor
    rows_DP: Tensor
    mean_P: Tensor
    mean_first_P: Tensor
    mean_second_P: Tensor
    rates_P: Tensor

    def checked(self, device: torch.device) -> tuple[int, int]:
        """D and P. Raises ValueError for tensors that do not fit each other: from here on they are addresses."""
        tasks, weights = self.offset_DP.shape
        kind = self.offset_DP.dtype
        for name in Fit.__dataclass_fields__:
            tensor: Tensor = getattr(self, name)
            wanted = (tasks, weights) if name.endswith("DP") else (weights,)
            fits = tensor.shape == wanted or (name == "rates_P" and len(tensor) == 0)
            if not fits or tensor.dtype != kind or tensor.device != device or not tensor.is_contiguous():
                found = f"{tensor.dtype} {list(tensor.shape)} on {tensor.device}"
                raise ValueError(f"{name} is {found}, expected {kind} {list(wanted)} on {device}, contiguous")
        return tasks, weights


@dataclass(frozen=True, slots=True)
class Step:
    """What is the same for all weights of a fit at one step."""

    tau: float
    learning_rate: float
    loss_scale: float
    betas: tuple[float, float]
    epsilon: float
    number: int  # from 1
    fixed_mean: bool = False  # Theta is known and stays


def advance(fit: Fit, step: Step) -> bool:
    """Takes the step and empties the gradients. False when one of them was not finite. Raises as `Fit.checked`."""
    tasks, weights = fit.checked(torch.device("cpu"))
    tensors = [getattr(fit, name) for name in Fit.__dataclass_fields__]
    kind = tensors[0].dtype
    numbers = torch.tensor([*numbers_of(step), tasks, 1, 0], dtype=kind)
    finite = torch.ones(torch.get_num_threads(), dtype=torch.uint8)
    addresses = [tensor.data_ptr() for tensor in (*tensors, numbers, finite)]
    _PASSES[kind][rule_of(step)](weights, tasks * weights, tasks, weights, len(fit.rates_P), *addresses)
    return bool(finite.all())


def rule_of(step: Step) -> str:
    """Which of four: what is known beforehand, theta or Theta, decides what there is to compute."""
    if step.tau == 0:
        return "independent"
    if step.fixed_mean:
        assert math.isfinite(step.tau), "at tau = infinity a row is Theta: there is no step to take"
        return "around"
    return "tied" if math.isinf(step.tau) else "between"


def _passes(stored: type) -> dict[str, Pass]:
    """The rules over the columns of P, for tensors that NumPy reads as this."""

    def independent(given):
        part, start, stop = part_of(given)
        _tell(given, part, _independent(*_tensors(given, stored), start, stop))
        ended(given)

    def around(given):
        part, start, stop = part_of(given)
        _tell(given, part, _around(*_tensors(given, stored), start, stop))
        ended(given)

    def tied(given):
        part, start, stop = part_of(given)
        _tell(given, part, _tied(*_tensors(given, stored), start, stop))
        ended(given)

    def between(given):
        part, start, stop = part_of(given)
        _tell(given, part, _between(*_tensors(given, stored), start, stop))
        ended(given)

    return {body.__name__: Pass(body) for body in (independent, around, tied, between)}


_PASSES = {torch.float32: _passes(np.float32), torch.float64: _passes(np.float64)}


@compiled
def _tensors(given, stored):
    """What a rule is given before its columns."""
    tasks, weights, rated = number_at(given, 0), number_at(given, 1), number_at(given, 2)
    shape, of = (tasks, weights), tensor_at(given, 12, _COUNT, stored)
    return (
        tensor_at(given, 3, shape, stored), tensor_at(given, 4, shape, stored), tensor_at(given, 5, shape, stored),
        tensor_at(given, 6, shape, stored), tensor_at(given, 7, shape, stored),
        tensor_at(given, 8, weights, stored), tensor_at(given, 9, weights, stored),
        tensor_at(given, 10, weights, stored), tensor_at(given, 11, rated, stored),
        (of[0], of[1], of[2], of[3], of[4], of[5], of[6], of[7], of[8], of[9], of[10], of[11], of[12], of[13]),
    )  # fmt: skip


@compiled
def _tell(given, part, finite):
    """Whether a part's gradients were finite."""
    tensor_at(given, 13, part + 1, np.uint8)[part] = finite


def numbers_of(step: Step) -> tuple[float, ...]:
    """Rounded once, as torch rounds a Python number beside a tensor; a huge tau may become infinity."""
    beta1, beta2 = step.betas
    return (
        *(step.loss_scale, beta1, 1 - beta1, beta2, 1 - beta2, 1 - beta1**step.number, 1 - beta2**step.number),
        *(step.epsilon, step.learning_rate, step.learning_rate * (step.loss_scale * step.tau)),
        step.loss_scale * step.tau,
    )


@compiled
def _direction(gradient, first, second, numbers):
    """Both moments after `gradient`, Adam's direction mhat / curvature, and the curvature sqrt(vhat) + epsilon."""
    _, beta1, rest1, beta2, rest2, correction1, correction2, epsilon = numbers[:8]
    first = first * beta1 + gradient * rest1
    second = second * beta2 + (gradient * gradient) * rest2
    curvature = np.sqrt(second / correction2) + epsilon
    return first, second, (first / correction1) / curvature, curvature


@compiled
def _all_finite(values, width, zero):
    rest = zero
    for j in range(width):
        rest += abs(values[j] - values[j])  # 0, or NaN
    return rest == zero


@compiled
def _independent(offset, first, second, gradient, rows, mean, _, __, rates, numbers, start, stop):
    """tau = 0: every task by itself."""
    scale, zero = numbers[0], numbers[13]
    pull, rated = np.empty(_BLOCK, offset.dtype), np.empty(_BLOCK, offset.dtype)
    finite = True
    for begin in range(start, stop, _BLOCK):
        end = min(begin + _BLOCK, stop)
        _rate(rated, rates, begin, end, numbers)
        pull[:] = zero
        about = mean[begin:end]
        for d in range(offset.shape[0]):
            own, g, row = offset[d, begin:end], gradient[d, begin:end], rows[d, begin:end]
            m, v = first[d, begin:end], second[d, begin:end]
            for j in range(end - begin):
                x = g[j] * scale
                pull[j] += x
                m[j], v[j], direction, _ = _direction(x, m[j], v[j], numbers)
                own[j] -= direction * rated[j]
                row[j] = own[j] + about[j]
                g[j] = zero
        finite &= _all_finite(pull, end - begin, zero)
    return finite


@compiled
def _around(offset, first, second, gradient, rows, mean, _, __, rates, numbers, start, stop):
    """Theta known: Adam's step of each task and the exact proximal step, every task by itself."""
    scale, zero = numbers[0], numbers[13]
    pull, rated = np.empty(_BLOCK, offset.dtype), np.empty(_BLOCK, offset.dtype)
    strength = np.empty(_BLOCK, offset.dtype)
    finite = True
    for begin in range(start, stop, _BLOCK):
        end = min(begin + _BLOCK, stop)
        _rate(rated, rates, begin, end, numbers)
        _strength(strength, rated, rates, numbers)
        pull[:] = zero
        about = mean[begin:end]
        for d in range(offset.shape[0]):
            own, g, row = offset[d, begin:end], gradient[d, begin:end], rows[d, begin:end]
            m, v = first[d, begin:end], second[d, begin:end]
            for j in range(end - begin):
                x = g[j] * scale
                pull[j] += x
                m[j], v[j], direction, curvature = _direction(x, m[j], v[j], numbers)
                shrink = curvature / (curvature + strength[j])
                own[j] = (own[j] - direction * rated[j]) * shrink
                row[j] = own[j] + about[j]
                g[j] = zero
        finite &= _all_finite(pull, end - begin, zero)
    return finite


@compiled
def _tied(offset, _, __, gradient, rows, mean, mean_first, mean_second, rates, numbers, start, stop):
    """tau = infinity: one adapter on the sum of all gradients."""
    scale, zero = numbers[0], numbers[13]
    pull, rated = np.empty(_BLOCK, offset.dtype), np.empty(_BLOCK, offset.dtype)
    finite = True
    for begin in range(start, stop, _BLOCK):
        end = min(begin + _BLOCK, stop)
        _rate(rated, rates, begin, end, numbers)
        pull[:] = zero
        for d in range(offset.shape[0]):
            g = gradient[d, begin:end]
            for j in range(end - begin):
                pull[j] += g[j] * scale
                g[j] = zero
        finite &= _all_finite(pull, end - begin, zero)
        about, m, v = mean[begin:end], mean_first[begin:end], mean_second[begin:end]
        for j in range(end - begin):
            m[j], v[j], direction, _ = _direction(pull[j], m[j], v[j], numbers)
            about[j] -= direction * rated[j]
        for d in range(offset.shape[0]):
            own, row = offset[d, begin:end], rows[d, begin:end]
            for j in range(end - begin):
                row[j] = own[j] + about[j]
    return finite


@compiled
def _between(offset, first, second, gradient, rows, mean, mean_first, mean_second, rates, numbers, start, stop):
    """Adam's step of each task, the exact proximal step, Theta's own step by as much as that took, re-centring."""
    scale, tasks, one, zero = numbers[0], numbers[11], numbers[12], numbers[13]
    pull, taken = np.empty(_BLOCK, offset.dtype), np.empty(_BLOCK, offset.dtype)
    shift, rated = np.empty(_BLOCK, offset.dtype), np.empty(_BLOCK, offset.dtype)
    strength = np.empty(_BLOCK, offset.dtype)
    finite = True
    for begin in range(start, stop, _BLOCK):
        end = min(begin + _BLOCK, stop)
        _rate(rated, rates, begin, end, numbers)
        _strength(strength, rated, rates, numbers)
        pull[:] = zero
        taken[:] = zero
        shift[:] = zero
        for d in range(offset.shape[0]):
            own, g = offset[d, begin:end], gradient[d, begin:end]
            m, v = first[d, begin:end], second[d, begin:end]
            for j in range(end - begin):
                x = g[j] * scale
                m[j], v[j], direction, curvature = _direction(x, m[j], v[j], numbers)
                shrink = curvature / (curvature + strength[j])
                own[j] = (own[j] - direction * rated[j]) * shrink
                g[j] = zero
                pull[j] += x
                taken[j] += shrink
                shift[j] += own[j]
        finite &= _all_finite(pull, end - begin, zero)
        about, m, v = mean[begin:end], mean_first[begin:end], mean_second[begin:end]
        for j in range(end - begin):
            m[j], v[j], direction, _ = _direction(pull[j], m[j], v[j], numbers)
            shift[j] = shift[j] / tasks
            about[j] -= (direction * rated[j]) * (one - taken[j] / tasks)
            about[j] += shift[j]
        for d in range(offset.shape[0]):
            own, row = offset[d, begin:end], rows[d, begin:end]
            for j in range(end - begin):
                own[j] -= shift[j]
                row[j] = own[j] + about[j]
    return finite


@compiled
def _rate(rated, rates, begin, end, numbers):
    """The learning rate of each column."""
    rated[:] = numbers[8]
    if rates.shape[0] > 0:
        for j in range(end - begin):
            rated[j] = rates[begin + j] * numbers[8]


@compiled
def _strength(strength, rated, rates, numbers):
    """Learning rate times lambda of each column."""
    strength[:] = numbers[9]
    if rates.shape[0] > 0:
        for j in range(rated.shape[0]):
            strength[j] = rated[j] * numbers[10]
