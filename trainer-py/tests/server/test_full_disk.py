"""A disk that takes nothing more ends the run, but its outcome is kept until there is room to store it."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from trainer_under_test import TrainerUnderTest, spec, wait_for

from bora.trainer.v1 import trainer_pb2

Launch = Callable[..., TrainerUnderTest]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "bora-test", str(disk)]
    if os.getuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("only root mounts a small disk")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def fill(file: Path) -> None:
    with open(file, "wb", buffering=0) as ballast:
        for size in (1 << 16, 512, 1):
            try:
                while True:
                    ballast.write(b"x" * size)
            except OSError:
                continue


def test_the_outcome_waits_for_room_while_the_lease_is_renewed(launch: Launch, small_disk: Path) -> None:
    trainer = launch(run_root=small_disk / "runs").connect()
    run = spec(steps=2_000, checkpoint_every=2_000)
    trainer.start(run)
    trainer.until(run.run_id, "steps_done")
    fill(small_disk / "ballast")
    wait_for(lambda: "killing its child" in trainer.log.read_text(), "the end of the child")
    for _ in range(3):
        time.sleep(0.5)
        answer = trainer.call("RenewLease", run_id=run.run_id, attempt=1, lease_ms=60_000)
        assert answer.state == trainer_pb2.RUN_STATE_TRAINING  # its outcome is still to come
    (small_disk / "ballast").unlink()
    events = trainer.events(run.run_id)
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert events[-1].run_failed.failure.code == "disk_full"


def test_whoever_ends_the_run_does_not_wait_for_room(launch: Launch, small_disk: Path) -> None:
    trainer = launch(run_root=small_disk / "runs").connect()
    run = spec(steps=2_000, checkpoint_every=2_000)
    trainer.start(run)
    trainer.until(run.run_id, "steps_done")
    fill(small_disk / "ballast")
    wait_for(lambda: "killing its child" in trainer.log.read_text(), "the end of the child")
    answer = trainer.call("Cancel", run_id=run.run_id, attempt=1, mode=trainer_pb2.CANCEL_MODE_KILL)
    assert answer.state == trainer_pb2.RUN_STATE_ENDED
