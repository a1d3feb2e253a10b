"""Frozen linear modules with the changes of many adapter rows: y = x W^T + scale * (x A_n^T) B_n^T for row n.

Modules that read the same x (the query, key and value projections, say) are computed together: x is multiplied by all
their A at once and kept once, and the backward touches it once. Those beside them without an adapter join, so that all
slopes of x are summed by the products themselves. Gradients of the factors are added straight to the flat tensor in its
own precision, outside the autograd graph; the graph carries d x alone. Compiled passes do it on a CPU
(compiled_change.py), kernels on a graphics card (card_change.py), batched products where neither can. `plain` is the
same in torch's own operations: tests hold one to the other, and modules whose weight is not a plain matrix take it
always.

Shapes: N adapter rows of a micro-batch, T tokens of the longest, M tokens of all, R rank, S the ranks of all adapted
members together, I in, O out, P weights a row. docs/method.md, section 7; docs/performance.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from transformers.pytorch_utils import Conv1D

from bora_trainer import card_kernels
from bora_trainer.adapters import compiled_change
from bora_trainer.adapters.factors import Factors
from bora_trainer.adapters.layout import Slot
from bora_trainer.errors import TrainerError
from bora_trainer.products import bmm_into
from bora_trainer.row_layout import RowLayout


@dataclass(frozen=True, slots=True)
class RowsInHand:
    """The adapter rows of a micro-batch, [N, P], and where their gradients are added; None: nobody asks for them.

    `layout`: which tokens are whose.
    """

    rows_NP: Tensor
    layout: RowLayout
    gradient_NP: Tensor | None = None


class Change(Protocol):
    """What computes the change of many rows and its slopes: compiled_change.py or card_change.py."""

    def add_change(
        self, x_MI: Tensor, outputs: Sequence[Tensor], rows_NP: Tensor, factors: Factors, layout: RowLayout
    ) -> Tensor: ...

    def add_slope(
        self, dx_MI: Tensor | None, slopes: Sequence[Tensor | None], rows_NP: Tensor, factors: Factors,
        layout: RowLayout,
    ) -> Tensor: ...  # fmt: skip

    def add_gradients(
        self, gradient_NP: Tensor, x_MI: Tensor, between: tuple[Tensor, Tensor], slopes: Sequence[Tensor | None],
        factors: Factors, layout: RowLayout,
    ) -> None: ...  # fmt: skip


def change_for(x: Tensor, rows_NP: Tensor, factors: Factors) -> Change | None:
    """None: batched products. By ranks and dtypes alone, so that a run has one arithmetic whatever its batches."""
    if card_kernels.run_on(x):
        from bora_trainer.adapters import card_change  # where `run_on` said so, and nowhere else

        return card_change if card_change.takes(x, rows_NP, factors) else None
    return compiled_change if compiled_change.takes(x, rows_NP, factors) else None


class AdaptedLinear(nn.Module):
    """Stands where `base` stood, adapted or beside such; `SharedInput` computes it with those that read its input."""

    def __init__(self, base: nn.Module) -> None:
        super().__init__()
        self.base = base
        self._shared: list[SharedInput] = []  # in a list: a module would register it

    def join(self, shared: SharedInput) -> None:
        self._shared = [shared]

    def forward(self, x: Tensor) -> Tensor:
        """x: [N, T, I], [1, M, I] or, where a family flattens its tokens, [M, I]. The same leading shape with O."""
        return self._shared[0].output(self, x)

    @property
    def weight_OI(self) -> Tensor:
        """Of a plain matrix; GPT-2's Conv1D keeps it as [I, O]."""
        weight = self.base.get_parameter("weight")
        return weight.mT if isinstance(self.base, Conv1D) else weight


