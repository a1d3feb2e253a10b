"""Checkpoints: bits come back as they went, and whatever is torn or damaged is noticed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from bora_trainer import artifacts, checkpoint
from bora_trainer.checkpoint import Checkpoint


def make(step: int) -> Checkpoint:
    generator = torch.Generator().manual_seed(step)
    tensors = {"rows": torch.randn(3, 50, generator=generator), "steps": torch.tensor(step)}
    return Checkpoint(step, tensors, {"evaluated_step": step, "best": 1 / 3})


def equal(a: Checkpoint, b: Checkpoint) -> bool:
    same = all(torch.equal(a.tensors[name], b.tensors[name]) for name in a.tensors)
    return same and (a.step, a.facts, set(a.tensors)) == (b.step, b.facts, set(b.tensors))


def test_what_is_saved_comes_back_bit_for_bit(tmp_path: Path):
    artifact = checkpoint.save(tmp_path, make(50))
    assert artifact.path == "checkpoints/step-000050/files.json"
    assert artifact == artifacts.describe(tmp_path, tmp_path / artifact.path)
    found = checkpoint.load(tmp_path, 50)
    assert found is not None and equal(found, make(50))


def test_the_list_names_the_other_files_with_size_and_hash(tmp_path: Path):
    artifact = checkpoint.save(tmp_path, make(50))
    listed = json.loads((tmp_path / artifact.path).read_bytes())["files"]
    assert [Path(entry["path"]).name for entry in listed] == ["state.safetensors", "state.json"]
    for entry in listed:
        assert entry == artifacts.as_json(artifacts.describe(tmp_path, tmp_path / entry["path"]))


def test_the_last_two_are_kept(tmp_path: Path):
    for step in (50, 100, 150):
        checkpoint.save(tmp_path, make(step))
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["step-000100", "step-000150"]


def test_nothing_saved_is_nothing_loaded(tmp_path: Path):
    assert checkpoint.load(tmp_path, 100) is None


def truncate(folder: Path) -> None:
    file = folder / "state.safetensors"
    file.write_bytes(file.read_bytes()[:-7])


def flip(folder: Path) -> None:
    file = folder / "state.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def forget_a_file(folder: Path) -> None:
    (folder / "state.json").unlink()


def tear_the_list(folder: Path) -> None:
    file = folder / "files.json"
    file.write_bytes(file.read_bytes()[:20])


def shorten_the_list(folder: Path) -> None:
    file = folder / "files.json"
    file.write_text(json.dumps({"files": json.loads(file.read_bytes())["files"][:1]}))


DAMAGES = [truncate, flip, forget_a_file, tear_the_list, shorten_the_list]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_damaged_checkpoint_is_noticed_and_the_one_before_is_used(tmp_path: Path, damage, caplog):
    checkpoint.save(tmp_path, make(50))
    checkpoint.save(tmp_path, make(100))
    damage(tmp_path / "checkpoints/step-000100")
    found = checkpoint.load(tmp_path, 100)
    assert found is not None and equal(found, make(50))
    assert "checkpoint_corrupt" in caplog.text
    assert not (tmp_path / "checkpoints/step-000100").exists()


def test_a_crash_while_saving_leaves_the_checkpoint_before(tmp_path: Path, monkeypatch):
    checkpoint.save(tmp_path, make(50))

    def crash(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(checkpoint.os, "replace", crash)
        with pytest.raises(OSError, match="No space left"):
            checkpoint.save(tmp_path, make(100))
    found = checkpoint.load(tmp_path, 100)
    assert found is not None and equal(found, make(50))
    checkpoint.save(tmp_path, make(100))
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["step-000050", "step-000100"]
