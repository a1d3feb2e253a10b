"""The factors of the adapted modules that read one input, end to end in the rows.

Shapes: N adapter rows, P weights a row, R rank, S the ranks of all adapted members together, I in, O out of one member.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bora_trainer.adapters.layout import Slot


@dataclass(frozen=True, slots=True)
class Factors:
    """Where all A [S, I] and each B [O, R] lie in rows [N, P], and what a change is multiplied with, also as [1],
    float32, on the CPU.

    `end`: the weight behind the last of them; `products`: multiplications of one token.
    """

    slot_a: Slot
    slots_b: tuple[Slot, ...]
    scale: float
    scale_1: Tensor
    end: int
    products: int

    @classmethod
    def of(cls, slot_a: Slot, slots_b: Sequence[Slot], scale: float) -> Factors:
        slots, scale_1 = (slot_a, *slots_b), torch.tensor([scale], dtype=torch.float32, device="cpu")
        end, products = max(slot.offset + slot.size for slot in slots), sum(slot.size for slot in slots)
        return cls(slot_a, tuple(slots_b), scale, scale_1, end, products)

    @property
    def ranks(self) -> int:
        """S."""
        return self.slot_a.shape[0]

    @property
    def rank(self) -> int:
        return self.slots_b[0].shape[1]
