"""Adapters as PEFT's folders: plain transformers and PEFT read what is written, and equal bits come back."""

import dataclasses
import hashlib
import json
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from tiny_models import FAMILIES, adapter, documents, loaded, plain_nats, random_rows, tiny_model

from bora_trainer.adapters.lora import Lora
from bora_trainer.adapters.peft_files import CONFIG, WEIGHTS, read_adapter, write_adapter, write_adapters
from bora_trainer.engine import Engine
from bora_trainer.errors import TrainerError
from bora_trainer.evaluate import evaluate


@pytest.mark.parametrize("layers", [(), (0, 2)])
@pytest.mark.parametrize("kind", ["lora", "rslora"])
@pytest.mark.parametrize("family", FAMILIES)
def test_peft_gives_an_exported_adapter_the_same_nats(
    tmp_path: Path, family: str, kind: str, layers: tuple[int, ...]
) -> None:
    tiny_model(family).save_pretrained(tmp_path / "base")
    engine = Engine(loaded(tiny_model(family)), adapter(family, kind, layers=layers))
    (row,) = random_rows(engine, 1)
    write_adapter(tmp_path / "adapter", row, engine.lora, str(tmp_path / "base"))
    twin = PeftModel.from_pretrained(tiny_model(family), tmp_path / "adapter")
    assert twin.peft_config["default"].base_model_name_or_path == str(tmp_path / "base")
    held_out = documents([9, 14, 5])
    for document, nats in evaluate(engine, row[None], [held_out]):
        assert abs(nats - plain_nats(twin, document).item()) < 1e-4
    before, after = evaluate(engine, None, [held_out]), evaluate(engine, row[None], [held_out])
    assert all(abs(a[1] - b[1]) > 1e-2 for a, b in zip(before, after, strict=True)), "the adapter must matter"


@pytest.mark.parametrize("family", ["llama-untied", "gpt2"])
def test_an_adapter_comes_back_with_equal_bits(tmp_path: Path, family: str) -> None:
    engine = Engine(loaded(tiny_model(family)), adapter(family))
    (row,) = random_rows(engine, 1)
    for _ in range(2):  # the second replaces the first
        write_adapter(tmp_path / "adapter", row, engine.lora, "base")
    assert torch.equal(read_adapter(tmp_path / "adapter", engine.lora), row)
    assert [path.name for path in tmp_path.iterdir()] == ["adapter"]


def test_peft_saves_what_is_read_with_equal_bits(tmp_path: Path) -> None:
    engine = Engine(loaded(tiny_model("qwen2")), adapter("qwen2"))
    (row,) = random_rows(engine, 1)
    write_adapter(tmp_path / "adapter", row, engine.lora, "base")
    PeftModel.from_pretrained(tiny_model("qwen2"), tmp_path / "adapter").save_pretrained(str(tmp_path / "again"))
    assert torch.equal(read_adapter(tmp_path / "again", engine.lora), row)


def test_a_foreign_adapter_is_refused(tmp_path: Path) -> None:
    lora = Lora.of(tiny_model("llama-tied"), adapter("llama-tied"))
    write_adapter(tmp_path / "adapter", torch.zeros(lora.layout.weights), lora, "base")
    for change, field in (
        ({"rank": 4}, "r is"),
        ({"alpha": 6.0}, "lora_alpha is"),
        ({"family": "rslora"}, "use_rslora is"),
    ):
        other = Lora.of(tiny_model("llama-tied"), dataclasses.replace(lora.spec, **change))
        with pytest.raises(TrainerError, match=field) as raised:
            read_adapter(tmp_path / "adapter", other)
        assert raised.value.code == "adapter_mismatch"
    tensors = load_file(tmp_path / "adapter" / WEIGHTS)
    tensors.pop("base_model.model.model.layers.1.self_attn.q_proj.lora_A.weight")
    save_file(tensors, tmp_path / "adapter" / WEIGHTS)
    with pytest.raises(TrainerError, match=r"1 tensors .*layers\.1\.self_attn\.q_proj\.lora_A"):
        read_adapter(tmp_path / "adapter", lora)


