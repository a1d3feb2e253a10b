"""The change of many adapter rows on a CPU, compiled: one pass forward, two backward.

In torch's operations it is a dozen calls a module forward and backward, which for rows of few tokens take longer than
their arithmetic (docs/performance.md), and rows of unequal length have to be laid out as a rectangle first. Here each
row's tokens are read where they lie, a tile at a time that stays in the cache. Factors, products and gradients are
float32 whatever the dtype of the activations, but for high ranks beside bfloat16 (compiled_pairs.py).

Which threads do what changes no bit: of a sum no two threads have a part.

Shapes: N adapter rows, P weights a row, M tokens of all, T of a tile, R rank, S the ranks of all adapted members
together, I in, O out of one member, C columns of a block.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from bora_trainer.adapters import compiled_pairs
from bora_trainer.adapters.compiled_units import (
    BETWEEN,
    FLOAT,
    SCALE,
    SLOPE_BETWEEN,
    TILE,
    A,
    ChangePasses,
    X,
    columns_of,
    factor_of,
    keep,
    keep_scaled,
    next_tokens,
    next_units,
    place_of,
    sizes_of,
    widen,
    widest_of,
)
from bora_trainer.adapters.factors import Factors
from bora_trainer.compiled_passes import STORED, Pass, compiled, ended, number_at, part_of, tensor_at, tensor_of
from bora_trainer.compiled_products import FUSED, add_product, nothing_ahead, turn
from bora_trainer.row_layout import RowLayout

# By sizes and types of factors alone, so that a run has one arithmetic whatever its batches: above _MOST_RANK they
# leave the cache, above _MOST_WIDE_RANK beside bfloat16 the time goes to products, and pairs take half of it.
_MOST_RANK = 256
_MOST_WIDE_RANK = 32
_LEAST_TOKENS = 8  # of a block of the longest row; other rows, and columns of gradients, are cut into as many
_PRODUCTS_A_NUMBER = 8  # that take as long as one number of an element-wise pass


def takes(x: Tensor, rows_NP: Tensor, factors: Factors) -> bool:
    """Whether the passes know such activations and rows, and are no slower than torch's own operations."""
    known = x.is_cpu and x.dtype in _PASSES and rows_NP.dtype == torch.float32
    if not known or not FUSED or factors.rank > _MOST_RANK:
        return False
    return not _is_paired(x.dtype, factors) or compiled_pairs.takes(factors)


def _is_paired(dtype: torch.dtype, factors: Factors) -> bool:
    """Whether all factors of a product are rounded to bfloat16, and multiplied as compiled_products.py has it."""
    return dtype == torch.bfloat16 and factors.rank > _MOST_WIDE_RANK


def _dtype_between(dtype: torch.dtype, factors: Factors) -> torch.dtype:
    """Of what is between A and B."""
    return torch.bfloat16 if _is_paired(dtype, factors) else torch.float32


def add_change(x_MI: Tensor, outputs: Sequence[Tensor], rows_NP: Tensor, factors: Factors, layout: RowLayout) -> Tensor:
    """Adds scale * (x A_n^T) B_n^T to the adapted members' outputs, M * O numbers each, and returns scale * x A^T,
    [M, S], float32 or, in pairs, bfloat16. All are contiguous. Tokens behind the last row get no change, and nothing
    sensible in what is returned.

    Raises ValueError for tensors that do not fit each other, as the other two do: from here on they are addresses.
    """
    shrunk_MS = x_MI.new_empty(len(x_MI), factors.ranks, dtype=_dtype_between(x_MI.dtype, factors))
    _run(x_MI.dtype, "forward", rows_NP, factors, layout, (x_MI, shrunk_MS), outputs)
    return shrunk_MS


def add_slope(
    dx_MI: Tensor | None, slopes: Sequence[Tensor | None], rows_NP: Tensor, factors: Factors, layout: RowLayout
) -> Tensor:
    """Adds what of d x goes through the change to `dx_MI`, where anybody asks for it, and returns
    scale * d change B, as `add_change` does. `slopes`: d output of the adapted members, [M, O], contiguous; None: of
    none.
    """
    dy_MO = next(dy for dy in slopes if dy is not None)
    d_shrunk_MS = dy_MO.new_empty(len(dy_MO), factors.ranks, dtype=_dtype_between(dy_MO.dtype, factors))
    _run(dy_MO.dtype, "slope", rows_NP, factors, layout, (dx_MI, d_shrunk_MS), slopes)
    return d_shrunk_MS


