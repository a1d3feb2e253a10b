"""The process that trains: reads one job on stdin, writes messages on a pipe of its own, and never outlives its server.

SIGTERM asks it to stop: the unfinished step is dropped and the last whole one saved. End of stdin means that the server
is gone: the whole process group ends at once; checkpoints and artifacts are renamed into place, so nothing is left half
written. A job of a lasting kind answers one request after another, so that the base is loaded once; END or FAILURE
closes each, DROP on stdin ends the one in hand. This process never imports gRPC; the server never imports torch.
"""

import argparse
import errno
import functools
import json
import os
import queue
import re
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from google.protobuf.message import Message

from bora.trainer.v1 import event_pb2, run_pb2, trainer_pb2
from bora_trainer import frames
from bora_trainer.errors import TrainerError, is_out_of_memory

Stop = Callable[[], bool]
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)  # a disk that became read-only takes as little as a full one
DOMAINS = {
    "user": event_pb2.DOMAIN_USER,
    "oom": event_pb2.DOMAIN_OOM,
    "infra": event_pb2.DOMAIN_INFRA,
    "controller": event_pb2.DOMAIN_CONTROLLER,
}


@dataclass(frozen=True, slots=True)
class Job:
    """What to do with the request that follows: `kind` is one of WORK's. `run_folder`: where files are left."""

    kind: str
    run_folder: str = ""
    resume_step: int = 0
    attempt: int = 0

    def to_json(self) -> bytes:
        return json.dumps(asdict(self)).encode()


Work = Callable[[Job, bytes, Stop], Iterator[Message]]


def train(job: Job, request: bytes, stop: Stop) -> Iterator[Message]:
    """Events of one attempt at a RunSpec; see train.py."""
    try:
        yield from _train(job, request, stop)
    except TrainerError as error:
        raise of_attempt(job.attempt, error) from error


def of_attempt(attempt: int, error: TrainerError) -> TrainerError:
    """An error as it counts for an attempt: what the first one could do and a later one cannot, its machine lacks."""
    if attempt < 2 or error.code != "engine_unsupported":
        return error
    return TrainerError(error.code, error.message, "give this machine what the first attempt's has", "infra")


def _train(job: Job, request: bytes, stop: Stop) -> Iterator[Message]:
    from bora_trainer import device
    from bora_trainer.adapter_scoring import score_adapters
    from bora_trainer.data import load_dataset
    from bora_trainer.fence import Fence
    from bora_trainer.model_files import cache_folder
    from bora_trainer.models import load_model, load_tokenizer, model_facts
    from bora_trainer.spec import RunSpec
    from bora_trainer.state_files import StateFolder
    from bora_trainer.train import train as train_run

    spec = RunSpec.from_proto(run_pb2.RunSpec.FromString(request))
    dataset = load_dataset(spec.data, load_tokenizer(spec.model))
    by_documents = spec.train.sampler == "documents"
    tokens = spec.train.documents_per_task * spec.data.max_tokens if by_documents else spec.train.tokens_per_task
    execution = device.choose_execution(
        spec.model.dtype,
        spec.execution,
        rows=len(spec.fits) * len(dataset.tasks),
        tokens_per_row=tokens,
        activation_bytes_per_token=model_facts(spec.model, spec.adapter).activation_bytes_per_token,
        engine=spec.engine,
    )
    device.apply_threads(execution)
    loaded = load_model(spec.model, device.torch_dtype(execution.dtype), execution.device)
    spec = replace(spec, execution=execution)
    if spec.evaluate is not None:
        yield from score_adapters(spec, loaded, dataset, Path(job.run_folder), stop)
        return
    folder = StateFolder.from_environment(cache_folder() / "hidden-states")
    run_folder = Path(job.run_folder)
    fence = Fence(run_folder, job.attempt)
    yield from train_run(spec, loaded, dataset, run_folder, job.resume_step, stop, folder, fence)


def inspect(job: Job, request: bytes, stop: Stop) -> Iterator[Message]:
    """One InspectResponse; see inspect.py."""
    from bora_trainer.inspect import inspect as inspect_request

    yield inspect_request(trainer_pb2.InspectRequest.FromString(request))


def devices(job: Job, request: bytes, stop: Stop) -> Iterator[Message]:
    """One DescribeResponse with the device this trainer owns, and nothing else set."""
    from bora_trainer.device_facts import device_facts

    yield trainer_pb2.DescribeResponse(devices=[device_facts()])


