"""Counts that stand for speed: work that must not grow with the number of adapters, or must not be done at all.

They are the same on every machine, where seconds are not. What is counted is what torch computes, whichever module or
autograd function asks for it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from tiny_models import adapter, documents, loaded, random_rows, tiny_model
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode

from bora_trainer.data.batches import pack
from bora_trainer.engine import Engine
from bora_trainer.hierarchical_adam import HierarchicalAdam

_PRODUCTS = ("mm", "addmm", "bmm", "baddbmm", "matmul", "linear")
# What reads states that no adapter below has changed: nothing asks for the gradient of its input.
_READS_FROZEN = {
    "llama-tied": {f"layers.0.self_attn.{name}" for name in ("q_proj", "k_proj", "v_proj")},
    "opt": {f"decoder.layers.0.self_attn.{name}" for name in ("q_proj", "k_proj", "v_proj")} | {"decoder.project_in"},
    "gpt2": {"h.0.attn.c_attn"},
}


class Products(TorchDispatchMode):
    """Counts, for each weight, the matrix products that read it; views of a weight count, they share its memory."""

    def __init__(self, weights: dict[str, Tensor]) -> None:
        super().__init__()
        self._names = {weight.untyped_storage().data_ptr(): name for name, weight in weights.items()}
        self.found: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket.__name__.rstrip("_") in _PRODUCTS:
            read = {argument.untyped_storage().data_ptr() for argument in args if isinstance(argument, Tensor)}
            self.found.update(self._names[pointer] for pointer in read & self._names.keys())
        return func(*args, **(kwargs or {}))


class Rows:
    """An engine with `count` adapter rows, and one micro-batch that holds them all, two documents of 7 tokens each."""

    def __init__(self, count: int, family: str = "llama-tied", layers: tuple[int, ...] = ()) -> None:
        self.engine = Engine(loaded(tiny_model(family)), adapter(family, layers=layers))
        self.body: nn.Module = self.engine.loaded.model.base_model
        self.rows_GP = random_rows(self.engine, count)
        self.gradient_GP = torch.zeros_like(self.rows_GP)
        self.documents = [documents([7, 7], task) for task in range(count)]

    def forward(self) -> None:
        self.engine.nats(self.rows_GP, pack(self.documents), range(len(self.documents)))

    def accumulate(self) -> None:
        self._accumulate(range(len(self.documents)))

    def one_after_the_other(self) -> None:
        for row in range(len(self.documents)):
            self._accumulate(range(row, row + 1))

    def _accumulate(self, rows: range) -> None:
        packed = pack(self.documents[rows.start : rows.stop])
        self.engine.accumulate(self.rows_GP, self.gradient_GP, packed, rows, torch.ones(len(rows)))

    def products(self, call: Callable[[], None]) -> Counter[str]:
        with Products(self.weights()) as counted:
            call()
        return counted.found

    def weights(self) -> dict[str, Tensor]:
        """The base's matrices below the output embedding, adapted or not, by the module's name in the plain model."""
        return {
            name.removesuffix(".weight").removesuffix(".base"): weight
            for name, weight in self.body.named_parameters()
            if weight.dim() == 2 and not isinstance(self.body.get_submodule(name.rpartition(".")[0]), nn.Embedding)
        }


def operations(call: Callable[[], object]) -> Counter[str]:
    """How often each of torch's operations runs in a call, forward and backward, when it is warm."""
    call()
    with profile(activities=[ProfilerActivity.CPU]) as recorded:
        call()
    return Counter(event.name for event in recorded.events() or () if event.name.startswith("aten::"))


def operations_of_a_micro_batch(count: int) -> Counter[str]:
    """Of `accumulate` alone: packing walks through the documents, in Python, on the CPU."""
    rows = Rows(count)
    batch, weights = pack(rows.documents), torch.ones(count)
    return operations(lambda: rows.engine.accumulate(rows.rows_GP, rows.gradient_GP, batch, range(count), weights))


@pytest.mark.parametrize("family", _READS_FROZEN)
@pytest.mark.parametrize("tasks", [1, 2, 8, 32])
def test_each_base_matrix_is_read_once_forward_and_once_backward_however_many_tasks(tasks: int, family: str) -> None:
    rows = Rows(tasks, family)
    every = rows.weights().keys()
    forward, both = rows.products(rows.forward), rows.products(rows.accumulate)
    assert forward == dict.fromkeys(every, 1) and len(every) >= 4 * 3
    assert both - forward == dict.fromkeys(every - _READS_FROZEN[family], 1)


def test_a_loop_over_tasks_would_be_seen() -> None:
    rows = Rows(4)
    assert set(rows.products(rows.one_after_the_other).values()) == {4, 8}
    assert operations(rows.one_after_the_other).total() > 3 * operations(rows.accumulate).total()


def test_a_row_more_adds_no_operation_to_a_micro_batch() -> None:
    two = operations_of_a_micro_batch(2)
    assert two["aten::bmm"] > 0 and two["aten::mm"] > 0
    for count in (1, 8, 32):
        assert operations_of_a_micro_batch(count) == two, f"{count} rows"


@pytest.mark.parametrize("tau", [0.0, 1e3, math.inf])
def test_an_update_asks_torch_for_as_much_whatever_the_number_of_tasks(tau: float) -> None:
    """One pass over the rows; torch's own operations, the reference, sum task after task."""

    def update(tasks: int, plain: bool = False) -> int:
        settings = {"loss_scale": 1.0, "betas": (0.9, 0.999), "epsilon": 1e-8}
        optimiser = HierarchicalAdam(torch.ones(1, 512), [tau], tasks, **settings, plain=plain)
        return operations(lambda: optimiser.step(1e-3)).total()

    assert len({update(tasks) for tasks in (2, 8, 32)}) == 1
    assert update(2) < update(2, plain=True)
    if tau > 0:
        assert update(2, plain=True) < update(32, plain=True), "growth with the tasks would be seen"


@pytest.mark.parametrize(("family", "lowest"), [("llama-tied", 2), ("llama-tied", 1), ("gpt2", 2), ("opt", 2)])
def test_the_backward_ends_at_the_lowest_adapted_layer(family: str, lowest: int) -> None:
    rows = Rows(3, family, layers=tuple(range(lowest, 3)))
    entered: list[Tensor] = []
    layer = rows.engine.loaded.model.get_submodule(rows.engine.lora.modules[0].rpartition(f".{lowest}.")[0])[lowest]  # pyright: ignore[reportIndexIssue]
    layer.register_forward_pre_hook(
        lambda _, arguments, options: entered.append(arguments[0] if arguments else options["hidden_states"]),
        with_kwargs=True,
    )
    backward = rows.products(rows.accumulate) - rows.products(rows.forward)
    assert not entered[0].requires_grad
    numbers = {int(part) for name in backward for part in name.split(".") if part.isdecimal()}
    assert numbers == set(range(lowest, 3))
    assert backward == dict.fromkeys(backward, 1)
