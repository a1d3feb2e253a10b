"""Tensors as they are now, in the host's memory, while what they are copied from goes on changing."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


class HostCopy:
    """On a CPU one copy. On CUDA copies that are queued behind the work in hand, into memory that the allocator reuses.

    The device does them before whatever is queued after, so nothing has to wait but the reader.
    """

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self._tensors = {name: _copy(tensor.detach()) for name, tensor in tensors.items()}
        self._copied: torch.cuda.Event | None = None
        if any(tensor.is_cuda for tensor in tensors.values()):
            self._copied = torch.cuda.Event()
            self._copied.record()

    @property
    def nbytes(self) -> int:
        return sum(tensor.nbytes for tensor in self._tensors.values())

    def tensors(self) -> dict[str, Tensor]:
        """Waits for the device."""
        if self._copied is not None:
            self._copied.synchronize()
        return self._tensors


def _copy(tensor: Tensor) -> Tensor:
    copy = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=tensor.is_cuda)
    return copy.copy_(tensor, non_blocking=tensor.is_cuda)
