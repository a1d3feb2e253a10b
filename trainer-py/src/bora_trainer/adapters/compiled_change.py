"""The change of many adapter rows on a CPU, compiled: one pass forward, two backward.

In torch's operations it is a dozen calls a module forward and backward, which for rows of few tokens take longer than
their arithmetic (docs/performance.md), and rows of unequal length have to be laid out as a rectangle first. Here each
row's tokens are read where they lie, a tile at a time that stays in the cache, and factors, products and gradients are
float32 whatever the dtype of the activations.

Shapes: N adapter rows, P weights a row, M tokens of all, T of a tile, R rank, S the ranks of all adapted members
together, I in, O out of one member, C columns of a block.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bora_trainer.adapters.layout import Slot
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
from bora_trainer.row_layout import RowLayout

_TILE = 32  # tokens; a multiple of 4
_LEAST_TOKENS = 8  # of a block
_UNITS_A_THREAD = 4  # fewer are shared out unevenly
_PRODUCTS_A_NUMBER = 8  # that take as long as one number of an element-wise pass
# Multiplications of all tokens with A and B, times the rank: torch's own products are as fast from there on where rows
# are a rectangle, and the faster the higher the rank. Others would have to be laid out as one first. Measured,
# docs/performance.md.
_MOST_OF_RECTANGLES, _MOST = 1 << 29, 1 << 31


@dataclass(frozen=True, slots=True)
class Factors:
    """Where all A [S, I] and each B [O, R] lie in rows [N, P], and what a change is multiplied with, [1], float32."""

    slot_a: Slot
    slots_b: tuple[Slot, ...]
    scale: Tensor

    @property
    def ranks(self) -> int:
        return self.slot_a.shape[0]

    @property
    def rank(self) -> int:
        return self.slots_b[0].shape[1]

    @property
    def products(self) -> int:
        """Multiplications of one token."""
        return self.slot_a.size + sum(slot.size for slot in self.slots_b)


def takes(x: Tensor, rows_NP: Tensor, factors: Factors, layout: RowLayout) -> bool:
    """Whether the passes know such activations and rows, and are as fast as torch's own operations."""
    known = x.is_cpu and x.dtype in _PASSES and rows_NP.dtype == torch.float32 and rows_NP.stride(1) == 1
    most = _MOST_OF_RECTANGLES if layout.place is None else _MOST
    return known and x.shape[:-1].numel() * factors.products * factors.rank <= most


def add_change(x_MI: Tensor, outputs: Sequence[Tensor], rows_NP: Tensor, factors: Factors, layout: RowLayout) -> Tensor:
    """Adds scale * (x A_n^T) B_n^T to the adapted members' outputs, M * O numbers each, and returns scale * x A^T,
    [M, S], float32. All are contiguous. Tokens behind the last row get no change.
    """
    shrunk_MS = x_MI.new_zeros(len(x_MI), factors.ranks, dtype=torch.float32)
    _run(_PASSES[x_MI.dtype].forward, rows_NP, factors, layout, (x_MI, shrunk_MS), outputs)
    return shrunk_MS


def add_slope(
    dx_MI: Tensor | None, slopes: Sequence[Tensor | None], rows_NP: Tensor, factors: Factors, layout: RowLayout
) -> Tensor:
    """Adds what of d x goes through the change to `dx_MI`, where anybody asks for it, and returns
    scale * d change B, [M, S], float32. `slopes`: d output of the adapted members, [M, O], contiguous; None: of none.
    """
    dy_MO = next(dy for dy in slopes if dy is not None)
    d_shrunk_MS = dy_MO.new_zeros(len(dy_MO), factors.ranks, dtype=torch.float32)
    _run(_PASSES[dy_MO.dtype].slope, rows_NP, factors, layout, (dx_MI, d_shrunk_MS), slopes)
    return d_shrunk_MS


def add_gradients(
    gradient_NP: Tensor, x_MI: Tensor, between: tuple[Tensor, Tensor], slopes: Sequence[Tensor | None],
    factors: Factors, layout: RowLayout,
) -> None:  # fmt: skip
    """Adds d A and d B to `gradient_NP`. `between`: what `add_change` and `add_slope` returned; `slopes` as there."""
    _run(_PASSES[x_MI.dtype].gradients, gradient_NP, factors, layout, (x_MI, *between), slopes)


