"""Low-rank adapters (LoRA, rsLoRA): y = x W^T + scale * (x A^T) B^T, A [R, I], B [O, R]. docs/method.md, section 7.

Shapes: G rows, P weights a row, N adapter rows in a micro-batch, T tokens, R rank, I in, O out.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from bora_trainer.adapters.layout import Layout, TensorName
from bora_trainer.errors import TrainerError
from bora_trainer.spec import AdapterSpec

_LAYER_NUMBER = re.compile(r".*\.[^.]*\.(\d+)\.")  # the numbering PEFT reads: the last number inside the dotted path


def sizes(module: nn.Module) -> tuple[int, int]:
    """(I, O) of a linear map; GPT-2's Conv1D keeps its weight as [I, O], nn.Linear as [O, I]."""
    if isinstance(module, Conv1D):
        return module.weight.shape[0], module.weight.shape[1]
    assert isinstance(module, nn.Linear)
    return module.in_features, module.out_features


@dataclass(frozen=True, slots=True)
class Lora:
    """The adapters of one model: which modules, their layout in a row, and the factor on each change.

    A change is `scale` times B A, where scale is alpha/R ("lora") or alpha/sqrt(R) ("rslora").
    """

    spec: AdapterSpec
    modules: tuple[str, ...]
    layout: Layout
    transposed: bool  # GPT-2's Conv1D: PEFT calls it fan_in_fan_out

    @classmethod
    def of(cls, model: nn.Module, spec: AdapterSpec) -> "Lora":
        """Finds the target modules in `model`. The A of modules side by side lie end to end, as one matrix.

        Raises `TrainerError("unmatched_module")` when a target or layer matches nothing or not a linear module.
        """
        found = _matches(model, spec)
        tensors: list[tuple[str, TensorName, tuple[int, int]]] = []
        for _, siblings in groupby(found, key=lambda pair: pair[0].rpartition(".")[0]):
            named = [(name, *sizes(module)) for name, module in siblings]
            tensors.extend((name, "lora_A", (spec.rank, inputs)) for name, inputs, _ in named)
            tensors.extend((name, "lora_B", (outputs, spec.rank)) for name, _, outputs in named)
        transposed = {isinstance(module, Conv1D) for _, module in found}
        if len(transposed) > 1:
            raise TrainerError(
                "unmatched_module",
                f"targets {list(spec.targets)} mix nn.Linear and Conv1D modules",
                "choose targets of one kind",
            )
        return cls(spec, tuple(name for name, _ in found), Layout.of(tensors), transposed.pop())

    @property
    def scale(self) -> float:
        root = math.sqrt(self.spec.rank) if self.spec.family == "rslora" else self.spec.rank
        return self.spec.alpha / root

    def initial(self, seed: int) -> Tensor:
        """The start of every task and of Theta, [P]: A uniform in +-1/sqrt(I), B zero. One draw for all tasks.

        A is Kaiming-uniform with a = sqrt(5) as in PEFT, from a CPU generator, so that every device starts alike.
        docs/method.md, section 5, rule 1.
        """
        row_P = torch.zeros(self.layout.weights)
        generator = torch.Generator().manual_seed(seed)
        for slot in self.layout.slots:
            if slot.name == "lora_A":
                bound = 1 / math.sqrt(slot.shape[1])
                slot.view(row_P[None]).uniform_(-bound, bound, generator=generator)
        return row_P


def _matches(model: nn.Module, spec: AdapterSpec) -> list[tuple[str, nn.Module]]:
    named = [(name, module) for name, module in model.named_modules() if name]
    for target in spec.targets:
        if not any(_is_target(name, target) for name, _ in named):
            raise TrainerError(
                "unmatched_module",
                f"target {target!r} matches no module of {type(model).__name__}",
                f"linear modules there: {', '.join(linear_names(model))}",
            )
    found = [(name, module) for name, module in named if any(_is_target(name, target) for target in spec.targets)]
    for name, module in found:
        if not isinstance(module, nn.Linear | Conv1D):
            raise TrainerError(
                "unmatched_module",
                f"target {name!r} is a {type(module).__name__}, not a linear module",
                f"linear modules there: {', '.join(linear_names(model))}",
            )
    return _within_layers(found, spec.layers)


def _within_layers(found: list[tuple[str, nn.Module]], layers: Sequence[int]) -> list[tuple[str, nn.Module]]:
    if not layers:
        return found
    there = {layer_number(name) for name, _ in found}
    missing = sorted(set(layers) - there)
    if missing:
        numbers = sorted(number for number in there if number is not None)
        span = f"{numbers[0]} to {numbers[-1]}" if numbers else "none"
        raise TrainerError("unmatched_module", f"layers {missing} have no target module", f"layers with one: {span}")
    return [(name, module) for name, module in found if layer_number(name) in layers]


def _is_target(name: str, target: str) -> bool:
    return name == target or name.endswith("." + target)


def layer_number(name: str) -> int | None:
    """The decoder layer of a module, as PEFT's layers_to_transform counts; None outside the layers."""
    match = _LAYER_NUMBER.match(name)
    return int(match.group(1)) if match else None


def linear_names(model: nn.Module) -> list[str]:
    """The last parts of the names of all linear modules, sorted: what can be a target."""
    return sorted(
        {name.rpartition(".")[2] for name, module in model.named_modules() if isinstance(module, nn.Linear | Conv1D)}
    )
