"""Texts through the server: streamed, one after another by one child, dropped with their caller, never beside a run."""

import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_runs import Tiny
from trainer_under_test import REAL, TOKEN, TrainerUnderTest, alive, bearer, refusal, spec, wait_for

from bora.trainer.v1 import run_pb2, trainer_pb2

Launch = Callable[..., TrainerUnderTest]
BASE = [trainer_pb2.AdapterSource(base=True)]


def ask(trainer: TrainerUnderTest, prompt: str, max_tokens: int = 1, **fields: Any) -> Any:
    model = run_pb2.ModelSource(path="tiny", dtype=run_pb2.DTYPE_FLOAT32)
    fields = {"model": model, "adapters": BASE, "top_p": 1.0, **fields}
    return trainer.call("Generate", prompt=prompt, max_tokens=max_tokens, **fields)


def said(answers: Any) -> str:
    return "".join(answer.text for answer in answers)


def test_a_text_comes_token_by_token_and_the_child_stays_for_the_next(trainer: TrainerUnderTest) -> None:
    assert [(answer.text, answer.token) for answer in ask(trainer, "so", 3)] == [("so", 0), ("so", 1), ("so", 2)]
    pid = said(ask(trainer, "pid"))
    assert said(ask(trainer, "pid")) == pid == str(trainer.child())


def test_an_error_of_the_person_is_told_and_the_child_stays(trainer: TrainerUnderTest) -> None:
    pid = said(ask(trainer, "pid"))
    status, message, info = refusal(lambda: ask(trainer, "too long"))
    assert (status, info.reason) == ("INVALID_ARGUMENT", "prompt_too_long") and "9 tokens" in message
    assert info.metadata["hint"] == "shorten it"
    assert said(ask(trainer, "pid")) == pid


@pytest.mark.parametrize(("way", "code"), [("die", "child_killed"), ("raise", "internal"), ("memory", "out_of_memory")])
def test_a_child_that_breaks_is_told_and_replaced(trainer: TrainerUnderTest, way: str, code: str) -> None:
    pid = said(ask(trainer, "pid"))
    assert refusal(lambda: ask(trainer, way))[2].reason == code
    wait_for(lambda: not alive(int(pid)), "the end of the broken child")
    assert said(ask(trainer, "pid")) not in ("", pid)


def test_a_caller_that_goes_takes_its_text_along_and_the_child_stays(trainer: TrainerUnderTest) -> None:
    pid = said(ask(trainer, "pid"))
    endless = ask(trainer, "so", 1_000_000)
    next(endless)
    waiting = ask(trainer, "pid")  # has its turn when the other has been let go
    endless.cancel()
    assert said(waiting) == pid
    endless = ask(trainer, "so", 1_000_000)
    next(endless)
    assert refusal(lambda: trainer.start(spec(steps=3)))[2].reason == "busy"
    endless.cancel()
    began = time.monotonic()
    run = spec(steps=3)
    wait_for(lambda: _starts(trainer, run), "the start of a run after a text was dropped")
    assert time.monotonic() - began < 5
    assert not alive(int(pid)), "the run has the memory to itself"
    trainer.events(run.run_id)


def _starts(trainer: TrainerUnderTest, run: run_pb2.RunSpec) -> bool:
    try:
        return trainer.start(run).accepted
    except Exception as error:
        assert "is under way" in str(error), error
        return False


def test_nothing_is_written_or_merged_while_a_run_is_held(trainer: TrainerUnderTest) -> None:
    run = spec(steps=10_000)
    trainer.start(run)
    status, message, info = refusal(lambda: ask(trainer, "so"))
    assert (status, info.reason) == ("RESOURCE_EXHAUSTED", "busy") and run.run_id in message
    assert refusal(lambda: trainer.call("Merge", model=run.model, folder="/a"))[2].reason == "busy"
    trainer.call("Cancel", run_id=run.run_id, attempt=1, mode=trainer_pb2.CANCEL_MODE_KILL)
    assert said(ask(trainer, "so")) == "so"


def test_adapters_stay_below_their_root(launch: Launch, tmp_path: Path) -> None:
    root = tmp_path / "adapters"
    (root / "mine").mkdir(parents=True)
    (root / "out").symlink_to(tmp_path)
    trainer = launch("--adapter-root", str(root)).connect()

    def from_folder(folder: str) -> Any:
        return ask(trainer, "folder", adapters=[trainer_pb2.AdapterSource(folder=folder)])

    for folder in ("mine", str(root / "mine")):
        assert said(from_folder(folder)) == str(root / "mine")
    for folder in ("out", "../else", str(tmp_path), str(root / "out")):
        assert refusal(lambda folder=folder: from_folder(folder))[2].reason == "path_refused"
        refused = refusal(lambda folder=folder: trainer.call("Merge", folder=folder))
        assert refused[2].reason == "path_refused"


def test_symbolic_links_are_resolved_where_there_is_no_root(trainer: TrainerUnderTest, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    source = trainer_pb2.AdapterSource(folder=str(tmp_path / "link"))
    assert said(ask(trainer, "folder", adapters=[source])) == str(tmp_path / "real")


def test_a_merged_model_comes_file_by_file_and_leaves_nothing(trainer: TrainerUnderTest) -> None:
    first, *rest = list(trainer.call("Merge", folder="/a"))
    assert [(file.path, file.size) for file in first.files] == [("model.safetensors", 3_000_000), ("empty", 0)]
    content = b"".join(answer.chunk for answer in rest)
    assert all(0 < len(answer.chunk) <= 2**20 for answer in rest)
    assert hashlib.sha256(content).hexdigest() == first.files[0].sha256
    assert list(trainer.run_root.iterdir()) == []
    assert refusal(lambda: trainer.call("Merge", folder="refuse"))[2].reason == "unmatched_module"
    assert list(trainer.run_root.iterdir()) == []


def test_a_trainer_that_nobody_calls_leaves_with_its_child(launch: Launch) -> None:
    trainer = launch("--exit-when-orphaned", "--lease-ms", "1500").connect()
    pid = said(ask(trainer, "pid"))
    wait_for(lambda: trainer.process.poll() is not None and not alive(int(pid)), "the end of both", seconds=20)


@pytest.mark.slow
def test_the_real_child_writes_and_merges(launch: Launch, tiny: Tiny) -> None:
    trainer = launch(command=REAL).connect()
    model = run_pb2.ModelSource(path=str(tiny.folder / "model"), dtype=run_pb2.DTYPE_FLOAT32)
    texts = [list(ask(trainer, "word1 word2", 6, model=model, seed=5, temperature=1.0)) for _ in range(2)]
    assert texts[0] == texts[1] and 1 <= len(texts[0]) <= 6 and texts[0][-1].finish
    maps = Path(f"/proc/{trainer.child()}/maps").read_text()
    assert "libtorch" in maps and "cygrpc" not in maps
    assert "libtorch" not in Path(f"/proc/{trainer.process.pid}/maps").read_text()
    missing = [trainer_pb2.AdapterSource(folder="/nowhere")]
    reason = refusal(lambda: ask(trainer, "word1", model=model, adapters=missing))[2].reason
    assert reason == "adapter_unreadable"
    refused = refusal(lambda: trainer.call("Merge", model=model, folder="/nowhere", dtype=run_pb2.DTYPE_AUTO))
    assert refused[2].reason == "adapter_unreadable"
    assert bearer(TOKEN)
