"""What is measured side by side. Each contestant takes optimiser steps on the same documents at the same weights.

Rivals are clean re-implementations of structures in use, each in its fastest honest form; docs/performance.md says
what each stands for. None of them may compute anything else than ours: gate.py compares their gradients and steps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from bench.cells import Cell
from bench.workload import Workload
from bora_trainer.device import micro_batch_tokens
from bora_trainer.models import activation_bytes_per_token

LEARNING_RATE = 1e-3
BETAS = (0.9, 0.999)
EPSILON = 1e-12


@dataclass(frozen=True, slots=True)
class Setting:
    """What a contestant is told: the documents, the base's dtype, the device, and the trainer's own micro-batches."""

    workload: Workload
    dtype: torch.dtype
    rows_per_micro_batch: int
    device: str = "cpu"
    tau: float | None = None  # of rivals with a penalty; None: the cell's own
    layers: tuple[int, ...] = ()  # that hold adapters; none named: all

    @property
    def penalty(self) -> float:
        """Per mean loss: rivals minimise c times the objective, as ours does."""
        tau = self.workload.cell.middle_tau if self.tau is None else self.tau
        return tau * self.workload.loss_scale


def rows_that_fit(cell: Cell, dtype: torch.dtype, device: str, steps: int = 1) -> int:
    """Rows of so many steps' documents in a micro-batch, as the trainer itself chooses."""
    words = "bfloat16" if dtype == torch.bfloat16 else "float32"
    tokens = micro_batch_tokens(device, words, activation_bytes_per_token(cell.shape.config()))
    return max(1, min(cell.rows, tokens // (cell.tokens * steps)))


class Contestant(Protocol):
    """`share`: the part of one optimiser step of all G rows that a call of `step` does, in tokens.

    `note`: what it chose for itself.
    """

    name: str
    share: float
    note: str

    def step(self) -> None: ...


class Trainer(Contestant, Protocol):
    """One that trains adapters. It holds its rows [rows, P] in the trainer's flat layout: all G, or the D of a fit."""

    def load(self, rows_GP: Tensor) -> None:
        """Takes over weights; the optimiser's state stays."""
        ...

    def rows(self) -> Tensor: ...

    def gradients(self) -> Tensor:
        """Of the summed nats of each row, without a step."""
        ...


Maker = Callable[[Setting], Trainer]
