"""Where each tensor of an adapter lies in a row of the flat [G, P] tensor.

Shapes: G rows (K fits x D tasks), P weights a row, R rank, I in, O out. Every row has the same layout, so that one
optimiser update runs over all rows, and a tensor of all rows is a strided view. docs/method.md, section 2.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from typing import Literal

from torch import Tensor

_ALIGNMENT = 8  # weights; a row is padded to a multiple of it, so that every row starts on an aligned address

TensorName = Literal["lora_A", "lora_B"]


@dataclass(frozen=True, slots=True)
class Slot:
    """One tensor of an adapter: `shape` weights of `module`'s tensor `name`, from `offset` within a row."""

    module: str
    name: TensorName
    shape: tuple[int, int]
    offset: int

    @property
    def size(self) -> int:
        return prod(self.shape)

    def view(self, rows_GP: Tensor) -> Tensor:
        """This tensor of all rows, [G, *shape], without a copy; one call, as steps of small models consist of calls."""
        first, (row, column) = rows_GP.storage_offset() + self.offset * rows_GP.stride(1), rows_GP.stride()
        size, width = (len(rows_GP), *self.shape), self.shape[1]
        return rows_GP.as_strided(size, (row, width * column, column), first)


@dataclass(frozen=True, slots=True)
class Layout:
    """The slots of a row in order. `weights` is P with the padding at the end; `parameters` is P without it."""

    slots: tuple[Slot, ...]

    @classmethod
    def of(cls, tensors: Iterable[tuple[str, TensorName, tuple[int, int]]]) -> "Layout":
        """Lays (module, tensor name, shape) out one behind the other."""
        slots: list[Slot] = []
        offset = 0
        for module, name, shape in tensors:
            slots.append(Slot(module, name, shape, offset))
            offset += prod(shape)
        return cls(tuple(slots))

    @property
    def parameters(self) -> int:
        return sum(slot.size for slot in self.slots)

    @property
    def weights(self) -> int:
        return -(-self.parameters // _ALIGNMENT) * _ALIGNMENT

    @property
    def hash(self) -> str:
        """sha256 of where every tensor lies: rows of one layout mean nothing in another of the same length."""
        return hashlib.sha256(repr(self.slots).encode()).hexdigest()

    def tensors(self, row_P: Tensor) -> dict[tuple[str, TensorName], Tensor]:
        """The tensors of one row by (module, name), as views."""
        return {(slot.module, slot.name): slot.view(row_P[None])[0] for slot in self.slots}
