"""Documents packed into the rectangular token arrays one micro-batch of the engine reads.

Legend: R rows, T tokens. A row holds documents of one task end to end; attention is causal inside each document only
(block-diagonal), so a packed document has the same nats as alone. Rows are padded to the longest row, never further.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from bora_trainer.data.documents import Document

PAD_SEGMENT = -1
_END_TO_END = 64  # tokens of a batch without rows are a multiple of it


@dataclass(frozen=True, slots=True)
class PackedBatch:
    """One micro-batch, on the CPU; `DeviceBatch` is what a device reads of it.

    tokens [R, T] int64 (0 where padded); positions [R, T] int64, restarting at 0 in each document; segments [R, T]
    int64, the document's slot in its row, -1 where padded; scored [R, T] bool: token t is a target, predicted from t-1
    of the same document. `documents[r][segments[r, t]]` is the document that holds token t of row r.
    """

    tokens: Tensor
    positions: Tensor
    segments: Tensor
    scored: Tensor
    documents: tuple[tuple[Document, ...], ...]

    @property
    def scored_tokens(self) -> int:
        return sum(document.scored for row in self.documents for document in row)

    @property
    def lengths(self) -> list[list[int]]:
        """Tokens of each document, by row."""
        return [[len(document.tokens) for document in row] for row in self.documents]

    @property
    def pads(self) -> int:
        return self.tokens.numel() - sum(self.lengths_of_rows)

    @property
    def lengths_of_rows(self) -> list[int]:
        return [sum(lengths) for lengths in self.lengths]

    def end_to_end(self) -> PackedBatch:
        """The same documents in one row; `segments` then number the documents of all rows.

        Pads at its end alone, up to a multiple of 64 tokens: kernels are made for a size, and one that was there before
        costs nothing.
        """
        real = self.segments != PAD_SEGMENT
        documents = tuple(document for row in self.documents for document in row)
        counts = torch.tensor([len(row) for row in self.documents])
        segments = self.segments + (counts.cumsum(0) - counts)[:, None]
        absent = end_to_end_pads(self.lengths_of_rows)
        tokens, positions, scored = (
            F.pad(part[real], (0, absent))[None] for part in (self.tokens, self.positions, self.scored)
        )
        segments = F.pad(segments[real], (0, absent), value=PAD_SEGMENT)[None]
        return PackedBatch(tokens, positions, segments, scored, (documents,))


def end_to_end_pads(lengths_of_rows: Sequence[int]) -> int:
    """Of rows that are read end to end; those of one length are a rectangle without."""
    return 0 if len(set(lengths_of_rows)) == 1 else -sum(lengths_of_rows) % _END_TO_END


def pack(rows: Sequence[Sequence[Document]]) -> PackedBatch:
    """Lay each row's documents end to end. An empty row is all padding; T is at least 1.

    Raises ValueError for no rows: an empty micro-batch is a mistake of the caller, not of the data.
    """
    if not rows:
        raise ValueError("a micro-batch needs at least one row")
    width = max(1, max(sum(len(document.tokens) for document in row) for row in rows))
    shape = (len(rows), width)
    tokens = torch.zeros(shape, dtype=torch.int64)
    positions = torch.zeros(shape, dtype=torch.int64)
    segments = torch.full(shape, PAD_SEGMENT, dtype=torch.int64)
    scored = torch.zeros(shape, dtype=torch.bool)
    for r, row in enumerate(rows):
        start = 0
        for slot, document in enumerate(row):
            end = start + len(document.tokens)
            tokens[r, start:end] = torch.tensor(document.tokens, dtype=torch.int64)
            positions[r, start:end] = torch.arange(end - start)
            segments[r, start:end] = slot
            scored[r, start + document.scored_from : end] = True
            start = end
    return PackedBatch(tokens, positions, segments, scored, tuple(tuple(row) for row in rows))
