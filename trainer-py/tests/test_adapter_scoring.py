"""The run kind `evaluate`: adapters that exist, scored on everything held out, each with a shape of its own."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from texts import run_message
from tiny_models import random_rows
from tiny_runs import Tiny, bodies, lines

from bora.trainer.v1 import run_pb2, trainer_pb2
from bora.trainer.v1.event_pb2 import Event
from bora_trainer import inspect
from bora_trainer.adapter_scoring import score_adapters
from bora_trainer.adapters.imported import content_hash
from bora_trainer.adapters.peft_files import write_adapter
from bora_trainer.data import load_dataset
from bora_trainer.engine import Engine
from bora_trainer.errors import TrainerError
from bora_trainer.evaluate import evaluate
from bora_trainer.models import load_tokenizer
from bora_trainer.spec import AdapterSpec, DataSpec, EvaluatedAdapter, Fit, RunSpec, SplitSpec

WIDE = AdapterSpec("rslora", 8, 2.0, ("q_proj", "down_proj"), (1,))


@pytest.fixture(scope="module")
def folders(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """An adapter of the experiment's shape, and one of another rank, family, targets and layers."""
    root = tmp_path_factory.mktemp("adapters")
    for name, shape in (("usual", tiny.spec([0.0]).adapter), ("wide", WIDE)):
        engine = Engine(tiny.loaded(), shape)
        write_adapter(root / name, random_rows(engine, 1)[0], engine.lora, str(tiny.folder / "model"))
        engine.close()
    return root / "usual", root / "wide"


def scoring(tiny: Tiny, adapters: Sequence[EvaluatedAdapter], *, split: str = "none") -> RunSpec:
    spec = tiny.spec([0.0], evaluate_base=False)
    if split == "none":
        spec = dataclasses.replace(spec, data=dataclasses.replace(spec.data, split=SplitSpec("none", 0, 0, 0, 1)))
    fits = tuple(Fit(f"adapter-{i}", math.inf, 0) for i in range(len(adapters)))
    return dataclasses.replace(spec, fits=fits, evaluate=tuple(adapters))


def score(tiny: Tiny, spec: RunSpec, folder: Path, stop: Callable[[], bool] = lambda: False) -> list[Event]:
    dataset = load_dataset(spec.data, load_tokenizer(spec.model))
    return list(score_adapters(spec, tiny.loaded(), dataset, folder, stop))


def test_every_document_is_scored_under_each_adapter_as_the_engine_scores_it(tiny, folders, tmp_path):
    spec = scoring(tiny, [EvaluatedAdapter(""), *(EvaluatedAdapter(str(path)) for path in folders)])
    events = score(tiny, spec, tmp_path)
    dataset = load_dataset(spec.data, load_tokenizer(spec.model))
    assert [len(task.test) for task in dataset.tasks] == [40, 24, 14]  # nothing is held back
    for trial, shape, own in ((0, spec.adapter, False), (1, spec.adapter, True), (2, WIDE, True)):
        engine = Engine(tiny.loaded(), shape)
        rows = random_rows(engine, 1).expand(len(dataset.tasks), -1) if own else None
        expected = evaluate(engine, rows, [task.test for task in dataset.tasks])
        engine.close()
        found = lines(tmp_path, f"adapter-{trial}")
        assert [line["document"] for line in found] == [document.id for document, _ in expected]
        assert [line["nats"] for line in found] == pytest.approx([nats for _, nats in expected], rel=1e-6)
        assert {line["split"] for line in found} == {"test"} and {line["model"] for line in found} == {"task"}
        done = bodies(events, "trial_done", f"adapter-{trial}")[0]
        assert math.isfinite(done.validation_nats_per_token) and done.manifest.size > 0
    assert events[-1].HasField("run_done")


def test_splits_are_scored_where_there_are_some(tiny, folders, tmp_path):
    score(tiny, scoring(tiny, [EvaluatedAdapter(str(folders[0]))], split="seed"), tmp_path)
    assert {line["split"] for line in lines(tmp_path, "adapter-0")} == {"validation", "test"}


