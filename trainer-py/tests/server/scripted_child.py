"""A child for the tests of the protocol: the real child's pipes, signals and endings around a scripted run.

What it does stands in the spec: `train.max_steps` steps, a checkpoint each `checkpoint_every`, and `model.path` names a
way to misbehave.
"""

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from google.protobuf.message import Message

from bora.trainer.v1 import event_pb2, run_pb2, trainer_pb2
from bora_trainer.child import Job, Stop, serve
from bora_trainer.errors import TrainerError

STEP_SECONDS = 0.02


def train(job: Job, request: bytes, stop: Stop) -> Iterator[Message]:
    spec = run_pb2.RunSpec.FromString(request)
    folder = Path(job.run_folder)
    yield event_pb2.Event(run_started=event_pb2.RunStarted(step=job.resume_step, rows=2, parameters_per_row=8))
    _misbehave(spec.model.path, folder)
    if spec.model.path == "huge-event":
        yield event_pb2.Event(run_failed=event_pb2.RunFailed(failure=event_pb2.Failure(message="x" * 70_000)))
    for step in range(job.resume_step + 1, spec.train.max_steps + 1):
        time.sleep(STEP_SECONDS)
        if stop():
            yield _saved(folder, step - 1)
            failure = event_pb2.Failure(code="drained", domain=event_pb2.DOMAIN_CONTROLLER, message="stopped")
            yield event_pb2.Event(run_failed=event_pb2.RunFailed(failure=failure, drained=True))
            return
        yield event_pb2.Event(steps_done=event_pb2.StepsDone(step=step, steps=1, tokens=10, seconds=STEP_SECONDS))
        if step % spec.train.checkpoint_every == 0:
            yield _saved(folder, step)
    yield _trial_done(folder, spec)
    yield event_pb2.Event(run_done=event_pb2.RunDone(seconds=1.0))


def inspect(job: Job, request: bytes, stop: Stop) -> Iterator[Message]:
    asked = trainer_pb2.InspectRequest.FromString(request)
    if asked.model.path == "missing":
        raise TrainerError("model_missing", "no model at 'missing'", "check model.path")
    time.sleep({"hang": 600.0, "slow": 2.0}.get(asked.model.path, 0.0))
    yield trainer_pb2.InspectResponse(data_hash=asked.data.table.path, model_name=" ".join(loaded("grpc")))


def devices(job: Job, request: bytes, stop: Stop) -> Iterator[Message]:
    yield trainer_pb2.DescribeResponse(devices=[trainer_pb2.Device(name="cpu", description="scripted", threads=1)])


def generate(job: Job, request: bytes, stop: Stop) -> Iterator[Message]:
    """A word a token: the request's prompt, or the process that says it."""
    asked = trainer_pb2.GenerateRequest.FromString(request)
    if asked.prompt == "too long":
        raise TrainerError("prompt_too_long", "the prompt has 9 tokens, the context holds 8", "shorten it")
    _misbehave(asked.prompt, Path())
    for token in range(asked.max_tokens):
        if stop():
            return
        time.sleep(STEP_SECONDS)
        said = {"pid": str(os.getpid()), "folder": asked.adapters[0].folder if asked.adapters else ""}.get(
            asked.prompt, asked.prompt
        )
        yield trainer_pb2.GenerateResponse(text=said, token=token)


def merge(job: Job, request: bytes, stop: Stop) -> Iterator[Message]:
    asked = trainer_pb2.MergeRequest.FromString(request)
    _misbehave(Path(asked.folder).name, Path())
    folder = Path(job.run_folder)
    big, small = _write(folder, "model.safetensors", os.urandom(3_000_000)), _write(folder, "empty", b"")
    yield trainer_pb2.MergeResponse(files=[big, small])


def loaded(package: str) -> list[str]:
    return [name for name in sys.modules if name.split(".")[0] == package]


def _misbehave(way: str, folder: Path) -> None:
    match way:
        case "die":
            os.kill(os.getpid(), 9)
        case "raise":
            raise ValueError("a fault of ours")
        case "memory":
            raise MemoryError("32 GiB asked")
        case "refuse":
            raise TrainerError("unmatched_module", "no module named 'wq'", "choose from q_proj, v_proj")
        case "grandchild":
            started = subprocess.Popen(["sleep", "600"])
            (folder / "grandchild").write_text(str(started.pid))
        case _:
            pass


def _saved(folder: Path, step: int) -> event_pb2.Event:
    name = f"checkpoints/step-{step:06d}"
    (folder / name).mkdir(parents=True, exist_ok=True)
    artifact = _write(folder, f"{name}/state.json", json.dumps({"step": step}).encode())
    return event_pb2.Event(checkpoint_saved=event_pb2.CheckpointSaved(step=step, artifact=artifact))


def _trial_done(folder: Path, spec: run_pb2.RunSpec) -> event_pb2.Event:
    trial = spec.fits[0].trial_id
    documents = _write(folder, f"trials/{trial}/documents.jsonl", b"0123456789" * 300_000)
    (folder / "secret.txt").write_text("listed nowhere")
    entry = {"path": documents.path, "size": documents.size, "sha256": documents.sha256}
    manifest = _write(
        folder, f"trials/{trial}/manifest.json", json.dumps({"documents": entry, "adapters": {}}).encode()
    )
    return event_pb2.Event(
        trial_id=trial, trial_done=event_pb2.TrialDone(steps=spec.train.max_steps, manifest=manifest)
    )


def _write(folder: Path, path: str, content: bytes) -> event_pb2.Artifact:
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_bytes(content)
    return event_pb2.Artifact(path=path, size=len(content), sha256=hashlib.sha256(content).hexdigest())


WORK = {"train": train, "inspect": inspect, "devices": devices, "generate": generate, "merge": merge}

if __name__ == "__main__":
    sys.exit(serve(WORK, int(sys.argv[2])))
