"""Rotary position embeddings of a frozen base in one pass forward and one backward, compiled for CPUs.

transformers writes a rotation in torch's operations: queries and keys pass through memory some ten times, forward and
backward (docs/performance.md). Here once each way, rounded where transformers rounds: the same bits.

Shapes: N rows, T tokens, M = N * T, Q heads, C head size, two halves of which are rotated against each other.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from bora_trainer.compiled_passes import (
    STORED,
    Pass,
    Passes,
    compiled,
    ended,
    number_at,
    part_of,
    rounded,
    tensor_at,
    wide,
)

_NAME = "apply_rotary_pos_emb"  # of the function of queries, keys, cosines and sines in transformers' families

Rotation = Callable[..., tuple[Tensor, Tensor]]


def fuse_rotations(model: nn.Module) -> list[nn.Module]:
    """Exchanges the rotation in every attention module whose family's own this one agrees with, to the bit.

    `forward` of such a module is the family's own code with one name bound otherwise; deleting it gives the old back.
    None on a GPU.
    """
    agrees: dict[tuple[type[nn.Module], torch.dtype], bool] = {}
    fused = []
    for module in list(model.modules()):
        own, weight = _own(module), next(module.parameters(recurse=True), None)
        if own is None or weight is None or weight.device.type != "cpu" or weight.dtype not in _PASSES:
            continue
        key = type(module), weight.dtype
        if key not in agrees:
            agrees[key] = _agrees(own, weight.dtype)
        if agrees[key]:
            module.forward = _with(module, _rotation(own))
            fused.append(module)
    return fused


def _own(module: nn.Module) -> Rotation | None:
    """The function that the forward of a module calls by this name."""
    forward = type(module).forward
    if "forward" in module.__dict__ or not isinstance(forward, types.FunctionType):
        return None
    return forward.__globals__.get(_NAME) if _NAME in forward.__code__.co_names else None


def _with(module: nn.Module, rotation: Rotation) -> Callable[..., Any]:
    own = type(module).forward
    exchanged = types.FunctionType(
        own.__code__, {**own.__globals__, _NAME: rotation}, own.__name__, own.__defaults__, own.__closure__
    )
    exchanged.__kwdefaults__ = own.__kwdefaults__
    return types.MethodType(exchanged, module)


def _rotation(own: Rotation) -> Rotation:
    def rotate(*given: Any, **named: Any) -> tuple[Tensor, Tensor]:
        if named or not _can_rotate(*given):
            return own(*given, **named)  # what it was not asked with
        q, k, *turns = given
        cos_MC, sin_MC = (part.contiguous().view(-1, part.shape[-1]) for part in turns)
        return _Rotated.apply(q, k, cos_MC, sin_MC)  # pyright: ignore[reportReturnType]

    return rotate


def _can_rotate(*given: Any) -> bool:
    """Whether these are queries and keys, [N, Q, T, C], with cosines and sines of every token, [N, T, C]: the passes
    get addresses, so nothing else may reach them.
    """
    if len(given) != 4 or not all(isinstance(one, Tensor) for one in given):
        return False
    q, k, cos, sin = given
    same = {(one.dtype, one.device.type) for one in given} == {(q.dtype, "cpu")} and q.dtype in _PASSES
    turned = q.dim() == k.dim() == 4 and q.shape[-1] % 2 == 0
    return same and turned and all((one.shape[0], *one.shape[2:]) == cos.shape == sin.shape for one in (q, k))


def _agrees(own: Rotation, dtype: torch.dtype) -> bool:
    generator = torch.Generator().manual_seed(0)
    q, k, dq, dk = (torch.randn(2, heads, 5, 8, generator=generator).to(dtype) for heads in (4, 2, 4, 2))
    cos, sin = torch.randn(2, 2, 5, 8, generator=generator).to(dtype).unbind()
    try:
        theirs = _answer(own, q, k, cos, sin, dq, dk)
    except Exception:  # another function of the same name
        return False
    ours = _answer(_rotation(own), q, k, cos, sin, dq, dk)
    return all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=True))


@torch.enable_grad()
def _answer(rotation: Rotation, q: Tensor, k: Tensor, cos: Tensor, sin: Tensor, *slopes: Tensor) -> list[Tensor]:
    given = [part.clone().requires_grad_() for part in (q, k)]
    found = rotation(*given, cos, sin)
    torch.autograd.backward(found, slopes)
    return [*(part.detach() for part in found), *(part.grad for part in given if part.grad is not None)]


class _Rotated(torch.autograd.Function):
    """x cos + (the halves of x exchanged, the first of them negated) sin, of queries and keys, [N, Q, T, C]."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, cos_MC: Tensor, sin_MC: Tensor) -> tuple[Tensor, ...]:
        ctx.save_for_backward(cos_MC, sin_MC)
        return _passed(_PASSES[q.dtype].forward, (q, k), cos_MC, sin_MC)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return *_passed(_PASSES[gradients[0].dtype].backward, gradients, *ctx.saved_tensors), None, None


