from bora.trainer.v1 import event_pb2 as _event_pb2
from bora.trainer.v1 import run_pb2 as _run_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RunState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RUN_STATE_UNSPECIFIED: _ClassVar[RunState]
    RUN_STATE_TRAINING: _ClassVar[RunState]
    RUN_STATE_STOPPING: _ClassVar[RunState]
    RUN_STATE_ENDED: _ClassVar[RunState]

class CancelMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CANCEL_MODE_UNSPECIFIED: _ClassVar[CancelMode]
    CANCEL_MODE_DRAIN: _ClassVar[CancelMode]
    CANCEL_MODE_KILL: _ClassVar[CancelMode]

class Finish(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FINISH_UNSPECIFIED: _ClassVar[Finish]
    FINISH_LENGTH: _ClassVar[Finish]
    FINISH_END: _ClassVar[Finish]
RUN_STATE_UNSPECIFIED: RunState
RUN_STATE_TRAINING: RunState
RUN_STATE_STOPPING: RunState
RUN_STATE_ENDED: RunState
CANCEL_MODE_UNSPECIFIED: CancelMode
CANCEL_MODE_DRAIN: CancelMode
CANCEL_MODE_KILL: CancelMode
FINISH_UNSPECIFIED: Finish
FINISH_LENGTH: Finish
FINISH_END: Finish

class DescribeRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class DescribeResponse(_message.Message):
    __slots__ = ("api_version", "instance_id", "devices", "held", "events_endpoint", "events_public_key", "versions", "free_memory_bytes")
    class VersionsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    API_VERSION_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    DEVICES_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    EVENTS_ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    EVENTS_PUBLIC_KEY_FIELD_NUMBER: _ClassVar[int]
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    FREE_MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    api_version: str
    instance_id: str
    devices: _containers.RepeatedCompositeFieldContainer[Device]
    held: HeldRun
    events_endpoint: str
    events_public_key: str
    versions: _containers.ScalarMap[str, str]
    free_memory_bytes: int
    def __init__(self, api_version: _Optional[str] = ..., instance_id: _Optional[str] = ..., devices: _Optional[_Iterable[_Union[Device, _Mapping]]] = ..., held: _Optional[_Union[HeldRun, _Mapping]] = ..., events_endpoint: _Optional[str] = ..., events_public_key: _Optional[str] = ..., versions: _Optional[_Mapping[str, str]] = ..., free_memory_bytes: _Optional[int] = ...) -> None: ...

class Device(_message.Message):
    __slots__ = ("name", "description", "memory_bytes", "free_memory_bytes", "dtype", "dtype_reason", "threads")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    FREE_MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    DTYPE_REASON_FIELD_NUMBER: _ClassVar[int]
    THREADS_FIELD_NUMBER: _ClassVar[int]
    name: str
    description: str
    memory_bytes: int
    free_memory_bytes: int
    dtype: _run_pb2.Dtype
    dtype_reason: str
    threads: int
    def __init__(self, name: _Optional[str] = ..., description: _Optional[str] = ..., memory_bytes: _Optional[int] = ..., free_memory_bytes: _Optional[int] = ..., dtype: _Optional[_Union[_run_pb2.Dtype, str]] = ..., dtype_reason: _Optional[str] = ..., threads: _Optional[int] = ...) -> None: ...

class HeldRun(_message.Message):
    __slots__ = ("run_id", "attempt", "last_seq", "state")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    LAST_SEQ_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    attempt: int
    last_seq: int
    state: RunState
    def __init__(self, run_id: _Optional[str] = ..., attempt: _Optional[int] = ..., last_seq: _Optional[int] = ..., state: _Optional[_Union[RunState, str]] = ...) -> None: ...

class InspectRequest(_message.Message):
    __slots__ = ("model", "data", "adapter", "adapter_folders", "same_shape")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    ADAPTER_FIELD_NUMBER: _ClassVar[int]
    ADAPTER_FOLDERS_FIELD_NUMBER: _ClassVar[int]
    SAME_SHAPE_FIELD_NUMBER: _ClassVar[int]
    model: _run_pb2.ModelSource
    data: _run_pb2.DataSpec
    adapter: _run_pb2.AdapterSpec
    adapter_folders: _containers.RepeatedScalarFieldContainer[str]
    same_shape: bool
    def __init__(self, model: _Optional[_Union[_run_pb2.ModelSource, _Mapping]] = ..., data: _Optional[_Union[_run_pb2.DataSpec, _Mapping]] = ..., adapter: _Optional[_Union[_run_pb2.AdapterSpec, _Mapping]] = ..., adapter_folders: _Optional[_Iterable[str]] = ..., same_shape: _Optional[bool] = ...) -> None: ...

class InspectResponse(_message.Message):
    __slots__ = ("tasks", "data_hash", "model_hash", "model_name", "base_parameters", "parameters_per_row", "adapted_modules", "files", "warnings", "bytes_per_row", "base_bytes", "train_tokens_per_second", "evaluate_tokens_per_second", "bytes_per_fit", "activation_bytes_per_token", "micro_batch_tokens", "working_bytes", "process_bytes", "prefix_cache_bytes", "free_memory_bytes", "kept_bytes_per_token", "device", "memory_bytes", "adapter_folders")
    TASKS_FIELD_NUMBER: _ClassVar[int]
    DATA_HASH_FIELD_NUMBER: _ClassVar[int]
    MODEL_HASH_FIELD_NUMBER: _ClassVar[int]
    MODEL_NAME_FIELD_NUMBER: _ClassVar[int]
    BASE_PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_PER_ROW_FIELD_NUMBER: _ClassVar[int]
    ADAPTED_MODULES_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    BYTES_PER_ROW_FIELD_NUMBER: _ClassVar[int]
    BASE_BYTES_FIELD_NUMBER: _ClassVar[int]
    TRAIN_TOKENS_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    EVALUATE_TOKENS_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    BYTES_PER_FIT_FIELD_NUMBER: _ClassVar[int]
    ACTIVATION_BYTES_PER_TOKEN_FIELD_NUMBER: _ClassVar[int]
    MICRO_BATCH_TOKENS_FIELD_NUMBER: _ClassVar[int]
    WORKING_BYTES_FIELD_NUMBER: _ClassVar[int]
    PROCESS_BYTES_FIELD_NUMBER: _ClassVar[int]
    PREFIX_CACHE_BYTES_FIELD_NUMBER: _ClassVar[int]
    FREE_MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    KEPT_BYTES_PER_TOKEN_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    ADAPTER_FOLDERS_FIELD_NUMBER: _ClassVar[int]
    tasks: _containers.RepeatedCompositeFieldContainer[Task]
    data_hash: str
    model_hash: str
    model_name: str
    base_parameters: int
    parameters_per_row: int
    adapted_modules: int
    files: _containers.RepeatedCompositeFieldContainer[SourceFile]
    warnings: _containers.RepeatedScalarFieldContainer[str]
    bytes_per_row: int
    base_bytes: int
    train_tokens_per_second: float
    evaluate_tokens_per_second: float
    bytes_per_fit: int
    activation_bytes_per_token: int
    micro_batch_tokens: int
    working_bytes: int
    process_bytes: int
    prefix_cache_bytes: int
    free_memory_bytes: int
    kept_bytes_per_token: int
    device: str
    memory_bytes: int
    adapter_folders: _containers.RepeatedCompositeFieldContainer[AdapterFolder]
    def __init__(self, tasks: _Optional[_Iterable[_Union[Task, _Mapping]]] = ..., data_hash: _Optional[str] = ..., model_hash: _Optional[str] = ..., model_name: _Optional[str] = ..., base_parameters: _Optional[int] = ..., parameters_per_row: _Optional[int] = ..., adapted_modules: _Optional[int] = ..., files: _Optional[_Iterable[_Union[SourceFile, _Mapping]]] = ..., warnings: _Optional[_Iterable[str]] = ..., bytes_per_row: _Optional[int] = ..., base_bytes: _Optional[int] = ..., train_tokens_per_second: _Optional[float] = ..., evaluate_tokens_per_second: _Optional[float] = ..., bytes_per_fit: _Optional[int] = ..., activation_bytes_per_token: _Optional[int] = ..., micro_batch_tokens: _Optional[int] = ..., working_bytes: _Optional[int] = ..., process_bytes: _Optional[int] = ..., prefix_cache_bytes: _Optional[int] = ..., free_memory_bytes: _Optional[int] = ..., kept_bytes_per_token: _Optional[int] = ..., device: _Optional[str] = ..., memory_bytes: _Optional[int] = ..., adapter_folders: _Optional[_Iterable[_Union[AdapterFolder, _Mapping]]] = ...) -> None: ...

class AdapterFolder(_message.Message):
    __slots__ = ("path", "sha256")
    PATH_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    path: str
    sha256: str
    def __init__(self, path: _Optional[str] = ..., sha256: _Optional[str] = ...) -> None: ...

class Task(_message.Message):
    __slots__ = ("name", "slug", "documents", "scored_tokens", "cut_documents", "cut_tokens")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SLUG_FIELD_NUMBER: _ClassVar[int]
    DOCUMENTS_FIELD_NUMBER: _ClassVar[int]
    SCORED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    CUT_DOCUMENTS_FIELD_NUMBER: _ClassVar[int]
    CUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    name: str
    slug: str
    documents: SplitCounts
    scored_tokens: SplitCounts
    cut_documents: int
    cut_tokens: int
    def __init__(self, name: _Optional[str] = ..., slug: _Optional[str] = ..., documents: _Optional[_Union[SplitCounts, _Mapping]] = ..., scored_tokens: _Optional[_Union[SplitCounts, _Mapping]] = ..., cut_documents: _Optional[int] = ..., cut_tokens: _Optional[int] = ...) -> None: ...

class SplitCounts(_message.Message):
    __slots__ = ("train", "validation", "test")
    TRAIN_FIELD_NUMBER: _ClassVar[int]
    VALIDATION_FIELD_NUMBER: _ClassVar[int]
    TEST_FIELD_NUMBER: _ClassVar[int]
    train: int
    validation: int
    test: int
    def __init__(self, train: _Optional[int] = ..., validation: _Optional[int] = ..., test: _Optional[int] = ...) -> None: ...

class SourceFile(_message.Message):
    __slots__ = ("path", "size", "modified_ms")
    PATH_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    MODIFIED_MS_FIELD_NUMBER: _ClassVar[int]
    path: str
    size: int
    modified_ms: int
    def __init__(self, path: _Optional[str] = ..., size: _Optional[int] = ..., modified_ms: _Optional[int] = ...) -> None: ...

class StartRequest(_message.Message):
    __slots__ = ("spec", "attempt", "first_seq", "lease_ms", "resume_step", "subscriber_key")
    SPEC_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    FIRST_SEQ_FIELD_NUMBER: _ClassVar[int]
    LEASE_MS_FIELD_NUMBER: _ClassVar[int]
    RESUME_STEP_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIBER_KEY_FIELD_NUMBER: _ClassVar[int]
    spec: _run_pb2.RunSpec
    attempt: int
    first_seq: int
    lease_ms: int
    resume_step: int
    subscriber_key: bytes
    def __init__(self, spec: _Optional[_Union[_run_pb2.RunSpec, _Mapping]] = ..., attempt: _Optional[int] = ..., first_seq: _Optional[int] = ..., lease_ms: _Optional[int] = ..., resume_step: _Optional[int] = ..., subscriber_key: _Optional[bytes] = ...) -> None: ...

class StartResponse(_message.Message):
    __slots__ = ("accepted", "last_seq")
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    LAST_SEQ_FIELD_NUMBER: _ClassVar[int]
    accepted: bool
    last_seq: int
    def __init__(self, accepted: _Optional[bool] = ..., last_seq: _Optional[int] = ...) -> None: ...

class RenewLeaseRequest(_message.Message):
    __slots__ = ("run_id", "attempt", "lease_ms", "stored_seq", "subscriber_key")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    LEASE_MS_FIELD_NUMBER: _ClassVar[int]
    STORED_SEQ_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIBER_KEY_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    attempt: int
    lease_ms: int
    stored_seq: int
    subscriber_key: bytes
    def __init__(self, run_id: _Optional[str] = ..., attempt: _Optional[int] = ..., lease_ms: _Optional[int] = ..., stored_seq: _Optional[int] = ..., subscriber_key: _Optional[bytes] = ...) -> None: ...

class RenewLeaseResponse(_message.Message):
    __slots__ = ("last_seq", "step", "memory_bytes", "state")
    LAST_SEQ_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    last_seq: int
    step: int
    memory_bytes: int
    state: RunState
    def __init__(self, last_seq: _Optional[int] = ..., step: _Optional[int] = ..., memory_bytes: _Optional[int] = ..., state: _Optional[_Union[RunState, str]] = ...) -> None: ...

class CancelRequest(_message.Message):
    __slots__ = ("run_id", "attempt", "mode")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    attempt: int
    mode: CancelMode
    def __init__(self, run_id: _Optional[str] = ..., attempt: _Optional[int] = ..., mode: _Optional[_Union[CancelMode, str]] = ...) -> None: ...

class CancelResponse(_message.Message):
    __slots__ = ("state",)
    STATE_FIELD_NUMBER: _ClassVar[int]
    state: RunState
    def __init__(self, state: _Optional[_Union[RunState, str]] = ...) -> None: ...

class ReadEventsRequest(_message.Message):
    __slots__ = ("run_id", "after_seq", "follow")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    AFTER_SEQ_FIELD_NUMBER: _ClassVar[int]
    FOLLOW_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    after_seq: int
    follow: bool
    def __init__(self, run_id: _Optional[str] = ..., after_seq: _Optional[int] = ..., follow: _Optional[bool] = ...) -> None: ...

class ReadEventsResponse(_message.Message):
    __slots__ = ("event",)
    EVENT_FIELD_NUMBER: _ClassVar[int]
    event: _event_pb2.Event
    def __init__(self, event: _Optional[_Union[_event_pb2.Event, _Mapping]] = ...) -> None: ...

class ReadArtifactRequest(_message.Message):
    __slots__ = ("run_id", "path", "offset")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    path: str
    offset: int
    def __init__(self, run_id: _Optional[str] = ..., path: _Optional[str] = ..., offset: _Optional[int] = ...) -> None: ...

class ReadArtifactResponse(_message.Message):
    __slots__ = ("chunk", "sha256")
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    chunk: bytes
    sha256: str
    def __init__(self, chunk: _Optional[bytes] = ..., sha256: _Optional[str] = ...) -> None: ...

class GenerateRequest(_message.Message):
    __slots__ = ("model", "adapters", "prompt", "seed", "max_tokens", "temperature", "top_p", "top_k")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    ADAPTERS_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    MAX_TOKENS_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    TOP_P_FIELD_NUMBER: _ClassVar[int]
    TOP_K_FIELD_NUMBER: _ClassVar[int]
    model: _run_pb2.ModelSource
    adapters: _containers.RepeatedCompositeFieldContainer[AdapterSource]
    prompt: str
    seed: int
    max_tokens: int
    temperature: float
    top_p: float
    top_k: int
    def __init__(self, model: _Optional[_Union[_run_pb2.ModelSource, _Mapping]] = ..., adapters: _Optional[_Iterable[_Union[AdapterSource, _Mapping]]] = ..., prompt: _Optional[str] = ..., seed: _Optional[int] = ..., max_tokens: _Optional[int] = ..., temperature: _Optional[float] = ..., top_p: _Optional[float] = ..., top_k: _Optional[int] = ...) -> None: ...

class AdapterSource(_message.Message):
    __slots__ = ("base", "folder")
    BASE_FIELD_NUMBER: _ClassVar[int]
    FOLDER_FIELD_NUMBER: _ClassVar[int]
    base: bool
    folder: str
    def __init__(self, base: _Optional[bool] = ..., folder: _Optional[str] = ...) -> None: ...

class GenerateResponse(_message.Message):
    __slots__ = ("adapter", "text", "token", "finish")
    ADAPTER_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    FINISH_FIELD_NUMBER: _ClassVar[int]
    adapter: int
    text: str
    token: int
    finish: Finish
    def __init__(self, adapter: _Optional[int] = ..., text: _Optional[str] = ..., token: _Optional[int] = ..., finish: _Optional[_Union[Finish, str]] = ...) -> None: ...

class MergeRequest(_message.Message):
    __slots__ = ("model", "folder", "dtype")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    FOLDER_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    model: _run_pb2.ModelSource
    folder: str
    dtype: _run_pb2.Dtype
    def __init__(self, model: _Optional[_Union[_run_pb2.ModelSource, _Mapping]] = ..., folder: _Optional[str] = ..., dtype: _Optional[_Union[_run_pb2.Dtype, str]] = ...) -> None: ...

class MergeResponse(_message.Message):
    __slots__ = ("files", "chunk")
    FILES_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    files: _containers.RepeatedCompositeFieldContainer[_event_pb2.Artifact]
    chunk: bytes
    def __init__(self, files: _Optional[_Iterable[_Union[_event_pb2.Artifact, _Mapping]]] = ..., chunk: _Optional[bytes] = ...) -> None: ...
