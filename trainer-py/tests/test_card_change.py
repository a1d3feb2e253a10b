"""The kernels for graphics cards give the changes, slopes and gradients that are written down in float64."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from cards import DEVICE
from change_cases import CASES, Case

pytest.importorskip("triton", reason="Triton is not installed")

from bora_trainer.adapters import card_change

MORE = {
    "rank 64, two members": Case((70, 20), rank=64, inputs=150, outputs=(40, 130)),
    "bfloat16, rank 64": Case((70, 20), rank=64, inputs=150, outputs=(130,), dtype=torch.bfloat16),
    "float16": Case((40, 12, 70), rank=8, inputs=150, outputs=(70, 64), dtype=torch.float16),
}
EVERY = {name: case for name, case in (CASES | MORE).items() if card_change.takes(case.x, case.rows, case.factors)}

# Factors, and what lies between them, are rounded to the dtype of the activations.
ERROR = {torch.float32: 1e-6, torch.bfloat16: 1e-2, torch.float16: 1e-3}


def same(case: Case, *, unread: int | None = None, asked: bool = True) -> None:
    found = case.run(card_change, unread=unread, asked=asked, device=DEVICE)
    expected = case.expected(unread=unread, asked=asked)
    for one, other, before in zip(found, expected, [*case.y, case.dx, case.gradient], strict=True):
        assert one.dtype == before.dtype
        assert (one.double() - other).norm() <= ERROR[case.dtype] * other.norm()
    gained, wanted = (gradient.double() - case.gradient.double() for gradient in (found[-1], expected[-1]))
    assert (gained - wanted).norm() <= ERROR[case.dtype] * wanted.norm()


@pytest.mark.parametrize("name", EVERY)
def test_outputs_slopes_and_gradients_are_those_of_the_formulas(name: str) -> None:
    if EVERY[name].dtype is torch.bfloat16 and DEVICE == "cpu":
        pytest.skip("Triton's interpreter multiplies the bits of bfloat16; float16 takes the same way")
    same(EVERY[name])


def test_tokens_behind_the_last_row_get_nothing() -> None:
    case = CASES["unequal, one empty, pads behind"]
    *stored, _ = case.run(card_change, device=DEVICE)
    for one, before in zip(stored, [*case.y, case.dx], strict=True):
        assert torch.equal(one[-case.behind :], before[-case.behind :])


@pytest.mark.parametrize("unread", [0, 1])
def test_an_output_that_nobody_reads_adds_nothing(unread: int) -> None:
    case = CASES["unequal, one empty, pads behind"]
    same(case, unread=unread)


def test_where_nobody_asks_for_it_there_is_no_slope_of_the_input() -> None:
    same(CASES["a rectangle"], asked=False)


def test_what_another_row_has_is_not_read() -> None:
    """Not even times zero: a row whose numbers are spoilt spoils no other."""
    case = dataclasses.replace(CASES["unequal, one empty, pads behind"])  # its own tensors
    case.rows[2] = torch.nan
    case.x[3:73] = torch.nan
    *_, gradient = case.run(card_change, device=DEVICE)
    assert gradient[[0, 1, 3]].isfinite().all() and not gradient[2].isfinite().all()
