"""Changes of adapter rows, their slopes and gradients: what the passes for CPUs and the kernels for cards must give."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bora_trainer.adapters.adapted_linear import Change
from bora_trainer.adapters.factors import Factors
from bora_trainer.adapters.layout import Layout, Slot, TensorName
from bora_trainer.row_layout import RowLayout

SCALE = 0.5
Named = tuple[str, TensorName, tuple[int, int]]
# Of what is stored, as a share of its spread; the gradients are float32 always.
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 1e-2}
ROUNDED = 2e-2  # of all, where factors are bfloat16 too


@dataclass
class Case:
    """Rows of these lengths, end to end or, where all are alike and nothing follows, a rectangle."""

    lengths: tuple[int, ...]
    behind: int = 0
    rank: int = 4
    inputs: int = 24
    outputs: tuple[int, ...] = (40, 16)
    dtype: torch.dtype = torch.float32
    rounded: bool = False  # the factors of its products are of `dtype`

    def __post_init__(self) -> None:
        torch.manual_seed(0)
        numbered = list(enumerate(self.outputs))
        a: list[Named] = [(f"{j}", "lora_A", (self.rank, self.inputs)) for j, _ in numbered]
        b: list[Named] = [(f"{j}", "lora_B", (out, self.rank)) for j, out in numbered]
        layout = Layout.of([*a, *b])
        slots_b = tuple(slot for slot in layout.slots if slot.name == "lora_B")
        slot_a = Slot("0", "lora_A", (self.rank * len(self.outputs), self.inputs), 0)
        self.factors = Factors.of(slot_a, slots_b, SCALE)
        rows, tokens = len(self.lengths), sum(self.lengths) + self.behind
        even = len(set(self.lengths)) == 1 and not self.behind
        self.layout = RowLayout(rows, self.lengths[0]) if even else RowLayout.end_to_end(self.lengths, tokens)
        self.rows = torch.randn(rows, layout.weights)
        self.gradient = torch.randn(rows, layout.weights)
        self.x, self.dx = (torch.randn(tokens, self.inputs).to(self.dtype) for _ in range(2))
        self.y, self.dy = ([torch.randn(tokens, out).to(self.dtype) for out in self.outputs] for _ in range(2))

    def run(
        self, change: Change, *, unread: int | None = None, asked: bool = True, device: str = "cpu"
    ) -> list[Tensor]:
        """Outputs, d x and the gradient by `change`; the output `unread` has no slope, and `asked`: for d x."""
        y, dys = ([each.clone().to(device) for each in many] for many in (self.y, self.dy))
        x, dx, rows, gradient = (each.clone().to(device) for each in (self.x, self.dx, self.rows, self.gradient))
        indices = (None if each is None else each.to(device) for each in self.layout.indices)
        layout = RowLayout(self.layout.rows, self.layout.width, *indices)
        dy = [None if j == unread else each for j, each in enumerate(dys)]
        shrunk = change.add_change(x, y, rows, self.factors, layout)
        slope = change.add_slope(dx if asked else None, dy, rows, self.factors, layout)
        change.add_gradients(gradient, x, (shrunk, slope), dy, self.factors, layout)
        return [each.cpu() for each in (*y, dx, gradient)]

    def expected(self, *, unread: int | None = None, asked: bool = True) -> list[Tensor]:
        """In float64, row by row."""
        y, dx, gradient = [each.double() for each in self.y], self.dx.double(), self.gradient.double()
        start, rank = 0, self.rank
        for n, length in enumerate(self.lengths):
            some, start = slice(start, start + length), start + length
            x, row, d_row = self.x[some].double(), self.rows[n : n + 1].double(), gradient[n : n + 1]
            a_SI, da_SI = self.factors.slot_a.view(row)[0], self.factors.slot_a.view(d_row)[0]
            for j, slot in enumerate(self.factors.slots_b):
                a_RI, b_OR, dy = a_SI[j * rank : (j + 1) * rank], slot.view(row)[0], self.dy[j][some].double()
                y[j][some] += SCALE * x @ a_RI.mT @ b_OR.mT
                if j == unread:
                    continue
                slot.view(d_row)[0].add_(SCALE * dy.mT @ (x @ a_RI.mT))
                da_SI[j * rank : (j + 1) * rank] += SCALE * (dy @ b_OR).mT @ x
                if asked:
                    dx[some] += SCALE * dy @ b_OR @ a_RI
        return [*y, dx, gradient]


def close(found: list[Tensor], expected: list[Tensor], case: Case) -> None:
    *stored, gradient = found
    *expected_stored, expected_gradient = expected
    share = ROUNDED if case.rounded else TOLERANCE[case.dtype]
    for one, other in zip(stored, expected_stored, strict=True):
        assert one.dtype == case.dtype
        near = share * max(1.0, float(other.std(correction=0)))
        torch.testing.assert_close(one.double(), other, rtol=share, atol=near)
    assert gradient.dtype == torch.float32
    if not case.rounded:
        torch.testing.assert_close(gradient.double(), expected_gradient, rtol=1e-4, atol=1e-4)
        return
    gained, wanted = gradient.double() - case.gradient, expected_gradient - case.gradient
    for slot in (case.factors.slot_a, *case.factors.slots_b):
        error, size = ((slot.view(each).flatten(1)).norm(dim=1) for each in (gained - wanted, wanted))
        assert (error <= ROUNDED * size).all()  # row by row; of one without tokens no bit differs


CASES = {
    "a rectangle": Case((8, 8, 8)),
    "one token a row": Case((1, 1)),
    "one row, many tiles": Case((131,)),
    "unequal, one empty, pads behind": Case((3, 0, 70, 33), behind=5),
    "rank 1, one member": Case((5, 9), rank=1, outputs=(7,)),
    "rank 3, odd sizes": Case((5, 9, 2), rank=3, inputs=13, outputs=(5, 1, 9)),
    "rank 16": Case((40, 12), rank=16, inputs=128, outputs=(128, 64)),
    "rank 72, wide": Case((40, 12), rank=72, inputs=200, outputs=(136, 67)),
    "bfloat16": Case((40, 12, 7), rank=16, inputs=96, outputs=(128, 64), dtype=torch.bfloat16),
    "bfloat16, a rectangle": Case((33, 33), dtype=torch.bfloat16),
    "pairs, a rectangle": Case((33, 33), rank=64, inputs=96, outputs=(128, 64), dtype=torch.bfloat16, rounded=True),
    "pairs, unequal, one empty, pads behind": Case(
        (3, 0, 71, 33), behind=5, rank=34, inputs=50, outputs=(62, 2), dtype=torch.bfloat16, rounded=True
    ),
    "pairs, one row, three members": Case(
        (131,), rank=34, inputs=50, outputs=(62, 2, 18), dtype=torch.bfloat16, rounded=True
    ),
    "fewer columns than blocks": Case((131,), outputs=(1, 17), inputs=5),
}
