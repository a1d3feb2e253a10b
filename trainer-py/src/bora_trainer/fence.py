"""Who may write into a run's folder: the attempt named in `<run folder>/attempt`, and no earlier one.

Trainers share run folders. One that was stopped past its lease, and goes on after another took its run over, must not
add an event, a checkpoint or a result. Writers (server and child) share the file's lock and read the number before they
make anything visible; a new attempt has the lock alone while it raises the number. The kernel frees it with a process.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from bora_trainer.errors import TrainerError

FILE = "attempt"
TAKE_SECONDS = 10.0  # a writer that was stopped while it held the lock keeps it
LOOK_SECONDS = 0.05


class Fence:
    """The right of one attempt to write into a run's folder. `attempt` 0: of whoever uses the folder alone."""

    def __init__(self, folder: Path, attempt: int) -> None:
        self._file = folder / FILE
        self.attempt = attempt

    def take(self) -> None:
        """From now on only this attempt may write.

        Raises TrainerError `stale_attempt` when a later one has begun, `busy` when an earlier one is stopped in the
        middle of writing, OSError when the folder cannot be written.
        """
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._opened() as descriptor:
            self._lock_alone(descriptor)
            self._refuse_older(descriptor)
            os.pwrite(descriptor, f"{self.attempt:010d}\n".encode(), 0)
            os.fsync(descriptor)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """While this lasts no later attempt begins. Raises TrainerError `stale_attempt` when one has."""
        if self.attempt == 0:
            yield
            return
        with self._opened() as descriptor:
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            self._refuse_older(descriptor)
            yield

    @contextlib.contextmanager
    def _opened(self) -> Iterator[int]:
        descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _lock_alone(self, descriptor: int) -> None:
        deadline = time.monotonic() + TAKE_SECONDS
        while True:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            if time.monotonic() > deadline:
                raise TrainerError(
                    "busy",
                    f"run {self._file.parent.name}: an earlier attempt has been writing for {TAKE_SECONDS:.0f} s",
                    "its process is stopped or its disk hangs: end it",
                    "controller",
                )
            time.sleep(LOOK_SECONDS)

    def _refuse_older(self, descriptor: int) -> None:
        text = os.pread(descriptor, 32, 0).strip()
        holder = int(text) if text.isdigit() else 0
        if holder > self.attempt:
            raise TrainerError(
                "stale_attempt",
                f"run {self._file.parent.name}: attempt {self.attempt} is over, attempt {holder} has begun",
                "nothing is lost: the later attempt goes on",
                "controller",
            )
