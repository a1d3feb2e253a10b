"""The documents of a cell: the same tokens for every contestant.

Shapes: D tasks, N documents of a row, L tokens of a document, G rows, P weights a row.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bench.cells import Cell
from bora_trainer.data.documents import Document


@dataclass(frozen=True, slots=True)
class Workload:
    """One step's documents of each task: `tokens` [D, N, L] int64. All but a document's first token are scored.

    All documents of a cell are of one length, so nobody pads: every token is a real one.
    """

    cell: Cell
    tokens: Tensor

    @classmethod
    def of(cls, cell: Cell, steps: int = 1) -> Workload:
        """`steps`: how many steps' documents lie behind each other in N; those of fewer steps come first."""
        generator = torch.Generator().manual_seed(1)
        shape = (cell.tasks, cell.documents, cell.tokens // cell.documents)
        drawn = [torch.randint(3, cell.shape.vocabulary, shape, generator=generator) for _ in range(steps)]
        return cls(cell, torch.cat(drawn, dim=1))

    @property
    def scored_per_row(self) -> int:
        return self.tokens.shape[1] * (self.tokens.shape[2] - 1)

    @property
    def loss_scale(self) -> float:
        """c = D / scored training tokens: c times the nats of a row is its mean loss."""
        return 1 / self.scored_per_row

    def documents(self, task: int) -> tuple[Document, ...]:
        return tuple(
            Document(task, f"{task}-{i}", "", tuple(tokens), 1, len(tokens))
            for i, tokens in enumerate(self.tokens[task].tolist())
        )

    def row_tokens(self, device: str) -> Tensor:
        """[G * N, L]: every row's documents, row k * D + d those of task d."""
        return self.tokens.repeat(self.cell.fits, 1, 1).flatten(0, 1).to(device)