def test_stopped_and_begun_again_equals_undisturbed_and_keeps_what_was_found(tiny, folders, tmp_path):
    spec = scoring(tiny, [EvaluatedAdapter(str(path)) for path in folders])
    asked = itertools.count()
    score(tiny, spec, tmp_path / "whole", stop=lambda: next(asked) < 0)
    questions, count = next(asked), itertools.count(1)
    stopped = score(tiny, spec, tmp_path / "part", stop=lambda: next(count) >= questions)
    assert stopped[-1].run_failed.drained and len(bodies(stopped, "trial_done")) == 1
    kept = (tmp_path / "part/trials/adapter-0/documents.jsonl").stat().st_mtime_ns
    again = itertools.count()
    events = score(tiny, spec, tmp_path / "part", stop=lambda: next(again) < 0)
    assert events[-1].HasField("run_done") and len(bodies(events, "trial_done")) == 2
    assert next(again) < questions and kept > 0  # the first adapter was not scored again
    for trial in ("adapter-0", "adapter-1"):
        assert lines(tmp_path / "part", trial) == lines(tmp_path / "whole", trial)


def test_weights_without_finite_nats_fail_alone(tiny, folders, tmp_path):
    engine = Engine(tiny.loaded(), tiny.spec([0.0]).adapter)
    broken = torch.full((engine.layout.weights,), math.nan)
    write_adapter(tmp_path / "broken", broken, engine.lora, str(tiny.folder / "model"))
    engine.close()
    spec = scoring(tiny, [EvaluatedAdapter(str(tmp_path / "broken")), EvaluatedAdapter(str(folders[0]))])
    events = score(tiny, spec, tmp_path / "run")
    assert bodies(events, "trial_failed", "adapter-0")[0].failure.code == "diverged"
    assert len(bodies(events, "trial_done", "adapter-1")) == 1


def test_content_that_changed_is_refused(tiny, folders, tmp_path):
    good = EvaluatedAdapter(str(folders[0]), content_hash(folders[0]))
    score(tiny, scoring(tiny, [good]), tmp_path / "good")
    with pytest.raises(TrainerError, match="has changed"):
        score(tiny, scoring(tiny, [dataclasses.replace(good, sha256="0" * 64)]), tmp_path / "bad")


def test_a_request_names_as_many_adapters_as_fits_and_nothing_trains_without_a_split():
    message = run_message()
    message.evaluate.adapters.add(path="one")
    with pytest.raises(TrainerError, match="evaluate.adapters is 1, expected 2, one a fit"):
        RunSpec.from_proto(message)
    message.evaluate.adapters.add(path="")
    message.data.split.by = run_pb2.SPLIT_BY_NONE
    assert RunSpec.from_proto(message).evaluate == (EvaluatedAdapter("one"), EvaluatedAdapter(""))
    message.ClearField("evaluate")
    with pytest.raises(TrainerError, match="data.split.by is 'none', expected seed or date"):
        RunSpec.from_proto(message)


def request(tiny: Tiny, *folders: Path, same_shape: bool) -> trainer_pb2.InspectRequest:
    data = run_pb2.DataSpec(
        table=run_pb2.TableSource(
            format=run_pb2.TABLE_FORMAT_CSV,
            path=str(tiny.folder / "table.csv"),
            columns=run_pb2.Columns(task="speaker", text="speech"),
        ),
        tasks=run_pb2.TaskSelection(all=True),
        split=run_pb2.SplitSpec(by=run_pb2.SPLIT_BY_NONE),
        max_tokens=12,
    )
    assert DataSpec.from_proto(data).split.by == "none"
    return trainer_pb2.InspectRequest(
        model=run_pb2.ModelSource(path=str(tiny.folder / "model"), dtype=run_pb2.DTYPE_FLOAT32),
        data=data,
        adapter=run_pb2.AdapterSpec(family=run_pb2.ADAPTER_FAMILY_LORA, rank=4, alpha=4, targets=["q_proj", "v_proj"]),
        adapter_folders=[str(folder) for folder in folders],
        same_shape=same_shape,
    )


def test_an_inspection_tells_the_content_of_adapter_folders_and_watches_their_files(tiny, folders, threads):
    answer = inspect.inspect(request(tiny, *folders, same_shape=False))
    assert [(one.path, one.sha256) for one in answer.adapter_folders] == [
        (str(folder), content_hash(folder)) for folder in folders
    ]
    watched = {file.path for file in answer.files}
    assert all(str((folder / "adapter_model.safetensors").resolve()) in watched for folder in folders)
    assert [task.documents.test for task in answer.tasks] == [40, 24, 14]


def test_an_inspection_refuses_a_prior_mean_of_another_shape(tiny, folders, threads):
    with pytest.raises(TrainerError, match="r is 8 in .*wide, expected 4") as caught:
        inspect.inspect(request(tiny, folders[1], same_shape=True))
    assert caught.value.code == "adapter_mismatch"
