"""Everything that changes while a run trains, and its passage through a checkpoint.

Shapes: K fits still training, D tasks, P weights a row.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bora_trainer.adapters.imported import content_hash, import_row
from bora_trainer.checkpoint import Checkpoint
from bora_trainer.data import Dataset
from bora_trainer.early_stopping import EarlyStopping, TaskBest
from bora_trainer.engine import Engine
from bora_trainer.errors import TrainerError
from bora_trainer.hierarchical_adam import HierarchicalAdam
from bora_trainer.micro_batch_size import MicroBatchSize
from bora_trainer.objective import loss_scale
from bora_trainer.prior import Gaussian, GroupLaplace, Prior
from bora_trainer.spec import Fit, RunSpec, TrainSpec

# A weight of a row: offset, two moments, the best step's row. One of a fit: Theta, its two moments, the best step's.
_SAVED_BYTES_A_WEIGHT = 16


def snapshot_bytes(fits: int, tasks: int, weights: int) -> int:
    """Of the copy in the host's memory that a checkpoint is written from; there only while it is written."""
    return _SAVED_BYTES_A_WEIGHT * fits * (tasks + 1) * weights


class TrainingState:
    """The fits still training, their optimiser, and the rows of each at its best evaluation so far.

    What is due next follows from this alone, so a run that is resumed does what it would have done.
    """

    def __init__(self, spec: RunSpec, fits: Sequence[Fit], engine: Engine, dataset: Dataset) -> None:
        device = engine.loaded.model.device
        self._identity = {
            "data": dataset.hash,
            "model": engine.loaded.hash,
            "layout": engine.layout.hash,
            "mean": content_hash(Path(spec.prior.mean.path)) if spec.prior.mean is not None else None,
            "trials": [fit.trial_id for fit in spec.fits],
        }
        self.step = 0
        # Where each task keeps its own best step, its start counts: none ends worse on validation than it began.
        self.evaluated_step = -1 if spec.train.best_step == "task" else 0
        self.saved_step = 0
        self.fits = list(fits)
        self.stopping = [EarlyStopping(fit.trial_id) for fit in fits]
        initial_KP = torch.stack(_starts(spec, fits, engine)).to(device)
        self.optimiser = HierarchicalAdam(
            initial_KP,
            [fit.tau for fit in fits],
            len(dataset.tasks),
            loss_scale=loss_scale(len(dataset.tasks), sum(task.scored("train") for task in dataset.tasks)),
            betas=(spec.train.beta1, spec.train.beta2),
            epsilon=spec.train.epsilon,
            prior=_prior(spec, engine),
            tau0=spec.prior.tau0,
            fixed_mean=spec.prior.fixed,
        )
        self._fixed_mean = spec.prior.fixed
        self.best_rows_KDP = torch.zeros_like(self.optimiser.rows_KDP)
        self.best_mean_KP = torch.zeros_like(initial_KP)

    @property
    def tasks(self) -> int:
        return self.optimiser.tasks

    @property
    def trial_ids(self) -> list[str]:
        return [fit.trial_id for fit in self.fits]

    def evaluation_due(self, train: TrainSpec) -> bool:
        at_boundary = self.step % train.evaluate_every == 0 or self.step == train.max_steps
        return at_boundary and self.step > self.evaluated_step

    def checkpoint_due(self, train: TrainSpec) -> bool:
        return self.step % train.checkpoint_every == 0 and self.step > self.saved_step

    def first_still(self) -> int | None:
        """The place of a fit that no step would move and that was not evaluated yet: Theta known, tau = infinity."""
        still = (place for place, fit in enumerate(self.fits) if self._fixed_mean and math.isinf(fit.tau))
        return next((place for place in still if self.stopping[place].ended is None), None)

    def first_ended(self) -> int | None:
        """The place of a fit that has ended and still trains along."""
        return next((place for place, fit in enumerate(self.stopping) if fit.ended), None)

    def keep_best(self, place: int, tasks: Sequence[int] | None = None) -> None:
        """Remembers the rows of a fit, or of some of its tasks, and Theta as it is with them."""
        for task in range(self.tasks) if tasks is None else tasks:
            self.best_rows_KDP[place, task] = self.optimiser.rows_KDP[place, task]
        self.best_mean_KP[place] = self.optimiser.prior_mean_KP[place]

    def leave(self, places: Sequence[int]) -> None:
        """Takes fits out; the bits of the others do not change."""
        kept = [place for place in range(len(self.fits)) if place not in places]
        self.fits = [self.fits[place] for place in kept]
        self.stopping = [self.stopping[place] for place in kept]
        self.optimiser.keep(kept)
        self.best_rows_KDP = self.best_rows_KDP[kept]
        self.best_mean_KP = self.best_mean_KP[kept]

    def checkpoint(self, size: MicroBatchSize) -> Checkpoint:
        """This state, to be saved after a whole step, and the size that the run has come down to."""
        facts = self._identity | {
            "evaluated_step": self.evaluated_step,
            "micro_batch": size.facts(),
            "fits": [asdict(fit) | {"best_nats": _number_or_none(fit.best_nats)} for fit in self.stopping],
        }
        return Checkpoint(self.step, self._tensors(), facts)

    @classmethod
    def resume(cls, spec: RunSpec, engine: Engine, dataset: Dataset, checkpoint: Checkpoint) -> TrainingState:
        """The state that was saved. Fits that had ended by then, or are no longer asked for, are not part of it.

        Raises `TrainerError("spec_invalid")` when data, model or fits are not those of the checkpoint, and
        `TrainerError("checkpoint_corrupt")` when the tensors do not fit together.
        """
        by_id = {fit.trial_id: fit for fit in spec.fits}
        saved: list[dict[str, Any]] = checkpoint.facts["fits"]
        state = cls(spec, [_fit_of(by_id, entry["trial_id"], spec) for entry in saved], engine, dataset)
        state._refuse_another_run(checkpoint)
        state.step = state.saved_step = checkpoint.step
        state.evaluated_step = checkpoint.facts["evaluated_step"]
        state.stopping = [EarlyStopping(**_with_number(entry)) for entry in saved]
        state._load(checkpoint.tensors)
        state.leave([place for place, fit in enumerate(state.fits) if fit.trial_id not in by_id])
        return state

    def _tensors(self) -> dict[str, Tensor]:
        optimiser = {f"optimiser.{name}": tensor for name, tensor in self.optimiser.state().items()}
        return optimiser | {"best.rows": self.best_rows_KDP, "best.mean": self.best_mean_KP}

    def _load(self, tensors: dict[str, Tensor]) -> None:
        try:
            self.optimiser.load({name.removeprefix("optimiser."): tensor for name, tensor in tensors.items()})
            self.best_rows_KDP.copy_(tensors["best.rows"])
            self.best_mean_KP.copy_(tensors["best.mean"])
        except (ValueError, KeyError, RuntimeError) as error:
            raise TrainerError(
                "checkpoint_corrupt", f"step {self.step}: {error}", "resume from step 0", "infra"
            ) from error

    def _refuse_another_run(self, checkpoint: Checkpoint) -> None:
        for name in ("data", "model", "layout", "mean"):
            if checkpoint.facts.get(name) != self._identity[name]:
                raise TrainerError("spec_invalid", f"the {name} changed since step {checkpoint.step} of this run",
                                   "bring the files back as they were, or start the sweep anew")  # fmt: skip
        unknown = [trial for trial in self._identity["trials"] if trial not in checkpoint.facts["trials"]]
        if unknown:
            raise TrainerError("spec_invalid", f"{len(unknown)} fits are not part of the run, first {unknown[0]}",
                               "start them as a run of their own")  # fmt: skip
        self._identity["trials"] = checkpoint.facts["trials"]


