"""Files that fuzzing found a reader for that it should not have: each is refused with a code, or passed over."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from bora_trainer import checkpoint, healthcheck
from bora_trainer.adapters.imported import spec_of
from bora_trainer.adapters.peft_files import CONFIG, read_config
from bora_trainer.data.tables import read_table
from bora_trainer.errors import TrainerError
from bora_trainer.model_files import resolve
from bora_trainer.spec import Columns, ModelSource, TableSource

DEEP = "[" * 100_000


@pytest.mark.parametrize("name", ["step-0000015", "step-\u0660\u0660\u0660\u0660\u0661\u0665", "step-000015"])
def test_what_is_only_named_like_a_checkpoint_is_none(tmp_path: Path, name: str) -> None:
    """A number with another zero in front, in other digits, and a file where a folder should be."""
    checkpoint.save(tmp_path, checkpoint.Checkpoint(10, {"rows": torch.zeros(2)}, {}))
    (tmp_path / "checkpoints" / name).write_bytes(b"")
    found = checkpoint.load(tmp_path, 20)
    assert found is not None and found.step == 10


@pytest.mark.parametrize("file", [checkpoint.LIST, checkpoint.FACTS])
def test_json_that_is_nested_too_deeply_is_a_damaged_checkpoint(tmp_path: Path, file: str) -> None:
    for step in (10, 20):
        checkpoint.save(tmp_path, checkpoint.Checkpoint(step, {"rows": torch.zeros(2)}, {}))
    (tmp_path / "checkpoints/step-000020" / file).write_text(DEEP)
    found = checkpoint.load(tmp_path, 20)
    assert found is not None and found.step == 10


def test_json_that_is_nested_too_deeply_is_no_row_and_no_adapter(tmp_path: Path) -> None:
    (tmp_path / "data.jsonl").write_text(f'{{"task": "a", "text": "b"}}\n{DEEP}\n')
    (tmp_path / CONFIG).write_text(DEEP)
    source = TableSource("jsonl", str(tmp_path / "data.jsonl"), Columns("task", "text", "", "", "", ""))
    with pytest.raises(TrainerError, match="row 2 is not JSON") as rows:
        list(read_table(source))
    with pytest.raises(TrainerError) as adapter:
        read_config(tmp_path)
    assert (rows.value.code, adapter.value.code) == ("data_malformed", "adapter_unreadable")


@pytest.mark.parametrize("changes", [{"r": float("inf")}, {"r": 0}, {"lora_alpha": float("nan")}, {"lora_alpha": -1}])
def test_an_adapter_of_no_rank_or_no_scale_is_unreadable(tmp_path: Path, changes: dict[str, float]) -> None:
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["q_proj"], **changes}
    (tmp_path / CONFIG).write_text(json.dumps(config))
    with pytest.raises(TrainerError) as refused:
        spec_of(tmp_path)
    assert refused.value.code == "adapter_unreadable"


@pytest.mark.parametrize(
    "index",
    [
        *('{"weight_map": {"a": "../elsewhere.safetensors"}}', '{"weight_map": {"a": "/etc/passwd"}}', "{}", "[]"),
        *('{"weight_map": {"a": 1}}', '{"weight_map": 5}', "no JSON", DEEP, '{"weight_map": {"a": ["b"]}}'),
        f'{{"weight_map": {{"a": "{"x" * 5_000}"}}}}',
    ],
)
def test_an_index_lists_files_of_its_own_folder_or_the_model_is_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, index: str
) -> None:
    monkeypatch.setenv("BORA_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "model"
    folder.mkdir()
    for file in (folder / "model.safetensors", tmp_path / "elsewhere.safetensors"):
        save_file({"w": torch.zeros(2)}, file)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors.index.json").write_text(index)
    with pytest.raises(TrainerError) as refused:
        resolve(ModelSource("path", str(folder), False, "auto"))
    assert refused.value.code == "model_damaged"


@pytest.mark.parametrize(
    "ready",
    [
        *("[]", "5", DEEP, '{"address": 1, "healthToken": "h", "tls": null}', '{"address": "127.0.0.1:1"}'),
        *('{"address": "h:1", "healthToken": [], "tls": null}', '{"address": "h:1", "healthToken": "h", "tls": 7}'),
        '{"address": "h:1", "healthToken": "h", "tls": {"certificate": "c", "key": "k", "client_ca": 1}}',
    ],
)
def test_a_health_check_says_in_a_line_that_its_file_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], ready: str
) -> None:
    file = tmp_path / "ready.json"
    file.write_text(ready)
    monkeypatch.setattr("sys.argv", ["healthcheck", "--ready-file", str(file)])
    assert healthcheck.main() == 1
    assert len(capsys.readouterr().err.splitlines()) == 1
