"""400 tasks under six precisions: 2,400 adapters in one run, trained to the end and written."""

from __future__ import annotations

import json
import math
import random
from dataclasses import replace
from pathlib import Path

import pytest
import tiny_runs
from tiny_runs import WORDS, Tiny, bodies, lines

from bora_trainer.adapters.peft_files import CONFIG, WEIGHTS
from bora_trainer.spec import AdapterSpec, RunSpec

pytestmark = pytest.mark.slow  # most of it waits for the disk: every adapter is synced

TASKS, DOCUMENTS = 400, 5  # of a task: three train, one validates, one tests
TAUS = (0.0, 1e1, 1e2, 1e3, 1e4, math.inf)
STEPS = 4


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    folder = tmp_path_factory.mktemp("many")
    tiny_runs.write_model(folder / "model")
    draw = random.Random(0)
    speeches = [f"task {d},{' '.join(draw.choices(WORDS, k=6))}" for d in range(TASKS) for _ in range(DOCUMENTS)]
    (folder / "table.csv").write_text("\n".join(["speaker,speech", *speeches]), "utf8")
    return Tiny(folder)


def spec_of(many: Tiny) -> RunSpec:
    spec = many.spec(TAUS, evaluate_base=False, max_steps=STEPS, evaluate_every=2, checkpoint_every=4)
    assert spec.execution is not None
    execution = replace(spec.execution, rows_per_micro_batch=600)
    return replace(spec, adapter=AdapterSpec("lora", 2, 2.0, ("q_proj", "v_proj"), ()), execution=execution)


def weights(run_folder: Path, trial_id: str) -> dict[str, bytes]:
    """The weights' file of each adapter of a trial, by its folder's name."""
    folders = sorted((run_folder / "trials" / trial_id / "adapters").iterdir())
    assert all((folder / CONFIG).exists() for folder in folders)
    return {folder.name: (folder / WEIGHTS).read_bytes() for folder in folders}


def test_2400_adapters_train_in_one_run_and_are_written(many: Tiny, tmp_path: Path) -> None:
    spec = spec_of(many)
    events = list(many.train(spec, tmp_path))
    assert bodies(events, "run_started")[0].rows == TASKS * len(TAUS) == 2400
    assert events[-1].HasField("run_done") and not bodies(events, "trial_failed")
    assert [done.steps for done in bodies(events, "trial_done")] == [STEPS] * len(TAUS)
    for evaluated in bodies(events, "evaluated"):
        assert [task.task for task in evaluated.tasks] == list(range(TASKS))
        assert all(math.isfinite(task.nats) and task.tokens > 0 for task in evaluated.tasks)
    for fit in spec.fits:
        written = weights(tmp_path, fit.trial_id)
        listed = json.loads((tmp_path / "trials" / fit.trial_id / "manifest.json").read_bytes())["adapters"]
        assert written.keys() == listed.keys() and len(written) == TASKS + 1  # Theta's among them
        assert len(set(written.values())) == (1 if math.isinf(fit.tau) else TASKS + 1)
        held_out = 2 * TASKS  # documents; each is read through its task's adapter and through Theta
        assert len(lines(tmp_path, fit.trial_id)) == 2 * held_out
