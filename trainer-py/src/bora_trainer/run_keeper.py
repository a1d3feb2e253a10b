"""Decides what a trainer does with a run: begin, refuse, take over, adopt, end. Holds at most one."""

import asyncio
import contextlib
import re
import shutil
import uuid
from collections.abc import Sequence
from pathlib import Path

from bora.trainer.v1 import event_pb2, run_pb2, trainer_pb2
from bora_trainer.artifacts_reader import ArtifactIndex
from bora_trainer.child import Job
from bora_trainer.child_process import launch
from bora_trainer.errors import TrainerError
from bora_trainer.event_log import EventLog, read_events
from bora_trainer.held_run import HeldRun
from bora_trainer.leases import Lease
from bora_trainer.paths import below, inside
from bora_trainer.publisher import Publisher
from bora_trainer.spec import RunSpec

EVENTS_FILE = "events.bin"
CHECKPOINT_NAME = re.compile(r"step-(\d+)")
MAX_LEASE_MS = 3_600_000
MAX_FIRST_SEQ = 2**31  # leaves as many numbers again for the events of the attempt


class RunKeeper:
    """The held run and the folders of all runs under `run_root`."""

    def __init__(
        self,
        run_root: Path,
        publisher: Publisher,
        child_command: Sequence[str],
        data_root: Path | None,
        model_root: Path | None,
        adapter_root: Path | None = None,
    ) -> None:
        self.run_root = run_root
        self.held: HeldRun | None = None
        self.stopping = False
        self._publisher = publisher
        self._child_command = child_command
        self._data_root = data_root
        self._model_root = model_root
        self._adapter_root = adapter_root
        self._starting = asyncio.Lock()

    async def start(self, request: trainer_pb2.StartRequest) -> tuple[HeldRun, bool]:
        """Begins an attempt; (run, False) when this very attempt is held already, whose lease is then renewed.

        An earlier attempt at the same run gives way, once its process group is gone. Raises TrainerError
        `spec_invalid`, `stale_attempt`, `busy`, `stopping`, `checkpoint_missing`.
        """
        check_start(request)
        run_id, attempt = request.spec.run_id, request.attempt
        async with self._starting:
            held = self.held
            if held is not None and held.run_id == run_id and attempt <= held.attempt:
                self._refuse_older(held, attempt)
                self._admit(request.subscriber_key)
                held.lease.renew(request.lease_ms)
                return held, False
            if self.stopping:
                raise TrainerError("stopping", "this trainer is shutting down", "use another one", "controller")
            if held is not None and held.active and held.run_id != run_id:
                raise _busy(held)
            spec = self.locate(request.spec)
            self._check_checkpoint(run_id, request.resume_step)
            self._admit(request.subscriber_key)
            if held is not None:
                await held.abandon()
                self.held = None
            self.held = await self._begin(request, spec)
            return self.held, True

    def of(self, run_id: str, attempt: int) -> HeldRun:
        """The held run, if it is this attempt at this run. Raises TrainerError `run_unknown` or `stale_attempt`."""
        held = self.held
        if held is None or held.run_id != run_id or attempt > held.attempt:
            raise _unknown(run_id, attempt)
        self._refuse_older(held, attempt)
        return held

    def adopt(self, held: HeldRun, lease_ms: int, subscriber_key: bytes) -> None:
        """Renews the lease; a key given with it replaces the one that may subscribe."""
        check_lease(lease_ms)
        self._admit(subscriber_key)
        held.lease.renew(lease_ms)

    def refuse_while_active(self) -> None:
        """Raises TrainerError `busy` while a run trains: a second model would not fit beside it."""
        if self.held is not None and self.held.active:
            raise _busy(self.held)

    def folder(self, run_id: str) -> Path:
        """The run's folder. Raises TrainerError `spec_invalid` when the id is not a UUID."""
        check_run_id(run_id)
        return inside(self.run_root, run_id)

    def stored_events(self, run_id: str, after_seq: int) -> list[event_pb2.Event]:
        """Events of a run that is not held but lies under the run root. Raises TrainerError `run_unknown`."""
        path = self.folder(run_id) / EVENTS_FILE
        if not path.is_file():
            raise _unknown(run_id, 0)
        return list(read_events(path, after_seq))

    async def artifacts(self, run_id: str) -> ArtifactIndex:
        """What may be fetched of a run, up to its last durable event."""
        held = self.held
        if held is None or held.run_id != run_id:
            index = ArtifactIndex(self.folder(run_id))
            index.note(self.stored_events(run_id, 0))
            return index
        index = held.artifacts
        index.note([event async for event in held.events(index.seq, follow=False)])
        return index

    def locate(self, spec: run_pb2.RunSpec) -> run_pb2.RunSpec:
        """The spec with its paths resolved below the roots this trainer was given. Raises TrainerError."""
        located = run_pb2.RunSpec()
        located.CopyFrom(spec)
        self.locate_sources(located.model, located.data)
        if located.prior.HasField("mean"):
            located.prior.mean.path = self.locate_adapter(located.prior.mean.path)
        for adapter in located.evaluate.adapters:
            adapter.path = adapter.path and self.locate_adapter(adapter.path)
        return located

    def locate_adapter(self, path: str) -> str:
        """An adapter folder: below the adapter root or the model root, as far as there are any.

        Raises TrainerError `path_refused`.
        """
        roots = [root for root in (self._adapter_root, self._model_root) if root is not None]
        if not roots:
            return str(Path(path).resolve())
        for root in roots[:-1]:
            with contextlib.suppress(TrainerError):
                return str(below(root, path))
        return str(below(roots[-1], path))

    def locate_sources(self, model: run_pb2.ModelSource, data: run_pb2.DataSpec) -> None:
        """Resolves the paths of a model and a data source in place. Raises TrainerError `path_refused`."""
        self.locate_model(model)
        if self._data_root is not None and data.WhichOneof("source") == "table":
            data.table.path = str(below(self._data_root, data.table.path))

    def locate_model(self, model: run_pb2.ModelSource) -> None:
        """Resolves a model's path in place. Raises TrainerError `path_refused`."""
        if self._model_root is not None and model.WhichOneof("source") == "path":
            model.path = str(below(self._model_root, model.path))

    async def _begin(self, request: trainer_pb2.StartRequest, spec: run_pb2.RunSpec) -> HeldRun:
        folder = self.folder(spec.run_id)
        log = EventLog(folder / EVENTS_FILE, spec.run_id)
        try:
            await asyncio.to_thread(log.begin, request.attempt, request.first_seq)
            _drop_checkpoints_after(folder / "checkpoints", request.resume_step)
            job = Job("train", str(folder), request.resume_step, request.attempt)
            child = await launch(self._child_command, job, spec.SerializeToString(), folder / "child.log")
        except BaseException:
            log.close()
            raise
        return HeldRun(request.attempt, log, Lease(request.lease_ms), self._publisher, child)

    def _admit(self, key: bytes) -> None:
        if key:
            self._publisher.admit(key)

    def _check_checkpoint(self, run_id: str, step: int) -> None:
        folder = self.folder(run_id) / "checkpoints"
        if step and step not in _checkpoints(folder):
            raise TrainerError(
                "checkpoint_missing",
                f"run {run_id} has no checkpoint of step {step} here, only of {sorted(_checkpoints(folder))}",
                "start it on the trainer that saved it, or with resume_step = 0",
                "infra",
            )

    @staticmethod
    def _refuse_older(held: HeldRun, attempt: int) -> None:
        if attempt < held.attempt:
            raise TrainerError(
                "stale_attempt",
                f"run {held.run_id}: attempt {attempt} is over, attempt {held.attempt} is held",
                "another orchestrator took the run over",
                "controller",
            )


