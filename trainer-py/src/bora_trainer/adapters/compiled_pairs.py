"""The change of adapter rows of high rank on a CPU, for activations in bfloat16, compiled as in compiled_change.py.

Of high ranks the time goes to products, so their factors are rounded to bfloat16, A and B and what lies between them,
which is kept so, too: torch multiplies them so with such activations, twice as many at once where the processor knows
pairs. Sums and gradients are float32.

A pair is two numbers that follow each other among the terms of a product (compiled_products.py): of activations and of
what is between A and B as it lies where features are summed over, else zipped from two rows, the last of an odd number
of tokens with 0.

Shapes: as in compiled_change.py. A lower-case letter counts pairs: i of I, o of O, r of R, s of S, p of tokens.
"""

from __future__ import annotations

import numpy as np

from bora_trainer.adapters.compiled_units import (
    BETWEEN,
    SCALE,
    SLOPE_BETWEEN,
    TILE,
    A,
    ChangePasses,
    X,
    columns_of,
    factor_of,
    keep,
    next_tokens,
    next_units,
    place_of,
    sizes_of,
    widen,
    widest_of,
)
from bora_trainer.adapters.factors import Factors
from bora_trainer.compiled_passes import Pass, compiled, ended, number_at, part_of, rounded, tensor_at, tensor_of
from bora_trainer.compiled_products import WITH_TILES, add_pairs, nothing_ahead, turn

_PAIRS = 32  # of tokens, a tile of gradients, which are read and written once for each


def takes(factors: Factors) -> bool:
    """Whether inputs, outputs and ranks come in pairs, and torch's products have no faster way."""
    return not WITH_TILES and all(size % 2 == 0 for slot in (factors.slot_a, *factors.slots_b) for size in slot.shape)


@compiled
def _pair(first, second):
    """Two numbers, bfloat16 as `STORED` has it or float32, which is rounded."""
    return np.uint32(rounded(first, np.uint16(0))) | np.uint32(rounded(second, np.uint16(0))) << np.uint32(16)


@compiled
def _pack(from_RC, to_Rc):
    """Pairs along a row: to[r, c] = from[r, 2 c] and from[r, 2 c + 1]."""
    for r in range(from_RC.shape[0]):
        for c in range(to_Rc.shape[1]):
            to_Rc[r, c] = _pair(from_RC[r, 2 * c], from_RC[r, 2 * c + 1])


@compiled
def _pack_scaled(from_RC, scale, to_Rc):
    """As `_pack`, of as many rows as it has room for, each number times `scale`."""
    for r in range(to_Rc.shape[0]):
        for c in range(to_Rc.shape[1]):
            to_Rc[r, c] = _pair(from_RC[r, 2 * c] * scale, from_RC[r, 2 * c + 1] * scale)


