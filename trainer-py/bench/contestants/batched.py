"""Two ways in use of training many adapters in one batch: a loop over slices, and stacks for grouped products.

Both run all rows through the frozen base at once and differ in every adapted linear. Shapes: G rows, n rows of the
micro-batch, N documents a row, L tokens, T = N * L tokens a row, R rank, I in, O out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from bench.contestants import Setting
from bench.contestants.parameters import ParameterRows, choose_attention, fused_adamw, mean_loss
from bench.shapes import adapter
from bora_trainer.adapters.lora import Lora


class _Adapted(nn.Module):
    """A frozen linear with the factors of all G rows; `active` are those of the micro-batch, in order."""

    def __init__(self, base: nn.Linear, rows: int, rank: int, scale: float, device: str) -> None:
        super().__init__()
        self.base, self.scale = base, scale
        self.a = nn.ParameterList(torch.empty(rank, base.in_features, device=device) for _ in range(rows))
        self.b = nn.ParameterList(torch.empty(base.out_features, rank, device=device) for _ in range(rows))
        self.active = range(rows)

    def factors(self) -> tuple[list[Tensor], list[Tensor]]:
        return [self.a[row] for row in self.active], [self.b[row] for row in self.active]


class _SliceLoopLinear(_Adapted):
    def forward(self, x: Tensor) -> Tensor:
        a, b = self.factors()
        return cast(Tensor, _SliceLoop.apply(self.base(x), x, self.scale, *a, *b))


class _SliceLoop(torch.autograd.Function):
    """Adds each adapter's change to its slice of the batch, one adapter after the other."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, x: Tensor, scale: float, *factors: Tensor) -> Tensor:
        rows = len(factors) // 2
        shrunk = []
        x_nTI, y_nTO = x.view(rows, -1, x.shape[-1]), y.view(rows, -1, y.shape[-1])
        for row in range(rows):
            a, b = factors[row].to(x.dtype), factors[rows + row].to(x.dtype)
            shrunk.append(x_nTI[row] @ a.T)
            y_nTO[row].addmm_(shrunk[row], b.T, alpha=scale)
        ctx.scale = scale
        ctx.save_for_backward(x, *factors, *shrunk)
        ctx.mark_dirty(y)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        x, *rest = ctx.saved_tensors
        rows = len(rest) // 3
        dy_nTO = gradients[0].reshape(rows, -1, gradients[0].shape[-1])
        x_nTI = x.view(rows, -1, x.shape[-1])
        dx = torch.empty_like(x_nTI) if ctx.needs_input_grad[1] else None
        d_a, d_b = [], []
        for row in range(rows):
            a, b, shrunk = rest[row], rest[rows + row], rest[2 * rows + row]
            d_shrunk = (dy_nTO[row] @ b.to(x.dtype)).mul_(ctx.scale)
            d_b.append((dy_nTO[row].T @ shrunk).mul_(ctx.scale).to(b.dtype))
            d_a.append((d_shrunk.T @ x_nTI[row]).to(a.dtype))
            if dx is not None:
                torch.mm(d_shrunk, a.to(x.dtype), out=dx[row])
        return gradients[0], None if dx is None else dx.view(x.shape), None, *d_a, *d_b


class _GroupedLinear(_Adapted):
    def forward(self, x: Tensor) -> Tensor:
        """Stacks the factors anew at every call; equal groups, so that the grouped product is a batched one."""
        a, b = self.factors()
        a_nRI, b_nOR = torch.stack(a).to(x.dtype), torch.stack(b).to(x.dtype)
        y = self.base(x)
        shrunk_nTR = torch.bmm(x.view(len(a), -1, x.shape[-1]), a_nRI.mT)
        y_nTO = y.view(len(a), -1, y.shape[-1])
        return torch.baddbmm(y_nTO, shrunk_nTR, b_nOR.mT, alpha=self.scale).view(y.shape)


class _Batched:
    """All G rows in one model, in the trainer's own micro-batches."""

    name: str
    share = 1.0
    _linear: type[_Adapted]

    def __init__(self, setting: Setting) -> None:
        cell = setting.workload.cell
        self._loss_scale = setting.workload.loss_scale
        self._size, self._documents = setting.rows_per_micro_batch, cell.documents
        self._tokens = setting.workload.row_tokens(setting.device)
        self._model = cell.shape.model(setting.dtype, setting.device)
        self.note = choose_attention(self._model, self._tokens[: self._size * self._documents])
        lora = Lora.of(self._model, adapter(cell.rank))
        self._adapted = []
        for name in lora.modules:
            base = cast(nn.Linear, self._model.get_submodule(name))
            self._adapted.append(self._linear(base, cell.rows, cell.rank, lora.scale, setting.device))
            self._model.set_submodule(name, self._adapted[-1])
        own = dict(zip(lora.modules, self._adapted, strict=True))
        tensors = [
            [(own[slot.module].a if slot.name == "lora_A" else own[slot.module].b)[row] for slot in lora.layout.slots]
            for row in range(cell.rows)
        ]
        self._rows = ParameterRows(lora.layout, tensors, lora.initial(0))
        self._optimisers = self._adamw(self._rows.by_row)

    def step(self) -> None:
        self._backward()
        for optimiser in self._optimisers:
            optimiser.step()
            optimiser.zero_grad()

    def load(self, rows_GP: Tensor) -> None:
        self._rows.load(rows_GP)

    def rows(self) -> Tensor:
        return self._rows.read()

    def gradients(self) -> Tensor:
        self._backward()
        return self._rows.gradients(self._loss_scale)

    def _adamw(self, rows: Sequence[Sequence[nn.Parameter]]) -> list[torch.optim.AdamW]:
        raise NotImplementedError

    def _backward(self) -> None:
        rows = len(self._rows.by_row)
        for start in range(0, rows, self._size):
            part = range(start, min(start + self._size, rows))
            for one in self._adapted:
                one.active = part
            tokens = self._tokens[part.start * self._documents : part.stop * self._documents]
            (mean_loss(self._model, tokens) * len(part)).backward()  # rows are equally long


class SliceLoop(_Batched):
    """A loop over adapters in every adapted linear, and an optimiser for each adapter."""

    name = "slice-loop"
    _linear = _SliceLoopLinear

    def _adamw(self, rows: Sequence[Sequence[nn.Parameter]]) -> list[torch.optim.AdamW]:
        return [fused_adamw(row) for row in rows]


class GroupedGemm(_Batched):
    """Parameters of each adapter, stacked at every forward for a grouped product; one fused optimiser over all."""

    name = "grouped-gemm"
    _linear = _GroupedLinear

    def _adamw(self, rows: Sequence[Sequence[nn.Parameter]]) -> list[torch.optim.AdamW]:
        return [fused_adamw([parameter for row in rows for parameter in row])]
