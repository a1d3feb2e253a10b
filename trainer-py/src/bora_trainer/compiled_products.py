"""Small matrix products for compiled passes, as quick on one thread as a library's large ones (docs/performance.md).

A tile of the result stays in registers while the terms go by, which LLVM does not find by itself. So a tile's loop is
written in its own terms, a row of the tile as long vectors: LLVM cuts them into what the machine has.

Factors are float32, or bfloat16 in pairs: two terms that follow each other in 32 bits, the first in the lower half, as
the processors that know bfloat16 multiply them, twice as many at once. Sums are float32 always, each number one chain
of fused multiplications and additions in the order of the terms, the second of a pair before the first. So no bit of it
depends on how rows and columns are cut, nor on the machine's vectors; but of pairs some processors take what is below
float32's normal range as 0, sums too, in all but the last columns that make no four.

While a product is computed, the memory that is read or written next can be on its way: `ahead`, below.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core.registry import cpu_target
from numba.extending import intrinsic

from bora_trainer.compiled_passes import compiled

_FLOAT = 4  # bytes
_I64, _I32, _F32 = ir.IntType(64), ir.IntType(32), ir.FloatType()
# What numba compiles for, NUMBA_CPU_NAME too.
_TRIPLE, _, _KNOWN = cpu_target.target_context.codegen().magic_tuple()  # pyright: ignore[reportAttributeAccessIssue]
FUSED = "+fma" in _KNOWN or not _TRIPLE.startswith("x86")  # else each multiplication and addition is a call
_PAIRS_AT_ONCE = "+avx512bf16" in _KNOWN and "+avx512vl" in _KNOWN
WITH_TILES = "+amx-bf16" in _KNOWN  # of the processor's own, which torch's products of bfloat16 take
# Columns of a tile: with a row of the other factor its rows stay in the registers, 32 of 16 numbers or 16 of 8. Eight
# vectors are added to in turn, as a sum is not done before the next could begin; rows left over have fewer.
_WIDEST = 64 if "+avx512f" in _KNOWN else 16
_VECTOR = 16  # numbers that are named together at most
_LINE = 64  # bytes, of a cache


def _intrinsic(arguments: int, body: Callable[[ir.IRBuilder, Sequence[Any]], None]) -> Any:
    """A function of a tuple of so many whole numbers, for compiled functions; `body` writes its instructions."""

    @intrinsic
    def called(typing_context, numbers):  # pyright: ignore[reportUnusedParameter]
        def generate(context: Any, builder: ir.IRBuilder, signature: Any, given: Sequence[Any]) -> Any:  # pyright: ignore[reportUnusedParameter]
            body(builder, [builder.extract_value(given[0], j) for j in range(arguments)])
            return context.get_dummy_value()

        return types.void(types.UniTuple(types.int64, arguments)), generate

    return called


def _constant(number: int) -> ir.Constant:
    return ir.Constant(_I64, number)


def _place(builder: ir.IRBuilder, address: Any, kind: ir.Type) -> Any:
    """A pointer to what lies at an address."""
    return builder.inttoptr(address, kind.as_pointer())


def _tile(rows: int, lanes: int, *, pairs: bool) -> Any:
    """C += A B of `rows` rows and `lanes` columns of C.

    Given: the addresses of C, A and B, the bytes from a row of C, of A and of B to the next, from a term of A to the
    next, and how many terms, or pairs of them, there are, at least one.
    """
    width = min(lanes, _VECTOR)
    sums_of, read = ir.VectorType(_F32, width), _I32 if pairs else _F32
    firsts, add = range(0, lanes, width), _add_pairs if pairs else _add_one

    def body(builder: ir.IRBuilder, given: Sequence[Any]) -> None:
        c, a, b, c_row, a_row, b_row, a_term, terms = given
        builder.function.attributes.add("noinline")  # of a strip: LLVM would copy it to every call, for seconds

        def load(address: Any, kind: ir.Type) -> Any:
            return builder.load(_place(builder, address, kind), align=_FLOAT // 2 if pairs else _FLOAT)

        def behind(address: Any, row: int, row_bytes: Any, column: int) -> Any:
            return builder.add(builder.add(address, builder.mul(row_bytes, _constant(row))), _constant(column * _FLOAT))

        places = [_place(builder, behind(c, r, c_row, column), sums_of) for r in range(rows) for column in firsts]
        begun = [builder.load(place, align=_FLOAT) for place in places]
        a_rows = [behind(a, r, a_row, 0) for r in range(rows)]
        before, loop = builder.block, builder.append_basic_block("terms")
        after = builder.append_basic_block("stored")
        builder.branch(loop)
        builder.position_at_end(loop)
        term, sums = builder.phi(_I64), [builder.phi(sums_of) for _ in places]
        b_at, moved = builder.add(b, builder.mul(term, b_row)), builder.mul(term, a_term)
        b_C = [load(builder.add(b_at, _constant(column * _FLOAT)), ir.VectorType(read, width)) for column in firsts]
        summed = []
        for r, a_at in enumerate(a_rows):
            number = _everywhere(builder, load(builder.add(a_at, moved), read), width)
            for j, of_b in enumerate(b_C):
                summed.append(add(builder, number, of_b, sums[r * len(b_C) + j], width))
        following = builder.add(term, _constant(1))
        for phi, begin, end in zip((term, *sums), (_constant(0), *begun), (following, *summed), strict=True):
            phi.add_incoming(begin, before)
            phi.add_incoming(end, loop)
        builder.cbranch(builder.icmp_signed("<", following, terms), loop, after)
        builder.position_at_end(after)
        for place, total in zip(places, summed, strict=True):
            builder.store(total, place, align=_FLOAT)

    return _intrinsic(8, body)


def _everywhere(builder: ir.IRBuilder, number: Any, width: int) -> Any:
    vector = ir.VectorType(number.type, width)
    none = ir.Constant(vector, ir.Undefined)
    one = builder.insert_element(none, number, ir.Constant(_I32, 0))
    return builder.shuffle_vector(one, none, ir.Constant(ir.VectorType(_I32, width), [0] * width))


def _call(builder: ir.IRBuilder, name: str, *given: Any, returns: ir.Type) -> Any:
    """One of LLVM's own functions."""
    found = builder.module.globals.get(name)
    kind = ir.FunctionType(returns, [each.type for each in given])
    return builder.call(ir.Function(builder.module, kind, name) if found is None else found, given)


