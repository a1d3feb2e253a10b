"""Runs that start Theta from an adapter folder, learnt on or fixed: import, checks, stopping, resuming."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from texts import run_message
from tiny_runs import Tiny, bodies, lines, macro, numbers
from transformers import LlamaForCausalLM

from bora.trainer.v1 import event_pb2, run_pb2
from bora_trainer.adapters.imported import content_hash, spec_of
from bora_trainer.adapters.lora import Lora
from bora_trainer.adapters.peft_files import CONFIG, read_adapter, write_adapter
from bora_trainer.errors import TrainerError
from bora_trainer.spec import AdapterSpec, Fit, PriorMean, PriorSpec, RunSpec

TAUS = (0.0, 1e2, math.inf)


@pytest.fixture(scope="module")
def theta(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Theta of a fit of all tasks at tau = 100."""
    folder = tmp_path_factory.mktemp("theta")
    list(tiny.train(tiny.spec([1e2], max_steps=9), folder))
    return folder / "trials/tau100-seed0/adapters/prior-mean"


@pytest.fixture
def copy(theta: Path, tmp_path: Path) -> Path:
    """The same adapter in a folder that a test may change."""
    return Path(shutil.copytree(theta, tmp_path / "copy"))


def starting(tiny: Tiny, theta: Path, *, fixed: bool = True, taus=TAUS, sha256: str = "", **train) -> RunSpec:
    options: dict[str, Any] = {"max_steps": 9, "checkpoint_every": 3, "patience": 2} | train
    spec = tiny.spec(taus, evaluate_base=False, **options)
    return dataclasses.replace(spec, prior=PriorSpec("gaussian", 0.0, PriorMean(str(theta), fixed, sha256)))


def lora(tiny: Tiny) -> Lora:
    return Lora.of(tiny.loaded().model, tiny.spec([0.0]).adapter)


def adapter(run: Path, trial: str, name: str, tiny: Tiny) -> torch.Tensor:
    return read_adapter(run / "trials" / trial / "adapters" / name, lora(tiny))


def change_config(folder: Path, **change: object) -> None:
    config = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps(config | change))


def test_a_fixed_mean_stays_and_at_infinity_every_task_is_theta_bit_for_bit(tiny, theta, tmp_path):
    events = list(tiny.train(starting(tiny, theta), tmp_path))
    mean_P = read_adapter(theta, lora(tiny))
    for tau in TAUS:
        assert torch.equal(adapter(tmp_path, f"tau{tau:g}-seed0", "prior-mean", tiny), mean_P)
    assert torch.equal(adapter(tmp_path, "tauinf-seed0", "anna", tiny), mean_P)
    assert not torch.equal(adapter(tmp_path, "tau100-seed0", "anna", tiny), mean_P)
    done = bodies(events, "trial_done", "tauinf-seed0")[0]
    assert (done.steps, done.best_step) == (0, 0)  # nothing to train: scored at once
    assert bodies(events, "trial_done", "tau0-seed0")[0].steps > 0


def test_theta_alone_is_scored_as_in_the_run_it_came_from(tiny, theta, tmp_path):
    list(tiny.train(starting(tiny, theta, taus=(1e2,)), tmp_path))
    mine, theirs = (
        {
            (line["task"], line["document"]): line["nats"]
            for line in lines(run, "tau100-seed0")
            if line["model"] == "prior-mean"
        }
        for run in (tmp_path, theta.parents[3])
    )
    assert mine == pytest.approx(theirs, rel=1e-5) and len(mine) > 10


def test_a_mean_that_is_learnt_on_starts_there_and_moves(tiny, theta, tmp_path):
    spec = starting(tiny, theta, fixed=False, taus=(1e2,), max_steps=3)
    events = list(tiny.train(spec, tmp_path))
    assert not torch.equal(adapter(tmp_path, "tau100-seed0", "prior-mean", tiny), read_adapter(theta, lora(tiny)))
    cold = list(tiny.train(tiny.spec([1e2], evaluate_base=False, max_steps=3), tmp_path / "cold"))
    warm, fresh = (bodies(found, "evaluated", "tau100-seed0")[0] for found in (events, cold))
    assert macro(warm) < macro(fresh)


def test_stopped_and_resumed_equals_undisturbed(tiny, theta, tmp_path):
    spec = starting(tiny, theta, best_step="task")
    asked = itertools.count()
    expected = list(tiny.train(spec, tmp_path / "whole", stop=lambda: next(asked) < 0))
    questions = next(asked)
    for part in (0.05, 0.3, 0.6, 0.9):
        folder, count = tmp_path / str(part), itertools.count(1)
        events = list(tiny.train(spec, folder, stop=lambda: next(count) >= part * questions))  # noqa: B023
        assert events[-1].run_failed.drained
        step = max([saved.step for saved in bodies(events, "checkpoint_saved")], default=0)
        again = list(tiny.train(spec, folder, resume_step=step))
        told, wanted = (
            {event.SerializeToString() for event in numbers(found) if not event.HasField("checkpoint_saved")}
            for found in ([*events, *again], expected)
        )
        assert told == wanted


def test_each_task_keeps_its_own_best_step_and_none_ends_worse_than_it_began(tiny, theta, tmp_path):
    spec = starting(tiny, theta, taus=(0.0, 1e2), best_step="task", learning_rate=8e-2, validation_documents=0)
    events = list(tiny.train(spec, tmp_path))
    for trial in ("tau0-seed0", "tau100-seed0"):
        *curve, kept = [
            found
            for found in bodies(events, "evaluated", trial)
            if (found.scored, found.split) == (event_pb2.SCORED_TASK, event_pb2.SPLIT_VALIDATION)
        ]  # the last scores what was kept
        assert curve[0].step == 0
        for task, found in enumerate(kept.tasks):
            assert found.nats == pytest.approx(min(one.tasks[task].nats for one in curve), rel=1e-5)
    assert len({one.step for one in bodies(events, "evaluated") if one.best}) > 1


