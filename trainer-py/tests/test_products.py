"""Products into float32: against float64, strided, accumulated."""

import pytest
import torch
from torch import Tensor

from bora_trainer.products import bmm_into

B, N, K, M = 3, 4, 50, 5
ROUNDING = {torch.float32: 2.0**-23 * 8, torch.bfloat16: 2.0**-9, torch.float16: 2.0**-12}
DTYPES = list(ROUNDING)
NEEDS_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


def _factors(dtype: torch.dtype, device: str = "cpu") -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    a, b = torch.randn(B, N, K, generator=generator), torch.randn(B, K, M, generator=generator)
    return a.to(device, dtype), b.to(device, dtype)


def _view(flat: Tensor) -> Tensor:
    """As a slot of the flat gradient: rows far apart, an offset, a tail that is not ours."""
    return flat[:, 3 : 3 + N * M].view(B, N, M)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("beta", [0.0, 1.0, 0.5])
def test_product_equals_float64_but_for_one_rounding(dtype: torch.dtype, beta: float) -> None:
    a, b = _factors(dtype)
    flat = torch.full((B, N * M + 8), 7.0)
    exact = beta * 7.0 + 0.25 * (a.double() @ b.double())
    found = bmm_into(_view(flat), a, b, alpha=0.25, beta=beta)
    assert found.data_ptr() == _view(flat).data_ptr()
    allowed = ROUNDING[dtype] * 0.25 * (a.double().abs() @ b.double().abs()) + 2.0**-22 * 7.0
    assert ((_view(flat).double() - exact).abs() <= allowed).all()
    outside = torch.cat([flat[:, :3], flat[:, 3 + N * M :]], dim=1)
    assert (outside == 7.0).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_without_beta_what_was_there_is_not_read(dtype: torch.dtype) -> None:
    a, b = _factors(dtype)
    out = torch.full((B, N, M), torch.nan)
    assert bmm_into(out, a, b).isfinite().all()


def test_transposed_factors_and_a_sum_of_two_products() -> None:
    a, b = _factors(torch.float32)
    out = torch.zeros(B, M, N)
    for _ in range(2):
        bmm_into(out, b.mT, a.mT, beta=1.0)
    torch.testing.assert_close(out, 2 * (a @ b).mT, rtol=1e-6, atol=1e-5)


def test_nothing_is_recorded_for_autograd() -> None:
    a, b = _factors(torch.bfloat16)
    assert not bmm_into(torch.zeros(B, N, M), a.requires_grad_(), b).requires_grad


@NEEDS_CUDA
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 0.0), (0.25, 0.0), (0.25, 1.0)])
def test_on_a_graphics_card_16_bit_factors_are_not_rounded_again(dtype: torch.dtype, alpha: float, beta: float) -> None:
    a, b = _factors(dtype, "cuda")
    flat = torch.full((B, N * M + 8), 7.0, device="cuda")
    exact = beta * 7.0 + alpha * (a.double() @ b.double())
    bmm_into(_view(flat), a, b, alpha=alpha, beta=beta)
    torch.testing.assert_close(_view(flat).double(), exact, rtol=1e-6, atol=1e-5)
