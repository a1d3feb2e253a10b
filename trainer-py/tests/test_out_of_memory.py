"""A micro-batch that does not fit is halved, the step begins again, and the run ends with the same numbers."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from tiny_runs import Tiny, bodies, macro

from bora.trainer.v1 import event_pb2
from bora_trainer.child import as_trainer_error
from bora_trainer.engine import Engine
from bora_trainer.errors import TrainerError, is_out_of_memory
from bora_trainer.micro_batch_size import MicroBatchSize

TAUS = (0.0, 1e2, math.inf)
CPU_WORDS = "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to"
ERRORS = [torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), RuntimeError(CPU_WORDS), MemoryError()]


@pytest.fixture
def small_device(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[int]]:
    """A device on which more than `training` rows, or `evaluated` packed rows, fail in the middle of their backward."""

    def install(training: int, evaluated: int = 10**6, error: Exception = ERRORS[0], first: int = 0) -> list[int]:
        asked: list[int] = []
        accumulate, nats = Engine.accumulate, Engine.nats

        def little_memory(engine, rows_GP, gradient_GP, batch, row_index, weights_N):
            asked.append(len(row_index))
            found = accumulate(engine, rows_GP, gradient_GP, batch, row_index, weights_N)
            if len(asked) > first and len(row_index) > training:
                raise error
            return found

        def little_memory_without_gradients(engine, rows_GP, batch, row_index):
            if len(row_index) > evaluated:
                raise error
            return nats(engine, rows_GP, batch, row_index)

        monkeypatch.setattr(Engine, "accumulate", little_memory)
        monkeypatch.setattr(Engine, "nats", little_memory_without_gradients)
        return asked

    return install


def test_failures_to_allocate_are_told_from_other_errors():
    assert all(is_out_of_memory(error) for error in ERRORS)
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    with pytest.raises(RuntimeError) as real:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(real.value) and as_trainer_error(real.value).code == "out_of_memory"


@pytest.mark.parametrize("error", ERRORS, ids=["cuda", "cpu", "python"])
@pytest.mark.parametrize("first", [0, 10])
def test_the_run_goes_on_with_half_the_rows_and_ends_with_the_same_numbers(
    tiny: Tiny, tmp_path, small_device, error, first
):
    """What a failed backward had added is gone: twice as large gradients would not end in the same numbers."""
    spec = tiny.spec(TAUS)
    expected = list(tiny.train(spec, tmp_path / "whole"))
    asked = small_device(1, error=error, first=first)
    found = list(tiny.train(spec, tmp_path / "halved"))
    halved = bodies(found, "micro_batch_halved")
    sizes = [event.rows_per_micro_batch for event in halved]
    assert sizes in ([2, 1], [1]), "half of what failed, which may be less than what was allowed"
    assert all(event.message == str(error) for event in halved) and halved[0].step >= 1
    assert (first == 0) == (halved[0].step == 1)
    assert max(asked[-20:]) == 1
    for fit in spec.fits:
        mine, theirs = (bodies(events, "evaluated", fit.trial_id) for events in (found, expected))
        assert [event.step for event in mine] == [event.step for event in theirs]
        assert [macro(event) for event in mine] == pytest.approx([macro(event) for event in theirs], rel=1e-6)
    steps = [sum(window.steps for window in bodies(events, "steps_done")) for events in (found, expected)]
    assert steps == [spec.train.max_steps] * 2


def test_an_evaluation_goes_on_with_half_the_tokens(tiny: Tiny, tmp_path, small_device):
    spec = tiny.spec(TAUS)
    expected = list(tiny.train(spec, tmp_path / "whole"))
    small_device(10, evaluated=2)
    found = list(tiny.train(spec, tmp_path / "halved"))
    halved = bodies(found, "micro_batch_halved")
    assert halved and halved[0].rows_per_micro_batch == 4
    sizes = [event.evaluation_tokens for event in halved]
    assert sizes == sorted(sizes, reverse=True) and halved[0].step == 0
    mine, theirs = (bodies(events, "evaluated") for events in (found, expected))
    assert [macro(event) for event in mine] == pytest.approx([macro(event) for event in theirs], rel=1e-6)


@pytest.mark.parametrize("sizes", [(0, 10), (10, 0)], ids=["training", "evaluation"])
def test_when_one_row_does_not_fit_the_run_ends_out_of_memory(tiny: Tiny, tmp_path, small_device, sizes):
    small_device(*sizes)
    with pytest.raises(TrainerError) as raised:
        list(tiny.train(tiny.spec(TAUS), tmp_path))
    assert (raised.value.code, raised.value.domain) == ("out_of_memory", "oom")
    assert "CUDA out of memory" in raised.value.message and raised.value.hint


def test_a_later_attempt_begins_with_the_size_that_fitted(tiny: Tiny, tmp_path, small_device):
    small_device(1)
    running = tiny.train(tiny.spec(TAUS), tmp_path)
    for event in running:
        if event.WhichOneof("body") == "checkpoint_saved":
            break
    running.close()  # pyright: ignore[reportAttributeAccessIssue]
    resumed = list(tiny.train(tiny.spec(TAUS), tmp_path, resume_step=3))
    [started] = bodies(resumed, "run_started")
    assert (started.step, started.execution.rows_per_micro_batch) == (3, 1)
    assert not bodies(resumed, "micro_batch_halved") and resumed[-1].HasField("run_done")


def test_other_errors_end_the_run_as_they_did(tiny: Tiny, tmp_path, small_device):
    small_device(0, error=RuntimeError("a fault of our own"))
    with pytest.raises(RuntimeError, match="a fault of our own"):
        list(tiny.train(tiny.spec(TAUS), tmp_path))


def test_sizes_never_grow_again():
    size = MicroBatchSize(8, 1000)
    size.halve_rows(5, "full")
    size.restore({"rows": 6, "evaluation_tokens": 100})
    assert size.facts() == {"rows": 2, "evaluation_tokens": 100}
    size.restore({})
    assert size.facts() == {"rows": 2, "evaluation_tokens": 100}
    [event] = size.events(7)
    assert event == event_pb2.Event(
        micro_batch_halved=event_pb2.MicroBatchHalved(
            step=7, rows_per_micro_batch=2, evaluation_tokens=1000, message="full"
        )
    )
    assert size.events(8) == []
