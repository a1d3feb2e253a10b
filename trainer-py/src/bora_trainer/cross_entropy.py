"""Nats of scored tokens under a frozen output embedding, in chunks.

Shapes: M scored positions, H hidden size, V vocabulary.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from bora_trainer import card_kernels

_PRODUCT_BYTES = 128 * 2**20  # of one product with the output embedding: enough rows to fill the processor
# Of those, so many pass through softmax together on a CPU, 4 MiB in float32: all at once took twice as long.
_CACHED_LOGITS = 2**20


@dataclass(frozen=True, slots=True)
class OutputEmbedding:
    """logits = h W^T + b, then, where a family has it, softcap * tanh(logits / softcap). W [V, H], b [V]."""

    weight_VH: Tensor
    bias_V: Tensor | None
    softcap: float | None
    _kept: dict[str, Tensor] = field(default_factory=dict, repr=False, compare=False)

    def product(self, hidden_MH: Tensor, out_MV: Tensor | None = None) -> Tensor:
        """h W^T + b, [M, V], in the dtype of W."""
        if self.bias_V is None:
            return torch.mm(hidden_MH, self.weight_VH.mT, out=out_MV)
        return torch.addmm(self.bias_V, hidden_MH, self.weight_VH.mT, out=out_MV)

    def held(self, rows: int) -> Tensor:
        """Room for a product of so many rows, [rows, V]. On a CPU it is kept.

        A large buffer that comes and goes leaves a gap in the C library's heap that, aligned, it fits into no more.
        """
        if self.weight_VH.device.type != "cpu":
            return self.weight_VH.new_empty(rows, self.weight_VH.shape[0])
        kept = self._kept.get("product")
        if kept is None or len(kept) < rows:
            kept = self._kept["product"] = self.weight_VH.new_empty(rows, self.weight_VH.shape[0])
        return kept[:rows]

    def capped(self, product_MV: Tensor) -> Tensor:
        """The logits of a `product`, in at least float32."""
        logits_MV = product_MV.to(torch.promote_types(product_MV.dtype, torch.float32))
        return logits_MV if self.softcap is None else torch.tanh(logits_MV / self.softcap) * self.softcap

    def logits(self, hidden_MH: Tensor) -> Tensor:
        """[M, V] in at least float32."""
        return self.capped(self.product(hidden_MH))


def nats_of_targets(hidden_MH: Tensor, targets_M: Tensor, output: OutputEmbedding) -> Tensor:
    """-log p(target) of each scored position, [M], in at least float32; differentiable in `hidden_MH` alone."""
    return _Nats.apply(hidden_MH, targets_M, output)  # pyright: ignore[reportReturnType]


def positions_at_once(output: OutputEmbedding) -> int:
    """Scored positions whose products with W are held together, at most."""
    return max(1, _PRODUCT_BYTES // (output.weight_VH.shape[0] * output.weight_VH.element_size()))


class _Nats(torch.autograd.Function):
    """As W is frozen, d nats_m / d h_m is known when the logits are: it is kept, [M, H], not the logits, [M, V]."""

    @staticmethod
    def forward(ctx: Any, hidden_MH: Tensor, targets_M: Tensor, output: OutputEmbedding) -> Tensor:
        slope_MH = torch.empty_like(hidden_MH) if ctx.needs_input_grad[0] else None
        nats_M = hidden_MH.new_empty(len(targets_M), dtype=torch.promote_types(hidden_MH.dtype, torch.float32))
        rows = positions_at_once(output)
        held_MV = output.held(rows if len(targets_M) > rows // 8 else len(targets_M))
        for piece in _pieces(len(targets_M), rows):
            product_MV = output.product(hidden_MH[piece], held_MV[: piece.stop - piece.start])
            _write(product_MV, targets_M[piece], nats_M[piece], output, sloped=slope_MH is not None)
            if slope_MH is not None:
                torch.mm(product_MV, output.weight_VH, out=slope_MH[piece])
        ctx.save_for_backward(slope_MH)
        return nats_M

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        (slope_MH,) = ctx.saved_tensors
        return slope_MH * gradients[0][:, None].to(slope_MH.dtype), None, None


def _pieces(count: int, most: int) -> Iterator[slice]:
    """`count` places in order, at most `most` and at least one at a time, in parts of about one size."""
    parts = max(1, -(-count // max(1, most)))
    step = max(1, -(-count // parts))
    return (slice(start, min(start + step, count)) for start in range(0, count, step))


def _write(product_MV: Tensor, targets_M: Tensor, nats_M: Tensor, output: OutputEmbedding, *, sloped: bool) -> None:
    """Fills `nats_M`. With `sloped` the product is overwritten by its slope."""
    if output.softcap is None and nats_M.dtype == torch.float32 and card_kernels.run_on(product_MV):
        from bora_trainer import card_nats  # where `run_on` said so, and nowhere else

        card_nats.write_nats_and_slope(product_MV, targets_M, nats_M, sloped=sloped)
        return
    cached = _CACHED_LOGITS // product_MV.shape[1] if product_MV.is_cpu else len(product_MV)
    for part in _pieces(len(product_MV), cached):
        nats_M[part] = _nats_and_slope(product_MV[part], targets_M[part, None], output, sloped=sloped)


def _nats_and_slope(product_MV: Tensor, target_M1: Tensor, output: OutputEmbedding, *, sloped: bool) -> Tensor:
    """Nats, [M]. With `sloped` d nats / d product, (softmax - one-hot) through the soft cap, overwrites the product."""
    logits_MV = output.capped(product_MV)
    log_probability_MV = torch.log_softmax(logits_MV, -1)
    nats_M = -log_probability_MV.gather(-1, target_M1).squeeze(-1)
    if sloped:
        slope_MV = log_probability_MV.exp_()
        slope_MV.scatter_add_(-1, target_M1, torch.full_like(target_M1, -1, dtype=slope_MV.dtype))
        if output.softcap is not None:
            slope_MV.mul_(1 - (logits_MV / output.softcap).square_())
        product_MV.copy_(slope_MV)
    return nats_M
