"""One run: all fits of a pack, all tasks, on one frozen base. The file to read first.

A step adds every row's gradients (gradients.py, engine.py) and applies them under the prior (hierarchical_adam.py,
prior.py). What is due next follows from the state alone, so a run that is stopped and resumed from a checkpoint yields
the same numbers as one that is not. docs/method.md section 3.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from pathlib import Path

from bora.trainer.v1 import event_pb2
from bora.trainer.v1.event_pb2 import Event
from bora_trainer import checkpoint, trial_results
from bora_trainer.data import Dataset
from bora_trainer.engine import Engine
from bora_trainer.errors import TrainerError
from bora_trainer.evaluate import evaluate
from bora_trainer.fence import Fence
from bora_trainer.host_copy import HostCopy
from bora_trainer.learning_rate import learning_rate
from bora_trainer.models import LoadedModel
from bora_trainer.objective import macro_nats_per_token
from bora_trainer.prefix_cache import PrefixCache, open_cache
from bora_trainer.run import Run, peak_memory_bytes
from bora_trainer.spec import RunSpec
from bora_trainer.state_files import StateFolder
from bora_trainer.training_state import TrainingState

_logger = logging.getLogger(__name__)
_ENDED = {"validation": event_pb2.ENDED_VALIDATION, "limit": event_pb2.ENDED_LIMIT}


def train(
    spec: RunSpec,
    loaded: LoadedModel,
    dataset: Dataset,
    run_folder: Path,
    resume_step: int = 0,
    stop: Callable[[], bool] = lambda: False,
    state_folder: StateFolder | None = None,
    fence: Fence | None = None,
) -> Iterator[Event]:
    """Trains `spec.fits` and yields what happens; `spec.execution` must be set.

    Hidden states below the adapted layers are kept in `state_folder`, where there is one and the execution lets it.
    With `resume_step` it goes on from the newest whole checkpoint up to that step. When `stop()` turns true, asked
    between micro-batches, it drops the unfinished step or evaluation, saves the last whole step and ends with
    run_failed (drained). Nothing is saved once another attempt holds the run's `fence`. Raises `TrainerError` for
    whatever else ends the whole run.
    """
    began = time.monotonic()
    assert spec.execution is not None, "the execution is chosen before the model is loaded"
    how = spec.execution
    engine = Engine(loaded, spec.adapter, buckets=how.buckets, compiled=how.engine.compile)
    cache: PrefixCache | None = None
    try:
        run = Run.prepare(spec, dataset, run_folder, engine, stop, fence)
        state = run.begin(resume_step)
        cache, words = _open_cache(run, state_folder)
        yield run.started(state, prefix_cache=cache is not None, words=words)
        try:
            if cache is not None:
                yield from cache.fill(stop)
            base = (yield from _score_base(run)) if spec.evaluate_base else None
            while state.fits:
                yield from _next(run, state)
            yield from run.writer.wait()
        except Exception as error:
            drained = error if isinstance(error, TrainerError) and error.code == "drained" else None
            yield from _written(run, None if drained else error)
            if drained is None:
                raise
            yield from _drain(run, state, drained)
        else:
            yield Event(run_done=event_pb2.RunDone(
                manifest=base, seconds=time.monotonic() - began, peak_memory_bytes=peak_memory_bytes(engine)
            ))  # fmt: skip
        finally:
            run.writer.close()
            run.float32_check.close()
    finally:
        engine.close()
        if cache is not None:
            cache.file.close()


def _written(run: Run, failure: Exception | None) -> Iterator[Event]:
    """What was being saved: the next attempt goes on from it. A trouble of the writer's never hides a `failure`."""
    try:
        yield from run.writer.wait()
    except Exception as trouble:
        if failure is None:
            raise
        _logger.error("while %r ended the run, saving failed too: %s", failure, trouble)


def _open_cache(run: Run, folder: StateFolder | None) -> tuple[PrefixCache | None, str]:
    """As `prefix_cache.open_cache`; an attempt does without where the first one did, so that its bits are the same."""
    if run.engine.prefix is None or folder is None:
        return None, ""
    assert run.spec.execution is not None
    if not run.spec.execution.prefix_cache:
        return None, "hidden states are not kept: this run began without"
    return open_cache(run.engine, run.dataset, folder)


