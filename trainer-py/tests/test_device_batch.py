"""What the device reads of a micro-batch: the same numbers as the packed batch, and few shapes where that is wanted."""

import pytest
import torch
from tiny_models import FAMILIES, adapter, documents, loaded, random_rows, tiny_model

from bora_trainer.data.batches import PackedBatch, pack
from bora_trainer.device_batch import DeviceBatch, bucket, widened
from bora_trainer.engine import Engine
from bora_trainer.evaluate import evaluate

TASKS = 3
WEIGHTS = torch.tensor([2.0, 0.5, 3.0])
DOCUMENTS = [documents([9, 4, 6], 0), documents([13, 5], 1), documents([3, 2, 2, 7], 2, scored_from=1)]


@pytest.mark.parametrize("least", [1, 8, 64])
def test_a_bucket_is_never_smaller_and_an_eighth_larger_at_most(least: int) -> None:
    found = [bucket(count, least) for count in range(5000)]
    assert all(count <= up and up - count < max(least, 1 + count / 8) for count, up in enumerate(found))
    assert found == sorted(found) and found[0] == 0
    assert all(bucket(up, least) == up for up in found), "a bucket's own size stays"


@pytest.mark.parametrize("buckets", [False, True])
@pytest.mark.parametrize("rows", [DOCUMENTS, [[], DOCUMENTS[0]], [[], []], [documents([8], 1)] * 2])
def test_every_scored_token_is_predicted_from_the_token_before_it(rows: list, buckets: bool) -> None:
    batch = widened(pack(rows)) if buckets else pack(rows)
    found = DeviceBatch.of(batch, buckets=buckets)
    expected, number = [], 0
    for n, row in enumerate(rows):
        start = 0
        for document in row:
            expected += [
                (n * batch.tokens.shape[1] + start + t - 1, document.tokens[t], n, number)
                for t in range(document.scored_from, len(document.tokens))
            ]
            start, number = start + len(document.tokens), number + 1
    told = list(
        zip(*(part.tolist() for part in (found.read_M, found.target_M, found.row_M, found.document_M)), strict=True)
    )
    assert told[: len(expected)] == expected
    assert {(row, document) for _, _, row, document in told[len(expected) :]} <= {(len(rows), found.shape.documents)}
    assert torch.equal(found.tokens_NT, batch.tokens) and torch.equal(found.segments_NT, batch.segments)
    assert torch.equal(found.positions_NT, batch.positions)


@pytest.mark.parametrize("length", [5, 33, 150, 161, 1000])
def test_rows_end_to_end_are_filled_to_few_numbers_of_scored_tokens(length: int) -> None:
    rows = [documents([length], 0), documents([length // 2 + 1], 1)]
    batch = pack(rows)
    found = DeviceBatch.of(batch.end_to_end(), batch.lengths_of_rows)
    scored = batch.scored_tokens
    filled = len(found.read_M)
    assert scored <= filled <= scored * 17 / 16 and len(f"{filled:b}".rstrip("0")) <= 5
    assert found.row_M[:scored].tolist() == [0] * (length - 1) + [1] * (length // 2)
    assert set(found.row_M[scored:].tolist()) <= {2} and set(found.document_M[scored:].tolist()) <= {2}


def test_a_buffer_alone_gives_the_batch_back() -> None:
    found = DeviceBatch.of(pack(DOCUMENTS))
    again = DeviceBatch.read(found.shape, found.buffer.clone())
    for name in ("tokens_NT", "positions_NT", "segments_NT", "read_M", "target_M", "row_M", "document_M"):
        assert torch.equal(getattr(found, name), getattr(again, name)), name
    for one, other in zip(found.layout.indices, again.layout.indices, strict=True):
        assert one is not None and other is not None and torch.equal(one, other)


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_buckets_change_neither_nats_nor_gradients(family: str, plain: bool) -> None:
    exact, padded = (
        Engine(loaded(tiny_model(family).double()), adapter(family), plain_attention=plain, buckets=buckets)
        for buckets in (False, True)
    )
    rows = random_rows(exact, TASKS)
    wanted, found = torch.zeros_like(rows), torch.zeros_like(rows)
    nats = exact.accumulate(rows, wanted, pack(DOCUMENTS), range(TASKS), WEIGHTS)
    again = padded.accumulate(rows, found, pack(DOCUMENTS), range(TASKS), WEIGHTS)
    torch.testing.assert_close(again, nats, rtol=1e-6, atol=0)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)
    each, other = (evaluate(engine, rows, DOCUMENTS) for engine in (exact, padded))
    assert [document.id for document, _ in each] == [document.id for document, _ in other]
    torch.testing.assert_close(torch.tensor([n for _, n in each]), torch.tensor([n for _, n in other]))


def _drawn(seed: int) -> PackedBatch:
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(9, 18, (8, 3), generator=generator).tolist()
    return pack([documents(row, task) for task, row in enumerate(lengths)])


def test_micro_batches_of_a_run_have_few_shapes() -> None:
    exact = {DeviceBatch.of(_drawn(seed)).shape for seed in range(40)}
    rounded = {DeviceBatch.of(widened(_drawn(seed)), buckets=True).shape for seed in range(40)}
    assert len(exact) == 40
    assert len(rounded) <= 4


def test_documents_of_one_length_stay_a_rectangle_and_a_lone_one_is_padded() -> None:
    """A lone document fills its rectangle whatever its length, which is no shape that comes again."""
    engine = Engine(loaded(tiny_model("llama-tied").double()), adapter("llama-tied"), buckets=True)
    even = pack([documents([7, 7], task) for task in range(TASKS)])
    for batch, width, indexed in ((even, 14, False), (pack([documents([7], 0)]), 64, True)):
        shape = engine.prepared(batch)[0].shape
        assert (shape.width, shape.indexed) == (width, indexed)
    exact = Engine(loaded(tiny_model("llama-tied").double()), adapter("llama-tied"))
    rows, found = random_rows(exact, TASKS), []
    for one in (engine, exact):
        gradient = torch.zeros_like(rows)
        found.append((one.accumulate(rows, gradient, even, range(TASKS), WEIGHTS), gradient))
    torch.testing.assert_close(found[0], found[1], rtol=1e-9, atol=1e-12)
