"""The adapters of one model in place: target modules exchanged, and computed together where they read the same input.

Shapes: N adapter rows of a micro-batch, P weights a row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from bora_trainer.adapters.adapted_linear import AdaptedLinear, RowsInHand, SharedInput
from bora_trainer.adapters.lora import Lora
from bora_trainer.row_layout import RowLayout

_PROBE_TOKENS = 4


class AttachedAdapters:
    """Until `detach` the target modules of `model` add the changes of the rows that `reading` hands them."""

    def __init__(self, model: PreTrainedModel, lora: Lora, *, plain: bool = False) -> None:
        """`plain`: each module by itself, in torch's own operations, as a reference."""
        self._model, self._lora = model, lora
        inputs = None if plain else _inputs(model, lora.modules)
        self._modules = [AdaptedLinear(model.get_submodule(name)) for name in lora.modules]
        for name, module in zip(lora.modules, self._modules, strict=True):
            model.set_submodule(name, module)
        a = [slot for slot in lora.layout.slots if slot.name == "lora_A"]
        b = [slot for slot in lora.layout.slots if slot.name == "lora_B"]
        self._shared = [
            SharedInput(self._modules[run], a[run], b[run], lora.scale, plain=plain)
            for run in _runs(lora.modules, inputs or list(range(len(a))))
        ]

    @contextmanager
    def reading(self, rows_NP: Tensor | None, layout: RowLayout, gradient_NP: Tensor | None = None) -> Iterator[None]:
        """Within it the tokens of row n of `layout` are changed by row n of `rows_NP`; None: the base alone.

        A backward of what is computed within it adds to `gradient_NP`, where there is one.
        """
        in_hand = None if rows_NP is None else RowsInHand(rows_NP, layout, gradient_NP)
        with ExitStack() as stack:
            for shared in self._shared:
                stack.enter_context(shared.reading(in_hand))
            yield

    def detach(self) -> None:
        """Gives the model its own modules back."""
        for name, module in zip(self._lora.modules, self._modules, strict=True):
            self._model.set_submodule(name, module.base)


def _runs(modules: Sequence[str], inputs: Sequence[int]) -> Iterator[slice]:
    """Neighbours in the layout, side by side in the model, with one input."""
    keys = [(name.rpartition(".")[0], read) for name, read in zip(modules, inputs, strict=True)]
    begin = 0
    for end in range(1, len(keys) + 1):
        if end == len(keys) or keys[end] != keys[begin]:
            yield slice(begin, end)
            begin = end


@torch.no_grad()
def _inputs(model: PreTrainedModel, modules: Sequence[str]) -> list[int]:
    """For each module a number that it shares with those that are given the same tensor, seen in a short forward."""
    seen: dict[str, Tensor] = {}  # kept, so that no address is used again

    def look(name: str, module: nn.Module) -> torch.utils.hooks.RemovableHandle:
        return module.register_forward_pre_hook(lambda _, inputs: seen.update({name: inputs[0]} if inputs else {}))

    handles = [look(name, model.get_submodule(name)) for name in modules]
    try:
        tokens = torch.arange(_PROBE_TOKENS, device=model.device)[None] % model.config.get_text_config().vocab_size
        model.base_model(input_ids=tokens, use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
    return [id(seen[name]) if name in seen else -number for number, name in enumerate(modules, 1)]
