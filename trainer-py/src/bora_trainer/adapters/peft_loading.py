"""Adapters in PEFT's format, from anyone, on a loaded base: read by PEFT itself, refused where they do not fit.

PEFT changes the model it is given in place; when the context ends it has its own modules again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import Any

from peft import LoraConfig, PeftModel
from safetensors import SafetensorError
from transformers import PreTrainedModel

from bora_trainer.adapters.peft_files import CONFIG, WEIGHTS
from bora_trainer.errors import TrainerError
from bora_trainer.models import LoadedModel

# Others change the base's weights when they are loaded, and with them every adapter beside.
_INITS = (True, False, "gaussian", "eva", "orthogonal")


class Attached:
    """A base with adapters that can be chosen one at a time. Made by `attached`."""

    def __init__(self, model: PreTrainedModel, peft: PeftModel | None) -> None:
        self._model = model
        self._peft = peft
        self._chosen: int | None = -1

    def choose(self, adapter: int | None) -> PreTrainedModel:
        """The model with this adapter (its index among the folders) in it; None: without any."""
        if self._peft is not None and adapter != self._chosen:
            tuner: Any = self._peft.base_model
            if adapter is None:
                tuner.disable_adapter_layers()
            else:
                tuner.enable_adapter_layers()
                self._peft.set_adapter(_name(adapter), inference_mode=True)
            self._chosen = adapter
        return self._model

    def merged(self, adapter: int) -> PreTrainedModel:
        """The model with this adapter added to its weights; PEFT's part in it is over.

        Raises `TrainerError("diverged")` when the adapter makes a weight that is not finite.
        """
        assert self._peft is not None, "there is an adapter to merge"
        try:
            return self._peft.merge_and_unload(safe_merge=True, adapter_names=[_name(adapter)])  # pyright: ignore
        except ValueError as error:
            raise TrainerError(
                "diverged", f"the merged weights are not finite: {error}", "export another tau, or train again"
            ) from error


@contextmanager
def attached(loaded: LoadedModel, folders: Sequence[Path]) -> Iterator[Attached]:
    """`loaded` with the adapter of each folder.

    Raises `TrainerError("adapter_unreadable")` when a folder holds no readable adapter, `TrainerError
    ("adapter_mismatch")` when it is no LoRA adapter, or one for another base model: other name, modules or sizes,
    `TrainerError("diverged")` when a weight is not finite.
    """
    configs = [_config(folder, loaded) for folder in folders]
    peft: PeftModel | None = None
    try:
        for index, (folder, config) in enumerate(zip(folders, configs, strict=True)):
            with _refusing(folder, loaded.name):
                if peft is None:
                    peft = PeftModel(loaded.model, config, _name(index), low_cpu_mem_usage=True)
                else:
                    peft.add_adapter(_name(index), config, low_cpu_mem_usage=True)
                device = str(loaded.model.device)
                read = peft.load_adapter(str(folder), _name(index), torch_device=device, low_cpu_mem_usage=True)
                _refuse_other_tensors(folder, loaded.name, [*read.missing_keys, *read.unexpected_keys])
                _refuse_what_is_not_finite(folder, loaded.model, _name(index))
        if peft is not None:
            peft.eval()
        yield Attached(loaded.model, peft)
    finally:
        if peft is not None:
            peft.unload()  # pyright: ignore[reportCallIssue]


def _name(index: int) -> str:
    return f"adapter-{index}"


def _config(folder: Path, loaded: LoadedModel) -> LoraConfig:
    try:
        said: Mapping[str, Any] = json.loads((folder / CONFIG).read_text("utf8"))
        if not (folder / WEIGHTS).is_file():
            raise FileNotFoundError(f"no {WEIGHTS}")  # PEFT would unpickle another file, or ask the hub
        if said.get("peft_type") != "LORA":
            raise _mismatch(folder, f"is a {said.get('peft_type')} adapter", "only LoRA adapters can be used")
        _refuse_other_base(folder, str(said.get("base_model_name_or_path") or ""), loaded.name)
        config = LoraConfig.from_pretrained(str(folder))
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise _unreadable(folder, error) from error
    assert isinstance(config, LoraConfig), "its peft_type says so"
    if config.init_lora_weights not in _INITS or config.layer_replication:
        raise _mismatch(
            folder,
            f"changes its base when it is loaded (init_lora_weights = {config.init_lora_weights!r})",
            "save it as a plain LoRA adapter: PEFT's documentation of that method says how",
        )
    config.inference_mode = True
    return config


def _refuse_other_base(folder: Path, trained_on: str, name: str) -> None:
    """A folder that was moved keeps its last name, and a converted model has its hash in it."""
    if trained_on in ("", name) or (_is_folder(name) and PurePath(trained_on).name == PurePath(name).name):
        return
    raise _mismatch(
        folder,
        f"was trained on {trained_on!r}, the base is {name!r}",
        f"use it with its own base; if they are one model, correct base_model_name_or_path in its {CONFIG}",
    )


def _is_folder(name: str) -> bool:
    return PurePath(name).is_absolute()


@contextmanager
def _refusing(folder: Path, name: str) -> Iterator[None]:
    """What PEFT and safetensors raise for a foreign or broken adapter, as errors with a code."""
    try:
        yield
    except SafetensorError as error:
        raise _unreadable(folder, error) from error
    except (ValueError, KeyError, RuntimeError) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        # torch lists one difference a line, after a line that names the class
        first = next((line for line in lines if "mismatch" in line), lines[0] if lines else type(error).__name__)
        raise _mismatch(folder, f"does not fit {name}: {first[:500]}", _OTHER_BASE) from error


_OTHER_BASE = "use it with the base model it was trained on"


def _refuse_other_tensors(folder: Path, name: str, keys: Sequence[str]) -> None:
    if keys:
        raise _mismatch(
            folder, f"does not fit {name}: {len(keys)} tensors are missing or belong nowhere, first {keys[0]}",
            _OTHER_BASE,
        )  # fmt: skip


def _refuse_what_is_not_finite(folder: Path, model: PreTrainedModel, name: str) -> None:
    """Fused attention may pass over a NaN in silence."""
    for key, parameter in model.named_parameters():
        if f".{name}." in key and not bool(parameter.isfinite().all()):
            hint = "choose an adapter of another tau or step"
            raise TrainerError("diverged", f"{key} of the adapter in {folder} is not finite", hint)


def _mismatch(folder: Path, what: str, hint: str) -> TrainerError:
    return TrainerError("adapter_mismatch", f"the adapter in {folder} {what}", hint)


def _unreadable(folder: Path, error: Exception) -> TrainerError:
    return TrainerError(
        "adapter_unreadable", f"{folder} holds no readable adapter: {error}", f"expected {CONFIG} and {WEIGHTS}"
    )
