"""What rivals share: one Parameter a tensor and row, AdamW, and the better of transformers' attentions.

Shapes: G rows, P weights a row, N documents, L tokens.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from bench.contestants import BETAS, EPSILON, LEARNING_RATE
from bora_trainer import attention
from bora_trainer.adapters.layout import Layout

_PROBE_TOKENS = 2048  # of the choice of attention


class ParameterRows:
    """Adapters as lists of tensors, the way all rivals keep them, and their way to and from the flat layout."""

    def __init__(self, layout: Layout, rows: Sequence[Sequence[nn.Parameter]], initial_P: Tensor) -> None:
        """`rows[g]`: the tensors of row g in the order of the layout's slots."""
        self._layout, self.by_row = layout, [list(row) for row in rows]
        self.load(initial_P.expand(len(rows), -1))

    @property
    def all(self) -> list[nn.Parameter]:
        return [parameter for row in self.by_row for parameter in row]

    @torch.no_grad()
    def load(self, rows_GP: Tensor) -> None:
        for row_P, row in zip(rows_GP, self.by_row, strict=True):
            for slot, parameter in zip(self._layout.slots, row, strict=True):
                parameter.copy_(slot.view(row_P[None])[0])

    def read(self) -> Tensor:
        return self._flat([[parameter.detach() for parameter in row] for row in self.by_row])

    def gradients(self, loss_scale: float) -> Tensor:
        """Of the nats, from those of `loss_scale` times the nats; forgets them. AssertionError where one is missing."""
        grads = []
        for row in self.by_row:
            found = [parameter.grad for parameter in row]
            assert all(grad is not None for grad in found), "a tensor got no gradient"
            grads.append(found)
        flat_GP = self._flat(grads) / loss_scale
        for parameter in self.all:
            parameter.grad = None
        return flat_GP

    def _flat(self, rows: Sequence[Sequence[Tensor]]) -> Tensor:
        flat_GP = torch.zeros(len(rows), self._layout.weights, dtype=rows[0][0].dtype)
        for row_P, row in zip(flat_GP, rows, strict=True):
            for slot, tensor in zip(self._layout.slots, row, strict=True):
                slot.view(row_P[None])[0].copy_(tensor)
        return flat_GP


def fused_adamw(parameters: Sequence[nn.Parameter]) -> torch.optim.AdamW:
    return torch.optim.AdamW(parameters, lr=LEARNING_RATE, betas=BETAS, eps=EPSILON, weight_decay=0.0, fused=True)


def mean_loss(model: nn.Module, tokens_NL: Tensor) -> Tensor:
    """The mean nats of all scored tokens, as transformers gives them for labels."""
    return model(input_ids=tokens_NL, labels=tokens_NL, use_cache=False).loss


def choose_attention(model: PreTrainedModel, tokens_NL: Tensor) -> str:
    """Sets and names the faster of transformers' own, forward and backward of the base on these documents."""
    tokens_NL = tokens_NL[: max(1, _PROBE_TOKENS // tokens_NL.shape[1])]
    seconds = {name: _seconds(model, name, tokens_NL) for name in ("sdpa", "eager")}
    best = min(seconds, key=seconds.__getitem__)
    attention.switch(model, best)
    return best


def _seconds(model: PreTrainedModel, implementation: str, tokens_NL: Tensor) -> float:
    attention.switch(model, implementation)
    found = []
    for _ in range(3):  # the first is the warm-up, which never wins
        inputs = model.get_input_embeddings()(tokens_NL).detach().requires_grad_()
        _wait(inputs.device)
        began = time.perf_counter()
        model.base_model(inputs_embeds=inputs, use_cache=False)[0].sum().backward()
        _wait(inputs.device)
        found.append(time.perf_counter() - began)
    return min(found)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
