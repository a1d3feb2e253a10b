"""Adapter folders that somebody else wrote, or an earlier run: what they are, whether they fit a base, their rows.

Shapes: P weights a row. Formats are PEFT's (peft_files.py).
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from bora_trainer.adapters.lora import Lora
from bora_trainer.adapters.peft_files import CONFIG, WEIGHTS, read_adapter, read_config, unreadable
from bora_trainer.artifacts import sha256_of
from bora_trainer.data.documents import SourceFile
from bora_trainer.errors import TrainerError
from bora_trainer.model_files import is_converted, resolve
from bora_trainer.spec import AdapterSpec, ModelSource

# What PEFT's plain LoRA does not have; a folder that sets one of them computes something else than our layers do.
_FOREIGN = (
    "rank_pattern",
    "alpha_pattern",
    "modules_to_save",
    "use_dora",
    "layer_replication",
    "trainable_token_indices",
)


def content_hash(folder: Path) -> str:
    """sha256 of the weights and of what the configuration makes of them; not of names and paths in it.

    Raises `TrainerError("adapter_unreadable")`.
    """
    config = read_config(folder)
    try:
        weights = sha256_of(folder / WEIGHTS)
    except OSError as error:
        raise unreadable(folder, error) from error
    kept = {field: config.get(field) for field in ("peft_type", "r", "lora_alpha", "use_rslora", "fan_in_fan_out")}
    text = json.dumps({"weights": weights, **kept}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def source_files(folder: Path) -> list[SourceFile]:
    """What `content_hash` reads."""
    stats = [(folder / name, (folder / name).stat()) for name in (CONFIG, WEIGHTS)]
    return [SourceFile(str(path.resolve()), stat.st_size, stat.st_mtime_ns // 1_000_000) for path, stat in stats]


def spec_of(folder: Path) -> AdapterSpec:
    """Family, rank, scale, targets and layers of a LoRA folder.

    Raises `TrainerError("adapter_unreadable")`, and `TrainerError("adapter_mismatch")` for another kind of adapter.
    """
    config = read_config(folder)
    foreign = [field for field in _FOREIGN if config.get(field)]
    if config.get("peft_type") != "LORA" or foreign or config.get("bias", "none") != "none":
        what = ", ".join(f"{field} = {config[field]!r}" for field in foreign) or f"bias = {config.get('bias')!r}"
        kind = f"peft_type {config.get('peft_type')!r} with {what}"
        raise TrainerError("adapter_mismatch", f"{folder} is {kind}", "use a plain LoRA or rsLoRA adapter")
    targets, layers = config.get("target_modules"), config.get("layers_to_transform")
    if not isinstance(targets, list):
        raise TrainerError(
            "adapter_mismatch",
            f"target_modules of {folder} is {targets!r}",
            "list the names of the modules there, as PEFT does when it saves a list",
        )
    try:
        rank, alpha = int(config["r"]), float(config["lora_alpha"])
        if rank < 1 or not 0 < alpha < math.inf:
            raise ValueError(f"r is {rank}, lora_alpha {alpha}")
        return AdapterSpec(
            "rslora" if config.get("use_rslora") else "lora",
            rank,
            alpha,
            tuple(sorted(map(str, targets))),
            tuple(sorted([layers] if isinstance(layers, int) else map(int, layers or ()))),
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise unreadable(folder, f"{CONFIG}: {error!r}") from error


def import_row(folder: Path, lora: Lora, base: str, base_hash: str, expected: str = "") -> Tensor:
    """The row [P], float32, of an adapter of `lora`'s shape on the base of this name and hash.

    `expected`: the content hash that a plan counted on; "" for whatever is there. Raises as `read_adapter`, and
    `TrainerError("adapter_mismatch")` for an adapter of another base or of other content.
    """
    refuse_another_base(folder, read_config(folder), base, base_hash)
    if expected and (found := content_hash(folder)) != expected:
        raise TrainerError(
            "adapter_mismatch",
            f"{folder} has changed: sha256 {found[:16]}, {expected[:16]} was planned with",
            "bring the folder back as it was, or start anew under another name",
        )
    return read_adapter(folder, lora)


def refuse_another_base(folder: Path, config: Mapping[str, Any], base: str, base_hash: str) -> None:
    """Raises `TrainerError("adapter_mismatch")` where the folder names a base that is on this machine and is another.

    A base that is not here (a hub id, a path of another machine) cannot be told: then shapes decide.
    """
    named = config.get("base_model_name_or_path") or base
    if named == base or not (Path(str(named)) / "config.json").is_file():
        return
    try:
        theirs = resolve(ModelSource("path", str(named), False, "auto"))
    except TrainerError:
        return
    same = theirs.path.name == Path(base).name if is_converted(theirs.path) else theirs.hash == base_hash
    if not same:
        raise TrainerError(
            "adapter_mismatch",
            f"{folder} is an adapter of {named} (sha256 {theirs.hash[:16]}), the base is {base} ({base_hash[:16]})",
            "use an adapter of this base, or name the base it was trained on",
        )