def check_start(request: trainer_pb2.StartRequest) -> None:
    """Raises TrainerError `spec_invalid` for a request no orchestrator of ours sends, or a spec that cannot train."""
    check_run_id(request.spec.run_id)
    RunSpec.from_proto(request.spec)
    if request.attempt < 1 or not 1 <= request.first_seq <= MAX_FIRST_SEQ:
        raise _invalid(
            f"attempt {request.attempt} and first_seq {request.first_seq} count from 1, to {MAX_FIRST_SEQ} at most"
        )
    check_lease(request.lease_ms)


def check_lease(milliseconds: int) -> None:
    if not 1 <= milliseconds <= MAX_LEASE_MS:
        raise _invalid(f"lease_ms is {milliseconds}, expected 1 to {MAX_LEASE_MS}")


def check_run_id(run_id: str) -> None:
    """Raises TrainerError `spec_invalid` unless the id is a UUID in its usual form; it names a folder."""
    try:
        valid = str(uuid.UUID(run_id)) == run_id
    except ValueError:
        valid = False
    if not valid:
        raise _invalid(f"run_id {run_id!r} is not a lower-case UUID of 36 characters")


def _checkpoints(folder: Path) -> dict[int, Path]:
    if not folder.is_dir():
        return {}
    named = ((CHECKPOINT_NAME.fullmatch(path.name), path) for path in folder.iterdir() if path.is_dir())
    return {int(match[1]): path for match, path in named if match}


def _drop_checkpoints_after(folder: Path, step: int) -> None:
    """The orchestrator does not know of them, so the events after `step` are written again, and they with them."""
    for saved, path in _checkpoints(folder).items():
        if saved > step:
            shutil.rmtree(path)


def _busy(held: HeldRun) -> TrainerError:
    return TrainerError(
        "busy",
        f"run {held.run_id}, attempt {held.attempt}, is held at step {held.step}",
        "wait for its end",
        "controller",
    )


def _unknown(run_id: str, attempt: int) -> TrainerError:
    which = f"attempt {attempt} of run {run_id!r}" if attempt else f"run {run_id!r}"
    return TrainerError("run_unknown", f"{which} is not here", "start it", "controller")


def _invalid(message: str) -> TrainerError:
    return TrainerError("spec_invalid", message, "see docs/errors.md#spec_invalid")
