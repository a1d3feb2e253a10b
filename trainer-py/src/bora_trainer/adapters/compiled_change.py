"""The change of many adapter rows on a CPU, compiled: one pass forward, two backward.

In torch's operations it is a dozen calls a module forward and backward, which for rows of few tokens take longer than
their arithmetic (docs/performance.md), and rows of unequal length have to be laid out as a rectangle first. Here each
row's tokens are read where they lie, a tile at a time that stays in the cache, and factors, products and gradients are
float32 whatever the dtype of the activations.

Which threads do what changes no bit: of a sum no two threads have a part.

Shapes: N adapter rows, P weights a row, M tokens of all, T of a tile, R rank, S the ranks of all adapted members
together, I in, O out of one member, C columns of a block.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from bora_trainer.adapters.factors import Factors
from bora_trainer.compiled_passes import (
    STORED,
    Pass,
    compiled,
    ended,
    number_at,
    part_of,
    rounded,
    tensor_at,
    tensor_of,
    wide,
)
from bora_trainer.compiled_products import add_product, turn
from bora_trainer.row_layout import RowLayout

# Above it torch's products are faster, of bfloat16 as they take that alone, or would be, as factors leave the cache. By
# rank and type alone, so that a run has one arithmetic whatever its batches.
_MOST_RANK = {torch.float32: 256, torch.bfloat16: 32}
_TILE = 32  # tokens
_LEAST_TOKENS = 8  # of a block, where a row is shared out; columns of a gradient are cut into as many blocks
_COLUMNS = 16  # a block of columns begins at a multiple of it
_UNITS_A_THREAD = 4  # fewer are shared out unevenly
_PRODUCTS_A_NUMBER = 8  # that take as long as one number of an element-wise pass
_FLOAT = 4  # bytes


def takes(x: Tensor, rows_NP: Tensor, factors: Factors) -> bool:
    """Whether the passes know such activations and rows, and are as fast as torch's own operations."""
    fits = x.is_cpu and x.dtype in _PASSES and rows_NP.dtype == torch.float32
    return fits and factors.rank <= _MOST_RANK[x.dtype]


def add_change(x_MI: Tensor, outputs: Sequence[Tensor], rows_NP: Tensor, factors: Factors, layout: RowLayout) -> Tensor:
    """Adds scale * (x A_n^T) B_n^T to the adapted members' outputs, M * O numbers each, and returns scale * x A^T,
    [M, S], float32. All are contiguous. Tokens behind the last row get no change.

    Raises ValueError for tensors that do not fit each other, as the other two do: from here on they are addresses.
    """
    shrunk_MS = x_MI.new_zeros(len(x_MI), factors.ranks, dtype=torch.float32)
    _run(x_MI.dtype, "forward", rows_NP, factors, layout, (x_MI, shrunk_MS), outputs)
    return shrunk_MS


def add_slope(
    dx_MI: Tensor | None, slopes: Sequence[Tensor | None], rows_NP: Tensor, factors: Factors, layout: RowLayout
) -> Tensor:
    """Adds what of d x goes through the change to `dx_MI`, where anybody asks for it, and returns
    scale * d change B, [M, S], float32. `slopes`: d output of the adapted members, [M, O], contiguous; None: of none.
    """
    dy_MO = next(dy for dy in slopes if dy is not None)
    d_shrunk_MS = dy_MO.new_zeros(len(dy_MO), factors.ranks, dtype=torch.float32)
    _run(dy_MO.dtype, "slope", rows_NP, factors, layout, (dx_MI, d_shrunk_MS), slopes)
    return d_shrunk_MS


def add_gradients(
    gradient_NP: Tensor, x_MI: Tensor, between: tuple[Tensor, Tensor], slopes: Sequence[Tensor | None],
    factors: Factors, layout: RowLayout,
) -> None:  # fmt: skip
    """Adds d A and d B to `gradient_NP`. `between`: what `add_change` and `add_slope` returned; `slopes` as there."""
    _run(x_MI.dtype, "gradients", gradient_NP, factors, layout, (x_MI, *between), slopes)


