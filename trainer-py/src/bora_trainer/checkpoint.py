"""Everything a run needs to go on with the same bits: tensors as safetensors, the rest as JSON, nothing executable.

    <run folder>/checkpoints/step-000050/{state.safetensors, state.json, files.json}

A folder appears by one rename when all of it is on the disk; `files.json` lists size and sha256 of the other two, and
reading verifies them. The one before is kept, for the day the newest does not read back.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from bora.trainer.v1 import event_pb2
from bora_trainer import artifacts
from bora_trainer.errors import TrainerError
from bora_trainer.json_text import parse_json

TENSORS, FACTS, LIST = "state.safetensors", "state.json", "files.json"
KEPT = 2
_NAME = re.compile(r"step-(\d{6,})")
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What was saved after optimiser step `step`: tensors by name, and facts that JSON can hold."""

    step: int
    tensors: dict[str, Tensor]
    facts: dict[str, Any]


def save(run_folder: Path, checkpoint: Checkpoint) -> event_pb2.Artifact:
    """Writes a checkpoint, lets all but the last two go, and returns its list of files as an artifact.

    Its tensors are contiguous, in the host's memory, and nobody changes them meanwhile.
    """
    folder = run_folder / "checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    _remove_unfinished(folder)
    name = f"step-{checkpoint.step:06d}"
    beside = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=folder))
    save_file(checkpoint.tensors, beside / TENSORS)
    _sync(beside / TENSORS)
    artifacts.write_json(beside / FACTS, {"step": checkpoint.step, **checkpoint.facts})
    listed = [_entry(beside / file, f"checkpoints/{name}/{file}") for file in (TENSORS, FACTS)]
    artifacts.write_json(beside / LIST, {"files": listed})
    beside.chmod(0o755)
    shutil.rmtree(folder / name, ignore_errors=True)
    os.replace(beside, folder / name)
    artifacts.sync_folder(folder)
    for step in _steps(folder)[:-KEPT]:
        shutil.rmtree(_path(folder, step), ignore_errors=True)
    return artifacts.describe(run_folder, folder / name / LIST)


def load(run_folder: Path, step: int) -> Checkpoint | None:
    """The newest checkpoint up to `step` whose files are what they were; None when there is none.

    Newer ones are removed: the events that went with them are gone, and the run passes there again. A damaged one is
    removed too, with a line in the log (`checkpoint_corrupt`).
    """
    folder = run_folder / "checkpoints"
    for found in reversed(_steps(folder)):
        if found <= step:
            try:
                return _read(_path(folder, found))
            except TrainerError as error:
                _logger.warning("%s", error)
        shutil.rmtree(_path(folder, found))
    return None


def _read(folder: Path) -> Checkpoint:
    """Raises `TrainerError("checkpoint_corrupt")`."""
    try:
        listed: list[Mapping[str, Any]] = parse_json((folder / LIST).read_bytes())["files"]
        for entry in listed:
            file = folder / Path(entry["path"]).name
            if file.stat().st_size != entry["size"] or artifacts.sha256_of(file) != entry["sha256"]:
                raise _corrupt(folder, f"{file.name} is not the {entry['size']} bytes that were saved")
        if {Path(entry["path"]).name for entry in listed} != {TENSORS, FACTS}:
            raise _corrupt(folder, f"{LIST} does not list {TENSORS} and {FACTS}")
        facts = parse_json((folder / FACTS).read_bytes())
        return Checkpoint(facts.pop("step"), load_file(folder / TENSORS), facts)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise _corrupt(folder, f"{type(error).__name__}: {error}") from error


def _corrupt(folder: Path, reason: str) -> TrainerError:
    hint = "the one before is used; check the disk"
    return TrainerError("checkpoint_corrupt", f"checkpoint {folder.name}: {reason}", hint, "infra")


def _entry(file: Path, path: str) -> dict[str, Any]:
    return {"path": path, "size": file.stat().st_size, "sha256": artifacts.sha256_of(file)}


def _steps(folder: Path) -> list[int]:
    """Of the folders that have a name of ours: what else lies there is nobody's checkpoint, and is left alone."""
    names = [path.name for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []
    steps = {int(match.group(1)) for name in names if (match := _NAME.fullmatch(name))}
    return sorted(step for step in steps if _path(folder, step).name in names)


def _path(folder: Path, step: int) -> Path:
    return folder / f"step-{step:06d}"


def _remove_unfinished(folder: Path) -> None:
    for path in folder.glob(".unfinished-*"):
        shutil.rmtree(path, ignore_errors=True)


def _sync(file: Path) -> None:
    with file.open("rb") as stream:
        os.fsync(stream.fileno())
