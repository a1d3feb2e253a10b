"""The check of test nats in float32: the numbers it reports, and that nothing else depends on it."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_runs import Tiny, bodies, lines, macro, numbers

from bora.trainer.v1 import event_pb2, run_pb2
from bora_trainer import float32_check
from bora_trainer.adapters.peft_files import read_adapter
from bora_trainer.engine import Engine
from bora_trainer.evaluate import evaluate
from bora_trainer.models import load_model
from bora_trainer.spec import RunSpec
from bora_trainer.train import train

TAUS = (0.0, math.inf)


def run(tiny: Tiny, folder: Path, dtype: torch.dtype, *, check: bool, resume_step: int = 0, stop=lambda: False):
    spec = tiny.spec(TAUS, evaluate_base=False)
    assert spec.execution is not None
    name = "bfloat16" if dtype is torch.bfloat16 else "float32"
    spec = replace(spec, execution=replace(spec.execution, dtype=name), float32_check=check)
    return list(train(spec, load_model(spec.model, dtype, "cpu"), tiny.dataset(), folder, resume_step, stop))


@pytest.fixture(scope="module")
def checked(tiny: Tiny, tmp_path_factory):
    folder = tmp_path_factory.mktemp("checked")
    return run(tiny, folder, torch.bfloat16, check=True), folder


def test_every_trial_tells_its_test_nats_in_both_dtypes_and_by_how_much_a_document_differs(tiny, checked):
    """The oracle: the adapters read back from their files, on a model that is loaded in float32 here."""
    events, folder = checked
    dataset, spec = tiny.dataset(), tiny.spec(TAUS)
    engine = Engine(tiny.loaded(), spec.adapter)
    for fit in spec.fits:
        check = bodies(events, "trial_done", fit.trial_id)[0].float32_check
        adapters = folder / "trials" / fit.trial_id / "adapters"
        rows_DP = torch.stack([read_adapter(adapters / task.slug, engine.lora) for task in dataset.tasks])
        exact = {
            (task.name, document.id): nats
            for row_P, task in zip(rows_DP, dataset.tasks, strict=True)
            for document, nats in evaluate(engine, row_P[None], [task.test])
        }
        scored = [row for row in lines(folder, fit.trial_id) if (row["model"], row["split"]) == ("task", "test")]
        differences = [abs(row["nats"] / exact[row["task"], row["document"]] - 1) for row in scored]
        assert check.largest_relative_difference == pytest.approx(max(differences), abs=1e-5)
        assert 1e-4 < check.largest_relative_difference < 0.1, "bfloat16 has 8 bits"
        [told] = [
            found for found in bodies(events, "evaluated", fit.trial_id)
            if (found.complete, found.scored, found.split) == (True, event_pb2.SCORED_TASK, event_pb2.SPLIT_TEST)
        ]  # fmt: skip
        assert check.nats_per_token == macro(told)
        own = [
            math.fsum(exact[task.name, document.id] for document in task.test) / task.scored("test")
            for task in dataset.tasks
        ]
        assert check.float32_nats_per_token == pytest.approx(math.fsum(own) / len(own), rel=1e-6)


def test_without_it_all_other_numbers_and_files_are_the_same(tiny, checked, tmp_path):
    events, folder = checked
    without = run(tiny, tmp_path, torch.bfloat16, check=False)
    assert not any(done.HasField("float32_check") for done in bodies(without, "trial_done"))
    stripped = numbers(events)
    for event in stripped:
        if event.HasField("trial_done"):
            event.trial_done.ClearField("float32_check")
    assert stripped == numbers(without)
    for file in folder.rglob("*"):
        if file.is_file():
            assert (tmp_path / file.relative_to(folder)).read_bytes() == file.read_bytes()


def test_a_base_in_float32_is_not_loaded_twice(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(float32_check, "load_model", lambda *_: pytest.fail("loaded"))
    events = run(tiny, tmp_path, torch.float32, check=True)
    assert bodies(events, "trial_done") and not any(
        done.HasField("float32_check") for done in bodies(events, "trial_done")
    )


def test_the_model_is_loaded_once_for_all_trials_and_let_go_at_the_end(tiny, tmp_path, monkeypatch):
    loaded, closed = [], []
    load, close = float32_check.load_model, float32_check.Engine.close
    monkeypatch.setattr(float32_check, "load_model", lambda *asked: loaded.append(asked) or load(*asked))
    monkeypatch.setattr(Engine, "close", lambda engine: closed.append(engine.loaded.dtype) or close(engine))
    run(tiny, tmp_path, torch.bfloat16, check=True)
    assert [(dtype, device) for _, dtype, device in loaded] == [(torch.float32, "cpu")]
    assert sorted(closed, key=str) == [torch.bfloat16, torch.float32]


def test_a_stop_during_the_check_drops_the_trials_end_and_a_resumed_run_repeats_it(
    tiny, checked, tmp_path, monkeypatch
):
    events, folder = checked
    asked = [False]
    own = float32_check.evaluate

    def stopped(*arguments, stop, **options):
        asked[0] = True
        return own(*arguments, stop=stop, **options)

    with monkeypatch.context() as patched:
        patched.setattr(float32_check, "evaluate", stopped)
        first = run(tiny, tmp_path, torch.bfloat16, check=True, stop=lambda: asked[0])
    assert first[-1].run_failed.drained and not bodies(first, "trial_done")
    step = bodies(first, "checkpoint_saved")[-1].step
    again = run(tiny, tmp_path, torch.bfloat16, check=True, resume_step=step)
    assert bodies(again, "trial_done") == bodies(events, "trial_done")


@pytest.mark.parametrize("asked", [True, False])
def test_the_request_says_whether_it_is_wanted(asked):
    golden = Path(__file__).parents[2] / "proto/golden/run_spec.binpb"
    message = run_pb2.RunSpec.FromString(golden.read_bytes())
    message.float32_check = asked
    assert RunSpec.from_proto(message).float32_check is asked
