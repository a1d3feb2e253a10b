"""What a run trains, as frozen data. The only reader of request messages.

Each class mirrors the message of the same name in proto/bora/trainer/v1/run.proto and is made by its `from_proto`,
which checks everything the trainer relies on and raises `TrainerError("spec_invalid")` with the field, the value and
what was expected. Enum values are the words of the experiment file. Defaults live in the experiment file's schema,
never here.
"""

import math
import re
import uuid
from dataclasses import dataclass
from typing import Literal

from bora.trainer.v1 import run_pb2
from bora_trainer.data_spec import (
    Columns,
    DataSpec,
    SelectBy,
    ShakespeareSource,
    SplitBy,
    SplitSpec,
    TableFormat,
    TableSource,
    TaskSelection,
)
from bora_trainer.errors import TrainerError
from bora_trainer.spec_checks import at_least_one, positive, require, word

__all__ = [
    "AdapterSpec",
    "Columns",
    "DataSpec",
    "EngineSpec",
    "EvaluatedAdapter",
    "Execution",
    "Fit",
    "ModelSource",
    "PriorMean",
    "PriorSpec",
    "RunSpec",
    "SelectBy",
    "ShakespeareSource",
    "SplitBy",
    "SplitSpec",
    "TableFormat",
    "TableSource",
    "TaskSelection",
    "TrainSpec",
]

Dtype = Literal["auto", "float32", "bfloat16"]
AdapterFamily = Literal["lora", "rslora"]
PriorFamily = Literal["gaussian", "group-laplace"]
Sampler = Literal["groups", "documents", "uniform"]
LearningRateDecay = Literal["constant", "linear", "cosine"]
BestStep = Literal["trial", "task"]

_DTYPES: dict[int, Dtype] = {
    run_pb2.DTYPE_AUTO: "auto",
    run_pb2.DTYPE_FLOAT32: "float32",
    run_pb2.DTYPE_BFLOAT16: "bfloat16",
}
_ADAPTERS: dict[int, AdapterFamily] = {run_pb2.ADAPTER_FAMILY_LORA: "lora", run_pb2.ADAPTER_FAMILY_RSLORA: "rslora"}
_PRIORS: dict[int, PriorFamily] = {
    run_pb2.PRIOR_FAMILY_GAUSSIAN: "gaussian",
    run_pb2.PRIOR_FAMILY_GROUP_LAPLACE: "group-laplace",
}
_SAMPLERS: dict[int, Sampler] = {
    run_pb2.SAMPLER_GROUPS: "groups",
    run_pb2.SAMPLER_DOCUMENTS: "documents",
    run_pb2.SAMPLER_UNIFORM: "uniform",
}
_DECAYS: dict[int, LearningRateDecay] = {
    run_pb2.LEARNING_RATE_DECAY_CONSTANT: "constant",
    run_pb2.LEARNING_RATE_DECAY_LINEAR: "linear",
    run_pb2.LEARNING_RATE_DECAY_COSINE: "cosine",
}
_BEST_STEPS: dict[int, BestStep] = {
    run_pb2.BEST_STEP_UNSPECIFIED: "trial",
    run_pb2.BEST_STEP_TRIAL: "trial",
    run_pb2.BEST_STEP_TASK: "task",
}
_FOLDER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True, slots=True)
class Fit:
    """One trial: all tasks at one prior precision `tau` (nats per squared parameter unit, in [0, inf]) and one seed."""

    trial_id: str
    tau: float
    seed: int

    @classmethod
    def from_proto(cls, message: run_pb2.Fit) -> "Fit":
        require(bool(_FOLDER_NAME.fullmatch(message.trial_id)), "fits.trial_id", message.trial_id, "a folder name")
        require(message.tau >= 0, "fits.tau", message.tau, "a number in [0, infinity]")
        return cls(message.trial_id, message.tau, message.seed)


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """Other ways of computing the same numbers: layers through torch.compile, micro-batches as recorded CUDA graphs."""

    compile: bool = False
    cuda_graph: bool = False


