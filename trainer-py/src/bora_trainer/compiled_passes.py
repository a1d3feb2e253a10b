"""Passes over tensors on the CPU, compiled by numba and shared out among torch's threads.

A pass is called with numbers alone: sizes, and the addresses of tensors (`Tensor.data_ptr`). That is quicker than to
hand NumPy's arrays over, which counts where a tensor is small. Whoever calls holds the tensors, contiguous, meanwhile.

Activations are float32 or bfloat16. NumPy has no bfloat16, so its bits go in and out, and every number is float32 in
between.

A pass takes numba a second to compile, so what it compiled is kept in the cache folder. Numba can find it again only
if a body has no compiled function in its closure: it calls those of its module and of those named compiled_*.py, and
`wide` and `rounded` look at types.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import os
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import llvmlite.binding
import numpy as np
import torch
from numba import carray, cfunc, njit, types  # pyright: ignore[reportPrivateImportUsage]
from numba.core import cgutils, config
from numba.extending import intrinsic, overload

from bora_trainer.model_files import cache_folder
from bora_trainer.openmp_team import team

_log = logging.getLogger(__name__)

_ALONE = 1 << 15  # numbers for which one thread is enough

# Which of how many threads runs a part, by names that code from the cache is linked with.
_number = types.ExternalFunction("bora_thread_number", types.int32())
_count = types.ExternalFunction("bora_thread_count", types.int32())


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """For a pass to call. An operation rounds once and in its order, as torch's do."""
    return njit(nogil=True, error_model="numpy")(function)


class Pass:
    """`body(given)` over its part of the rows, compiled at the first call.

    It asks `part_of(given)` for the part, reads its numbers with `number_at` and tensors with `tensor_at`, and says
    `ended(given)` when it has come to its end. An exception cannot leave it. `fastmath`: what numba may let go in the
    body's own operations.
    """

    def __init__(self, body: Callable[[Any], None], *, fastmath: bool | set[str] = False) -> None:
        self._body, self._fastmath = body, fastmath

    def __call__(self, rows: int, size: int, *numbers: int) -> None:
        """Runs over all `rows`, which are worth `size` numbers of a tensor.

        Raises MemoryError when a part did not come to its end: numba prints why and goes on.
        """
        crew = team()
        threads = torch.get_num_threads() if crew is not None and size > _ALONE else 1
        parts = array("q", bytes(8 * (threads + 1)))  # how many there were, then 1 for each that ended
        given = array("q", (rows, parts.buffer_info()[0], *numbers))
        address, _ = given.buffer_info()
        if crew is None or threads == 1:
            self._compiled.ctypes(address)
        else:
            crew.run(self._compiled.address, address, threads)
        if parts[0] == 0 or sum(parts[1:]) != parts[0]:
            raise MemoryError(f"a compiled pass over {rows} rows failed: {sum(parts[1:])} of {parts[0]} parts ended")

    @cached_property
    def _compiled(self) -> Any:
        _link()
        compile_ = functools.partial(cfunc, types.void(types.voidptr), error_model="numpy", fastmath=self._fastmath)
        try:
            return compile_(cache=True)(self._body)
        except Exception as error:  # a folder that cannot be written, a damaged file: whatever unpickling raises
            _log.warning("compiled passes are not cached: %s: %s", type(error).__name__, error)
            return compile_(cache=False)(self._body)


@functools.cache
def _link() -> None:
    """Once a process, before code is compiled or taken from the cache."""
    # Numba asks whether a body's own file has changed; what bodies call lies in these.
    called = sorted(Path(__file__).parent.rglob("compiled_*.py"))
    told = hashlib.sha256(b"".join(path.read_bytes() for path in called)).hexdigest()[:16]
    chosen = os.environ.get("NUMBA_CACHE_DIR") or cache_folder() / "compiled"
    config.CACHE_DIR = str(Path(chosen) / told)  # pyright: ignore[reportAttributeAccessIssue]
    crew = team()
    number, count = (_always(0).address, _always(1).address) if crew is None else (crew.number, crew.count)
    llvmlite.binding.add_symbol("bora_thread_number", number)
    llvmlite.binding.add_symbol("bora_thread_count", count)


@functools.cache
def _always(answer: int) -> Any:
    """A C function without arguments that answers this."""
    return cfunc(types.int32())(lambda: answer)


@dataclass(frozen=True, slots=True)
class Passes:
    """Both ways through one operation, for one dtype."""

    forward: Pass
    backward: Pass


@intrinsic
def _pointer(typing_context, address):  # pyright: ignore[reportUnusedParameter]
    """An address as a pointer."""

    def generate(context, builder, signature, arguments):  # pyright: ignore[reportUnusedParameter]
        return builder.inttoptr(arguments[0], cgutils.voidptr_t)

    return types.voidptr(address), generate


@compiled
def part_of(address):
    """The part of the thread that asks, from 0, and its rows: from the second up to the third."""
    rows = carray(address, 1, np.int64)[0]
    part, parts = _number(), _count()  # a limit may leave fewer threads than were asked for
    return part, rows * part // parts, rows * (part + 1) // parts


@compiled
def ended(address):
    """The thread that asks has come to the end of its part."""
    part, parts = _number(), _count()
    all_parts = tensor_at(address, -1, parts + 1, np.int64)
    if part == 0:
        all_parts[0] = parts
    all_parts[part + 1] = 1


@compiled
def number_at(address, place):
    """The number `place` that a `Pass` was called with, from 0."""
    return carray(address, place + 3, np.int64)[place + 2]


@compiled
def tensor_at(address, place, shape, dtype):
    """The tensor whose address is number `place`."""
    return tensor_of(number_at(address, place), shape, dtype)


@compiled
def tensor_of(address, shape, dtype):
    """The tensor at an address."""
    return carray(_pointer(address), shape, dtype)  # pyright: ignore[reportCallIssue]


def wide(stored: Any) -> Any:
    """float32 of a number as `STORED` has it. Compiled passes alone can call this."""
    raise NotImplementedError


def rounded(value: Any, like: Any) -> Any:
    """As a number like `like` is stored, to the nearest, ties to even; what is stored so already as it is. Compiled
    passes alone can call this.
    """
    raise NotImplementedError


@overload(wide)
def _wide(stored):  # pyright: ignore[reportUnusedFunction]
    if stored == types.uint16:
        return lambda stored: np.uint32(np.uint32(stored) << np.uint32(16)).view(np.float32)
    return lambda stored: stored


@overload(rounded)
def _rounded(value, like):  # pyright: ignore[reportUnusedFunction]
    def bfloat16(value, like):
        bits = np.float32(value).view(np.uint32)
        if value != value:  # rounded up, some would become zero
            return np.uint16(0x7FC0)
        return np.uint16((bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16))

    return bfloat16 if like == types.uint16 and value != types.uint16 else lambda value, like: value


STORED = {torch.float32: np.float32, torch.bfloat16: np.uint16}  # as what NumPy reads a dtype
