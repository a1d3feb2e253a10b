"""Adapter rows as PEFT's folders, out and in: adapter_config.json and adapter_model.safetensors.

A folder appears whole or not at all. Weights are float32, so what is written and read again has equal bits.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from bora_trainer.adapters.lora import Lora
from bora_trainer.artifacts import sync_folder
from bora_trainer.errors import TrainerError
from bora_trainer.json_text import parse_json

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


_THREADS = 4  # each waits for the disk most of the time


@dataclass(frozen=True, slots=True)
class Written:
    """A file on the disk; sha256 of what went into it, without reading it again."""

    file: Path
    size: int
    sha256: str


def write_adapter(folder: Path, row_P: Tensor, lora: Lora, base_model: str) -> None:
    """Writes `row_P` [P] as an adapter that PEFT loads onto `base_model`, replacing what is at `folder`."""
    with _appearing(folder) as beside:
        _write(beside, folder, row_P.detach().float().cpu(), lora, _config_bytes(lora, base_model))


def write_adapters(folder: Path, rows: Mapping[str, Tensor], lora: Lora, base_model: str) -> dict[str, list[Written]]:
    """Writes each row [P] as `write_adapter` would to `folder/<its name>`; `folder` appears with all of them.

    The rows are in the host's memory and are read where they lie. Returns the files of each name.
    """
    config = _config_bytes(lora, base_model)
    with _appearing(folder) as beside, ThreadPoolExecutor(_THREADS, "adapters") as pool:

        def write(name: str) -> list[Written]:
            (beside / name).mkdir()
            return _write(beside / name, folder / name, rows[name].float(), lora, config)

        return dict(zip(rows, pool.map(write, rows), strict=True))


def read_adapter(folder: Path, lora: Lora) -> Tensor:
    """The row [P], float32, of an adapter folder with the same shape as `lora`.

    Raises `TrainerError("adapter_unreadable")` when a file is missing or damaged, `TrainerError("adapter_mismatch")`
    when rank, scale or modules differ.
    """
    config = read_config(folder)
    try:
        tensors = load_file(folder / WEIGHTS)
    except (OSError, ValueError, SafetensorError) as error:
        raise unreadable(folder, error) from error
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


def read_config(folder: Path) -> Mapping[str, Any]:
    """The configuration of an adapter folder. Raises `TrainerError("adapter_unreadable")`."""
    try:
        config = parse_json((folder / CONFIG).read_text("utf8"))
    except (OSError, ValueError) as error:
        raise unreadable(folder, error) from error
    if not isinstance(config, dict):
        raise unreadable(folder, f"{CONFIG} is a JSON {type(config).__name__}")
    return config


def unreadable(folder: Path, reason: object) -> TrainerError:
    return TrainerError(
        "adapter_unreadable", f"{folder} holds no readable adapter: {reason}", f"expected {CONFIG} and {WEIGHTS}"
    )


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
            f"{len(other)} tensors of {folder} differ in name or shape, first {other[0]}: "
            f"{_sizes(found.get(other[0]))} there, {_sizes(expected.get(other[0]))} here",
            "use an adapter of the same base model, targets and layers",
        )


def _sizes(shape: tuple[int, ...] | None) -> str:
    return "none" if shape is None else " x ".join(map(str, shape))


def _key(module: str, name: str) -> str:
    return f"base_model.model.{module}.{name}.weight"


def _config_bytes(lora: Lora, base_model: str) -> bytes:
    return json.dumps(peft_config(lora, base_model), indent=2).encode() + b"\n"


def _write(beside: Path, folder: Path, row_P: Tensor, lora: Lora, config: bytes) -> list[Written]:
    """Fills `beside`, an empty folder that will be `folder`."""
    tensors = {_key(module, name): tensor.contiguous() for (module, name), tensor in lora.layout.tensors(row_P).items()}
    contents = {CONFIG: config, WEIGHTS: save(tensors, metadata={"format": "pt"})}
    for file, content in contents.items():
        _write_synced(beside / file, content)
    beside.chmod(0o755)
    sync_folder(beside)
    return [
        Written(folder / file, len(content), hashlib.sha256(content).hexdigest()) for file, content in contents.items()
    ]


@contextmanager
def _appearing(folder: Path) -> Iterator[Path]:
    """An empty folder that takes the place of `folder` when all went well; what a killed process left goes first."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    for unfinished in folder.parent.glob(f".{folder.name}-*"):
        shutil.rmtree(unfinished)
    beside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        yield beside
        beside.chmod(0o755)
        sync_folder(beside)
        if folder.exists():
            shutil.rmtree(folder)
        beside.rename(folder)
        sync_folder(folder.parent)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _write_synced(file: Path, content: bytes) -> None:
    with file.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
