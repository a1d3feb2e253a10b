"""The merged model is the base with the adapter in it, for plain transformers, and never half there."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_models import FAMILIES, adapter, documents, loaded, plain_nats, random_rows, tiny_model
from tiny_runs import Tiny
from transformers import AutoModelForCausalLM, AutoTokenizer

from bora.trainer.v1 import run_pb2, trainer_pb2
from bora_trainer.adapters.lora import Lora
from bora_trainer.adapters.peft_files import write_adapter
from bora_trainer.adapters.peft_loading import attached
from bora_trainer.artifacts import sha256_of
from bora_trainer.engine import Engine
from bora_trainer.errors import TrainerError
from bora_trainer.evaluate import evaluate
from bora_trainer.merge import MergeSpec, merge
from bora_trainer.spec import AdapterSpec


@pytest.mark.parametrize("kind", ["lora", "rslora"])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_merged_model_gives_the_nats_of_base_and_adapter(tmp_path: Path, family: str, kind: str) -> None:
    engine = Engine(loaded(tiny_model(family)), adapter(family, kind))
    (row_P,) = random_rows(engine, 1)
    write_adapter(tmp_path / "adapter", row_P, engine.lora, "tiny")
    held_out = documents([9, 14, 5])
    expected = [nats for _, nats in evaluate(engine, row_P[None], [held_out])]
    with attached(loaded(tiny_model(family)), [tmp_path / "adapter"]) as adapters:
        adapters.merged(0).save_pretrained(tmp_path / "merged")
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "merged").eval()
    for document, nats in zip(held_out, expected, strict=True):
        there = plain_nats(plain, document).item()
        assert abs(there - nats) < 1e-3 and abs(there / nats - 1) < 1e-3
    assert type(plain) is type(tiny_model(family)) and not hasattr(plain, "peft_config")


@pytest.fixture
def adapter_folder(tiny: Tiny, tmp_path: Path) -> Path:
    base = tiny.loaded()
    lora = Lora.of(base.model, AdapterSpec("lora", 4, 4.0, ("q_proj", "v_proj"), ()))
    row_P = torch.zeros(lora.layout.weights)
    row_P[: lora.layout.parameters] = torch.randn(lora.layout.parameters, generator=torch.Generator().manual_seed(3))
    write_adapter(tmp_path / "adapter", row_P, lora, base.name)
    return tmp_path / "adapter"


def spec(tiny: Tiny, folder: Path, dtype: run_pb2.Dtype = run_pb2.DTYPE_AUTO) -> MergeSpec:
    model = run_pb2.ModelSource(path=str(tiny.folder / "model"), dtype=run_pb2.DTYPE_FLOAT32)
    return MergeSpec.from_proto(trainer_pb2.MergeRequest(model=model, folder=str(folder), dtype=dtype))


def test_what_is_written_is_listed_and_as_precise_as_asked(tiny: Tiny, adapter_folder: Path, tmp_path: Path) -> None:
    for dtype, expected in (
        (run_pb2.DTYPE_AUTO, torch.float32), (run_pb2.DTYPE_FLOAT32, torch.float32),
        (run_pb2.DTYPE_BFLOAT16, torch.bfloat16),
    ):  # fmt: skip
        folder = tmp_path / str(dtype)
        folder.mkdir()
        listed = merge(spec(tiny, adapter_folder, dtype), folder).files
        assert sorted(file.path for file in listed) == sorted(path.name for path in folder.iterdir())
        assert {"config.json", "model.safetensors", "tokenizer.json"} <= {file.path for file in listed}
        for file in listed:
            assert (file.size, file.sha256) == ((folder / file.path).stat().st_size, sha256_of(folder / file.path))
        assert {tensor.dtype for tensor in load_file(folder / "model.safetensors").values()} == {expected}
        assert AutoModelForCausalLM.from_pretrained(folder).dtype == expected
        assert AutoTokenizer.from_pretrained(folder)("word1 word2")["input_ids"] == [4, 5]  # pyright: ignore


def test_nothing_is_written_without_room(tiny: Tiny, adapter_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "merged").mkdir()
    with pytest.raises(TrainerError, match=r"needs 0\.1 GiB at .*, 0\.0 GiB are free") as raised:
        merge(spec(tiny, adapter_folder), tmp_path / "merged", lambda _: 2**20)
    assert raised.value.code == "disk_full" and list((tmp_path / "merged").iterdir()) == []


def test_a_request_without_a_folder_or_with_no_dtype_is_refused(tiny: Tiny, adapter_folder: Path) -> None:
    for message in (
        trainer_pb2.MergeRequest(model=run_pb2.ModelSource(path="x", dtype=run_pb2.DTYPE_AUTO)),
        trainer_pb2.MergeRequest(model=run_pb2.ModelSource(path="x", dtype=run_pb2.DTYPE_AUTO), folder="y"),
    ):
        with pytest.raises(TrainerError) as raised:
            MergeSpec.from_proto(message)
        assert raised.value.code == "spec_invalid"