def add_gradients(
    gradient_NP: Tensor, x_MI: Tensor, between: tuple[Tensor, Tensor], slopes: Sequence[Tensor | None],
    factors: Factors, layout: RowLayout,
) -> None:  # fmt: skip
    """Adds d A and d B to `gradient_NP`. `between`: what `add_change` and `add_slope` returned; `slopes` as there."""
    _run(x_MI.dtype, "gradients", gradient_NP, factors, layout, (x_MI, *between), slopes)


def _run(
    dtype: torch.dtype, name: Literal["forward", "slope", "gradients"], rows_NP: Tensor, factors: Factors,
    layout: RowLayout, given: Sequence[Tensor | None], sides: Sequence[Tensor | None],
) -> None:  # fmt: skip
    """`given`: x or its slope, what is between A and B, [M, S], and its slope. `sides`: outputs or their slopes."""
    x_MI, between_MS = given[:2]
    assert between_MS is not None
    _refuse_rows(rows_NP, factors, layout, len(between_MS))
    tokens, rows, inputs, ranks = len(between_MS), len(rows_NP), factors.slot_a.shape[1], factors.ranks
    width = tokens // rows if layout.place is None else layout.width
    blocks, kept = max(1, width // _LEAST_TOKENS), _dtype_between(dtype, factors)
    first, places = rows_NP.data_ptr(), rows * width
    numbers = [
        blocks, width, tokens, rows_NP.stride(0) * FLOAT, inputs, factors.rank, len(factors.slots_b),
        first + factors.slot_a.offset * FLOAT, factors.scale_1.data_ptr(),
        _address(layout.place, places, torch.int64), _address(layout.real, places, torch.bool),
        _address(x_MI, tokens * inputs, dtype), _address(between_MS, tokens * ranks, kept),
        _address(given[2] if len(given) > 2 else None, tokens * ranks, kept),
    ]  # fmt: skip
    for slot, side in zip(factors.slots_b, sides, strict=True):
        numbers += slot.shape[0], first + slot.offset * FLOAT, _address(side, tokens * slot.shape[0], dtype)
    size = tokens * factors.products // _PRODUCTS_A_NUMBER
    passes = compiled_pairs.PASSES if _is_paired(dtype, factors) else _PASSES[dtype]
    getattr(passes, name)(rows * blocks, size, *numbers)


def _refuse_rows(rows_NP: Tensor, factors: Factors, layout: RowLayout, tokens: int) -> None:
    rows, weights = rows_NP.shape
    if rows != layout.rows or rows_NP.dtype != torch.float32 or rows_NP.stride(1) != 1 or not rows_NP.is_cpu:
        found = f"{rows} rows of {rows_NP.dtype} on {rows_NP.device}, strides {rows_NP.stride()}"
        raise ValueError(f"adapter rows are {found}, expected {layout.rows} rows of torch.float32 on the CPU, dense")
    if weights < factors.end:
        raise ValueError(f"adapter rows have {weights} weights, their tensors end at {factors.end}")
    if layout.place is None and tokens % rows != 0:
        raise ValueError(f"{tokens} tokens are no rectangle of {rows} rows")


def _address(tensor: Tensor | None, size: int, dtype: torch.dtype) -> int:
    """0 of none. Raises ValueError for a tensor that is not what a pass reads there."""
    if tensor is None:
        return 0
    if tensor.dtype != dtype or tensor.numel() != size or not tensor.is_contiguous() or not tensor.is_cpu:
        found = f"{tensor.dtype} {list(tensor.shape)} on {tensor.device}"
        raise ValueError(f"a tensor is {found}, expected {size} numbers of {dtype} on the CPU, contiguous")
    return tensor.data_ptr()


@compiled
def _forward(given, start, stop, stored):
    tokens, inputs, rank, members = sizes_of(given)
    ranks, widest, scale = rank * members, widest_of(given), tensor_at(given, SCALE, 1, np.float32)[0]
    x = tensor_at(given, X, (tokens, inputs), stored)
    between = tensor_at(given, BETWEEN, (tokens, ranks), np.float32)
    x_TI, s_TS = np.empty((TILE, inputs), np.float32), np.empty((TILE, ranks), np.float32)
    y_TO, a_IS = np.empty((TILE, widest), np.float32), np.empty((inputs, ranks), np.float32)
    b_SO = np.empty((ranks, widest), np.float32)
    ahead = nothing_ahead(members + 1)
    while start < stop:
        n, begin, end, start = next_tokens(given, ahead, start, stop)
        if begin == end:
            continue
        turn(factor_of(given, A, n, (ranks, inputs)), a_IS)
        for j in range(members):
            b_OR = factor_of(given, place_of(j) + 1, n, (number_at(given, place_of(j)), rank))
            turn(b_OR, b_SO[j * rank : (j + 1) * rank])
        for t in range(begin, end, TILE):
            count = min(TILE, end - t)
            widen(x, t, count, inputs, x_TI)
            s_TS[:] = 0
            add_product(s_TS, x_TI[:count], a_IS, ahead)
            keep_scaled(s_TS, count, scale, between, t)
            for j in range(members):
                out = number_at(given, place_of(j))
                y = tensor_at(given, place_of(j) + 2, (tokens, out), stored)
                widen(y, t, count, out, y_TO)
                add_product(
                    y_TO[:, :out], s_TS[:count, j * rank : (j + 1) * rank], b_SO[j * rank : (j + 1) * rank], ahead
                )
                keep(y_TO, out, y, t, count)


@compiled
def _slope(given, start, stop, stored):
    tokens, inputs, rank, members = sizes_of(given)
    ranks, scale = rank * members, tensor_at(given, SCALE, 1, np.float32)[0]
    asked, dx = number_at(given, X) != 0, tensor_at(given, X, (tokens, inputs), stored)
    between = tensor_at(given, BETWEEN, (tokens, ranks), np.float32)
    dx_TI, s_TS = np.empty((TILE, inputs), np.float32), np.empty((TILE, ranks), np.float32)
    dy_TO = np.empty((TILE, widest_of(given)), np.float32)
    ahead = nothing_ahead(members + 1)
    while start < stop:
        n, begin, end, start = next_tokens(given, ahead, start, stop)
        for t in range(begin, end, TILE):
            count = min(TILE, end - t)
            s_TS[:] = 0
            for j in range(members):
                if number_at(given, place_of(j) + 2) == 0:
                    continue
                out = number_at(given, place_of(j))
                dy = tensor_at(given, place_of(j) + 2, (tokens, out), stored)
                widen(dy, t, count, out, dy_TO)
                b_OR = factor_of(given, place_of(j) + 1, n, (out, rank))
                add_product(s_TS[:, j * rank : (j + 1) * rank], dy_TO[:count, :out], b_OR, ahead)
            keep_scaled(s_TS, count, scale, between, t)
            if asked:
                widen(dx, t, count, inputs, dx_TI)
                add_product(dx_TI, s_TS[:count], factor_of(given, A, n, (ranks, inputs)), ahead)
                keep(dx_TI, inputs, dx, t, count)


@compiled
def _gradients(given, start, stop, stored, size):
    """`size`: bytes of a stored number. x and slopes begin at a unit's first column, as numba looks at the sign of an
    index that another is added to, every time.
    """
    tokens, inputs, rank, members = sizes_of(given)
    ranks = rank * members
    shrunk = tensor_at(given, BETWEEN, (tokens, ranks), np.float32)
    d_shrunk = tensor_at(given, SLOPE_BETWEEN, (tokens, ranks), np.float32)
    x_TC = np.empty((TILE, max(inputs, widest_of(given))), np.float32)
    ahead = nothing_ahead(members + 1)
    while start < stop:
        n, block, after, begin, many, start = next_units(given, ahead, start, stop)
        for t in range(begin, begin + many, TILE):
            end = min(t + TILE, begin + many)
            column, columns = columns_of(given, block, after, inputs)
            x = tensor_of(number_at(given, X) + column * size, (tokens, inputs), stored)
            widen(x, t, end - t, columns, x_TC)
            da_SI = factor_of(given, A, n, (ranks, inputs))
            add_product(da_SI[:, column : column + columns], d_shrunk[t:end].T, x_TC, ahead)
            for j in range(members):
                if number_at(given, place_of(j) + 2) == 0:
                    continue
                out = number_at(given, place_of(j))
                column, columns = columns_of(given, block, after, out)
                dy = tensor_of(number_at(given, place_of(j) + 2) + column * size, (tokens, out), stored)
                widen(dy, t, end - t, columns, x_TC)
                db_OR = factor_of(given, place_of(j) + 1, n, (out, rank))
                s_TR = shrunk[t:end, j * rank : (j + 1) * rank]
                add_product(db_OR[column : column + columns], x_TC[: end - t, :columns].T, s_TR, ahead)


def _passes(stored: type) -> ChangePasses:
    """`stored` as `compiled_passes.STORED` has it."""
    size = np.dtype(stored).itemsize

    def forward(given):
        _, start, stop = part_of(given)
        _forward(given, start, stop, stored)
        ended(given)

    def slope(given):
        _, start, stop = part_of(given)
        _slope(given, start, stop, stored)
        ended(given)

    def gradients(given):
        _, start, stop = part_of(given)
        _gradients(given, start, stop, stored, size)
        ended(given)

    return ChangePasses(Pass(forward), Pass(slope), Pass(gradients))


_PASSES = {dtype: _passes(stored) for dtype, stored in STORED.items()}
