"""Whether kernels written in Triton can run: the language in which torch's own compiler writes for graphics cards.

It comes with torch's builds for CUDA. Files named card_* hold such kernels; they import Triton and are imported where
this says yes, never before. Without Triton everything is computed in torch's own operations.
"""

from __future__ import annotations

import functools
import logging
from typing import Any

import torch
from torch import Tensor

_logger = logging.getLogger(__name__)
_LEAST_CAPABILITY = (8, 0)  # A100: bfloat16 on tensor cores, and shared memory for the tiles


def run_on(tensor: Tensor) -> bool:
    """Whether kernels can compute with it where it lies."""
    return tensor.is_cuda and _triton_works()


def launch(kernel: Any, grid: tuple[Any, ...], *given: object, **sizes: object) -> None:
    """Runs a kernel once for each place of the grid. Triton's types know neither options nor what it converts."""
    kernel[grid](*given, **sizes)


@functools.cache
def _triton_works() -> bool:
    """Asked once, by a kernel: Triton needs a C compiler and Python's headers where it meets a card first."""
    from torch.utils._triton import has_triton  # takes a second to import

    if torch.version.hip is not None or torch.cuda.get_device_capability() < _LEAST_CAPABILITY or not has_triton():
        return False
    try:
        from bora_trainer import card_nats

        product, target = torch.zeros(1, 16, device="cuda"), torch.zeros(1, dtype=torch.int64, device="cuda")
        card_nats.write_nats_and_slope(product, target, torch.empty(1, device="cuda"), sloped=True)
    except Exception as error:  # whatever it is, torch's operations do without
        _logger.warning("no kernels in Triton, a step takes longer: %s", error)
        return False
    return True
