"""Adam for all rows at once under a hierarchical prior, in offset form: `theta_d = Theta + delta_d`.

Only the likelihood's gradient enters Adam; the prior acts through its exact proximal step, so the fixed point is the
optimum of the objective for every learning rate, preconditioner and tau in [0, infinity]. Theta takes an Adam step
of its own, weighted by how much of the rows' steps the prior takes away, so that every tau learns with one step
size. docs/method.md section 3.

Shapes: G = K * D rows, K fits, D tasks, P weights a row, C a block of columns of P.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from bora_trainer import card_kernels, fused_update
from bora_trainer.prior import Gaussian, Prior, Strength, sum_over_tasks

# Weights of a fit that one pass handles on a CPU: temporaries stay small and near, and threads meet rarely.
_WEIGHTS_A_BLOCK = 1 << 20
_BY_FIT = ("_initial_KP", "_mean_KP", "_offset_KDP", "_first_KDP", "_second_KDP", "_rows_KDP", "_gradient_KDP")


class HierarchicalAdam:
    """One optimiser for K fits of D tasks each; a fit's bits do not depend on the fits beside it.

    `rows_GP` is what the layers read, row `k * D + d` for task d of fit k. `gradient_GP` is where the engine adds the
    gradients of the summed nats, mini-batch weights included; `step` empties it. Both are replaced by `keep`.
    """

    def __init__(
        self,
        initial_KP: Tensor,
        taus: Sequence[float],
        tasks: int,
        *,
        loss_scale: float,
        betas: tuple[float, float],
        epsilon: float,
        prior: Prior | None = None,
        tau0: float = 0.0,
        fixed_mean: bool = False,
        relative_rates_P: Tensor | None = None,
        plain: bool = False,
    ) -> None:
        """All rows of a fit begin at its row of `initial_KP`, Theta too.

        taus: prior precision of each fit, nats per squared parameter unit, in [0, infinity].
        loss_scale: c = D / T; the objective that is minimised is c * J, and lambda = c * tau.
        tau0: precision of Theta around its start; 0 is a flat hyperprior.
        fixed_mean: Theta is known and stays at its start, so that tasks do not move each other: at tau = infinity
            nothing moves.
        relative_rates_P: factor on the learning rate of each weight (LoRA+); the optimum does not depend on it.
        plain: in torch's own operations even where `fused_update` gives the same bits, as a reference for it, and for
            `card_update` on graphics cards, which rounds otherwise.
        """
        fits, weights = initial_KP.shape
        if len(taus) != fits:
            raise ValueError(f"{len(taus)} taus for {fits} fits")
        self.taus, self.tasks = tuple(taus), tasks
        self.steps = 0
        self._loss_scale, self._betas, self._epsilon, self._tau0 = loss_scale, betas, epsilon, tau0
        self._prior: Prior = prior or Gaussian()
        self._fixed_mean = fixed_mean
        self._relative_rates_P = None if relative_rates_P is None else relative_rates_P.to(initial_KP).contiguous()
        self._initial_KP = initial_KP.clone()
        self._mean_KP = initial_KP.clone()
        self._mean_moments_2KP = initial_KP.new_zeros(2, fits, weights)
        self._offset_KDP = initial_KP.new_zeros(fits, tasks, weights)
        self._first_KDP = torch.zeros_like(self._offset_KDP)
        self._second_KDP = torch.zeros_like(self._offset_KDP)
        self._gradient_KDP = torch.zeros_like(self._offset_KDP)
        self._rows_KDP = initial_KP[:, None, :].repeat(1, tasks, 1)
        self._failed_K = torch.zeros(fits, dtype=torch.int64, device=initial_KP.device)
        known = not plain and isinstance(self._prior, Gaussian) and tau0 == 0
        self._by_kernel = known and initial_KP.dtype == torch.float32 and card_kernels.run_on(initial_KP)
        self._fused = known and initial_KP.device.type == "cpu" and not self._by_kernel

    @property
    def rows_GP(self) -> Tensor:
        """The adapters as the layers read them; row k * D + d is task d of fit k."""
        return self._rows_KDP.flatten(0, 1)

    @property
    def gradient_GP(self) -> Tensor:
        """Filled by the engine between steps: gradients of the summed nats of each row, weights included."""
        return self._gradient_KDP.flatten(0, 1)

    @property
    def rows_KDP(self) -> Tensor:
        return self._rows_KDP

    @property
    def offset_KDP(self) -> Tensor:
        """delta = theta - Theta, as stored."""
        return self._offset_KDP

    @property
    def prior_mean_KP(self) -> Tensor:
        """Theta of each fit, a copy. At tau = 0 nothing ties a learnt Theta to the rows; their mean is reported."""
        mean_KP = self._mean_KP.clone()
        if self._fixed_mean:
            return mean_KP
        for fit, tau in enumerate(self.taus):
            if tau == 0:
                mean_KP[fit] += self._offset_KDP[fit].mean(dim=0)
        return mean_KP

    def failed_at(self) -> list[int]:
        """The first step at which a gradient of each fit was not finite, 0 where there was none.

        Rows of such a fit mean nothing any more; those of the others are untouched. One wait for the device.
        """
        return self._failed_K.tolist()

    def step(self, learning_rate: float) -> None:
        """Applies the gradients gathered since the last step and empties them. `learning_rate` may be 0."""
        self.steps += 1
        for fit, tau in enumerate(self.taus):
            if self._fixed_mean and math.isinf(tau):
                self._gradient_KDP[fit].zero_()
                continue
            if self._by_kernel:
                from bora_trainer import card_update  # where `run_on` said so, and nowhere else

                card_update.advance(*self._tensors_and_step(fit, learning_rate), self._failed_K[fit : fit + 1])
                continue
            if self._fused:
                finite = fused_update.advance(*self._tensors_and_step(fit, learning_rate))
            else:
                finite = self._gradient_KDP[fit].sum().isfinite()
                for columns in self._blocks():
                    self._advance(fit, columns, learning_rate)
            if finite is not True:  # a tensor is never True: it is taken over unseen, as to look at it is to wait
                first_failure = (self._failed_K[fit] == 0) & ~torch.as_tensor(finite)
                self._failed_K[fit].masked_fill_(first_failure, self.steps)

    def discard_gradient(self) -> None:
        """Forgets what was gathered since the last step."""
        self._gradient_KDP.zero_()

    def keep(self, fits: Sequence[int]) -> None:
        """Lets all other fits leave; what stays, gradients in hand included, keeps its bits, in the order given."""
        index = torch.tensor(list(fits), dtype=torch.int64, device=self._mean_KP.device)
        self.taus = tuple(self.taus[fit] for fit in fits)
        self._failed_K = self._failed_K.index_select(0, index)
        for name in _BY_FIT:  # one buffer at a time, so that at most one exists twice
            setattr(self, name, getattr(self, name).index_select(0, index))
        self._mean_moments_2KP = self._mean_moments_2KP.index_select(1, index)

    def state(self) -> dict[str, Tensor]:
        """Everything that a later step depends on, as references; a non-zero gradient in hand is not part of it."""
        return {
            "steps": torch.tensor(self.steps, dtype=torch.int64),
            "mean": self._mean_KP,
            "mean_moments": self._mean_moments_2KP,
            "offset": self._offset_KDP,
            "first_moment": self._first_KDP,
            "second_moment": self._second_KDP,
        }

    def load(self, state: dict[str, Tensor]) -> None:
        """Takes over what `state` gave, bit for bit; ValueError when names or shapes differ."""
        own = self.state()
        for name, tensor in own.items():
            if name not in state or state[name].shape != tensor.shape or state[name].dtype != tensor.dtype:
                raise ValueError(f"optimiser state {name!r} is missing or is not {tensor.dtype} {list(tensor.shape)}")
        for name, tensor in own.items():
            tensor.copy_(state[name])
        self.steps = int(state["steps"])
        self._gradient_KDP.zero_()
        torch.add(self._offset_KDP, self._mean_KP[:, None, :], out=self._rows_KDP)

    def _blocks(self) -> list[slice]:
        weights = self._mean_KP.shape[1]
        width = weights
        if self._prior.separable and self._mean_KP.device.type == "cpu":
            width = max(8, _WEIGHTS_A_BLOCK // self.tasks // 8 * 8)
        return [slice(start, min(start + width, weights)) for start in range(0, weights, width)]

    def _tensors_and_step(self, fit: int, learning_rate: float) -> tuple[fused_update.Fit, fused_update.Step]:
        """What one step of one fit reads and writes, and how it is taken."""
        rates_P = self._relative_rates_P
        tensors = fused_update.Fit(
            self._offset_KDP[fit], self._first_KDP[fit], self._second_KDP[fit], self._gradient_KDP[fit],
            self._rows_KDP[fit], self._mean_KP[fit], self._mean_moments_2KP[0, fit], self._mean_moments_2KP[1, fit],
            rates_P if rates_P is not None else self._mean_KP.new_empty(0),
        )  # fmt: skip
        return tensors, fused_update.Step(
            self.taus[fit], learning_rate, self._loss_scale, self._betas, self._epsilon, self.steps,
            self._fixed_mean,
        )  # fmt: skip

    def _advance(self, fit: int, columns: slice, learning_rate: float) -> None:
        """One step of one fit on one block of columns."""
        tau = self.taus[fit]
        rate: Strength = learning_rate
        if self._relative_rates_P is not None:
            rate = self._relative_rates_P[columns] * learning_rate
        gradient_DC = self._gradient_KDP[fit, :, columns].mul_(self._loss_scale)
        offset_DC = self._offset_KDP[fit, :, columns]
        mean_C = self._mean_KP[fit, columns]
        if tau == 0:
            self._adam(gradient_DC, fit, columns)
            offset_DC.sub_(gradient_DC.mul_(rate))
        elif math.isinf(tau):
            self._move_mean(sum_over_tasks(gradient_DC), fit, columns, rate, weight=1.0)
        else:
            pull_C = sum_over_tasks(gradient_DC)
            curvature_DC = self._adam(gradient_DC, fit, columns)
            offset_DC.sub_(gradient_DC.mul_(rate))
            shrink_DC = self._prior.shrink(offset_DC, curvature_DC, rate * (self._loss_scale * tau))
            offset_DC.mul_(shrink_DC)
            if not self._fixed_mean:
                weight_C = 1 - sum_over_tasks(shrink_DC) / self.tasks
                self._move_mean(pull_C, fit, columns, rate, weight_C)
                self._prior.recentre_(offset_DC, mean_C, self._initial_KP[fit, columns], tau, self._tau0)
        torch.add(offset_DC, mean_C, out=self._rows_KDP[fit, :, columns])
        gradient_DC.zero_()

    def _adam(self, gradient_DC: Tensor, fit: int, columns: slice) -> Tensor:
        first_DC, second_DC = self._first_KDP[fit, :, columns], self._second_KDP[fit, :, columns]
        return adam_direction_(gradient_DC, first_DC, second_DC, self._betas, self._epsilon, self.steps)

    def _move_mean(self, pull_C: Tensor, fit: int, columns: slice, rate: Strength, weight: Strength) -> None:
        """Theta's own Adam step, and its own proximal step toward its start, both times `weight`."""
        mean_C = self._mean_KP[fit, columns]
        first_C, second_C = self._mean_moments_2KP[:, fit, columns]
        curvature_C = adam_direction_(pull_C, first_C, second_C, self._betas, self._epsilon, self.steps)
        mean_C.sub_(pull_C.mul_(rate).mul_(weight))
        if self._tau0 > 0:
            initial_C = self._initial_KP[fit, columns]
            strength = weight * rate * (self._loss_scale * self._tau0)
            mean_C.sub_(initial_C).mul_(curvature_C / (curvature_C + strength)).add_(initial_C)


def adam_direction_(
    gradient: Tensor, first: Tensor, second: Tensor, betas: tuple[float, float], epsilon: float, steps: int
) -> Tensor:
    """Updates both moments in place, turns `gradient` into Adam's direction mhat / curvature, returns the curvature.

    curvature = sqrt(vhat) + epsilon. Every operation rounds once (no fused multiply-add), so the bits depend neither
    on the shape of the block nor on the number of threads.
    """
    beta1, beta2 = betas
    first.mul_(beta1).add_(gradient * (1 - beta1))
    second.mul_(beta2).add_(gradient.square().mul_(1 - beta2))
    curvature = _sqrt_(second.div(1 - beta2**steps)).add_(epsilon)
    torch.div(first, 1 - beta1**steps, out=gradient)
    gradient.div_(curvature)
    return curvature


def _sqrt_(values: Tensor) -> Tensor:
    """In place. On a CPU by numpy, which rounds correctly: torch's is one unit off in a fifth of all cases."""
    if values.device.type != "cpu":
        return values.sqrt_()
    np.sqrt(values.numpy(), out=values.numpy())
    return values
