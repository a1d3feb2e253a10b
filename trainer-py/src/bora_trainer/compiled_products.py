"""Small float32 matrix products for compiled passes, as quick on one thread as a library's large ones.

A tile of the result stays in registers while the terms go by, which LLVM does not find by itself. So a tile's loop is
written in its own terms, a row of the tile as one long vector: LLVM cuts it into what the machine has.

Each number is one chain of fused multiplications and additions in the order of the terms, so no bit of it depends on
the machine's vectors or on how rows and columns are cut.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import llvmlite.binding
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from bora_trainer.compiled_passes import compiled

_FLOAT = 4  # bytes
_I64, _F32 = ir.IntType(64), ir.FloatType()
# A tile and a row of the other factor stay in the registers: 32 of 16 numbers, or 16 of 8. Eight of them at least are
# added to in turn, as a sum is not done before the next could begin.
_WIDEST = 64 if llvmlite.binding.get_host_cpu_features().get("avx512f") else 16
_EDGE = 4  # of the squares that are turned in registers


def _intrinsic(arguments: int, body: Callable[[ir.IRBuilder, Sequence[Any]], None]) -> Any:
    """A function of so many whole numbers that compiled functions can call; `body` writes its instructions."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, given: Sequence[Any]) -> Any:  # pyright: ignore[reportUnusedParameter]
        body(builder, given)
        return context.get_dummy_value()

    @intrinsic
    def called(typing_context, numbers):  # pyright: ignore[reportUnusedParameter]
        def unpacked(context: Any, builder: ir.IRBuilder, signature: Any, given: Sequence[Any]) -> Any:
            return generate(context, builder, signature, [builder.extract_value(given[0], j) for j in range(arguments)])

        return types.void(types.UniTuple(types.int64, arguments)), unpacked

    return called


def _constant(number: int) -> ir.Constant:
    return ir.Constant(_I64, number)


def _place(builder: ir.IRBuilder, address: Any, kind: ir.Type) -> Any:
    """A pointer to what lies at an address."""
    return builder.inttoptr(address, kind.as_pointer())


def _tile(rows: int, lanes: int) -> Any:
    """C += A B of `rows` rows and `lanes` columns of C.

    Given: the addresses of C, A and B, the bytes from a row of C, of A and of B to the next, from a term of A to the
    next, and how many terms there are, at least one.
    """
    vector = ir.VectorType(_F32, lanes)

    def body(builder: ir.IRBuilder, given: Sequence[Any]) -> None:
        c, a, b, c_row, a_row, b_row, a_term, terms = given
        fused = builder.module.globals.get(f"llvm.fma.v{lanes}f32") or ir.Function(
            builder.module, ir.FunctionType(vector, [vector] * 3), f"llvm.fma.v{lanes}f32"
        )
        places = [_place(builder, builder.add(c, builder.mul(c_row, _constant(r))), vector) for r in range(rows)]
        begun = [builder.load(place, align=_FLOAT) for place in places]
        firsts = [builder.add(a, builder.mul(a_row, _constant(r))) for r in range(rows)]
        before, loop = builder.block, builder.append_basic_block("terms")
        after = builder.append_basic_block("stored")
        builder.branch(loop)
        builder.position_at_end(loop)
        term, sums = builder.phi(_I64), [builder.phi(vector) for _ in range(rows)]
        b_C = builder.load(_place(builder, builder.add(b, builder.mul(term, b_row)), vector), align=_FLOAT)
        moved = builder.mul(term, a_term)
        summed = []
        for first, total in zip(firsts, sums, strict=True):
            number = builder.load(_place(builder, builder.add(first, moved), _F32), align=_FLOAT)
            summed.append(builder.call(fused, [_everywhere(builder, number, vector), b_C, total]))
        following = builder.add(term, _constant(1))
        for phi, begin, end in zip((term, *sums), (_constant(0), *begun), (following, *summed), strict=True):
            phi.add_incoming(begin, before)
            phi.add_incoming(end, loop)
        builder.cbranch(builder.icmp_signed("<", following, terms), loop, after)
        builder.position_at_end(after)
        for place, total in zip(places, summed, strict=True):
            builder.store(total, place, align=_FLOAT)

    return _intrinsic(8, body)