def generate(job: Job, request: bytes, stop: Stop) -> Iterator[Message]:
    """GenerateResponses; see generate.py."""
    # Before torch is imported: a token is hundreds of short parallel regions, and threads that spin between them keep
    # the processor from each other where others work beside: 85 ms a token instead of 2,900 (docs/log.md).
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    from bora_trainer.generate import TextRequest

    yield from _writer().write(TextRequest.from_proto(trainer_pb2.GenerateRequest.FromString(request)), stop)


@functools.cache
def _writer() -> Any:
    from bora_trainer.generate import Writer

    return Writer()


def merge(job: Job, request: bytes, stop: Stop) -> Iterator[Message]:
    """One MergeResponse that lists what now lies in the job's folder; see merge.py."""
    from bora_trainer.merge import MergeSpec
    from bora_trainer.merge import merge as write_merged

    yield write_merged(MergeSpec.from_proto(trainer_pb2.MergeRequest.FromString(request)), Path(job.run_folder))


WORK: Mapping[str, Work] = {
    "train": train, "inspect": inspect, "devices": devices, "generate": generate, "merge": merge,
}  # fmt: skip
LASTING = frozenset({"generate"})


class Requests:
    """What the server asks, read on a thread of its own; its going away ends the process group at once."""

    def __init__(self) -> None:
        self._waiting: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._dropped = threading.Event()
        threading.Thread(target=self._read, name="requests", daemon=True).start()

    def next(self) -> bytes:
        return self._waiting.get()

    def dropped(self) -> bool:
        """Whether the server wants no more of the request in hand."""
        return self._dropped.is_set()

    def _read(self) -> None:
        try:
            while True:
                frame = frames.read_frame(0)
                if frame.kind == frames.DROP:
                    self._dropped.set()
                else:
                    self._dropped.clear()  # it was meant for the one before
                    self._waiting.put(frame.payload)
        finally:
            os.killpg(os.getpgrp(), signal.SIGKILL)


def serve(work: Mapping[str, Work], output: int) -> int:
    """Does the job on stdin and writes its messages to the descriptor `output`; returns the exit status."""
    terminated = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: terminated.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        job = Job(**json.loads(frames.read_frame(0).payload))
    except EOFError:
        return 1
    requests = Requests()

    def stop() -> bool:
        return terminated.is_set() or requests.dropped()

    while True:
        error = answer(work[job.kind], job, requests.next(), stop, output)
        if job.kind not in LASTING:
            return 0 if error is None else 1
        if error is None:
            frames.write_frame(output, frames.END, b"")
        elif error.domain != "user":  # whatever is wrong with this process would stay wrong
            return 1


def answer(work: Work, job: Job, request: bytes, stop: Stop, output: int) -> TrainerError | None:
    """Writes what comes of one request; an error is written, and returned."""
    try:
        for message in work(job, request, stop):
            kind = frames.EVENT if isinstance(message, event_pb2.Event) else frames.ANSWER
            frames.write_frame(output, kind, message.SerializeToString())
    except Exception as raised:
        traceback.print_exc()
        error = as_trainer_error(raised)
        frames.write_frame(output, frames.FAILURE, failure_of(error).SerializeToString())
        return error
    return None


def as_trainer_error(error: Exception) -> TrainerError:
    """Any exception as an error with a code: out of memory and disk full are recognised, the rest is `internal`."""
    if isinstance(error, TrainerError):
        return error
    text = f"{type(error).__name__}: {error}"[:4096]
    if is_out_of_memory(error):
        return TrainerError("out_of_memory", text, "lower adapter.rank, data.maxTokens or the size of a pack", "oom")
    if _errno_of(error) in DISK_FULL:
        return TrainerError("disk_full", text, "free space under the run root", "controller")
    return TrainerError("internal", text, "the traceback is in child.log in the run's folder", "infra")


def _errno_of(error: Exception) -> int | None:
    """Of an OSError, or as safetensors, which is written in Rust, tells it in words."""
    if isinstance(error, OSError):
        return error.errno
    said = re.search(r"\(os error (\d+)\)", str(error))
    return int(said[1]) if said else None


def failure_of(error: TrainerError) -> event_pb2.Failure:
    return event_pb2.Failure(code=error.code, domain=DOMAINS[error.domain], message=error.message, hint=error.hint)


def main() -> int:
    parser = argparse.ArgumentParser(prog="bora_trainer.child", description="Started by the trainer's server only.")
    parser.add_argument("--output", type=int, required=True, help="descriptor of the pipe for messages")
    return serve(WORK, parser.parse_args().output)


if __name__ == "__main__":
    sys.exit(main())
