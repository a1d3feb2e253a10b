"""Theta known: every task is MAP under N(Theta, I / tau) by itself, at every tau, and Theta never moves."""

from __future__ import annotations

import math

import pytest
import quadratic
import torch
from quadratic import TAUS, Quadratic, optimiser, train

from bora_trainer.prior import GroupLaplace


def known_mean(problem: Quadratic) -> torch.Tensor:
    """Away from where a learnt Theta would be."""
    return torch.linspace(-1, 1, problem.optimum_DP.shape[1], dtype=torch.float64)


def solution(problem: Quadratic, mean_P: torch.Tensor, tau: float) -> torch.Tensor:
    """theta_d = (H_d + tau I)^-1 (H_d b_d + tau Theta). docs/method.md, section 9."""
    if math.isinf(tau):
        return mean_P.expand_as(problem.optimum_DP)
    eye = torch.eye(len(mean_P), dtype=mean_P.dtype)
    data_DP = torch.einsum("dij,dj->di", problem.curvature_DPP, problem.optimum_DP)
    return torch.linalg.solve(problem.curvature_DPP + tau * eye, data_DP + tau * mean_P)


def fixed(problem: Quadratic, *taus: float, **options):
    mean_P = known_mean(problem)
    return optimiser(problem, *taus, initial_KP=mean_P.repeat(len(taus), 1), fixed_mean=True, **options)


@pytest.mark.parametrize("make", [quadratic.full, quadratic.diagonal], ids=["full", "diagonal"])
def test_optimum_equals_the_closed_form_for_every_tau(make):
    problem = make()
    adam = train(problem, fixed(problem, *TAUS))
    for fit, tau in enumerate(TAUS):
        error = (adam.rows_KDP[fit] - solution(problem, known_mean(problem), tau)).abs().max()
        assert float(error) <= 1e-3, tau


def test_a_learnt_mean_ends_elsewhere():
    """The oracle can tell: where Theta is learnt, the same start leads to other rows."""
    problem = quadratic.full()
    learnt = train(problem, optimiser(problem, 1e3, initial_KP=known_mean(problem)[None]))
    assert float((learnt.rows_KDP[0] - solution(problem, known_mean(problem), 1e3)).abs().max()) > 0.1


def test_theta_stays_bit_for_bit_and_so_do_the_rows_at_infinity():
    problem = quadratic.full()
    adam = train(problem, fixed(problem, *TAUS), steps=50)
    mean_P = known_mean(problem)
    for fit in range(len(TAUS)):
        assert torch.equal(adam.prior_mean_KP[fit], mean_P), TAUS[fit]
    assert torch.equal(adam.rows_KDP[-1], mean_P.expand_as(problem.optimum_DP))


def test_tau_0_is_the_same_as_with_a_mean_that_is_learnt():
    problem = quadratic.full()
    start_P = known_mean(problem)
    apart, known = (
        train(problem, optimiser(problem, 0.0, initial_KP=start_P[None], fixed_mean=is_fixed), steps=50)
        for is_fixed in (False, True)
    )
    assert torch.equal(apart.rows_GP, known.rows_GP)


def test_a_task_without_data_is_theta_itself():
    problem = quadratic.full()
    blind = Quadratic(problem.curvature_DPP.clone(), problem.optimum_DP)
    blind.curvature_DPP[3] = 0
    adam = train(blind, fixed(blind, 1.0, 1e3), steps=50)
    for fit in range(2):
        assert torch.equal(adam.rows_KDP[fit, 3], known_mean(problem))


def test_tasks_do_not_move_each_other():
    """A task's bits are those of a run of its own."""
    problem = quadratic.diagonal()
    together = train(problem, fixed(problem, 1e2), steps=50)
    for task in (0, 5):
        alone = Quadratic(problem.curvature_DPP[task : task + 1], problem.optimum_DP[task : task + 1])
        own = train(alone, fixed(alone, 1e2, loss_scale=problem.loss_scale), steps=50)
        torch.testing.assert_close(own.rows_KDP[0, 0], together.rows_KDP[0, task], rtol=0, atol=1e-13)


@pytest.mark.parametrize("tau", [1e-3, 1.0, 1e6])
def test_the_compiled_update_has_the_bits_of_torchs_operations(tau):
    problem = quadratic.full()
    fast, slow = (train(problem, fixed(problem, tau, plain=plain), steps=40) for plain in (False, True))
    assert torch.equal(fast.rows_GP, slow.rows_GP)
    assert all(torch.equal(a, b) for a, b in zip(fast.state().values(), slow.state().values(), strict=True))


def test_the_group_laplace_prior_pools_at_a_known_mean():
    problem = quadratic.full()
    prior = GroupLaplace([problem.optimum_DP.shape[1]])
    adam = train(problem, fixed(problem, 1e9, prior=prior), steps=50)
    assert torch.equal(adam.rows_KDP[0], known_mean(problem).expand_as(problem.optimum_DP))
