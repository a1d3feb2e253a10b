"""Recorded work gives what plain work gives; without a graphics card a stand-in records (stand_in_recorder.py)."""

from collections.abc import Sequence

import pytest
import torch
from stand_in_recorder import Rerun
from tiny_models import adapter, documents, loaded, random_rows, tiny_model
from torch import Tensor, nn

from bora_trainer.data import TaskData, pack
from bora_trainer.engine import Engine
from bora_trainer.errors import TrainerError
from bora_trainer.gradients import Gradients
from bora_trainer.hierarchical_adam import HierarchicalAdam
from bora_trainer.micro_batch_size import MicroBatchSize
from bora_trainer.recorded_gradients import RecordedGradients
from bora_trainer.recorded_graphs import CudaGraphs, RecordedGraphs, Recorder
from bora_trainer.spec import Sampler, TrainSpec

CPU = torch.device("cpu")
TASKS, TAUS = 3, [0.0, 3.0]
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


def _double(given: Sequence[Tensor]) -> Tensor:
    return given[0] * 2


def test_work_is_done_then_recorded_then_replayed_with_new_inputs() -> None:
    recorder = Rerun()
    graphs = RecordedGraphs(recorder, CPU)
    found = []
    for number in range(4):
        given = torch.full((2,), float(number))
        found.append(graphs("double", [given], _double))
        given.fill_(99)  # the caller's own again
    assert recorder.told == ["done", "recorded", "replayed", "replayed", "replayed"]
    assert [result.tolist() for result in found] == [[2.0 * number] * 2 for number in range(4)]


def test_every_key_has_buffers_of_its_own_and_too_many_are_done_unrecorded() -> None:
    recorder = Rerun()
    graphs = RecordedGraphs(recorder, CPU, most=2)
    for _ in range(2):
        for size in (1, 2, 3):
            assert graphs(size, [torch.ones(size)], _double).tolist() == [2.0] * size
    assert len(graphs) == 2
    assert recorder.told == ["done"] * 3 + ["recorded", "replayed"] * 2 + ["done"]


def test_what_is_raised_forgets_every_graph() -> None:
    graphs = RecordedGraphs(Rerun(), CPU)
    for _ in range(2):
        graphs("double", [torch.ones(2)], _double)

    def fails(given: Sequence[Tensor]) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        graphs("other", [torch.ones(2)], fails)
    assert len(graphs) == 0
    assert graphs("double", [torch.ones(2)], _double).tolist() == [2.0, 2.0]


def test_on_a_processor_it_is_refused() -> None:
    with pytest.raises(TrainerError, match="only CUDA") as raised:
        CudaGraphs(CPU)
    assert raised.value.code == "engine_unsupported" and "leave" in raised.value.hint


def trained(recorder: Recorder | None, sampler: Sampler, device: str = "cpu") -> tuple[list[Tensor], Tensor, int]:
    """Nats of six steps of two fits, of which the first leaves after four; the rows at last; how many graphs."""
    model = tiny_model("llama-tied").double()
    nn.Module.to(model, device)
    engine = Engine(loaded(model), adapter("llama-tied"), buckets=True)
    graphs = None if recorder is None else RecordedGraphs(recorder, torch.device(device))
    tasks = [
        TaskData(f"t{task}", f"t{task}", tuple(documents([5, 9, 7, 20 + 20 * task], task)), (), (), 0, 0)
        for task in range(TASKS)
    ]
    train = TrainSpec(9, 9, 9, 9, sampler, 64, 2, 0, 1e-3, 0, "constant", 0.9, 0.999, 1e-8)
    gradients = Gradients(engine, tasks, train, MicroBatchSize(4, 64), lambda: False, graphs)
    start_KP = random_rows(engine, len(TAUS)).to(device)
    optimiser = HierarchicalAdam(start_KP, TAUS, TASKS, loss_scale=0.1, betas=(0.9, 0.999), epsilon=1e-8)
    nats, most = [], 0
    for step in range(1, 7):
        nats.append(gradients(optimiser, [0] * len(optimiser.taus), step).nats_G.cpu())
        optimiser.step(1e-3)
        most = max(most, 0 if graphs is None else len(graphs))
        if step == 4:
            optimiser.keep([1])
    return nats, optimiser.rows_GP.cpu(), most


@pytest.mark.parametrize("sampler", ["groups", "documents"])
def test_a_recorded_run_is_the_run(sampler: Sampler) -> None:
    plain, recorded = trained(None, sampler), trained(Rerun(), sampler)
    for one, other in zip(plain[0], recorded[0], strict=True):
        torch.testing.assert_close(other, one, rtol=1e-9, atol=0)
    torch.testing.assert_close(recorded[1], plain[1], rtol=1e-9, atol=1e-12)
    assert recorded[2] > 0, "nothing was recorded"


@needs_cuda
@pytest.mark.parametrize("sampler", ["groups", "documents"])
def test_on_a_graphics_card_a_recorded_run_is_the_run(sampler: Sampler) -> None:
    plain, recorded = trained(None, sampler, "cuda"), trained(CudaGraphs(torch.device("cuda")), sampler, "cuda")
    for one, other in zip(plain[0], recorded[0], strict=True):
        torch.testing.assert_close(other, one, rtol=1e-5, atol=0)
    torch.testing.assert_close(recorded[1], plain[1], rtol=1e-5, atol=1e-8)
    assert recorded[2] > 0, "nothing was recorded"


def test_a_micro_batch_of_all_rows_is_recorded_where_they_are_and_another_gathered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = Engine(loaded(tiny_model("llama-tied").double()), adapter("llama-tied"), buckets=True)
    recorded = RecordedGradients(engine, RecordedGraphs(Rerun(), CPU))
    rows_GP = random_rows(engine, TASKS)
    read: list[int] = []
    accumulate = engine.accumulate_sent
    monkeypatch.setattr(
        engine, "accumulate_sent", lambda rows, *given: read.append(rows.data_ptr()) or accumulate(rows, *given)
    )
    every, found = list(range(TASKS)), []
    for order in (every, every[::-1]):
        gradient_GP = torch.zeros_like(rows_GP)
        packed = pack([documents([5, 9 + task], task) for task in order])
        recorded.accumulate(rows_GP, gradient_GP, packed, order, [1.0 + task for task in order])
        found.append(gradient_GP)
    assert [place == rows_GP.data_ptr() for place in read] == [True, False]
    torch.testing.assert_close(found[0], found[1], rtol=1e-9, atol=1e-12)
