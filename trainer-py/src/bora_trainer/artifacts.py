"""Files that a run leaves behind: written whole or not at all, and named by path, size and sha256."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from bora.trainer.v1 import event_pb2


def describe(run_folder: Path, file: Path) -> event_pb2.Artifact:
    """The artifact that `file` is, its path relative to the run's folder. Reads the whole file."""
    return event_pb2.Artifact(
        path=file.relative_to(run_folder).as_posix(), size=file.stat().st_size, sha256=sha256_of(file)
    )


def as_json(artifact: event_pb2.Artifact) -> dict[str, Any]:
    return {"path": artifact.path, "size": artifact.size, "sha256": artifact.sha256}


def sha256_of(file: Path) -> str:
    with file.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def write_atomically(file: Path, write: Callable[[BinaryIO], object]) -> None:
    """Lets `write` fill a file that appears under its name only when it is whole and on the disk."""
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor, beside = tempfile.mkstemp(prefix=f".{file.name}-", dir=file.parent)
    try:
        with os.fdopen(descriptor, "wb") as target:
            write(target)
            target.flush()
            os.fsync(target.fileno())
        os.chmod(beside, 0o644)
        os.replace(beside, file)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(beside)
        raise
    sync_folder(file.parent)


def write_json(file: Path, value: Any) -> None:
    """Keys in the order given; NaN and infinity are refused, since JSON has neither."""
    content = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False).encode() + b"\n"
    write_atomically(file, lambda target: target.write(content))


def sync_folder(folder: Path) -> None:
    """Makes renames in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
