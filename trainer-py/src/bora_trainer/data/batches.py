"""Documents packed into the rectangular token arrays one micro-batch of the engine reads.

Legend: R rows, T tokens, E documents. A row holds documents of one task end to end; attention is causal inside each
document only (block-diagonal), so a packed document has the same nats as alone. Rows are padded to the longest row,
never further.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
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
    def is_even(self) -> bool:
        """Several documents of one length, and nothing beside them: a shape that comes again in such data."""
        lengths = [length for row in self.lengths for length in row]
        return len(lengths) > 1 and len(set(lengths)) == 1 and self.pads == 0

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
    documents = [document for row in rows for document in row]
    length_E = np.fromiter((len(document.tokens) for document in documents), np.int64, len(documents))
    lengths_of_rows = [sum(len(document.tokens) for document in row) for row in rows]
    total, width = sum(lengths_of_rows), max(1, *lengths_of_rows)
    slot_E = np.fromiter((slot for row in rows for slot in range(len(row))), np.int64, len(documents))
    scored_from_E = np.fromiter((document.scored_from for document in documents), np.int64, len(documents))
    tokens = np.fromiter(chain.from_iterable(document.tokens for document in documents), np.int64, total)
    position = np.arange(total) - np.repeat(length_E.cumsum() - length_E, length_E)
    real = np.arange(width) < np.array(lengths_of_rows)[:, None]

    def laid(values: np.ndarray, empty: int) -> Tensor:
        """Of every token, end to end, [R, T]."""
        if total == real.size:
            return torch.from_numpy(values.reshape(real.shape))
        places = np.full(real.shape, empty, values.dtype)
        places[real] = values
        return torch.from_numpy(places)

    return PackedBatch(
        laid(tokens, 0), laid(position, 0), laid(np.repeat(slot_E, length_E), PAD_SEGMENT),
        laid(position >= np.repeat(scored_from_E, length_E), 0), tuple(tuple(row) for row in rows),
    )  # fmt: skip