def _passed(one: Pass, given: Sequence[Tensor], cos_MC: Tensor, sin_MC: Tensor) -> tuple[Tensor, ...]:
    """Token by token in memory, as a linear module leaves them and the next one reads them."""
    xs = [x_NQTC.transpose(1, 2).contiguous() for x_NQTC in given]
    ys = [torch.empty_like(x_NTQC) for x_NTQC in xs]
    heads = [x_NTQC.shape[2] for x_NTQC in xs]
    addresses = [each.data_ptr() for each in (*xs, *ys, cos_MC, sin_MC)]
    one(len(cos_MC), sum(x.numel() for x in xs), cos_MC.shape[1], *heads, *addresses)
    return tuple(y_NTQC.transpose(1, 2) for y_NTQC in ys)


@compiled
def _product(one, other):
    return wide(rounded(wide(one) * wide(other), one))


@compiled
def _rotated(x, y, cos, sin):
    half = x.shape[1] // 2
    for q in range(x.shape[0]):
        for j in range(half):
            first, second = x[q, j], x[q, half + j]
            y[q, j] = rounded(_product(first, cos[j]) - _product(second, sin[j]), first)
            y[q, half + j] = rounded(_product(second, cos[half + j]) + _product(first, sin[half + j]), first)


@compiled
def _rotated_back(dy, dx, cos, sin):
    half = dy.shape[1] // 2
    for q in range(dy.shape[0]):
        for j in range(half):
            first, second = dy[q, j], dy[q, half + j]
            dx[q, j] = rounded(_product(first, cos[j]) + _product(second, sin[half + j]), first)
            dx[q, half + j] = rounded(_product(second, cos[half + j]) - _product(first, sin[j]), first)


@compiled
def _tensors(given, stop, stored):
    """Queries, keys, where both go, cosines and sines, all by tokens."""
    size, queries, keys = number_at(given, 0), number_at(given, 1), number_at(given, 2)
    return (
        tensor_at(given, 3, (stop, queries, size), stored), tensor_at(given, 4, (stop, keys, size), stored),
        tensor_at(given, 5, (stop, queries, size), stored), tensor_at(given, 6, (stop, keys, size), stored),
        tensor_at(given, 7, (stop, size), stored), tensor_at(given, 8, (stop, size), stored),
    )  # fmt: skip


def _passes(stored: type) -> Passes:
    """As `compiled_passes.STORED` has it."""

    def forward(given):
        _, start, stop = part_of(given)
        q, k, to_q, to_k, cos, sin = _tensors(given, stop, stored)
        for m in range(start, stop):
            _rotated(q[m], to_q[m], cos[m], sin[m])
            _rotated(k[m], to_k[m], cos[m], sin[m])
        ended(given)

    def backward(given):
        _, start, stop = part_of(given)
        dq, dk, to_q, to_k, cos, sin = _tensors(given, stop, stored)
        for m in range(start, stop):
            _rotated_back(dq[m], to_q[m], cos[m], sin[m])
            _rotated_back(dk[m], to_k[m], cos[m], sin[m])
        ended(given)

    return Passes(Pass(forward), Pass(backward))


_PASSES = {dtype: _passes(stored) for dtype, stored in STORED.items()}
