"""No part of a step waits for the device: all that the CPU must know of a micro-batch it knows before it is sent.

Without a graphics card the device is "meta": its tensors have shapes and no values, so whatever asks for one raises,
and so does whatever mixes devices. `no_waiting` adds copies that would wait. With a card CUDA itself objects.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from stand_in_recorder import Rerun
from tiny_models import FAMILIES, adapter, documents, loaded, tiny_model
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from bora_trainer.cross_entropy import OutputEmbedding
from bora_trainer.data import TaskData
from bora_trainer.device_batch import sent
from bora_trainer.engine import Engine
from bora_trainer.gradients import Gradients
from bora_trainer.hierarchical_adam import HierarchicalAdam
from bora_trainer.micro_batch_size import MicroBatchSize
from bora_trainer.recorded_graphs import RecordedGraphs, Recorder
from bora_trainer.spec import TrainSpec

TASKS = 3


class NoBlockingCopies(TorchDispatchMode):
    """Raises on a copy between the CPU and a device that is not declared non-blocking, in either direction."""

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        to = kwargs.get("device")
        if func is torch.ops.aten._to_copy.default and to is not None and not kwargs.get("non_blocking"):
            assert args[0].device.type == torch.device(to).type, f"a copy to {to} that waits"
        if func is torch.ops.aten.copy_.default and not (args[2:] and args[2]) and not kwargs.get("non_blocking"):
            assert args[0].device.type == args[1].device.type, f"a copy to {args[0].device} that waits"
        return func(*args, **kwargs)


class NoListsCopied(TorchFunctionMode):
    """Raises where numbers of Python become a tensor on a device: they are copied from memory that is not pinned."""

    def __torch_function__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        on_host = torch.device(kwargs.get("device") or "cpu").type == "cpu"
        assert func not in (torch.tensor, torch.as_tensor) or on_host, "numbers are copied to the device, which waits"
        return func(*args, **kwargs)


@contextmanager
def no_waiting() -> Iterator[None]:
    with NoBlockingCopies(), NoListsCopied():
        yield


def tasks() -> list[TaskData]:
    return [TaskData(f"t{t}", f"t{t}", tuple(documents([5, 9, 3 + t, 7], t)), (), (), 0, 0) for t in range(TASKS)]


def one_step(
    device: str,
    family: str,
    tau: float,
    recorder: Recorder | None = None,
    dtype: torch.dtype = torch.float32,
    **options: bool,
) -> Callable[[], Tensor]:
    """A whole step of two fits: draws, micro-batches, forward, backward, update. Built on the CPU, where it may ask."""
    model = tiny_model(family)
    nn.Module.to(model, dtype)
    engine = Engine(loaded(model), adapter(family), **options)
    train = TrainSpec(9, 9, 9, 9, "groups", 16, 0, 0, 1e-3, 0, "constant", 0.9, 0.999, 1e-8)
    graphs = None if recorder is None else RecordedGraphs(recorder, torch.device(device))
    gradients = Gradients(engine, tasks(), train, MicroBatchSize(4, 64), lambda: False, graphs)
    nn.Module.to(engine.loaded.model, device)
    layer: Any = engine.loaded.model.get_output_embeddings()
    engine._output = OutputEmbedding(layer.weight, layer.bias, engine.output_embedding.softcap)
    engine._device = torch.device(device)
    initial_KP = engine.initial(0).expand(2, -1).to(device)
    optimiser = HierarchicalAdam(initial_KP, [tau, tau], TASKS, loss_scale=0.1, betas=(0.9, 0.999), epsilon=1e-8)

    def step() -> Tensor:
        read = gradients(optimiser, [0, 1], 1)
        optimiser.step(1e-3)
        return read.nats_G

    return step


@pytest.mark.parametrize("buckets", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_step_asks_the_device_nothing(family: str, buckets: bool) -> None:
    step = one_step("meta", family, 3.0, buckets=buckets)
    with no_waiting():
        assert step().device.type == "meta"


@pytest.mark.parametrize("tau", [0.0, float("inf")])
def test_nor_does_a_step_at_the_limits_of_tau(tau: float) -> None:
    step = one_step("meta", "llama-tied", tau)
    with no_waiting():
        assert step().device.type == "meta"


def test_nor_does_a_step_with_a_base_in_bfloat16_and_rows_in_float32() -> None:
    step = one_step("meta", "llama-tied", 3.0, dtype=torch.bfloat16)
    with no_waiting():
        assert step().device.type == "meta"


def test_nor_does_a_step_with_the_models_own_attention() -> None:
    step = one_step("meta", "opt", 3.0, plain_attention=True)
    with no_waiting():
        assert step().device.type == "meta"


def test_nor_does_a_step_that_is_recorded_and_replayed() -> None:
    recorder = Rerun()
    step = one_step("meta", "llama-tied", 3.0, recorder, buckets=True)
    with no_waiting():
        for _ in range(3):
            assert step().device.type == "meta"
    assert "replayed" in recorder.told


@pytest.mark.parametrize(
    "waits",
    [
        lambda x: x.sum().item(),
        lambda x: x.tolist(),
        lambda x: x.nonzero(),
        lambda x: x[x > 0],
        lambda x: bool((x > 0).all()),
        lambda x: x.cpu(),
        lambda x: torch.zeros(3).to(x.device),
        lambda x: torch.tensor([1, 2], device=x.device),
        lambda x: x.copy_(torch.zeros(3)),
    ],
)
def test_the_tests_above_would_see_it(waits: Callable[[Tensor], object]) -> None:
    with no_waiting(), pytest.raises((RuntimeError, NotImplementedError, AssertionError)):
        waits(torch.zeros(3, device="meta"))


def test_what_is_sent_without_waiting_passes() -> None:
    with no_waiting():
        assert sent(torch.zeros(3), torch.device("meta")).device.type == "meta"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("buckets", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_on_a_graphics_card_no_step_synchronises(family: str, buckets: bool) -> None:
    step = one_step("cuda", family, 3.0, buckets=buckets)
    step()  # libraries are set up
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        nats_G = step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert nats_G.isfinite().all()
