"""tau = 0 is separate trainings, tau = infinity one tied adapter, and everything in between joins them continuously."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import quadratic
import torch
from quadratic import TAUS, optimiser, train
from torch import Tensor

from bora_trainer import hierarchical_adam
from bora_trainer.hierarchical_adam import HierarchicalAdam
from bora_trainer.prior import Gaussian, sum_over_tasks

TASKS, WEIGHTS, STEPS, SCALE = 5, 1003, 40, 0.37


def injected() -> Iterator[Tensor]:
    """Gradients [D, P] as if from an engine, of uneven size and the same for everyone who asks."""
    generator = torch.Generator().manual_seed(7)
    for _ in range(STEPS):
        size = torch.logspace(-6, 3, WEIGHTS)
        yield torch.randn(TASKS, WEIGHTS, generator=generator) * size


def initial(fits: int = 1, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(fits, WEIGHTS, generator=torch.Generator().manual_seed(3), dtype=dtype)


def adam(taus: Sequence[float], tasks: int = TASKS, initial_KP: Tensor | None = None, **options) -> HierarchicalAdam:
    start = initial(len(taus)) if initial_KP is None else initial_KP
    return HierarchicalAdam(
        start, taus, tasks, **{"loss_scale": SCALE, "betas": (0.9, 0.999), "epsilon": 1e-12} | options
    )


def run(optimiser: HierarchicalAdam, gradients: Iterator[Tensor], rate: float = 0.01) -> HierarchicalAdam:
    for gradient_DP in gradients:
        optimiser.gradient_GP.add_(gradient_DP.repeat(len(optimiser.taus), 1))
        optimiser.step(rate)
    return optimiser


def plain_adam(start: Tensor, gradients: Iterator[Tensor], rate: float = 0.01) -> Tensor:
    """Adam on one vector, written from the paper; the weights are kept as a change from where they began."""
    change, first, second = (torch.zeros_like(start) for _ in range(3))
    for step, gradient in enumerate(gradients, start=1):
        first = first * 0.9 + gradient * (1 - 0.9)
        second = second * 0.999 + gradient * gradient * (1 - 0.999)
        change = change - first / (1 - 0.9**step) / (_root(second / (1 - 0.999**step)) + 1e-12) * rate
    return start + change


def _root(values: Tensor) -> Tensor:
    """Correctly rounded, which torch's own for CPUs is not."""
    return torch.from_numpy(np.sqrt(values.numpy()))


def test_tau_zero_is_separate_trainings_bit_for_bit():
    together = run(adam([0.0]), injected())
    for task in range(TASKS):
        alone = run(adam([0.0], tasks=1), (gradient[task : task + 1] for gradient in injected()))
        assert torch.equal(together.rows_GP[task], alone.rows_GP[0])
        separate = plain_adam(initial()[0], (gradient[task] * SCALE for gradient in injected()))
        assert torch.equal(together.rows_GP[task], separate)


def test_tau_infinity_is_one_tied_adapter_bit_for_bit():
    together = run(adam([math.inf]), injected())
    tied = run(adam([math.inf], tasks=1, loss_scale=1.0), (sum_over_tasks(g * SCALE)[None] for g in injected()))
    for task in range(TASKS):
        assert torch.equal(together.rows_GP[task], tied.rows_GP[0])
    assert torch.equal(together.prior_mean_KP[0], tied.rows_GP[0])


def test_tau_infinity_follows_plain_adam_on_the_summed_gradient():
    together = run(adam([math.inf], initial_KP=initial(dtype=torch.float64)), (g.double() for g in injected()))
    tied = plain_adam(initial(dtype=torch.float64)[0], ((g.double() * SCALE).sum(dim=0) for g in injected()))
    torch.testing.assert_close(together.rows_GP[0], tied, rtol=0, atol=1e-12)


