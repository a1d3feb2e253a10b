"""How far adapters are from Theta and from each other, in the factors and in the change they make to the model.

Shapes: D tasks, P weights a row, R rank, I in, O out; S = 2 R. docs/method.md, section 5.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bora_trainer.adapters.layout import Layout, Slot

_PRODUCTS_AT_ONCE = 1 << 23  # numbers, twice: 128 MB


@dataclass(frozen=True, slots=True)
class Distances:
    """Of D adapters from Theta, float64 on the CPU.

    `factors_D` is |theta_d - Theta| over all weights of A and B; it depends on the gauge, so it means something only
    for adapters that started from one draw. `changes_D` is |dW_d - dW_0|_F over all modules, dW = scale B A, which does
    not. `gram_DD` holds the inner products <dW_d - dW_0, dW_e - dW_0>_F, from which a map of the adapters is drawn.
    """

    factors_D: Tensor
    changes_D: Tensor
    gram_DD: Tensor
    centre: float  # |dW_0|_F, of Theta's own change

    def as_json(self, tasks: Sequence[str]) -> dict[str, Any]:
        """Tasks by name, in the order of the rows."""
        return {
            "tasks": list(tasks),
            "factors": self.factors_D.tolist(),
            "changes": self.changes_D.tolist(),
            "priorMean": self.centre,
            "gram": self.gram_DD.tolist(),
        }


def distances(layout: Layout, scale: float, centre_P: Tensor, offsets_DP: Tensor) -> Distances:
    """Of the adapters centre + offsets, the form in which training keeps them: no difference of near-equal numbers.

    With dB = B_d - B_0 and dA = A_d - A_0 a module's change is scale [dB, B_0] [A_d; dA], exactly; the inner product of
    two such products is a sum over S x S numbers, so that no O x I matrix is made. Every term is as small as the
    offsets' product: adapters that differ by 1e-6 lose no digit, where |dW_d|^2 + |dW_0|^2 - 2 <dW_d, dW_0> in float32
    has none left.
    One pass is O((O + I) (D S)^2), in float64, one module at a time.
    """
    return _measure(layout, scale, centre_P, lambda slot: _double(slot.view(offsets_DP)))


def distances_of_rows(layout: Layout, scale: float, centre_P: Tensor, rows_DP: Tensor) -> Distances:
    """The same of whole rows, as results are kept. Theta is taken away in float64, so that only what adding it to an
    offset rounded off is lost: a distance is right to about 6e-8 |theta|, the least that it can show.
    """
    return _measure(
        layout, scale, centre_P, lambda slot: _double(slot.view(rows_DP)) - _double(slot.view(centre_P[None]))
    )


def _double(values: Tensor) -> Tensor:
    return values.detach().to("cpu", torch.float64)


@torch.no_grad()
def _measure(layout: Layout, scale: float, centre_P: Tensor, offset_of: Callable[[Slot], Tensor]) -> Distances:
    by_module: dict[str, dict[str, Slot]] = {}
    for slot in layout.slots:
        by_module.setdefault(slot.module, {})[slot.name] = slot
    squares_D, gram_DD, centre = torch.zeros(1), torch.zeros(1, 1), 0.0
    for slots in by_module.values():
        a_RI, b_OR = (_double(slots[name].view(centre_P[None]))[0] for name in ("lora_A", "lora_B"))
        da_DRI, db_DOR = offset_of(slots["lora_A"]), offset_of(slots["lora_B"])
        squares_D = squares_D + da_DRI.square().sum(dim=(1, 2)) + db_DOR.square().sum(dim=(1, 2))
        gram_DD = gram_DD + _inner_products(a_RI, b_OR, da_DRI, db_DOR)
        centre += float(((b_OR.mT @ b_OR) * (a_RI @ a_RI.mT)).sum())  # |B A|^2 = tr(B^T B A A^T)
    gram_DD = gram_DD * scale**2
    changes_D = gram_DD.diagonal().clamp(min=0).sqrt()  # rounding may leave a negative where a gauge undoes itself
    return Distances(squares_D.sqrt(), changes_D, gram_DD, scale * centre**0.5)


def _inner_products(a_RI: Tensor, b_OR: Tensor, da_DRI: Tensor, db_DOR: Tensor) -> Tensor:
    """<B_d A_d - B_0 A_0, B_e A_e - B_0 A_0>_F of one module, [D, D]: the sum over (X_d^T X_e) * (Y_d Y_e^T)."""
    tasks = len(da_DRI)
    x_DSO = torch.cat([db_DOR, b_OR.expand_as(db_DOR)], dim=2).mT
    y_DSI = torch.cat([a_RI + da_DRI, da_DRI], dim=1)
    left, right = (values.reshape(-1, values.shape[-1]) for values in (x_DSO, y_DSI))
    ranks = x_DSO.shape[1]
    block = ranks * max(1, _PRODUCTS_AT_ONCE // len(left) // ranks)
    sums = [
        ((some_left @ left.T) * (some_right @ right.T)).view(-1, ranks, tasks, ranks).sum(dim=(1, 3))
        for some_left, some_right in zip(left.split(block), right.split(block), strict=True)
    ]
    return torch.cat(sums)
