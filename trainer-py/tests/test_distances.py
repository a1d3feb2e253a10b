"""Distances between adapters against the dense changes of the weights in float64. docs/method.md, section 5."""

import pytest
import torch
from torch import Tensor

from bora_trainer.adapters.distances import distances, distances_of_rows
from bora_trainer.adapters.layout import Layout

SCALE = 2.0
LAYOUT = Layout.of(
    [("q", "lora_A", (3, 11)), ("v", "lora_A", (3, 11)), ("q", "lora_B", (7, 3)), ("v", "lora_B", (5, 3))]
)


def drawn(size: float, tasks: int = 4, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Theta and offsets, padding included, in float32 as training keeps them."""
    generator = torch.Generator().manual_seed(seed)
    centre_P = torch.randn(LAYOUT.weights, generator=generator)
    return centre_P, size * torch.randn(tasks, LAYOUT.weights, generator=generator)


def dense_changes(centre_P: Tensor, offsets_DP: Tensor) -> Tensor:
    """dW_d - dW_0 of all modules in float64, flattened: [D, N]."""

    def change(row_P: Tensor) -> Tensor:
        found = LAYOUT.tensors(row_P)
        return SCALE * torch.cat([(found[m, "lora_B"] @ found[m, "lora_A"]).flatten() for m in ("q", "v")])

    centre_P, offsets_DP = centre_P.double(), offsets_DP.double()
    return torch.stack([change(centre_P + offset_P) - change(centre_P) for offset_P in offsets_DP])


@pytest.mark.parametrize(("size", "digits"), [(1.0, 1e-12), (1e-3, 1e-10), (1e-6, 1e-7)])
def test_equal_the_dense_changes(size: float, digits: float) -> None:
    """The dense answer itself loses digits as adapters come close; what it has left is matched."""
    centre_P, offsets_DP = drawn(size)
    changes_DN = dense_changes(centre_P, offsets_DP)
    found = distances(LAYOUT, SCALE, centre_P, offsets_DP)
    torch.testing.assert_close(found.changes_D, changes_DN.norm(dim=1), rtol=digits, atol=0)
    largest = float(changes_DN.norm(dim=1).max() ** 2)
    torch.testing.assert_close(found.gram_DD, changes_DN @ changes_DN.T, rtol=0, atol=digits * largest)
    torch.testing.assert_close(found.factors_D, offsets_DP[:, : LAYOUT.parameters].double().norm(dim=1))


def test_lose_no_digit_where_float32_has_none() -> None:
    """Offsets of 1e-9 vanish when added to Theta in float32; to first order the change is linear in them."""
    centre_P, offsets_DP = drawn(1.0)
    near, nearer = (distances(LAYOUT, SCALE, centre_P, offsets_DP.double() * size) for size in (1e-7, 1e-9))
    torch.testing.assert_close(near.changes_D, 100 * nearer.changes_D, rtol=1e-5, atol=0)
    vanish_DP = centre_P + offsets_DP * 1e-9 == centre_P
    assert float(vanish_DP.float().mean()) > 0.95  # all but beside the few weights of Theta that are tiny themselves


def test_the_usual_expansion_fails_in_float32() -> None:
    """Why the difference form: |dW_d|^2 + |dW_0|^2 - 2 <dW_d, dW_0> has no digit left."""
    centre_P, offsets_DP = drawn(1e-6, tasks=1)
    rows = [centre_P, centre_P + offsets_DP[0]]
    tensors = [LAYOUT.tensors(row_P) for row_P in rows]
    w_0, w_d = (torch.cat([(t[m, "lora_B"] @ t[m, "lora_A"]).flatten() for m in ("q", "v")]) for t in tensors)
    expanded = SCALE**2 * (w_d @ w_d + w_0 @ w_0 - 2 * (w_d @ w_0))
    true = float(distances(LAYOUT, SCALE, centre_P, offsets_DP).gram_DD[0, 0])
    assert abs(float(expanded) - true) > 0.5 * true


def test_shared_adapters_are_in_one_place() -> None:
    """tau = inf keeps every offset at exactly 0."""
    centre_P, offsets_DP = drawn(0.0)
    found = distances(LAYOUT, SCALE, centre_P, offsets_DP)
    assert not found.gram_DD.any() and not found.changes_D.any() and not found.factors_D.any()


def test_a_change_of_gauge_moves_the_factors_alone() -> None:
    """(B R^-1, R A) is the same adapter: far in the factors, not in what it does."""
    centre_P, _ = drawn(1.0)
    centre_P = centre_P.double()
    gauge = torch.eye(3, dtype=torch.float64) + 0.3 * torch.ones(3, 3, dtype=torch.float64).triu(1)
    turned_P = centre_P.clone()
    for (_, name), tensor in LAYOUT.tensors(turned_P).items():
        tensor.copy_(gauge @ tensor if name == "lora_A" else tensor @ gauge.inverse())
    found = distances(LAYOUT, SCALE, centre_P, (turned_P - centre_P)[None])
    assert float(found.factors_D) > 1
    assert float(found.changes_D) < 1e-6


def test_padding_is_no_weight() -> None:
    centre_P, offsets_DP = drawn(0.1)
    assert LAYOUT.weights > LAYOUT.parameters
    before = distances(LAYOUT, SCALE, centre_P, offsets_DP)
    offsets_DP[:, LAYOUT.parameters :] = 99
    after = distances(LAYOUT, SCALE, centre_P, offsets_DP)
    assert torch.equal(before.factors_D, after.factors_D) and torch.equal(before.gram_DD, after.gram_DD)


def test_of_the_prior_mean_itself() -> None:
    centre_P, offsets_DP = drawn(0.1)
    tensors = LAYOUT.tensors(centre_P.double())
    dense = torch.cat([(tensors[m, "lora_B"] @ tensors[m, "lora_A"]).flatten() for m in ("q", "v")])
    assert distances(LAYOUT, SCALE, centre_P, offsets_DP).centre == pytest.approx(
        SCALE * float(dense.norm()), rel=1e-12
    )


def test_in_blocks_of_tasks_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = distances(LAYOUT, SCALE, *drawn(0.1))
    monkeypatch.setattr("bora_trainer.adapters.distances._PRODUCTS_AT_ONCE", 200)
    torch.testing.assert_close(distances(LAYOUT, SCALE, *drawn(0.1)).gram_DD, whole.gram_DD, rtol=1e-13, atol=0)


def test_of_rows_lose_only_what_adding_theta_rounded_off() -> None:
    centre_P, offsets_DP = drawn(1e-3)
    exact = distances(LAYOUT, SCALE, centre_P, offsets_DP)
    found = distances_of_rows(LAYOUT, SCALE, centre_P, centre_P + offsets_DP)
    floor = 6e-8 * float(centre_P[: LAYOUT.parameters].norm())
    torch.testing.assert_close(found.factors_D, exact.factors_D, rtol=0, atol=floor)
    torch.testing.assert_close(found.gram_DD, exact.gram_DD, rtol=1e-3, atol=0)
