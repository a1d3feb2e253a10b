"""What the server does with a request before anything is started, and what its child reads of it: called in process."""

import tempfile
from pathlib import Path
from random import Random
from typing import cast

from google.protobuf.message import DecodeError, Message

from bora.trainer.v1 import run_pb2, trainer_pb2
from bora_trainer.artifacts_reader import ArtifactIndex
from bora_trainer.errors import TrainerError
from bora_trainer.generate import TextRequest
from bora_trainer.merge import MergeSpec
from bora_trainer.publisher import Publisher
from bora_trainer.run_keeper import RunKeeper, check_lease, check_start
from bora_trainer.spec import AdapterSpec, DataSpec, ModelSource, RunSpec
from fuzz import hostile, requests
from fuzz.tally import Tally, Unsound, judge


class Messages:
    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="bora-fuzz-")
        self._root = Path(self._folder.name).resolve()
        for name in ("runs", "data", "models/tiny", "adapters/adapter", "outside"):
            (self._root / name).mkdir(parents=True)
        for name in ("runs", "data", "models", "adapters"):
            (self._root / name / "out").symlink_to(self._root / "outside")
        roots = [self._root / name for name in ("data", "models", "adapters")]
        nobody = cast(Publisher, None)  # nothing is started, so nothing is published
        self._keeper = RunKeeper(self._root / "runs", nobody, (), *roots)

    def run(self, rng: Random, count: int) -> Tally:
        return judge(rng, count, _received, self._read)

    def close(self) -> None:
        self._folder.cleanup()

    def _read(self, received: tuple[str, bytes]) -> None:
        method, payload = received
        message = _parsed(method, payload)
        match message:
            case trainer_pb2.StartRequest():
                check_start(message)
                located = self._keeper.locate(message.spec)
                self._check(located.model, located.data, [located.prior.mean.path])
                self._below([adapter.path for adapter in located.evaluate.adapters], "adapters", "models")
                RunSpec.from_proto(located)
            case trainer_pb2.InspectRequest():
                self._keeper.locate_sources(message.model, message.data)
                folders = [self._keeper.locate_adapter(path) for path in message.adapter_folders]
                self._check(message.model, message.data, folders)
                ModelSource.from_proto(message.model)
                AdapterSpec.from_proto(message.adapter)
                DataSpec.from_proto(message.data)
            case trainer_pb2.RenewLeaseRequest():
                check_lease(message.lease_ms)
                self._keeper.of(message.run_id, message.attempt)
            case trainer_pb2.CancelRequest():
                self._keeper.of(message.run_id, message.attempt)
            case trainer_pb2.ReadEventsRequest():
                self._keeper.stored_events(message.run_id, message.after_seq)
            case trainer_pb2.ReadArtifactRequest():
                ArtifactIndex(self._keeper.folder(message.run_id)).find(message.path)
            case trainer_pb2.GenerateRequest():
                self._keeper.locate_model(message.model)
                named = [source.folder for source in message.adapters if source.folder]
                self._below([self._keeper.locate_adapter(folder) for folder in named], "adapters", "models")
                TextRequest.from_proto(message)
            case trainer_pb2.MergeRequest():
                self._keeper.locate_model(message.model)
                self._below([self._keeper.locate_adapter(message.folder)], "adapters", "models")
                MergeSpec.from_proto(message)
            case _:
                pass

    def _check(self, model: run_pb2.ModelSource, data: run_pb2.DataSpec, adapters: list[str]) -> None:
        self._below([model.path], "models")
        self._below([data.table.path], "data")
        self._below(adapters, "adapters", "models")

    def _below(self, paths: list[str], *roots: str) -> None:
        """Whatever was asked for, what will be opened lies below a root, symbolic links resolved."""
        for path in filter(None, paths):
            if not any(Path(path).resolve().is_relative_to(self._root / root) for root in roots):
                raise Unsound(f"{path!r} would be opened")


def _received(rng: Random) -> tuple[str, bytes]:
    method = requests.method(rng)
    payload = requests.request(rng, method).SerializeToString()
    return method, hostile.mutated_bytes(rng, payload) if rng.random() < 0.2 else payload


def _parsed(method: str, payload: bytes) -> Message:
    try:
        return getattr(trainer_pb2, f"{method}Request").FromString(payload)
    except DecodeError as error:
        raise TrainerError("spec_invalid", str(error)) from error


def open_session() -> Messages:
    return Messages()
