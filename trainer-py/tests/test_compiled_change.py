"""The compiled change of adapter rows and its slopes are those that are written down in float64."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from bora_trainer import compiled_passes
from bora_trainer.adapters import compiled_change
from bora_trainer.adapters.compiled_change import Factors
from bora_trainer.adapters.layout import Layout, Slot, TensorName
from bora_trainer.row_layout import RowLayout

SCALE = 0.5
Named = tuple[str, TensorName, tuple[int, int]]
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 1e-2}  # of what is stored; the gradients are float32 always


@dataclass
class Case:
    """Rows of these lengths, end to end or, where all are alike and nothing follows, a rectangle."""

    lengths: tuple[int, ...]
    behind: int = 0
    rank: int = 4
    inputs: int = 24
    outputs: tuple[int, ...] = (40, 16)
    dtype: torch.dtype = torch.float32

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

    def run(self, *, unread: int | None = None, asked: bool = True) -> list[Tensor]:
        """Outputs, d x and the gradient, by the passes; the output `unread` has no slope, and `asked`: for d x."""
        y, dx, gradient = [each.clone() for each in self.y], self.dx.clone(), self.gradient.clone()
        dy = [None if j == unread else each for j, each in enumerate(self.dy)]
        shrunk = compiled_change.add_change(self.x, y, self.rows, self.factors, self.layout)
        slope = compiled_change.add_slope(dx if asked else None, dy, self.rows, self.factors, self.layout)
        compiled_change.add_gradients(gradient, self.x, (shrunk, slope), dy, self.factors, self.layout)
        return [*y, dx, gradient]

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


def close(found: list[Tensor], expected: list[Tensor], dtype: torch.dtype) -> None:
    *stored, gradient = found
    *expected_stored, expected_gradient = expected
    for one, other in zip(stored, expected_stored, strict=True):
        assert one.dtype == dtype
        torch.testing.assert_close(one.double(), other, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])
    assert gradient.dtype == torch.float32
    torch.testing.assert_close(gradient.double(), expected_gradient, rtol=1e-4, atol=1e-4)


CASES = {
    "a rectangle": Case((8, 8, 8)),
    "one token a row": Case((1, 1)),
    "one row, many tiles": Case((131,)),
    "unequal, one empty, pads behind": Case((3, 0, 70, 33), behind=5),
    "rank 1, one member": Case((5, 9), rank=1, outputs=(7,)),
    "rank 3, odd sizes": Case((5, 9, 2), rank=3, inputs=13, outputs=(5, 1, 9)),
    "rank 16": Case((40, 12), rank=16, inputs=128, outputs=(128, 64)),
    "bfloat16": Case((40, 12, 7), rank=16, inputs=96, outputs=(128, 64), dtype=torch.bfloat16),
    "bfloat16, a rectangle": Case((33, 33), dtype=torch.bfloat16),
    "fewer columns than blocks": Case((131,), outputs=(1, 17), inputs=5),
}


@pytest.fixture(autouse=True)
def small_work_is_shared_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled_passes, "_ALONE", -1)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_outputs_slopes_and_gradients_are_those_of_the_formulas(
    name: str, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    close(CASES[name].run(), CASES[name].expected(), CASES[name].dtype)


@pytest.mark.parametrize("name", CASES)
def test_the_number_of_threads_changes_no_bit(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for threads in (1, 2, 7):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        found.append(CASES[name].run())
    for other in found[1:]:
        assert all(torch.equal(one, another) for one, another in zip(found[0], other, strict=True))


def test_tokens_behind_the_last_row_get_nothing() -> None:
    case = CASES["unequal, one empty, pads behind"]
    *stored, _ = case.run()
    for one, before in zip(stored, [*case.y, case.dx], strict=True):
        assert torch.equal(one[-case.behind :], before[-case.behind :])


@pytest.mark.parametrize("unread", [0, 1])
def test_an_output_that_nobody_reads_adds_nothing(unread: int) -> None:
    case = CASES["unequal, one empty, pads behind"]
    close(case.run(unread=unread), case.expected(unread=unread), case.dtype)


def test_a_slope_that_nobody_asks_for_is_left_alone() -> None:
    case = CASES["a rectangle"]
    close(case.run(asked=False), case.expected(asked=False), case.dtype)


def test_a_value_that_is_not_finite_stays_in_its_row() -> None:
    case = Case((5, 9, 3), rank=3, behind=2)
    case.x[6] = torch.nan
    *outputs, dx, gradient = case.run()
    assert gradient.isnan().any(1).tolist() == [False, True, False]
    for y in outputs:
        assert y.isnan().any(1).nonzero().flatten().tolist() == [6]
    assert dx.isfinite().all()


def test_other_types_and_high_ranks_are_left_to_torch() -> None:
    case = CASES["rank 16"]
    assert compiled_change.takes(case.x, case.rows, case.factors)
    for x, rows in ((case.x.double(), case.rows.double()), (case.x.half(), case.rows), (case.x.to("meta"), case.rows)):
        assert not compiled_change.takes(x, rows, case.factors)
    for rank, taken in ((32, True), (33, False)):
        other = Case((2, 2), rank=rank)
        assert compiled_change.takes(other.x, other.rows, other.factors) is taken


def misfits() -> dict[str, tuple[Case, str]]:
    """What is wrong, and a word of what is said."""
    named = {}
    for name in (
        "rows",
        "types of rows",
        "strides of rows",
        "weights",
        "x",
        "types of x",
        "outputs",
        "strides",
        "real",
    ):
        named[name] = Case((3, 0, 4), behind=2)
    named["rows"].rows = named["rows"].rows[:2]
    named["types of rows"].rows = named["types of rows"].rows.double()
    named["strides of rows"].rows = named["strides of rows"].rows.mT.contiguous().mT
    named["weights"].rows = named["weights"].rows[:, :-8]
    named["x"].x = named["x"].x[:, 1:].contiguous()
    named["types of x"].x = named["types of x"].x.bfloat16()
    named["outputs"].y[1] = named["outputs"].y[1][1:]
    named["strides"].y[0] = named["strides"].y[0].mT.contiguous().mT
    layout = named["real"].layout
    assert layout.real is not None
    named["real"].layout = dataclasses.replace(layout, real=layout.real[1:])
    named["no rectangle"] = Case((3, 3))
    named["no rectangle"].layout = RowLayout(4, 2)
    named["no rectangle"].rows = named["no rectangle"].rows.repeat(2, 1)
    words = {"rows": "2 rows of torch.float32", "types of rows": "float64", "strides of rows": r"strides \(1, 3\)",
             "weights": "end at", "x": "23", "types of x": "bfloat16", "outputs": r"\[8, 16\]", "strides": "contiguous",
             "real": r"torch.bool \[11, 1\]", "no rectangle": "6 tokens are no rectangle of 4 rows"}  # fmt: skip
    return {name: (case, words[name]) for name, case in named.items()}


@pytest.mark.parametrize("name", misfits())
def test_what_does_not_fit_is_refused_and_nothing_written(name: str) -> None:
    """A pass is given addresses: it would read and write what is there."""
    case, words = misfits()[name]
    before = [y.clone() for y in case.y]
    with pytest.raises(ValueError, match=words):
        compiled_change.add_change(case.x, case.y, case.rows, case.factors, case.layout)
    assert all(torch.equal(one, other) for one, other in zip(before, case.y, strict=True))
