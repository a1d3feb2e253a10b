"""What a trial leaves behind: each document's nats under its task's adapter and under Theta, and the adapters as files.

Test documents are read here and nowhere else, once, with the rows of the best validation.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from bora.trainer.v1 import event_pb2
from bora_trainer import artifacts
from bora_trainer.adapters.distances import distances_of_rows
from bora_trainer.adapters.peft_files import write_adapters
from bora_trainer.data import Dataset, Document, Split
from bora_trainer.engine import Engine
from bora_trainer.errors import TrainerError
from bora_trainer.evaluate import evaluate
from bora_trainer.micro_batch_size import MicroBatchSize

Model = Literal["task", "prior-mean", "base"]
DocumentNats = Sequence[tuple[Document, float]]
_SCORED = {
    "task": event_pb2.SCORED_TASK,
    "prior-mean": event_pb2.SCORED_PRIOR_MEAN,
    "base": event_pb2.SCORED_BASE,
}
_SPLIT = {"validation": event_pb2.SPLIT_VALIDATION, "test": event_pb2.SPLIT_TEST}
# Tasks times rank whose adapters are compared, all with all: beyond it that takes minutes.
_MOST_COMPARED = 4096
_HELD_OUT: tuple[Split, ...] = ("validation", "test")


@dataclass(frozen=True, slots=True)
class Scored:
    """All documents of a split under one model."""

    model: Model
    split: Split
    documents: DocumentNats

    def evaluated(self, step: int, tasks: int) -> event_pb2.Evaluated:
        return event_pb2.Evaluated(
            scored=_SCORED[self.model],
            split=_SPLIT[self.split],
            step=step,
            tasks=by_task(self.documents, tasks),
            complete=True,
        )


def by_task(documents: DocumentNats, tasks: int) -> list[event_pb2.TaskNats]:
    """Nats and scored tokens of each task."""
    nats: list[list[float]] = [[] for _ in range(tasks)]
    tokens = [0] * tasks
    for document, value in documents:
        nats[document.task].append(value)
        tokens[document.task] += document.scored
    return [event_pb2.TaskNats(task=d, nats=math.fsum(nats[d]), tokens=tokens[d]) for d in range(tasks)]


def score(
    engine: Engine,
    dataset: Dataset,
    model: Model,
    rows_DP: Tensor | None,
    size: MicroBatchSize,
    stop: Callable[[], bool],
) -> list[Scored]:
    """Scores validation and test, task d through row d; without rows, by the base model.

    Raises `TrainerError("diverged")` when a document's nats are not finite, `TrainerError("drained")` on `stop`.
    """
    results = []
    for split in _HELD_OUT:
        documents = [task.documents(split) for task in dataset.tasks]
        found = evaluate(engine, rows_DP, documents, size=size, stop=stop)
        bad = [document for document, nats in found if not math.isfinite(nats)]
        if bad:
            message = f"{len(bad)} {split} documents have nats that are not finite, first {bad[0].id}"
            raise TrainerError("diverged", message, "lower train.learningRate")
        results.append(Scored(model, split, found))
    return results


def score_trial(
    engine: Engine,
    dataset: Dataset,
    rows_DP: Tensor,
    mean_P: Tensor,
    tau: float,
    size: MicroBatchSize,
    stop: Callable[[], bool],
) -> list[Scored]:
    """Under each task's adapter and under Theta; at tau = infinity they are the same rows and read once."""
    tasks = score(engine, dataset, "task", rows_DP, size, stop)
    if math.isinf(tau):
        return tasks + [Scored("prior-mean", scored.split, scored.documents) for scored in tasks]
    return tasks + score(engine, dataset, "prior-mean", mean_P.expand_as(rows_DP), size, stop)