class SharedInput:
    """Linears that read one x: the adapted first, with their slots, those of all A end to end and those of the B."""

    def __init__(
        self,
        members: Sequence[AdaptedLinear],
        slots_a: Sequence[Slot],
        slots_b: Sequence[Slot],
        scale: float,
        *,
        beside: Sequence[AdaptedLinear] = (),
        plain: bool = False,
    ) -> None:
        """`beside`: linears without an adapter that read the same x, none where a member is no plain matrix.
        `plain`: torch's own operations and autograd, as a reference.
        """
        assert not (plain and beside), "the reference is each adapted module by itself"
        self.members, self.scale = (*members, *beside), scale
        self._beside = frozenset(beside)
        rank, inputs = slots_a[0].shape
        slot_a = Slot(slots_a[0].module, "lora_A", (rank * len(slots_a), inputs), slots_a[0].offset)
        self.factors = Factors.of(slot_a, slots_b, scale)
        self.plain = plain or not all(is_plain_matrix(member.base) for member in members)
        self._in_hand: RowsInHand | None = None
        self._x: Tensor | None = None
        self._outputs: dict[AdaptedLinear, Tensor] = {}
        for member in self.members:
            member.join(self)

    @contextmanager
    def reading(self, in_hand: RowsInHand | None) -> Iterator[None]:
        """Within it the members compute with these rows; None: the base alone."""
        self._in_hand = in_hand
        try:
            yield
        finally:
            self._in_hand, self._x = None, None
            self._outputs.clear()

    def output(self, member: AdaptedLinear, x: Tensor) -> Tensor:
        """Of `member`; the first of the members that reads an x computes for all."""
        if self._in_hand is None or (member in self._beside and not self._fits(x, self._in_hand.layout)):
            return member.base(x)
        if x is not self._x or member not in self._outputs:
            self._refuse_other_shape(x, self._in_hand.layout)
            if self.plain:
                outputs = self._plain(x, self._in_hand)
            elif (change := change_for(x, self._in_hand.rows_NP, self.factors)) is not None:
                outputs = _Written.apply(x, _ANCHOR, self, self._in_hand, change)
            else:
                outputs = _Fused.apply(x, _ANCHOR, self, self._in_hand)
            self._x, self._outputs = x, dict(zip(self.members, outputs, strict=True))
        found = self._outputs.pop(member)
        if not self._outputs:
            self._x = None
        return found

    def _fits(self, x: Tensor, layout: RowLayout) -> bool:
        rows, tokens = x.shape[0], x.shape[:-1].numel()
        if layout.origin_M is not None:
            return tokens == len(layout.origin_M)
        return tokens % layout.rows == 0 if x.dim() != 3 else rows == layout.rows

    def _refuse_other_shape(self, x: Tensor, layout: RowLayout) -> None:
        if not self._fits(x, layout):
            raise TrainerError(
                "unmatched_module",
                f"an adapted module got an input of shape {tuple(x.shape)} for {layout.rows} rows",
                "choose targets that see every token, for instance the attention projections",
            )

    def _plain(self, x: Tensor, in_hand: RowsInHand) -> list[Tensor]:
        """One module after the other, gradients by autograd."""
        layout, outputs = in_hand.layout, []
        a_NSI = _leaf(self.factors.slot_a, in_hand)
        for place, (member, slot) in enumerate(zip(self.members, self.factors.slots_b, strict=True)):
            y, x_NTI = member.base(x), layout.by_row(x)
            a_NRI = a_NSI[:, place * self.factors.rank : (place + 1) * self.factors.rank]
            shrunk_NTR = torch.bmm(x_NTI, a_NRI.to(x.dtype).mT)
            change_NTO = torch.bmm(shrunk_NTR, _leaf(slot, in_hand).to(x.dtype).mT)
            outputs.append(y + self.scale * layout.back(change_NTO).view(y.shape))
        return outputs


def is_plain_matrix(module: nn.Module) -> bool:
    """Whether the fused path can compute with the module's weight."""
    return type(module) in (nn.Linear, Conv1D)


def _leaf(slot: Slot, in_hand: RowsInHand) -> Tensor:
    """Shares memory with the rows; autograd adds into the flat gradient itself."""
    view = slot.view(in_hand.rows_NP).detach()
    if in_hand.gradient_NP is not None:
        view.requires_grad_().grad = slot.view(in_hand.gradient_NP)
    return view


# Makes autograd ask for the outputs' gradients where no x below needs one.
_ANCHOR = torch.empty(0, requires_grad=True)


def _keep(
    ctx: Any, x: Tensor, shared: SharedInput, in_hand: RowsInHand, outputs: Sequence[Tensor], *saved: Tensor
) -> None:
    """For the backward of either way, where there is one."""
    if in_hand.gradient_NP is None:
        return
    ctx.save_for_backward(*saved)
    ctx.shared, ctx.in_hand, ctx.shape = shared, in_hand, x.shape
    ctx.set_materialize_grads(False)
    if not ctx.needs_input_grad[0]:  # nobody asks for what goes back through those that are not adapted
        ctx.mark_non_differentiable(*outputs[len(shared.factors.slots_b) :])


