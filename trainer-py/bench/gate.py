"""What must hold before anything is timed: ours is right, and no rival computes anything else.

On a tiny shape, in the dtype that is to be timed. Errors are |found - expected| / |expected| of the worst row.
Shapes: G rows, P weights a row.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from peft import get_peft_model
from torch import Tensor

from bench.cells import Cell
from bench.contestants import EPSILON, LEARNING_RATE, Maker, Setting, Trainer
from bench.contestants.batched import GroupedGemm, SliceLoop
from bench.contestants.ours import ON_A_CARD, Ours
from bench.contestants.parameters import mean_loss
from bench.contestants.published import Published, Steelman, lora_config, peft_parameters
from bench.contestants.sequential import PeftSequential
from bench.reference import Oracle, ReferenceFit
from bench.shapes import Shape, adapter
from bench.workload import Workload
from bora_trainer.adapters.lora import Lora

TINY = Shape("gate", 32, 2, 4, 2, 48, 61)
STEPS = 20
LONGER = 2  # steps' documents at once, for the rival that takes several

# PEFT itself, in bfloat16, is 2.0e-2 away from float32.
_GRADIENT_BOUND = {torch.float64: 1e-6, torch.float32: 1e-5, torch.bfloat16: 2.5e-2}
# Adam divides by the gradient's own size, so where a gradient nearly vanishes its rounding decides the direction.
_STEP_BOUND = {torch.float32: 1e-4}
_TRAJECTORY_BOUND = {torch.float64: 1e-6, torch.float32: 1e-3}

RIVALS: dict[str, Maker] = {
    "published": Published,
    "steelman": Steelman,
    "peft-sequential": PeftSequential,
    "peft-best-batch": lambda setting: PeftSequential(setting, LONGER),
    "slice-loop": SliceLoop,
    "grouped-gemm": GroupedGemm,
}


@dataclass(frozen=True, slots=True)
class Check:
    """Passed where error <= bound; a NaN never passes."""

    name: str
    error: float
    bound: float

    @property
    def passed(self) -> bool:
        return self.error <= self.bound


def checks(dtype: torch.dtype, device: str = "cpu", rivals: dict[str, Maker] | None = None) -> Iterator[Check]:
    """All of them, one after the other. The penalties of rivals are off: they are no part of the likelihood."""
    cell = Cell(TINY, tasks=3, fits=2, tokens=128, rank=4)
    setting = Setting(Workload.of(cell), dtype, rows_per_micro_batch=4, device=device, tau=0.0)
    rows_GP = random_rows(setting)
    ours = Ours(setting)
    ours.load(rows_GP)
    found_GP = ours.gradients()
    bound = _GRADIENT_BOUND[dtype]
    tokens_GNL = setting.workload.tokens.repeat(cell.fits, 1, 1)
    expected_GP = Oracle(TINY, cell.rank, dtype).gradients(rows_GP, tokens_GNL)
    yield Check("ours: gradients, torch.func in float64", relative_error(found_GP, expected_GP), bound)
    yield Check("ours: gradient of a row for another row's nats", _leakage(ours), 0.0)
    peft_GP = torch.stack([_peft_gradient(setting, row, rows_GP[row]) for row in range(cell.rows)])
    yield Check("ours: gradients, a PEFT model for each row", relative_error(found_GP, peft_GP), bound)
    yield from _trajectories(dtype, device)
    if device != "cpu":
        yield from (_same_again(maker, setting, rows_GP, found_GP) for maker in ON_A_CARD)
    for name, maker in (RIVALS if rivals is None else rivals).items():
        yield from _rival_checks(name, maker, setting, rows_GP)


def _same_again(maker: type[Ours], setting: Setting, rows_GP: Tensor, expected_GP: Tensor) -> Check:
    """Gradients of the other ways of computing; the third time, so that a graph is replayed."""
    other = maker(setting)
    other.load(rows_GP)
    found_GP = [other.gradients() for _ in range(3)][-1]
    return Check(
        f"{other.name}: gradients, ours", relative_error(found_GP, expected_GP), _GRADIENT_BOUND[setting.dtype]
    )


def random_rows(setting: Setting) -> Tensor:
    """[G, P], every weight away from 0, the padding excepted."""
    cell = setting.workload.cell
    layout = Lora.of(cell.shape.model(setting.dtype), adapter(cell.rank)).layout
    rows_GP = torch.zeros(cell.rows, layout.weights)
    generator = torch.Generator().manual_seed(3)
    rows_GP[:, : layout.parameters] = torch.randn(cell.rows, layout.parameters, generator=generator) * 0.1
    return rows_GP


def relative_error(found_GP: Tensor, expected_GP: Tensor) -> float:
    """Of the worst row."""
    found_GP, expected_GP = found_GP.double(), expected_GP.double()
    return ((found_GP - expected_GP).norm(dim=1) / expected_GP.norm(dim=1)).max().item()


def _leakage(ours: Ours) -> float:
    """The largest gradient any row gets from the nats of the last."""
    weights = [0.0] * len(ours.rows())
    weights[-1] = 1.0
    gradient_GP = ours.gradients(weights)
    assert gradient_GP[-1].any(), "the row's own gradient is zero too, so nothing was tested"
    return gradient_GP[:-1].abs().max().item()


def _peft_gradient(setting: Setting, row: int, row_P: Tensor) -> Tensor:
    """[P]: a PEFT model of its own, plainly used."""
    workload, cell = setting.workload, setting.workload.cell
    base = cell.shape.model(setting.dtype, setting.device)
    lora = Lora.of(base, adapter(cell.rank))
    model = get_peft_model(base, lora_config(cell.rank))
    parameters = peft_parameters(model, lora, "default")  # pyright: ignore[reportArgumentType]
    with torch.no_grad():
        for slot, parameter in zip(lora.layout.slots, parameters, strict=True):
            parameter.copy_(slot.view(row_P[None])[0])
    tokens = workload.tokens[row % cell.tasks].to(setting.device)
    (mean_loss(model, tokens) * workload.scored_per_row).backward()  # pyright: ignore[reportArgumentType]
    gradient_P = torch.zeros_like(row_P)
    for slot, parameter in zip(lora.layout.slots, parameters, strict=True):
        assert parameter.grad is not None
        slot.view(gradient_P[None])[0].copy_(parameter.grad)
    return gradient_P


def _trajectories(dtype: torch.dtype, device: str) -> Iterator[Check]:
    """float64 shows that the arithmetic is method.md's, float32 that rounding does not carry it away."""
    cell = Cell(TINY, tasks=3, fits=6, tokens=128, rank=4)
    base = Setting(Workload.of(cell), torch.float64, rows_per_micro_batch=5, device=device)
    reference_GP = reference_trajectory(base)
    for one in (torch.float64, torch.float32):
        if one is torch.float32 and dtype is torch.bfloat16 and device == "cpu":
            continue  # the base is rounded to the dtype; what is timed in bfloat16 has its gradients checked
        ours = Ours(replace(base, dtype=one))
        start_GP = ours.rows().double()
        for _ in range(STEPS):
            ours.step()
        moved_GP = ours.rows().double() - start_GP
        error = relative_error(moved_GP, reference_GP - start_GP)
        word = str(one).removeprefix("torch.")
        yield Check(f"ours: {STEPS} steps at six taus, {word}", error, _TRAJECTORY_BOUND[one])


