"""Which ways of computing a machine has, asked before a model is loaded."""

from __future__ import annotations

import sysconfig
from pathlib import Path

import torch

from bora_trainer.errors import TrainerError


def refuse_without_compiler(device_type: str) -> None:
    """Raises `TrainerError("engine_unsupported")` where torch.compile finds nothing to compile with."""
    from torch._inductor import exc  # these take seconds to import: only where they are used
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch.utils._triton import has_triton

    if device_type == "cuda" and not has_triton():
        raise TrainerError("engine_unsupported", "engine.compile: Triton is not installed", "leave engine.compile out")
    try:
        get_cpp_compiler()
    except exc.InvalidCxxCompiler as missing:
        raise TrainerError(
            "engine_unsupported",
            "engine.compile: no C++ compiler is on this machine",
            "install g++, or leave engine.compile out",
        ) from missing
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        raise TrainerError(
            "engine_unsupported",
            "engine.compile: Python's headers are not on this machine",
            "install them (python3-dev), or leave engine.compile out",
        )


def refuse_without_graphs(device_type: str) -> None:
    """Raises `TrainerError("engine_unsupported")` unless the device is a graphics card of CUDA."""
    if device_type != "cuda" or torch.version.cuda is None:
        raise TrainerError(
            "engine_unsupported",
            f"engine.cudaGraph on {device_type}: only CUDA records graphs",
            "leave engine.cudaGraph out, or run where a graphics card is",
        )