@dataclass(frozen=True, slots=True)
class Execution:
    """Choices that may change rounding: made by the first attempt, then kept."""

    dtype: Dtype
    dtype_reason: str
    threads: int
    rows_per_micro_batch: int
    device: str
    prefix_cache: bool  # whether the run may read, and from its start on whether it does read, prefix_cache.py's file
    evaluation_tokens: int = 0  # of a micro-batch without gradients; 0: as many as suit the device
    engine: EngineSpec = EngineSpec()

    @property
    def buckets(self) -> bool:
        """Whether micro-batches are padded to few shapes: a GPU's kernels and graphs are made anew for each."""
        return self.device != "cpu" and (self.engine.compile or self.engine.cuda_graph)

    @classmethod
    def from_proto(cls, message: run_pb2.Execution) -> "Execution":
        dtype = word(_DTYPES, message.dtype, "execution.dtype")
        require(dtype != "auto", "execution.dtype", dtype, "float32 or bfloat16")
        at_least_one(message.threads, "execution.threads")
        at_least_one(message.rows_per_micro_batch, "execution.rows_per_micro_batch")
        require(message.device != "", "execution.device", message.device, 'a device such as "cpu"')
        return cls(
            dtype, message.dtype_reason, message.threads, message.rows_per_micro_batch, message.device,
            message.prefix_cache, message.evaluation_tokens, EngineSpec(message.compile, message.cuda_graph),
        )  # fmt: skip

    def to_proto(self) -> run_pb2.Execution:
        dtype = next(number for number, word in _DTYPES.items() if word == self.dtype)
        return run_pb2.Execution(
            dtype=run_pb2.Dtype.Name(dtype),  # pyright: ignore[reportArgumentType]
            dtype_reason=self.dtype_reason,
            threads=self.threads,
            rows_per_micro_batch=self.rows_per_micro_batch,
            device=self.device,
            prefix_cache=self.prefix_cache,
            evaluation_tokens=self.evaluation_tokens,
            compile=self.engine.compile,
            cuda_graph=self.engine.cuda_graph,
        )


@dataclass(frozen=True, slots=True)
class ModelSource:
    """The frozen base: `value` is a package name, a hub id or a folder, as `kind` says."""

    kind: Literal["package", "hub", "path"]
    value: str
    download: bool
    dtype: Dtype

    @classmethod
    def from_proto(cls, message: run_pb2.ModelSource) -> "ModelSource":
        kind = message.WhichOneof("source")
        if kind is None:
            raise TrainerError("spec_invalid", "model has no source", "set one of package, hub, path")
        value = getattr(message, kind)
        require(value != "", f"model.{kind}", value, "a name")
        return cls(kind, value, message.download, word(_DTYPES, message.dtype, "model.dtype"))


@dataclass(frozen=True, slots=True)
class AdapterSpec:
    """LoRA of `rank` with scale alpha/rank ("lora") or alpha/sqrt(rank) ("rslora") on modules named like a target."""

    family: AdapterFamily
    rank: int
    alpha: float
    targets: tuple[str, ...]
    layers: tuple[int, ...]

    @classmethod
    def from_proto(cls, message: run_pb2.AdapterSpec) -> "AdapterSpec":
        family = word(_ADAPTERS, message.family, "adapter.family")
        rank = at_least_one(message.rank, "adapter.rank")
        targets = tuple(message.targets)
        require(len(targets) > 0 and all(targets), "adapter.targets", targets, "at least one module name")
        return cls(family, rank, positive(message.alpha, "adapter.alpha"), targets, tuple(message.layers))


@dataclass(frozen=True, slots=True)
class PriorMean:
    """Where Theta starts: an adapter folder, whose content has this hash ("": whatever is there).

    `fixed`: Theta stays there, theta_d ~ N(Theta, I / tau) with Theta known.
    """

    path: str
    fixed: bool
    sha256: str = ""

    @classmethod
    def from_proto(cls, message: run_pb2.PriorMean) -> "PriorMean":
        require(message.path != "", "prior.mean.path", message.path, "a folder")
        return cls(message.path, message.fixed, message.sha256)


@dataclass(frozen=True, slots=True)
class PriorSpec:
    """`tau0` is the precision of Theta around its start in nats per squared parameter unit; 0 is flat.

    `mean` None: Theta starts from a draw of the fit's seed.
    """

    family: PriorFamily
    tau0: float
    mean: PriorMean | None = None

    @property
    def fixed(self) -> bool:
        """Whether Theta is known, so that tasks do not move each other."""
        return self.mean is not None and self.mean.fixed

    @classmethod
    def from_proto(cls, message: run_pb2.PriorSpec) -> "PriorSpec":
        require(math.isfinite(message.tau0) and message.tau0 >= 0, "prior.tau0", message.tau0, "a finite number >= 0")
        mean = PriorMean.from_proto(message.mean) if message.HasField("mean") else None
        spec = cls(word(_PRIORS, message.family, "prior.family"), message.tau0, mean)
        require(not spec.fixed or spec.tau0 == 0, "prior.tau0", spec.tau0, "0 beside a fixed prior mean")
        return spec


