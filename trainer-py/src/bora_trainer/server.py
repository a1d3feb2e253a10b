"""The gRPC service: checks, delegates, answers. No mathematics and no torch in this process.

proto/bora/trainer/v1/trainer.proto says what each call does; run_keeper.py and held_run.py hold the rules.
"""

import contextlib
import functools
import logging
import tempfile
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import psutil

from bora.trainer.v1 import event_pb2, trainer_pb2, trainer_pb2_grpc
from bora_trainer import frames
from bora_trainer.artifacts_reader import read_chunks
from bora_trainer.child import Job
from bora_trainer.child_process import launch
from bora_trainer.errors import TrainerError
from bora_trainer.held_run import told
from bora_trainer.lasting_child import LastingChild
from bora_trainer.leases import Lease
from bora_trainer.publisher import Publisher
from bora_trainer.rich_errors import abort
from bora_trainer.run_keeper import RunKeeper
from bora_trainer.versions import versions

logger = logging.getLogger(__name__)
API_VERSION = "1.0"


def unary(method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """A call that answers once; a TrainerError becomes its status."""

    @functools.wraps(method)
    async def call(self: object, request: Any, context: grpc.aio.ServicerContext) -> Any:
        try:
            return await method(self, request, context)
        except TrainerError as error:
            await abort(context, error)

    return call


def stream(method: Callable[..., AsyncIterator[Any]]) -> Callable[..., AsyncIterator[Any]]:
    """A call that answers many times; a TrainerError ends it with its status."""

    @functools.wraps(method)
    async def call(self: object, request: Any, context: grpc.aio.ServicerContext) -> AsyncIterator[Any]:
        try:
            async for answer in method(self, request, context):
                yield answer
        except TrainerError as error:
            await abort(context, error)

    return call


class TrainerService(trainer_pb2_grpc.TrainerServiceServicer):
    """One method a call. `contact` is the lease of whoever calls, run or no run; what takes long counts as a call."""

    def __init__(self, keeper: RunKeeper, publisher: Publisher, contact: Lease, child_command: tuple[str, ...]) -> None:
        self.instance_id = str(uuid.uuid4())
        self._keeper = keeper
        self._publisher = publisher
        self._contact = contact
        self._child_command = child_command
        self._texts = LastingChild(child_command, "generate")
        self._devices: list[trainer_pb2.Device] = []
        self._doing = ""  # what a child does for a call, besides a run and texts
        self._starting = 0

    @property
    def occupied(self) -> bool:
        """Whether a call is being answered that takes long."""
        return self._doing != "" or self._texts.busy

    async def probe_devices(self) -> None:
        """Asks a child, which may import torch, what it could train on. Raises TrainerError."""
        answer = await self._ask_child(Job("devices"), b"")
        self._devices = list(trainer_pb2.DescribeResponse.FromString(answer).devices)

    @unary
    async def Describe(self, request: trainer_pb2.DescribeRequest, context: Any) -> trainer_pb2.DescribeResponse:
        held = self._keeper.held
        free = psutil.virtual_memory().available
        for device in self._devices:
            if device.name == "cpu":
                device.free_memory_bytes = free
        return trainer_pb2.DescribeResponse(
            api_version=API_VERSION,
            instance_id=self.instance_id,
            devices=self._devices,
            held=held
            and trainer_pb2.HeldRun(run_id=held.run_id, attempt=held.attempt, last_seq=held.last_seq, state=held.state),
            events_endpoint=self._publisher.endpoint,
            events_public_key=self._publisher.public_key,
            versions=versions(),
            free_memory_bytes=free,
        )

    @unary
    async def Inspect(self, request: trainer_pb2.InspectRequest, context: Any) -> trainer_pb2.InspectResponse:
        self._keeper.locate_sources(request.model, request.data)
        request.adapter_folders[:] = [self._keeper.locate_adapter(path) for path in request.adapter_folders]
        async with self._alone("an inspection"):
            answer = await self._ask_child(Job("inspect"), request.SerializeToString())
        return trainer_pb2.InspectResponse.FromString(answer)

    @unary
    async def Start(self, request: trainer_pb2.StartRequest, context: Any) -> trainer_pb2.StartResponse:
        self._refuse_beside_others()
        self._starting += 1
        try:
            await self._texts.end()
            held, accepted = await self._keeper.start(request)
        finally:
            self._starting -= 1
        self._contact.renew(request.lease_ms)
        return trainer_pb2.StartResponse(accepted=accepted, last_seq=held.last_seq)

    @unary
    async def RenewLease(self, request: trainer_pb2.RenewLeaseRequest, context: Any) -> trainer_pb2.RenewLeaseResponse:
        held = self._keeper.of(request.run_id, request.attempt)
        self._keeper.adopt(held, request.lease_ms, request.subscriber_key)
        self._contact.renew(request.lease_ms)
        return trainer_pb2.RenewLeaseResponse(
            last_seq=held.last_seq, step=held.step, memory_bytes=held.memory_bytes, state=held.state
        )

    @unary
    async def Cancel(self, request: trainer_pb2.CancelRequest, context: Any) -> trainer_pb2.CancelResponse:
        held = self._keeper.of(request.run_id, request.attempt)
        if request.mode == trainer_pb2.CANCEL_MODE_DRAIN:
            held.drain()
        elif request.mode == trainer_pb2.CANCEL_MODE_KILL:
            await held.kill()
        else:
            raise TrainerError("spec_invalid", f"mode is {request.mode}, expected DRAIN or KILL")
        return trainer_pb2.CancelResponse(state=held.state)

    @stream
    async def ReadEvents(
        self, request: trainer_pb2.ReadEventsRequest, context: Any
    ) -> AsyncIterator[trainer_pb2.ReadEventsResponse]:
        held = self._keeper.held
        if held is None or held.run_id != request.run_id:
            for event in self._keeper.stored_events(request.run_id, request.after_seq):
                yield trainer_pb2.ReadEventsResponse(event=event)
            return
        async for event in held.events(request.after_seq, request.follow):
            yield trainer_pb2.ReadEventsResponse(event=event)

    @stream
    async def ReadArtifact(
        self, request: trainer_pb2.ReadArtifactRequest, context: Any
    ) -> AsyncIterator[trainer_pb2.ReadArtifactResponse]:
        index = await self._keeper.artifacts(request.run_id)
        file, sha256 = index.find(request.path)
        for answer in read_chunks(file, request.path, request.offset, sha256):
            self._contact.renew()  # a long file is a sign of life too
            yield answer

    @stream
    async def Generate(
        self, request: trainer_pb2.GenerateRequest, context: Any
    ) -> AsyncIterator[trainer_pb2.GenerateResponse]:
        self._keeper.refuse_while_active()
        if self._doing or self._starting:
            raise _busy(self._doing or "the start of a run")
        self._keeper.locate_model(request.model)
        for source in request.adapters:
            if source.WhichOneof("source") == "folder":
                source.folder = self._keeper.locate_adapter(source.folder)
        async with contextlib.aclosing(self._texts.answers(request.SerializeToString())) as answers:
            async for answer in answers:
                self._contact.renew()
                yield trainer_pb2.GenerateResponse.FromString(answer)

    @stream
    async def Merge(self, request: trainer_pb2.MergeRequest, context: Any) -> AsyncIterator[trainer_pb2.MergeResponse]:
        self._keeper.locate_model(request.model)
        request.folder = self._keeper.locate_adapter(request.folder)
        async with self._alone("a merge"):
            with tempfile.TemporaryDirectory(prefix=".merged-", dir=self._keeper.run_root) as name:
                answer = await self._ask_child(Job("merge", name), request.SerializeToString())
                listed = trainer_pb2.MergeResponse.FromString(answer)
                yield listed
                for file in listed.files:
                    for chunk in read_chunks(Path(name) / file.path, file.path, 0, file.sha256):
                        self._contact.renew()
                        if chunk.chunk:
                            yield trainer_pb2.MergeResponse(chunk=chunk.chunk)

    @contextlib.asynccontextmanager
    async def _alone(self, what: str) -> AsyncIterator[None]:
        """While a child does `what` for a call, nothing else begins; its memory is free of a base kept for texts."""
        self._keeper.refuse_while_active()
        self._refuse_beside_others()
        self._doing = what
        try:
            await self._texts.end()
            yield
        finally:
            self._doing = ""
            self._contact.renew()

    def _refuse_beside_others(self) -> None:
        if self.occupied:
            raise _busy(self._doing or "the writing of a text")

    async def _ask_child(self, job: Job, request: bytes) -> bytes:
        """The one answer of a child; killed with the call, if that is cancelled."""
        with tempfile.TemporaryDirectory(prefix="bora-") as folder:
            log = Path(folder) / "child.log"
            child = await launch(self._child_command, job, request, log)
            answers: list[frames.Frame] = []
            try:
                async for batch in child.batches():
                    answers += batch
                status = await child.wait()
            finally:
                await child.kill()
            for frame in answers:
                if frame.kind == frames.ANSWER:
                    return frame.payload
                if frame.kind == frames.FAILURE:
                    logger.info("%s failed:\n%s", job.kind, log.read_text(errors="replace")[-8192:])
                    raise told(event_pb2.Failure.FromString(frame.payload))
            logger.error("%s said nothing:\n%s", job.kind, log.read_text(errors="replace")[-8192:])
            raise child.ending(status)


def _busy(what: str) -> TrainerError:
    return TrainerError("busy", f"{what} is under way", "wait for its end", "controller")
