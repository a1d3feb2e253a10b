"""Requests and files of a run that fuzzing found: refused with a code, or read as far as they can be trusted."""

import hashlib
import zlib
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from trainer_under_test import TOKEN, TrainerUnderTest, bearer, refusal, spec

from bora.trainer.v1 import event_pb2, trainer_pb2
from bora_trainer.artifacts_reader import ArtifactIndex
from bora_trainer.errors import TrainerError
from bora_trainer.event_log import HEADER, EventLog, read_events

RUN = "6f2c1f0e-8a1f-4a7e-9d55-0a4f6a6f1c11"
UNARY = ("Describe", "Inspect", "Start", "RenewLease", "Cancel")
STREAMS = ("ReadEvents", "ReadArtifact", "Generate", "Merge")


def call(trainer: TrainerUnderTest, service: str, method: str, payload: bytes) -> object:
    kind = trainer.channel.unary_stream if method in (*STREAMS, "Watch") else trainer.channel.unary_unary
    return kind(f"/{service}/{method}")(payload, timeout=20.0, metadata=bearer(TOKEN))


def test_bytes_that_are_no_message_are_refused_with_a_code(trainer: TrainerUnderTest) -> None:
    calls = [("bora.trainer.v1.TrainerService", method) for method in (*UNARY, *STREAMS)]
    for service, method in [*calls, ("grpc.health.v1.Health", "Check"), ("grpc.health.v1.Health", "Watch")]:
        status, message, info = refusal(lambda: call(trainer, service, method, b"\xff\xff\xff"))  # noqa: B023
        assert (status, info.reason) == ("INVALID_ARGUMENT", "spec_invalid"), f"{method}: {message}"
    assert trainer.call("Describe").api_version


@pytest.mark.parametrize("text", ["a" * 100_000, "é" * 20_000, "💥" * 10_000])
def test_a_value_of_any_length_is_refused_with_its_code(trainer: TrainerUnderTest, text: str) -> None:
    """What the message repeats of it travels in trailers, which have little room."""
    status, message, info = refusal(lambda: trainer.call("ReadEvents", run_id=text))
    assert (status, info.reason) == ("INVALID_ARGUMENT", "spec_invalid")
    assert "characters)" in message
    run = spec()
    run.data.tasks.names.names.extend([text, text])
    assert refusal(lambda: trainer.start(run))[2].reason == "spec_invalid"


def test_a_first_number_leaves_numbers_for_what_follows(trainer: TrainerUnderTest) -> None:
    assert refusal(lambda: trainer.start(spec(), first_seq=2**32 - 1))[2].reason == "spec_invalid"


@pytest.fixture
def log(tmp_path: Path) -> Iterator[EventLog]:
    log = EventLog(tmp_path / "events.bin", RUN)
    log.begin(1, 1)
    log.append([event_pb2.Event(steps_done=event_pb2.StepsDone(step=step)) for step in (1, 2, 3)])
    yield log
    log.close()


def record(payload: bytes) -> bytes:
    return HEADER.pack(len(payload), zlib.crc32(payload)) + payload


@pytest.mark.parametrize(
    "tail",
    [
        bytes(8),
        bytes(4096),
        record(b"\xff no event"),
        record(event_pb2.Event(run_id=RUN, seq=2, attempt=1).SerializeToString()),
    ],
    ids=["eight zeros", "a page of zeros", "no event", "an event again"],
)
def test_a_tail_with_a_right_checksum_and_no_next_event_is_cut_off(log: EventLog, tail: bytes) -> None:
    """Eight zeros are a record of no bytes, whose checksum is 0: a power cut leaves them where a file had grown."""
    with log.path.open("ab") as file:
        file.write(tail)
    assert [event.seq for event in read_events(log.path, 0)] == [1, 2, 3]
    again = EventLog(log.path, RUN)
    assert (again.last_seq, again.torn_bytes) == (3, len(tail))
    again.begin(2, 4)
    again.append([event_pb2.Event(run_done=event_pb2.RunDone())])
    assert [event.seq for event in again.read(0)] == [1, 2, 3, 4]
    again.close()


@pytest.mark.parametrize(("content", "code"), [(b"no JSON", "artifact_corrupt"), (b"[" * 100_000, "artifact_corrupt")])
def test_a_manifest_that_is_no_json_is_corrupt(tmp_path: Path, content: bytes, code: str) -> None:
    (tmp_path / "manifest.json").write_bytes(content)
    artifact = event_pb2.Artifact(path="manifest.json", sha256=hashlib.sha256(content).hexdigest())
    event = event_pb2.Event(seq=1, trial_done=event_pb2.TrialDone(manifest=artifact))
    with pytest.raises(TrainerError) as refused:
        ArtifactIndex(tmp_path).note([event])
    assert refused.value.code == code


def test_a_listed_name_that_no_file_can_have_is_unknown(tmp_path: Path) -> None:
    index = ArtifactIndex(tmp_path)
    saved = event_pb2.CheckpointSaved(artifact=event_pb2.Artifact(path="x" * 5_000))
    index.note([event_pb2.Event(seq=1, checkpoint_saved=saved)])
    with pytest.raises(TrainerError) as refused:
        index.find("x" * 5_000)
    assert refused.value.code == "artifact_unknown"


def test_a_vanished_caller_of_a_stream_frees_what_it_held(trainer: TrainerUnderTest) -> None:
    run = spec(steps=400)
    trainer.start(run)
    request = trainer_pb2.ReadEventsRequest(run_id=run.run_id, follow=True)
    stream = trainer.stub.ReadEvents(request, metadata=bearer(TOKEN))
    next(iter(stream))
    stream.cancel()
    with pytest.raises(grpc.RpcError):
        list(stream)
    assert trainer.call("Describe").held.run_id == run.run_id
