"""Splits by document within each task: seeded, or chronological.

A task's split depends on its own documents and the seed only; adding or removing other tasks never moves a document.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bora_trainer.data.permutation import choose, hash_order
from bora_trainer.data.records import Record, parse_date
from bora_trainer.errors import TrainerError
from bora_trainer.spec import SplitSpec


@dataclass(frozen=True, slots=True)
class SplitRecords:
    """One task's records; in each split by date if the split is chronological, else in the source's order."""

    train: list[Record]
    validation: list[Record]
    test: list[Record]


def split_counts(count: int, spec: SplitSpec) -> tuple[int, int, int]:
    """Documents of (train, validation, test): the last two rounded half up, training has the rest."""
    if spec.by == "none":
        return 0, 0, count
    validation = math.floor(count * spec.validation + 0.5)
    test = math.floor(count * spec.test + 0.5)
    return count - validation - test, validation, test


def split_task(name: str, records: Sequence[Record], spec: SplitSpec) -> SplitRecords:
    """Raises data_too_few_documents when a split would be empty, data_malformed for a date that cannot be read.

    Without a split every record is held out, as test.
    """
    counts = split_counts(len(records), spec)
    if min(counts) < 1 and spec.by != "none":
        raise TrainerError(
            "data_too_few_documents",
            f"task {name!r} has {len(records)} documents, which split into {counts[0]} training, {counts[1]} "
            f"validation and {counts[2]} test documents; each needs at least 1",
            "leave the task out with data.tasks.minDocuments, or change data.split.fractions",
        )
    if spec.by == "date":
        ordered = sorted(records, key=lambda record: (parse_date(record), record.id))
    else:
        ordered = hash_order(records, lambda record: record.id, "split", spec.seed, name)
    first, second = counts[0], counts[0] + counts[1]
    parts = (ordered[:first], ordered[first:second], ordered[second:])
    if spec.by == "date":
        return SplitRecords(*parts)
    place = {record.id: index for index, record in enumerate(records)}
    return SplitRecords(*(sorted(part, key=lambda record: place[record.id]) for part in parts))


def cut_training(name: str, records: SplitRecords, count: int, seed: int) -> SplitRecords:
    """Keep `count` training records, chosen by seed; validation and test stay whole.

    Raises data_too_few_documents when there are fewer than `count`.
    """
    if count > len(records.train):
        raise TrainerError(
            "data_too_few_documents",
            f"data.tasks.trainDocuments asks for {count} training documents of task {name!r}, "
            f"which has {len(records.train)}",
            "ask for fewer, or give training a larger fraction",
        )
    train = choose(records.train, count, lambda record: record.id, "train", seed, name)
    return SplitRecords(train, records.validation, records.test)


def sized(name: str, records: SplitRecords, sizes: Sequence[int], seed: int) -> list[tuple[str, SplitRecords]]:
    """The task once for each size that it has as many training records for, and for 0 with all of them.

    Held-out records are the same each time; a smaller size's training records are among a larger one's. Where 0 is
    among the sizes, one that equals all records is left out.
    """
    most = len(records.train) - (0 in sizes)
    kept = {size: size or len(records.train) for size in sizes if size <= most}
    return [(f"{name} [{size or 'all'}]", cut_training(name, records, count, seed)) for size, count in kept.items()]