def test_tasks_keep_a_step_of_their_own_only_where_they_do_not_move_each_other():
    message = run_message()
    message.train.best_step = run_pb2.BEST_STEP_TASK
    with pytest.raises(TrainerError, match=r"train.best_step is 'task with tau \[inf\]'"):
        RunSpec.from_proto(message)
    message.prior.mean.path, message.prior.mean.fixed = "theta", True
    assert RunSpec.from_proto(message).train.best_step == "task"
    message.prior.tau0 = 1
    with pytest.raises(TrainerError, match="prior.tau0 is 1.0, expected 0 beside a fixed prior mean"):
        RunSpec.from_proto(message)


def test_content_that_changed_since_it_was_planned_with_is_refused(tiny, theta, tmp_path):
    list(tiny.train(starting(tiny, theta, sha256=content_hash(theta), taus=(math.inf,)), tmp_path / "same"))
    with pytest.raises(TrainerError, match="has changed: sha256") as caught:
        list(tiny.train(starting(tiny, theta, sha256="0" * 64), tmp_path / "other"))
    assert caught.value.code == "adapter_mismatch"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rank": 2}, "r is 4 in .*, expected 2"),
        ({"alpha": 8.0}, "lora_alpha is 4 in .*, expected 8"),
        ({"family": "rslora"}, "use_rslora is False in .*, expected True"),
        ({"targets": ("q_proj",)}, "4 tensors of .* first .*v_proj.lora_A.weight: 4 x 16 there, none here"),
        ({"layers": (1,)}, "first .*layers.0.*: 4 x 16 there, none here"),
    ],
)
def test_an_adapter_of_another_shape_is_refused_with_the_numbers(tiny, theta, tmp_path, change, message):
    spec = starting(tiny, theta)
    spec = dataclasses.replace(spec, adapter=dataclasses.replace(spec.adapter, **change))
    with pytest.raises(TrainerError, match=message) as caught:
        list(tiny.train(spec, tmp_path))
    assert caught.value.code == "adapter_mismatch" and caught.value.hint


def test_an_adapter_of_another_base_is_refused_by_the_bases_content(tiny, copy, tmp_path):
    """A base of the same shape that is on this machine; its weights differ, so its hash does."""
    model = LlamaForCausalLM.from_pretrained(tiny.folder / "model")
    model.get_submodule("model.layers.0.self_attn.q_proj").get_parameter("weight").data += 1
    model.save_pretrained(tmp_path / "other")
    change_config(copy, base_model_name_or_path=str(tmp_path / "other"))
    with pytest.raises(TrainerError, match=r"is an adapter of .*other \(sha256 [0-9a-f]{16}\), the base is") as caught:
        list(tiny.train(starting(tiny, copy), tmp_path / "run"))
    assert caught.value.code == "adapter_mismatch"


def test_an_adapter_of_a_base_that_is_not_here_is_taken_when_it_fits(tiny, copy, tmp_path):
    change_config(copy, base_model_name_or_path="somebody/elses-copy")
    list(tiny.train(starting(tiny, copy, taus=(math.inf,)), tmp_path / "run"))


def test_a_folder_without_an_adapter_is_refused(tiny, tmp_path):
    with pytest.raises(TrainerError, match="holds no readable adapter") as caught:
        list(tiny.train(starting(tiny, tmp_path / "nowhere"), tmp_path / "run"))
    assert caught.value.code == "adapter_unreadable"


def test_a_resumed_run_refuses_a_mean_that_changed(tiny, copy, tmp_path):
    spec = starting(tiny, copy, taus=(1e2,))
    list(itertools.takewhile(lambda event: not event.HasField("checkpoint_saved"), tiny.train(spec, tmp_path / "run")))
    write_adapter(copy, read_adapter(copy, lora(tiny)) + 1, lora(tiny), str(tiny.folder / "model"))
    with pytest.raises(TrainerError, match="the mean changed since step 3"):
        list(tiny.train(spec, tmp_path / "run", resume_step=3))


def test_hash_is_of_content_and_scale_not_of_the_bases_name(theta, copy):
    change_config(copy, base_model_name_or_path="elsewhere")
    assert content_hash(copy) == content_hash(theta)
    change_config(copy, lora_alpha=32)
    assert content_hash(copy) != content_hash(theta)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"use_dora": True}, "use_dora = True"),
        ({"rank_pattern": {"q_proj": 8}}, "rank_pattern"),
        ({"peft_type": "IA3"}, "IA3"),
        ({"target_modules": ".*proj"}, r"target_modules of .* is '\.\*proj'"),
    ],
)
def test_a_spec_is_read_off_a_plain_lora_folder_alone(copy, change, words):
    assert spec_of(copy) == AdapterSpec("lora", 4, 4.0, ("q_proj", "v_proj"), ())
    change_config(copy, **change)
    with pytest.raises(TrainerError, match=words) as caught:
        spec_of(copy)
    assert caught.value.code == "adapter_mismatch"


def test_fits_of_several_seeds_start_from_the_one_mean(tiny, theta, tmp_path):
    spec = starting(tiny, theta, taus=(1e2,), max_steps=3)
    spec = dataclasses.replace(spec, fits=(Fit("a", 1e2, 0), Fit("b", 1e2, 1)))
    list(tiny.train(spec, tmp_path))
    assert torch.equal(adapter(tmp_path, "a", "prior-mean", tiny), adapter(tmp_path, "b", "prior-mean", tiny))
    assert not torch.equal(adapter(tmp_path, "a", "anna", tiny), adapter(tmp_path, "b", "anna", tiny))
