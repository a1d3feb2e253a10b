"""One adapter row as PEFT's folder, out and in: adapter_config.json and adapter_model.safetensors.

A folder appears whole or not at all. Weights are float32, so what is written and read again has equal bits.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from bora_trainer.adapters.lora import Lora
from bora_trainer.errors import TrainerError

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


def write_adapter(folder: Path, row_P: Tensor, lora: Lora, base_model: str) -> None:
    """Writes `row_P` [P] as an adapter that PEFT loads onto `base_model`, replacing what is at `folder`."""
    tensors = {
        _key(module, name): tensor.float().cpu().contiguous()
        for (module, name), tensor in lora.layout.tensors(row_P.detach()).items()
    }
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        _write_synced(beside / CONFIG, json.dumps(peft_config(lora, base_model), indent=2).encode() + b"\n")
        _write_synced(beside / WEIGHTS, save(tensors, metadata={"format": "pt"}))
        beside.chmod(0o755)
        if folder.exists():
            shutil.rmtree(folder)
        beside.rename(folder)
        _sync_folder(folder.parent)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def read_adapter(folder: Path, lora: Lora) -> Tensor:
    """The row [P], float32, of an adapter folder with the same shape as `lora`.

    Raises `TrainerError("adapter_unreadable")` when a file is missing or damaged, `TrainerError("adapter_mismatch")`
    when rank, scale or modules differ.
    """
    try:
        config: Mapping[str, Any] = json.loads((folder / CONFIG).read_text("utf8"))
        tensors = load_file(folder / WEIGHTS)
    except (OSError, ValueError, SafetensorError) as error:
        raise TrainerError(
            "adapter_unreadable", f"{folder} holds no readable adapter: {error}", f"expected {CONFIG} and {WEIGHTS}"
        ) from error
    expected = peft_config(lora, "")
    for field in ("peft_type", "r", "lora_alpha", "use_rslora", "fan_in_fan_out", "bias", "use_dora"):
        if config.get(field, False) != expected[field]:
            raise TrainerError(
                "adapter_mismatch",
                f"{field} is {config.get(field)!r} in {folder}, expected {expected[field]!r}",
                "use an adapter of the same family, rank and alpha",
            )
    _refuse_other_tensors(folder, tensors, lora)
    row_P = torch.zeros(lora.layout.weights)
    for (module, name), view in lora.layout.tensors(row_P).items():
        view.copy_(tensors[_key(module, name)])
    return row_P


def peft_config(lora: Lora, base_model: str) -> dict[str, Any]:
    """The fields of PEFT's LoraConfig that differ from its defaults or that a reader looks for."""
    spec = lora.spec
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base_model,
        "r": spec.rank,
        "lora_alpha": int(spec.alpha) if float(spec.alpha).is_integer() else spec.alpha,
        "lora_dropout": 0.0,
        "use_rslora": spec.family == "rslora",
        "use_dora": False,
        "target_modules": sorted(spec.targets),
        "layers_to_transform": sorted(spec.layers) or None,
        "fan_in_fan_out": lora.transposed,
        "bias": "none",
        "init_lora_weights": True,
        "inference_mode": True,
    }


def _refuse_other_tensors(folder: Path, tensors: Mapping[str, Tensor], lora: Lora) -> None:
    expected = {_key(slot.module, slot.name): slot.shape for slot in lora.layout.slots}
    found = {key: tuple(tensor.shape) for key, tensor in tensors.items()}
    other = sorted(key for key in expected.keys() | found.keys() if expected.get(key) != found.get(key))
    if other:
        raise TrainerError(
            "adapter_mismatch",
            f"{len(other)} tensors of {folder} differ in name or shape, first {other[0]}",
            "use an adapter of the same base model, targets and layers",
        )


def _key(module: str, name: str) -> str:
    return f"base_model.model.{module}.{name}.weight"


def _write_synced(file: Path, content: bytes) -> None:
    with file.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
