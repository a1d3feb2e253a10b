"""The adapters of one model in place: target modules exchanged, and computed together where they read the same input.

Shapes: N adapter rows of a micro-batch, P weights a row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from bora_trainer.adapters.adapted_linear import AdaptedLinear, RowsInHand, SharedInput, is_plain_matrix
from bora_trainer.adapters.lora import Lora
from bora_trainer.row_layout import RowLayout

_PROBE_TOKENS = 4


class AttachedAdapters:
    """Until `detach` the target modules of `model` add the changes of the rows that `reading` hands them."""

    def __init__(self, model: PreTrainedModel, lora: Lora, *, plain: bool = False) -> None:
        """`plain`: each module by itself, in torch's own operations, as a reference."""
        self._exchanged: dict[str, AdaptedLinear] = {}
        self._model, self._lora = model, lora
        adapted = list(lora.modules)
        siblings = [] if plain else _siblings(model, adapted)
        inputs = {} if plain else _inputs(model, adapted + siblings)
        a = [slot for slot in lora.layout.slots if slot.name == "lora_A"]
        b = [slot for slot in lora.layout.slots if slot.name == "lora_B"]
        self._shared: list[SharedInput] = []
        for run in _runs(adapted, inputs):
            beside = _beside(model, adapted[run], siblings, inputs)
            members, others = ([self._exchange(name) for name in names] for names in (adapted[run], beside))
            self._shared.append(SharedInput(members, a[run], b[run], lora.scale, beside=others, plain=plain))

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
        for name, module in self._exchanged.items():
            self._model.set_submodule(name, module.base)

    def _exchange(self, name: str) -> AdaptedLinear:
        assert name not in self._exchanged, f"{name} stands in the model already"
        self._exchanged[name] = module = AdaptedLinear(self._model.get_submodule(name))
        self._model.set_submodule(name, module)
        return module


def _siblings(model: nn.Module, adapted: Sequence[str]) -> list[str]:
    """Plain matrices side by side with an adapted module, that are not adapted themselves."""
    parents, themselves = dict.fromkeys(name.rpartition(".")[0] for name in adapted), set(adapted)
    found = [
        f"{parent}.{name}"
        for parent in parents
        for name, module in model.get_submodule(parent).named_children()
        if is_plain_matrix(module)
    ]
    return [name for name in found if name not in themselves]


def _beside(model: nn.Module, run: Sequence[str], siblings: Sequence[str], inputs: Mapping[str, int]) -> list[str]:
    """The siblings that read what the modules of a run read, where the fused path computes those.

    Each joins one run: of two that read one input, not side by side in the layout, the first.
    """
    read = inputs.get(run[0])
    if read is None or not all(is_plain_matrix(model.get_submodule(name)) for name in run):
        return []
    return [name for name in siblings if inputs.get(name) == read and is_plain_matrix(model.get_submodule(name))]


def _runs(modules: Sequence[str], inputs: Mapping[str, int]) -> Iterator[slice]:
    """Neighbours in the layout, side by side in the model, with one input; each by itself where that is not known."""
    keys = [(name.rpartition(".")[0], inputs.get(name, name)) for name in modules]
    begin = 0
    for end in range(1, len(keys) + 1):
        if end == len(keys) or keys[end] != keys[begin]:
            yield slice(begin, end)
            begin = end


@torch.no_grad()
def _inputs(model: PreTrainedModel, modules: Sequence[str]) -> dict[str, int]:
    """For each module that a short forward calls a number that it shares with those that are given the same tensor."""
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
    return {name: id(tensor) for name, tensor in seen.items()}
