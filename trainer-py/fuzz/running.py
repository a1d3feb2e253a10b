"""A trainer's own process between roots that it may read and a tree beside them that it must not touch."""

import os
import tempfile
from pathlib import Path
from random import Random
from typing import Any

import grpc
import psutil
from google.protobuf.message import Message
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2
from grpc_status import rpc_status
from trainer_under_test import TOKEN, TrainerUnderTest, bearer

from bora.trainer.v1 import trainer_pb2
from fuzz.tally import Tally

CANARY = b"what no answer may hold"
SECONDS = 20.0  # of a call that ends by itself
MOST_ANSWERS = 4  # of a stream, which may have no end
STREAMS = {"ReadEvents", "ReadArtifact", "Generate", "Merge"}


class RunningTrainer:
    """The server as it is started, with a scripted child: what trains is not asked here, and would cost minutes."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="bora-fuzz-")
        self.root = Path(self._folder.name)
        for name in ("data", "models/tiny", "adapters/adapter", "outside"):
            (self.root / name).mkdir(parents=True)
        (self.root / "data/data.csv").write_text("task,text\na,b\n")
        for secret in ("outside/secret", "secret", "adapter_config.json"):
            (self.root / secret).write_bytes(CANARY)
        for root in ("data", "models", "adapters"):
            (self.root / root / "out").symlink_to(self.root / "outside")
        roots = [f"--{kind}-root={self.root / folder}" for kind, folder in _ROOTS.items()]
        self.trainer = TrainerUnderTest(self.root / "trainer", *roots).connect()
        self._around = self._listing()

    def run(self, rng: Random, count: int) -> Tally:
        """Subclasses say what an input is."""
        tally = Tally()
        for index in range(count):
            tally.inputs += 1
            self.one(rng, tally)
            if index % 40 == 39:
                self._let_go(tally)
        self._let_go(tally)
        self._look(tally)
        return tally

    def one(self, rng: Random, tally: Tally) -> None:
        raise NotImplementedError

    def call(self, tally: Tally, method: str, request: Message | bytes) -> None:
        """Counts what became of one call."""
        payload = request if isinstance(request, bytes) else request.SerializeToString()
        answer = getattr(trainer_pb2, f"{method}Response").FromString
        path = f"/bora.trainer.v1.TrainerService/{method}"
        kind: Any = self.trainer.channel.unary_stream if method in STREAMS else self.trainer.channel.unary_unary
        ask = kind(path, request_serializer=bytes, response_deserializer=answer)
        try:
            answers: Any = ask(payload, timeout=3.0 if method in STREAMS else SECONDS, metadata=bearer(TOKEN))
            for number, said in enumerate(answers if method in STREAMS else (answers,), 1):
                if CANARY in said.SerializeToString():
                    tally.escapes += 1
                    tally.sample(f"{method} told what lies outside the roots: {request!r}")
                if number == MOST_ANSWERS:
                    answers.cancel()
                    break
            tally.accepted += 1
        except grpc.RpcError as error:
            self._refused(tally, method, request, error)

    def close(self) -> None:
        self.trainer.end()
        self._folder.cleanup()

    def _refused(self, tally: Tally, method: str, request: Message | bytes, error: grpc.RpcError) -> None:
        name = error.code().name  # pyright: ignore[reportAttributeAccessIssue]
        info = error_details_pb2.ErrorInfo()
        try:
            status = rpc_status.from_call(error)  # pyright: ignore[reportArgumentType]
            told = status is not None and len(status.details) > 0 and status.details[0].Unpack(info)
        except ValueError as mismatch:  # what arrived is not what the trainer sent
            tally.crash(f"{method}: {mismatch}; {error}: {request!r}")
            return
        if name in ("UNKNOWN", "INTERNAL"):
            tally.internal += 1
            details = error.details()  # pyright: ignore[reportAttributeAccessIssue]
            tally.sample(f"{method} ended with {name}, {info.reason or details}: {request!r}")
        elif name == "DEADLINE_EXCEEDED" and method in STREAMS:
            tally.accepted += 1  # it goes on
        elif name == "DEADLINE_EXCEEDED":
            tally.hangs += 1
            tally.sample(f"{method} did not come back: {request!r}")
        elif name == "UNAVAILABLE":
            tally.crash(f"{method} found nobody: {request!r}")
        else:
            tally.refused[info.reason if told else f"gRPC {name}"] += 1

    def _let_go(self, tally: Tally) -> None:
        """Ends the held run: a hostile number of steps is taken at its word."""
        try:
            held = self.trainer.call("Describe").held
            if held.run_id:
                kill = trainer_pb2.CANCEL_MODE_KILL
                self.trainer.call("Cancel", run_id=held.run_id, attempt=held.attempt, mode=kill)
        except grpc.RpcError as error:
            tally.crash(f"the held run cannot be ended: {error}")

    def _look(self, tally: Tally) -> None:
        """The trainer lives, answers, and has left alone what is none of its business."""
        check = self.trainer.channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        try:
            health = check(health_pb2.HealthCheckRequest(), timeout=SECONDS, metadata=bearer(TOKEN))
            if health.status != health_pb2.HealthCheckResponse.SERVING:
                tally.crash(f"health is {health.status}")
            tally.residentMiB = psutil.Process(self.trainer.process.pid).memory_info().rss / 2**20
        except (grpc.RpcError, psutil.Error) as error:
            tally.crash(f"the trainer is gone: {error}\n{self.trainer.log.read_text(errors='replace')[-1000:]}")
        around = self._listing()
        if around != self._around:
            tally.escapes += 1
            tally.sample(f"outside the roots: {sorted(around ^ self._around)[:5]}")

    def _listing(self) -> frozenset[tuple[str, int, int]]:
        """Name, size and time of everything that is not below the run root or the trainer's own log."""
        found: set[tuple[str, int, int]] = set()
        for folder, _, files in os.walk(self.root):
            if Path(folder).is_relative_to(self.root / "trainer"):
                continue
            for file in files:
                facts = (Path(folder) / file).lstat()
                found.add((str(Path(folder, file)), facts.st_size, facts.st_mtime_ns))
        return frozenset(found)


_ROOTS = {"data": "data", "model": "models", "adapter": "adapters"}
