"""One pass gathers what torch's operations do, bit for bit."""

import pytest
import torch

from bora_trainer import compiled_passes
from bora_trainer.gather import gather


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("width", [1, 3, 8, 192])
@pytest.mark.parametrize("alone", [-1, 1 << 40])
def test_rows_are_gathered_and_absent_ones_are_zero(
    dtype: torch.dtype, width: int, alone: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled_passes, "_ALONE", alone)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(7, 2 * width, generator=generator).to(dtype)[:, :width]  # not contiguous
    place = torch.randint(7, (50,), generator=generator)
    real = torch.rand(50, 1, generator=generator) < 0.7
    x[3] = torch.nan  # an absent place holds none of it
    expected = torch.where(real, x[place], torch.zeros((), dtype=dtype))
    found = gather(x, place, real)
    assert found.dtype == dtype and torch.equal(found.nan_to_num(9), expected.nan_to_num(9))


def test_no_place_at_all() -> None:
    none = torch.empty(0, dtype=torch.int64)
    assert gather(torch.ones(3, 4), none, torch.empty(0, 1, dtype=torch.bool)).shape == (0, 4)


def test_autograd_passes_through() -> None:
    x = torch.ones(3, 4, requires_grad=True)
    gather(x, torch.tensor([0, 0, 2]), torch.tensor([[True], [True], [False]])).sum().backward()
    assert x.grad is not None and x.grad[:, 0].tolist() == [2, 0, 0]
