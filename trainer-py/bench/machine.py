"""Where and of what a measurement was made."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import psutil
import torch

from bora_trainer.versions import versions

ROOT = Path(__file__).resolve().parents[2]
_FLAGS = (
    "avx2",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "avx512_fp16",
    "amx_bf16",
    "amx_tile",
    "asimd",
    "sve",
    "bf16",
)


def machine(device: str) -> dict[str, Any]:
    """The processor, those of its flags that decide how matrices are multiplied, cores, memory, and the GPU if used."""
    name, flags = _processor()
    gpu = torch.cuda.get_device_name(device) if device != "cpu" else None
    return {
        "processor": name,
        "flags": [flag for flag in _FLAGS if flag in flags],
        "cores": psutil.cpu_count(logical=False) or 0,
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "gpu": gpu,
    }


def software() -> dict[str, str]:
    return versions()


def commit() -> dict[str, Any]:
    """HEAD, and whether tracked files differ from it; empty outside a repository."""
    try:
        head = _git("rev-parse", "HEAD")
        return {"commit": head, "changed": bool(_git("status", "--porcelain", "--untracked-files=no"))}
    except (OSError, subprocess.CalledProcessError):
        return {"commit": "", "changed": False}


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


def _processor() -> tuple[str, set[str]]:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return "unknown", set()
    facts = {line.partition(":")[0].strip(): line.partition(":")[2].strip() for line in lines}
    return facts.get("model name", "unknown"), set((facts.get("flags") or facts.get("Features") or "").split())
