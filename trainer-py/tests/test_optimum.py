"""The optimiser ends where the closed form says, whatever the learning rate, the scale or the prior precision."""

from __future__ import annotations

import math

import pytest
import quadratic
import torch
from quadratic import TAUS, Quadratic, optimiser, train

from bora_trainer.objective import negative_log_joint
from bora_trainer.prior import Gaussian


def error(problem: Quadratic, adam, fit: int = 0, **solution_options) -> float:
    rows_DP, mean_P = problem.solution(adam.taus[fit], **solution_options)
    found_DP = adam.rows_KDP[fit]
    return max(float((found_DP - rows_DP).abs().max()), float((adam.prior_mean_KP[fit] - mean_P).abs().max()))


@pytest.mark.parametrize("make", [quadratic.full, quadratic.diagonal], ids=["full", "diagonal"])
def test_optimum_equals_the_closed_form_for_every_tau(make):
    problem = make()
    adam = train(problem, optimiser(problem, *TAUS))
    for fit in range(len(TAUS)):
        assert error(problem, adam, fit) <= 1e-3, TAUS[fit]


def joint(problem: Quadratic, rows_DP: torch.Tensor, tau: float) -> float:
    """J with Theta where it costs least, at the mean of the rows."""
    mean_P = rows_DP.mean(dim=0)
    offset_DP = torch.zeros_like(rows_DP) if math.isinf(tau) else rows_DP - mean_P
    return negative_log_joint(problem.nats(rows_DP), Gaussian(), offset_DP, tau, mean_P)


def test_optimum_with_singular_curvature_is_reached_in_the_objective_and_in_stationarity():
    problem = quadratic.singular()
    taus = TAUS[1:]  # at tau = 0 the optimum is a plane; otherwise it is unique, as the tasks together see everything
    adam = train(problem, optimiser(problem, *taus))
    for fit, tau in enumerate(taus):
        rows_DP = adam.rows_KDP[fit]
        start, best = joint(problem, torch.zeros_like(rows_DP), tau), joint(problem, problem.solution(tau)[0], tau)
        assert -1e-9 < (joint(problem, rows_DP, tau) - best) / (start - best) < 1e-4, tau
        pull_P, start_P = (problem.gradient(rows).sum(dim=0) for rows in (rows_DP, torch.zeros_like(rows_DP)))
        assert float(pull_P.abs().max() / start_P.abs().max()) < 1e-3, tau
    blind = train(problem, optimiser(problem, 0.0))
    assert float(problem.nats(blind.rows_KDP[0]).sum()) < 1e-6


@pytest.mark.parametrize(
    ("tau", "rows", "mean", "objective"),
    [
        (0.0, (0, 4), 2, 0),
        (1.0, (1.2, 3.6), 2.4, 2.4),
        (3.0, (2, 10 / 3), 8 / 3, 4),
        (math.inf, (3, 3), 3, 6),
    ],
)
def test_hand_case(tau, rows, mean, objective):
    problem = quadratic.hand_case()
    adam = train(problem, optimiser(problem, tau))
    assert adam.rows_GP.flatten().tolist() == pytest.approx(rows, abs=1e-3)
    assert adam.prior_mean_KP.item() == pytest.approx(mean, abs=1e-3)
    assert joint(problem, adam.rows_KDP[0], tau) == pytest.approx(objective, abs=1e-3)


@pytest.mark.parametrize("tau", [1e-3, 1.0, 1e3, math.inf])
@pytest.mark.parametrize("tau0", [1e-2, 1.0, 100.0])
def test_optimum_with_a_hyperprior_on_the_mean(tau, tau0):
    problem = quadratic.full()
    start_P = torch.linspace(-1, 1, problem.optimum_DP.shape[1], dtype=torch.float64)
    adam = train(problem, optimiser(problem, tau, initial_KP=start_P[None], tau0=tau0))
    assert error(problem, adam, tau0=tau0, initial_P=start_P) <= 1e-3


