"""Whole runs on a tiny model: what they yield, what they leave behind, and when a fit ends."""

from __future__ import annotations

import dataclasses
import json
import math
from itertools import groupby

import pytest
import torch
from tiny_runs import DOCUMENTS, Tiny, bodies, lines, macro, numbers
from torch._inductor import config as inductor

from bora.trainer.v1 import event_pb2
from bora_trainer import artifacts
from bora_trainer.adapters.peft_files import read_adapter
from bora_trainer.engine import Engine
from bora_trainer.errors import TrainerError
from bora_trainer.evaluate import evaluate
from bora_trainer.gradients import Gradients
from bora_trainer.spec import EngineSpec

TAUS = (0.0, 1e2, math.inf)


@pytest.fixture(scope="module")
def run(tiny: Tiny, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return list(tiny.train(tiny.spec(TAUS), folder)), folder


def test_a_run_tells_what_happens_in_order(run):
    events, _ = run
    told = [event.WhichOneof("body") for event in events]
    kinds = [kind for kind, _ in groupby(kind for kind in told if kind != "checkpoint_saved")]
    finish = ["evaluated", "trial_done"] * len(TAUS)
    assert kinds == ["run_started", "evaluated", *["steps_done", "evaluated"] * 3, "steps_done", *finish, "run_done"]
    for saved in bodies(events, "checkpoint_saved"):  # whenever its files are there, which depends on the disk
        place = told.index("checkpoint_saved")
        told[place] = ""
        before = [event.evaluated.step for event in events[:place] if event.WhichOneof("body") == "evaluated"]
        assert before[-1] >= saved.step and not bodies(events[:place], "trial_done")
    assert sum(window.steps for window in bodies(events, "steps_done")) == 12
    assert bodies(events, "steps_done")[-1].step == 12
    for window in bodies(events, "steps_done"):
        assert window.real > window.tokens > 0, "a document's first token is read, not scored"
    assert [saved.step for saved in bodies(events, "checkpoint_saved")] == [3, 6, 9]
    started = bodies(events, "run_started")[0]
    assert (started.step, started.rows) == (0, len(TAUS) * len(DOCUMENTS))
    assert all(len(event.SerializeToString()) < 64 << 10 for event in events)


def test_training_makes_every_fit_better_than_the_base_model(tiny, tmp_path):
    spec = tiny.spec([1e2, math.inf], max_steps=60, evaluate_every=20, checkpoint_every=60)
    events = list(tiny.train(spec, tmp_path))
    base = {e.split: macro(e) for e in bodies(events, "evaluated") if e.scored == event_pb2.SCORED_BASE}
    for fit in spec.fits:
        done = [
            e for e in bodies(events, "evaluated", fit.trial_id) if e.complete and e.scored == event_pb2.SCORED_TASK
        ]
        assert {e.split for e in done} == {event_pb2.SPLIT_VALIDATION, event_pb2.SPLIT_TEST}
        assert all(macro(e) < base[e.split] - 0.1 for e in done)


def test_every_file_is_the_one_that_its_manifest_lists(run):
    events, folder = run
    for artifact in [bodies(events, "run_done")[0].manifest, *(done.manifest for done in bodies(events, "trial_done"))]:
        assert artifacts.describe(folder, folder / artifact.path) == artifact
        manifest = json.loads((folder / artifact.path).read_bytes())
        adapters = manifest.get("adapters", {})
        if artifact.path.startswith("trials"):
            assert set(adapters) == {"anna", "boris", "clara", "prior-mean"}
        for entry in [manifest["documents"], *(file for files in adapters.values() for file in files)]:
            assert artifacts.as_json(artifacts.describe(folder, folder / entry["path"])) == entry


def test_documents_hold_every_held_out_document_once_a_model_and_add_up_to_the_events(tiny, run):
    events, folder = run
    dataset = tiny.dataset()
    for fit in tiny.spec(TAUS).fits:
        rows = lines(folder, fit.trial_id)
        for model, scored in (("task", event_pb2.SCORED_TASK), ("prior-mean", event_pb2.SCORED_PRIOR_MEAN)):
            for split, wire in (("validation", event_pb2.SPLIT_VALIDATION), ("test", event_pb2.SPLIT_TEST)):
                found = [row for row in rows if (row["model"], row["split"]) == (model, split)]
                expected = [(task.name, d.id, d.scored) for task in dataset.tasks for d in task.documents(split)]
                assert [(row["task"], row["document"], row["tokens"]) for row in found] == expected
                [event] = [
                    e
                    for e in bodies(events, "evaluated", fit.trial_id)
                    if (e.complete, e.scored, e.split) == (True, scored, wire)
                ]
                for task, nats in zip(dataset.tasks, event.tasks, strict=True):
                    assert nats.nats == math.fsum(row["nats"] for row in found if row["task"] == task.name)
                    assert nats.tokens == task.scored(split)


def test_adapters_that_are_read_back_give_the_nats_that_were_written(tiny, run):
    _, folder = run
    spec, dataset = tiny.spec(TAUS), tiny.dataset()
    engine = Engine(tiny.loaded(), spec.adapter)
    for fit in spec.fits:
        for task in dataset.tasks:
            for model, slug in (("task", task.slug), ("prior-mean", "prior-mean")):
                row_P = read_adapter(folder / "trials" / fit.trial_id / "adapters" / slug, engine.lora)
                found = evaluate(engine, row_P[None], [task.test])
                wanted = [
                    row["nats"] for row in lines(folder, fit.trial_id)
                    if (row["model"], row["task"], row["split"]) == (model, task.name, "test")
                ]  # fmt: skip
                assert [nats for _, nats in found] == pytest.approx(wanted, rel=1e-5)


def test_at_infinity_all_tasks_and_the_prior_mean_share_one_adapter(tiny, run):
    _, folder = run
    engine = Engine(tiny.loaded(), tiny.spec(TAUS).adapter)
    read = lambda trial, slug: read_adapter(folder / "trials" / trial / "adapters" / slug, engine.lora)  # noqa: E731
    tied = [read("tauinf-seed0", slug) for slug in ("anna", "boris", "clara", "prior-mean")]
    assert all(torch.equal(row, tied[0]) for row in tied)
    for trial in ("tau0-seed0", "tau100-seed0"):
        rows = torch.stack([read(trial, slug) for slug in ("anna", "boris", "clara")])
        assert not torch.equal(rows[0], rows[1])
        torch.testing.assert_close(read(trial, "prior-mean"), rows.mean(dim=0), rtol=0, atol=1e-6)


def test_distances_are_those_of_the_adapters_that_were_written(tiny, run):
    """Against the dense changes in float64, from the PEFT folders alone."""
    _, folder = run
    engine = Engine(tiny.loaded(), tiny.spec(TAUS).adapter)
    for trial in ("tau0-seed0", "tau100-seed0", "tauinf-seed0"):
        files = folder / "trials" / trial
        listed = json.loads((files / "manifest.json").read_text())["distances"]
        assert listed["path"] == f"trials/{trial}/distances.json"
        assert listed["sha256"] == artifacts.sha256_of(folder / listed["path"])
        rows = [
            read_adapter(files / "adapters" / slug, engine.lora).double()
            for slug in ("prior-mean", *(task.slug for task in tiny.dataset().tasks))
        ]
        changes = [
            torch.cat([(t[m, "lora_B"] @ t[m, "lora_A"]).flatten() for m in engine.lora.modules]) * engine.lora.scale
            for t in map(engine.layout.tensors, rows)
        ]
        away = torch.stack(changes[1:]) - changes[0]
        found = json.loads((folder / listed["path"]).read_text())
        assert found["tasks"] == [task.name for task in tiny.dataset().tasks]
        factors = [float((row - rows[0]).norm()) for row in rows[1:]]
        assert found["factors"] == pytest.approx(factors, rel=1e-9, abs=0)
        assert found["changes"] == pytest.approx(away.norm(dim=1).tolist(), rel=1e-9, abs=1e-12)
        assert found["priorMean"] == pytest.approx(float(changes[0].norm()), rel=1e-9)
        torch.testing.assert_close(
            torch.tensor(found["gram"], dtype=torch.float64), away @ away.T, rtol=0, atol=1e-9 * float(away.norm()) ** 2
        )
        assert (max(found["factors"]) == 0) == (trial == "tauinf-seed0")


def test_too_many_adapters_to_compare_all_with_all_leave_no_distances(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr("bora_trainer.trial_results._MOST_COMPARED", 1)
    events = list(tiny.train(tiny.spec([0.0], max_steps=3), tmp_path))
    manifest = json.loads((tmp_path / bodies(events, "trial_done")[0].manifest.path).read_text())
    assert set(manifest) == {"documents", "adapters"}


def test_the_same_seed_gives_the_same_bits_and_another_seed_others(tiny, run, tmp_path):
    events, folder = run
    again = list(tiny.train(tiny.spec(TAUS), tmp_path))
    assert numbers(again) == numbers(events)
    other = list(tiny.train(tiny.spec([0.0], seeds=[1]), tmp_path / "other"))
    first = bodies(other, "trial_done")[0].validation_nats_per_token
    assert first != bodies(events, "trial_done", "tau0-seed0")[0].validation_nats_per_token


def test_fits_of_one_pack_get_the_numbers_they_get_alone(tiny, run, tmp_path):
    events, folder = run
    for fit in tiny.spec(TAUS).fits:
        alone = list(tiny.train(dataclasses.replace(tiny.spec(TAUS), fits=(fit,)), tmp_path / fit.trial_id))
        for mine, theirs in zip(lines(tmp_path / fit.trial_id, fit.trial_id), lines(folder, fit.trial_id), strict=True):
            assert mine["nats"] == pytest.approx(theirs["nats"], rel=1e-5)
        assert bodies(alone, "trial_done")[0].best_step == bodies(events, "trial_done", fit.trial_id)[0].best_step


def test_seeds_train_beside_each_other_on_documents_of_their_own(tiny, tmp_path):
    spec = tiny.spec([0.0, 1e2], seeds=[0, 1], evaluate_base=False)
    together = list(tiny.train(spec, tmp_path / "together"))
    for fit in spec.fits:
        alone = list(tiny.train(dataclasses.replace(spec, fits=(fit,)), tmp_path / fit.trial_id))
        mine, theirs = (bodies(found, "trial_done", fit.trial_id)[0] for found in (alone, together))
        assert mine.validation_nats_per_token == pytest.approx(theirs.validation_nats_per_token, rel=1e-5)


def test_micro_batches_of_another_size_give_the_same_numbers_to_rounding(tiny, run, tmp_path):
    events, _ = run
    spec = tiny.spec(TAUS)
    assert spec.execution is not None
    wide = dataclasses.replace(spec, execution=dataclasses.replace(spec.execution, rows_per_micro_batch=100))
    for mine, theirs in zip(
        bodies(list(tiny.train(wide, tmp_path)), "trial_done"), bodies(events, "trial_done"), strict=True
    ):
        assert mine.validation_nats_per_token == pytest.approx(theirs.validation_nats_per_token, rel=1e-5)


def test_a_fit_ends_by_patience_with_its_best_step_while_the_others_go_on(tiny, tmp_path):
    spec = tiny.spec([0.0, math.inf], max_steps=60, patience=3, learning_rate=5e-2)
    events = list(tiny.train(spec, tmp_path))
    done = {fit.trial_id: bodies(events, "trial_done", fit.trial_id)[0] for fit in spec.fits}
    assert done["tau0-seed0"].ended == event_pb2.ENDED_VALIDATION
    assert done["tau0-seed0"].steps < done["tauinf-seed0"].steps
    for trial, trial_done in done.items():
        course = [e for e in bodies(events, "evaluated", trial) if not e.complete]
        best = min(course, key=macro)
        assert trial_done.best_step == best.step and trial_done.validation_nats_per_token == macro(best)
        assert [e.best for e in course] == [
            macro(e) < min([macro(p) for p in course[:i]], default=9e9) for i, e in enumerate(course)
        ]
        if trial_done.ended == event_pb2.ENDED_VALIDATION:
            assert trial_done.steps == trial_done.best_step + 3 * 3
        else:
            assert trial_done.steps == 60
        assert {e.step for e in bodies(events, "evaluated", trial) if e.complete} == {trial_done.best_step}
    after = [window for window in bodies(events, "steps_done") if window.step > done["tau0-seed0"].steps]
    assert after and all([fit.trial_id for fit in window.fits] == ["tauinf-seed0"] for window in after)


def test_the_last_step_is_evaluated_even_between_boundaries_and_ends_by_limit(tiny, tmp_path):
    events = list(tiny.train(tiny.spec([1e2], max_steps=7, evaluate_base=False), tmp_path))
    assert [e.step for e in bodies(events, "evaluated") if not e.complete] == [3, 6, 7]
    assert bodies(events, "trial_done")[0].ended == event_pb2.ENDED_LIMIT


def test_a_fit_that_leaves_does_not_change_the_nats_of_the_others(tiny, tmp_path):
    spec = tiny.spec([0.0, math.inf], max_steps=60, patience=3, learning_rate=5e-2)
    together = list(tiny.train(spec, tmp_path / "together"))
    assert bodies(together, "trial_done", "tau0-seed0")[0].steps < 60
    list(tiny.train(dataclasses.replace(spec, fits=spec.fits[1:]), tmp_path / "alone"))
    pairs = zip(lines(tmp_path / "alone", "tauinf-seed0"), lines(tmp_path / "together", "tauinf-seed0"), strict=True)
    assert all(a["nats"] == pytest.approx(b["nats"], rel=1e-5) for a, b in pairs)


def test_a_fit_that_diverges_leaves_and_the_others_go_on(tiny, run, tmp_path, monkeypatch):
    events, folder = run
    fill = Gradients.__call__

    def poison(gradients, optimiser, seeds, step):
        read = fill(gradients, optimiser, seeds, step)
        if step == 5:
            optimiser.gradient_GP[4, 0] = math.nan  # fit 1, task 1
        return read

    monkeypatch.setattr(Gradients, "__call__", poison)
    found = list(tiny.train(tiny.spec(TAUS), tmp_path))
    [failed] = bodies(found, "trial_failed")
    assert [event.trial_id for event in found if event.WhichOneof("body") == "trial_failed"] == ["tau100-seed0"]
    assert (failed.failure.code, failed.failure.domain, failed.step) == ("diverged", event_pb2.DOMAIN_USER, 5)
    assert "tau 100" in failed.failure.message and failed.failure.hint
    assert found[-1].WhichOneof("body") == "run_done"
    for trial in ("tau0-seed0", "tauinf-seed0"):
        for mine, theirs in zip(lines(tmp_path, trial), lines(folder, trial), strict=True):
            assert mine["nats"] == pytest.approx(theirs["nats"], rel=1e-5)


def test_a_run_whose_fits_all_diverge_ends_without_a_trial_done(tiny, tmp_path):
    # Near the largest float32: the rows themselves overflow at the second step, whatever a norm does with 1e30.
    events = list(tiny.train(tiny.spec([0.0, math.inf], learning_rate=3e38, evaluate_base=False), tmp_path))
    assert {event.trial_id for event in events if event.WhichOneof("body") == "trial_failed"} == {
        "tau0-seed0",
        "tauinf-seed0",
    }
    assert not bodies(events, "trial_done") and events[-1].WhichOneof("body") == "run_done"


def test_graphs_are_refused_on_a_processor_before_anything_is_trained(tiny, tmp_path):
    spec = tiny.spec([0.0])
    recorded = dataclasses.replace(spec.execution, engine=EngineSpec(cuda_graph=True))
    with pytest.raises(TrainerError, match="engine.cudaGraph on cpu"):
        list(tiny.train(dataclasses.replace(spec, execution=recorded), tmp_path))


def test_layers_are_compiled_when_the_execution_says_so(tiny, tmp_path):
    spec = tiny.spec([0.0])
    compiled = dataclasses.replace(spec.execution, engine=EngineSpec(compile=True))
    absent = inductor.patch({"cpp.cxx": ("no-such-compiler",)})
    with absent, pytest.raises(TrainerError, match="engine.compile"):
        list(tiny.train(dataclasses.replace(spec, execution=compiled), tmp_path))


@pytest.mark.parametrize(
    "change", [{"sampler": "documents", "documents_per_task": 2}, {"sampler": "uniform", "documents_per_task": 1}]
)
def test_other_samplers_and_the_published_prior_train_too(tiny, tmp_path, change):
    spec = tiny.spec([0.0, 1e2, math.inf], max_steps=60, evaluate_every=20, checkpoint_every=60, **change)
    spec = dataclasses.replace(spec, prior=dataclasses.replace(spec.prior, family="group-laplace"))
    events = list(tiny.train(spec, tmp_path))
    base = next(macro(e) for e in bodies(events, "evaluated") if e.scored == event_pb2.SCORED_BASE)
    assert len(bodies(events, "trial_done")) == 3
    for tau in ("tau100-seed0", "tauinf-seed0"):
        assert min(macro(e) for e in bodies(events, "evaluated", tau) if not e.complete) < base - 0.1
