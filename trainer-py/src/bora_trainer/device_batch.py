"""A micro-batch as the device reads it: every number in one int64 buffer, copied once, without waiting.

Places of scored tokens and of documents follow from what the CPU knows, so they are worked out there: to ask a device
which entries of a tensor are true means to wait for it. With `buckets` few shapes occur, which is what compiled
kernels and recorded graphs need; what is added to fill them weighs nothing.

Shapes: N packed rows (one where rows lie end to end), T tokens a row, M scored tokens, E documents, A adapter rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from bora_trainer.attention import DocumentLayout
from bora_trainer.data.batches import PAD_SEGMENT, PackedBatch
from bora_trainer.row_layout import RowLayout

_WIDTH = 64  # widths are multiples of it
_SCORED = 64  # and so are numbers of scored tokens
# Of rows that lie end to end their number has so many leading bits, 16 sizes from 1,024 to 2,047: oneDNN takes up to
# 75 ms to prepare a matrix product of a size that it has not met.
_SCORED_BITS = 5


def bucket(count: int, least: int = 1, *, bits: int = 4) -> int:
    """`count` rounded up to a number of so many leading `bits`, and to a multiple of `least`, if that is more."""
    step = max(least, 1 << max(0, count.bit_length() - bits))
    return -(-count // step) * step


def pinned(tensor: Tensor, device: torch.device) -> Tensor:
    """`tensor` in memory from which a copy to `device` does not wait; its allocator keeps it until the copy is done."""
    return tensor.pin_memory() if device.type == "cuda" and tensor.device.type == "cpu" else tensor


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """`tensor` of the CPU on `device`, without waiting for what the device still has to do."""
    return pinned(tensor, device).to(device, non_blocking=True)


@dataclass(frozen=True, slots=True)
class Shape:
    """All that decides sizes: two micro-batches of one shape run the same kernels. `classes` as in `DocumentLayout`."""

    rows: int
    width: int
    scored: int
    documents: int
    classes: tuple[tuple[int, int], ...]
    indexed: bool
    end_to_end: tuple[int, int] | None = None  # adapter rows and tokens of the longest, where rows lie end to end

    def parts(self) -> dict[str, tuple[int, ...]]:
        """The pieces of a buffer, in order; what layouts without indices and rows without ends have not is left out."""
        cells, scored = (self.rows, self.width), (self.scored,)
        pieces = {"tokens": cells, "positions": cells, "segments": cells,
                  "read": scored, "target": scored, "row": scored, "document": scored}  # fmt: skip
        if self.indexed:
            places, back = (sum(count * length for count, length in self.classes),), (math.prod(cells),)
            pieces |= {"place": places, "real": places, "origin": back, "origin_real": back}
        if self.end_to_end:
            ragged = (math.prod(self.end_to_end),)
            pieces |= {"row_place": ragged, "row_real": ragged, "row_origin": (math.prod(cells),),
                       "row_bounds": (self.end_to_end[0] + 1,)}  # fmt: skip
        return pieces


@dataclass(frozen=True, slots=True)
class DeviceBatch:
    """`tokens_NT`, `positions_NT`, `segments_NT` as in `PackedBatch`; then of each scored token:

    `read_M`, n * T + t - 1, whose state predicts it; `target_M`, the token; `row_M`, its adapter row; `document_M`, its
    document's number in the order of `PackedBatch.documents`. A token that only fills up has row A and document E, one
    past the last, and reads any state. `rows`: which tokens are whose.
    """

    shape: Shape
    buffer: Tensor
    tokens_NT: Tensor
    positions_NT: Tensor
    segments_NT: Tensor
    read_M: Tensor
    target_M: Tensor
    row_M: Tensor
    document_M: Tensor
    layout: DocumentLayout
    rows: RowLayout

    @classmethod
    def of(cls, batch: PackedBatch, lengths_A: Sequence[int] | None = None, *, buckets: bool = False) -> DeviceBatch:
        """On the CPU, from a batch on the CPU; `to` sends it. With `buckets` the width must be a bucket already.

        `lengths_A`: tokens of each adapter row of a batch that is one row (`PackedBatch.end_to_end`).
        """
        rows, width = batch.tokens.shape
        tokens, segments, scored = (part.numpy().reshape(-1) for part in (batch.tokens, batch.segments, batch.scored))
        counts = [len(documents) for documents in batch.documents]
        place_M = np.flatnonzero(scored)
        row_M = place_M // width
        document_M = np.array([0, *accumulate(counts)])[row_M] + segments[place_M]
        missing = bucket(len(place_M), _SCORED) - len(place_M) if buckets else 0
        layout = DocumentLayout.of(batch.lengths, width, buckets=bucket if buckets else None)
        documents = bucket(sum(counts), 8) if buckets else sum(counts)
        whose = RowLayout(rows, width)
        if lengths_A is not None:
            whose = RowLayout.end_to_end(lengths_A, width)
            missing = bucket(len(place_M), bits=_SCORED_BITS) - len(place_M)
            row_M = np.repeat(np.arange(len(lengths_A)), lengths_A)[place_M]
        shape = Shape(
            rows, width, len(place_M) + missing, documents, layout.classes, layout.place_M is not None,
            None if lengths_A is None else (whose.rows, whose.width),
        )  # fmt: skip
        values = [
            tokens, batch.positions.numpy().reshape(-1), segments, place_M - 1, np.arange(missing) % (rows * width),
            tokens[place_M], np.zeros(missing), row_M, np.full(missing, whose.rows), document_M,
            np.full(missing, documents),
            *(part.numpy().reshape(-1) for part in (*layout.indices, *whose.indices) if part is not None),
        ]  # fmt: skip
        return cls.read(shape, torch.from_numpy(np.concatenate(values, dtype=np.int64, casting="unsafe")))

    @classmethod
    def read(cls, shape: Shape, buffer: Tensor) -> DeviceBatch:
        """The views of a buffer on any device; truth values are stored as 0 and 1."""
        views, begin = {}, buffer.storage_offset()
        for name, size in shape.parts().items():
            strides = (size[1], 1) if len(size) == 2 else (1,)
            views[name] = buffer.as_strided(size, strides, begin)  # one call: steps of small models consist of calls
            begin += math.prod(size)
        assert begin == buffer.storage_offset() + len(buffer), "a buffer of this shape"
        layout = DocumentLayout(shape.classes)
        if shape.indexed:
            layout = DocumentLayout(
                shape.classes, views["place"], views["real"][:, None] != 0, views["origin"],
                views["origin_real"][:, None] != 0,
            )  # fmt: skip
        whose = RowLayout(shape.rows, shape.width)
        if shape.end_to_end:
            whose = RowLayout(
                *shape.end_to_end, views["row_place"], views["row_real"][:, None] != 0, views["row_origin"],
                views["row_bounds"],
            )  # fmt: skip
        of_tokens = (views["read"], views["target"], views["row"], views["document"])
        return cls(shape, buffer, views["tokens"], views["positions"], views["segments"], *of_tokens, layout, whose)

    def to(self, device: torch.device) -> DeviceBatch:
        """The same on `device`: one copy, and nothing waits for it."""
        return self if self.buffer.device == device else DeviceBatch.read(self.shape, sent(self.buffer, device))


def widened(batch: PackedBatch) -> PackedBatch:
    """The same batch with pads up to the next bucket of widths."""
    extra = bucket(batch.tokens.shape[1], _WIDTH) - batch.tokens.shape[1]
    if extra == 0:
        return batch
    tokens, positions, scored = (F.pad(part, (0, extra)) for part in (batch.tokens, batch.positions, batch.scored))
    segments = F.pad(batch.segments, (0, extra), value=PAD_SEGMENT)
    return PackedBatch(tokens, positions, segments, scored, batch.documents)
