"""Documents, tasks and the data set of a run, as frozen data, and the hash that identifies them.

Legend: D tasks, T tokens. Scored tokens are the ones whose nats count: docs/method.md, section 1.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)


@dataclass(frozen=True, slots=True)
class Document:
    """One tokenised document of one task, already cut to the token limit.

    `tokens[scored_from:]` are scored, and `scored_from >= 1`, because nothing predicts the first token. `characters`
    counts those of the scored text, after the cut. `date` is "" when the source has none.
    """

    task: int
    id: str
    date: str
    tokens: tuple[int, ...]
    scored_from: int
    characters: int

    @property
    def scored(self) -> int:
        """Number of scored tokens, at least 1."""
        return len(self.tokens) - self.scored_from


@dataclass(frozen=True, slots=True)
class TaskData:
    """One task's documents by split. `slug` names its folder; the cut counts cover all three splits."""

    name: str
    slug: str
    train: tuple[Document, ...]
    validation: tuple[Document, ...]
    test: tuple[Document, ...]
    cut_documents: int
    cut_tokens: int

    def documents(self, split: Split) -> tuple[Document, ...]:
        match split:
            case "train":
                return self.train
            case "validation":
                return self.validation
            case "test":
                return self.test

    def scored(self, split: Split) -> int:
        """Scored tokens of a split."""
        return sum(document.scored for document in self.documents(split))


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file the data or model came from; when size and time are unchanged, so is what was read."""

    path: str
    size: int
    modified_ms: int


@dataclass(frozen=True, slots=True)
class Dataset:
    """All tasks in their order: `tasks[d]` holds the documents with `task == d`. `hash` is a sha256 in hex."""

    tasks: tuple[TaskData, ...]
    hash: str
    files: tuple[SourceFile, ...]
    warnings: tuple[str, ...]


def data_hash(tasks: Sequence[TaskData]) -> str:
    """sha256 over one canonical JSON line per document: whatever changes a number of a fit changes the hash."""
    digest = hashlib.sha256()
    for task in tasks:
        for split in SPLITS:
            for document in task.documents(split):
                record = [task.name, split, document.id, document.date, document.scored_from, document.tokens]
                digest.update(json.dumps(record, ensure_ascii=True, separators=(",", ":")).encode() + b"\n")
    return digest.hexdigest()
