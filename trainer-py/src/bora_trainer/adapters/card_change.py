"""The change of many adapter rows on a graphics card: one kernel for each product, on rows where they lie.

Torch's batched products want the rows as a rectangle and the factors in the dtype of the activations, and write their
gradients beside the flat ones: copies of everything, in many launches. Here a program reads a tile of one row's tokens,
rounds the float32 factors as it reads them, sums in float32, and adds to outputs and gradients in place. What lies
between A and B is kept in float32 and rounded to the dtype of the activations where it is multiplied, as the factors
are. Each entry of a gradient is one program's sum, so the same input gives the same bits.

The functions are those of compiled_change.py, the same for CPUs. Grouping rows of unequal length into tiles is common
for many-adapter serving (Chen et al. 2023, Punica, arXiv:2310.18547); the backward is not.

Shapes: N adapter rows, P weights a row, M tokens of all, S the ranks of all adapted members together, R of one, I in,
O out. A wide side is I or O, a narrow one R or S.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from bora_trainer.adapters.factors import Factors
from bora_trainer.card_kernels import launch
from bora_trainer.row_layout import RowLayout

_DTYPES = (torch.bfloat16, torch.float16, torch.float32)
_MOST_RANKS = 128  # S: the narrow side of a tile lies in registers
_LEAST = 16  # of each side of a product on tensor cores


def takes(x: Tensor, rows_NP: Tensor, factors: Factors) -> bool:
    """Whether the kernels know such activations and rows."""
    return x.dtype in _DTYPES and rows_NP.dtype == torch.float32 and factors.ranks <= _MOST_RANKS


def add_change(x_MI: Tensor, outputs: Sequence[Tensor], rows_NP: Tensor, factors: Factors, layout: RowLayout) -> Tensor:
    """Adds scale * (x A_n^T) B_n^T to the adapted members' outputs, M * O numbers each, and returns scale * x A^T,
    [M, S], float32. All are contiguous. Tokens behind the last row get no change.
    """
    _check(rows_NP, factors, x_MI, outputs)
    shrunk_MS = x_MI.new_empty(len(x_MI), factors.ranks, dtype=torch.float32)
    _shrink(x_MI, factors.slot_a.view(rows_NP), shrunk_MS, factors.scale, layout)
    for slot, y, shrunk_MR in zip(factors.slots_b, outputs, _by_member(shrunk_MS, factors), strict=True):
        _expand(y.view(len(x_MI), -1), slot.view(rows_NP).mT, shrunk_MR, layout)
    return shrunk_MS


def add_slope(
    dx_MI: Tensor | None, slopes: Sequence[Tensor | None], rows_NP: Tensor, factors: Factors, layout: RowLayout
) -> Tensor:
    """Adds what of d x goes through the change to `dx_MI`, where anybody asks for it, and returns
    scale * d change B, [M, S], float32. `slopes`: d output of the adapted members, [M, O], contiguous; None: of none.
    """
    _check(rows_NP, factors, dx_MI, slopes)
    dy_MO = next(dy for dy in slopes if dy is not None)
    # Tokens behind the last row are written by nobody and read by nobody; a member without a slope has none anywhere.
    make = dy_MO.new_empty if all(dy is not None for dy in slopes) else dy_MO.new_zeros
    d_shrunk_MS = make(len(dy_MO), factors.ranks, dtype=torch.float32)
    for slot, dy, d_shrunk_MR in zip(factors.slots_b, slopes, _by_member(d_shrunk_MS, factors), strict=True):
        if dy is not None:
            _shrink(dy, slot.view(rows_NP).mT, d_shrunk_MR, factors.scale, layout)
    if dx_MI is not None:
        _expand(dx_MI, factors.slot_a.view(rows_NP), d_shrunk_MS, layout)
    return d_shrunk_MS


def add_gradients(
    gradient_NP: Tensor, x_MI: Tensor, between: tuple[Tensor, Tensor], slopes: Sequence[Tensor | None],
    factors: Factors, layout: RowLayout,
) -> None:  # fmt: skip
    """Adds d A and d B to `gradient_NP`. `between`: what `add_change` and `add_slope` returned; `slopes` as there."""
    _check(gradient_NP, factors, x_MI, slopes)
    shrunk_MS, d_shrunk_MS = between
    _gather(x_MI, factors.slot_a.view(gradient_NP), d_shrunk_MS, layout)
    for slot, dy, shrunk_MR in zip(factors.slots_b, slopes, _by_member(shrunk_MS, factors), strict=True):
        if dy is not None:
            _gather(dy, slot.view(gradient_NP).mT, shrunk_MR, layout)


def _check(rows_NP: Tensor, factors: Factors, side: Tensor | None, sides: Sequence[Tensor | None]) -> None:
    """AssertionError for tensors that a kernel would misread: from here on they are addresses."""
    assert rows_NP.dtype == torch.float32 and rows_NP.stride(1) == 1 and rows_NP.shape[1] >= factors.end
    assert all(each is None or each.is_contiguous() for each in (side, *sides)), "activations are contiguous"


def _by_member(between_MS: Tensor, factors: Factors) -> tuple[Tensor, ...]:
    """[M, R] of each."""
    return between_MS.split(factors.rank, dim=1)


def _shrink(wide_MW: Tensor, factor_NRW: Tensor, narrow_MR: Tensor, scale: float, layout: RowLayout) -> None:
    """narrow = scale * wide factor_n^T."""
    sizes = _sizes(wide_MW, factor_NRW, layout, tokens=32)
    grid = (layout.rows, triton.cdiv(layout.longest(len(wide_MW)), sizes["TOKENS"]))
    launch(_shrink_tile, grid, *_given(wide_MW, factor_NRW, narrow_MR, layout), scale, **sizes)


def _expand(wide_MW: Tensor, factor_NRW: Tensor, narrow_MR: Tensor, layout: RowLayout) -> None:
    """wide += narrow factor_n."""
    sizes = _sizes(wide_MW, factor_NRW, layout, tokens=64)
    tiles = triton.cdiv(layout.longest(len(wide_MW)), sizes["TOKENS"])
    grid = (layout.rows, tiles, triton.cdiv(wide_MW.shape[1], sizes["COLUMNS"]))
    launch(_expand_tile, grid, *_given(wide_MW, factor_NRW, narrow_MR, layout), **sizes)


def _gather(wide_MW: Tensor, gradient_NRW: Tensor, narrow_MR: Tensor, layout: RowLayout) -> None:
    """gradient_n += narrow^T wide, over the tokens of row n."""
    sizes = _sizes(wide_MW, gradient_NRW, layout, tokens=64, columns=64)
    grid = (layout.rows, triton.cdiv(wide_MW.shape[1], sizes["COLUMNS"]))
    launch(_gather_tile, grid, *_given(wide_MW, gradient_NRW, narrow_MR, layout), **sizes)


def _given(wide_MW: Tensor, factor_NRW: Tensor, narrow_MR: Tensor, layout: RowLayout) -> tuple[Tensor | int, ...]:
    """Where everything lies. Without bounds rows are a rectangle, and nothing is read there."""
    bounds = layout.bounds if layout.bounds is not None else wide_MW
    sizes = (layout.longest(len(wide_MW)), wide_MW.shape[1], factor_NRW.shape[1])
    return wide_MW, factor_NRW, narrow_MR, bounds, *sizes, *factor_NRW.stride(), narrow_MR.stride(0)


def _sizes(wide_MW: Tensor, factor_NRW: Tensor, layout: RowLayout, tokens: int, columns: int = 128) -> dict[str, Any]:
    """What a kernel is compiled for. Tiles are narrower where the ranks are many."""
    ranks = max(_LEAST, triton.next_power_of_2(factor_NRW.shape[1]))
    return {
        "RAGGED": layout.bounds is not None, "EXACT": wide_MW.dtype == torch.float32, "RANKS": ranks,
        "TOKENS": tokens, "COLUMNS": columns if ranks <= 64 else columns // 2,
    }  # fmt: skip


@triton.jit
def _row(bounds, row, width, RAGGED: tl.constexpr):
    """Where a row's tokens begin, and how many it has."""
    if RAGGED:
        first = tl.load(bounds + row)
        count = tl.load(bounds + row + 1) - first
    else:
        count = tl.cast(width, tl.int64)
        first = row * count
    return first, count