def _run(
    one: Pass, rows_NP: Tensor, factors: Factors, layout: RowLayout, given: Sequence[Tensor | None],
    sides: Sequence[Tensor | None],
) -> None:  # fmt: skip
    """`given`: up to three, the second [M, S]. `sides`: outputs or their slopes; what is beside the adapted is left."""
    assert given[1] is not None
    tokens, rows = len(given[1]), len(rows_NP)
    width = tokens // rows if layout.place is None else layout.width
    wanted = -(-_UNITS_A_THREAD * torch.get_num_threads() // rows)
    blocks = max(1, min(wanted, width // _LEAST_TOKENS))
    first = rows_NP.data_ptr()
    numbers = [
        blocks, width, tokens, rows_NP.stride(0) * _FLOAT, factors.slot_a.shape[1], factors.rank,
        len(factors.slots_b), first + factors.slot_a.offset * _FLOAT, factors.scale.data_ptr(),
        *(0 if index is None else index.data_ptr() for index in (layout.place, layout.real)),
        *(0 if tensor is None else tensor.data_ptr() for tensor in given), *[0] * (3 - len(given)),
    ]  # fmt: skip
    for slot, side in zip(factors.slots_b, sides, strict=False):
        numbers += slot.shape[0], first + slot.offset * _FLOAT, 0 if side is None else side.data_ptr()
    one(rows * blocks, tokens * factors.products // _PRODUCTS_A_NUMBER, *numbers)


_FLOAT = 4  # bytes
_FASTMATH = {"reassoc", "contract"}  # sums as vectors


@compiled
def _sizes(given):
    """M, I, R and how many members are adapted."""
    return number_at(given, 2), number_at(given, 4), number_at(given, 5), number_at(given, 6)


@compiled
def _row(given, n):
    """Where the tokens of row n begin, and how many there are."""
    width, place, real = number_at(given, 1), number_at(given, 9), number_at(given, 10)
    if place == 0:
        return n * width, width
    count = 0
    of_row = tensor_of(real + n * width, width, np.uint8)
    while count < width and of_row[count]:
        count += 1
    return tensor_of(place + 8 * n * width, 1, np.int64)[0], count


@compiled
def _address(given, place, n):
    """Of a factor of row n; number `place` is that of the first row."""
    return number_at(given, place) + n * number_at(given, 3)


@compiled
def _factor(given, place, n, shape):
    """The factor itself."""
    return tensor_of(_address(given, place, n), shape, np.float32)


@compiled
def _member(j):
    """The place of the first number of member j."""
    return 14 + 3 * j


@compiled
def _widened(x, first, count, columns, to_TC):
    for t in range(count):
        for c in range(columns):
            to_TC[t, c] = wide(x[first + t, c])


@compiled
def _stored(from_TC, columns, x, first, count):
    for t in range(count):
        for c in range(columns):
            x[first + t, c] = rounded(from_TC[t, c], x[first + t, c])


@compiled
def _transposed(b_OR, to_RO):
    for r in range(b_OR.shape[1]):
        for o in range(b_OR.shape[0]):
            to_RO[r, o] = b_OR[o, r]


def _dots_of(x_TI, count, w_RI, scale, to_TS, column):
    """to[t, column + r] = scale * x_t . w_r of `count` tokens; up to three rows behind them mean nothing."""
    rank, inputs = w_RI.shape
    for t in range(0, count, 4):
        for r in range(0, rank, 4):
            r1, r2, r3 = min(r + 1, rank - 1), min(r + 2, rank - 1), min(r + 3, rank - 1)
            a0 = a1 = a2 = a3 = b0 = b1 = b2 = b3 = np.float32(0)
            d0 = d1 = d2 = d3 = e0 = e1 = e2 = e3 = np.float32(0)
            for i in range(inputs):
                x0, x1, x2, x3 = x_TI[t, i], x_TI[t + 1, i], x_TI[t + 2, i], x_TI[t + 3, i]
                w0, w1, w2, w3 = w_RI[r, i], w_RI[r1, i], w_RI[r2, i], w_RI[r3, i]
                a0 += x0 * w0
                a1 += x0 * w1
                a2 += x0 * w2
                a3 += x0 * w3
                b0 += x1 * w0
                b1 += x1 * w1
                b2 += x1 * w2
                b3 += x1 * w3
                d0 += x2 * w0
                d1 += x2 * w1
                d2 += x2 * w2
                d3 += x2 * w3
                e0 += x3 * w0
                e1 += x3 * w1
                e2 += x3 * w2
                e3 += x3 * w3
            to_TS[t, column + r], to_TS[t, column + r1] = scale * a0, scale * a1
            to_TS[t, column + r2], to_TS[t, column + r3] = scale * a2, scale * a3
            to_TS[t + 1, column + r], to_TS[t + 1, column + r1] = scale * b0, scale * b1
            to_TS[t + 1, column + r2], to_TS[t + 1, column + r3] = scale * b2, scale * b3
            to_TS[t + 2, column + r], to_TS[t + 2, column + r1] = scale * d0, scale * d1
            to_TS[t + 2, column + r2], to_TS[t + 2, column + r3] = scale * d2, scale * d3
            to_TS[t + 3, column + r], to_TS[t + 3, column + r1] = scale * e0, scale * e1
            to_TS[t + 3, column + r2], to_TS[t + 3, column + r3] = scale * e2, scale * e3


def _add_products_of(to, count, x_QC, columns, w, w_first, w_column, terms):
    """to[p, c] += sum over q < `terms` of w[w_first + q, w_column + p] * x[q, c], for `count` p."""
    for p in range(0, count, 2):
        last = min(p + 1, count - 1)
        for q in range(0, terms, 4):
            q0, q1, q2, q3 = q, min(q + 1, terms - 1), min(q + 2, terms - 1), min(q + 3, terms - 1)
            a0, b0 = w[w_first + q0, w_column + p], w[w_first + q0, w_column + last]
            a1, b1 = w[w_first + q1, w_column + p], w[w_first + q1, w_column + last]
            a2, b2 = w[w_first + q2, w_column + p], w[w_first + q2, w_column + last]
            a3, b3 = w[w_first + q3, w_column + p], w[w_first + q3, w_column + last]
            if q + 3 >= terms:
                a3 = b3 = np.float32(0)
            if q + 2 >= terms:
                a2 = b2 = np.float32(0)
            if q + 1 >= terms:
                a1 = b1 = np.float32(0)
            if last == p:
                b0 = b1 = b2 = b3 = np.float32(0)
            for c in range(columns):
                x0, x1, x2, x3 = x_QC[q0, c], x_QC[q1, c], x_QC[q2, c], x_QC[q3, c]
                to[p, c] += a0 * x0 + a1 * x1 + a2 * x2 + a3 * x3
                to[last, c] += b0 * x0 + b1 * x1 + b2 * x2 + b3 * x3


_dots = compiled(_dots_of, fastmath=_FASTMATH)
_add_products = compiled(_add_products_of, fastmath=_FASTMATH)


@compiled
def _widest(given):
    members, widest = number_at(given, 6), 0
    for j in range(members):
        widest = max(widest, number_at(given, _member(j)))
    return widest


@compiled
def _turned_factors(given, n, to):
    """Every B of row n as [R, O], one behind the other."""
    rank, begin = number_at(given, 5), 0
    for j in range(number_at(given, 6)):
        out = number_at(given, _member(j))
        b_OR = _factor(given, _member(j) + 1, n, (out, rank))
        _transposed(b_OR, to[begin : begin + rank * out].reshape(rank, out))
        begin += rank * out


@compiled
def _block(given, unit):
    """The row of a unit, and its tokens: from the second up to the third."""
    blocks = number_at(given, 0)
    n, block = unit // blocks, unit % blocks
    first, count = _row(given, n)
    return n, first + count * block // blocks, first + count * (block + 1) // blocks


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
        tokens, inputs, rank, members = _sizes(given)
        ranks, widest, scale = rank * members, _widest(given), tensor_at(given, 8, 1, np.float32)[0]
        x = tensor_at(given, 11, (tokens, inputs), stored)
        shrunk = tensor_at(given, 12, (tokens, ranks), np.float32)
        x_TI, s_TS = np.zeros((_TILE, inputs), np.float32), np.zeros((_TILE, ranks), np.float32)
        turned, room = np.empty(ranks * widest, np.float32), np.zeros(_TILE * widest, np.float32)
        for unit in range(start, stop):
            n, begin, end = _block(given, unit)
            a_SI = _factor(given, 7, n, (ranks, inputs))
            _turned_factors(given, n, turned)
            for t in range(begin, end, _TILE):
                count, at = min(_TILE, end - t), 0
                _widened(x, t, count, inputs, x_TI)
                _dots(x_TI, count, a_SI, scale, s_TS, 0)
                shrunk[t : t + count] = s_TS[:count]
                for j in range(members):
                    out = number_at(given, _member(j))
                    y = tensor_at(given, _member(j) + 2, (tokens, out), stored)
                    y_TO = room[: _TILE * out].reshape(_TILE, out)
                    b_RO = turned[at : at + rank * out].reshape(rank, out)
                    _widened(y, t, count, out, y_TO)
                    _add_products(y_TO, count, b_RO, out, s_TS.T, j * rank, 0, rank)
                    _stored(y_TO, out, y, t, count)
                    at += rank * out
        ended(given)

    def slope(given):
        _, start, stop = part_of(given)
        tokens, inputs, rank, members = _sizes(given)
        ranks, widest, scale = rank * members, _widest(given), tensor_at(given, 8, 1, np.float32)[0]
        asked = number_at(given, 11) != 0
        dx = tensor_at(given, 11, (tokens, inputs), stored)
        d_shrunk = tensor_at(given, 12, (tokens, ranks), np.float32)
        dx_TI, s_TS = np.zeros((_TILE, inputs), np.float32), np.zeros((_TILE, ranks), np.float32)
        turned, room = np.empty(ranks * widest, np.float32), np.zeros(_TILE * widest, np.float32)
        for unit in range(start, stop):
            n, begin, end = _block(given, unit)
            a_SI = _factor(given, 7, n, (ranks, inputs))
            _turned_factors(given, n, turned)
            for t in range(begin, end, _TILE):
                count, at = min(_TILE, end - t), 0
                for j in range(members):
                    out = number_at(given, _member(j))
                    b_RO = turned[at : at + rank * out].reshape(rank, out)
                    at += rank * out
                    if number_at(given, _member(j) + 2) == 0:
                        s_TS[:, j * rank : (j + 1) * rank] = 0
                        continue
                    dy = tensor_at(given, _member(j) + 2, (tokens, out), stored)
                    dy_TO = room[: _TILE * out].reshape(_TILE, out)
                    _widened(dy, t, count, out, dy_TO)
                    _dots(dy_TO, count, b_RO, scale, s_TS, j * rank)
                d_shrunk[t : t + count] = s_TS[:count]
                if asked:
                    _widened(dx, t, count, inputs, dx_TI)
                    _add_products(dx_TI, count, a_SI, inputs, s_TS.T, 0, 0, ranks)
                    _stored(dx_TI, inputs, dx, t, count)
        ended(given)

    def gradients(given):
        _, start, stop = part_of(given)
        tokens, inputs, rank, members = _sizes(given)
        ranks, widest, blocks = rank * members, _widest(given), number_at(given, 0)
        shrunk = tensor_at(given, 12, (tokens, ranks), np.float32)
        d_shrunk = tensor_at(given, 13, (tokens, ranks), np.float32)
        x_TC = np.zeros((_TILE, max(inputs, widest)), np.float32)
        turned = np.empty(rank * widest, np.float32)
        for unit in range(start, stop):
            n, block = unit // blocks, unit % blocks
            begin, many = _row(given, n)
            column = inputs * block // blocks
            columns = inputs * (block + 1) // blocks - column
            # From their first column, as an index that is added to is looked at every time.
            x = tensor_of(number_at(given, 11) + column * size, (tokens, inputs), stored)
            da_SI = tensor_of(_address(given, 7, n) + column * _FLOAT, (ranks, inputs), np.float32)
            for t in range(begin, begin + many, _TILE):
                count = min(_TILE, begin + many - t)
                _widened(x, t, count, columns, x_TC)
                _add_products(da_SI, ranks, x_TC, columns, d_shrunk, t, 0, count)
            for j in range(members):
                out = number_at(given, _member(j))
                if number_at(given, _member(j) + 2) == 0:
                    continue
                column = out * block // blocks
                columns = out * (block + 1) // blocks - column
                dy = tensor_of(number_at(given, _member(j) + 2) + column * size, (tokens, out), stored)
                db_OR = _factor(given, _member(j) + 1, n, (out, rank))
                db_RC = turned[: rank * columns].reshape(rank, columns)
                db_RC[:] = 0
                for t in range(begin, begin + many, _TILE):
                    count = min(_TILE, begin + many - t)
                    _widened(dy, t, count, columns, x_TC)
                    _add_products(db_RC, rank, x_TC, columns, shrunk, t, j * rank, count)
                for o in range(columns):
                    for r in range(rank):
                        db_OR[column + o, r] += db_RC[r, o]
        ended(given)

    return _Passes(Pass(forward), Pass(slope), Pass(gradients))


_PASSES = {dtype: _passes(stored) for dtype, stored in STORED.items()}
