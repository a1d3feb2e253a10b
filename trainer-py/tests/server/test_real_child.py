"""The whole trainer, server and real child, on a tiny model: what the user's run goes through."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_runs import Tiny
from trainer_under_test import REAL, TrainerUnderTest, bodies, refusal, spec, wait_for

from bora.trainer.v1 import event_pb2, run_pb2, trainer_pb2
from bora_trainer.event_log import read_events

pytestmark = pytest.mark.slow
Launch = Callable[..., TrainerUnderTest]


def tiny_spec(tiny: Tiny, steps: int) -> run_pb2.RunSpec:
    run = spec(steps=steps, checkpoint_every=3)
    run.model.path = str(tiny.folder / "model")
    columns = run_pb2.Columns(task="speaker", text="speech")
    run.data.table.CopyFrom(
        run_pb2.TableSource(format=run_pb2.TABLE_FORMAT_CSV, path=str(tiny.folder / "table.csv"), columns=columns)
    )
    run.data.tasks.CopyFrom(run_pb2.TaskSelection(all=True))
    run.data.max_tokens, run.train.evaluate_every, run.train.patience = 12, 3, 1000
    run.train.tokens_per_task, run.train.validation_documents = 24, 4
    del run.fits[:]
    run.fits.extend([run_pb2.Fit(trial_id="apart", tau=0), run_pb2.Fit(trial_id="one", tau=float("inf"))])
    return run


def numbers(events: list[event_pb2.Event]) -> list[event_pb2.TrialDone]:
    return [event.trial_done for event in events if event.HasField("trial_done")]


def mapped(pid: int) -> str:
    return Path(f"/proc/{pid}/maps").read_text()


def test_inspect_then_train_and_fetch_every_file(launch: Launch, tiny: Tiny) -> None:
    trainer, run = launch(command=REAL).connect(), tiny_spec(tiny, steps=6)
    inspected = trainer.call("Inspect", model=run.model, data=run.data, adapter=run.adapter)
    assert sorted(task.name for task in inspected.tasks) == ["Anna", "Boris", "Clara"]
    assert trainer.start(run).accepted
    events = trainer.events(run.run_id)
    assert bodies(events)[0] == "run_started" and bodies(events)[-1] == "run_done", events[-1]
    assert events[0].run_started.parameters_per_row == inspected.parameters_per_row
    assert "checkpoint_saved" in bodies(events) and not (trainer.run_root / run.run_id / "checkpoints").exists()
    manifests = [done.manifest for done in numbers(events)]
    assert len(manifests) == 2
    for manifest in manifests:
        answers = list(trainer.call("ReadArtifact", run_id=run.run_id, path=manifest.path))
        content = b"".join(answer.chunk for answer in answers)
        assert hashlib.sha256(content).hexdigest() == manifest.sha256 == answers[-1].sha256
    index = [path for path in (trainer.run_root / run.run_id / "trials").rglob("*") if path.is_file()]
    assert any(path.name == "adapter_model.safetensors" for path in index)
    for path in index:
        relative = path.relative_to(trainer.run_root / run.run_id).as_posix()
        answers = list(trainer.call("ReadArtifact", run_id=run.run_id, path=relative))
        assert b"".join(answer.chunk for answer in answers) == path.read_bytes(), relative


def test_hidden_states_below_the_adapters_are_kept_in_the_cache_folder(
    launch: Launch, tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BORA_CACHE", str(tmp_path))
    trainer, run = launch(command=REAL).connect(), tiny_spec(tiny, steps=6)
    run.adapter.layers[:] = [1]
    trainer.start(run)
    events = trainer.events(run.run_id)
    assert events[0].run_started.execution.prefix_cache, events[0]
    [filled] = [event.prefix_cache_filled for event in events if event.HasField("prefix_cache_filled")]
    [file] = (tmp_path / "hidden-states").glob("*/states.bin")
    assert filled.tokens == filled.of_tokens == file.stat().st_size / (16 * 4)
    assert len(numbers(events)) == 2


def test_a_run_whose_server_is_killed_and_then_drained_ends_with_the_same_bits(launch: Launch, tiny: Tiny) -> None:
    undisturbed = launch(command=REAL).connect()
    whole = tiny_spec(tiny, steps=60)
    undisturbed.start(whole)
    expected = numbers(undisturbed.events(whole.run_id))
    first, run = launch(command=REAL).connect(), tiny_spec(tiny, steps=60)
    first.start(run)
    saved = first.until(run.run_id, "checkpoint_saved")
    server, child = mapped(first.process.pid), mapped(first.child())
    assert "libtorch" not in server and "cygrpc" in server
    assert "libtorch" in child and "cygrpc" not in child
    execution = next(first.call("ReadEvents", run_id=run.run_id)).event.run_started.execution
    run.execution.CopyFrom(execution)
    first.process.kill()
    first.process.wait()
    second = launch(run_root=first.run_root, command=REAL).connect()
    step = saved.checkpoint_saved.step
    second.start(run, attempt=2, first_seq=saved.seq + 1, resume_step=step)
    second.until(run.run_id, "checkpoint_saved", after_seq=saved.seq)
    second.call("Cancel", run_id=run.run_id, attempt=2, mode=trainer_pb2.CANCEL_MODE_DRAIN)
    drained = second.events(run.run_id)
    last = [event for event in drained if event.HasField("checkpoint_saved")][-1]
    assert drained[-1].run_failed.drained and step < last.checkpoint_saved.step < 60
    second.start(run, attempt=3, first_seq=len(drained) + 1, resume_step=last.checkpoint_saved.step)
    events = second.events(run.run_id)
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert [(d.steps, d.best_step, d.validation_nats_per_token) for d in numbers(events)] == [
        (d.steps, d.best_step, d.validation_nats_per_token) for d in expected
    ]


def test_a_lapsed_lease_saves_the_real_run_and_the_trainer_leaves(launch: Launch, tiny: Tiny) -> None:
    trainer, run = launch("--exit-when-orphaned", command=REAL).connect(), tiny_spec(tiny, steps=100_000)
    trainer.start(run)
    trainer.until(run.run_id, "checkpoint_saved")
    trainer.call("RenewLease", run_id=run.run_id, attempt=1, lease_ms=300)
    wait_for(lambda: trainer.process.poll() is not None, "the trainer's exit", seconds=30)
    events = list(read_events(trainer.run_root / run.run_id / "events.bin", 0))
    assert events[-1].run_failed.drained
    step = max(event.checkpoint_saved.step for event in events)
    assert (trainer.run_root / run.run_id / "checkpoints" / f"step-{step:06d}").is_dir()


def test_bad_models_and_targets_end_with_their_codes(launch: Launch, tiny: Tiny) -> None:
    trainer, run = launch(command=REAL).connect(), tiny_spec(tiny, steps=3)
    run.adapter.targets[:] = ["no_such_module"]
    trainer.start(run)
    failure = trainer.events(run.run_id)[-1].run_failed.failure
    assert (failure.code, failure.domain) == ("unmatched_module", event_pb2.DOMAIN_USER)
    run.model.path = str(tiny.folder / "nowhere")
    status, _, info = refusal(lambda: trainer.call("Inspect", model=run.model, data=run.data, adapter=run.adapter))
    assert (status, info.reason) == ("INVALID_ARGUMENT", "model_missing")
