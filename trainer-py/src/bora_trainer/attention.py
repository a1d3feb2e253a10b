"""Causal attention inside each packed document, over documents instead of rows.

Shapes: N packed rows, T tokens, Q query heads, J key and value heads, S = Q / J, C head size; E documents of one length
class, L the longest of them.

A packed row holds short documents. Masked attention over the whole row computes T x T scores of which L / T are wanted,
and torch's fused kernel for CPUs is several times slower in bfloat16 than the matrix products it consists of
(docs/performance.md). Here the documents of like length form one batch of matrix products, with an exact backward.
`plain_attention_mask` is the plain path: the model's own attention over whole rows; tests hold this one to it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from transformers import AttentionInterface, PreTrainedModel

from bora_trainer.gather import gather

NAME = "bora_documents"

_SCORES_AT_ONCE = 1 << 20  # of one product on a CPU: scores stay in its cache
_LEAST_DOCUMENTS, _LEAST_LENGTH = 8, 32  # steps of rounded layouts
_KEPT_LENGTH = 512  # up to here the backward reads the kept probabilities, beyond it computes them again


@dataclass(frozen=True, slots=True)
class DocumentLayout:
    """Where the documents of a micro-batch lie in its rows.

    `classes`: (E, L) of each length class. `place_M`: n * T + t of every token of the classes, end to end, and
    of any token where a document is padded to L, told apart by `real_M1`. `origin_NT` and `real_NT1` lead back.
    Without indices the documents, all of one length, fill the rows, and a reshape finds them.
    """

    classes: tuple[tuple[int, int], ...]
    place_M: Tensor | None = None
    real_M1: Tensor | None = None
    origin_NT: Tensor | None = None
    real_NT1: Tensor | None = None

    @classmethod
    def of(
        cls, lengths: Sequence[Sequence[int]], width: int, buckets: Callable[[int, int], int] | None = None
    ) -> DocumentLayout:
        """On the CPU. `lengths[n]`: the documents of row n, end to end from its start; `width`: T.

        With `buckets` (a number and the least step to its rounded one) there is one class, of a rounded number of
        documents of a rounded length, so that few shapes occur.
        """
        found: list[tuple[int, int]] = []
        for n, row in enumerate(lengths):
            starts = accumulate(row, initial=n * width)
            found += sorted((length, start) for start, length in zip(starts, row, strict=False))
        found = sorted(found) or [(1, 0)]  # no document at all: one token that nobody reads
        longest = found[-1][0]
        if found[0][0] == longest and len(found) * longest == len(lengths) * width:
            return cls(((len(found), longest),))
        if buckets is None:
            groups = [(members, members[-1][0]) for members in _length_classes(found)]
        else:
            absent = buckets(len(found), _LEAST_DOCUMENTS) - len(found)
            groups = [(found + [(0, 0)] * absent, buckets(longest, _LEAST_LENGTH))]
        return cls(tuple((len(members), length) for members, length in groups), *_indices(groups, len(lengths) * width))

    @property
    def indices(self) -> tuple[Tensor | None, Tensor | None, Tensor | None, Tensor | None]:
        return self.place_M, self.real_M1, self.origin_NT, self.real_NT1

    def to(self, device: torch.device) -> DocumentLayout:
        moved = (None if tensor is None else tensor.to(device) for tensor in self.indices)
        return DocumentLayout(self.classes, *moved)


def _indices(groups: Sequence[tuple[list[tuple[int, int]], int]], cells: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """`place_M`, `real_M1`, `origin_NT`, `real_NT1` of classes of (length, start) and of the class's length."""
    place, real = [], []
    for members, length in groups:
        size, first = torch.tensor(members).T[:, :, None]
        step = torch.arange(length)
        real.append((step < size).flatten())
        place.append((first + torch.where(step < size, step, 0)).flatten())
    place_M, real_M = torch.cat(place), torch.cat(real)
    origin = torch.full((cells,), -1)
    origin[place_M[real_M]] = torch.arange(len(place_M))[real_M]
    return place_M, real_M[:, None], origin.clamp_min(0), (origin >= 0)[:, None]


