"""What a compiled pass over adapter rows is given, and which part of it is whose.

A unit is what threads are given at least: a block of a row's tokens, or of the columns of its gradients. What a thread
has of one row it does at once, as the row's factors are laid out anew each time.

Shapes: M tokens of all, T of a tile, R rank, S the ranks of all adapted members together, I in, O out of one member, C
columns of a block.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bora_trainer.compiled_passes import Pass, compiled, number_at, rounded, tensor_of, wide
from bora_trainer.compiled_products import look_ahead, look_anew

TILE = 32  # tokens
FLOAT = 4  # bytes
COLUMNS = 16  # a block of columns begins at a multiple of it

# The numbers of a pass, by place. How many units share a row, the longest row, all tokens, bytes from an adapter row to
# the next, sizes; then addresses: of the first row's A, of the scale, of a layout's indices, of x or its slope, of what
# is between A and B and of its slope; 0 of none. From MEMBERS on three for each adapted member: O, its B, its output or
# slope.
BLOCKS, WIDTH, TOKENS, ROW_BYTES, INPUTS, RANK, COUNT, A, SCALE, PLACE, REAL = range(11)
X, BETWEEN, SLOPE_BETWEEN, MEMBERS = range(11, 15)


@compiled
def sizes_of(given):
    """M, I, R, and how many members are adapted."""
    return number_at(given, TOKENS), number_at(given, INPUTS), number_at(given, RANK), number_at(given, COUNT)


@compiled
def row_of(given, n):
    """Where the tokens of row n begin, and how many there are."""
    width, place, real = number_at(given, WIDTH), number_at(given, PLACE), number_at(given, REAL)
    if place == 0:
        return n * width, width
    count = 0
    of_row = tensor_of(real + n * width, width, np.uint8)
    while count < width and of_row[count]:
        count += 1
    return tensor_of(place + 8 * n * width, 1, np.int64)[0], count


@compiled
def factor_of(given, place, n, shape):
    """The factor of row n; number `place` is the address of the first row's."""
    return tensor_of(number_at(given, place) + n * number_at(given, ROW_BYTES), shape, np.float32)


@compiled
def place_of(j):
    """The place of the first number of member j."""
    return MEMBERS + 3 * j


@compiled
def widest_of(given):
    """The most outputs of a member."""
    most = 0
    for j in range(number_at(given, COUNT)):
        most = max(most, number_at(given, place_of(j)))
    return most


@compiled
def aim(given, ahead, n, tokens, comes):
    """Row n comes next, or none: what a pass reads or adds to of it, A, then B of the last member and of those before,
    is fetched while the products for so many tokens are computed.
    """
    look_anew(ahead, tokens)
    if not comes:
        return
    row, rank = n * number_at(given, ROW_BYTES), number_at(given, RANK)
    for j in range(number_at(given, COUNT)):
        if number_at(given, place_of(j) + 2) != 0:
            size = number_at(given, place_of(j)) * rank * FLOAT
            look_ahead(ahead, number_at(given, place_of(j) + 1) + row, size)
    if number_at(given, X) != 0:
        size = number_at(given, COUNT) * rank * number_at(given, INPUTS) * FLOAT
        look_ahead(ahead, number_at(given, A) + row, size)


@compiled
def widen(x, first, count, columns, to_TC):
    """Rows `first` and after of x as float32."""
    for t in range(count):
        for c in range(columns):
            to_TC[t, c] = wide(x[first + t, c])


@compiled
def keep(from_TC, columns, x, first, count):
    """Back to where `widen` read."""
    for t in range(count):
        for c in range(columns):
            x[first + t, c] = rounded(from_TC[t, c], x[first + t, c])


@compiled
def keep_scaled(s_TS, count, scale, between, first):
    """A tile of what is between A and B is done: kept, and in hand for what follows."""
    for t in range(count):
        for s in range(s_TS.shape[1]):
            s_TS[t, s] *= scale
            between[first + t, s] = s_TS[t, s]


@compiled
def next_units(given, ahead, unit, stop):
    """A unit and those behind it in its row and before `stop`: the row, their blocks from the second up to the third,
    the row's first token and how many it has, and the unit that follows, whose row is what is needed next.
    """
    blocks = number_at(given, BLOCKS)
    n, block = unit // blocks, unit % blocks
    after = min(blocks, block + stop - unit)
    first, many = row_of(given, n)
    following = unit + after - block
    aim(given, ahead, n + 1, many * (after - block) // blocks, following < stop)
    return n, block, after, first, many, following


@compiled
def next_tokens(given, ahead, unit, stop):
    """As `next_units`: the row, the units' tokens from the second up to the third, and the unit that follows."""
    blocks = number_at(given, BLOCKS)
    n, block, after, first, many, following = next_units(given, ahead, unit, stop)
    return n, first + many * block // blocks, first + many * after // blocks, following


@compiled
def columns_of(given, block, after, columns):
    """The first of the columns of these blocks, and how many."""
    blocks, pieces = number_at(given, BLOCKS), -(-columns // COLUMNS)
    first = pieces * block // blocks * COLUMNS
    return first, min(columns, pieces * after // blocks * COLUMNS) - first


@dataclass(frozen=True, slots=True)
class ChangePasses:
    forward: Pass
    slope: Pass
    gradients: Pass
