"""Passes over tensors on the CPU, compiled by numba and shared out among torch's threads.

A pass is called with numbers alone: sizes, and the addresses of tensors (`Tensor.data_ptr`). That is quicker than to
hand NumPy's arrays over, which counts where a tensor is small. Whoever calls holds the tensors, contiguous, meanwhile.

Activations are float32 or bfloat16. NumPy has no bfloat16, so its bits go in and out, and every number is float32 in
between.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numba import carray, cfunc, njit, types  # pyright: ignore[reportPrivateImportUsage]
from numba.core import cgutils
from numba.extending import intrinsic

from bora_trainer.openmp_team import team

_ALONE = 1 << 15  # numbers for which one thread is enough


def compiled(function: Callable[..., Any], *, fastmath: bool | set[str] = False) -> Callable[..., Any]:
    """Every operation rounds once and in its order, as torch's do, but for what `fastmath` lets go."""
    return njit(nogil=True, error_model="numpy", fastmath=fastmath)(function)


class Pass:
    """`body(numbers, part, start, stop)` over rows start to stop, compiled at the first call.

    `part` counts the threads that share the rows from 0. The body reads its numbers from an array of int64, and tensors
    with `tensor_at`. An exception cannot leave it.
    """

    def __init__(self, body: Callable[..., None]) -> None:
        self._body = body

    def __call__(self, rows: int, size: int, *numbers: int) -> None:
        """Runs over all `rows`, which are worth `size` numbers of a tensor.

        Raises MemoryError when a part did not come to its end: numba prints why and goes on.
        """
        crew = team()
        threads = torch.get_num_threads() if crew is not None and size > _ALONE else 1
        ended = array("q", bytes(8 * (threads + 1)))  # how many parts there were, then 1 for each that ended
        given = array("q", (rows, ended.buffer_info()[0], *numbers))
        address, _ = given.buffer_info()
        if crew is None or threads == 1:
            self._compiled.ctypes(address)
        else:
            crew.run(self._compiled.address, address, threads)
        if ended[0] == 0 or sum(ended[1:]) != ended[0]:
            raise MemoryError(f"a compiled pass over {rows} rows failed: {sum(ended[1:])} of {ended[0]} parts ended")

    @cached_property
    def _compiled(self) -> Any:
        body, crew = self._body, team()
        number, count = (_first, _one) if crew is None else (crew.number, crew.count)

        @cfunc(types.void(types.voidptr))
        def run(address):
            rows = carray(address, 1, np.int64)[0]
            part, parts = number(), count()  # a limit may leave fewer threads than were asked for
            ended = tensor_at(address, -1, parts + 1, np.int64)
            if part == 0:
                ended[0] = parts
            body(address, part, rows * part // parts, rows * (part + 1) // parts)
            ended[part + 1] = 1

        return run


@dataclass(frozen=True, slots=True)
class Passes:
    """Both ways through one operation, for one dtype."""

    forward: Pass
    backward: Pass


@njit
def _first():
    return 0


@njit
def _one():
    return 1


@intrinsic
def _pointer(typing_context, address):  # pyright: ignore[reportUnusedParameter]
    """An address as a pointer."""

    def generate(context, builder, signature, arguments):  # pyright: ignore[reportUnusedParameter]
        return builder.inttoptr(arguments[0], cgutils.voidptr_t)

    return types.voidptr(address), generate


@compiled
def number_at(address, place):
    """The number `place` that a `Pass` was called with, from 0."""
    return carray(address, place + 3, np.int64)[place + 2]


@compiled
def tensor_at(address, place, shape, dtype):
    """The tensor whose address is number `place`."""
    return carray(_pointer(number_at(address, place)), shape, dtype)  # pyright: ignore[reportCallIssue]


@compiled
def same(value):
    return value


@compiled
def wide(bits):
    """The float32 of a bfloat16."""
    return np.uint32(np.uint32(bits) << np.uint32(16)).view(np.float32)


@compiled
def rounded(value):
    """To the nearest bfloat16, ties to even."""
    bits = np.float32(value).view(np.uint32)
    return np.uint16((bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16))


# How a dtype is stored: as what NumPy reads it, how float32 is made of it, and it of float32.
STORED = {torch.float32: (np.float32, same, same), torch.bfloat16: (np.uint16, wide, rounded)}