def reference_trajectory(setting: Setting) -> Tensor:
    """[G, P] after the steps."""
    workload, cell = setting.workload, setting.workload.cell
    oracle = Oracle(cell.shape, cell.rank, setting.dtype)
    initial_P = Lora.of(cell.shape.model(setting.dtype), adapter(cell.rank)).initial(0)
    fits = [ReferenceFit(initial_P, tau, cell.tasks, workload.loss_scale) for tau in cell.taus]
    tokens_GNL = workload.tokens.repeat(cell.fits, 1, 1)
    for _ in range(STEPS):
        gradient_GP = oracle.gradients(torch.cat([fit.rows() for fit in fits]), tokens_GNL)
        for fit, gradient_DP in zip(fits, gradient_GP.split(cell.tasks), strict=True):
            fit.step(gradient_DP, LEARNING_RATE)
    return torch.cat([fit.rows() for fit in fits])


def _rival_checks(name: str, maker: Maker, setting: Setting, rows_GP: Tensor) -> Iterator[Check]:
    """Its gradients are ours, and its step is Adam's on them."""
    expected = Ours(replace(setting, workload=Workload.of(setting.workload.cell, LONGER if "best" in name else 1)))
    expected.load(rows_GP)
    rival = maker(setting)
    held = len(rival.rows())
    rival.load(rows_GP[:held])
    gradient_GP = expected.gradients()[:held].float()
    bound = _GRADIENT_BOUND[setting.dtype] * (2 if setting.dtype is torch.bfloat16 else 1)  # both round
    yield Check(f"{name}: gradients, ours", relative_error(rival.gradients(), gradient_GP), bound)
    if setting.dtype not in _STEP_BOUND:
        return  # where the gradient's sign is rounding, the first step of Adam is too
    before_GP = rival.rows()
    _step_every_row(rival)
    moved_GP = rival.rows() - before_GP
    scaled_GP = gradient_GP * expected.loss_scale
    adam_GP = -LEARNING_RATE * scaled_GP / (scaled_GP.abs() + EPSILON)
    yield Check(
        f"{name}: one step, Adam on our gradients", relative_error(moved_GP, adam_GP), _STEP_BOUND[setting.dtype]
    )


def _step_every_row(rival: Trainer) -> None:
    """One call of step may take fewer rows where it takes more documents of each."""
    if isinstance(rival, PeftSequential):
        for task in range(len(rival.rows())):
            rival.step_of(task)
    else:
        rival.step()