def test_fits_trained_at_once_equal_each_trained_alone_bit_for_bit():
    starts = initial(len(TAUS))
    together = run(adam(TAUS, initial_KP=starts), injected())
    for fit, tau in enumerate(TAUS):
        alone = run(adam([tau], initial_KP=starts[fit : fit + 1]), injected())
        assert torch.equal(together.rows_KDP[fit], alone.rows_KDP[0])
        assert torch.equal(together.prior_mean_KP[fit], alone.prior_mean_KP[0])


@pytest.mark.parametrize("block", [8 * TASKS, 200 * TASKS])
def test_blocks_of_columns_do_not_change_the_bits(block, monkeypatch):
    whole = run(adam(TAUS, plain=True), injected())
    monkeypatch.setattr(hierarchical_adam, "_WEIGHTS_A_BLOCK", block)
    blocks = run(adam(TAUS, plain=True), injected())
    assert torch.equal(blocks.rows_GP, whole.rows_GP)
    assert torch.equal(blocks.prior_mean_KP, whole.prior_mean_KP)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("rates", [False, True], ids=["one rate", "a rate for each weight"])
def test_one_pass_over_the_rows_gives_the_bits_of_torchs_operations(dtype, rates):
    start, before = initial(len(TAUS), dtype), torch.get_num_threads()
    options: dict[str, Any] = {"relative_rates_P": torch.linspace(0.5, 16, WEIGHTS, dtype=dtype)} if rates else {}
    gradients = [gradient_DP.to(dtype) for gradient_DP in injected()]
    plain = run(adam(TAUS, initial_KP=start, plain=True, **options), iter(gradients))
    fused = run(adam(TAUS, initial_KP=start, **options), iter(gradients))
    for name, tensor in plain.state().items():
        if name != "first_moment" and name != "second_moment":  # at tau = infinity nobody reads the tasks' own
            assert torch.equal(fused.state()[name], tensor), name
    assert torch.equal(fused.rows_GP, plain.rows_GP)
    assert not fused.gradient_GP.any()
    assert torch.get_num_threads() == before


def test_threads_do_not_change_the_bits():
    generator, weights = torch.Generator().manual_seed(0), 50_003  # enough for torch to share the work out
    gradients = [torch.randn(TASKS, weights, generator=generator) for _ in range(3)]
    start, before, rows = torch.randn(len(TAUS), weights, generator=generator), torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            rows.append(run(adam(TAUS, initial_KP=start), iter(gradients)).rows_GP)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(rows[0], rows[1]) and torch.equal(rows[0], rows[2])


@pytest.mark.parametrize("tasks", [1, 2, 3, 7, 8, 25])
def test_sums_over_tasks_leave_none_out(tasks):
    values_DC = torch.arange(tasks * 3, dtype=torch.float64).view(tasks, 3)
    before = values_DC.clone()
    total_C = sum_over_tasks(values_DC)
    assert torch.equal(total_C, values_DC.sum(dim=0))
    total_C += 1
    assert torch.equal(values_DC, before)


def test_fits_that_leave_do_not_change_the_bits_of_the_others():
    starts = initial(len(TAUS))
    undisturbed = run(adam(TAUS, initial_KP=starts), injected())
    gradients = list(injected())
    shrinking = run(adam(TAUS, initial_KP=starts), iter(gradients[:11]))
    shrinking.keep([0, 2, 4, 5])
    run(shrinking, iter(gradients[11:25]))
    shrinking.keep([1, 3])
    run(shrinking, iter(gradients[25:]))
    assert shrinking.taus == (TAUS[2], TAUS[5])
    for place, fit in enumerate([2, 5]):
        assert torch.equal(shrinking.rows_KDP[place], undisturbed.rows_KDP[fit])
        assert torch.equal(shrinking.prior_mean_KP[place], undisturbed.prior_mean_KP[fit])


