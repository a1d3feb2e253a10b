"""The cross-entropy's kernel for graphics cards gives the nats and slopes that are written down in float64."""

import pytest
import torch
import torch.nn.functional as F

pytest.importorskip("triton", reason="Triton is not installed")
from cards import DEVICE

from bora_trainer import card_nats
from bora_trainer.cross_entropy import OutputEmbedding, nats_of_targets

POSITIONS = 5
# Triton's interpreter cuts what a card rounds.
ROUNDING = {torch.float32: 1e-5, torch.bfloat16: 2.0**-7, torch.float16: 2.0**-10}


@pytest.mark.parametrize("vocabulary", [3, 64, 4096, 9001])
@pytest.mark.parametrize("dtype", card_nats.DTYPES)
def test_nats_and_slopes_are_those_in_float64(vocabulary: int, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    product = (torch.randn(POSITIONS, vocabulary) * 20).to(dtype)
    product[0] -= 300  # all far below zero
    target = torch.tensor([0, vocabulary - 1, 1, 2, vocabulary // 2])
    exact = product.double().requires_grad_()
    expected = F.cross_entropy(exact, target, reduction="none")
    (slope,) = torch.autograd.grad(expected.sum(), exact)
    found, nats = product.to(DEVICE), torch.empty(POSITIONS, device=DEVICE)
    card_nats.write_nats_and_slope(found, target.to(DEVICE), nats, sloped=False)
    assert torch.equal(found.cpu(), product), "only asked for, slopes are written"
    card_nats.write_nats_and_slope(found, target.to(DEVICE), nats, sloped=True)
    torch.testing.assert_close(nats.cpu().double(), expected.detach(), rtol=1e-6, atol=1e-5)
    torch.testing.assert_close(found.cpu().double(), slope, rtol=ROUNDING[dtype], atol=1e-6)


@pytest.mark.parametrize("spoilt", [torch.nan, torch.inf])
def test_what_is_not_finite_is_not_hidden(spoilt: float) -> None:
    product, nats = torch.zeros(2, 50, device=DEVICE), torch.empty(2, device=DEVICE)
    product[1, 40] = spoilt
    card_nats.write_nats_and_slope(product, torch.tensor([3, 3], device=DEVICE), nats, sloped=True)
    assert nats.isfinite().tolist() == [True, False] and product[0].isfinite().all()


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("biased", [False, True])
def test_the_gradient_of_the_hidden_states_is_that_of_torchs_operations(
    biased: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    weight, bias = torch.randn(70, 8, device=DEVICE), torch.randn(70, device=DEVICE) if biased else None
    hidden, target = torch.randn(9, 8, device=DEVICE), torch.randint(70, (9,), device=DEVICE)
    monkeypatch.setattr("bora_trainer.cross_entropy.positions_at_once", lambda _: 4)
    found = hidden.clone().requires_grad_()
    nats = nats_of_targets(found, target, OutputEmbedding(weight, bias, None))
    nats.backward(torch.arange(9.0, device=DEVICE))
    exact = hidden.double().requires_grad_()
    expected = F.cross_entropy(
        exact @ weight.double().T + (0 if bias is None else bias.double()), target, reduction="none"
    )
    expected.backward(torch.arange(9.0, device=DEVICE).double())
    torch.testing.assert_close(nats.double(), expected, rtol=1e-5, atol=1e-5)
    assert found.grad is not None and exact.grad is not None
    torch.testing.assert_close(found.grad.double(), exact.grad, rtol=1e-4, atol=1e-4)
