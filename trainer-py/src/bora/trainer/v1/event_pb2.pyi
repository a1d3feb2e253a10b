import datetime

from bora.trainer.v1 import run_pb2 as _run_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Scored(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SCORED_UNSPECIFIED: _ClassVar[Scored]
    SCORED_TASK: _ClassVar[Scored]
    SCORED_PRIOR_MEAN: _ClassVar[Scored]
    SCORED_BASE: _ClassVar[Scored]

class Split(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SPLIT_UNSPECIFIED: _ClassVar[Split]
    SPLIT_TRAIN: _ClassVar[Split]
    SPLIT_VALIDATION: _ClassVar[Split]
    SPLIT_TEST: _ClassVar[Split]

class Ended(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ENDED_UNSPECIFIED: _ClassVar[Ended]
    ENDED_VALIDATION: _ClassVar[Ended]
    ENDED_LIMIT: _ClassVar[Ended]

class Domain(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DOMAIN_UNSPECIFIED: _ClassVar[Domain]
    DOMAIN_USER: _ClassVar[Domain]
    DOMAIN_OOM: _ClassVar[Domain]
    DOMAIN_INFRA: _ClassVar[Domain]
    DOMAIN_CONTROLLER: _ClassVar[Domain]
SCORED_UNSPECIFIED: Scored
SCORED_TASK: Scored
SCORED_PRIOR_MEAN: Scored
SCORED_BASE: Scored
SPLIT_UNSPECIFIED: Split
SPLIT_TRAIN: Split
SPLIT_VALIDATION: Split
SPLIT_TEST: Split
ENDED_UNSPECIFIED: Ended
ENDED_VALIDATION: Ended
ENDED_LIMIT: Ended
DOMAIN_UNSPECIFIED: Domain
DOMAIN_USER: Domain
DOMAIN_OOM: Domain
DOMAIN_INFRA: Domain
DOMAIN_CONTROLLER: Domain

class Event(_message.Message):
    __slots__ = ("run_id", "seq", "attempt", "at", "trial_id", "run_started", "steps_done", "evaluated", "checkpoint_saved", "trial_done", "trial_failed", "run_done", "run_failed", "prefix_cache_filled", "micro_batch_halved")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    TRIAL_ID_FIELD_NUMBER: _ClassVar[int]
    RUN_STARTED_FIELD_NUMBER: _ClassVar[int]
    STEPS_DONE_FIELD_NUMBER: _ClassVar[int]
    EVALUATED_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_SAVED_FIELD_NUMBER: _ClassVar[int]
    TRIAL_DONE_FIELD_NUMBER: _ClassVar[int]
    TRIAL_FAILED_FIELD_NUMBER: _ClassVar[int]
    RUN_DONE_FIELD_NUMBER: _ClassVar[int]
    RUN_FAILED_FIELD_NUMBER: _ClassVar[int]
    PREFIX_CACHE_FILLED_FIELD_NUMBER: _ClassVar[int]
    MICRO_BATCH_HALVED_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    seq: int
    attempt: int
    at: _timestamp_pb2.Timestamp
    trial_id: str
    run_started: RunStarted
    steps_done: StepsDone
    evaluated: Evaluated
    checkpoint_saved: CheckpointSaved
    trial_done: TrialDone
    trial_failed: TrialFailed
    run_done: RunDone
    run_failed: RunFailed
    prefix_cache_filled: PrefixCacheFilled
    micro_batch_halved: MicroBatchHalved
    def __init__(self, run_id: _Optional[str] = ..., seq: _Optional[int] = ..., attempt: _Optional[int] = ..., at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., trial_id: _Optional[str] = ..., run_started: _Optional[_Union[RunStarted, _Mapping]] = ..., steps_done: _Optional[_Union[StepsDone, _Mapping]] = ..., evaluated: _Optional[_Union[Evaluated, _Mapping]] = ..., checkpoint_saved: _Optional[_Union[CheckpointSaved, _Mapping]] = ..., trial_done: _Optional[_Union[TrialDone, _Mapping]] = ..., trial_failed: _Optional[_Union[TrialFailed, _Mapping]] = ..., run_done: _Optional[_Union[RunDone, _Mapping]] = ..., run_failed: _Optional[_Union[RunFailed, _Mapping]] = ..., prefix_cache_filled: _Optional[_Union[PrefixCacheFilled, _Mapping]] = ..., micro_batch_halved: _Optional[_Union[MicroBatchHalved, _Mapping]] = ...) -> None: ...

class RunStarted(_message.Message):
    __slots__ = ("execution", "step", "rows", "parameters_per_row", "steps_per_epoch", "versions", "prefix_cache")
    class VersionsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    EXECUTION_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_PER_ROW_FIELD_NUMBER: _ClassVar[int]
    STEPS_PER_EPOCH_FIELD_NUMBER: _ClassVar[int]
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    PREFIX_CACHE_FIELD_NUMBER: _ClassVar[int]
    execution: _run_pb2.Execution
    step: int
    rows: int
    parameters_per_row: int
    steps_per_epoch: int
    versions: _containers.ScalarMap[str, str]
    prefix_cache: str
    def __init__(self, execution: _Optional[_Union[_run_pb2.Execution, _Mapping]] = ..., step: _Optional[int] = ..., rows: _Optional[int] = ..., parameters_per_row: _Optional[int] = ..., steps_per_epoch: _Optional[int] = ..., versions: _Optional[_Mapping[str, str]] = ..., prefix_cache: _Optional[str] = ...) -> None: ...

class PrefixCacheFilled(_message.Message):
    __slots__ = ("tokens", "of_tokens", "seconds")
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    OF_TOKENS_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    tokens: int
    of_tokens: int
    seconds: float
    def __init__(self, tokens: _Optional[int] = ..., of_tokens: _Optional[int] = ..., seconds: _Optional[float] = ...) -> None: ...

class StepsDone(_message.Message):
    __slots__ = ("step", "steps", "tokens", "seconds", "fits", "real", "padded")
    STEP_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    FITS_FIELD_NUMBER: _ClassVar[int]
    REAL_FIELD_NUMBER: _ClassVar[int]
    PADDED_FIELD_NUMBER: _ClassVar[int]
    step: int
    steps: int
    tokens: int
    seconds: float
    fits: _containers.RepeatedCompositeFieldContainer[FitProgress]
    real: int
    padded: int
    def __init__(self, step: _Optional[int] = ..., steps: _Optional[int] = ..., tokens: _Optional[int] = ..., seconds: _Optional[float] = ..., fits: _Optional[_Iterable[_Union[FitProgress, _Mapping]]] = ..., real: _Optional[int] = ..., padded: _Optional[int] = ...) -> None: ...

class FitProgress(_message.Message):
    __slots__ = ("trial_id", "nats_per_token")
    TRIAL_ID_FIELD_NUMBER: _ClassVar[int]
    NATS_PER_TOKEN_FIELD_NUMBER: _ClassVar[int]
    trial_id: str
    nats_per_token: float
    def __init__(self, trial_id: _Optional[str] = ..., nats_per_token: _Optional[float] = ...) -> None: ...

class Evaluated(_message.Message):
    __slots__ = ("scored", "split", "step", "tasks", "best", "complete", "seconds")
    SCORED_FIELD_NUMBER: _ClassVar[int]
    SPLIT_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    TASKS_FIELD_NUMBER: _ClassVar[int]
    BEST_FIELD_NUMBER: _ClassVar[int]
    COMPLETE_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    scored: Scored
    split: Split
    step: int
    tasks: _containers.RepeatedCompositeFieldContainer[TaskNats]
    best: bool
    complete: bool
    seconds: float
    def __init__(self, scored: _Optional[_Union[Scored, str]] = ..., split: _Optional[_Union[Split, str]] = ..., step: _Optional[int] = ..., tasks: _Optional[_Iterable[_Union[TaskNats, _Mapping]]] = ..., best: _Optional[bool] = ..., complete: _Optional[bool] = ..., seconds: _Optional[float] = ...) -> None: ...

class TaskNats(_message.Message):
    __slots__ = ("task", "nats", "tokens")
    TASK_FIELD_NUMBER: _ClassVar[int]
    NATS_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    task: int
    nats: float
    tokens: int
    def __init__(self, task: _Optional[int] = ..., nats: _Optional[float] = ..., tokens: _Optional[int] = ...) -> None: ...

class MicroBatchHalved(_message.Message):
    __slots__ = ("step", "rows_per_micro_batch", "evaluation_tokens", "message")
    STEP_FIELD_NUMBER: _ClassVar[int]
    ROWS_PER_MICRO_BATCH_FIELD_NUMBER: _ClassVar[int]
    EVALUATION_TOKENS_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    step: int
    rows_per_micro_batch: int
    evaluation_tokens: int
    message: str
    def __init__(self, step: _Optional[int] = ..., rows_per_micro_batch: _Optional[int] = ..., evaluation_tokens: _Optional[int] = ..., message: _Optional[str] = ...) -> None: ...

class CheckpointSaved(_message.Message):
    __slots__ = ("step", "artifact")
    STEP_FIELD_NUMBER: _ClassVar[int]
    ARTIFACT_FIELD_NUMBER: _ClassVar[int]
    step: int
    artifact: Artifact
    def __init__(self, step: _Optional[int] = ..., artifact: _Optional[_Union[Artifact, _Mapping]] = ...) -> None: ...

class Artifact(_message.Message):
    __slots__ = ("path", "size", "sha256")
    PATH_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    path: str
    size: int
    sha256: str
    def __init__(self, path: _Optional[str] = ..., size: _Optional[int] = ..., sha256: _Optional[str] = ...) -> None: ...

class TrialDone(_message.Message):
    __slots__ = ("steps", "best_step", "ended", "validation_nats_per_token", "manifest", "float32_check")
    STEPS_FIELD_NUMBER: _ClassVar[int]
    BEST_STEP_FIELD_NUMBER: _ClassVar[int]
    ENDED_FIELD_NUMBER: _ClassVar[int]
    VALIDATION_NATS_PER_TOKEN_FIELD_NUMBER: _ClassVar[int]
    MANIFEST_FIELD_NUMBER: _ClassVar[int]
    FLOAT32_CHECK_FIELD_NUMBER: _ClassVar[int]
    steps: int
    best_step: int
    ended: Ended
    validation_nats_per_token: float
    manifest: Artifact
    float32_check: Float32Check
    def __init__(self, steps: _Optional[int] = ..., best_step: _Optional[int] = ..., ended: _Optional[_Union[Ended, str]] = ..., validation_nats_per_token: _Optional[float] = ..., manifest: _Optional[_Union[Artifact, _Mapping]] = ..., float32_check: _Optional[_Union[Float32Check, _Mapping]] = ...) -> None: ...

class Float32Check(_message.Message):
    __slots__ = ("nats_per_token", "float32_nats_per_token", "largest_relative_difference")
    NATS_PER_TOKEN_FIELD_NUMBER: _ClassVar[int]
    FLOAT32_NATS_PER_TOKEN_FIELD_NUMBER: _ClassVar[int]
    LARGEST_RELATIVE_DIFFERENCE_FIELD_NUMBER: _ClassVar[int]
    nats_per_token: float
    float32_nats_per_token: float
    largest_relative_difference: float
    def __init__(self, nats_per_token: _Optional[float] = ..., float32_nats_per_token: _Optional[float] = ..., largest_relative_difference: _Optional[float] = ...) -> None: ...

class TrialFailed(_message.Message):
    __slots__ = ("failure", "step")
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    failure: Failure
    step: int
    def __init__(self, failure: _Optional[_Union[Failure, _Mapping]] = ..., step: _Optional[int] = ...) -> None: ...

class RunDone(_message.Message):
    __slots__ = ("manifest", "seconds", "peak_memory_bytes")
    MANIFEST_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    PEAK_MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    manifest: Artifact
    seconds: float
    peak_memory_bytes: int
    def __init__(self, manifest: _Optional[_Union[Artifact, _Mapping]] = ..., seconds: _Optional[float] = ..., peak_memory_bytes: _Optional[int] = ...) -> None: ...

class RunFailed(_message.Message):
    __slots__ = ("failure", "drained")
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    DRAINED_FIELD_NUMBER: _ClassVar[int]
    failure: Failure
    drained: bool
    def __init__(self, failure: _Optional[_Union[Failure, _Mapping]] = ..., drained: _Optional[bool] = ...) -> None: ...

class Failure(_message.Message):
    __slots__ = ("code", "domain", "message", "hint")
    CODE_FIELD_NUMBER: _ClassVar[int]
    DOMAIN_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    HINT_FIELD_NUMBER: _ClassVar[int]
    code: str
    domain: Domain
    message: str
    hint: str
    def __init__(self, code: _Optional[str] = ..., domain: _Optional[_Union[Domain, str]] = ..., message: _Optional[str] = ..., hint: _Optional[str] = ...) -> None: ...
