"""What the passes over a frozen base's activations share, which numba compiles for CPUs.

Activations are float32 or bfloat16. NumPy has no bfloat16, so its bits go in and out, and every number is float32 in
between.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numba import njit
from torch import Tensor

MOST_THREADS = 4  # torch's own operations share their work out among more than a pass does
_ALONE = 1 << 17  # numbers for which one thread is enough


def compiled(function: Callable[..., Any], *, fastmath: bool | set[str] = False) -> Callable[..., Any]:
    """Every operation rounds once and in its order, as torch's do, but for what `fastmath` lets go."""
    return njit(nogil=True, error_model="numpy", fastmath=fastmath)(function)


def numbers(values: Tensor) -> np.ndarray[Any, Any]:
    """The memory of a tensor on the CPU; of bfloat16 its bits."""
    return (values.view(torch.uint16) if values.dtype == torch.bfloat16 else values).detach().numpy()


def in_parts(kernel: Callable[..., None], rows: int, size: int, *given: Any) -> None:
    """`kernel(*given, start, stop)` for parts of `rows`, which are worth `size` numbers in all, a thread each."""
    threads = min(torch.get_num_threads(), MOST_THREADS) if size > _ALONE else 1
    if threads == 1:
        kernel(*given, 0, rows)
        return
    bounds = [rows * part // threads for part in range(threads + 1)]
    waiting = [_pool(threads - 1).submit(kernel, *given, *span) for span in zip(bounds[1:], bounds[2:], strict=False)]
    kernel(*given, *bounds[:2])
    for each in waiting:
        each.result()


@functools.cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, "pass")


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
