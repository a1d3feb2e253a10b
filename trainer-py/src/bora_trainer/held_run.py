"""The one run a trainer holds: its child, its lease, its event log, and the end of each.

training -> stopping (drain: asked, or the lease lapsed) -> ended (its events can still be read)
"""

import asyncio
import logging
import shutil
import signal
from collections.abc import AsyncIterator, Sequence

from bora.trainer.v1 import event_pb2, trainer_pb2
from bora_trainer import frames
from bora_trainer.artifacts_reader import ArtifactIndex
from bora_trainer.child import as_trainer_error, failure_of
from bora_trainer.child_process import ChildProcess
from bora_trainer.errors import TrainerError
from bora_trainer.event_log import EventLog
from bora_trainer.leases import Lease
from bora_trainer.publisher import Publisher

logger = logging.getLogger(__name__)
DRAIN_GRACE_SECONDS = 120.0
LOOK_SECONDS = 0.5  # a renewal may also shorten the time that is left
AGAIN_SECONDS = 1.0  # until it is tried again to store the outcome on a full disk
DRAINED = TrainerError(
    "drained", "stopped on request", "start the run again to go on from its checkpoint", "controller"
)
CANCELLED = TrainerError(
    "cancelled", "ended on request", "start the run again to go on from its checkpoint", "controller"
)


class HeldRun:
    """An attempt at a run, from its start until another takes its place."""

    def __init__(self, attempt: int, log: EventLog, lease: Lease, publisher: Publisher, child: ChildProcess) -> None:
        self.run_id = log.run_id
        self.attempt = attempt
        self.lease = lease
        self.step = 0
        self.state: trainer_pb2.RunState = trainer_pb2.RUN_STATE_TRAINING
        self.artifacts = ArtifactIndex(log.path.parent)
        self.ended = asyncio.Event()
        self._log = log
        self._publisher = publisher
        self._child = child
        self._changed = asyncio.Event()
        self._finished = False  # the outcome is in the log
        self._done = False  # and it is run_done: nothing will be resumed
        self._abandoned = False
        self._killed = False
        self._asked_to_stop = False
        self._tasks = [asyncio.create_task(self._supervise()), asyncio.create_task(self._watch_lease())]

    @property
    def active(self) -> bool:
        return self.state != trainer_pb2.RUN_STATE_ENDED

    @property
    def last_seq(self) -> int:
        return self._log.last_seq

    @property
    def memory_bytes(self) -> int:
        return self._child.memory_bytes() if self.active else 0

    def drain(self) -> None:
        """Asks the child to stop at a checkpoint; a child that does not within two minutes is killed."""
        self._asked_to_stop = True
        if self.state != trainer_pb2.RUN_STATE_TRAINING:
            return
        self.state = trainer_pb2.RUN_STATE_STOPPING
        self._child.ask_to_stop()
        self._tasks.append(asyncio.create_task(self._kill_after_grace()))

    async def kill(self) -> None:
        """Ends the process group now; the outcome is an event, stored when this returns."""
        if self.active:
            self._killed = True
            self.state = trainer_pb2.RUN_STATE_STOPPING
            await self._child.kill()
        await self.ended.wait()

    async def abandon(self) -> None:
        """Makes way for a later attempt: the process group is gone and the log closed when this returns."""
        self._abandoned = True
        await self.kill()
        for task in self._tasks:
            task.cancel()
        self._log.close()

    async def events(self, after_seq: int, follow: bool) -> AsyncIterator[event_pb2.Event]:
        """Durable events after a number; with `follow`, also those to come until this attempt ends or is replaced."""
        while not self._abandoned:
            changed, active = self._changed, self.active
            for event in self._log.read(after_seq):
                yield event
                after_seq = event.seq
            if not (follow and active):
                return
            await changed.wait()

    async def _supervise(self) -> None:
        try:
            outcome = await self._outcome()
            if not (self._finished or self._abandoned):
                await self._store_outcome(outcome)
            if self._done:  # their size is 24 bytes a weight and row, twice
                await asyncio.to_thread(shutil.rmtree, self._log.path.parent / "checkpoints", ignore_errors=True)
        except Exception:
            logger.exception("run %s ends without its outcome in the log", self.run_id)
        finally:
            self.state = trainer_pb2.RUN_STATE_ENDED
            self._notify()
            self.ended.set()

    async def _store_outcome(self, outcome: TrainerError) -> None:
        """On a full disk waits for room as long as somebody renews the lease and nobody asks it to end.

        Raises TrainerError `disk_full` when it gives up, and `stale_attempt`.
        """
        while True:
            try:
                await self._store([self._run_failed(outcome)])
                return
            except TrainerError as error:
                waits = error.code == "disk_full" and not (self._killed or self._abandoned or self._asked_to_stop)
                if not waits or self.lease.lapsed:
                    raise
            await asyncio.sleep(AGAIN_SECONDS)

    async def _outcome(self) -> TrainerError:
        try:
            return await self._follow_child()
        except Exception as error:  # what the child says cannot be read or stored: it must not go on
            logger.exception("run %s: killing its child", self.run_id)
            await self._child.kill()
            return as_trainer_error(error)

    async def _follow_child(self) -> TrainerError:
        """Stores what the child says; returns what to report if it said no outcome itself."""
        failure: TrainerError | None = None
        async for batch in self._child.batches():
            await self._store([event_pb2.Event.FromString(f.payload) for f in batch if f.kind == frames.EVENT])
            for frame in batch:
                if frame.kind == frames.FAILURE:
                    failure = told(event_pb2.Failure.FromString(frame.payload))
        status = await self._child.wait()
        if self._killed:
            return CANCELLED
        if self.state == trainer_pb2.RUN_STATE_STOPPING and status == -signal.SIGTERM:
            return DRAINED  # the request came before the child could take it; there was nothing to save
        return failure or self._child.ending(status)

    async def _store(self, bodies: Sequence[event_pb2.Event]) -> None:
        if not bodies or self._abandoned:
            return
        # One fsync for all that has gathered while the last one ran, off the loop that answers calls.
        events = await asyncio.to_thread(self._log.append, bodies)
        for event in events:
            self._publisher.publish(self.run_id, event.SerializeToString())
            self._note(event)
        self._notify()

    def _note(self, event: event_pb2.Event) -> None:
        match event.WhichOneof("body"):
            case "run_started":
                self.step = event.run_started.step
            case "steps_done":
                self.step = event.steps_done.step
            case "run_done" | "run_failed" as outcome:
                self._finished, self._done = True, outcome == "run_done"
            case _:
                pass

    def _run_failed(self, error: TrainerError) -> event_pb2.Event:
        return event_pb2.Event(run_failed=event_pb2.RunFailed(failure=failure_of(error), drained=error is DRAINED))

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _watch_lease(self) -> None:
        while self.lease.remaining > 0:
            await asyncio.sleep(min(self.lease.remaining, LOOK_SECONDS))
        if self.active:
            logger.warning("run %s: the lease lapsed; draining", self.run_id)
            self.drain()

    async def _kill_after_grace(self) -> None:
        await asyncio.sleep(DRAIN_GRACE_SECONDS)
        if self.active:
            logger.error("run %s: not drained after %.0f s; killing", self.run_id, DRAIN_GRACE_SECONDS)
            await self.kill()


def told(failure: event_pb2.Failure) -> TrainerError:
    """A failure that a child wrote, as the error it was there."""
    domain = event_pb2.Domain.Name(failure.domain).removeprefix("DOMAIN_").lower()
    known = domain if domain in ("user", "oom", "infra", "controller") else "infra"
    return TrainerError(failure.code, failure.message, failure.hint, known)
