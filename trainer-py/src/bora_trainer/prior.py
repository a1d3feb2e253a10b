"""The hierarchical prior: how strongly it pulls an adapter to the prior mean, and where that mean belongs.

Rows are `theta_d = Theta + delta_d`. A prior knows two things about the offsets `delta`: the factor by which its
exact proximal step shrinks them, and the shift of Theta that costs least while every `theta_d` stays where it is.
Both limits (tau = 0, tau = infinity) are taken by the caller before any of this arithmetic runs.

Shapes: D tasks, P weights a row, C a block of columns of P, S tensors a row. Precisions are in nats per squared
parameter unit (gaussian) or nats per parameter unit (group-laplace). docs/method.md sections 1 and 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

Strength = float | Tensor
"""Learning rate times lambda: a number, or one for each column where learning rates differ."""


class Prior(Protocol):
    """What the optimiser asks of a prior family."""

    separable: bool
    """Whether columns of P can be treated apart from each other, so that a step may run block by block."""

    def shrink(self, proposal_DC: Tensor, curvature_DC: Tensor, strength: Strength) -> Tensor:
        """The factors k [D, C] in [0, 1] for which k * proposal is the exact proximal step in Adam's metric:
        argmin_x  1/2 (x - proposal)' diag(curvature) (x - proposal) + strength * penalty(x).
        May overwrite and return `curvature_DC`."""
        ...

    def recentre_(self, offset_DC: Tensor, mean_C: Tensor, initial_C: Tensor, tau: float, tau0: float) -> None:
        """Moves Theta by a shift that never raises the prior term and takes it off every offset, in place."""
        ...

    def nats(self, offset_DP: Tensor, tau: float) -> Tensor:
        """The prior's part of the objective, for finite tau."""
        ...


def sum_over_tasks(values_DC: Tensor) -> Tensor:
    """[D, C] -> [C]. On a CPU task after task: torch.sum adds in an order that depends on C and the threads."""
    if values_DC.device.type != "cpu":
        return values_DC.sum(dim=0)
    total_C = values_DC[0].clone()
    for value_C in values_DC[1:]:
        total_C.add_(value_C)
    return total_C


class Gaussian:
    """theta_d ~ N(Theta, I / tau): penalty tau/2 |delta_d|^2."""

    separable = True

    def shrink(self, proposal_DC: Tensor, curvature_DC: Tensor, strength: Strength) -> Tensor:
        # The one place where tau divides. In this form strength = 0 gives exactly 1 and an overflow exactly 0.
        return curvature_DC.div_(curvature_DC + strength)

    def recentre_(self, offset_DC: Tensor, mean_C: Tensor, initial_C: Tensor, tau: float, tau0: float) -> None:
        if tau0 == 0:
            shift_C = sum_over_tasks(offset_DC).div_(len(offset_DC))
        else:
            precision = len(offset_DC) * tau + tau0
            shift_C = sum_over_tasks(offset_DC) * (tau / precision) - (mean_C - initial_C) * (tau0 / precision)
        mean_C.add_(shift_C)
        offset_DC.sub_(shift_C)

    def nats(self, offset_DP: Tensor, tau: float) -> Tensor:
        return offset_DP.double().square().sum() * (tau / 2)


