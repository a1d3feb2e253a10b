"""Only files that events list are served, whole and unchanged, in chunks."""

import hashlib

from trainer_under_test import TrainerUnderTest, refusal, spec

from bora.trainer.v1 import trainer_pb2

DOCUMENTS = "trials/trial-0/documents.jsonl"


def finished(trainer: TrainerUnderTest) -> str:
    run = spec(steps=2)
    trainer.start(run)
    trainer.events(run.run_id)
    return run.run_id


def test_a_listed_file_comes_in_chunks_with_its_sha256_last(trainer: TrainerUnderTest) -> None:
    run_id = finished(trainer)
    content = (trainer.run_root / run_id / DOCUMENTS).read_bytes()
    answers = list(trainer.call("ReadArtifact", run_id=run_id, path=DOCUMENTS))
    assert b"".join(answer.chunk for answer in answers) == content
    assert [len(answer.chunk) for answer in answers] == [1 << 20, 1 << 20, 3_000_000 - (2 << 20), 0]
    assert [answer.sha256 for answer in answers] == ["", "", "", hashlib.sha256(content).hexdigest()]
    for offset in (1, (1 << 20) + 5, 3_000_000):
        rest = list(trainer.call("ReadArtifact", run_id=run_id, path=DOCUMENTS, offset=offset))
        assert b"".join(answer.chunk for answer in rest) == content[offset:]
        assert rest[-1].sha256 == answers[-1].sha256
    assert list(trainer.call("ReadArtifact", run_id=run_id, path="trials/trial-0/manifest.json"))[-1].sha256


def test_a_checkpoint_can_be_read_until_its_run_is_done(trainer: TrainerUnderTest) -> None:
    run = spec(steps=500)
    trainer.start(run)
    saved = trainer.until(run.run_id, "checkpoint_saved").checkpoint_saved.artifact
    assert list(trainer.call("ReadArtifact", run_id=run.run_id, path=saved.path))[-1].sha256 == saved.sha256
    trainer.call("Cancel", run_id=run.run_id, attempt=1, mode=trainer_pb2.CANCEL_MODE_DRAIN)
    trainer.events(run.run_id)
    assert list(trainer.call("ReadArtifact", run_id=run.run_id, path=saved.path))[-1].sha256 == saved.sha256


def test_everything_else_is_refused(trainer: TrainerUnderTest) -> None:
    run_id = finished(trainer)
    folder = trainer.run_root / run_id
    expected = {
        "secret.txt": ("NOT_FOUND", "artifact_unknown"),
        "events.bin": ("NOT_FOUND", "artifact_unknown"),
        "trials": ("NOT_FOUND", "artifact_unknown"),
        "../" + run_id + "/" + DOCUMENTS: ("PERMISSION_DENIED", "path_refused"),
        "/etc/passwd": ("PERMISSION_DENIED", "path_refused"),
        "trials/\0": ("PERMISSION_DENIED", "path_refused"),
        "": ("PERMISSION_DENIED", "path_refused"),
    }
    for path, (status, reason) in expected.items():
        got, _, info = refusal(lambda p=path: trainer.call("ReadArtifact", run_id=run_id, path=p))
        assert (got, info.reason) == (status, reason), path
    (folder / DOCUMENTS).unlink()
    (folder / DOCUMENTS).symlink_to("/etc/passwd")
    assert refusal(lambda: trainer.call("ReadArtifact", run_id=run_id, path=DOCUMENTS))[2].reason == "path_refused"


def test_a_file_that_changed_since_it_was_listed_is_an_error(trainer: TrainerUnderTest) -> None:
    run_id = finished(trainer)
    with open(trainer.run_root / run_id / DOCUMENTS, "r+b") as file:
        file.write(b"X")
    status, _, info = refusal(lambda: trainer.call("ReadArtifact", run_id=run_id, path=DOCUMENTS))
    assert (status, info.reason) == ("DATA_LOSS", "artifact_corrupt")