def _next(run: Run, state: TrainingState) -> Iterator[Event]:
    """Tells what has been written meanwhile, and does the one thing that is due."""
    yield from run.writer.finished()
    ended, still = state.first_ended(), state.first_still()
    if still is not None:
        yield from _settle(run, state, still)
    elif ended is not None:
        yield from _finish(run, state, ended)
        run.return_free_memory()
    elif state.evaluation_due(run.train):
        yield from _evaluate(run, state)
    elif state.checkpoint_due(run.train):
        yield from _save(run, state)
    else:
        yield from _step(run, state)


def _step(run: Run, state: TrainingState) -> Iterator[Event]:
    """One optimiser step of all fits. The device is waited for when a window of steps closes, not here."""
    began, step = time.perf_counter(), state.step + 1
    read = run.gradients(state.optimiser, [fit.seed for fit in state.fits], step)
    yield from run.size.events(step)
    state.optimiser.step(learning_rate(run.train, step))
    state.step = step
    seconds = time.perf_counter() - began
    run.progress.add(read.nats_G, read.tokens, seconds, real=read.real, padded=read.padded)
    if run.progress.due or state.evaluation_due(run.train) or state.checkpoint_due(run.train):
        yield from _close_window(run, state)


def _close_window(run: Run, state: TrainingState) -> Iterator[Event]:
    """Tells of the steps since the last window. A fit whose gradients were not finite leaves; the others go on."""
    failed = {place: step for place, step in enumerate(state.optimiser.failed_at()) if step > 0}
    if failed:
        run.progress.leave(list(failed), state.tasks)
    kept = [trial_id for place, trial_id in enumerate(state.trial_ids) if place not in failed]
    yield from run.progress.close(state.step, kept)
    yield from _fail(state, failed, "gradients")


def _evaluate(run: Run, state: TrainingState) -> Iterator[Event]:
    """Validation of every fit while it trains: keeps the best rows, decides which fits have ended."""
    began = time.perf_counter()
    documents = run.validation * len(state.fits)
    found = evaluate(run.engine, state.optimiser.rows_GP, documents, size=run.size, stop=run.stop)
    yield from run.size.events(state.step)
    each = len(found) // len(state.fits)
    seconds = (time.perf_counter() - began) / len(state.fits)
    state.evaluated_step = state.step
    diverged: dict[int, int] = {}
    events: list[Event] = []
    for place, stopping in enumerate(state.stopping):
        tasks = trial_results.by_task(found[place * each : (place + 1) * each], state.tasks)
        best = _take_in(run, state, place, tasks)
        if best is None:
            diverged[place] = state.step
            continue
        events.append(Event(trial_id=stopping.trial_id, evaluated=event_pb2.Evaluated(
            scored=event_pb2.SCORED_TASK, split=event_pb2.SPLIT_VALIDATION, step=state.step, tasks=tasks, best=best,
            complete=run.train.validation_documents == 0, seconds=seconds,
        )))  # fmt: skip
    yield from events
    yield from _fail(state, diverged, "validation nats")


def _take_in(run: Run, state: TrainingState, place: int, tasks: Sequence[event_pb2.TaskNats]) -> bool | None:
    """Whether an evaluation is a fit's best so far, whose rows are then kept; None when it is not finite."""
    macro = macro_nats_per_token((task.nats, task.tokens) for task in tasks)
    if not math.isfinite(macro):
        return None
    stopping, limits = state.stopping[place], {"patience": run.train.patience, "last_step": run.train.max_steps}
    if run.train.best_step == "task":
        better = stopping.update_tasks([task.nats / task.tokens for task in tasks], state.step, **limits)
        state.keep_best(place, better)
        return bool(better)
    best = stopping.update(macro, state.step, **limits)
    if best:
        state.keep_best(place)
    return best


def _settle(run: Run, state: TrainingState, place: int) -> Iterator[Event]:
    """A fit that no step would move has its best step before the first: its rows are Theta, which is known."""
    found = evaluate(run.engine, state.optimiser.rows_KDP[place], run.validation, size=run.size, stop=run.stop)
    yield from run.size.events(state.step)
    tasks = trial_results.by_task(found, state.tasks)
    macro = macro_nats_per_token((task.nats, task.tokens) for task in tasks)
    if not math.isfinite(macro):
        yield from _fail(state, {place: state.step}, "validation nats")
        return
    state.keep_best(place)
    stopping = state.stopping[place]
    stopping.best_nats, stopping.best_step, stopping.ended = macro, 0, "validation"