class GroupLaplace:
    """p(theta_d) ∝ exp(-tau sum_s |delta_ds|_F) over the tensors s of a row, as the published code has it.

    A tensor whose gradient is shorter than tau is pooled exactly, and Theta is the tasks' geometric median instead
    of their mean (docs/method.md section 10).
    """

    separable = False

    def __init__(self, lengths: Sequence[int]) -> None:
        """`lengths`: the number of weights of each tensor, in the order of a row; they add up to P."""
        self._lengths = torch.tensor(lengths, dtype=torch.int64)

    def shrink(self, proposal_DC: Tensor, curvature_DC: Tensor, strength: Strength) -> Tensor:
        """x = k * proposal with k = rho / (rho + strength/curvature), rho = |x|_F of each tensor.

        rho is the root of |proposal / (rho + strength/curvature)| = 1, found by Newton's method on the reciprocal of
        that norm, which is concave in rho: from below the iterates rise to the root and never pass it. They begin
        where no single coordinate exceeds 1, so that nothing overflows. Where the norm is below 1 at rho = 0 the
        tensor is pooled.
        """
        tiny = torch.finfo(proposal_DC.dtype).tiny
        if not bool(torch.as_tensor(strength > 0).all()):  # learning rate 0: nothing moves, the prior included
            return curvature_DC.fill_(1)
        stiffness_DP = curvature_DC.reciprocal_().mul_(strength).clamp_min_(tiny)
        rho_DS = self._reduce(proposal_DC.abs() - stiffness_DP, "max").clamp_min_(0)
        for _ in range(_NEWTON_STEPS):
            widened_DP = stiffness_DP + self._spread(rho_DS)
            unit_DP = (proposal_DC / widened_DP).square_()
            norm_DS = self._reduce(unit_DP, "sum").sqrt_()
            slope_DS = self._reduce(unit_DP.div_(widened_DP), "sum").clamp_min_(tiny)
            rise_DS = ((norm_DS - 1) * norm_DS.square() / slope_DS).clamp_min_(0)
            rho_DS += rise_DS
            if bool((rise_DS <= _NEWTON_TOLERANCE * rho_DS).all()):
                break
        rho_DP = self._spread(rho_DS)
        return stiffness_DP.add_(rho_DP).reciprocal_().mul_(rho_DP)

    def recentre_(self, offset_DC: Tensor, mean_C: Tensor, initial_C: Tensor, tau: float, tau0: float) -> None:
        """One step of Weiszfeld's algorithm toward the geometric median of each tensor over the tasks.

        It minimises a parabola that touches the objective from above; the tasks that share the tensor exactly
        (offset 0) keep their norm in it, which holds Theta back, and altogether when they outweigh the others.
        """
        tiny = torch.finfo(offset_DC.dtype).tiny
        norm_DS = self._reduce(offset_DC.square(), "sum").sqrt_()
        apart_DS = norm_DS > 0
        pull_DS = torch.where(apart_DS, tau / norm_DS, 0)
        force_C = sum_over_tasks(offset_DC * self._spread(pull_DS))
        if tau0 > 0:
            force_C -= (mean_C - initial_C) * tau0
        held_S = tau * (~apart_DS).sum(dim=0)
        force_S = self._reduce(force_C.square()[None], "sum")[0].sqrt_().clamp_min_(tiny)
        precision_S = (pull_DS.sum(dim=0) + tau0).clamp_min_(tiny)
        share_S = (1 - held_S / force_S).clamp_min_(0) / precision_S
        shift_C = force_C.mul_(self._spread(share_S[None])[0])
        mean_C.add_(shift_C)
        offset_DC.sub_(shift_C)

    def nats(self, offset_DP: Tensor, tau: float) -> Tensor:
        return self._reduce(offset_DP.double().square(), "sum").sqrt_().sum() * tau

    def _reduce(self, values_DP: Tensor, how: str) -> Tensor:
        """The sum or the maximum over each tensor of a row: [D, P] -> [D, S]."""
        rows = len(values_DP)
        lengths = self._lengths.to(values_DP.device).repeat(rows)
        return torch.segment_reduce(values_DP.reshape(-1), how, lengths=lengths).view(rows, -1)

    def _spread(self, values_DS: Tensor) -> Tensor:
        """Gives every weight the value of its tensor: [D, S] -> [D, P]."""
        lengths = self._lengths.to(values_DS.device)
        return values_DS.repeat_interleave(lengths, dim=1, output_size=int(self._lengths.sum()))


_NEWTON_STEPS = 50
_NEWTON_TOLERANCE = 1e-6
