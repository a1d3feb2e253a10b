"""Paths that arrive from outside stay inside the folder they belong to."""

from pathlib import Path

from bora_trainer.errors import TrainerError


def inside(root: Path, relative: str) -> Path:
    """`relative` under `root` with symbolic links resolved.

    Raises TrainerError `path_refused` for an absolute path, for `..`, for NUL, and for a link that leads out of `root`.
    """
    parts = Path(relative).parts
    if not relative or "\0" in relative or Path(relative).is_absolute() or ".." in parts:
        raise _refused(relative, "it must be relative and without '..'")
    resolved = (root / relative).resolve()
    if not resolved.is_relative_to(root.resolve()):
        raise _refused(relative, "a symbolic link leads out of its folder")
    return resolved


def below(root: Path, path: str) -> Path:
    """As `inside`, but an absolute path is taken too when it is below `root`: both sides may mount one folder there."""
    if not Path(path).is_absolute():
        return inside(root, path)
    resolved = Path(path).resolve() if "\0" not in path else root.parent
    if not resolved.is_relative_to(root.resolve()):
        raise _refused(path, "it is not below the trainer's root")
    return resolved


def _refused(relative: str, reason: str) -> TrainerError:
    return TrainerError("path_refused", f"path {relative!r} is refused: {reason}", "give a path below the root folder")