def test_hand_case_with_a_hyperprior_weighs_the_pull_as_the_step():
    problem = quadratic.hand_case()
    adam = train(problem, optimiser(problem, 1.0, tau0=1.0), steps=8000)
    assert adam.prior_mean_KP.item() == pytest.approx(4 / 3, abs=1e-3)  # without the weight: 1.1402


def test_prior_mean_is_the_mean_of_the_rows():
    problem = quadratic.full()
    adam = train(problem, optimiser(problem, *TAUS), steps=50)
    torch.testing.assert_close(adam.prior_mean_KP, adam.rows_KDP.mean(dim=1), rtol=0, atol=1e-14)


@pytest.mark.parametrize("rate", [1e-2, 2e-2, 8e-2])
def test_optimum_does_not_move_with_the_learning_rate(rate):
    problem = quadratic.full()
    adam = train(problem, optimiser(problem, 1.0, 1e3), steps=4000, rate=rate)
    assert max(error(problem, adam, fit) for fit in range(2)) <= 1e-3


@pytest.mark.parametrize("factor", [0.1, 10.0])
def test_optimum_does_not_move_with_the_loss_scale(factor):
    problem = quadratic.full()
    adam = train(problem, optimiser(problem, 1.0, 1e3, loss_scale=problem.loss_scale * factor))
    assert max(error(problem, adam, fit) for fit in range(2)) <= 1e-3


def test_optimum_does_not_move_with_a_learning_rate_ratio_between_weights():
    problem = quadratic.full()
    ratio_P = torch.ones(problem.optimum_DP.shape[1], dtype=torch.float64)
    ratio_P[6:] = 16.0
    adam = train(problem, optimiser(problem, 1.0, 1e3, relative_rates_P=ratio_P), rate=5e-3)
    assert max(error(problem, adam, fit) for fit in range(2)) <= 1e-3


def test_trajectory_does_not_depend_on_the_loss_scale():
    problem = quadratic.full()
    plain, scaled = (
        optimiser(problem, *TAUS, loss_scale=problem.loss_scale * factor, epsilon=0.0) for factor in (1.0, 10.0)
    )
    train(problem, plain, steps=200)
    train(problem, scaled, steps=200)
    torch.testing.assert_close(plain.rows_GP, scaled.rows_GP, rtol=0, atol=1e-10)
    torch.testing.assert_close(plain.prior_mean_KP, scaled.prior_mean_KP, rtol=0, atol=1e-10)


def decoupled_decay(problem: Quadratic, decay: float, steps: int, centre_P: torch.Tensor | None = None):
    """What must not be done: AdamW's decay, toward `centre_P` or the mean of the rows. Returns the rows [D, P]."""
    schedule = quadratic.cosine(0.02, steps)
    rows = torch.zeros_like(problem.optimum_DP)
    first, second = torch.zeros_like(rows), torch.zeros_like(rows)
    for step in range(1, steps + 1):
        gradient = problem.gradient(rows) * problem.loss_scale
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient.square()
        adam = (first / (1 - 0.9**step)) / ((second / (1 - 0.999**step)).sqrt() + 1e-12)
        centre = rows.mean(dim=0) if centre_P is None else centre_P
        rows = rows - schedule(step) * (adam + decay * (rows - centre))
    return rows


def test_decoupled_weight_decay_misses_the_optimum():
    problem = quadratic.full()
    rows_DP = decoupled_decay(problem, decay=10.0, steps=4000)
    grid = [10 ** (exponent / 4) for exponent in range(-12, 29)]  # no tau has this as its optimum
    assert min(float((problem.solution(tau)[0] - rows_DP).abs().max()) for tau in grid) > 0.05


def test_decoupled_weight_decay_without_noise_gives_offsets_of_one_over_the_decay():
    """Only the gradient's sign is left of the data: a weight stops at 1 / decay, or at its own optimum if nearer."""
    problem = quadratic.diagonal()
    centre_P = torch.zeros_like(problem.optimum_DP[0])
    rows_DP = decoupled_decay(problem, decay=10.0, steps=20000, centre_P=centre_P)
    torch.testing.assert_close(rows_DP, problem.optimum_DP.clamp(-0.1, 0.1), rtol=0, atol=5e-3)
