"""The decoder layers through torch.compile: one compiled layer for all of them, an option that is off by default.

A layer is compiled, not the model: layers are alike, so kernels are made once, whatever their number. What is written
by hand stays as it is and splits a layer into parts: attention over documents (attention.py) and the adapted modules,
which write gradients where the compiler would not look for them. What is left to fuse are norms, rotations,
activations and sums. Kernels round otherwise than torch's own, so an execution keeps the choice.
"""

from __future__ import annotations

import types
from collections.abc import Collection

import torch
from torch import nn

from bora_trainer import attention
from bora_trainer.adapters.adapted_linear import AdaptedLinear
from bora_trainer.engine_support import refuse_without_compiler
from bora_trainer.errors import TrainerError
from bora_trainer.frozen_prefix import layer_list

# Of one layer: with gradients and without, the first layer and those above it, a few shapes and then any. torch gives
# up at 8 and goes on uncompiled, without a word.
_MOST_VERSIONS = 64


def compile_layers(
    model: nn.Module, modules: Collection[str], *, beside: Collection[nn.Module] = (), backend: str = "inductor"
) -> list[nn.Module]:
    """Compiles the layers that hold the adapted `modules`, those in `beside` excepted, and returns them.

    Nothing is compiled before a layer's first call. Raises `TrainerError("engine_unsupported")` where no compiler is
    found, or the adapted modules lie outside one list of layers.
    """
    refuse_without_compiler(next(model.parameters()).device.type)
    name = layer_list(modules)
    layers = model.get_submodule(name) if name is not None else None
    if not isinstance(layers, nn.ModuleList):
        raise TrainerError(
            "engine_unsupported",
            f"engine.compile: the adapted modules of {type(model).__name__} are not in one list of decoder layers",
            "leave engine.compile out",
        )
    import torch._dynamo.config as settings  # takes a second to import: only where it is used

    settings.recompile_limit = max(settings.recompile_limit, _MOST_VERSIONS)
    attention.leave_uncompiled()
    by_hand = torch.compiler.disable(AdaptedLinear.forward)
    chosen = [layer for layer in layers if layer not in set(beside)]
    for layer in chosen:
        for module in layer.modules():
            if isinstance(module, AdaptedLinear):
                module.forward = types.MethodType(by_hand, module)
        layer.compile(backend=backend)
    return chosen


def release(layers: Collection[nn.Module]) -> None:
    """They are called as they are again."""
    for layer in layers:
        layer._compiled_call_impl = None
        for module in layer.modules():
            if isinstance(module, AdaptedLinear):
                module.__dict__.pop("forward", None)
