"""The compiled change of adapter rows and its slopes are those that are written down in float64."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from change_cases import CASES, Case, close

from bora_trainer import compiled_passes
from bora_trainer.adapters import compiled_change, compiled_pairs
from bora_trainer.adapters.compiled_units import COUNT, aim, place_of
from bora_trainer.compiled_passes import Pass, ended, number_at, tensor_at
from bora_trainer.compiled_products import nothing_ahead
from bora_trainer.row_layout import RowLayout


@pytest.fixture(autouse=True)
def small_work_is_shared_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled_passes, "_ALONE", -1)


@pytest.fixture(autouse=True)
def nothing_is_there_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fresh memory is often zeros, and what is read before it is written would not be seen."""
    monkeypatch.setattr(torch.Tensor, "new_empty", lambda self, *size, **how: self.new_full(size, torch.nan, **how))


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_outputs_slopes_and_gradients_are_those_of_the_formulas(
    name: str, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    close(CASES[name].run(compiled_change), CASES[name].expected(), CASES[name])


@pytest.mark.parametrize("name", CASES)
def test_the_number_of_threads_changes_no_bit(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for threads in (1, 2, 7):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        found.append(CASES[name].run(compiled_change))
    for other in found[1:]:
        assert all(torch.equal(one, another) for one, another in zip(found[0], other, strict=True))


def test_tokens_behind_the_last_row_get_nothing() -> None:
    case = CASES["unequal, one empty, pads behind"]
    *stored, _ = case.run(compiled_change)
    for one, before in zip(stored, [*case.y, case.dx], strict=True):
        assert torch.equal(one[-case.behind :], before[-case.behind :])


@pytest.mark.parametrize("name", ["unequal, one empty, pads behind", "pairs, unequal, one empty, pads behind"])
@pytest.mark.parametrize("unread", [0, 1])
def test_an_output_that_nobody_reads_adds_nothing(unread: int, name: str) -> None:
    case = CASES[name]
    close(case.run(compiled_change, unread=unread), case.expected(unread=unread), case)


@pytest.mark.parametrize("name", ["a rectangle", "pairs, a rectangle", "pairs, unequal, one empty, pads behind"])
@pytest.mark.parametrize("unread", [None, 0])
def test_a_slope_that_nobody_asks_for_is_left_alone(unread: int | None, name: str) -> None:
    case = CASES[name]
    found = case.run(compiled_change, unread=unread, asked=False)
    close(found, case.expected(unread=unread, asked=False), case)


@pytest.mark.parametrize(("rank", "dtype"), [(3, torch.float32), (34, torch.bfloat16)])
def test_a_value_that_is_not_finite_stays_in_its_row(
    rank: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)  # what one row left behind meets the next
    case = Case((5, 9, 3), rank=rank, behind=2, dtype=dtype)
    case.x[6] = torch.nan
    *outputs, dx, gradient = case.run(compiled_change)
    assert gradient.isnan().any(1).tolist() == [False, True, False]
    for y in outputs:
        assert y.isnan().any(1).nonzero().flatten().tolist() == [6]
    assert dx.isfinite().all()


@pytest.fixture
def fused_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a processor with fused operations whose products of bfloat16 are best in pairs."""
    monkeypatch.setattr(compiled_change, "FUSED", True)
    monkeypatch.setattr(compiled_pairs, "WITH_TILES", False)


@pytest.mark.usefixtures("fused_pairs")
def test_other_types_and_high_ranks_are_left_to_torch() -> None:
    case = CASES["rank 16"]
    assert compiled_change.takes(case.x, case.rows, case.factors)
    for x, rows in ((case.x.double(), case.rows.double()), (case.x.half(), case.rows), (case.x.to("meta"), case.rows)):
        assert not compiled_change.takes(x, rows, case.factors)
    for dtype in (torch.float32, torch.bfloat16):
        for rank, taken in ((256, True), (258, False)):
            other = Case((2, 2), rank=rank, dtype=dtype)
            assert compiled_change.takes(other.x, other.rows, other.factors) is taken


@pytest.mark.usefixtures("fused_pairs")
@pytest.mark.parametrize(("flag", "value"), [("tiles", True), ("fused", False)])
def test_what_another_way_does_faster_on_a_processor_is_left_to_torch(
    flag: str, value: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, name = {"tiles": (compiled_pairs, "WITH_TILES"), "fused": (compiled_change, "FUSED")}[flag]
    monkeypatch.setattr(module, name, value)
    low, high = (Case((2, 2), rank=rank, dtype=torch.bfloat16) for rank in (32, 34))
    assert compiled_change.takes(low.x, low.rows, low.factors) is (flag == "tiles")
    assert not compiled_change.takes(high.x, high.rows, high.factors)


@pytest.mark.usefixtures("fused_pairs")
@pytest.mark.parametrize("odd", ["rank", "inputs", "outputs"])
def test_what_does_not_come_in_pairs_is_left_to_torch_where_pairs_are_multiplied(odd: str) -> None:
    for rank, taken in ((31, True), (34, False)):
        sizes = {"rank": rank, "inputs": 24, "outputs": (40, 16)}
        sizes |= {"outputs": (40, 17)} if odd == "outputs" else {odd: sizes[odd] | 1}
        case = Case((2, 2), dtype=torch.bfloat16, **sizes)
        assert compiled_change.takes(case.x, case.rows, case.factors) is taken
        wide = Case((2, 2), **sizes)
        assert compiled_change.takes(wide.x, wide.rows, wide.factors)


@pytest.mark.parametrize("rank", [16, 64])
def test_factors_of_low_ranks_alone_are_not_rounded_to_the_dtype_of_the_activations(rank: int) -> None:
    """Tasks near each other differ by less than bfloat16 shows."""
    case = Case((40, 12), rank=rank, inputs=96, outputs=(128, 64), dtype=torch.bfloat16)
    shrunk = compiled_change.add_change(case.x, case.y, case.rows, case.factors, case.layout)[:40]
    near, rounded = (
        0.5 * case.x[:40].double() @ case.factors.slot_a.view(rows[:1])[0].double().mT
        for rows in (case.rows, case.rows.bfloat16().float())
    )
    if rank == 16:
        assert (shrunk - near).norm() < 0.01 * (shrunk - rounded).norm()
    else:  # what lies between is rounded, too
        as_rounded, as_near = ((shrunk == each.to(shrunk.dtype)).double().mean() for each in (rounded, near))
        assert shrunk.dtype == torch.bfloat16 and as_rounded > 0.98 and as_near < 0.8


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


_CHANGED = """
import sys, torch
from change_cases import CASES, close
from bora_trainer.adapters import compiled_change
for name in sys.argv[1:]:
    close(CASES[name].run(compiled_change), CASES[name].expected(), CASES[name])
"""


def test_code_from_the_cache_and_code_of_the_process_are_not_taken_for_each_other(tmp_path: Path) -> None:
    """They are linked by name: the first process keeps its code, the second finds it and compiles other beside it."""
    env = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    for names in (("bfloat16",), ("rank 16", "bfloat16")):
        subprocess.run([sys.executable, "-c", _CHANGED, *names], env=env, check=True)
    assert len(list(tmp_path.rglob("*.nbc"))) == 6


def _aimed(given: Any) -> None:
    members = number_at(given, COUNT)
    ahead = nothing_ahead(members + 1)
    aim(given, ahead, 2, 7, number_at(given, place_of(members)) != 0)
    found = tensor_at(given, place_of(members) + 1, (len(ahead),), np.int64)
    found[:] = ahead
    ended(given)


@pytest.mark.parametrize("unread", [None, 0, 1])
@pytest.mark.parametrize("asked", [True, False])
def test_the_factors_that_come_next_are_those_that_the_pass_will_read(
    asked: bool, unread: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    case, told = Case((5, 9, 2)), []
    case.rows = torch.randn(3, case.rows.shape[1] + 5)[:, :-5]
    passes = compiled_change._PASSES[torch.float32]
    spied = dataclasses.replace(passes, slope=lambda *given: told.append(given))
    monkeypatch.setitem(compiled_change._PASSES, torch.float32, spied)
    dys = [None if j == unread else dy for j, dy in enumerate(case.dy)]
    compiled_change.add_slope(case.dx if asked else None, dys, case.rows, case.factors, case.layout)
    slots = [slot for j, slot in enumerate(case.factors.slots_b) if j != unread]
    slots += [case.factors.slot_a] if asked else []
    pieces = [slot.view(case.rows)[2] for slot in slots]
    expected = [number for piece in pieces for number in (piece.data_ptr(), piece.data_ptr() + 4 * piece.numel())]
    for comes in (True, False):
        found = torch.zeros(9, dtype=torch.int64)
        Pass(_aimed)(*told[0], int(comes), found.data_ptr())
        assert found[:3].tolist() == [7 * 16, len(pieces) if comes else 0, 0]
        assert not comes or found[3 : 3 + len(expected)].tolist() == expected
