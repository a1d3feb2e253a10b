"""The published code's prior: tau times the norm of each tensor's offset. docs/method.md section 10."""

from __future__ import annotations

import math

import pytest
import quadratic
import torch
from quadratic import optimiser, train

from bora_trainer.prior import GroupLaplace

LENGTHS = (5, 1, 6)
WEIGHTS = sum(LENGTHS)


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def norms(rows_DP: torch.Tensor) -> torch.Tensor:
    return torch.stack([part.norm(dim=1) for part in rows_DP.split(LENGTHS, dim=1)], dim=1)


def test_prox_with_equal_curvature_shrinks_each_norm_by_a_constant():
    proposal_DP, curvature, strength = draw(4, WEIGHTS), 2.5, 3.0
    shrink_DP = GroupLaplace(LENGTHS).shrink(proposal_DP, torch.full_like(proposal_DP, curvature), strength)
    expected_DS = (norms(proposal_DP) - strength / curvature).clamp_min(0)
    assert int((expected_DS == 0).sum()) >= 2
    torch.testing.assert_close(norms(proposal_DP * shrink_DP), expected_DS, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("strength", [1e-6, 0.3, 3.0, 100.0])
def test_prox_satisfies_the_optimality_condition_for_any_curvature(strength):
    proposal_DP, curvature_DP = draw(6, WEIGHTS), (2 * draw(6, WEIGHTS, seed=1)).exp()
    moved_DP = proposal_DP * GroupLaplace(LENGTHS).shrink(proposal_DP, curvature_DP.clone(), strength)
    force_DP = curvature_DP * (proposal_DP - moved_DP)
    parts = zip(
        *(tensor.split(LENGTHS, dim=1) for tensor in (moved_DP, force_DP, curvature_DP * proposal_DP)), strict=True
    )
    for moved, force, pull in parts:
        for row in range(len(moved)):
            norm = float(moved[row].norm())
            if norm == 0:
                assert float(pull[row].norm()) <= strength * (1 + 1e-9)
            else:
                torch.testing.assert_close(force[row], strength * moved[row] / norm, rtol=1e-4, atol=strength * 1e-5)


def test_prox_with_curvatures_many_orders_apart_is_finite_in_single_precision():
    proposal_DP = draw(4, WEIGHTS).float() * torch.logspace(-12, 2, WEIGHTS)
    curvature_DP = torch.logspace(-12, 1, WEIGHTS).repeat(4, 1)
    for strength in (0.0, 1e-12, 1e-3, 1e6):
        shrink_DP = GroupLaplace(LENGTHS).shrink(proposal_DP.clone(), curvature_DP.clone(), strength)
        assert bool(((shrink_DP >= 0) & (shrink_DP <= 1)).all()), strength


def test_recentring_finds_the_geometric_median():
    """Points whose mean is (2.75, 2.75) and whose geometric median is (0.5, 0.5)."""
    rows_DP = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [10.0, 10.0]], dtype=torch.float64)
    prior, mean_P = GroupLaplace([2]), rows_DP.mean(dim=0)
    assert mean_P.tolist() == [2.75, 2.75]
    offset_DP, cost = rows_DP - mean_P, math.inf
    for _ in range(500):
        prior.recentre_(offset_DP, mean_P, mean_P.clone(), 1.0, 0.0)
        now = float(prior.nats(offset_DP, 1.0))
        assert now <= cost + 1e-12
        cost = now
    torch.testing.assert_close(mean_P, torch.full_like(mean_P, 0.5), rtol=0, atol=1e-3)
    torch.testing.assert_close(offset_DP + mean_P, rows_DP, rtol=0, atol=1e-12)


@pytest.mark.parametrize("tau0", [0.0, 2.0])
def test_recentring_never_raises_the_objective_and_leaves_the_rows(tau0):
    prior, tau = GroupLaplace(LENGTHS), 3.0
    for seed in range(20):
        offset_DP, mean_P, initial_P = draw(4, WEIGHTS, seed=seed), draw(WEIGHTS, seed=50), draw(WEIGHTS, seed=99)
        offset_DP[seed % 4, : LENGTHS[0]] = 0
        offset_DP[:, LENGTHS[0]] = 0

        def cost(offset_DP=offset_DP, mean_P=mean_P, initial_P=initial_P) -> float:
            return float(prior.nats(offset_DP, tau)) + tau0 / 2 * float((mean_P - initial_P).square().sum())

        for _ in range(10):
            before, rows_DP = cost(), offset_DP + mean_P
            prior.recentre_(offset_DP, mean_P, initial_P, tau, tau0)
            assert cost() <= before + 1e-12
            torch.testing.assert_close(offset_DP + mean_P, rows_DP, rtol=0, atol=1e-14)


def test_recentring_stays_where_the_tasks_that_share_a_tensor_outweigh_the_others():
    offset_DP, mean_P = draw(5, WEIGHTS), draw(WEIGHTS)
    offset_DP[1:4, :5] = 0
    before, means = offset_DP.clone(), mean_P.clone()
    GroupLaplace(LENGTHS).recentre_(offset_DP, mean_P, mean_P.clone(), 1.0, 0.0)
    assert torch.equal(offset_DP[:, :5], before[:, :5]) and torch.equal(mean_P[:5], means[:5])
    assert not torch.equal(mean_P[5:], means[5:])


def test_optimum_is_stationary_and_pools_exactly_where_gradients_are_shorter_than_tau():
    problem = quadratic.full()
    taus = (0.5, 5.0, 40.0)
    adam = train(problem, optimiser(problem, *taus, prior=GroupLaplace(LENGTHS)), steps=2200)
    pooled = [norms(offset_DP) == 0 for offset_DP in adam.offset_KDP]
    for fit, tau in enumerate(taus):
        gradient_DP = problem.gradient(adam.rows_KDP[fit])
        parts = (adam.offset_KDP[fit].split(LENGTHS, dim=1), gradient_DP.split(LENGTHS, dim=1), pooled[fit].T)
        for offset, gradient, shared in zip(*parts, strict=True):
            unit = offset[~shared] / offset[~shared].norm(dim=1, keepdim=True)
            torch.testing.assert_close(gradient[~shared], -tau * unit, rtol=0, atol=0.03 * tau)
            assert bool((gradient[shared].norm(dim=1) <= tau * 1.02).all())
        assert float(gradient_DP.sum(dim=0).abs().max()) < 0.05 * tau  # moving Theta gains nothing either
    counts = [int(shared.sum()) for shared in pooled]
    assert 0 <= counts[0] < counts[1] < counts[2]


def test_both_limits_are_those_of_the_gaussian():
    problem = quadratic.full()
    for tau in (0.0, math.inf):
        laplace = train(problem, optimiser(problem, tau, prior=GroupLaplace(LENGTHS)), steps=50)
        gaussian = train(problem, optimiser(problem, tau), steps=50)
        assert torch.equal(laplace.rows_GP, gaussian.rows_GP)
