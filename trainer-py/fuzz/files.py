"""Files that people and other programs give a trainer: data, adapters, models, tokens, and what its child writes."""

import contextlib
import hashlib
import io
import json
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from unittest import mock

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors.torch import save

from bora.trainer.v1 import event_pb2
from bora_trainer import frames, healthcheck
from bora_trainer.adapters.imported import content_hash, spec_of
from bora_trainer.adapters.peft_files import CONFIG, WEIGHTS
from bora_trainer.artifacts_reader import ArtifactIndex
from bora_trainer.authentication import TokenFile, read_token
from bora_trainer.data.records import by_task, parse_date
from bora_trainer.data.tables import read_table
from bora_trainer.errors import TrainerError
from bora_trainer.model_files import resolve
from bora_trainer.spec import Columns, ModelSource, TableFormat, TableSource
from bora_trainer.transport_security import TlsFiles, server_credentials
from fuzz import hostile
from fuzz.tally import Tally, Unsound, judge

COLUMNS = Columns("task", "text", "", "", "id", "date")
ROWS = [{"task": "a" if i % 2 else "b", "text": f"text, {i} é", "id": i, "date": "1999-05-12"} for i in range(6)]
PEFT = {
    **{"peft_type": "LORA", "r": 4, "lora_alpha": 8, "use_rslora": False, "bias": "none", "fan_in_fan_out": False},
    **{"target_modules": ["q_proj"], "layers_to_transform": [0, 1], "base_model_name_or_path": "/nowhere"},
}
READY = {"address": "127.0.0.1:1", "pid": 3, "instanceId": "i", "startTime": 5, "healthToken": "h", "tls": None}
SHARDS = {"metadata": {"total_size": 1}, "weight_map": {"a": "model-1.safetensors", "b": "model-1.safetensors"}}
MANIFEST = {"documents": {"path": "d", "size": 1, "sha256": "0"}, "adapters": {"a": [{"path": "e", "sha256": "1"}]}}
TOKENS = b"a-token-of-enough-characters\nsha256:" + b"0" * 64 + b"\n"
PEM = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"


@dataclass(frozen=True)
class FileTarget:
    """A file below the folder, what it holds when it is whole, and its reader; `value` where it is JSON."""

    path: str
    whole: bytes
    read: Callable[[Path], object]
    value: object = None


def _parquet() -> bytes:
    target = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(ROWS), target)
    return target.getvalue()


def _csv() -> bytes:
    lines = ["task,text,id,date", *(f'{r["task"]},"{r["text"]}",{r["id"]},{r["date"]}' for r in ROWS)]
    return "\n".join(lines).encode()


def _table(format: TableFormat) -> Callable[[Path], object]:
    def read(file: Path) -> None:
        for records in by_task(read_table(TableSource(format, str(file), COLUMNS))).values():
            for found in records:
                parse_date(found)

    return read


def _health(file: Path) -> None:
    """The program itself, without the network: status 1 and one line, whatever the file holds."""
    arguments = ["healthcheck", "--ready-file", str(file), "--timeout", "0.01"]
    said = io.StringIO()
    with mock.patch.object(sys, "argv", arguments), contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        if healthcheck.main() == 0:
            raise Unsound("a trainer that is not there lives")


def _key(file: Path) -> None:
    server_credentials(TlsFiles(file.with_name("c.pem"), file))


def _model(file: Path) -> None:
    found = resolve(ModelSource("path", str(file.parent), False, "auto"))
    for shard in set(json.loads(file.read_text("utf8"))["weight_map"].values()):
        if not (file.parent / shard).resolve().is_relative_to(file.parent.resolve()):
            raise Unsound(f"{found.name} is read from {shard!r}")


def _manifest(file: Path) -> None:
    """Listed as it is now, so that its contents are read."""
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    listed = event_pb2.Artifact(path=file.name, sha256=digest)
    index = ArtifactIndex(file.parent)
    index.note([event_pb2.Event(seq=1, trial_done=event_pb2.TrialDone(manifest=listed))])
    for path in ("../secret", "/etc/passwd", "a/../../secret"):
        with contextlib.suppress(TrainerError):
            index.find(path)
            raise Unsound(f"{path} may be fetched")


def _child(file: Path) -> None:
    decoder = frames.FrameDecoder()
    content = file.read_bytes()
    try:
        for start in range(0, len(content), 7):
            decoder.feed(content[start : start + 7])
    except TrainerError as error:  # `internal`, and here it is: only our own child writes there
        raise TrainerError("dropped", error.message) from error


def _adapter(file: Path) -> None:
    content_hash(file.parent)
    spec_of(file.parent)


def _token(file: Path) -> None:
    TokenFile(file).admits("Bearer x")
    read_token(file)


TARGETS = (
    FileTarget("data.csv", _csv(), _table("csv")),
    FileTarget("data.jsonl", "\n".join(map(json.dumps, ROWS)).encode(), _table("jsonl")),
    FileTarget("data.parquet", _parquet(), _table("parquet")),
    FileTarget(f"adapter/{CONFIG}", json.dumps(PEFT).encode(), _adapter, PEFT),
    FileTarget("token", TOKENS, _token),
    FileTarget("ready.json", json.dumps(READY).encode(), _health, READY),
    FileTarget("model/model.safetensors.index.json", json.dumps(SHARDS).encode(), _model, SHARDS),
    FileTarget("key.pem", PEM.replace(b"CERTIFICATE", b"PRIVATE KEY"), _key),
    FileTarget("run/manifest.json", json.dumps(MANIFEST).encode(), _manifest, MANIFEST),
    FileTarget("child", frames.encode_frame(3, b"event" * 9) + frames.encode_frame(4, b""), _child),
)


class Files:
    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="bora-fuzz-")
        self._root = Path(self._folder.name)
        os.environ["BORA_CACHE"] = str(self._root / "cache")
        for target in TARGETS:
            self._write(target.path, target.whole)
        self._write(f"adapter/{WEIGHTS}", save({"w": torch.zeros(2, 2)}))
        self._write("model/model-1.safetensors", save({"w": torch.zeros(2, 2)}))
        self._write("model/config.json", b"{}")
        self._write("c.pem", PEM)

    def run(self, rng: Random, count: int) -> Tally:
        sum_ = Tally()
        for number, target in enumerate(TARGETS):
            share = count * (number + 1) // len(TARGETS) - count * number // len(TARGETS)
            sum_ += judge(rng, share, lambda one, target=target: _damaged(one, target), self._reader(target))
            self._write(target.path, target.whole)
        return sum_

    def close(self) -> None:
        self._folder.cleanup()

    def _reader(self, target: FileTarget) -> Callable[[bytes], object]:
        def read(content: bytes) -> object:
            self._write(target.path, content)
            return target.read(self._root / target.path)

        return read

    def _write(self, path: str, content: bytes) -> None:
        file = self._root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)


def _damaged(rng: Random, target: FileTarget) -> bytes:
    kind = rng.random()
    if kind < 0.05:
        return target.whole
    if target.value is not None and kind < 0.7:
        return hostile.mutated_json(rng, target.value)
    if kind < 0.75:
        return hostile.text(rng).encode("utf8", "surrogatepass") * rng.choice((1, 50))
    if kind < 0.85:
        lines = target.whole.split(b"\n")
        lines[rng.randrange(len(lines))] = hostile.mutated_json(rng, ROWS[0])
        return b"\n".join(lines)
    return hostile.mutated_bytes(rng, target.whole)


def open_session() -> Files:
    return Files()
