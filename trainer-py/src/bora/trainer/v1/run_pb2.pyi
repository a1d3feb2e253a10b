from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Dtype(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DTYPE_UNSPECIFIED: _ClassVar[Dtype]
    DTYPE_AUTO: _ClassVar[Dtype]
    DTYPE_FLOAT32: _ClassVar[Dtype]
    DTYPE_BFLOAT16: _ClassVar[Dtype]

class TableFormat(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TABLE_FORMAT_UNSPECIFIED: _ClassVar[TableFormat]
    TABLE_FORMAT_CSV: _ClassVar[TableFormat]
    TABLE_FORMAT_JSONL: _ClassVar[TableFormat]
    TABLE_FORMAT_PARQUET: _ClassVar[TableFormat]

class SplitBy(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SPLIT_BY_UNSPECIFIED: _ClassVar[SplitBy]
    SPLIT_BY_SEED: _ClassVar[SplitBy]
    SPLIT_BY_DATE: _ClassVar[SplitBy]
    SPLIT_BY_NONE: _ClassVar[SplitBy]

class AdapterFamily(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ADAPTER_FAMILY_UNSPECIFIED: _ClassVar[AdapterFamily]
    ADAPTER_FAMILY_LORA: _ClassVar[AdapterFamily]
    ADAPTER_FAMILY_RSLORA: _ClassVar[AdapterFamily]

class PriorFamily(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PRIOR_FAMILY_UNSPECIFIED: _ClassVar[PriorFamily]
    PRIOR_FAMILY_GAUSSIAN: _ClassVar[PriorFamily]
    PRIOR_FAMILY_GROUP_LAPLACE: _ClassVar[PriorFamily]

class BestStep(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    BEST_STEP_UNSPECIFIED: _ClassVar[BestStep]
    BEST_STEP_TRIAL: _ClassVar[BestStep]
    BEST_STEP_TASK: _ClassVar[BestStep]

class Sampler(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SAMPLER_UNSPECIFIED: _ClassVar[Sampler]
    SAMPLER_GROUPS: _ClassVar[Sampler]
    SAMPLER_DOCUMENTS: _ClassVar[Sampler]
    SAMPLER_UNIFORM: _ClassVar[Sampler]

class LearningRateDecay(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LEARNING_RATE_DECAY_UNSPECIFIED: _ClassVar[LearningRateDecay]
    LEARNING_RATE_DECAY_CONSTANT: _ClassVar[LearningRateDecay]
    LEARNING_RATE_DECAY_LINEAR: _ClassVar[LearningRateDecay]
    LEARNING_RATE_DECAY_COSINE: _ClassVar[LearningRateDecay]
DTYPE_UNSPECIFIED: Dtype
DTYPE_AUTO: Dtype
DTYPE_FLOAT32: Dtype
DTYPE_BFLOAT16: Dtype
TABLE_FORMAT_UNSPECIFIED: TableFormat
TABLE_FORMAT_CSV: TableFormat
TABLE_FORMAT_JSONL: TableFormat
TABLE_FORMAT_PARQUET: TableFormat
SPLIT_BY_UNSPECIFIED: SplitBy
SPLIT_BY_SEED: SplitBy
SPLIT_BY_DATE: SplitBy
SPLIT_BY_NONE: SplitBy
ADAPTER_FAMILY_UNSPECIFIED: AdapterFamily
ADAPTER_FAMILY_LORA: AdapterFamily
ADAPTER_FAMILY_RSLORA: AdapterFamily
PRIOR_FAMILY_UNSPECIFIED: PriorFamily
PRIOR_FAMILY_GAUSSIAN: PriorFamily
PRIOR_FAMILY_GROUP_LAPLACE: PriorFamily
BEST_STEP_UNSPECIFIED: BestStep
BEST_STEP_TRIAL: BestStep
BEST_STEP_TASK: BestStep
SAMPLER_UNSPECIFIED: Sampler
SAMPLER_GROUPS: Sampler
SAMPLER_DOCUMENTS: Sampler
SAMPLER_UNIFORM: Sampler
LEARNING_RATE_DECAY_UNSPECIFIED: LearningRateDecay
LEARNING_RATE_DECAY_CONSTANT: LearningRateDecay
LEARNING_RATE_DECAY_LINEAR: LearningRateDecay
LEARNING_RATE_DECAY_COSINE: LearningRateDecay

class RunSpec(_message.Message):
    __slots__ = ("run_id", "model", "data", "adapter", "prior", "train", "fits", "evaluate_base", "execution", "float32_check", "engine", "evaluate")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    ADAPTER_FIELD_NUMBER: _ClassVar[int]
    PRIOR_FIELD_NUMBER: _ClassVar[int]
    TRAIN_FIELD_NUMBER: _ClassVar[int]
    FITS_FIELD_NUMBER: _ClassVar[int]
    EVALUATE_BASE_FIELD_NUMBER: _ClassVar[int]
    EXECUTION_FIELD_NUMBER: _ClassVar[int]
    FLOAT32_CHECK_FIELD_NUMBER: _ClassVar[int]
    ENGINE_FIELD_NUMBER: _ClassVar[int]
    EVALUATE_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    model: ModelSource
    data: DataSpec
    adapter: AdapterSpec
    prior: PriorSpec
    train: TrainSpec
    fits: _containers.RepeatedCompositeFieldContainer[Fit]
    evaluate_base: bool
    execution: Execution
    float32_check: bool
    engine: EngineSpec
    evaluate: EvaluateSpec
    def __init__(self, run_id: _Optional[str] = ..., model: _Optional[_Union[ModelSource, _Mapping]] = ..., data: _Optional[_Union[DataSpec, _Mapping]] = ..., adapter: _Optional[_Union[AdapterSpec, _Mapping]] = ..., prior: _Optional[_Union[PriorSpec, _Mapping]] = ..., train: _Optional[_Union[TrainSpec, _Mapping]] = ..., fits: _Optional[_Iterable[_Union[Fit, _Mapping]]] = ..., evaluate_base: _Optional[bool] = ..., execution: _Optional[_Union[Execution, _Mapping]] = ..., float32_check: _Optional[bool] = ..., engine: _Optional[_Union[EngineSpec, _Mapping]] = ..., evaluate: _Optional[_Union[EvaluateSpec, _Mapping]] = ...) -> None: ...

class EvaluateSpec(_message.Message):
    __slots__ = ("adapters",)
    ADAPTERS_FIELD_NUMBER: _ClassVar[int]
    adapters: _containers.RepeatedCompositeFieldContainer[EvaluatedAdapter]
    def __init__(self, adapters: _Optional[_Iterable[_Union[EvaluatedAdapter, _Mapping]]] = ...) -> None: ...

class EvaluatedAdapter(_message.Message):
    __slots__ = ("path", "sha256")
    PATH_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    path: str
    sha256: str
    def __init__(self, path: _Optional[str] = ..., sha256: _Optional[str] = ...) -> None: ...

class EngineSpec(_message.Message):
    __slots__ = ("compile", "cuda_graph")
    COMPILE_FIELD_NUMBER: _ClassVar[int]
    CUDA_GRAPH_FIELD_NUMBER: _ClassVar[int]
    compile: bool
    cuda_graph: bool
    def __init__(self, compile: _Optional[bool] = ..., cuda_graph: _Optional[bool] = ...) -> None: ...

class Fit(_message.Message):
    __slots__ = ("trial_id", "tau", "seed")
    TRIAL_ID_FIELD_NUMBER: _ClassVar[int]
    TAU_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    trial_id: str
    tau: float
    seed: int
    def __init__(self, trial_id: _Optional[str] = ..., tau: _Optional[float] = ..., seed: _Optional[int] = ...) -> None: ...

class Execution(_message.Message):
    __slots__ = ("dtype", "dtype_reason", "threads", "rows_per_micro_batch", "device", "prefix_cache", "evaluation_tokens", "compile", "cuda_graph")
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    DTYPE_REASON_FIELD_NUMBER: _ClassVar[int]
    THREADS_FIELD_NUMBER: _ClassVar[int]
    ROWS_PER_MICRO_BATCH_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    PREFIX_CACHE_FIELD_NUMBER: _ClassVar[int]
    EVALUATION_TOKENS_FIELD_NUMBER: _ClassVar[int]
    COMPILE_FIELD_NUMBER: _ClassVar[int]
    CUDA_GRAPH_FIELD_NUMBER: _ClassVar[int]
    dtype: Dtype
    dtype_reason: str
    threads: int
    rows_per_micro_batch: int
    device: str
    prefix_cache: bool
    evaluation_tokens: int
    compile: bool
    cuda_graph: bool
    def __init__(self, dtype: _Optional[_Union[Dtype, str]] = ..., dtype_reason: _Optional[str] = ..., threads: _Optional[int] = ..., rows_per_micro_batch: _Optional[int] = ..., device: _Optional[str] = ..., prefix_cache: _Optional[bool] = ..., evaluation_tokens: _Optional[int] = ..., compile: _Optional[bool] = ..., cuda_graph: _Optional[bool] = ...) -> None: ...

class ModelSource(_message.Message):
    __slots__ = ("package", "hub", "path", "download", "dtype")
    PACKAGE_FIELD_NUMBER: _ClassVar[int]
    HUB_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    DOWNLOAD_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    package: str
    hub: str
    path: str
    download: bool
    dtype: Dtype
    def __init__(self, package: _Optional[str] = ..., hub: _Optional[str] = ..., path: _Optional[str] = ..., download: _Optional[bool] = ..., dtype: _Optional[_Union[Dtype, str]] = ...) -> None: ...

class DataSpec(_message.Message):
    __slots__ = ("shakespeare", "table", "tasks", "split", "max_tokens")
    SHAKESPEARE_FIELD_NUMBER: _ClassVar[int]
    TABLE_FIELD_NUMBER: _ClassVar[int]
    TASKS_FIELD_NUMBER: _ClassVar[int]
    SPLIT_FIELD_NUMBER: _ClassVar[int]
    MAX_TOKENS_FIELD_NUMBER: _ClassVar[int]
    shakespeare: ShakespeareSource
    table: TableSource
    tasks: TaskSelection
    split: SplitSpec
    max_tokens: int
    def __init__(self, shakespeare: _Optional[_Union[ShakespeareSource, _Mapping]] = ..., table: _Optional[_Union[TableSource, _Mapping]] = ..., tasks: _Optional[_Union[TaskSelection, _Mapping]] = ..., split: _Optional[_Union[SplitSpec, _Mapping]] = ..., max_tokens: _Optional[int] = ...) -> None: ...

class ShakespeareSource(_message.Message):
    __slots__ = ("min_characters",)
    MIN_CHARACTERS_FIELD_NUMBER: _ClassVar[int]
    min_characters: int
    def __init__(self, min_characters: _Optional[int] = ...) -> None: ...

class TableSource(_message.Message):
    __slots__ = ("format", "path", "columns")
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    format: TableFormat
    path: str
    columns: Columns
    def __init__(self, format: _Optional[_Union[TableFormat, str]] = ..., path: _Optional[str] = ..., columns: _Optional[_Union[Columns, _Mapping]] = ...) -> None: ...

class Columns(_message.Message):
    __slots__ = ("task", "text", "prompt", "completion", "id", "date", "only_task")
    TASK_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    COMPLETION_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    DATE_FIELD_NUMBER: _ClassVar[int]
    ONLY_TASK_FIELD_NUMBER: _ClassVar[int]
    task: str
    text: str
    prompt: str
    completion: str
    id: str
    date: str
    only_task: str
    def __init__(self, task: _Optional[str] = ..., text: _Optional[str] = ..., prompt: _Optional[str] = ..., completion: _Optional[str] = ..., id: _Optional[str] = ..., date: _Optional[str] = ..., only_task: _Optional[str] = ...) -> None: ...

class TaskSelection(_message.Message):
    __slots__ = ("top", "names", "all", "min_documents", "train_documents", "sizes")
    TOP_FIELD_NUMBER: _ClassVar[int]
    NAMES_FIELD_NUMBER: _ClassVar[int]
    ALL_FIELD_NUMBER: _ClassVar[int]
    MIN_DOCUMENTS_FIELD_NUMBER: _ClassVar[int]
    TRAIN_DOCUMENTS_FIELD_NUMBER: _ClassVar[int]
    SIZES_FIELD_NUMBER: _ClassVar[int]
    top: int
    names: Names
    all: bool
    min_documents: int
    train_documents: _containers.RepeatedScalarFieldContainer[int]
    sizes: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, top: _Optional[int] = ..., names: _Optional[_Union[Names, _Mapping]] = ..., all: _Optional[bool] = ..., min_documents: _Optional[int] = ..., train_documents: _Optional[_Iterable[int]] = ..., sizes: _Optional[_Iterable[int]] = ...) -> None: ...

class Names(_message.Message):
    __slots__ = ("names",)
    NAMES_FIELD_NUMBER: _ClassVar[int]
    names: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, names: _Optional[_Iterable[str]] = ...) -> None: ...

class SplitSpec(_message.Message):
    __slots__ = ("by", "seed", "train", "validation", "test")
    BY_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    TRAIN_FIELD_NUMBER: _ClassVar[int]
    VALIDATION_FIELD_NUMBER: _ClassVar[int]
    TEST_FIELD_NUMBER: _ClassVar[int]
    by: SplitBy
    seed: int
    train: float
    validation: float
    test: float
    def __init__(self, by: _Optional[_Union[SplitBy, str]] = ..., seed: _Optional[int] = ..., train: _Optional[float] = ..., validation: _Optional[float] = ..., test: _Optional[float] = ...) -> None: ...

class AdapterSpec(_message.Message):
    __slots__ = ("family", "rank", "alpha", "targets", "layers")
    FAMILY_FIELD_NUMBER: _ClassVar[int]
    RANK_FIELD_NUMBER: _ClassVar[int]
    ALPHA_FIELD_NUMBER: _ClassVar[int]
    TARGETS_FIELD_NUMBER: _ClassVar[int]
    LAYERS_FIELD_NUMBER: _ClassVar[int]
    family: AdapterFamily
    rank: int
    alpha: float
    targets: _containers.RepeatedScalarFieldContainer[str]
    layers: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, family: _Optional[_Union[AdapterFamily, str]] = ..., rank: _Optional[int] = ..., alpha: _Optional[float] = ..., targets: _Optional[_Iterable[str]] = ..., layers: _Optional[_Iterable[int]] = ...) -> None: ...

class PriorSpec(_message.Message):
    __slots__ = ("family", "tau0", "mean")
    FAMILY_FIELD_NUMBER: _ClassVar[int]
    TAU0_FIELD_NUMBER: _ClassVar[int]
    MEAN_FIELD_NUMBER: _ClassVar[int]
    family: PriorFamily
    tau0: float
    mean: PriorMean
    def __init__(self, family: _Optional[_Union[PriorFamily, str]] = ..., tau0: _Optional[float] = ..., mean: _Optional[_Union[PriorMean, _Mapping]] = ...) -> None: ...

class PriorMean(_message.Message):
    __slots__ = ("path", "fixed", "sha256")
    PATH_FIELD_NUMBER: _ClassVar[int]
    FIXED_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    path: str
    fixed: bool
    sha256: str
    def __init__(self, path: _Optional[str] = ..., fixed: _Optional[bool] = ..., sha256: _Optional[str] = ...) -> None: ...

class TrainSpec(_message.Message):
    __slots__ = ("max_steps", "patience", "evaluate_every", "checkpoint_every", "sampler", "tokens_per_task", "documents_per_task", "validation_documents", "learning_rate", "warmup_steps", "decay", "beta1", "beta2", "epsilon", "best_step")
    MAX_STEPS_FIELD_NUMBER: _ClassVar[int]
    PATIENCE_FIELD_NUMBER: _ClassVar[int]
    EVALUATE_EVERY_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_EVERY_FIELD_NUMBER: _ClassVar[int]
    SAMPLER_FIELD_NUMBER: _ClassVar[int]
    TOKENS_PER_TASK_FIELD_NUMBER: _ClassVar[int]
    DOCUMENTS_PER_TASK_FIELD_NUMBER: _ClassVar[int]
    VALIDATION_DOCUMENTS_FIELD_NUMBER: _ClassVar[int]
    LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
    WARMUP_STEPS_FIELD_NUMBER: _ClassVar[int]
    DECAY_FIELD_NUMBER: _ClassVar[int]
    BETA1_FIELD_NUMBER: _ClassVar[int]
    BETA2_FIELD_NUMBER: _ClassVar[int]
    EPSILON_FIELD_NUMBER: _ClassVar[int]
    BEST_STEP_FIELD_NUMBER: _ClassVar[int]
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
    best_step: BestStep
    def __init__(self, max_steps: _Optional[int] = ..., patience: _Optional[int] = ..., evaluate_every: _Optional[int] = ..., checkpoint_every: _Optional[int] = ..., sampler: _Optional[_Union[Sampler, str]] = ..., tokens_per_task: _Optional[int] = ..., documents_per_task: _Optional[int] = ..., validation_documents: _Optional[int] = ..., learning_rate: _Optional[float] = ..., warmup_steps: _Optional[int] = ..., decay: _Optional[_Union[LearningRateDecay, str]] = ..., beta1: _Optional[float] = ..., beta2: _Optional[float] = ..., epsilon: _Optional[float] = ..., best_step: _Optional[_Union[BestStep, str]] = ...) -> None: ...