def test_a_state_that_is_loaded_goes_on_with_the_same_bits():
    gradients = list(injected())
    undisturbed = run(adam(TAUS), iter(gradients))
    before = run(adam(TAUS), iter(gradients[:17]))
    after = adam(TAUS)
    after.load({name: tensor.clone() for name, tensor in before.state().items()})
    assert torch.equal(after.rows_GP, before.rows_GP)
    run(after, iter(gradients[17:]))
    assert torch.equal(after.rows_GP, undisturbed.rows_GP)
    assert torch.equal(after.prior_mean_KP, undisturbed.prior_mean_KP)


def test_a_state_of_another_shape_is_refused():
    state = adam([1.0]).state()
    with pytest.raises(ValueError, match="optimiser state 'mean'"):
        adam([1.0, 2.0]).load(state)


@pytest.mark.parametrize(("near", "limit"), [(1e-9, 0.0), (1e15, math.inf)])
def test_trajectory_is_continuous_at_both_ends(near, limit):
    problem = quadratic.full(
        seed=1
    )  # seed 0 has a gradient of 2e-6 among ones of 1 to 100: that coordinate pools first
    schedule = quadratic.cosine(0.02, 500)
    both = optimiser(problem, near, limit)
    for step in range(1, 501):
        both.gradient_GP.add_(problem.gradient(both.rows_KDP).flatten(0, 1))
        both.step(schedule(step))
        difference = (both.rows_KDP[0] - both.rows_KDP[1]).abs().max()
        assert float(difference) <= 1e-8, step


def test_a_small_tau_learns_no_faster_than_tau_zero():
    """One step size for every tau: in a finite budget the middle must not win by taking two steps at once."""
    generator = torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)  # noqa: E731
    tasks, weights = 25, 200
    curvature_DP = torch.logspace(0, 2, tasks, dtype=torch.float64)[:, None] * draw(tasks, weights).exp()
    problem = quadratic.Quadratic(torch.diag_embed(curvature_DP), draw(1, weights) + 0.3 * draw(tasks, weights))
    adam = train(problem, optimiser(problem, 0.0, 1e-2), steps=150)
    left_K = problem.nats(adam.rows_KDP).sum(dim=1)
    start = float(problem.nats(torch.zeros_like(problem.optimum_DP)).sum())
    assert 1e-4 < float(left_K[0]) / start < 0.5  # not converged, so that speed shows
    assert float(left_K[1]) == pytest.approx(float(left_K[0]), rel=0.02)


@pytest.mark.parametrize("tau", [1e-9, 1.0, 1e6])
def test_weights_without_any_gradient_pool_for_every_tau_above_zero(tau):
    pooled, independent = adam([tau]), adam([0.0])
    for each in (pooled, independent):
        each.offset_KDP.copy_(torch.linspace(-1, 1, TASKS)[None, :, None].expand_as(each.offset_KDP))
        for _ in range(8000):
            each.step(0.1)
            if tau >= 1.0:
                break
    spread = pooled.rows_KDP.amax(dim=1) - pooled.rows_KDP.amin(dim=1)
    assert float(spread.max()) < 1e-6
    assert torch.equal(independent.offset_KDP[0, 0], torch.full((WEIGHTS,), -1.0))


