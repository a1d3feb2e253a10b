"""What this process could train on. Runs in a child: it imports torch."""

import platform
from pathlib import Path

import torch

from bora.trainer.v1 import run_pb2, trainer_pb2
from bora_trainer.device import available_threads, choose_dtype, default_device, device_memory

DTYPES = {"float32": run_pb2.DTYPE_FLOAT32, "bfloat16": run_pb2.DTYPE_BFLOAT16}


def device_facts() -> trainer_pb2.Device:
    """The device a run here trains on: its memory in bytes, and the dtype that `auto` chooses, with the reason."""
    name = default_device()
    dtype, reason = choose_dtype("auto", name)
    free, total = device_memory(name)
    return trainer_pb2.Device(
        name=name,
        description=device_description(name),
        memory_bytes=total,
        free_memory_bytes=free,
        dtype=DTYPES[dtype],
        dtype_reason=reason,
        threads=available_threads(),
    )


def device_description(name: str) -> str:
    """The processor's or card's name."""
    if name.startswith("cuda"):
        return torch.cuda.get_device_name(name)
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()
