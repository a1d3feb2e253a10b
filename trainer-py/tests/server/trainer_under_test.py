"""A trainer process of its own for a test, and calls to it."""

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from bora.trainer.v1 import event_pb2, run_pb2, trainer_pb2, trainer_pb2_grpc

TOKEN = "a-token-of-enough-characters"
SECONDS = 60.0
SCRIPTED = (sys.executable, str(Path(__file__).with_name("scripted_trainer.py")))
REAL = (sys.executable, "-m", "bora_trainer")


class TrainerUnderTest:
    def __init__(
        self, folder: Path, *arguments: str, run_root: Path | None = None, command: Sequence[str] = SCRIPTED
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.run_root = run_root or folder / "runs"
        self.ready_file, self.token_file = folder / "ready.json", folder / "token"
        self.token_file.write_text(TOKEN)
        self.log = folder / "trainer.log"
        self.arguments = [
            *("--run-root", str(self.run_root), "--token-file", str(self.token_file)),
            *("--ready-file", str(self.ready_file), *arguments),
        ]
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen([*command, *self.arguments], stdout=log, stderr=log)

    def connect(self) -> "TrainerUnderTest":
        wait_for(lambda: self.ready_file.exists() or self.process.poll() is not None, "ready.json")
        assert self.ready_file.exists(), self.log.read_text()
        self.ready = json.loads(self.ready_file.read_text())
        self.channel = grpc.insecure_channel(self.ready["address"])
        self.stub = trainer_pb2_grpc.TrainerServiceStub(self.channel)
        return self

    def call(self, method: str, **fields: Any) -> Any:
        request = getattr(trainer_pb2, f"{method}Request")(**fields)
        return getattr(self.stub, method)(request, timeout=SECONDS, metadata=bearer(TOKEN))

    def start(self, run: run_pb2.RunSpec, attempt: int = 1, first_seq: int = 1, **fields: Any) -> Any:
        lease = fields.pop("lease_ms", 60_000)
        return self.call("Start", spec=run, attempt=attempt, first_seq=first_seq, lease_ms=lease, **fields)

    def events(self, run_id: str, after_seq: int = 0, follow: bool = True) -> list[event_pb2.Event]:
        return [a.event for a in self.call("ReadEvents", run_id=run_id, after_seq=after_seq, follow=follow)]

    def until(self, run_id: str, body: str, after_seq: int = 0) -> event_pb2.Event:
        stream = self.call("ReadEvents", run_id=run_id, after_seq=after_seq, follow=True)
        for answer in stream:
            if answer.event.WhichOneof("body") == body:
                stream.cancel()
                return answer.event
        raise AssertionError(f"the run ended without {body}")

    def child(self) -> int:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        assert len(children) == 1, children
        return int(children[0])

    def end(self) -> None:
        if hasattr(self, "channel"):
            self.channel.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            self.process.wait(SECONDS)


def spec(steps: int = 5, way: str = "", checkpoint_every: int = 2, run_id: str = "") -> run_pb2.RunSpec:
    data = run_pb2.DataSpec(
        shakespeare=run_pb2.ShakespeareSource(min_characters=80),
        tasks=run_pb2.TaskSelection(top=2),
        split=run_pb2.SplitSpec(by=run_pb2.SPLIT_BY_SEED, train=0.6, validation=0.2, test=0.2),
        max_tokens=64,
    )
    train = run_pb2.TrainSpec(
        max_steps=steps,
        patience=3,
        evaluate_every=1,
        checkpoint_every=checkpoint_every,
        sampler=run_pb2.SAMPLER_GROUPS,
        tokens_per_task=96,
        learning_rate=1e-3,
        decay=run_pb2.LEARNING_RATE_DECAY_CONSTANT,
        beta1=0.9,
        beta2=0.999,
        epsilon=1e-8,
    )
    return run_pb2.RunSpec(
        run_id=run_id or str(uuid.uuid4()),
        model=run_pb2.ModelSource(path=way or "tiny", dtype=run_pb2.DTYPE_FLOAT32),
        data=data,
        adapter=run_pb2.AdapterSpec(family=run_pb2.ADAPTER_FAMILY_LORA, rank=2, alpha=2, targets=["q_proj"]),
        prior=run_pb2.PriorSpec(family=run_pb2.PRIOR_FAMILY_GAUSSIAN),
        train=train,
        fits=[run_pb2.Fit(trial_id="trial-0", tau=float("inf"), seed=0)],
    )


def bearer(token: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {token}"),)


def refusal(call: Callable[[], Any]) -> tuple[str, str, error_details_pb2.ErrorInfo]:
    """Status name, message and ErrorInfo of a call that must fail; a stream is read to its end."""
    try:
        answer = call()
        if hasattr(answer, "__iter__"):
            list(answer)
    except grpc.RpcError as error:
        status = rpc_status.from_call(error)  # type: ignore[arg-type]
        assert status is not None, error
        info = error_details_pb2.ErrorInfo()
        assert status.details[0].Unpack(info)
        return error.code().name, status.message, info  # type: ignore[attr-defined]
    raise AssertionError("the call was not refused")


def wait_for(condition: Callable[[], bool], what: str, seconds: float = SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def bodies(events: list[event_pb2.Event]) -> list[str]:
    return [event.WhichOneof("body") or "" for event in events]
