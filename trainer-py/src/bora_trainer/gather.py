"""Rows of a matrix at other places, where not every place has one.

torch's operations take two passes, and the second, which empties places, is slow: together they were 9 % of a step on
documents of unequal length (docs/performance.md). On CPUs one compiled pass copies the bits.

Shapes: M rows of W, N places.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from bora_trainer.compiled_passes import Pass, ended, number_at, part_of, tensor_at


def gather(x_MW: Tensor, place_N: Tensor, real_N1: Tensor) -> Tensor:
    """[N, W]: row `place_N[n]`; zero where not `real_N1`, whatever stands there (times 0 would keep a NaN).

    `place_N` is int64 and below M, `real_N1` bool, as layouts make them: nothing looks again.
    """
    words = x_MW.shape[1] * x_MW.element_size() / _WORD
    recorded = torch.is_grad_enabled() and x_MW.requires_grad  # the pass is nothing that autograd knows
    if x_MW.device.type != "cpu" or not words.is_integer() or recorded:
        return x_MW.index_select(0, place_N).masked_fill_(~real_N1, 0)
    x_MW, place_N, real_N1 = x_MW.contiguous(), place_N.contiguous(), real_N1.contiguous()
    out_NW = x_MW.new_empty(len(place_N), x_MW.shape[1])
    addresses = [tensor.data_ptr() for tensor in (x_MW, place_N, real_N1, out_NW)]
    _GATHER(len(place_N), out_NW.numel(), len(x_MW), int(words), *addresses)
    return out_NW


def _gather(given):
    _, start, stop = part_of(given)
    rows, words = number_at(given, 0), number_at(given, 1)
    x, out = tensor_at(given, 2, (rows, words), np.uint32), tensor_at(given, 5, (stop, words), np.uint32)
    place, real = tensor_at(given, 3, stop, np.int64), tensor_at(given, 4, stop, np.uint8)
    for n in range(start, stop):
        if real[n]:
            out[n] = x[place[n]]
        else:
            out[n] = 0
    ended(given)


_WORD = 4  # bytes that are copied at once
_GATHER = Pass(_gather)