class _Fused(torch.autograd.Function):
    """All members of a `SharedInput` at once, in batched products."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, anchor: Tensor, shared: SharedInput, in_hand: RowsInHand) -> tuple[Tensor, ...]:
        x_NTI = in_hand.layout.by_row(x)
        a_NSI = shared.factors.slot_a.view(in_hand.rows_NP).to(x.dtype)
        bs = [slot.view(in_hand.rows_NP).to(x.dtype) for slot in shared.factors.slots_b]
        shrunk_NTS = torch.bmm(x_NTI, a_NSI.mT)
        outputs = tuple(member.base(x) for member in shared.members)
        for y, shrunk_NTR, b_NOR in zip(outputs, shrunk_NTS.split(shared.factors.rank, dim=-1), bs, strict=False):
            _add_product(y, shrunk_NTR, b_NOR.mT, shared.scale, in_hand.layout)
        _keep(ctx, x, shared, in_hand, outputs, x_NTI, shrunk_NTS, a_NSI, *bs)
        return outputs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, None, None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        x_NTI, shrunk_NTS, a_NSI, *bs = ctx.saved_tensors
        shared: SharedInput = ctx.shared
        in_hand: RowsInHand = ctx.in_hand
        assert in_hand.gradient_NP is not None
        slopes = [dy if dy is None else dy.reshape(-1, dy.shape[-1]) for dy in gradients]
        shrunk = zip(shared.factors.slots_b, slopes, shrunk_NTS.split(shared.factors.rank, dim=-1), bs, strict=False)
        parts = [_backward_of_b(slot, dy, s_NTR, b_NOR, shared.scale, in_hand) for slot, dy, s_NTR, b_NOR in shrunk]
        d_shrunk_NTS = parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)
        bmm_into(shared.factors.slot_a.view(in_hand.gradient_NP), d_shrunk_NTS.mT, x_NTI, alpha=shared.scale, beta=1)
        if not ctx.needs_input_grad[0]:
            return None, None, None, None
        dx_MI = _slope_of_input(shared, slopes, d_shrunk_NTS, a_NSI, in_hand.layout)
        return dx_MI.view(ctx.shape), None, None, None


def _backward_of_b(
    slot: Slot, dy_MO: Tensor | None, shrunk_NTR: Tensor, b_NOR: Tensor, scale: float, in_hand: RowsInHand
) -> Tensor:
    """Adds the gradient of one B; returns d shrunk / scale, [N, T, R], zeros where nothing reads the output."""
    if dy_MO is None:
        return torch.zeros_like(shrunk_NTR)
    assert in_hand.gradient_NP is not None
    dy_NTO = in_hand.layout.by_row(dy_MO)
    bmm_into(slot.view(in_hand.gradient_NP), dy_NTO.mT, shrunk_NTR, alpha=scale, beta=1)
    return torch.bmm(dy_NTO, b_NOR)


def _add_product(y: Tensor, left_NTK: Tensor, right_NKW: Tensor, scale: float, layout: RowLayout) -> None:
    """Adds scale * left @ right to y, [..., M tokens, W], in place; where rows are rectangles in one operation."""
    if layout.origin_M is None:
        layout.by_row(y).baddbmm_(left_NTK, right_NKW, alpha=scale)
    else:
        y.view(-1, y.shape[-1]).add_(layout.back(torch.bmm(left_NTK, right_NKW)), alpha=scale)


class _Written(torch.autograd.Function):
    """As `_Fused`, by passes or kernels of our own, which add to what is there."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, anchor: Tensor, shared: SharedInput, in_hand: RowsInHand, change: Change
    ) -> tuple[Tensor, ...]:
        x_MI = x.reshape(-1, x.shape[-1]).contiguous()
        outputs = tuple(member.base(x).contiguous() for member in shared.members)
        adapted = outputs[: len(shared.factors.slots_b)]
        shrunk_MS = change.add_change(x_MI, adapted, in_hand.rows_NP, shared.factors, in_hand.layout)
        _keep(ctx, x, shared, in_hand, outputs, x_MI, shrunk_MS)
        ctx.change = change
        return outputs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, None, None, None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        x_MI, shrunk_MS = ctx.saved_tensors
        shared: SharedInput = ctx.shared
        in_hand: RowsInHand = ctx.in_hand
        change: Change = ctx.change
        assert in_hand.gradient_NP is not None
        slopes = [dy if dy is None else dy.reshape(-1, dy.shape[-1]).contiguous() for dy in gradients]
        dx_MI = _slope_of_base(shared, slopes) if ctx.needs_input_grad[0] else None
        adapted, where = slopes[: len(shared.factors.slots_b)], (shared.factors, in_hand.layout)
        if any(dy is not None for dy in adapted):
            d_shrunk_MS = change.add_slope(dx_MI, adapted, in_hand.rows_NP, *where)
            change.add_gradients(in_hand.gradient_NP, x_MI, (shrunk_MS, d_shrunk_MS), adapted, *where)
        return None if dx_MI is None else dx_MI.view(ctx.shape), None, None, None, None


def _slope_of_base(shared: SharedInput, slopes: Sequence[Tensor | None]) -> Tensor:
    """d x of the frozen weights, [M, I]."""
    read = [(dy, member.weight_OI) for dy, member in zip(slopes, shared.members, strict=True) if dy is not None]
    dx_MI = torch.mm(*read[0])
    for dy, weight_OI in read[1:]:
        dx_MI.addmm_(dy, weight_OI)
    return dx_MI


def _slope_of_input(
    shared: SharedInput, slopes: Sequence[Tensor | None], d_shrunk_NTS: Tensor, a_NSI: Tensor, layout: RowLayout
) -> Tensor:
    """d x, [M, I]."""
    dx = _slope_of_base(shared, slopes)
    _add_product(dx, d_shrunk_NTS, a_NSI, shared.scale, layout)
    return dx
