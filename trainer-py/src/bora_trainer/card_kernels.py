"""Whether kernels written in Triton can run: the language in which torch's own compiler writes for graphics cards.

It comes with torch's builds for CUDA. Files named card_* hold such kernels; they import Triton and are imported where
this says yes, never before. Without Triton everything is computed in torch's own operations.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor


def run_on(tensor: Tensor) -> bool:
    """Whether kernels can compute with it where it lies."""
    return tensor.is_cuda and _triton_works()


def launch(kernel: Any, grid: tuple[Any, ...], *given: object, **sizes: object) -> None:
    """Runs a kernel once for each place of the grid. Triton's types know neither options nor what it converts."""
    kernel[grid](*given, **sizes)


@functools.cache
def _triton_works() -> bool:
    from torch.utils._triton import has_triton  # it looks for a compiler, which takes a second

    return torch.version.hip is None and has_triton()
