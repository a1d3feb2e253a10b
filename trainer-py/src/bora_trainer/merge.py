"""The base with an adapter added to its weights, as a folder that plain transformers reads.

On the CPU and in float32, whatever the base is stored in: what is written is rounded once, at the end.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from bora.trainer.v1 import run_pb2, trainer_pb2
from bora_trainer import artifacts
from bora_trainer.adapters.peft_loading import attached
from bora_trainer.device_facts import DTYPES
from bora_trainer.errors import TrainerError
from bora_trainer.models import load_model, stored_dtype
from bora_trainer.spec import ModelSource

_DTYPES = {DTYPES["float32"]: torch.float32, DTYPES["bfloat16"]: torch.bfloat16}
_BESIDE = 64 * 2**20  # bytes for the tokenizer and what else is no weight


@dataclass(frozen=True, slots=True)
class MergeSpec:
    """The base, the adapter's folder, and the dtype of the weights that are written (None: as the base is stored)."""

    model: ModelSource
    folder: Path
    dtype: torch.dtype | None

    @classmethod
    def from_proto(cls, message: trainer_pb2.MergeRequest) -> "MergeSpec":
        """Raises `TrainerError("spec_invalid")`."""
        if not message.folder:
            raise TrainerError("spec_invalid", "folder is '', expected an adapter's folder", "name one")
        if message.dtype != run_pb2.DTYPE_AUTO and message.dtype not in _DTYPES:
            raise TrainerError("spec_invalid", f"dtype is {message.dtype}, expected auto, float32 or bfloat16", "")
        return cls(ModelSource.from_proto(message.model), Path(message.folder), _DTYPES.get(message.dtype))


def free_bytes(folder: Path) -> int:
    return shutil.disk_usage(folder).free


def merge(spec: MergeSpec, folder: Path, free: Callable[[Path], int] = free_bytes) -> trainer_pb2.MergeResponse:
    """Writes configuration, weights and tokenizer into `folder`, which is there, and lists them.

    Raises `TrainerError("disk_full")` before anything is written, and what `load_model` and `attached` raise.
    """
    dtype = spec.dtype or stored_dtype(spec.model)
    loaded = load_model(spec.model, torch.float32, "cpu")
    weights = sum(parameter.numel() for parameter in loaded.model.parameters()) * dtype.itemsize
    _refuse_without_room(folder, weights, free(folder))
    with attached(loaded, [spec.folder]) as adapters:
        model = adapters.merged(0)
    model.to(dtype).save_pretrained(folder)  # pyright: ignore[reportArgumentType]
    loaded.tokenizer.save_pretrained(folder)
    files = sorted(path for path in folder.iterdir() if path.is_file())
    return trainer_pb2.MergeResponse(files=[artifacts.describe(folder, file) for file in files])


def _refuse_without_room(folder: Path, weights: int, free: int) -> None:
    needed = weights + _BESIDE
    if free < needed:
        raise TrainerError(
            "disk_full",
            f"the merged model needs {needed / 2**30:.1f} GiB at {folder}, {free / 2**30:.1f} GiB are free",
            "free some space under the trainer's run root",
            "controller",
        )
