"""A normalisation in one pass gives what transformers' own operations give."""

import pytest
import torch
from transformers.models.gemma2.modeling_gemma2 import Gemma2RMSNorm
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from bora_trainer.fused_norm import fuse_norms


def norm(dtype: torch.dtype, size: int = 48) -> LlamaRMSNorm:
    torch.manual_seed(0)
    module = LlamaRMSNorm(size, eps=1e-5).requires_grad_(False)
    module.weight.copy_(torch.rand(size) * 3 - 1)
    return module.to(dtype)


def answer(module: torch.nn.Module, x: torch.Tensor, dy: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    given = x.clone().requires_grad_()
    found = module(given)
    found.backward(dy)
    assert given.grad is not None
    return found.detach(), given.grad


@pytest.mark.parametrize("shape", [(1, 48), (3, 5, 48), (2, 3, 4, 48), (0, 48)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_output_and_gradient_are_those_of_exact_arithmetic_to_the_dtypes_rounding(dtype: torch.dtype, shape) -> None:
    module = norm(dtype)
    x, dy = (torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype) * 2 for seed in (1, 2))
    exact = answer(norm(dtype).double(), x.double(), dy.double())
    theirs = answer(module, x, dy)
    assert fuse_norms(module) == [module]
    ours = answer(module, x, dy)
    for one, other, true in zip(ours, theirs, exact, strict=True):
        assert one.dtype == dtype and one.shape == true.shape
        assert (one.double() - true).norm() <= 1.1 * (other.double() - true).norm() + 1e-6 * true.norm()


def test_a_row_that_is_not_contiguous_and_one_of_zeros() -> None:
    module, wide = norm(torch.bfloat16), torch.randn(48, 6).bfloat16()
    wide[:, 2] = 0
    expected = module(wide.T)
    fuse_norms(module)
    torch.testing.assert_close(module(wide.T), expected, rtol=1e-2, atol=1e-2)
    assert not module(wide.T)[2].any()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_stays_so_and_in_its_row(value: float) -> None:
    module, x = norm(torch.bfloat16), torch.ones(3, 48).bfloat16()
    fuse_norms(module)
    x[1, 7] = value
    found, slope = answer(module, x, torch.ones_like(x))
    assert found.isnan().any(1).tolist() == slope.isnan().any(1).tolist() == [False, True, False]


def test_a_family_that_normalises_differently_keeps_its_own() -> None:
    module = Gemma2RMSNorm(48).requires_grad_(False)
    assert fuse_norms(module) == [] and "forward" not in module.__dict__


def test_a_norm_that_is_trained_keeps_its_own() -> None:
    assert fuse_norms(norm(torch.float32).requires_grad_()) == []


@pytest.mark.parametrize("size", [47, 96])
def test_an_input_of_another_width_goes_to_the_familys_own(size: int) -> None:
    module = norm(torch.float32)
    fuse_norms(module)
    with pytest.raises(RuntimeError, match="must match the size"):
        module(torch.ones(3, size))