@compiled
def _zip(from_RC, to_rC):
    """Pairs of rows: to[r, c] = from[2 r, c] and from[2 r + 1, c]."""
    rows, columns = from_RC.shape
    for r in range(rows // 2):
        for c in range(columns):
            to_rC[r, c] = _pair(from_RC[2 * r, c], from_RC[2 * r + 1, c])
    if rows % 2 == 1:
        for c in range(columns):
            to_rC[rows // 2, c] = _pair(from_RC[rows - 1, c], np.float32(0))


@compiled
def _forward(given, start, stop):
    tokens, inputs, rank, members = sizes_of(given)
    ranks, half, widest, scale = rank * members, rank // 2, widest_of(given), tensor_at(given, SCALE, 1, np.float32)[0]
    x = tensor_at(given, X, (tokens, inputs // 2), np.uint32)
    between = tensor_at(given, BETWEEN, (tokens, ranks // 2), np.uint32)
    s_TS, y_TO = np.empty((TILE, ranks), np.float32), np.empty((TILE, widest), np.float32)
    a_Si, a_iS = np.empty((ranks, inputs // 2), np.uint32), np.empty((inputs // 2, ranks), np.uint32)
    b_Or, b_sO = np.empty((widest, half), np.uint32), np.empty((ranks // 2, widest), np.uint32)
    ahead = nothing_ahead(members + 1)
    while start < stop:
        n, begin, end, start = next_tokens(given, ahead, start, stop)
        if begin == end:
            continue
        _pack(factor_of(given, A, n, (ranks, inputs)), a_Si)
        turn(a_Si, a_iS)
        for j in range(members):
            out = number_at(given, place_of(j))
            _pack(factor_of(given, place_of(j) + 1, n, (out, rank)), b_Or)
            turn(b_Or[:out], b_sO[j * half : (j + 1) * half])
        for t in range(begin, end, TILE):
            count = min(TILE, end - t)
            s_TS[:] = 0
            add_pairs(s_TS, x[t : t + count], a_iS, ahead)
            s_Ts = between[t : t + count]
            _pack_scaled(s_TS, scale, s_Ts)
            for j in range(members):
                out = number_at(given, place_of(j))
                y = tensor_at(given, place_of(j) + 2, (tokens, out), np.uint16)
                widen(y, t, count, out, y_TO)
                add_pairs(y_TO[:, :out], s_Ts[:, j * half : (j + 1) * half], b_sO[j * half : (j + 1) * half], ahead)
                keep(y_TO, out, y, t, count)


@compiled
def _slope(given, start, stop):
    tokens, inputs, rank, members = sizes_of(given)
    ranks, widest, scale = rank * members, widest_of(given), tensor_at(given, SCALE, 1, np.float32)[0]
    asked, dx = number_at(given, X) != 0, tensor_at(given, X, (tokens, inputs), np.uint16)
    between = tensor_at(given, BETWEEN, (tokens, ranks // 2), np.uint32)
    s_TS, dx_TI = np.empty((TILE, ranks), np.float32), np.empty((TILE, inputs), np.float32)
    a_sI, b_oR = np.empty((ranks // 2, inputs), np.uint32), np.empty((members, widest // 2, rank), np.uint32)
    ahead = nothing_ahead(members + 1)
    while start < stop:
        n, begin, end, start = next_tokens(given, ahead, start, stop)
        if begin == end:
            continue
        if asked:
            _zip(factor_of(given, A, n, (ranks, inputs)), a_sI)
        for j in range(members):
            if number_at(given, place_of(j) + 2) != 0:
                _zip(factor_of(given, place_of(j) + 1, n, (number_at(given, place_of(j)), rank)), b_oR[j])
        for t in range(begin, end, TILE):
            count = min(TILE, end - t)
            s_TS[:] = 0
            for j in range(members):
                if number_at(given, place_of(j) + 2) == 0:
                    continue
                dy = tensor_at(given, place_of(j) + 2, (tokens, number_at(given, place_of(j)) // 2), np.uint32)
                add_pairs(s_TS[:, j * rank : (j + 1) * rank], dy[t : t + count], b_oR[j], ahead)
            s_Ts = between[t : t + count]
            _pack_scaled(s_TS, scale, s_Ts)
            if asked:
                widen(dx, t, count, inputs, dx_TI)
                add_pairs(dx_TI, s_Ts, a_sI, ahead)
                keep(dx_TI, inputs, dx, t, count)


@compiled
def _gradients(given, start, stop):
    tokens, inputs, rank, members = sizes_of(given)
    ranks, most = rank * members, max(inputs, widest_of(given))
    shrunk = tensor_at(given, BETWEEN, (tokens, ranks), np.uint16)
    d_shrunk = tensor_at(given, SLOPE_BETWEEN, (tokens, ranks), np.uint16)
    s_pS, ds_pS = np.empty((_PAIRS, ranks), np.uint32), np.empty((_PAIRS, ranks), np.uint32)
    x_pC = np.empty((_PAIRS, most), np.uint32)
    ahead = nothing_ahead(members + 1)
    while start < stop:
        n, block, after, begin, many, start = next_units(given, ahead, start, stop)
        for t in range(begin, begin + many, 2 * _PAIRS):
            end = min(t + 2 * _PAIRS, begin + many)
            pairs = (end - t + 1) // 2
            _zip(shrunk[t:end], s_pS)
            _zip(d_shrunk[t:end], ds_pS)
            column, columns = columns_of(given, block, after, inputs)
            x = tensor_of(number_at(given, X) + column * 2, (tokens, inputs), np.uint16)
            _zip(x[t:end, :columns], x_pC)
            da_SI = factor_of(given, A, n, (ranks, inputs))
            add_pairs(da_SI[:, column : column + columns], ds_pS[:pairs].T, x_pC, ahead)
            for j in range(members):
                if number_at(given, place_of(j) + 2) == 0:
                    continue
                out = number_at(given, place_of(j))
                column, columns = columns_of(given, block, after, out)
                dy = tensor_of(number_at(given, place_of(j) + 2) + column * 2, (tokens, out), np.uint16)
                _zip(dy[t:end, :columns], x_pC)
                db_OR = factor_of(given, place_of(j) + 1, n, (out, rank))
                s_pR = s_pS[:pairs, j * rank : (j + 1) * rank]
                add_pairs(db_OR[column : column + columns], x_pC[:pairs, :columns].T, s_pR, ahead)


def _forward_of(given):
    _, start, stop = part_of(given)
    _forward(given, start, stop)
    ended(given)


def _slope_of(given):
    _, start, stop = part_of(given)
    _slope(given, start, stop)
    ended(given)


def _gradients_of(given):
    _, start, stop = part_of(given)
    _gradients(given, start, stop)
    ended(given)


PASSES = ChangePasses(Pass(_forward_of), Pass(_slope_of), Pass(_gradients_of))