def _everywhere(builder: ir.IRBuilder, number: Any, vector: ir.VectorType) -> Any:
    none, index = ir.Constant(vector, ir.Undefined), ir.IntType(32)
    one = builder.insert_element(none, number, ir.Constant(index, 0))
    return builder.shuffle_vector(one, none, ir.Constant(ir.VectorType(index, vector.count), [0] * vector.count))


def _square(edge: int) -> Any:
    """Turns a square of `edge` by `edge` numbers. Given: the addresses of source and target, the bytes from a row of
    each to the next.
    """
    vector = ir.VectorType(_F32, edge)
    indices = ir.VectorType(ir.IntType(32), edge)

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


def _strip(lanes: int) -> Any:
    """All rows of `lanes` columns of C."""
    tall = 4 if lanes == _WIDEST else 8
    some, one = _tile(tall, lanes), _tile(1, lanes)

    def strip(c, a, b, rows, terms):
        (c_at, c_row), (a_at, a_row, a_term), (b_at, b_row) = c, a, b
        row = 0
        while row + tall <= rows:
            some((c_at + row * c_row, a_at + row * a_row, b_at, c_row, a_row, b_row, a_term, terms))
            row += tall
        while row < rows:
            one((c_at + row * c_row, a_at + row * a_row, b_at, c_row, a_row, b_row, a_term, terms))
            row += 1

    # Code from the cache and code of this process are linked by name: one name for two strips, and one would be taken
    # for the other.
    strip.__qualname__ = f"strip_of_{lanes}"
    return compiled(strip)


STRIPS = {lanes: _strip(lanes) for lanes in sorted({_WIDEST, 16, 8, 4, 1})}
_widest, _sixteen, _eight, _four, _one = (STRIPS[lanes] for lanes in (_WIDEST, 16, 8, 4, 1))
_turn_eight, _turn_four = _square(8), _square(4)


@compiled
def add_product(c_MN, a_MK, b_KN):
    """C += A B, all float32. Rows of C and B are dense, A lies as it will; C overlaps neither."""
    (rows, terms), columns = a_MK.shape, c_MN.shape[1]
    if terms == 0:
        return
    c, b, done = c_MN.ctypes.data, b_KN.ctypes.data, 0
    c_row, b_row, a = c_MN.strides[0], b_KN.strides[0], (a_MK.ctypes.data, a_MK.strides[0], a_MK.strides[1])
    while done + _WIDEST <= columns:
        _widest((c + done * 4, c_row), a, (b + done * 4, b_row), rows, terms)
        done += _WIDEST
    while done + 16 <= columns:
        _sixteen((c + done * 4, c_row), a, (b + done * 4, b_row), rows, terms)
        done += 16
    while done + 8 <= columns:
        _eight((c + done * 4, c_row), a, (b + done * 4, b_row), rows, terms)
        done += 8
    while done + 4 <= columns:
        _four((c + done * 4, c_row), a, (b + done * 4, b_row), rows, terms)
        done += 4
    while done < columns:
        _one((c + done * 4, c_row), a, (b + done * 4, b_row), rows, terms)
        done += 1


@compiled
def turn(from_RC, to_CR):
    """to[c, r] = from[r, c], both float32 with dense rows."""
    (rows, columns), from_row, to_row = from_RC.shape, from_RC.strides[0], to_CR.strides[0]
    for r in range(0, rows, 8):
        for c in range(0, columns, 8):
            if r + 8 <= rows and c + 8 <= columns:
                at, to = from_RC.ctypes.data + r * from_row + c * 4, to_CR.ctypes.data + c * to_row + r * 4
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
                at, to = from_RC.ctypes.data + r * from_row + c * 4, to_CR.ctypes.data + c * to_row + r * 4
                _turn_four((at, to, from_row, to_row))
            else:
                for i in range(r, min(r + 4, rows)):
                    for j in range(c, min(c + 4, columns)):
                        to_CR[j, i] = from_RC[i, j]
