"""Files are written while training goes on: what they hold, when they are told of, what a failure or a kill leaves."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import threading
from pathlib import Path

import pytest
import torch
from tiny_runs import Tiny, bodies

from bora.trainer.v1.event_pb2 import Event
from bora_trainer import checkpoint, trial_results
from bora_trainer.checkpoint import Checkpoint
from bora_trainer.child import as_trainer_error
from bora_trainer.engine import Engine
from bora_trainer.host_copy import HostCopy
from bora_trainer.micro_batch_size import MicroBatchSize
from bora_trainer.training_state import TrainingState, snapshot_bytes

TAUS = (0.0, 1e2)
TWO_CHECKPOINTS = {"max_steps": 8, "evaluate_base": False}  # of steps 3 and 6


def tensors_of(folder: Path) -> dict[int, bytes]:
    found = sorted((folder / "checkpoints").iterdir())
    return {int(path.name[5:]): (path / checkpoint.TENSORS).read_bytes() for path in found}


@pytest.fixture
def slow_disk(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """A disk on which nothing gets written before this is set."""
    gate = threading.Event()

    def after_gate(write):
        def slow(*arguments):
            assert gate.wait(60), "training did not go on"
            return write(*arguments)

        return slow

    monkeypatch.setattr(checkpoint, "save", after_gate(checkpoint.save))
    monkeypatch.setattr(trial_results, "write_trial", after_gate(trial_results.write_trial))
    return gate


def test_training_goes_on_while_a_checkpoint_is_written_which_holds_the_state_of_its_step(tiny, tmp_path, slow_disk):
    events = []
    for event in tiny.train(tiny.spec(TAUS, **TWO_CHECKPOINTS), tmp_path / "slow"):
        events.append(event)
        if event.steps_done.step == 6:  # three steps after the first checkpoint was due
            assert not bodies(events, "checkpoint_saved")
            slow_disk.set()
    assert [saved.step for saved in bodies(events, "checkpoint_saved")] == [3, 6]
    list(tiny.train(tiny.spec(TAUS, **TWO_CHECKPOINTS), tmp_path / "usual"))
    assert tensors_of(tmp_path / "slow") == tensors_of(tmp_path / "usual")


def test_a_fit_is_done_once_its_files_are_there_and_the_others_train_meanwhile(tiny, tmp_path, slow_disk):
    spec = tiny.spec([0.0, 1e6], max_steps=60, patience=3, learning_rate=5e-2, checkpoint_every=60)
    events = []
    for event in tiny.train(spec, tmp_path):
        events.append(event)
        if len(event.steps_done.fits) == 1 and not slow_disk.is_set():  # of the two, one has left
            assert not bodies(events, "trial_done")
            slow_disk.set()
    first, last = bodies(events, "trial_done")
    assert first.steps < last.steps
    for done in (first, last):
        assert (tmp_path / done.manifest.path).is_file()


def full_disk(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("place", ["checkpoint.save", "trial_results.write_trial"])
def test_a_full_disk_ends_the_run_as_disk_full(tiny, tmp_path, monkeypatch, place):
    module, name = place.split(".")
    monkeypatch.setattr({"checkpoint": checkpoint, "trial_results": trial_results}[module], name, full_disk)
    events: list[Event] = []
    with pytest.raises(OSError) as raised:
        events.extend(tiny.train(tiny.spec(TAUS, **TWO_CHECKPOINTS), tmp_path))
    assert as_trainer_error(raised.value).code == "disk_full"


def test_what_was_being_saved_when_a_run_fails_is_told_of_before_the_failure(tiny, tmp_path, monkeypatch, slow_disk):
    def fail(*_: object, **__: object) -> None:
        slow_disk.set()
        raise RuntimeError("the device fell off the bus")

    events = []
    with pytest.raises(RuntimeError, match="fell off"):
        for event in tiny.train(tiny.spec(TAUS, **TWO_CHECKPOINTS), tmp_path):
            events.append(event)
            if event.evaluated.step == 3:
                monkeypatch.setattr("bora_trainer.gradients.Gradients.__call__", fail)
    assert [saved.step for saved in bodies(events, "checkpoint_saved")] == [3]
    assert checkpoint.load(tmp_path, 3) is not None


def test_a_stop_waits_for_the_files_of_a_fit_that_has_ended(tiny, tmp_path, slow_disk):
    """A checkpoint without that fit must not be told of before its results are: nobody would train it again."""
    spec = tiny.spec([0.0, 1e6], max_steps=60, patience=3, learning_rate=5e-2, checkpoint_every=60)
    stopping, events = [False], []
    for event in tiny.train(spec, tmp_path, stop=lambda: stopping[0]):
        events.append(event)
        if len(event.steps_done.fits) == 1:
            stopping[0] = True
            slow_disk.set()
    kinds = [event.WhichOneof("body") for event in events]
    assert kinds[-1] == "run_failed" and events[-1].run_failed.drained
    assert kinds.index("trial_done") < kinds.index("checkpoint_saved")


def test_a_copy_keeps_what_was_there(tiny):
    tensor = torch.arange(12.0).view(3, 4)
    copy = HostCopy({"columns": tensor[:, 1:3]})
    tensor.zero_()
    assert torch.equal(copy.tensors()["columns"], torch.tensor([[1.0, 2], [5, 6], [9, 10]]))
    assert copy.tensors()["columns"].is_contiguous() and copy.nbytes == 24


def test_the_memory_of_a_copy_is_known_before(tiny: Tiny):
    spec, dataset = tiny.spec(TAUS), tiny.dataset()
    engine = Engine(tiny.loaded(), spec.adapter)
    state = TrainingState(spec, spec.fits, engine, dataset)
    copy = HostCopy(state.checkpoint(MicroBatchSize(4, 64)).tensors)
    steps = 8  # the number of steps, an int64
    assert copy.nbytes == snapshot_bytes(len(spec.fits), len(dataset.tasks), engine.layout.weights) + steps


def make(step: int) -> Checkpoint:
    return Checkpoint(step, {"rows": torch.full((4,), float(step))}, {})


def save_and_hang(folder: Path, hanging) -> None:
    """In another process; killed when the tensors of its second checkpoint are on the disk and their list is not."""
    checkpoint.save(folder, make(50))

    def hang(*_: object) -> None:
        hanging.set()
        threading.Event().wait()

    checkpoint.artifacts.write_json = hang
    checkpoint.save(folder, make(100))


def test_a_kill_while_a_checkpoint_is_written_leaves_the_one_before(tmp_path: Path):
    spawn = multiprocessing.get_context("spawn")
    hanging = spawn.Event()
    other = spawn.Process(target=save_and_hang, args=(tmp_path, hanging))
    other.start()
    assert hanging.wait(120) and other.pid is not None
    os.kill(other.pid, signal.SIGKILL)
    other.join()
    names = {path.name.partition("-")[0] for path in (tmp_path / "checkpoints").iterdir()}
    assert names == {"step", ".unfinished"}
    found = checkpoint.load(tmp_path, 100)
    assert found is not None and found.step == 50 and torch.equal(found.tensors["rows"], make(50).tensors["rows"])
    checkpoint.save(tmp_path, make(100))
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["step-000050", "step-000100"]
