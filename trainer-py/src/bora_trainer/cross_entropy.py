"""Nats of scored tokens under a frozen output embedding, in chunks.

Shapes: M scored positions, H hidden size, V vocabulary.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

_CHUNK_LOGITS = 16 * 2**20  # logits held at once (64 MiB in float32)


@dataclass(frozen=True, slots=True)
class OutputEmbedding:
    """logits = h W^T + b, then, where a family has it, softcap * tanh(logits / softcap). W [V, H], b [V]."""

    weight_VH: Tensor
    bias_V: Tensor | None
    softcap: float | None

    def logits(self, hidden_MH: Tensor) -> Tensor:
        """[M, V] in at least float32."""
        logits = torch.nn.functional.linear(hidden_MH, self.weight_VH, self.bias_V)
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        return logits if self.softcap is None else torch.tanh(logits / self.softcap) * self.softcap


def nats_of_targets(hidden_MH: Tensor, targets_M: Tensor, output: OutputEmbedding) -> Tensor:
    """-log p(target) of each scored position, [M], in at least float32; differentiable in `hidden_MH` alone."""
    return _Nats.apply(hidden_MH, targets_M, output)  # pyright: ignore[reportReturnType]


class _Nats(torch.autograd.Function):
    """As W is frozen, d nats_m / d h_m is known when the logits are: it is kept, [M, H], not the logits, [M, V]."""

    @staticmethod
    def forward(ctx: Any, hidden_MH: Tensor, targets_M: Tensor, output: OutputEmbedding) -> Tensor:
        wants_gradient = ctx.needs_input_grad[0]
        size = max(1, _CHUNK_LOGITS // output.weight_VH.shape[0])
        parts: list[Tensor] = []
        slope_MH = torch.empty_like(hidden_MH) if wants_gradient else None
        for start in range(0, hidden_MH.shape[0], size):
            piece = slice(start, start + size)
            logits = output.logits(hidden_MH[piece])
            log_total = logits.logsumexp(-1, keepdim=True)
            target = targets_M[piece, None]
            parts.append((log_total - logits.gather(-1, target)).squeeze(-1))
            if slope_MH is not None:
                slope_MH[piece] = _slope(logits, log_total, target, output)
        ctx.save_for_backward(slope_MH)
        return torch.cat(parts) if parts else hidden_MH.new_zeros(0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        (slope_MH,) = ctx.saved_tensors
        return slope_MH * gradients[0][:, None].to(slope_MH.dtype), None, None


def _slope(logits: Tensor, log_total: Tensor, target: Tensor, output: OutputEmbedding) -> Tensor:
    """d nats / d h, [m, H]: (softmax - one-hot) through the soft cap and W. Overwrites `logits`."""
    cap = None if output.softcap is None else 1 - (logits / output.softcap).square()
    probability = logits.sub_(log_total).exp_()
    probability.scatter_add_(-1, target, torch.full_like(target, -1, dtype=probability.dtype))
    if cap is not None:
        probability.mul_(cap)
    return probability.to(output.weight_VH.dtype) @ output.weight_VH
