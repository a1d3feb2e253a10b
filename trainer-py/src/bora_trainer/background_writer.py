"""Makes files durable while training goes on, and tells of them only then.

Writing, hashing and syncing release Python's lock, so that a training loop beside them loses next to nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext

from bora.trainer.v1.event_pb2 import Event
from bora_trainer.fence import Fence

_logger = logging.getLogger(__name__)


class BackgroundWriter:
    """One piece of work at a time, in one thread.

    So memory for one copy of the state is enough, events come in the order of their work, and what a checkpoint
    replaces is never more than the last one but one that was told of. With a fence nothing is written once a later
    attempt at the run has begun.
    """

    def __init__(self, fence: Fence | None = None) -> None:
        self._fence = fence
        self._thread = ThreadPoolExecutor(1, "writer")
        self._work: Future[Sequence[Event]] | None = None

    def start(self, write: Callable[[], Sequence[Event]]) -> None:
        """Begins to write; the events that `write` returns tell of it. What was begun before has been waited for."""
        assert self._work is None, "wait() comes first"
        self._work = self._thread.submit(self._write, write)

    def finished(self) -> Sequence[Event]:
        """The events of the work in hand if it is done, never waiting. Raises what the work raised, once."""
        return self.wait() if self._work is not None and self._work.done() else []

    def wait(self) -> Sequence[Event]:
        """The events of the work in hand, none when there is none. Raises what the work raised, once."""
        work, self._work = self._work, None
        return work.result() if work is not None else []

    def _write(self, write: Callable[[], Sequence[Event]]) -> Sequence[Event]:
        with self._fence.held() if self._fence is not None else nullcontext():
            return write()

    def close(self) -> None:
        """Lets the work in hand end; nobody is told of it."""
        self._thread.shutdown()
        if self._work is not None and (error := self._work.exception()) is not None:
            _logger.error("nobody waits for what could not be written: %s: %s", type(error).__name__, error)
