"""Only the attempt that a run's folder names may write into it, whoever else still lives."""

import multiprocessing
import threading
from pathlib import Path

import pytest

from bora.trainer.v1 import event_pb2
from bora_trainer import fence
from bora_trainer.background_writer import BackgroundWriter
from bora_trainer.errors import TrainerError
from bora_trainer.event_log import EventLog, read_events
from bora_trainer.fence import Fence

STEPS = event_pb2.Event(steps_done=event_pb2.StepsDone(step=1, steps=1))


def code_of(error: pytest.ExceptionInfo[TrainerError]) -> str:
    return error.value.code


def test_an_attempt_writes_until_a_later_one_begins_and_never_again(tmp_path: Path) -> None:
    first, second = Fence(tmp_path, 1), Fence(tmp_path, 2)
    first.take()
    with first.held():
        pass
    second.take()
    for refused in (first.take, first.held().__enter__):
        with pytest.raises(TrainerError) as error:
            refused()
        assert code_of(error) == "stale_attempt" and "attempt 2 has begun" in error.value.message
    with second.held():
        pass
    second.take()  # a start that is repeated


def test_events_of_an_attempt_whose_successor_has_begun_are_refused_and_its_log_stays(tmp_path: Path) -> None:
    old, new = EventLog(tmp_path / "events.bin", "run"), None
    old.begin(1, 1)
    old.append([STEPS, STEPS])
    new = EventLog(tmp_path / "events.bin", "run")
    new.begin(2, 2)
    new.append([STEPS])
    with pytest.raises(TrainerError) as error:
        old.append([STEPS])
    assert code_of(error) == "stale_attempt"
    assert [(e.seq, e.attempt) for e in read_events(tmp_path / "events.bin", 0)] == [(1, 1), (2, 2)]
    old.close()
    new.close()


def test_nothing_is_saved_by_an_attempt_whose_successor_has_begun(tmp_path: Path) -> None:
    mine = Fence(tmp_path, 1)
    mine.take()
    writer, written = BackgroundWriter(mine), tmp_path / "saved"

    def save() -> list[event_pb2.Event]:
        written.touch()
        return [STEPS]

    writer.start(save)
    assert writer.wait() == [STEPS] and written.exists()
    written.unlink()
    Fence(tmp_path, 2).take()
    writer.start(save)
    with pytest.raises(TrainerError) as error:
        writer.wait()
    assert code_of(error) == "stale_attempt" and not written.exists()
    writer.close()


def test_writers_of_one_attempt_do_not_wait_for_each_other(tmp_path: Path) -> None:
    server, child = Fence(tmp_path, 1), Fence(tmp_path, 1)
    server.take()
    with child.held():  # a checkpoint that takes its time
        appended = threading.Thread(target=lambda: server.held().__enter__())
        appended.start()
        appended.join(10)
        assert not appended.is_alive()


def write_and_die(folder: Path) -> None:
    with Fence(folder, 1).held():
        multiprocessing.current_process().kill()


def test_a_writer_that_dies_frees_the_folder_and_one_that_is_stopped_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Fence(tmp_path, 1).take()
    writer = multiprocessing.get_context("spawn").Process(target=write_and_die, args=(tmp_path,))
    writer.start()
    writer.join()
    Fence(tmp_path, 2).take()
    monkeypatch.setattr(fence, "TAKE_SECONDS", 0.1)
    with Fence(tmp_path, 2).held(), pytest.raises(TrainerError) as error:
        Fence(tmp_path, 3).take()
    assert code_of(error) == "busy"
