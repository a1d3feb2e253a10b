"""Files of a run that may be fetched: only those that its events, or manifests named by its events, list."""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from bora.trainer.v1 import event_pb2, trainer_pb2
from bora_trainer.errors import TrainerError
from bora_trainer.json_text import parse_json
from bora_trainer.paths import inside

CHUNK_BYTES = 1 << 20
MAX_MANIFEST_BYTES = 64 << 20


class ArtifactIndex:
    """sha256 by path, relative to the run's folder, of every file listed so far."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._listed: dict[str, str] = {}
        self.seq = 0

    def note(self, events: Iterable[event_pb2.Event]) -> None:
        """Adds what further events list, the contents of their manifests included."""
        for event in events:
            self.seq = event.seq
            match event.WhichOneof("body"):
                case "checkpoint_saved":
                    self._add(event.checkpoint_saved.artifact)
                case "trial_done":
                    self._add_manifest(event.trial_done.manifest)
                case "run_done":
                    self._add_manifest(event.run_done.manifest)
                case _:
                    pass

    def find(self, path: str) -> tuple[Path, str]:
        """Where a listed file lies, and its sha256.

        Raises TrainerError `path_refused` for a path out of the run's folder and `artifact_unknown` for one that no
        event lists or that is gone.
        """
        resolved = inside(self._folder, path)
        if path not in self._listed or not _is_file(resolved):
            state = "is gone" if path in self._listed else "is not listed by any event"
            raise TrainerError("artifact_unknown", f"file {path!r} {state}", "see the run's events", "controller")
        return resolved, self._listed[path]

    def _add(self, artifact: event_pb2.Artifact) -> None:
        if artifact.path:
            self._listed[artifact.path] = artifact.sha256

    def _add_manifest(self, artifact: event_pb2.Artifact) -> None:
        if not artifact.path:
            return
        self._add(artifact)
        file, sha256 = self.find(artifact.path)
        if file.stat().st_size > MAX_MANIFEST_BYTES:
            raise TrainerError("artifact_corrupt", f"manifest {artifact.path!r} is too large", domain="infra")
        content = file.read_bytes()
        if hashlib.sha256(content).hexdigest() != sha256:
            raise _changed(artifact.path)
        try:
            self._listed |= dict(_entries(parse_json(content)))
        except ValueError as error:
            raise TrainerError(
                "artifact_corrupt", f"manifest {artifact.path!r} is no JSON: {error}", "run the trial again", "infra"
            ) from error


def read_chunks(file: Path, path: str, offset: int, sha256: str) -> Iterator[trainer_pb2.ReadArtifactResponse]:
    """The file from `offset` in chunks of at most 1 MiB, then a last message with the sha256 of all of it.

    Raises TrainerError `artifact_corrupt` at the end when it is not the file that was listed.
    """
    digest = hashlib.sha256()
    position = 0
    with open(file, "rb") as source:
        while chunk := source.read(CHUNK_BYTES):
            digest.update(chunk)
            fresh = chunk[max(0, offset - position) :]
            position += len(chunk)
            if fresh:
                yield trainer_pb2.ReadArtifactResponse(chunk=fresh)
    if digest.hexdigest() != sha256:
        raise _changed(path)
    yield trainer_pb2.ReadArtifactResponse(sha256=sha256)


def _entries(value: Any) -> Iterator[tuple[str, str]]:
    waiting = [value]  # and no recursion: a manifest may be nested as deeply as JSON is read
    while waiting:
        match waiting.pop():
            case {"path": str(path), "sha256": str(sha256)}:
                yield path, sha256
            case dict(fields):
                waiting += fields.values()
            case list(items):
                waiting += items
            case _:
                pass


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that no file can have
        return False


def _changed(path: str) -> TrainerError:
    return TrainerError(
        "artifact_corrupt", f"file {path!r} does not have the sha256 that was listed", "run the trial again", "infra"
    )
