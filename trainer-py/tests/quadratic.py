"""Tasks whose negative log-likelihood is quadratic, so that the optimum is known in closed form.

NLL_d(theta) = 1/2 (theta - b_d)' H_d (theta - b_d). docs/method.md section 4.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from bora_trainer.hierarchical_adam import HierarchicalAdam

TAUS = (0.0, 1e-3, 1.0, 1e3, 1e6, math.inf)


@dataclass(frozen=True)
class Quadratic:
    curvature_DPP: Tensor
    optimum_DP: Tensor

    @property
    def tasks(self) -> int:
        return len(self.optimum_DP)

    @property
    def loss_scale(self) -> float:
        """c = D / T, the size of a task's data standing in for its tokens."""
        return self.tasks / float(self.curvature_DPP.diagonal(dim1=1, dim2=2).mean(dim=1).sum())

    def gradient(self, rows_DP: Tensor) -> Tensor:
        """For rows [D, P], or [K, D, P] of K fits at once."""
        return (self.curvature_DPP @ (rows_DP - self.optimum_DP)[..., None])[..., 0]

    def nats(self, rows_DP: Tensor) -> Tensor:
        return (self.gradient(rows_DP) * (rows_DP - self.optimum_DP)).sum(dim=-1) / 2

    def solution(self, tau: float, tau0: float = 0.0, initial_P: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The exact rows [D, P] and Theta [P], by one linear system in all unknowns."""
        tasks, weights = self.optimum_DP.shape
        data_DP = torch.einsum("dij,dj->di", self.curvature_DPP, self.optimum_DP)
        initial_P = torch.zeros(weights, dtype=data_DP.dtype) if initial_P is None else initial_P
        eye = torch.eye(weights, dtype=data_DP.dtype)
        if math.isinf(tau):
            mean_P = torch.linalg.solve(
                self.curvature_DPP.sum(dim=0) + tau0 * eye, data_DP.sum(dim=0) + tau0 * initial_P
            )
            return mean_P.expand(tasks, weights), mean_P
        if tau == 0:
            rows_DP = torch.linalg.solve(self.curvature_DPP, data_DP)
            return rows_DP, rows_DP.mean(dim=0)
        inverse_DPP = torch.linalg.inv(self.curvature_DPP + tau * eye)
        own_DP = torch.einsum("dij,dj->di", inverse_DPP, data_DP)
        left_PP = (tasks * tau + tau0) * eye - tau * tau * inverse_DPP.sum(dim=0)
        mean_P = torch.linalg.solve(left_PP, tau * own_DP.sum(dim=0) + tau0 * initial_P)
        return own_DP + tau * torch.einsum("dij,j->di", inverse_DPP, mean_P), mean_P


def full(tasks: int = 8, weights: int = 12, seed: int = 0) -> Quadratic:
    """Full curvatures that grow from 5 to 500 over the tasks, as if their data did."""
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)  # noqa: E731
    factor = draw(tasks, weights, weights)
    sizes = torch.logspace(math.log10(5), math.log10(500), tasks, dtype=torch.float64)
    curvature = factor @ factor.mT / weights + 0.1 * torch.eye(weights, dtype=torch.float64)
    optimum = draw(1, weights) + 0.3 * draw(tasks, weights)
    return Quadratic(sizes[:, None, None] * curvature, optimum)


def diagonal() -> Quadratic:
    tasks = full()
    return Quadratic(torch.diag_embed(tasks.curvature_DPP.diagonal(dim1=1, dim2=2)), tasks.optimum_DP)


def singular() -> Quadratic:
    """Every task is blind to half of its directions, but together they see all."""
    tasks = full()
    values, vectors = torch.linalg.eigh(tasks.curvature_DPP)
    values[:, : values.shape[1] // 2] = 0
    return Quadratic(vectors @ torch.diag_embed(values) @ vectors.mT, tasks.optimum_DP)


def hand_case() -> Quadratic:
    curvature = torch.tensor([1.0, 3.0], dtype=torch.float64)[:, None, None]
    return Quadratic(curvature, torch.tensor([[0.0], [4.0]], dtype=torch.float64))


def optimiser(problem: Quadratic, *taus: float, initial_KP: Tensor | None = None, **options) -> HierarchicalAdam:
    weights = problem.optimum_DP.shape[1]
    if initial_KP is None:
        initial_KP = torch.zeros(len(taus), weights, dtype=torch.float64)
    settings = {"loss_scale": problem.loss_scale, "betas": (0.9, 0.999), "epsilon": 1e-12} | options
    return HierarchicalAdam(initial_KP, taus, problem.tasks, **settings)


def cosine(rate: float, steps: int) -> Callable[[int], float]:
    return lambda step: rate * (1 + math.cos(math.pi * step / steps)) / 2


def train(problem: Quadratic, adam: HierarchicalAdam, steps: int = 4000, rate: float = 0.02) -> HierarchicalAdam:
    """Exact gradients, learning rate decayed to 0."""
    schedule = cosine(rate, steps)
    for step in range(1, steps + 1):
        adam.gradient_GP.add_(problem.gradient(adam.rows_KDP).flatten(0, 1))
        adam.step(schedule(step))
    return adam
