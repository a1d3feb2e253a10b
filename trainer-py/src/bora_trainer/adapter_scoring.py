"""The run kind `evaluate`: scores adapters that exist on everything held out, and trains nothing.

Each adapter has a rank, a scale and targets of its own, so each gets an engine of its own on the one frozen base. An
attempt that begins again keeps what an earlier one wrote: there are no checkpoints.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from bora.trainer.v1 import event_pb2
from bora.trainer.v1.event_pb2 import Event
from bora_trainer import trial_results
from bora_trainer.adapters.imported import import_row, spec_of
from bora_trainer.data import Dataset
from bora_trainer.engine import Engine
from bora_trainer.errors import TrainerError
from bora_trainer.micro_batch_size import MicroBatchSize
from bora_trainer.models import LoadedModel
from bora_trainer.objective import macro_nats_per_token
from bora_trainer.run import peak_memory_bytes
from bora_trainer.spec import EvaluatedAdapter, RunSpec
from bora_trainer.trial_results import Scored
from bora_trainer.versions import versions

Stop = Callable[[], bool]


def score_adapters(
    spec: RunSpec, loaded: LoadedModel, dataset: Dataset, run_folder: Path, stop: Stop = lambda: False
) -> Iterator[Event]:
    """Scores `spec.evaluate`, adapter i as the trial of fit i; `spec.execution` must be set.

    Its documents are those of the validation and the test split, under the model "task". When `stop()` turns true it
    ends with run_failed (drained). An adapter whose nats are not finite fails alone. Raises `TrainerError` as
    `import_row` for whatever else ends the whole run.
    """
    assert spec.execution is not None and spec.evaluate is not None
    began = time.monotonic()
    size = MicroBatchSize.of(spec.execution)
    execution = replace(spec.execution, prefix_cache=False, evaluation_tokens=size.evaluation_tokens)
    yield Event(run_started=event_pb2.RunStarted(
        execution=execution.to_proto(), rows=len(spec.fits) * len(dataset.tasks), versions=versions()
    ))  # fmt: skip
    peak = 0
    for fit, adapter in zip(spec.fits, spec.evaluate, strict=True):
        engine = _engine(spec, loaded, adapter)
        try:
            yield from _score(spec, engine, dataset, run_folder, fit.trial_id, adapter, size, stop)
        except TrainerError as error:
            if error.code != "drained":
                raise
            yield _drained(error)
            return
        finally:
            peak = peak_memory_bytes(engine)
            engine.close()
    yield Event(run_done=event_pb2.RunDone(seconds=time.monotonic() - began, peak_memory_bytes=peak))


def _engine(spec: RunSpec, loaded: LoadedModel, adapter: EvaluatedAdapter) -> Engine:
    return Engine(loaded, spec.adapter if adapter.path == "" else spec_of(Path(adapter.path)))


def _score(
    spec: RunSpec, engine: Engine, dataset: Dataset, run_folder: Path, trial_id: str, adapter: EvaluatedAdapter,
    size: MicroBatchSize, stop: Stop,
) -> Iterator[Event]:  # fmt: skip
    results = trial_results.read_scored(run_folder, trial_id, dataset)
    if results is None:
        rows_DP = None
        if adapter.path != "":
            loaded = engine.loaded
            row_P = import_row(Path(adapter.path), engine.lora, loaded.name, loaded.hash, adapter.sha256)
            rows_DP = row_P.to(loaded.model.device).expand(len(dataset.tasks), -1)
        try:
            results = trial_results.score(engine, dataset, "task", rows_DP, size, stop)
        except TrainerError as error:
            if error.code != "diverged":
                raise
            failure = event_pb2.Failure(
                code="diverged", domain=event_pb2.DOMAIN_USER, message=f"{adapter.path or 'the base'}: {error.message}",
                hint="its weights are too large for this base, or damaged",
            )  # fmt: skip
            yield Event(trial_id=trial_id, trial_failed=event_pb2.TrialFailed(failure=failure))
            return
        yield from size.events(0)
    tasks = len(dataset.tasks)
    for scored in results:
        if scored.documents:
            yield Event(trial_id=trial_id, evaluated=scored.evaluated(0, tasks))
    yield Event(trial_id=trial_id, trial_done=event_pb2.TrialDone(
        ended=event_pb2.ENDED_VALIDATION, validation_nats_per_token=_macro(results, tasks),
        manifest=trial_results.write_scored(run_folder, trial_id, dataset, results),
    ))  # fmt: skip


def _macro(results: list[Scored], tasks: int) -> float:
    """Of the first split that has documents: validation, or test where nothing else is held out."""
    first = next(scored for scored in results if scored.documents)
    return macro_nats_per_token((task.nats, task.tokens) for task in trial_results.by_task(first.documents, tasks))


def _drained(reason: TrainerError) -> Event:
    failure = event_pb2.Failure(
        code=reason.code, domain=event_pb2.DOMAIN_CONTROLLER, message=reason.message,
        hint="the same command again scores what is left",
    )  # fmt: skip
    return Event(run_failed=event_pb2.RunFailed(failure=failure, drained=True))