@pytest.mark.parametrize(
    ("file", "content"), [(WEIGHTS, b"\x08\0\0\0\0\0\0\0{broken}"), (CONFIG, b"{"), (CONFIG, None)]
)
def test_an_unreadable_adapter_is_refused(tmp_path: Path, file: str, content: bytes | None) -> None:
    lora = Lora.of(tiny_model("opt"), adapter("opt"))
    write_adapter(tmp_path / "adapter", torch.zeros(lora.layout.weights), lora, "base")
    (tmp_path / "adapter" / file).unlink()
    if content is not None:
        (tmp_path / "adapter" / file).write_bytes(content)
    with pytest.raises(TrainerError) as raised:
        read_adapter(tmp_path / "adapter", lora)
    assert raised.value.code == "adapter_unreadable"


def test_the_configuration_names_no_default_it_does_not_mean(tmp_path: Path) -> None:
    lora = Lora.of(tiny_model("gpt2"), adapter("gpt2"))
    write_adapter(tmp_path / "adapter", torch.zeros(lora.layout.weights), lora, "gpt2")
    config = json.loads((tmp_path / "adapter" / CONFIG).read_text())
    assert config["fan_in_fan_out"] is True and config["lora_alpha"] == 5 and config["lora_dropout"] == 0


def test_a_hundred_adapters_are_the_files_that_they_are_one_by_one_and_peft_loads_them(tmp_path: Path) -> None:
    engine = Engine(loaded(tiny_model("qwen2")), adapter("qwen2"))
    rows_GP = random_rows(engine, 100)
    rows = {f"task-{n}": row_P for n, row_P in enumerate(rows_GP)}
    write_adapters(tmp_path / "adapters", {"another": rows_GP[0]}, engine.lora, "base")
    written = write_adapters(tmp_path / "adapters", rows, engine.lora, "base")  # replaces them
    assert sorted(path.name for path in (tmp_path / "adapters").iterdir()) == sorted(rows)
    for name in rows:
        write_adapter(tmp_path / "alone", rows[name], engine.lora, "base")
        for file in written[name]:
            content = (tmp_path / "alone" / file.file.name).read_bytes()
            assert file.file.parent == tmp_path / "adapters" / name and file.file.read_bytes() == content
            assert (file.size, file.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    for name in ("task-0", "task-57", "task-99"):
        twin = PeftModel.from_pretrained(tiny_model("qwen2"), tmp_path / "adapters" / name)
        for document, nats in evaluate(engine, rows[name][None], [documents([9, 14])]):
            assert abs(nats - plain_nats(twin, document).item()) < 1e-4


def test_adapters_that_a_killed_process_left_unfinished_are_gone_after_the_next_export(tmp_path: Path) -> None:
    lora = Lora.of(tiny_model("opt"), adapter("opt"))
    unfinished = tmp_path / ".adapters-x1y2/anna"
    unfinished.mkdir(parents=True)
    (unfinished / CONFIG).write_bytes(b"{")
    write_adapters(tmp_path / "adapters", {"anna": torch.zeros(lora.layout.weights)}, lora, "base")
    assert [path.name for path in tmp_path.iterdir()] == ["adapters"]


def test_one_adapter_that_cannot_be_written_leaves_those_of_before(tmp_path: Path) -> None:
    lora = Lora.of(tiny_model("opt"), adapter("opt"))
    row = torch.zeros(lora.layout.weights)
    write_adapters(tmp_path / "adapters", {"anna": row}, lora, "base")
    with pytest.raises(FileNotFoundError):
        write_adapters(tmp_path / "adapters", {"anna": row + 1, "no/such": row}, lora, "base")
    assert torch.equal(read_adapter(tmp_path / "adapters/anna", lora), row)
    assert [path.name for path in tmp_path.iterdir()] == ["adapters"]
