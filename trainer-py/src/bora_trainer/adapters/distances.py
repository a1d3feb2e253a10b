"""How far adapters are from Theta and from each other, in the factors and in the change they make to the model.

Shapes: D tasks, P weights a row, R rank, I in, O out; S = 2 R. docs/method.md, section 5.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bora_trainer.adapters.layout import Layout, Slot


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


@torch.no_grad()
def distances(layout: Layout, scale: float, centre_P: Tensor, offsets_DP: Tensor) -> Distances:
    """Of the adapters centre + offsets, the form in which training keeps them: no difference of near-equal numbers.

    With dB = B_d - B_0 and dA = A_d - A_0 a module's change is scale [dB, B_0] [A_d; dA], exactly; the inner product of
    two such products is a sum over S x S numbers, so that no O x I matrix is made. Every term is as small as the
    offsets' product: adapters that differ by 1e-6 lose no digit, where |dW_d|^2 + |dW_0|^2 - 2 <dW_d, dW_0> in float32
    has none left.
    One pass is O((O + I) (D S)^2), in float64.
    """
    centre_P, offsets_DP = (values.detach().to("cpu", torch.float64) for values in (centre_P, offsets_DP))
    by_module: dict[str, dict[str, Slot]] = {}
    for slot in layout.slots:
        by_module.setdefault(slot.module, {})[slot.name] = slot
    gram_DD = offsets_DP.new_zeros(len(offsets_DP), len(offsets_DP))
    for slots in by_module.values():
        gram_DD += _inner_products(slots["lora_A"], slots["lora_B"], centre_P, offsets_DP)
    gram_DD *= scale**2
    changes_D = gram_DD.diagonal().clamp(min=0).sqrt()  # rounding may leave a negative where a gauge undoes itself
    return Distances(offsets_DP[:, : layout.parameters].norm(dim=1), changes_D, gram_DD)


def _inner_products(slot_a: Slot, slot_b: Slot, centre_P: Tensor, offsets_DP: Tensor) -> Tensor:
    """<B_d A_d - B_0 A_0, B_e A_e - B_0 A_0>_F of one module, [D, D]: the sum over (X_d^T X_e) * (Y_d Y_e^T)."""
    tasks = len(offsets_DP)
    a_1RI, b_1OR = slot_a.view(centre_P[None]), slot_b.view(centre_P[None])
    da_DRI, db_DOR = slot_a.view(offsets_DP), slot_b.view(offsets_DP)
    x_DSO = torch.cat([db_DOR, b_1OR.expand_as(db_DOR)], dim=2).mT
    y_DSI = torch.cat([a_1RI + da_DRI, da_DRI], dim=1)
    left, right = (values.reshape(-1, values.shape[-1]) for values in (x_DSO, y_DSI))
    products = (left @ left.T) * (right @ right.T)
    ranks = x_DSO.shape[1]
    return products.view(tasks, ranks, tasks, ranks).sum(dim=(1, 3))
