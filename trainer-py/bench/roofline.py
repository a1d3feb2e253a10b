"""What the machine can do at best, measured beside each cell: a matrix product and a copy.

MFU: the operations that the tokens need, 4 N + 6 P + attention a token (the frozen base forward and backward to its
input; the adapters forward, to their input and to their weights), over what the best product does in the same time.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from bench.cells import Cell

_SIZES = {"cpu": (768, 1536), "cuda": (4096, 8192)}
_SECONDS = 0.15
# Of a weight and step: read forward and backward, its gradient written and read, offset and both moments read and
# written, the weight itself written; 4 bytes each.
_WEIGHT_BYTES = 44
_COPY_BYTES = 256 * 2**20  # past every cache


@dataclass(frozen=True, slots=True)
class Roofline:
    """Operations a second of the best square product in the base's dtype; bytes read and written a second of a copy."""

    operations: float
    copied: float

    @classmethod
    def measure(cls, dtype: torch.dtype, device: str) -> Roofline:
        operations = 0.0
        for size in _SIZES[torch.device(device).type]:
            left, right = (torch.randn(size, size).to(dtype).to(device) for _ in range(2))
            out = torch.empty_like(left)
            rate = _best_rate(lambda left=left, right=right, out=out: torch.mm(left, right, out=out), device)
            operations = max(operations, 2 * size**3 * rate)
        source = torch.ones(_COPY_BYTES, dtype=torch.uint8, device=device)
        target = torch.empty_like(source)
        return cls(operations, 2 * _COPY_BYTES * _best_rate(lambda: target.copy_(source), device))

    def beside_the_base(self, cell: Cell, parameters_per_row: int) -> float:
        """Seconds that the adapters' own operations and the traffic of their weights take at best, a step.

        What ours can reach of the floor follows: no trainer of adapters is spared them.
        """
        weights = cell.rows * parameters_per_row
        return 6 * parameters_per_row * cell.tokens_per_step / self.operations + _WEIGHT_BYTES * weights / self.copied

    def to_json(self) -> dict[str, Any]:
        return {"operations_per_second": self.operations, "copied_bytes_per_second": self.copied}


def operations_per_token(cell: Cell, parameters_per_row: int) -> float:
    length = cell.tokens // cell.documents
    return 4 * cell.shape.matmul_parameters + 6 * parameters_per_row + cell.shape.attention_operations(length)


def _best_rate(call: Callable[[], object], device: str) -> float:
    """Calls a second of the fastest call."""
    best, began = float("inf"), time.perf_counter()
    call()
    while time.perf_counter() - began < _SECONDS or best == float("inf"):
        start = time.perf_counter()
        call()
        if device != "cpu":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
    return 1 / best