@pytest.mark.parametrize("rate", [0.0, 1e-2])
def test_a_learning_rate_of_zero_and_gradients_of_zero_give_no_nan(rate):
    optimiser = adam(TAUS)
    before = optimiser.rows_GP.clone()
    for step, gradient_DP in enumerate(injected()):
        if step < 3:  # as the gradient of A while B = 0
            gradient_DP = torch.zeros_like(gradient_DP)
        optimiser.gradient_GP.add_(gradient_DP.repeat(len(TAUS), 1))
        optimiser.step(rate)
    assert bool(optimiser.rows_GP.isfinite().all())
    assert bool(optimiser.prior_mean_KP.isfinite().all())
    if rate == 0:
        torch.testing.assert_close(optimiser.rows_GP, before, rtol=0, atol=0)


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_fit_with_a_gradient_that_is_not_finite_is_named_and_leaves_the_others_alone(plain, bad):
    taus = [1.0, 0.0, math.inf]
    poisoned, healthy = adam(taus, plain=plain), adam(taus, plain=plain)
    for step, gradient_DP in enumerate(injected(), start=1):
        for each in (poisoned, healthy):
            each.gradient_GP.add_(gradient_DP.repeat(3, 1))
        if step in (4, 6):
            poisoned.gradient_GP[TASKS + 2, 11] = bad
        poisoned.step(0.01)
        healthy.step(0.01)
        assert poisoned.failed_at() == [0, 4 if step >= 4 else 0, 0]
        assert healthy.failed_at() == [0, 0, 0]
    assert torch.equal(poisoned.rows_KDP[[0, 2]], healthy.rows_KDP[[0, 2]])
    poisoned.keep([1, 2])
    assert poisoned.failed_at() == [4, 0]


@pytest.mark.parametrize("tau", [0.0, 1.0, math.inf])
def test_a_gradient_that_is_not_finite_is_found_at_every_tau(tau):
    optimiser = adam([tau])
    optimiser.gradient_GP[TASKS - 1, WEIGHTS - 1] = math.nan
    optimiser.step(0.01)
    assert optimiser.failed_at() == [1]


@pytest.mark.parametrize("tau", [1e-3, 1.0, 1e6])
@pytest.mark.parametrize("tau0", [0.0, 3.0])
def test_shrinking_never_raises_the_prior_and_recentring_never_raises_the_objective(tau, tau0):
    generator = torch.Generator().manual_seed(1)
    draw = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)  # noqa: E731
    prior, initial_P = Gaussian(), draw(WEIGHTS)

    def cost(offset_DP: Tensor, mean_P: Tensor) -> float:
        return float(prior.nats(offset_DP, tau)) + tau0 / 2 * float((mean_P - initial_P).square().sum())

    for _ in range(20):
        offset_DP, mean_P = draw(TASKS, WEIGHTS) + draw(1, WEIGHTS), draw(WEIGHTS)
        shrink_DP = prior.shrink(offset_DP, draw(TASKS, WEIGHTS).exp(), 0.1 * tau)
        assert bool(((shrink_DP >= 0) & (shrink_DP <= 1)).all())
        assert cost(offset_DP * shrink_DP, mean_P) <= cost(offset_DP, mean_P)
        rows_DP, before = offset_DP + mean_P, cost(offset_DP, mean_P)
        prior.recentre_(offset_DP, mean_P, initial_P, tau, tau0)
        assert cost(offset_DP, mean_P) <= before
        torch.testing.assert_close(offset_DP + mean_P, rows_DP, rtol=0, atol=1e-14)
        settled = mean_P.clone()
        prior.recentre_(offset_DP, mean_P, initial_P, tau, tau0)
        torch.testing.assert_close(mean_P, settled, rtol=0, atol=1e-12)


def test_the_mean_is_frozen_without_a_step_of_its_own():
    """Why Theta has its own Adam step: prox and re-centring alone ("V1") do not move at tau = infinity."""
    problem = quadratic.full()
    near = train(problem, optimiser(problem, 1e12), steps=300)
    assert float(near.rows_GP.abs().max()) > 0.5
    offset_DP, mean_P = near.offset_KDP[0].clone(), torch.zeros(problem.optimum_DP.shape[1], dtype=torch.float64)
    for _ in range(300):
        offset_DP.sub_(0.02 * problem.gradient(offset_DP + mean_P).sign())
        offset_DP.mul_(Gaussian().shrink(offset_DP, torch.ones_like(offset_DP), 0.02 * problem.loss_scale * 1e12))
        Gaussian().recentre_(offset_DP, mean_P, mean_P, 1e12, 0.0)
    assert float(mean_P.abs().max()) < 1e-6
