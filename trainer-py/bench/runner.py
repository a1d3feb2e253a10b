"""Measures one cell: builds every contestant, then times them all side by side."""

from __future__ import annotations

import gc
from collections.abc import Collection
from typing import Any

import torch

from bench.cells import Cell
from bench.contestants import Contestant, Setting, rows_that_fit
from bench.contestants.batched import GroupedGemm, SliceLoop
from bench.contestants.floor import Floor, FloorRecorded
from bench.contestants.ours import ON_A_CARD, Ours, OursBestBatch
from bench.contestants.published import Published, Steelman
from bench.contestants.sequential import PeftBestBatch, PeftSequential
from bench.roofline import Roofline, operations_per_token
from bench.shapes import adapter
from bench.timing import Rule, Timing, measure
from bench.workload import Workload
from bora_trainer.adapters.lora import Lora
from bora_trainer.device import torch_dtype
from bora_trainer.spec import Dtype

Maker = type[Floor | Ours | Published | PeftSequential | SliceLoop | GroupedGemm]  # and what derives from them

CONTESTANTS: tuple[Maker, ...] = (
    Floor, Ours, Published, Steelman, PeftSequential, PeftBestBatch, OursBestBatch, SliceLoop, GroupedGemm,
)  # fmt: skip


def run_cell(
    cell: Cell, dtype: Dtype, device: str, rule: Rule, *, rivals: bool = True, without: Collection[str] = ()
) -> dict[str, Any]:
    """The cell as it stands in the file; of a skipped one the reason alone. Without `rivals` the floor and ours.

    `without`: names of contestants that are left out.
    """
    facts: dict[str, Any] = {
        "name": cell.name, "shape": cell.shape.name, "tasks": cell.tasks, "fits": cell.fits, "tokens": cell.tokens,
        "rank": cell.rank, "skipped": cell.skipped,
    }  # fmt: skip
    if cell.skipped:
        return facts
    setting = setting_of(cell, dtype, device)
    roofline = Roofline.measure(setting.dtype, device)
    makers = CONTESTANTS if rivals else CONTESTANTS[:2]
    if device != "cpu":
        makers = (*makers, FloorRecorded, *ON_A_CARD)
    contestants = [make(setting) for make in makers if make.name not in without]
    timings = measure(contestants, rule, device)
    for one in contestants:
        if isinstance(one, Ours):
            one.check()
    parameters = _parameters_per_row(cell)
    operations = operations_per_token(cell, parameters)
    found = {one.name: _contestant(one, timings[one.name], cell, operations / roofline.operations)
             for one in contestants}  # fmt: skip
    del contestants
    gc.collect()
    return facts | {
        "rows_per_micro_batch": setting.rows_per_micro_batch,
        "rule": str(rule),
        "roofline": {**roofline.to_json(), "tokens_per_second": roofline.operations / operations},
        "at_most": timings["floor"].median / (timings["floor"].median + roofline.beside_the_base(cell, parameters)),
        "contestants": found,
    }


def setting_of(cell: Cell, dtype: Dtype, device: str) -> Setting:
    """With the micro-batches that the trainer itself would choose. `dtype` is no longer "auto"."""
    exact = torch_dtype(dtype)
    return Setting(Workload.of(cell), exact, rows_that_fit(cell, exact, device), device)


def _contestant(one: Contestant, timing: Timing, cell: Cell, seconds_per_token: float) -> dict[str, Any]:
    """`seconds_per_token`: of the roofline."""
    rate = cell.tokens_per_step / timing.median
    words = [one.note] if one.note else []
    if one.share != 1:
        words.append(f"a call does {one.share:.3g} of the step, seconds are of the whole")
    return {"seconds": timing.to_json(), "tokens_per_second": rate, "mfu": rate * seconds_per_token,
            "note": "; ".join(words)}  # fmt: skip


def _parameters_per_row(cell: Cell) -> int:
    return Lora.of(cell.shape.model(torch.float32), adapter(cell.rank)).layout.parameters