# The numbers of a pass, by place; from _MEMBERS on three for each adapted member: O, its B, its output or slope.
_BLOCKS, _WIDTH, _TOKENS, _ROW_BYTES, _INPUTS, _RANK, _COUNT, _A, _SCALE, _PLACE, _REAL = range(11)
_X, _BETWEEN, _SLOPE_BETWEEN, _MEMBERS = range(11, 15)


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
    blocks = max(1, min(-(-_UNITS_A_THREAD * torch.get_num_threads() // rows), width // _LEAST_TOKENS))
    first, places = rows_NP.data_ptr(), rows * width
    numbers = [
        blocks, width, tokens, rows_NP.stride(0) * _FLOAT, inputs, factors.rank, len(factors.slots_b),
        first + factors.slot_a.offset * _FLOAT, factors.scale_1.data_ptr(),
        _address(layout.place, places, torch.int64), _address(layout.real, places, torch.bool),
        _address(x_MI, tokens * inputs, dtype), _address(between_MS, tokens * ranks, torch.float32),
        _address(given[2] if len(given) > 2 else None, tokens * ranks, torch.float32),
    ]  # fmt: skip
    for slot, side in zip(factors.slots_b, sides, strict=True):
        numbers += slot.shape[0], first + slot.offset * _FLOAT, _address(side, tokens * slot.shape[0], dtype)
    size = tokens * factors.products // _PRODUCTS_A_NUMBER
    getattr(_PASSES[dtype], name)(rows * blocks, size, *numbers)


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
def _sizes(given):
    """M, I, R, and how many members are adapted."""
    return number_at(given, _TOKENS), number_at(given, _INPUTS), number_at(given, _RANK), number_at(given, _COUNT)


@compiled
def _row(given, n):
    """Where the tokens of row n begin, and how many there are."""
    width, place, real = number_at(given, _WIDTH), number_at(given, _PLACE), number_at(given, _REAL)
    if place == 0:
        return n * width, width
    count = 0
    of_row = tensor_of(real + n * width, width, np.uint8)
    while count < width and of_row[count]:
        count += 1
    return tensor_of(place + 8 * n * width, 1, np.int64)[0], count


@compiled
def _factor(given, place, n, shape):
    """The factor of row n; number `place` is the address of the first row's."""
    return tensor_of(number_at(given, place) + n * number_at(given, _ROW_BYTES), shape, np.float32)


@compiled
def _member(j):
    """The place of the first number of member j."""
    return _MEMBERS + 3 * j


@compiled
def _widest(given):
    widest = 0
    for j in range(number_at(given, _COUNT)):
        widest = max(widest, number_at(given, _member(j)))
    return widest


@compiled
def _widened(x, first, count, columns, to_TC):
    for t in range(count):
        for c in range(columns):
            to_TC[t, c] = wide(x[first + t, c])


@compiled
def _kept(from_TC, columns, x, first, count):
    for t in range(count):
        for c in range(columns):
            x[first + t, c] = rounded(from_TC[t, c], x[first + t, c])


@compiled
def _scaled(s_TS, count, scale, between, first):
    """A tile of what is between A and B is done: kept, and in hand for what follows."""
    for t in range(count):
        for s in range(s_TS.shape[1]):
            s_TS[t, s] *= scale
            between[first + t, s] = s_TS[t, s]


@compiled
def _tokens_of(given, unit):
    """The row of a unit, and its tokens: from the second up to the third."""
    blocks = number_at(given, _BLOCKS)
    n, block = unit // blocks, unit % blocks
    first, count = _row(given, n)
    return n, first + count * block // blocks, first + count * (block + 1) // blocks


@compiled
def _columns_of(given, unit, columns):
    """The first of a unit's columns, and how many."""
    blocks = number_at(given, _BLOCKS)
    block, pieces = unit % blocks, -(-columns // _COLUMNS)
    first = pieces * block // blocks * _COLUMNS
    return first, min(columns, pieces * (block + 1) // blocks * _COLUMNS) - first


@compiled
def _forward(given, start, stop, stored):
    tokens, inputs, rank, members = _sizes(given)
    ranks, widest, scale = rank * members, _widest(given), tensor_at(given, _SCALE, 1, np.float32)[0]
    x = tensor_at(given, _X, (tokens, inputs), stored)
    between = tensor_at(given, _BETWEEN, (tokens, ranks), np.float32)
    x_TI, s_TS = np.empty((_TILE, inputs), np.float32), np.empty((_TILE, ranks), np.float32)
    y_TO, a_IS = np.empty((_TILE, widest), np.float32), np.empty((inputs, ranks), np.float32)
    b_SO = np.empty((ranks, widest), np.float32)
    for unit in range(start, stop):
        n, begin, end = _tokens_of(given, unit)
        turn(_factor(given, _A, n, (ranks, inputs)), a_IS)
        for j in range(members):
            b_OR = _factor(given, _member(j) + 1, n, (number_at(given, _member(j)), rank))
            turn(b_OR, b_SO[j * rank : (j + 1) * rank])
        for t in range(begin, end, _TILE):
            count = min(_TILE, end - t)
            _widened(x, t, count, inputs, x_TI)
            s_TS[:] = 0
            add_product(s_TS, x_TI[:count], a_IS)
            _scaled(s_TS, count, scale, between, t)
            for j in range(members):
                out = number_at(given, _member(j))
                y = tensor_at(given, _member(j) + 2, (tokens, out), stored)
                _widened(y, t, count, out, y_TO)
                add_product(y_TO[:, :out], s_TS[:count, j * rank : (j + 1) * rank], b_SO[j * rank : (j + 1) * rank])
                _kept(y_TO, out, y, t, count)


@compiled
def _slope(given, start, stop, stored):
    tokens, inputs, rank, members = _sizes(given)
    ranks, scale = rank * members, tensor_at(given, _SCALE, 1, np.float32)[0]
    asked, dx = number_at(given, _X) != 0, tensor_at(given, _X, (tokens, inputs), stored)
    between = tensor_at(given, _BETWEEN, (tokens, ranks), np.float32)
    dx_TI, s_TS = np.empty((_TILE, inputs), np.float32), np.empty((_TILE, ranks), np.float32)
    dy_TO = np.empty((_TILE, _widest(given)), np.float32)
    for unit in range(start, stop):
        n, begin, end = _tokens_of(given, unit)
        for t in range(begin, end, _TILE):
            count = min(_TILE, end - t)
            s_TS[:] = 0
            for j in range(members):
                if number_at(given, _member(j) + 2) == 0:
                    continue
                out = number_at(given, _member(j))
                dy = tensor_at(given, _member(j) + 2, (tokens, out), stored)
                _widened(dy, t, count, out, dy_TO)
                b_OR = _factor(given, _member(j) + 1, n, (out, rank))
                add_product(s_TS[:, j * rank : (j + 1) * rank], dy_TO[:count, :out], b_OR)
            _scaled(s_TS, count, scale, between, t)
            if asked:
                _widened(dx, t, count, inputs, dx_TI)
                add_product(dx_TI, s_TS[:count], _factor(given, _A, n, (ranks, inputs)))
                _kept(dx_TI, inputs, dx, t, count)


@compiled
def _gradients(given, start, stop, stored, size):
    """`size`: bytes of a stored number. Tensors begin at a unit's first column, as numba looks at the sign of an index
    that another is added to, every time.
    """
    tokens, inputs, rank, members = _sizes(given)
    ranks = rank * members
    shrunk = tensor_at(given, _BETWEEN, (tokens, ranks), np.float32)
    d_shrunk = tensor_at(given, _SLOPE_BETWEEN, (tokens, ranks), np.float32)
    x_TC = np.empty((_TILE, max(inputs, _widest(given))), np.float32)
    for unit in range(start, stop):
        n = unit // number_at(given, _BLOCKS)
        begin, many = _row(given, n)
        for t in range(begin, begin + many, _TILE):
            end = min(t + _TILE, begin + many)
            column, columns = _columns_of(given, unit, inputs)
            x = tensor_of(number_at(given, _X) + column * size, (tokens, inputs), stored)
            _widened(x, t, end - t, columns, x_TC)
            da_SI = _factor(given, _A, n, (ranks, inputs))
            add_product(da_SI[:, column : column + columns], d_shrunk[t:end].T, x_TC)
            for j in range(members):
                if number_at(given, _member(j) + 2) == 0:
                    continue
                out = number_at(given, _member(j))
                column, columns = _columns_of(given, unit, out)
                dy = tensor_of(number_at(given, _member(j) + 2) + column * size, (tokens, out), stored)
                _widened(dy, t, end - t, columns, x_TC)
                db_OR = _factor(given, _member(j) + 1, n, (out, rank))
                s_TR = shrunk[t:end, j * rank : (j + 1) * rank]
                add_product(db_OR[column : column + columns], x_TC[: end - t, :columns].T, s_TR)


@dataclass(frozen=True, slots=True)
class _Passes:
    forward: Pass
    slope: Pass
    gradients: Pass


def _passes(stored: type) -> _Passes:
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

    return _Passes(Pass(forward), Pass(slope), Pass(gradients))


_PASSES = {dtype: _passes(stored) for dtype, stored in STORED.items()}
