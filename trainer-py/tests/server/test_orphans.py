"""Whoever disappears, nothing is left over: the lease, the end of the server, a trainer no one calls."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from trainer_under_test import SECONDS, TrainerUnderTest, alive, bodies, refusal, spec, wait_for

from bora.trainer.v1 import trainer_pb2
from bora_trainer.event_log import read_events

Launch = Callable[..., TrainerUnderTest]


def test_a_lapsed_lease_drains_to_a_checkpoint_and_the_trainer_leaves(launch: Launch) -> None:
    trainer = launch("--exit-when-orphaned").connect()
    run = spec(steps=2_000, checkpoint_every=1_000)
    trainer.start(run, lease_ms=600)
    wait_for(lambda: trainer.process.poll() is not None, "the trainer's exit")
    assert trainer.process.returncode == 0
    events = list(read_events(trainer.run_root / run.run_id / "events.bin", 0))
    assert bodies(events)[-2:] == ["checkpoint_saved", "run_failed"] and events[-1].run_failed.drained
    assert events[-2].checkpoint_saved.step == events[-3].steps_done.step > 0


def test_a_renewed_lease_keeps_the_run_and_without_the_option_the_trainer_stays(launch: Launch) -> None:
    trainer = launch().connect()
    run = spec(steps=2_000)
    trainer.start(run, lease_ms=2_000)
    for _ in range(5):
        time.sleep(0.5)  # in all longer than a lease; each far shorter, for a busy machine renews late
        answer = trainer.call("RenewLease", run_id=run.run_id, attempt=1, lease_ms=2_000)
        assert answer.state == trainer_pb2.RUN_STATE_TRAINING
    answer = trainer.call("RenewLease", run_id=run.run_id, attempt=1, lease_ms=500)
    assert answer.step > 10
    events = trainer.events(run.run_id)
    assert events[-1].run_failed.drained
    assert trainer.start(spec(steps=1)).accepted


def test_a_trainer_no_one_calls_leaves(launch: Launch) -> None:
    trainer = launch("--exit-when-orphaned", "--lease-ms", "2000").connect()
    for _ in range(5):
        time.sleep(0.5)
        trainer.call("Describe")
    assert trainer.process.wait(SECONDS) == 0


def test_a_long_inspection_is_a_sign_of_life(launch: Launch) -> None:
    trainer, run = launch("--exit-when-orphaned", "--lease-ms", "500").connect(), spec(way="slow")
    trainer.call("Inspect", model=run.model, data=run.data)
    assert trainer.process.poll() is None and trainer.process.wait(SECONDS) == 0


def test_a_finished_run_does_not_keep_an_orphaned_trainer(launch: Launch) -> None:
    trainer = launch("--exit-when-orphaned").connect()
    trainer.start(spec(steps=2), lease_ms=600)
    assert trainer.process.wait(SECONDS) == 0


def test_the_child_ends_when_the_server_is_killed(launch: Launch) -> None:
    trainer = launch().connect()
    run = spec(steps=2_000, way="grandchild")
    trainer.start(run)
    trainer.until(run.run_id, "steps_done")
    child = trainer.child()
    grandchild = int((trainer.run_root / run.run_id / "grandchild").read_text())
    trainer.process.kill()
    trainer.process.wait()
    wait_for(lambda: not alive(child) and not alive(grandchild), "the end of the child's group")


def test_after_a_killed_server_another_resumes_from_the_same_folder(launch: Launch) -> None:
    first = launch().connect()
    run = spec(steps=30, checkpoint_every=5)
    first.start(run)
    saved = first.until(run.run_id, "checkpoint_saved")
    first.process.kill()
    first.process.wait()
    with open(first.run_root / run.run_id / "events.bin", "ab") as file:
        file.write(b"\x10\x00\x00\x00torn")
    second = launch(run_root=first.run_root).connect()
    assert [e.seq for e in second.events(run.run_id)][: saved.seq] == list(range(1, saved.seq + 1))
    assert refusal(lambda: second.start(run))[2].reason == "stale_attempt"
    second.start(run, attempt=2, first_seq=saved.seq + 1, resume_step=saved.checkpoint_saved.step)
    events = second.events(run.run_id)
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert [event.attempt for event in events] == [1] * saved.seq + [2] * (len(events) - saved.seq)
    assert [e.steps_done.step for e in events if e.HasField("steps_done")] == list(range(1, 31))
    assert bodies(events)[-1] == "run_done"


def test_a_stopped_and_continued_server_loses_nothing(trainer: TrainerUnderTest) -> None:
    run = spec(steps=60, checkpoint_every=60)
    trainer.start(run)
    trainer.until(run.run_id, "steps_done")
    trainer.process.send_signal(signal.SIGSTOP)
    time.sleep(1.0)
    trainer.process.send_signal(signal.SIGCONT)
    events = trainer.events(run.run_id)
    assert [event.seq for event in events] == list(range(1, 65))


def test_a_server_stopped_beyond_its_lease_drains_when_it_goes_on(trainer: TrainerUnderTest) -> None:
    run = spec(steps=2_000)
    trainer.start(run, lease_ms=1_000)
    trainer.process.send_signal(signal.SIGSTOP)
    time.sleep(1.5)
    trainer.process.send_signal(signal.SIGCONT)
    assert trainer.events(run.run_id)[-1].run_failed.drained


def test_sigterm_drains_the_run_before_the_server_ends(trainer: TrainerUnderTest) -> None:
    run = spec(steps=2_000)
    trainer.start(run)
    trainer.until(run.run_id, "steps_done")
    child = trainer.child()
    os.kill(trainer.process.pid, signal.SIGTERM)
    assert trainer.process.wait(SECONDS) == 0 and not alive(child)
    events = list(read_events(Path(trainer.run_root, run.run_id, "events.bin"), 0))
    assert bodies(events)[-2:] == ["checkpoint_saved", "run_failed"]


def test_a_server_that_is_leaving_begins_no_run(trainer: TrainerUnderTest) -> None:
    run = spec(steps=2_000)
    trainer.start(run)
    trainer.until(run.run_id, "steps_done")
    child = trainer.child()
    os.kill(child, signal.SIGSTOP)  # so that the drain lasts until the refusal was seen
    try:
        os.kill(trainer.process.pid, signal.SIGTERM)
        wait_for(lambda: _reason_of_start(trainer) == "stopping", "the refusal")
    finally:
        os.kill(child, signal.SIGCONT)
    assert trainer.process.wait(SECONDS) == 0 and not alive(child)


def _reason_of_start(trainer: TrainerUnderTest) -> str:
    """`busy` until the signal has arrived."""
    return refusal(lambda: trainer.start(spec()))[2].reason


def test_a_server_that_goes_on_after_another_took_its_run_over_writes_nothing_more(launch: Launch) -> None:
    first = launch().connect()
    run = spec(steps=2_000, checkpoint_every=5)
    first.start(run, lease_ms=1_000)
    saved = first.until(run.run_id, "checkpoint_saved")
    first.process.send_signal(signal.SIGSTOP)  # its child goes on, as on a machine that was cut off
    second = launch(run_root=first.run_root).connect()
    second.start(run, attempt=2, first_seq=saved.seq + 1, resume_step=saved.checkpoint_saved.step)
    second.until(run.run_id, "checkpoint_saved")
    first.process.send_signal(signal.SIGCONT)
    wait_for(lambda: "stale_attempt" in first.log.read_text() or "is over" in first.log.read_text(), "the refusal")
    second.call("Cancel", run_id=run.run_id, attempt=2, mode=trainer_pb2.CANCEL_MODE_DRAIN)
    events = second.events(run.run_id)
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert [event.attempt for event in events] == [1] * saved.seq + [2] * (len(events) - saved.seq)
    assert events == list(read_events(first.run_root / run.run_id / "events.bin", 0))