def _starts(spec: RunSpec, fits: Sequence[Fit], engine: Engine) -> list[Tensor]:
    """Theta's start of each fit, [P]: a draw of its seed, or the adapter that the spec names, the same for all.

    Raises as `import_row`.
    """
    mean = spec.prior.mean
    if mean is None:
        return [engine.initial(fit.seed) for fit in fits]
    row_P = import_row(Path(mean.path), engine.lora, engine.loaded.name, engine.loaded.hash, mean.sha256)
    return [row_P] * len(fits)


def _prior(spec: RunSpec, engine: Engine) -> Prior:
    if spec.prior.family == "gaussian":
        return Gaussian()
    layout = engine.layout
    padding = layout.weights - layout.parameters
    return GroupLaplace([slot.size for slot in layout.slots] + ([padding] if padding else []))


def _fit_of(by_id: dict[str, Fit], trial_id: str, spec: RunSpec) -> Fit:
    """The fit that is asked for, or a stand-in for one that is not and that will leave at once."""
    return by_id.get(trial_id, Fit(trial_id, math.inf, spec.fits[0].seed))


def _number_or_none(value: float) -> float | None:
    return None if math.isinf(value) else value


def _with_number(entry: dict[str, Any]) -> dict[str, Any]:
    best = math.inf if entry["best_nats"] is None else entry["best_nats"]
    return entry | {"best_nats": best, "by_task": [TaskBest(**task) for task in entry.get("by_task", [])]}
