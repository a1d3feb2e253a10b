"""Rows of unequal length end to end: every token is found by its row, and back."""

import pytest
import torch
from tiny_models import FAMILIES, adapter, documents, loaded, random_rows, tiny_model

from bora_trainer.data.batches import PAD_SEGMENT, pack
from bora_trainer.device_batch import DeviceBatch
from bora_trainer.engine import Engine
from bora_trainer.row_layout import RowLayout

LENGTHS = [3, 0, 5, 1]
TOKENS = 12  # three more than there are


def test_tokens_come_to_their_rows_zeros_where_none_stands_and_back() -> None:
    layout = RowLayout.end_to_end(LENGTHS, TOKENS)
    values = torch.arange(1.0, 2 * TOKENS + 1).view(1, TOKENS, 2)
    rows = layout.by_row(values)
    assert rows.shape == (4, 5, 2)
    start = 0
    for row, length in zip(rows, LENGTHS, strict=True):
        assert torch.equal(row[:length], values[0, start : start + length]) and not row[length:].any()
        start += length
    assert torch.equal(layout.back(rows)[:start], values[0, :start])


def test_a_value_that_is_not_finite_stays_in_its_row() -> None:
    values = torch.ones(8, 2)
    values[0] = float("nan")
    for lengths in ([3, 5], [3, 0, 5], [0, 3, 5], [3, 5, 0]):
        found = RowLayout.end_to_end(lengths, 8).by_row(values).isnan().flatten(1).any(1)
        assert found.nonzero().tolist() == [[lengths.index(3)]]


def test_rows_of_one_length_are_a_view() -> None:
    values = torch.zeros(2, 3, 4)
    assert RowLayout(2, 3).by_row(values).data_ptr() == values.data_ptr() == RowLayout(2, 3).back(values).data_ptr()


def test_a_batch_end_to_end_holds_the_same_documents_and_pads_at_its_end_alone() -> None:
    batch = pack([documents([9, 4], 0), [], documents([13, 5], 1)])
    one = batch.end_to_end()
    assert one.tokens.shape == (1, 64) and batch.pads == 3 * 18 - 31
    assert (one.segments[0, :31] != PAD_SEGMENT).all() and (one.segments[0, 31:] == PAD_SEGMENT).all()
    assert one.segments[0, :31].tolist() == [0] * 9 + [1] * 4 + [2] * 13 + [3] * 5
    assert one.documents == (tuple(document for row in batch.documents for document in row),)
    read = DeviceBatch.of(one, batch.lengths_of_rows)
    rectangle = DeviceBatch.of(batch)
    for name in ("target_M", "row_M", "document_M"):
        assert torch.equal(getattr(read, name), getattr(rectangle, name)), name
    again = DeviceBatch.read(read.shape, read.buffer.clone())
    for found, wanted in zip(again.rows.indices, read.rows.indices, strict=True):
        assert found is not None and wanted is not None and torch.equal(found, wanted)


@pytest.mark.parametrize("family", FAMILIES)
def test_nats_and_gradients_are_those_of_padded_rows(family: str) -> None:
    """Two rows share a length, one is empty, and rows are named out of order."""
    rows_of_documents = [documents([9, 4, 6], 0), documents([13, 5], 1), [], documents([3, 2, 2, 12], 2)]
    found = []
    for padded in (False, True):
        engine = Engine(loaded(tiny_model(family).double()), adapter(family))
        assert engine.end_to_end
        engine.end_to_end = not padded
        rows, index, weights = random_rows(engine, 4), [2, 0, 3, 1], torch.tensor([2.0, 0.5, 1.0, 3.0])
        gradient = torch.zeros_like(rows)
        nats = engine.accumulate(rows, gradient, pack(rows_of_documents), index, weights)
        found.append((nats, gradient, torch.tensor(engine.nats(rows, pack(rows_of_documents), index))))
        assert not gradient[3].any() and nats[2] == 0
    torch.testing.assert_close(found[0][0], found[1][0], rtol=1e-9, atol=0)
    torch.testing.assert_close(found[0][2], found[1][2], rtol=1e-9, atol=0)
    assert ((found[0][1] - found[1][1]).norm() / found[1][1].norm()).item() < 1e-6


@pytest.mark.parametrize("how", [{}, {"buckets": True}, {"plain_adapters": True}])
@pytest.mark.parametrize("diverged", [0, 2])
def test_a_row_that_diverged_spoils_no_other(how: dict[str, bool], diverged: int) -> None:
    """The other rows are of other lengths, one is empty, and every one of them is padded somewhere."""
    engine = Engine(loaded(tiny_model("llama-tied")), adapter("llama-tied"), **how)
    rows = random_rows(engine, 4)
    rows[diverged] = float("nan")
    gradient = torch.zeros_like(rows)
    batch = pack([documents([2, 4], 0), documents([13, 5], 1), documents([3, 9, 2], 2), []])
    nats = engine.accumulate(rows, gradient, batch, range(4), torch.ones(4))
    others = [row for row in range(4) if row != diverged]
    assert gradient[others].isfinite().all() and nats[others].isfinite().all()
    assert gradient[diverged].isnan().any() and nats[diverged].isnan()


def test_references_and_buckets_keep_their_rectangle() -> None:
    for how in ({"plain_attention": True}, {"plain_adapters": True}, {"buckets": True}):
        assert not Engine(loaded(tiny_model("qwen2")), adapter("qwen2"), **how).end_to_end