def _length_classes(found: list[tuple[int, int]]) -> Iterator[list[tuple[int, int]]]:
    """Sorted (length, start) in runs whose longest is at most a half longer than the shortest, and 16 at least."""
    begin = 0
    for end in range(1, len(found) + 1):
        if end == len(found) or found[end][0] > max(16, found[begin][0] * 3 // 2):
            yield found[begin:end]
            begin = end


@dataclass(slots=True)
class _InHand:
    """The micro-batch that a model reads now, and whether its attention has asked for it."""

    layout: DocumentLayout
    asked: bool = False


_IN_HAND: ContextVar[_InHand] = ContextVar("the documents of the micro-batch in hand")


@contextmanager
def attending(layout: DocumentLayout) -> Iterator[None]:
    """Within it, a model on which this attention is installed attends by `layout`.

    Raises RuntimeError when it did not: without a mask any other attention would see across documents.
    """
    in_hand = _InHand(layout)
    token = _IN_HAND.set(in_hand)
    try:
        yield
    finally:
        _IN_HAND.reset(token)
    if not in_hand.asked:
        raise RuntimeError("the model's attention was exchanged after it was installed")


def _for_transformers(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: None, **options: Any
) -> tuple[Tensor, None]:
    """What transformers calls: heads first in, [N, T, Q, C] out."""
    in_hand = _IN_HAND.get()
    in_hand.asked = True
    scaling = options.get("scaling") or query.shape[-1] ** -0.5
    return attend(query, key, value, in_hand.layout, scaling=scaling, softcap=options.get("softcap")), None


AttentionInterface.register(NAME, _for_transformers)


def leave_uncompiled() -> None:
    """From now on a compiled layer calls this attention as it is: it asks for the micro-batch in hand."""
    AttentionInterface.register(NAME, torch.compiler.disable(_for_transformers))


def switch(model: PreTrainedModel, implementation: str) -> None:
    """`model.set_attn_implementation` without what it warns of itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        model.set_attn_implementation(implementation)


def plain_attention_mask(segments_NT: Tensor, attention: str, dtype: torch.dtype) -> Tensor:
    """Causal within each document, blind to the others: [N, 1, T, T]. Pads see earlier pads, so no row is empty.

    Additive for "eager" attention, true where a token is seen for "sdpa".
    """
    length = segments_NT.shape[1]
    causal_TT = torch.ones(length, length, dtype=torch.bool, device=segments_NT.device).tril()
    seen = (segments_NT[:, None, :, None] == segments_NT[:, None, None, :]) & causal_TT
    if attention == "sdpa":
        return seen
    return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill_(~seen, torch.finfo(dtype).min)


def attend(
    query_NQTC: Tensor,
    key_NJTC: Tensor,
    value_NJTC: Tensor,
    layout: DocumentLayout,
    *,
    scaling: float,
    softcap: float | None = None,
    products: bool | None = None,
) -> Tensor:
    """[N, T, Q, C]. `products`: our own matrix products (default on CPUs), else torch's fused kernels (on GPUs)."""
    rows, heads, width, size = query_NQTC.shape
    if products is None:
        products = query_NQTC.device.type == "cpu" or softcap is not None
    queries, keys, values = (_by_class(tensor, layout) for tensor in (query_NQTC, key_NJTC, value_NJTC))
    found = []
    for query_EQLC, key_EJLC, value_EJLC in zip(queries, keys, values, strict=True):
        if products:
            found.append(_Products.apply(query_EQLC, key_EJLC, value_EJLC, scaling, softcap))
        else:
            found.append(F.scaled_dot_product_attention(
                query_EQLC, key_EJLC, value_EJLC, is_causal=True, scale=scaling, enable_gqa=heads > key_EJLC.shape[1]
            ))  # fmt: skip
    if layout.place_M is None:
        found_NQTC = (
            found[0].view(rows, -1, heads, *found[0].shape[2:]).transpose(1, 2).reshape(rows, heads, width, size)
        )
        return found_NQTC.transpose(1, 2)
    flat = torch.cat([part.transpose(1, 2).reshape(-1, heads * size) for part in found])
    gathered = _Gather.apply(flat, layout.origin_NT, layout.real_NT1, layout.place_M, layout.real_M1)
    return gathered.view(rows, width, heads, size)


def _by_class(heads_NQTC: Tensor, layout: DocumentLayout) -> list[Tensor]:
    """[E, Q, L, C] of each class."""
    rows, heads, width, size = heads_NQTC.shape
    if layout.place_M is None:
        ((documents, length),) = layout.classes
        split = heads_NQTC.reshape(rows, heads, documents // rows, length, size)
        return [split.transpose(1, 2).reshape(documents, heads, length, size)]
    flat = heads_NQTC.transpose(1, 2).reshape(rows * width, heads * size)
    gathered = _Gather.apply(flat, layout.place_M, layout.real_M1, layout.origin_NT, layout.real_NT1)
    parts = gathered.split([documents * length for documents, length in layout.classes])
    shapes = [(*one, heads, size) for one in layout.classes]
    return [part.view(shape).transpose(1, 2) for part, shape in zip(parts, shapes, strict=True)]


class _Gather(torch.autograd.Function):
    """Rows `index` of a matrix, zero where not `real`, whatever stands there; the backward gathers too."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, index: Tensor, real: Tensor, back: Tensor, back_real: Tensor) -> Tensor:
        ctx.save_for_backward(back, back_real)
        return gather(x, index, real)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        back, back_real = ctx.saved_tensors
        return gather(gradients[0], back, back_real), None, None, None, None


class _Products(torch.autograd.Function):
    """softmax(cap(scaling q k^T) + causal) v of [E, Q, L, C] heads, a few documents at once."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, scaling: float, softcap: float | None) -> Tensor:
        ctx.shapes, ctx.scaling, ctx.softcap = (query.shape, key.shape), scaling, softcap
        query, key, value = _flat(query, key), _flat(key, key), _flat(value, key)
        length = key.shape[1]
        ctx.kept = length <= _KEPT_LENGTH and softcap is None and any(ctx.needs_input_grad)
        out, kept = torch.empty_like(query), []
        for part in _pieces(query, length):
            probability = _probability(query[part], key[part], scaling, softcap)[0]
            torch.bmm(probability, value[part], out=out[part])
            if ctx.kept:
                kept.append(probability)
        if any(ctx.needs_input_grad):
            ctx.save_for_backward(query, key, value, *kept)
        return out.view(ctx.shapes[0])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        query, key, value, *kept = ctx.saved_tensors
        d_out = gradients[0].reshape(query.shape)
        d_query, d_key, d_value = torch.empty_like(query), torch.empty_like(key), torch.empty_like(value)
        for number, part in enumerate(_pieces(query, key.shape[1])):
            slope = None
            if ctx.kept:
                probability = kept[number]
            else:
                probability, slope = _probability(query[part], key[part], ctx.scaling, ctx.softcap)
            torch.bmm(probability.mT, d_out[part], out=d_value[part])
            d_probability = torch.bmm(d_out[part], value[part].mT)
            d_score = torch.ops.aten._softmax_backward_data(d_probability, probability, -1, probability.dtype)
            if slope is not None:
                d_score = d_score.mul_(slope)
            d_score = d_score.mul_(ctx.scaling)
            torch.bmm(d_score, key[part], out=d_query[part])
            torch.bmm(d_score.mT, query[part], out=d_key[part])
        heads, groups = ctx.shapes
        return d_query.view(heads), d_key.view(groups), d_value.view(groups), None, None


def _flat(heads_EQLC: Tensor, key_EJLC: Tensor) -> Tensor:
    """[E * J, S * L, C]: the query heads that share a key head lie behind each other; S = 1 for keys and values."""
    documents, groups, _, size = key_EJLC.shape
    return heads_EQLC.reshape(documents * groups, -1, size)


def _pieces(query: Tensor, length: int) -> Iterator[slice]:
    """Runs of heads whose scores fit the cache of a CPU; all of them on a GPU."""
    many = query.shape[0]
    step = max(1, _SCORES_AT_ONCE // (query.shape[1] * length)) if query.device.type == "cpu" else many
    return (slice(start, start + step) for start in range(0, many, step))


def _probability(query: Tensor, key: Tensor, scaling: float, softcap: float | None) -> tuple[Tensor, Tensor | None]:
    """[B, S * L, L], and, where scores are capped, d capped / d score."""
    length = key.shape[1]
    future = torch.full((length, length), -torch.inf, dtype=query.dtype, device=query.device).triu_(1)
    future = future.repeat(query.shape[1] // length, 1)
    if softcap is None:
        return torch.baddbmm(future, query, key.mT, alpha=scaling).softmax(-1), None
    capped = torch.bmm(query, key.mT).mul_(scaling / softcap).tanh_()
    slope = 1 - capped.square()
    return capped.mul_(softcap).add_(future).softmax(-1), slope
