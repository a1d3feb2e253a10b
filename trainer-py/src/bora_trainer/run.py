"""What stays the same while a run trains, and how it begins or goes on."""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from bora.trainer.v1 import event_pb2
from bora_trainer import checkpoint
from bora_trainer.allocations import return_free_memory
from bora_trainer.background_writer import BackgroundWriter
from bora_trainer.data import Dataset, Document
from bora_trainer.data.permutation import choose
from bora_trainer.engine import Engine
from bora_trainer.fence import Fence
from bora_trainer.float32_check import Float32Check
from bora_trainer.gradients import Gradients
from bora_trainer.micro_batch_size import MicroBatchSize
from bora_trainer.progress import Progress
from bora_trainer.recorded_graphs import CudaGraphs, RecordedGraphs
from bora_trainer.spec import RunSpec, TrainSpec
from bora_trainer.training_state import TrainingState
from bora_trainer.versions import versions

Stop = Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Run:
    """One attempt at a run. `validation` holds the documents of each task that early stopping reads."""

    spec: RunSpec
    dataset: Dataset
    folder: Path
    engine: Engine
    gradients: Gradients
    validation: tuple[tuple[Document, ...], ...]
    progress: Progress
    size: MicroBatchSize
    stop: Stop
    writer: BackgroundWriter
    float32_check: Float32Check

    @property
    def train(self) -> TrainSpec:
        return self.spec.train

    @classmethod
    def prepare(
        cls, spec: RunSpec, dataset: Dataset, folder: Path, engine: Engine, stop: Stop, fence: Fence | None = None
    ) -> Run:
        assert spec.execution is not None, "the execution is chosen before the model is loaded"
        size = MicroBatchSize.of(spec.execution)
        device = engine.loaded.model.device
        graphs = RecordedGraphs(CudaGraphs(device), device) if spec.execution.engine.cuda_graph else None
        gradients = Gradients(engine, dataset.tasks, spec.train, size, stop, graphs)
        return cls(
            spec, dataset, folder, engine, gradients, _validation(spec, dataset), Progress(), size, stop,
            BackgroundWriter(fence), Float32Check(spec, dataset, stop),
        )  # fmt: skip

    def begin(self, resume_step: int) -> TrainingState:
        """The state of the newest whole checkpoint up to `resume_step`, or a fresh one.

        Raises as `TrainingState.resume`.
        """
        found = checkpoint.load(self.folder, resume_step)
        if found is None:
            return TrainingState(self.spec, self.spec.fits, self.engine, self.dataset)
        self.size.restore(found.facts.get("micro_batch", {}))
        return TrainingState.resume(self.spec, self.engine, self.dataset, found)

    def return_free_memory(self) -> None:
        """When rows have left: what they and larger micro-batches had is not needed again."""
        if self.engine.loaded.model.device.type == "cpu":
            return_free_memory()

    def started(self, state: TrainingState, *, prefix_cache: bool, words: str) -> event_pb2.Event:
        """`words` tell of the prefix cache what `open_cache` told."""
        assert self.spec.execution is not None
        size = {"rows_per_micro_batch": self.size.rows, "evaluation_tokens": self.size.evaluation_tokens}
        return event_pb2.Event(
            run_started=event_pb2.RunStarted(
                execution=replace(self.spec.execution, prefix_cache=prefix_cache, **size).to_proto(),
                step=state.step,
                rows=len(state.fits) * len(self.dataset.tasks),
                parameters_per_row=self.engine.parameters_per_row,
                steps_per_epoch=self.gradients.steps_per_epoch(self.spec.fits[0].seed),
                versions=versions(),
                prefix_cache=words,
            )
        )


def peak_memory_bytes(engine: Engine) -> int:
    """Of the device that trains: CUDA's allocator where there is one, else this process's resident memory."""
    if engine.loaded.model.device.type == "cuda":
        return torch.cuda.max_memory_allocated()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _validation(spec: RunSpec, dataset: Dataset) -> tuple[tuple[Document, ...], ...]:
    """`validation_documents` of each task, 0 for all; the same ones for every fit and attempt."""
    count = spec.train.validation_documents
    if count == 0:
        return tuple(task.validation for task in dataset.tasks)
    key = ("validation", spec.data.split.seed)
    chosen = (choose(task.validation, count, lambda document: document.id, *key) for task in dataset.tasks)
    return tuple(tuple(documents) for documents in chosen)
