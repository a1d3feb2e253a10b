"""What a plan is told about data, model and device agrees with what a run would read."""

import dataclasses
from pathlib import Path

import pytest
from texts import data_message, letter_tokenizer, speech_rows, write_jsonl
from tiny_models import CONFIGS
from transformers import LlamaForCausalLM

from bora.trainer.v1 import run_pb2, trainer_pb2
from bora_trainer.data import load_dataset
from bora_trainer.device import choose_execution
from bora_trainer.engine import Engine
from bora_trainer.errors import TrainerError
from bora_trainer.footprint import Footprint, measure
from bora_trainer.inspect import inspect
from bora_trainer.prefix_cache import distinct_documents
from bora_trainer.spec import DataSpec

HIDDEN, LAYERS, RANK, KEYS = 32, 3, 4, 16


@pytest.fixture
def request_message(tmp_path: Path) -> trainer_pb2.InspectRequest:
    tokenizer = letter_tokenizer()
    model = LlamaForCausalLM(CONFIGS["llama-tied"])
    model.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    path = write_jsonl(tmp_path / "x.jsonl", speech_rows({"Ann": 30, "Bo": 12}))
    return trainer_pb2.InspectRequest(
        model=run_pb2.ModelSource(path=str(tmp_path / "model"), dtype=run_pb2.DTYPE_FLOAT32),
        data=data_message(str(path)),
        adapter=run_pb2.AdapterSpec(
            family=run_pb2.ADAPTER_FAMILY_LORA, rank=RANK, alpha=8, targets=["q_proj", "v_proj"]
        ),
    )


def test_an_inspection_agrees_with_what_a_run_would_read(request_message: trainer_pb2.InspectRequest, tmp_path: Path):
    answer = inspect(request_message)
    dataset = load_dataset(DataSpec.from_proto(request_message.data), letter_tokenizer())
    assert answer.data_hash == dataset.hash and list(answer.warnings) == list(dataset.warnings)
    assert [(task.name, task.slug) for task in answer.tasks] == [("Ann", "ann"), ("Bo", "bo")]
    for told, task in zip(answer.tasks, dataset.tasks, strict=True):
        assert told.documents.train == len(task.train) and told.documents.test == len(task.test)
        assert told.scored_tokens.validation == task.scored("validation")
        assert (told.cut_documents, told.cut_tokens) == (task.cut_documents, task.cut_tokens)
    assert answer.adapted_modules == 2 * LAYERS
    assert answer.parameters_per_row == LAYERS * RANK * ((HIDDEN + HIDDEN) + (HIDDEN + KEYS))
    assert answer.bytes_per_row == answer.parameters_per_row * 24, "nothing to pad here"
    assert answer.base_bytes >= 4 * answer.base_parameters > 0
    assert len(answer.model_hash) == 64
    assert answer.train_tokens_per_second > 0 and answer.evaluate_tokens_per_second > 0
    named = {file.path: file for file in answer.files}
    data = tmp_path / "x.jsonl"
    assert named[str(data.resolve())].size == data.stat().st_size
    assert named[str(data.resolve())].modified_ms == data.stat().st_mtime_ns // 1_000_000
    assert any("model" in path and path.endswith(".safetensors") for path in named)


def test_the_footprint_is_told_as_it_was_measured(request_message: trainer_pb2.InspectRequest, monkeypatch):
    """On the engine of the inspection itself, with the longest document that trains."""
    measured: list[tuple[int, Footprint]] = []

    def recorded(engine: Engine, document_tokens: int) -> Footprint:
        measured.append((document_tokens, measure(engine, document_tokens)))
        return measured[-1][1]

    monkeypatch.setattr("bora_trainer.inspect.measure", recorded)
    answer = inspect(request_message)
    [(tokens, found)] = measured
    dataset = load_dataset(DataSpec.from_proto(request_message.data), letter_tokenizer())
    assert tokens == max(len(document.tokens) for task in dataset.tasks for document in task.train)
    told = (
        answer.base_bytes, answer.bytes_per_row, answer.bytes_per_fit, answer.activation_bytes_per_token,
        answer.kept_bytes_per_token, answer.working_bytes, answer.process_bytes,
    )  # fmt: skip
    assert told == dataclasses.astuple(found)
    assert min(told) > 0
    assert answer.device == "cpu" and 0 < answer.free_memory_bytes <= answer.memory_bytes


def test_a_micro_batch_is_bounded_as_that_of_a_run(request_message: trainer_pb2.InspectRequest, tmp_path: Path):
    answer = inspect(request_message)
    per_token = LAYERS * (8 * HIDDEN + 4 * CONFIGS["llama-tied"].intermediate_size) * 4
    for tokens_per_row in (7, 64, 5000):
        sizes = {"rows": 10**6, "tokens_per_row": tokens_per_row, "activation_bytes_per_token": per_token}
        chosen = choose_execution("float32", None, **sizes)
        assert chosen.rows_per_micro_batch == max(1, answer.micro_batch_tokens // tokens_per_row)


def test_kept_states_are_told_where_layers_lie_below_the_adapters(
    request_message: trainer_pb2.InspectRequest, monkeypatch
):
    assert inspect(request_message).prefix_cache_bytes == 0, "every layer is adapted"
    request_message.adapter.layers[:] = [LAYERS - 1]
    dataset = load_dataset(DataSpec.from_proto(request_message.data), letter_tokenizer())
    tokens = sum(len(document.tokens) for document in distinct_documents(dataset.tasks))
    assert inspect(request_message).prefix_cache_bytes == tokens * HIDDEN * 4
    monkeypatch.setenv("BORA_PREFIX_CACHE_BYTES", "0")
    assert inspect(request_message).prefix_cache_bytes == 0


def test_wrong_data_is_refused_before_the_model_is_loaded(request_message: trainer_pb2.InspectRequest, monkeypatch):
    monkeypatch.setattr("bora_trainer.inspect.load_model", lambda *_: pytest.fail("loaded"))
    request_message.data.table.path += ".gone"
    with pytest.raises(TrainerError) as raised:
        inspect(request_message)
    assert raised.value.code == "data_missing"


def test_a_document_longer_than_the_model_is_refused(request_message: trainer_pb2.InspectRequest, tmp_path: Path):
    rows = speech_rows({"Ann": 30, "Bo": 12}, length=200)
    write_jsonl(tmp_path / "x.jsonl", rows)
    request_message.data.max_tokens = 100
    with pytest.raises(TrainerError) as raised:
        inspect(request_message)
    assert raised.value.code == "document_too_long"