@dataclass(frozen=True, slots=True)
class EvaluatedAdapter:
    """An adapter folder to score, whose content has this hash ("": whatever is there); path "": the base alone."""

    path: str
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class TrainSpec:
    max_steps: int
    patience: int
    evaluate_every: int
    checkpoint_every: int
    sampler: Sampler
    tokens_per_task: int
    documents_per_task: int
    validation_documents: int
    learning_rate: float
    warmup_steps: int
    decay: LearningRateDecay
    beta1: float
    beta2: float
    epsilon: float
    best_step: BestStep = "trial"  # "task": each task's own

    @classmethod
    def from_proto(cls, message: run_pb2.TrainSpec) -> "TrainSpec":
        for field in ("max_steps", "patience", "evaluate_every", "checkpoint_every"):
            at_least_one(getattr(message, field), f"train.{field}")
        every, checkpoint = message.evaluate_every, message.checkpoint_every
        require(
            checkpoint % every == 0, "train.checkpoint_every", checkpoint, f"a multiple of evaluate_every = {every}"
        )
        for field in ("beta1", "beta2"):
            require(0 <= getattr(message, field) < 1, f"train.{field}", getattr(message, field), "a number in [0, 1)")
        positive(message.learning_rate, "train.learning_rate")
        positive(message.epsilon, "train.epsilon")
        sampler = word(_SAMPLERS, message.sampler, "train.sampler")
        sized = message.tokens_per_task >= 1 or (sampler != "groups" and message.documents_per_task >= 1)
        require(sized, "train.tokens_per_task", message.tokens_per_task, "at least 1 token, or documents_per_task")
        return cls(
            message.max_steps, message.patience, every, checkpoint, sampler, message.tokens_per_task,
            message.documents_per_task, message.validation_documents, message.learning_rate, message.warmup_steps,
            word(_DECAYS, message.decay, "train.decay"), message.beta1, message.beta2, message.epsilon,
            word(_BEST_STEPS, message.best_step, "train.best_step"),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class RunSpec:
    """One run: every fit for all tasks of `data` on one frozen base. `execution` is None on the first attempt."""

    run_id: str
    model: ModelSource
    data: DataSpec
    adapter: AdapterSpec
    prior: PriorSpec
    train: TrainSpec
    fits: tuple[Fit, ...]
    evaluate_base: bool
    execution: Execution | None
    float32_check: bool = False
    engine: EngineSpec = EngineSpec()
    evaluate: tuple[EvaluatedAdapter, ...] | None = None  # one a fit: these are scored, nothing is trained

    @classmethod
    def from_proto(cls, message: run_pb2.RunSpec) -> "RunSpec":
        try:
            uuid.UUID(message.run_id)
        except ValueError:
            require(False, "run_id", message.run_id, "a UUID")
        data, train = DataSpec.from_proto(message.data), TrainSpec.from_proto(message.train)
        fits = tuple(Fit.from_proto(fit) for fit in message.fits)
        require(len(fits) > 0, "fits", fits, "at least one")
        ids = [fit.trial_id for fit in fits]
        require(len(set(ids)) == len(ids), "fits.trial_id", ids, "distinct ids")
        if train.sampler == "groups":
            fits_all = f"at least data.max_tokens = {data.max_tokens}, so that every document fits in a group"
            enough = train.tokens_per_task >= data.max_tokens
            require(enough, "train.tokens_per_task", train.tokens_per_task, fits_all)
        spec = cls(
            message.run_id, ModelSource.from_proto(message.model), data, AdapterSpec.from_proto(message.adapter),
            PriorSpec.from_proto(message.prior), train, fits, message.evaluate_base,
            Execution.from_proto(message.execution) if message.HasField("execution") else None, message.float32_check,
            EngineSpec(message.engine.compile, message.engine.cuda_graph),
            _evaluated(message.evaluate) if message.HasField("evaluate") else None,
        )  # fmt: skip
        _check_together(spec)
        return spec


def _evaluated(message: run_pb2.EvaluateSpec) -> tuple[EvaluatedAdapter, ...]:
    return tuple(EvaluatedAdapter(adapter.path, adapter.sha256) for adapter in message.adapters)


def _check_together(spec: RunSpec) -> None:
    """What one part cannot know of another."""
    if spec.evaluate is not None:
        count = len(spec.fits)
        require(len(spec.evaluate) == count, "evaluate.adapters", len(spec.evaluate), f"{count}, one a fit")
        return
    require(
        spec.data.split.by != "none", "data.split.by", spec.data.split.by, "seed or date: there is nothing to train"
    )
    if spec.train.best_step == "task":
        tied = [fit.tau for fit in spec.fits if fit.tau > 0 and not spec.prior.fixed]
        apart = "trial, or every tau 0, or a fixed prior mean: tasks move each other otherwise"
        require(not tied, "train.best_step", f"task with tau {tied}", apart)
