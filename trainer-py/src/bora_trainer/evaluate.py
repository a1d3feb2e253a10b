"""Nats of documents under adapter rows or under the base model alone, without gradients.

Shapes: G adapter rows, P weights a row. docs/method.md, section 9: nats and scored tokens of each document are all that
every measure needs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from bora_trainer.data.batches import pack
from bora_trainer.data.documents import Document
from bora_trainer.engine import Engine
from bora_trainer.errors import TrainerError, is_out_of_memory
from bora_trainer.micro_batch_size import MicroBatchSize

_ROW_TOKENS = 128  # short documents share a packed row of this many tokens; longer rows waste attention


@dataclass(slots=True)
class _PackedRow:
    """Documents that share a row of a micro-batch, and where their nats go."""

    adapter_row: int
    tokens: int = 0
    places: list[int] = field(default_factory=list)
    documents: list[Document] = field(default_factory=list)

    def add(self, place: int, document: Document) -> None:
        self.tokens += len(document.tokens)
        self.places.append(place)
        self.documents.append(document)


def evaluate(
    engine: Engine,
    rows_GP: Tensor | None,
    documents_by_row: Sequence[Sequence[Document]],
    *,
    size: MicroBatchSize | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> list[tuple[Document, float]]:
    """Each document with its nats, row by row in the given order; `documents_by_row[g]` is read through `rows_GP[g]`.

    `rows_GP` None evaluates the base model. To evaluate one prior mean on every task pass `theta_P.expand(tasks, -1)`.
    `size` None: what suits the device.
    A micro-batch for which the memory does not suffice is halved, and so are all after it. Raises
    `TrainerError("drained")` when `stop()` turns true between two micro-batches, `TrainerError("out_of_memory")` when
    one packed row is too much.
    """
    assert rows_GP is None or len(documents_by_row) == rows_GP.shape[0], "one list of documents for each row"
    listed = [document for documents in documents_by_row for document in documents]
    nats = [0.0] * len(listed)
    size = size or MicroBatchSize.usual(engine.loaded.model.device)
    packed, start = _packed_rows(documents_by_row), 0
    while start < len(packed):
        if stop():
            raise TrainerError("drained", "asked to stop while documents were evaluated", domain="controller")
        width = packed[start].tokens  # the widest of those that are left
        rows = packed[start : start + max(1, size.evaluation_tokens // width)]
        found = _nats(engine, rows_GP, rows)
        if isinstance(found, str):
            size.halve_evaluation(len(rows), width, found)
            continue
        for place, value in zip((place for row in rows for place in row.places), found, strict=True):
            nats[place] = value
        start += len(rows)
    return list(zip(listed, nats, strict=True))


def _nats(engine: Engine, rows_GP: Tensor | None, rows: Sequence[_PackedRow]) -> list[float] | str:
    """Nats of the documents of these rows, or what the allocator said when the memory did not suffice."""
    try:
        return engine.nats(rows_GP, pack([row.documents for row in rows]), [row.adapter_row for row in rows])
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        return str(error)


def _packed_rows(documents_by_row: Sequence[Sequence[Document]]) -> list[_PackedRow]:
    """First fit, longest first, each adapter row by itself; the widest packed row comes first."""
    longest = max((len(document.tokens) for documents in documents_by_row for document in documents), default=0)
    capacity = max(longest, _ROW_TOKENS)
    packed: list[_PackedRow] = []
    first = 0
    for adapter_row, documents in enumerate(documents_by_row):
        mine: list[_PackedRow] = []
        for i in sorted(range(len(documents)), key=lambda i: -len(documents[i].tokens)):
            room = (row for row in mine if row.tokens + len(documents[i].tokens) <= capacity)
            row = next(room, None)
            if row is None:
                row = _PackedRow(adapter_row)
                mine.append(row)
            row.add(first + i, documents[i])
        packed += mine
        first += len(documents)
    return sorted(packed, key=lambda row: -row.tokens)