@triton.jit(do_not_specialize=["width"])
def _shrink_tile(
    wide, factor, narrow, bounds, width, columns, rank, row_stride, rank_stride, column_stride, narrow_stride, scale,
    RAGGED: tl.constexpr, EXACT: tl.constexpr, RANKS: tl.constexpr, TOKENS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    row, start = tl.program_id(0).to(tl.int64), tl.program_id(1) * TOKENS
    first, count = _row(bounds, row, width, RAGGED)  # pyright: ignore[reportGeneralTypeIssues]
    if start < count:
        own = start + tl.arange(0, TOKENS)
        places, there = first + own, own < count
        ranks = tl.arange(0, RANKS)
        known = ranks < rank
        total = tl.zeros((TOKENS, RANKS), tl.float32)
        for begin in range(0, columns, COLUMNS):
            lanes = begin + tl.arange(0, COLUMNS)
            inside = lanes < columns
            x = tl.load(
                wide + places[:, None] * columns + lanes[None, :], mask=there[:, None] & inside[None, :], other=0.0
            )
            f = tl.load(
                factor + row * row_stride + lanes[:, None] * column_stride + ranks[None, :] * rank_stride,
                mask=inside[:, None] & known[None, :], other=0.0,
            )  # fmt: skip
            total = tl.dot(x, f.to(x.dtype), total, input_precision="ieee" if EXACT else "tf32")
        tl.store(
            narrow + places[:, None] * narrow_stride + ranks[None, :], total * scale,
            mask=there[:, None] & known[None, :],
        )  # fmt: skip


@triton.jit(do_not_specialize=["width"])
def _expand_tile(
    wide, factor, narrow, bounds, width, columns, rank, row_stride, rank_stride, column_stride, narrow_stride,
    RAGGED: tl.constexpr, EXACT: tl.constexpr, RANKS: tl.constexpr, TOKENS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    row, start = tl.program_id(0).to(tl.int64), tl.program_id(1) * TOKENS
    first, count = _row(bounds, row, width, RAGGED)  # pyright: ignore[reportGeneralTypeIssues]
    if start < count:
        own = start + tl.arange(0, TOKENS)
        places, there = first + own, own < count
        ranks = tl.arange(0, RANKS)
        lanes = tl.program_id(2) * COLUMNS + tl.arange(0, COLUMNS)
        known, inside = ranks < rank, lanes < columns
        both = there[:, None] & inside[None, :]
        at = wide + places[:, None] * columns + lanes[None, :]
        y = tl.load(at, mask=both, other=0.0)
        s = tl.load(
            narrow + places[:, None] * narrow_stride + ranks[None, :], mask=there[:, None] & known[None, :], other=0.0
        )
        f = tl.load(
            factor + row * row_stride + ranks[:, None] * rank_stride + lanes[None, :] * column_stride,
            mask=known[:, None] & inside[None, :], other=0.0,
        )  # fmt: skip
        change = tl.dot(s.to(y.dtype), f.to(y.dtype), input_precision="ieee" if EXACT else "tf32")
        tl.store(at, (y.to(tl.float32) + change).to(y.dtype), mask=both)


@triton.jit(do_not_specialize=["width"])
def _gather_tile(
    wide, gradient, narrow, bounds, width, columns, rank, row_stride, rank_stride, column_stride, narrow_stride,
    RAGGED: tl.constexpr, EXACT: tl.constexpr, RANKS: tl.constexpr, TOKENS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    ranks = tl.arange(0, RANKS)
    lanes = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    known, inside = ranks < rank, lanes < columns
    total = tl.zeros((RANKS, COLUMNS), tl.float32)
    first, count = _row(bounds, row, width, RAGGED)  # pyright: ignore[reportGeneralTypeIssues]
    for start in range(0, count, TOKENS):
        own = start + tl.arange(0, TOKENS)
        places, there = first + own, own < count
        x = tl.load(wide + places[:, None] * columns + lanes[None, :], mask=there[:, None] & inside[None, :], other=0.0)
        s = tl.load(
            narrow + places[None, :] * narrow_stride + ranks[:, None], mask=there[None, :] & known[:, None], other=0.0
        )
        total = tl.dot(s.to(x.dtype), x, total, input_precision="ieee" if EXACT else "tf32")
    at = gradient + row * row_stride + ranks[:, None] * rank_stride + lanes[None, :] * column_stride
    both = known[:, None] & inside[None, :]
    tl.store(at, tl.load(at, mask=both, other=0.0) + total, mask=both)