def _add_one(builder: ir.IRBuilder, a: Any, b: Any, total: Any, width: int) -> Any:
    return _call(builder, f"llvm.fma.v{width}f32", a, b, total, returns=total.type)


def _add_pairs(builder: ir.IRBuilder, a: Any, b: Any, total: Any, width: int) -> Any:
    """Where the processor cannot, in its order: the product of the upper halves, then that of the lower."""
    if _PAIRS_AT_ONCE and width >= 4:
        return _call(builder, f"llvm.x86.avx512bf16.dpbf16ps.{width * 32}", total, a, b, returns=total.type)
    upper, half = ir.Constant(a.type, [0xFFFF0000] * width), ir.Constant(a.type, [16] * width)
    for part in (lambda bits: builder.and_(bits, upper), lambda bits: builder.shl(bits, half)):
        first, second = (builder.bitcast(part(bits), total.type) for bits in (a, b))
        total = _add_one(builder, first, second, total, width)
    return total


def _square(edge: int) -> Any:
    """Turns a square of `edge` by `edge` numbers. Given: the addresses of source and target, the bytes from a row of
    each to the next.
    """
    vector = ir.VectorType(_F32, edge)
    indices = ir.VectorType(_I32, edge)

    def body(builder: ir.IRBuilder, given: Sequence[Any]) -> None:
        source, target, source_row, target_row = given
        rows = []
        for r in range(edge):
            at = builder.add(source, builder.mul(source_row, _constant(r)))
            rows.append(builder.load(_place(builder, at, vector), align=_FLOAT))
        step = edge // 2
        while step:  # blocks off the diagonal change places, then those within each block
            for r in range(edge):
                if r & step:
                    continue
                upper, lower = rows[r], rows[r + step]
                first = [c if not c & step else edge + c - step for c in range(edge)]
                second = [c + step if not c & step else edge + c for c in range(edge)]
                rows[r] = builder.shuffle_vector(upper, lower, ir.Constant(indices, first))
                rows[r + step] = builder.shuffle_vector(upper, lower, ir.Constant(indices, second))
            step //= 2
        for r, row in enumerate(rows):
            at = builder.add(target, builder.mul(target_row, _constant(r)))
            builder.store(row, _place(builder, at, vector), align=_FLOAT)

    return _intrinsic(4, body)