def _finish(run: Run, state: TrainingState, place: int) -> Iterator[Event]:
    """Scores the best rows of a fit on everything held out, has its files written, and takes it out."""
    fit, stopping = state.fits[place], state.stopping[place]
    rows_DP, mean_P = state.best_rows_KDP[place], state.best_mean_KP[place]
    try:
        results = trial_results.score_trial(run.engine, run.dataset, rows_DP, mean_P, fit.tau, run.size, run.stop)
        check = run.float32_check.of(rows_DP, results)
    except TrainerError as error:
        if error.code != "diverged":
            raise
        yield from _fail(state, {place: state.step}, "held-out nats of the best step")
        return
    yield from run.size.events(state.step)
    yield from run.writer.wait()
    events = [Event(trial_id=fit.trial_id, evaluated=scored.evaluated(stopping.best_step, state.tasks))
              for scored in results]  # fmt: skip
    done = event_pb2.TrialDone(
        steps=state.step, best_step=stopping.best_step, ended=_ENDED[stopping.ended or "limit"],
        validation_nats_per_token=stopping.best_nats, float32_check=check,
    )  # fmt: skip
    rows = HostCopy({"task": rows_DP, "prior-mean": mean_P})
    state.leave([place])

    def write() -> list[Event]:
        named = rows.tensors()
        done.manifest.CopyFrom(trial_results.write_trial(
            run.folder, fit.trial_id, run.engine, run.dataset, named["task"], named["prior-mean"], results
        ))  # fmt: skip
        return [*events, Event(trial_id=fit.trial_id, trial_done=done)]

    run.writer.start(write)


def _fail(state: TrainingState, steps: Mapping[int, int], what: str) -> Iterator[Event]:
    """Takes out fits whose numbers are no longer finite; `steps` tells by place since when."""
    failed = [(state.fits[place], step) for place, step in steps.items()]
    if failed:
        state.leave(list(steps))
    for fit, step in failed:
        failure = event_pb2.Failure(
            code="diverged", domain=event_pb2.DOMAIN_USER, hint="lower train.learningRate or add train.warmupSteps",
            message=f"tau {fit.tau:g}, seed {fit.seed}: {what} are not finite at step {step}",
        )  # fmt: skip
        yield Event(trial_id=fit.trial_id, trial_failed=event_pb2.TrialFailed(failure=failure, step=step))


def _save(run: Run, state: TrainingState) -> Iterator[Event]:
    """Has the state written as it is now, once what was written before is told of."""
    yield from run.writer.wait()
    now = state.checkpoint(run.size)
    step, facts, copy = now.step, now.facts, HostCopy(now.tensors)

    def write() -> list[Event]:
        artifact = checkpoint.save(run.folder, checkpoint.Checkpoint(step, copy.tensors(), facts))
        return [Event(checkpoint_saved=event_pb2.CheckpointSaved(step=step, artifact=artifact))]

    run.writer.start(write)
    state.saved_step = state.step


def _drain(run: Run, state: TrainingState, reason: TrainerError) -> Iterator[Event]:
    yield from _close_window(run, state)
    if state.fits and state.step > state.saved_step:
        yield from _save(run, state)
        yield from run.writer.wait()
    failure = event_pb2.Failure(code=reason.code, domain=event_pb2.DOMAIN_CONTROLLER, message=reason.message,
                                hint="the same command again goes on from here")  # fmt: skip
    yield Event(run_failed=event_pb2.RunFailed(failure=failure, drained=True))


def _score_base(run: Run) -> Generator[Event, None, event_pb2.Artifact]:
    """Scores the base model alone, or reads what an earlier attempt found. Returns the manifest."""
    results = trial_results.read_base(run.folder, run.dataset)
    if results is None:
        results = trial_results.score(run.engine, run.dataset, "base", None, run.size, run.stop)
        yield from run.size.events(0)
    manifest = trial_results.write_base(run.folder, run.dataset, results)
    for scored in results:
        yield Event(evaluated=scored.evaluated(0, len(run.dataset.tasks)))
    return manifest
