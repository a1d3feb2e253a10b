"""Nats in pieces give what torch's cross-entropy gives whole, with gradients, whatever the pieces."""

import pytest
import torch
import torch.nn.functional as F

from bora_trainer import cross_entropy
from bora_trainer.cross_entropy import OutputEmbedding, nats_of_targets, positions_at_once

POSITIONS, HIDDEN, VOCABULARY = 37, 8, 50


def drawn(dtype: torch.dtype, *, bias: bool, softcap: float | None):
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(VOCABULARY, HIDDEN, generator=generator).to(dtype)
    output = OutputEmbedding(weight, torch.randn(VOCABULARY, generator=generator).to(dtype) if bias else None, softcap)
    hidden = torch.randn(POSITIONS, HIDDEN, generator=generator).to(dtype).requires_grad_()
    return output, hidden, torch.randint(VOCABULARY, (POSITIONS,), generator=generator)


def whole(output: OutputEmbedding, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    logits = F.linear(hidden, output.weight_VH, output.bias_V)
    if output.softcap is not None:
        logits = output.softcap * torch.tanh(logits / output.softcap)
    return F.cross_entropy(logits, targets, reduction="none")


@pytest.mark.parametrize("softcap", [None, 2.0])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("product_rows", "cached_rows"), [(1000, 1000), (5, 1000), (1000, 3), (16, 5), (1, 1)])
def test_pieces_change_nothing(product_rows: int, cached_rows: int, bias: bool, softcap, monkeypatch) -> None:
    output, hidden, targets = drawn(torch.float64, bias=bias, softcap=softcap)
    monkeypatch.setattr(cross_entropy, "_PRODUCT_BYTES", product_rows * VOCABULARY * 8)
    monkeypatch.setattr(cross_entropy, "_CACHED_LOGITS", cached_rows * VOCABULARY)
    assert positions_at_once(output) == product_rows
    weights = torch.rand(POSITIONS, dtype=torch.float64)
    expected = whole(output, hidden, targets)
    (slope,) = torch.autograd.grad(expected, hidden, weights)
    found = nats_of_targets(hidden, targets, output)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(torch.autograd.grad(found, hidden, weights)[0], slope, rtol=1e-10, atol=1e-12)
    with torch.no_grad():
        assert torch.equal(nats_of_targets(hidden, targets, output), found)


def test_nats_are_float32_where_the_base_is_bfloat16() -> None:
    output, hidden, targets = drawn(torch.bfloat16, bias=False, softcap=None)
    found = nats_of_targets(hidden, targets, output)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, whole(output, hidden, targets).float(), rtol=2e-2, atol=2e-2)


def test_two_calls_share_the_room_for_a_product_and_neither_spoils_the_other() -> None:
    output, hidden, targets = drawn(torch.float32, bias=False, softcap=None)
    first = nats_of_targets(hidden, targets, output)
    second = nats_of_targets(hidden * 2, targets, output)
    (slope,) = torch.autograd.grad(first.sum(), hidden)
    (expected,) = torch.autograd.grad(whole(output, hidden, targets).sum(), hidden)
    torch.testing.assert_close(slope, expected)
    assert not torch.equal(first, second) and output.held(3).data_ptr() == output.held(5).data_ptr()


def test_no_position_at_all_is_no_nats() -> None:
    output, hidden, targets = drawn(torch.float32, bias=False, softcap=None)
    assert nats_of_targets(hidden[:0], targets[:0], output).shape == (0,)
