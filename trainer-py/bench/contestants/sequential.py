"""D trainings with PEFT, one after the other: what one does today without a trainer for many adapters.

Shapes: D tasks, N documents, L tokens.
"""

from __future__ import annotations

from functools import partial

from peft import PeftModel, get_peft_model
from torch import Tensor, nn

from bench.contestants import Setting
from bench.contestants.best_batch import best_multiple
from bench.contestants.parameters import ParameterRows, choose_attention, fused_adamw, mean_loss
from bench.contestants.published import lora_config, peft_parameters
from bench.shapes import adapter
from bench.workload import Workload
from bora_trainer.adapters.lora import Lora


class PeftSequential:
    """One model, one adapter, fused AdamW. Each run has weights and state of its own and is put in place for its step
    by one dictionary entry a tensor: in a real run that happens once, and here it must not cost anything."""

    name = "peft-sequential"

    def __init__(self, setting: Setting, multiple: int = 1) -> None:
        """`multiple`: how many steps' documents one optimiser step takes."""
        cell, device = setting.workload.cell, setting.device
        self._multiple = multiple
        self._workload = Workload.of(cell, multiple)
        self._tokens = self._workload.tokens.to(device)
        base = cell.shape.model(setting.dtype, device)
        self.note = choose_attention(base, self._tokens[0])
        lora = Lora.of(base, adapter(cell.rank))
        self._model: PeftModel = get_peft_model(base, lora_config(cell.rank))  # pyright: ignore[reportAssignmentType]
        own = peft_parameters(self._model, lora, "default")
        modules = [f"base_model.model.{slot.module}.{slot.name}.default" for slot in lora.layout.slots]
        self._homes = [self._model.get_submodule(module)._parameters for module in modules]
        runs = [[nn.Parameter(tensor.detach().clone()) for tensor in own] for _ in range(cell.tasks)]
        self._rows = ParameterRows(lora.layout, runs, lora.initial(0))
        self._optimisers = [fused_adamw(run) for run in self._rows.by_row]
        self._turn = 0
        self._tasks_a_call = max(1, cell.tasks // multiple)
        self.share = self._tasks_a_call * multiple / cell.rows

    def step(self) -> None:
        """One optimiser step of as many runs as have a step's tokens between them, in turn."""
        for _ in range(self._tasks_a_call):
            self.step_of(self._turn)
            self._turn = (self._turn + 1) % len(self._optimisers)

    def step_of(self, task: int) -> None:
        self._backward(task)
        self._optimisers[task].step()
        self._optimisers[task].zero_grad()

    def load(self, rows_GP: Tensor) -> None:
        self._rows.load(rows_GP)

    def rows(self) -> Tensor:
        return self._rows.read()

    def gradients(self) -> Tensor:
        for task in range(len(self._optimisers)):
            self._backward(task)
        return self._rows.gradients(self._workload.loss_scale)

    def _backward(self, task: int) -> None:
        for home, parameter in zip(self._homes, self._rows.by_row[task], strict=True):
            home["weight"] = parameter
        mean_loss(self._model, self._tokens[task]).backward()


class PeftBestBatch(PeftSequential):
    """The same at its best batch size: the documents of 1, 2, 4 or 8 steps at once, whichever gives most tokens/s.

    Fewer optimiser steps for the same tokens: another trajectory, which the gate's one-step check cannot see.
    """

    name = "peft-best-batch"

    def __init__(self, setting: Setting) -> None:
        best = best_multiple(lambda multiple: partial(PeftSequential(setting, multiple).step_of, 0), setting.device)
        super().__init__(setting, best)
        self.note = f"{self.note}, {best} steps at once"
