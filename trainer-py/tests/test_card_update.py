"""The update's kernel for graphics cards takes the steps that torch's own operations take."""

import pytest
import torch
from torch import Tensor

pytest.importorskip("triton", reason="Triton is not installed")
from cards import DEVICE

from bora_trainer import card_update
from bora_trainer.fused_update import Fit, Step
from bora_trainer.hierarchical_adam import HierarchicalAdam

TASKS, WEIGHTS, STEPS = 3, 1100, 4  # more weights than a program has columns
TAUS = [0.0, 3.0, 1e4, 1e38, float("inf")]


def trained(*, plain: bool, tasks: int = TASKS, spoilt: float = 0.0, **options: object) -> HierarchicalAdam:
    """`spoilt`: a gradient of task 1 at tau = 3 and the second step."""
    generator = torch.Generator().manual_seed(0)
    start_KP = torch.randn(1, WEIGHTS, generator=generator).expand(len(TAUS), -1).to(DEVICE)
    optimiser = HierarchicalAdam(
        start_KP, TAUS, tasks, loss_scale=0.01, betas=(0.9, 0.99), epsilon=1e-8, plain=plain, **options  # pyright: ignore[reportArgumentType]
    )  # fmt: skip
    for step in range(STEPS):
        drawn = torch.randn(1, tasks, WEIGHTS, generator=generator) * 100
        gradient_KDP = drawn.expand(len(TAUS), -1, -1).clone()
        if spoilt and step == 1:
            gradient_KDP[1, 1, 5] = spoilt
        optimiser.gradient_GP.copy_(gradient_KDP.flatten(0, 1))
        optimiser.step(0.0 if step == STEPS - 2 else 1e-2)  # as at the end of a schedule
    return optimiser


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=2e-5, atol=2e-6)


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("tasks", [1, TASKS])
@pytest.mark.parametrize("fixed_mean", [False, True])
@pytest.mark.parametrize("rated", [False, True])
def test_every_tau_takes_the_steps_of_torchs_operations(tasks: int, fixed_mean: bool, rated: bool) -> None:
    rates_P = torch.linspace(0.5, 4, WEIGHTS).to(DEVICE) if rated else None
    options = {"tasks": tasks, "fixed_mean": fixed_mean, "relative_rates_P": rates_P}
    found, expected = trained(plain=False, **options), trained(plain=True, **options)
    for name, tensor in found.state().items():
        close(tensor, expected.state()[name])
    close(found.rows_GP, expected.rows_GP)
    assert not found.gradient_GP.any() and not any(found.failed_at())
    assert (expected.rows_KDP[2] != expected.rows_KDP[0]).any(), "tau does nothing: nothing was tested"


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("spoilt", [torch.nan, torch.inf, -torch.inf])
def test_a_gradient_that_is_not_finite_is_told_with_its_step_and_spoils_no_other_fit(spoilt: float) -> None:
    found, whole = trained(plain=False, spoilt=spoilt), trained(plain=False)
    assert found.failed_at() == [0, 2, 0, 0, 0]
    for fit in (0, 2, 3, 4):
        assert torch.equal(found.rows_KDP[fit], whole.rows_KDP[fit])


@pytest.mark.usefixtures("kernels")
def test_tensors_that_do_not_fit_are_refused() -> None:
    matrix, row, failed_1 = torch.zeros(2, 8, device=DEVICE), torch.zeros(8, device=DEVICE), torch.zeros(1)
    step = Step(1.0, 1e-3, 1.0, (0.9, 0.999), 1e-8, 1)
    fit = Fit(matrix, matrix, matrix[:, :4], matrix, matrix, row, row, row, row[:0])
    with pytest.raises(ValueError, match="second_DP is"):
        card_update.advance(fit, step, failed_1)
