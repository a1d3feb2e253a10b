"""Root-mean-square normalisation of a frozen base in one pass forward and one backward, compiled for CPUs.

Written out in torch's operations, as transformers does, it reads and writes its input some twenty times forward and
backward, a sixth of a training step of SmolLM2-135M in bfloat16 (docs/performance.md). Here each row passes through
the cache once each way. Sums are float32; the output is rounded where transformers rounds it.

Shapes: M tokens, H hidden size.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from bora_trainer.compiled_passes import STORED, Pass, Passes, ended, number_at, part_of, rounded, tensor_at, wide

_TOLERANCE = {torch.bfloat16: 1e-2, torch.float32: 1e-5}  # relative; of a family's own answer to random numbers


def fuse_norms(model: nn.Module) -> list[nn.Module]:
    """Exchanges the forward of every normalisation that this one agrees with; deleting it gives the old back.

    Families differ (Gemma adds one to its weights), so each class is asked: output and gradient of random numbers.
    None on a GPU, and none whose weight is trained.
    """
    agrees: dict[type[nn.Module], bool] = {}
    fused = []
    for module in list(model.modules()):
        if not _looks_like_one(module):
            continue
        if type(module) not in agrees:
            agrees[type(module)] = _agrees(module)
        if agrees[type(module)]:
            module.forward = _forward_of(module)
            fused.append(module)
    return fused


def _looks_like_one(module: nn.Module) -> bool:
    weight = getattr(module, "weight", None)
    return (
        type(module).__name__.endswith("RMSNorm")
        and isinstance(weight, Tensor)
        and (weight.dim(), weight.device.type, weight.requires_grad) == (1, "cpu", False)
        and weight.dtype in _TOLERANCE
        and _epsilon(module) is not None
        and "forward" not in module.__dict__
    )


def _epsilon(module: nn.Module) -> float | None:
    return getattr(module, "variance_epsilon", getattr(module, "eps", None))


def _forward_of(module: nn.Module) -> Callable[[Tensor], Tensor]:
    given, own = module.get_parameter("weight").detach(), module.forward
    weight, dtype, epsilon = given.float().contiguous(), given.dtype, torch.tensor([_epsilon(module)])

    def forward(hidden_states: Tensor) -> Tensor:
        asked = (hidden_states.device.type, hidden_states.dtype, hidden_states.shape[-1])
        if asked != ("cpu", dtype, len(weight)):  # what it was not asked with; a pass would leave the tensor
            return own(hidden_states)
        return _Norm.apply(hidden_states, weight, epsilon)  # pyright: ignore[reportReturnType]

    return forward


def _agrees(module: nn.Module) -> bool:
    weight = module.get_parameter("weight")
    generator = torch.Generator().manual_seed(0)
    x, dy = torch.randn(2, 7, len(weight), generator=generator).mul_(3).to(weight.dtype).unbind()
    ours, theirs = (_answer(forward, x, dy) for forward in (_forward_of(module), module.forward))
    bound = _TOLERANCE[weight.dtype]
    return all(
        one.dtype == other.dtype and ((one - other).norm() <= bound * other.norm()).item()
        for one, other in zip(ours, theirs, strict=True)
    )


@torch.enable_grad()
def _answer(forward: Callable[[Tensor], Tensor], x: Tensor, dy: Tensor) -> tuple[Tensor, Tensor]:
    given = x.clone().requires_grad_()
    y = forward(given)
    y.backward(dy)
    assert given.grad is not None
    return y.detach(), given.grad


class _Norm(torch.autograd.Function):
    """y = w * x / sqrt(mean(x^2) + epsilon), over the last dimension."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight_H: Tensor, epsilon_1: Tensor) -> Tensor:
        x_MH = x.contiguous().view(-1, x.shape[-1])
        y_MH, scale_M = torch.empty_like(x_MH), x_MH.new_empty(len(x_MH), dtype=torch.float32)
        _run(_PASSES[x.dtype].forward, x_MH, weight_H, scale_M, y_MH, epsilon_1)
        if ctx.needs_input_grad[0]:
            ctx.save_for_backward(x_MH, weight_H, scale_M)
        return y_MH.view(x.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        x_MH, weight_H, scale_M = ctx.saved_tensors
        dy_MH = gradients[0].contiguous().view(x_MH.shape)
        dx_MH = torch.empty_like(x_MH)
        _run(_PASSES[x_MH.dtype].backward, x_MH, weight_H, scale_M, dx_MH, dy_MH)
        return dx_MH.view(gradients[0].shape), None, None


def _run(one: Pass, x_MH: Tensor, *others: Tensor) -> None:
    one(len(x_MH), x_MH.numel(), x_MH.shape[1], *(tensor.data_ptr() for tensor in (x_MH, *others)))


_FASTMATH = {"reassoc", "contract"}  # sums of a row as vectors


def _passes(stored: type) -> Passes:
    """As `compiled_passes.STORED` has it."""

    def forward(given):
        _, start, stop = part_of(given)
        width = number_at(given, 0)
        x, y = tensor_at(given, 1, (stop, width), stored), tensor_at(given, 4, (stop, width), stored)
        weight, scales = tensor_at(given, 2, width, np.float32), tensor_at(given, 3, stop, np.float32)
        epsilon, size = tensor_at(given, 5, 1, np.float32)[0], np.float32(width)
        row = np.empty(width, np.float32)
        for m in range(start, stop):
            total = np.float32(0)
            for j in range(width):
                row[j] = wide(x[m, j])
                total += row[j] * row[j]
            scale = np.float32(1) / np.sqrt(total / size + epsilon)
            scales[m] = scale
            for j in range(width):
                y[m, j] = rounded(weight[j] * wide(rounded(row[j] * scale, x[m, j])), x[m, j])
        ended(given)

    def backward(given):
        _, start, stop = part_of(given)
        width = number_at(given, 0)
        x, dx = tensor_at(given, 1, (stop, width), stored), tensor_at(given, 4, (stop, width), stored)
        weight, scales = tensor_at(given, 2, width, np.float32), tensor_at(given, 3, stop, np.float32)
        dy, size = tensor_at(given, 5, (stop, width), stored), np.float32(width)
        row, slope = np.empty(width, np.float32), np.empty(width, np.float32)
        for m in range(start, stop):
            total = np.float32(0)
            for j in range(width):
                row[j] = wide(x[m, j])
                slope[j] = wide(dy[m, j]) * weight[j]
                total += row[j] * slope[j]
            scale = scales[m]
            share = scale * scale * scale * (total / size)
            for j in range(width):
                dx[m, j] = rounded(slope[j] * scale - row[j] * share, x[m, j])
        ended(given)

    return Passes(Pass(forward, fastmath=_FASTMATH), Pass(backward, fastmath=_FASTMATH))


_PASSES = {dtype: _passes(stored) for dtype, stored in STORED.items()}