def write_trial(
    run_folder: Path,
    trial_id: str,
    engine: Engine,
    dataset: Dataset,
    rows_DP: Tensor,
    mean_P: Tensor,
    results: list[Scored],
) -> event_pb2.Artifact:
    """Documents, one adapter a task and Theta's, and how far those are from each other; returns the manifest that lists
    them. Rows in the host's memory.
    """
    folder = run_folder / "trials" / trial_id
    documents = _write_documents(run_folder, folder / "documents.jsonl", dataset, results)
    rows = {task.slug: row_P for task, row_P in zip(dataset.tasks, rows_DP, strict=True)} | {"prior-mean": mean_P}
    written = write_adapters(folder / "adapters", rows, engine.lora, engine.loaded.name)
    adapters = {
        name: [
            {"path": file.file.relative_to(run_folder).as_posix(), "size": file.size, "sha256": file.sha256}
            for file in files
        ]
        for name, files in written.items()
    }
    manifest = {"documents": documents, "adapters": adapters}
    if len(dataset.tasks) * engine.lora.spec.rank <= _MOST_COMPARED:
        manifest["distances"] = _write_distances(
            run_folder, folder / "distances.json", engine, dataset, rows_DP, mean_P
        )
    return _write_manifest(run_folder, folder, manifest)


def _write_distances(
    run_folder: Path, file: Path, engine: Engine, dataset: Dataset, rows_DP: Tensor, mean_P: Tensor
) -> dict[str, Any]:
    found = distances_of_rows(engine.layout, engine.lora.scale, mean_P, rows_DP)
    artifacts.write_json(file, found.as_json([task.name for task in dataset.tasks]))
    return artifacts.as_json(artifacts.describe(run_folder, file))


def write_scored(run_folder: Path, trial_id: str, dataset: Dataset, results: list[Scored]) -> event_pb2.Artifact:
    """Documents alone, of an adapter that exists already."""
    folder = run_folder / "trials" / trial_id
    documents = _write_documents(run_folder, folder / "documents.jsonl", dataset, results)
    return _write_manifest(run_folder, folder, {"documents": documents})


def read_scored(run_folder: Path, trial_id: str, dataset: Dataset) -> list[Scored] | None:
    """What an earlier attempt found by `write_scored`; None as `read_base`."""
    return _read(run_folder, f"trials/{trial_id}", "task", dataset)


def write_base(run_folder: Path, dataset: Dataset, results: list[Scored]) -> event_pb2.Artifact:
    folder = run_folder / "base"
    documents = _write_documents(run_folder, folder / "documents.jsonl", dataset, results)
    return _write_manifest(run_folder, folder, {"documents": documents})


def read_base(run_folder: Path, dataset: Dataset) -> list[Scored] | None:
    """What an earlier attempt found for the base model; None when it is not there whole or not of these documents."""
    return _read(run_folder, "base", "base", dataset)


def _read(run_folder: Path, place: str, model: Model, dataset: Dataset) -> list[Scored] | None:
    try:
        listed = json.loads((run_folder / place / "manifest.json").read_bytes())["documents"]
        file = run_folder / listed["path"]
        if artifacts.sha256_of(file) != listed["sha256"]:
            return None
        lines = [json.loads(line) for line in file.read_text("utf8").splitlines()]
        nats = {(line["split"], line["task"], line["document"]): line["nats"] for line in lines}
        return [
            Scored(model, split, [
                (document, nats[split, task.name, document.id])
                for task in dataset.tasks
                for document in task.documents(split)
            ])
            for split in _HELD_OUT
        ]  # fmt: skip
    except (OSError, ValueError, KeyError):
        return None


def _write_documents(run_folder: Path, file: Path, dataset: Dataset, results: list[Scored]) -> dict[str, Any]:
    artifacts.write_atomically(file, lambda target: target.writelines(_lines(dataset, results)))
    return artifacts.as_json(artifacts.describe(run_folder, file))


def _lines(dataset: Dataset, results: list[Scored]) -> Iterator[bytes]:
    for scored in results:
        for document, nats in scored.documents:
            line = {
                "model": scored.model,
                "task": dataset.tasks[document.task].name,
                "split": scored.split,
                "document": document.id,
                "date": document.date,
                "tokens": document.scored,
                "characters": document.characters,
                "nats": nats,
            }
            yield json.dumps(line, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def _write_manifest(run_folder: Path, folder: Path, manifest: dict[str, Any]) -> event_pb2.Artifact:
    artifacts.write_json(folder / "manifest.json", manifest)
    return artifacts.describe(run_folder, folder / "manifest.json")
