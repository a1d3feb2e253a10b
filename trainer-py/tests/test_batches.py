"""Packing lays documents end to end without losing, moving or mixing a token."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bora_trainer.data import Document, pack

DOCUMENTS = st.builds(
    lambda tokens, skip: Document(0, "x", "", tuple(tokens), 1 + skip % (len(tokens) - 1), len(tokens)),
    st.lists(st.integers(1, 99), min_size=2, max_size=9),
    st.integers(0, 8),
)


@given(rows=st.lists(st.lists(DOCUMENTS, max_size=4), min_size=1, max_size=5))
def test_every_token_can_be_read_back_in_its_place(rows: list[list[Document]]):
    batch = pack(rows)
    longest = max(sum(len(document.tokens) for document in row) for row in rows)
    assert batch.tokens.shape == (len(rows), max(1, longest))
    for r, row in enumerate(rows):
        for slot, document in enumerate(row):
            here = batch.segments[r] == slot
            assert tuple(batch.tokens[r, here].tolist()) == document.tokens
            assert batch.positions[r, here].tolist() == list(range(len(document.tokens)))
            assert batch.scored[r, here].tolist() == [t >= document.scored_from for t in range(len(document.tokens))]
        padding = batch.segments[r] == -1
        assert padding.sum() == batch.tokens.shape[1] - sum(len(document.tokens) for document in row)
        assert not batch.scored[r, padding].any(), "padding is never scored"
    assert batch.scored.sum() == batch.scored_tokens == sum(document.scored for row in rows for document in row)


def test_a_target_is_predicted_from_its_own_document():
    """The engine reads target t from t-1: a scored first token would be predicted from another document."""
    rows = [[Document(0, "a", "", (5, 6), 1, 1), Document(0, "b", "", (7, 8, 9), 2, 1)], []]
    batch = pack(rows)
    targets = batch.scored.nonzero()
    assert targets.tolist() == [[0, 1], [0, 4]]
    assert torch.equal(batch.segments[targets[:, 0], targets[:, 1]], batch.segments[targets[:, 0], targets[:, 1] - 1])


def test_no_rows_are_refused():
    with pytest.raises(ValueError, match="at least one row"):
        pack([])
