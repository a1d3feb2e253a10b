"""Lets a model attend over documents (attention.py) where that is what its own attention computes; else leaves it.

Families differ in what they hand to an attention function (biases, sinks, windows), so the model is asked: two short
documents in one row pass through it, and at every call its own attention and ours answer the same query, key and value.
Compared call by call, as rounding grows from layer to layer: in bfloat16 the last hidden states of two right answers
differ by some percent after 30 layers.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.masking_utils import sdpa_mask

from bora_trainer.attention import NAME, DocumentLayout, attend, attending, plain_attention_mask, switch

_ASKING = "bora_documents_asked"
_LENGTHS = ((4, 3),)  # tokens of the documents of each row
_TOLERANCE_OF_A_CALL = {torch.bfloat16: 2e-2, torch.float16: 4e-3, torch.float64: 1e-6}
_TOLERANCE = {torch.bfloat16: 0.25, torch.float64: 1e-6}  # of the last hidden states; some families rotate in float32

OwnAttention = Callable[..., tuple[Tensor, Any]]


@torch.no_grad()
def install(model: PreTrainedModel) -> bool:
    """Whether `model` attends over documents from now on. `attention.switch` takes it back."""
    own = model.config._attn_implementation
    if own is None or not model._supports_attention_backend:
        return False
    device, width = next(model.parameters()).device, sum(_LENGTHS[0])
    segments = torch.repeat_interleave(torch.arange(2), torch.tensor(_LENGTHS[0]))[None].to(device)
    positions = torch.cat([torch.arange(length) for length in _LENGTHS[0]])[None].to(device)
    tokens = torch.arange(width, device=device)[None] % model.config.get_text_config().vocab_size
    inputs: dict[str, Any] = {"input_ids": tokens, "position_ids": positions, "use_cache": False}
    layout = DocumentLayout.of(_LENGTHS, width).to(device)
    mask = plain_attention_mask(segments, own, model.dtype)
    try:
        expected, worst = _asked(model, own, layout, inputs | {"attention_mask": mask})
        switch(model, NAME)
        with attending(layout):
            found = model.base_model(**inputs, attention_mask=None)[0]
        alone = _second_alone(model, tokens)
    except (RuntimeError, TypeError, ValueError, KeyError):  # a family with an attention of its own shape
        switch(model, own)
        return False
    bound = _TOLERANCE.get(model.dtype, 1e-4)
    agrees = _difference(found, expected) <= bound and _difference(found[:, _LENGTHS[0][0] :], alone) <= bound
    if worst <= _TOLERANCE_OF_A_CALL.get(model.dtype, 1e-4) and agrees:
        return True
    switch(model, own)
    return False


def _second_alone(model: PreTrainedModel, tokens: Tensor) -> Tensor:
    """Hidden states of the second document by itself: layers that mix neighbours outside attention would differ."""
    first, length = _LENGTHS[0]
    positions = torch.arange(length, device=tokens.device)[None]
    with attending(DocumentLayout.of([[length]], length).to(tokens.device)):
        return model.base_model(
            input_ids=tokens[:, first:], position_ids=positions, use_cache=False, attention_mask=None
        )[0]


def _difference(found: Tensor, expected: Tensor) -> float:
    """Relative; infinity where something is not finite."""
    relative = ((found - expected).norm() / expected.norm()).item()
    return relative if math.isfinite(relative) else math.inf


def _asked(model: PreTrainedModel, own: str, layout: DocumentLayout, inputs: dict[str, Any]) -> tuple[Tensor, float]:
    """The last hidden states under the model's own attention, and the largest relative difference of a call of ours.

    Infinity when the model calls no attention that can be exchanged.
    """
    differences: list[float] = []

    def both(module: nn.Module, query: Tensor, key: Tensor, value: Tensor, *rest: Any, **named: Any) -> Any:
        answer = _own_attention(module, own)(module, query, key, value, *rest, **named)
        scaling = named.get("scaling") or query.shape[-1] ** -0.5
        ours = attend(query, key, value, layout, scaling=scaling, softcap=named.get("softcap"))
        differences.append(_difference(ours, answer[0]))
        return answer

    AttentionInterface.register(_ASKING, both)
    AttentionMaskInterface.register(_ASKING, sdpa_mask)
    switch(model, _ASKING)
    try:
        expected = model.base_model(**inputs)[0]
    finally:
        switch(model, own)
    return expected, max(differences, default=math.inf)


def _own_attention(module: nn.Module, own: str) -> OwnAttention:
    """What transformers would have called. Raises RuntimeError for a family whose eager attention is not a function."""
    if own != "eager":
        return AttentionInterface()[own]
    eager = getattr(sys.modules[type(module).__module__], "eager_attention_forward", None)
    if eager is None:
        raise RuntimeError(f"no attention function of {type(module).__name__} is known")
    return eager
