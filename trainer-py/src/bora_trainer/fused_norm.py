"""Root-mean-square normalisation of a frozen base in one pass forward and one backward, compiled for CPUs.

Written out in torch's operations, as transformers does, it reads and writes its input some twenty times forward and
backward, a sixth of a training step of SmolLM2-135M in bfloat16 (docs/performance.md). Here each row passes through
the cache once each way. Sums are float32; the output is rounded where transformers rounds it.

Shapes: M tokens, H hidden size.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from bora_trainer.compiled_passes import MOST_THREADS, compiled, numbers, rounded, same, wide

_TOLERANCE = {torch.bfloat16: 1e-2, torch.float32: 1e-5}  # relative; of a family's own answer to random numbers


def fuse_norms(model: nn.Module) -> list[nn.Module]:
    """Exchanges the forward of every normalisation that this one agrees with; deleting it gives the old back.

    Families differ (Gemma adds one to its weights), so each class is asked: output and gradient of random numbers.
    None on a GPU, none whose weight is trained, and none where torch has more threads than a pass by one thread beats.
    """
    if torch.get_num_threads() > MOST_THREADS:
        return []
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
    given, epsilon, own = module.get_parameter("weight").detach(), _epsilon(module), module.forward
    weight, dtype = given.float(), given.dtype

    def forward(hidden_states: Tensor) -> Tensor:
        if (hidden_states.device.type, hidden_states.dtype) != ("cpu", dtype):  # what it was not asked with
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
    def forward(ctx: Any, x: Tensor, weight_H: Tensor, epsilon: float) -> Tensor:
        x_MH = x.contiguous().view(-1, x.shape[-1])
        y_MH, scale_M = torch.empty_like(x_MH), torch.empty(len(x_MH))
        _KERNELS[x.dtype].forward(
            numbers(x_MH), weight_H.numpy(), np.float32(epsilon), numbers(y_MH), scale_M.numpy()
        )
        if ctx.needs_input_grad[0]:
            ctx.save_for_backward(x_MH, weight_H, scale_M)
        return y_MH.view(x.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        x_MH, weight_H, scale_M = ctx.saved_tensors
        dy_MH = gradients[0].contiguous().view(x_MH.shape)
        dx_MH = torch.empty_like(x_MH)
        _KERNELS[x_MH.dtype].backward(
            numbers(x_MH), weight_H.numpy(), scale_M.numpy(), numbers(dy_MH), numbers(dx_MH)
        )
        return dx_MH.view(gradients[0].shape), None, None


_compiled = functools.partial(compiled, fastmath={"reassoc", "contract"})  # sums of a row as vectors


@dataclass(frozen=True, slots=True)
class _Kernels:
    """Of one dtype; compiled at their first call."""

    forward: Callable[..., None]
    backward: Callable[..., None]


def _kernels(wide: Callable[..., Any], rounded: Callable[..., Any]) -> _Kernels:
    """`wide` makes float32 of what is stored, `rounded` what is stored of float32."""

    @_compiled
    def forward(x, weight, epsilon, y, scales):
        size = np.float32(x.shape[1])
        row = np.empty(x.shape[1], np.float32)
        for m in range(x.shape[0]):
            total = np.float32(0)
            for j in range(x.shape[1]):
                row[j] = wide(x[m, j])
                total += row[j] * row[j]
            scale = np.float32(1) / np.sqrt(total / size + epsilon)
            scales[m] = scale
            for j in range(x.shape[1]):
                y[m, j] = rounded(weight[j] * wide(rounded(row[j] * scale)))

    @_compiled
    def backward(x, weight, scales, dy, dx):
        size = np.float32(x.shape[1])
        row, slope = np.empty(x.shape[1], np.float32), np.empty(x.shape[1], np.float32)
        for m in range(x.shape[0]):
            total = np.float32(0)
            for j in range(x.shape[1]):
                row[j] = wide(x[m, j])
                slope[j] = wide(dy[m, j]) * weight[j]
                total += row[j] * slope[j]
            scale = scales[m]
            share = scale * scale * scale * (total / size)
            for j in range(x.shape[1]):
                dx[m, j] = rounded(slope[j] * scale - row[j] * share)

    return _Kernels(forward, backward)


_KERNELS = {torch.float32: _kernels(same, same), torch.bfloat16: _kernels(wide, rounded)}