def _prefetch() -> Any:
    """Asks for the cache line at an address, which need not be there, for the second-level cache."""

    def body(builder: ir.IRBuilder, given: Sequence[Any]) -> None:
        how = [ir.Constant(_I32, number) for number in (0, 2, 1)]  # to be read, second level, data
        _call(builder, "llvm.prefetch.p0i8", _place(builder, given[0], ir.IntType(8)), *how, returns=ir.VoidType())

    return _intrinsic(1, body)


_fetch_line = _prefetch()


@compiled
def nothing_ahead(most):
    """Room for `most` pieces of memory, int64: multiplications for each line of them, how many pieces there are,
    multiplications not yet paid with a line, and of each piece the next byte and the end. They come in turn, the last
    first.
    """
    ahead = np.zeros(3 + 2 * most, np.int64)
    look_anew(ahead, 1)
    return ahead


@compiled
def look_anew(ahead, tokens):
    """No pieces. Those to come are factors like those of the products, which multiply each number once a token."""
    ahead[0], ahead[1], ahead[2] = max(1, tokens) * (_LINE // _FLOAT), 0, 0


@compiled
def look_ahead(ahead, address, size):
    """One piece more, of `size` bytes."""
    ahead[1] += 1
    place = 1 + 2 * ahead[1]
    ahead[place], ahead[place + 1] = address, address + size


@compiled
def _fetch(ahead, multiplied):
    """Asks for as much as so many multiplications are worth."""
    if ahead[1] == 0:
        return
    place = 1 + 2 * ahead[1]
    at, end = ahead[place], ahead[place + 1]
    owed = ahead[2] + multiplied
    lines = min(owed // ahead[0], (end - at + _LINE - 1) // _LINE)
    for line in range(lines):
        _fetch_line((at + line * _LINE,))
    ahead[place], ahead[2] = at + lines * _LINE, owed - lines * ahead[0]
    if ahead[place] >= end:
        ahead[1] -= 1


def _strip(lanes: int, *, pairs: bool) -> Any:
    """All rows of `lanes` columns of C."""
    tall = 4 if lanes == _WIDEST else 8
    many, four, one = (_tile(rows, lanes, pairs=pairs) for rows in (tall, 4, 1))
    of_row = lanes * (2 if pairs else 1)  # multiplications of a term

    def strip(c, a, b, rows, terms, ahead):
        (c_at, c_row), (a_at, a_row, a_term), (b_at, b_row) = c, a, b
        row = 0
        while row + tall <= rows:
            many((c_at + row * c_row, a_at + row * a_row, b_at, c_row, a_row, b_row, a_term, terms))
            _fetch(ahead, tall * of_row * terms)
            row += tall
        if row + 4 <= rows:
            four((c_at + row * c_row, a_at + row * a_row, b_at, c_row, a_row, b_row, a_term, terms))
            _fetch(ahead, 4 * of_row * terms)
            row += 4
        while row < rows:
            one((c_at + row * c_row, a_at + row * a_row, b_at, c_row, a_row, b_row, a_term, terms))
            _fetch(ahead, of_row * terms)
            row += 1

    # Code from the cache and code of this process are linked by name: one name for two strips, and one would be taken
    # for the other.
    strip.__qualname__ = f"strip_of_{lanes}_{'pairs' if pairs else 'numbers'}"
    return compiled(strip)


def _product(*, pairs: bool) -> tuple[Any, dict[int, Any]]:
    """C += A B over all columns, and the strips it is made of."""
    strips = {lanes: _strip(lanes, pairs=pairs) for lanes in sorted({_WIDEST, 16, 8, 4, 1})}
    widest, sixteen, eight, four, one = (strips[lanes] for lanes in (_WIDEST, 16, 8, 4, 1))

    def all_columns(c, a, b, rows, columns, terms, ahead):
        (c_at, c_row), (b_at, b_row), done = c, b, 0
        while done + _WIDEST <= columns:
            widest((c_at + done * _FLOAT, c_row), a, (b_at + done * _FLOAT, b_row), rows, terms, ahead)
            done += _WIDEST
        while done + 16 <= columns:
            sixteen((c_at + done * _FLOAT, c_row), a, (b_at + done * _FLOAT, b_row), rows, terms, ahead)
            done += 16
        while done + 8 <= columns:
            eight((c_at + done * _FLOAT, c_row), a, (b_at + done * _FLOAT, b_row), rows, terms, ahead)
            done += 8
        while done + 4 <= columns:
            four((c_at + done * _FLOAT, c_row), a, (b_at + done * _FLOAT, b_row), rows, terms, ahead)
            done += 4
        while done < columns:
            one((c_at + done * _FLOAT, c_row), a, (b_at + done * _FLOAT, b_row), rows, terms, ahead)
            done += 1

    all_columns.__qualname__ = f"all_columns_of_{'pairs' if pairs else 'numbers'}"
    columns_of = compiled(all_columns)

    def product(c_MN, a_MK, b_KN, ahead):  # of every kind of array a version, so it does little itself
        if a_MK.shape[1] == 0:
            return
        c, b = (c_MN.ctypes.data, c_MN.strides[0]), (b_KN.ctypes.data, b_KN.strides[0])
        a = a_MK.ctypes.data, a_MK.strides[0], a_MK.strides[1]
        columns_of(c, a, b, a_MK.shape[0], c_MN.shape[1], a_MK.shape[1], ahead)

    product.__qualname__ = f"product_of_{'pairs' if pairs else 'numbers'}"
    return compiled(product), strips


# C += A B, C float32: A [M, K] as it lies, C [M, N] and B [K, N] with dense rows. C overlaps neither. `ahead`: what is
# needed next.
add_product, STRIPS = _product(pairs=False)  # float32
add_pairs, PAIR_STRIPS = _product(pairs=True)  # 32 bits, K counts pairs
_turn_eight, _turn_four = _square(8), _square(4)


@compiled
def turn(from_RC, to_CR):
    """to[c, r] = from[r, c], both of 32 bits with dense rows."""
    (rows, columns), from_row, to_row = from_RC.shape, from_RC.strides[0], to_CR.strides[0]
    for r in range(0, rows, 8):
        for c in range(0, columns, 8):
            if r + 8 <= rows and c + 8 <= columns:
                at, to = from_RC.ctypes.data + r * from_row + c * _FLOAT, to_CR.ctypes.data + c * to_row + r * _FLOAT
                _turn_eight((at, to, from_row, to_row))
            else:
                _turn_rest(from_RC[r : r + 8, c : c + 8], to_CR[c : c + 8, r : r + 8])


@compiled
def _turn_rest(from_RC, to_CR):
    """Of fewer than eight rows or columns."""
    (rows, columns), from_row, to_row = from_RC.shape, from_RC.strides[0], to_CR.strides[0]
    for r in range(0, rows, 4):
        for c in range(0, columns, 4):
            if r + 4 <= rows and c + 4 <= columns:
                at, to = from_RC.ctypes.data + r * from_row + c * _FLOAT, to_CR.ctypes.data + c * to_row + r * _FLOAT
                _turn_four((at, to, from_row, to_row))
            else:
                for i in range(r, min(r + 4, rows)):
                    for j in range(c, min(c + 4, columns)):
                        to_CR[j, i] = from_RC[i, j]
