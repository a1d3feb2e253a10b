"""What the footprint says is what the optimiser's tensors and the process really take."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
from tiny_runs import Tiny

from bora_trainer.allocations import peak_of, reset_peak, resident_peak_of
from bora_trainer.engine import Engine
from bora_trainer.footprint import Footprint, measure, storage_bytes
from bora_trainer.hierarchical_adam import HierarchicalAdam
from bora_trainer.training_state import TrainingState

MIB = 2**20
CPU = torch.device("cpu")


def footprint_of(tiny: Tiny) -> tuple[Footprint, Engine]:
    engine = Engine(tiny.loaded(), tiny.spec([0.0]).adapter)
    return measure(engine, 12), engine


@pytest.mark.parametrize("taus", [(0.0,), (0.0, 1.0, 10.0)])
def test_rows_and_fits_are_the_training_state(tiny: Tiny, taus: tuple[float, ...]):
    """Every tensor of weights of the optimiser and of the best step, counted on the state of a run."""
    found, engine = footprint_of(tiny)
    spec, dataset = tiny.spec(taus), tiny.dataset()
    state = TrainingState(spec, spec.fits, engine, dataset)
    held = [value for value in vars(state.optimiser).values() if isinstance(value, torch.Tensor)]
    held = [value for value in held if value.is_floating_point()]  # 8 bytes a fit tell whether it failed
    expected = storage_bytes([*held, state.best_rows_KDP, state.best_mean_KP])
    assert len(taus) * (found.per_fit + len(dataset.tasks) * found.per_row) == expected


def test_the_base_is_counted_once_with_tied_weights_and_buffers(tiny: Tiny):
    found, engine = footprint_of(tiny)
    weights = {parameter.data_ptr(): parameter.numel() * 4 for parameter in engine.loaded.model.parameters()}
    assert found.base == sum(weights.values()) + storage_bytes(engine.loaded.model.buffers())


def test_the_parts_add_up():
    found = Footprint(
        base=1000, per_row=10, per_fit=5, activation_per_token=3, kept_per_token=2, working=40, process=100
    )
    assert found.resident(fits=2, tasks=3) == 100 + 1000 + 2 * 5 + 6 * 10
    assert found.micro_batch(10) == 2 * 10 + 40, "while the logits are there"
    assert found.micro_batch(100) == 3 * 100, "the backward's peak"
    assert found.peak(2, 3, 100) == found.resident(2, 3) + 300


def test_a_measured_peak_is_what_was_allocated_and_freed_again():
    def work() -> torch.Tensor:
        torch.ones(64 * MIB // 4)
        return torch.ones(16 * MIB // 4)

    assert peak_of(work, CPU) == (64 * MIB, 16 * MIB)
    assert resident_peak_of(work, CPU) == pytest.approx(64 * MIB, abs=4 * MIB)


GAPS = """
import torch
from bora_trainer.allocations import peak_of, resident_peak_of

def work():
    kept = []
    for size in range(1, 65):
        passing = torch.ones(size * 4096)
        kept.append(torch.ones(1024))
        del passing
    return kept

cpu = torch.device("cpu")
print(resident_peak_of(work, cpu), peak_of(work, cpu)[0])
"""


@pytest.mark.skipif(not reset_peak(), reason="this system does not set a process's highest resident size back")
def test_gaps_in_the_heap_are_counted():
    """Tensors that come and go between tensors that stay leave holes that the next size does not fit into.

    In a process of its own, whose C library takes every piece from the heap: elsewhere it depends on what ran before.
    """
    heap = os.environ | {"MALLOC_MMAP_THRESHOLD_": str(256 * MIB), "MALLOC_TRIM_THRESHOLD_": str(256 * MIB)}
    ran = subprocess.run([sys.executable, "-c", GAPS], env=heap, check=True, capture_output=True, text=True)
    resident, tensors = (int(word) for word in ran.stdout.split())
    assert resident > 2 * tensors


def test_an_optimiser_of_more_tasks_takes_as_many_rows_more(tiny: Tiny):
    found, engine = footprint_of(tiny)

    def held(tasks: int) -> int:
        start_KP = torch.zeros(1, engine.layout.weights)
        optimiser = HierarchicalAdam(start_KP, [1.0], tasks, loss_scale=1.0, betas=(0.9, 0.999), epsilon=1e-8)
        return storage_bytes(value for value in vars(optimiser).values() if isinstance(value, torch.Tensor))

    assert held(5) - held(2) == 3 * (found.per_row - 4 * engine.layout.weights), "but for the best step's"
