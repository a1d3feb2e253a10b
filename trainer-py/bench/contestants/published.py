"""The published loop's structure, and the same as a steelman: one PEFT model, D task adapters and a shared one.

Each step selects the tasks' adapters in turn (`set_adapter`), runs one task's documents forward and backward, and
updates all parameters with AdamW. As published: a penalty on the norm of each tensor's distance to the shared adapter,
inside the autograd graph, one tensor after the other; norms read for the log at every step; AdamW tensor by tensor;
float32. Its likelihood weighs a task's mean loss by its documents; here all tasks have equally many: weight 1.
"""

from __future__ import annotations

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor, nn
from transformers import PreTrainedModel

from bench.contestants import BETAS, EPSILON, LEARNING_RATE, Setting
from bench.contestants.parameters import ParameterRows, choose_attention, fused_adamw, mean_loss
from bench.shapes import ALPHA, TARGETS, adapter
from bora_trainer.adapters.lora import Lora

_SHARED = "shared"


def lora_config(rank: int) -> LoraConfig:
    return LoraConfig(r=rank, lora_alpha=int(ALPHA), target_modules=list(TARGETS), lora_dropout=0.0)


def peft_parameters(model: PeftModel, lora: Lora, name: str) -> list[nn.Parameter]:
    """The tensors of one of PEFT's adapters, in the order of the layout's slots."""
    modules = [f"base_model.model.{slot.module}.{slot.name}.{name}" for slot in lora.layout.slots]
    return [model.get_submodule(module).get_parameter("weight") for module in modules]


class Published:
    name = "published"

    def __init__(self, setting: Setting) -> None:
        cell, device = setting.workload.cell, setting.device
        self._setting = setting
        self._tokens = setting.workload.tokens.to(device)
        base = cell.shape.model(self._dtype(setting), device)
        self.note = self._attention(base)
        lora = Lora.of(base, adapter(cell.rank))
        self._tasks = [f"task-{task}" for task in range(cell.tasks)]
        self._model: PeftModel = get_peft_model(base, lora_config(cell.rank), _SHARED)  # pyright: ignore[reportAttributeAccessIssue]
        for name in self._tasks:
            self._model.add_adapter(name, lora_config(cell.rank))
        every = [peft_parameters(self._model, lora, name) for name in (_SHARED, *self._tasks)]
        initial_P = lora.initial(0)
        self._shared = ParameterRows(lora.layout, every[:1], initial_P)
        self._rows = ParameterRows(lora.layout, every[1:], initial_P)
        self._optimiser = self._adamw([*self._shared.all, *self._rows.all])
        self.share = 1 / cell.fits
        self.norms: dict[str, list[float]] = {}

    def step(self) -> None:
        self._backward()
        self._optimiser.step()
        self._optimiser.zero_grad()
        self._log()

    def load(self, rows_GP: Tensor) -> None:
        self._rows.load(rows_GP)

    def load_shared(self, row_P: Tensor) -> None:
        self._shared.load(row_P[None])

    def rows(self) -> Tensor:
        return self._rows.read()

    def gradients(self) -> Tensor:
        self._backward()
        for parameter in self._shared.all:
            parameter.grad = None
        return self._rows.gradients(self._setting.workload.loss_scale)

    def _dtype(self, setting: Setting) -> torch.dtype:
        return torch.float32

    def _attention(self, base: PreTrainedModel) -> str:
        return "sdpa"

    def _adamw(self, parameters: list[nn.Parameter]) -> torch.optim.AdamW:
        return torch.optim.AdamW(
            parameters, lr=LEARNING_RATE, betas=BETAS, eps=EPSILON, weight_decay=0.0, foreach=False, fused=False
        )

    def _backward(self) -> None:
        for place, name in enumerate(self._tasks):
            self._model.set_adapter(name)
            for parameter in self._shared.all:  # PEFT freezes every adapter but the selected one
                parameter.requires_grad = True
            loss = mean_loss(self._model, self._tokens[place])
            (loss + self._setting.penalty * self._distance(place)).backward()

    def _distance(self, place: int) -> Tensor:
        pairs = zip(self._rows.by_row[place], self._shared.by_row[0], strict=True)
        return torch.stack([torch.norm(own - shared) for own, shared in pairs]).sum()

    @torch.no_grad()
    def _log(self) -> None:
        rows = zip(self._tasks, self._rows.by_row, strict=True)
        self.norms = {name: [torch.norm(tensor).item() for tensor in row] for name, row in rows}


class Steelman(Published):
    """The fastest dtype, fused AdamW, no log; the prior's gradient added to all tensors at once, outside the graph."""

    name = "steelman"

    def _dtype(self, setting: Setting) -> torch.dtype:
        return setting.dtype

    def _attention(self, base: PreTrainedModel) -> str:
        return choose_attention(base, self._tokens[0])

    def _adamw(self, parameters: list[nn.Parameter]) -> torch.optim.AdamW:
        return fused_adamw(parameters)

    def _backward(self) -> None:
        for place, name in enumerate(self._tasks):
            self._model.set_adapter(name)
            mean_loss(self._model, self._tokens[place]).backward()
        self._add_prior()

    @torch.no_grad()
    def _add_prior(self) -> None:
        """The Gaussian's: tau times the offset, for the task; less the sum of them, for the shared adapter."""
        shared = self._shared.by_row[0]
        for parameter in shared:
            parameter.grad = torch.zeros_like(parameter)
        shared_grads = [parameter.grad for parameter in shared if parameter.grad is not None]
        for row in self._rows.by_row:
            offsets = torch._foreach_sub(row, shared)  # pyright: ignore
            grads = [parameter.grad for parameter in row if parameter.grad is not None]
            torch._foreach_add_(grads, offsets, alpha=self._setting.penalty)  # pyright: ignore
            torch._foreach_sub_(shared_grads, offsets, alpha=self._setting.penalty)  # pyright: ignore

    def _log(self) -> None:
        pass
